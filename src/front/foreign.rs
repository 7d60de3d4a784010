//! Which pages of other sites may ask for what this front answers, and read it.

use http::request::Parts;
use http::{Response, header};

use super::Front;
use super::cors::{self, Reads};
use super::jobs::JobPath;
use super::response::FrontBody;
use super::routes::Found;
use super::said::Said;
use crate::config::{Config, Cors, RouteAction};

/// The pages that may look for jobs.
#[derive(Debug)]
pub(super) struct JobPages {
    cors: Cors,
    reads: Reads,
}

impl JobPages {
    /// All pages that may ask a route that makes jobs; `None`: there are none.
    pub(super) fn of(config: &Config, reads_keys: bool) -> Option<Box<Self>> {
        let makes_jobs = |action: &RouteAction| match action {
            RouteAction::Call(call) => call.jobs.is_some(),
            RouteAction::Text { .. } => false,
        };
        let routes = config.routes.iter().filter(|route| makes_jobs(&route.action));
        let all = routes.filter_map(|route| route.cors.as_deref());
        let cors = all.cloned().reduce(|one, other| match (one, other) {
            (Cors::Listed(mut one), Cors::Listed(other)) => {
                one.extend(other);
                Cors::Listed(one)
            }
            _ => Cors::Any,
        })?;
        Some(Box::new(Self { cors, reads: Reads::of_jobs(reads_keys) }))
    }
}

impl Front {
    /// Returns the route that a preflight asks about.
    pub(super) fn asked_about(&self, head: &Parts) -> Option<usize> {
        let method = cors::asked_method(&head.headers)?;
        match self.table.find(method, head.uri.path()) {
            Found::Route(index) => Some(index),
            _ => None,
        }
    }

    /// Returns true if the path is that of a job.
    fn is_of_job(&self, head: &Parts) -> bool {
        self.jobs.is_some() && JobPath::of(head.uri.path()).is_some()
    }

    /// Returns which pages may read the answer to this request; `index` is that of its route.
    pub(super) fn cors_of(&self, index: Option<usize>, head: &Parts) -> Option<&Cors> {
        if !self.has_cors {
            return None;
        }
        if self.is_of_job(head) {
            // Any of these routes may have made the job.
            return self.job_pages.as_ref().map(|pages| &pages.cors);
        }
        match index.or_else(|| self.table.at(head.uri.path())) {
            Some(index) => self.routes[index].settings.cors.as_deref(),
            None => self.cors.as_deref(),
        }
    }

    /// Lets the page that asked read the response, if it may.
    pub(super) fn permit(&self, response: &mut Response<FrontBody>, said: &Said, head: &Parts) {
        let Some(cors) = self.cors_of(said.route(), head) else { return };
        let (request, headers) = (&head.headers, response.headers_mut());
        cors::permit(headers, cors, request);
        let reads = match said {
            Said::Options(_, Some(index)) => Some(&self.routes[*index].reads),
            Said::Options(_, None) if self.is_of_job(head) => {
                let asks = cors::asked_method(request).is_some();
                self.job_pages.as_ref().filter(|_| asks).map(|pages| &pages.reads)
            }
            _ => None,
        };
        if let (Some(reads), Some(methods)) = (reads, headers.get(header::ALLOW).cloned()) {
            cors::answer_preflight(headers, cors, request, &methods, reads);
        }
    }
}
