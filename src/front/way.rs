//! What a request leads to, before anything is read or asked.

use http::Method;
use http::request::Parts;

use super::Front;
use super::docs;
use super::jobs::{FrontJobs, JobPath};
use super::routes::Found;
use super::said::Said;
use super::sender::RequestSender;
use crate::base::Failure;
use crate::config::{CallSettings, RouteAction};
use crate::net::site::Marks;

/// What a request leads to.
pub(super) enum Way<'a> {
    /// To a call of the route at this index.
    Call(usize, &'a CallSettings),
    /// To a fixed answer.
    Text(usize),
    /// To this answer, without a call.
    Said(Box<Said>),
    /// To a job.
    Job(&'a FrontJobs, JobPath),
    /// To no route.
    Nowhere,
}

impl Front {
    /// Finds out what a request leads to, if its sender may go there.
    pub(super) fn way(&self, head: &Parts, marks: Marks<'_>, sender: RequestSender<'_>) -> Way<'_> {
        let found = self.table.find(head.method.as_str(), head.uri.path());
        let index = match &found {
            Found::Route(index) => Some(*index),
            Found::Options { .. } => self.asked_about(head),
            Found::NotAllowed { .. } | Found::Nothing => None,
        };
        if let Err(failure) = self.admitted(index, head, marks, sender) {
            return Way::Said(Box::new(Said::Failure(index, failure)));
        }
        if let Some((jobs, path)) = self.about_job(head) {
            return Way::Job(jobs, path);
        }
        match found {
            Found::Route(index) => match &self.routes[index].settings.action {
                RouteAction::Call(call) => Way::Call(index, call),
                RouteAction::Text { .. } => Way::Text(index),
            },
            Found::Options { allow } => Way::Said(Box::new(Said::Options(allow, index))),
            Found::NotAllowed { allow } => {
                Way::Said(Box::new(Said::Failure(None, Failure::MethodNotAllowed { allow })))
            }
            Found::Nothing => Way::Nowhere,
        }
    }

    /// Answers a request that no route takes.
    pub(super) async fn unrouted(&self, head: &Parts) -> Said {
        let shown = self.docs.as_ref().and_then(|docs| Some((docs, docs.at(head.uri.path())?)));
        let Some((docs, shown)) = shown else { return Said::Failure(None, Failure::NoRoute) };
        match head.method {
            Method::GET | Method::HEAD => Said::Docs(Box::new(docs.body(&shown).await)),
            Method::OPTIONS => Said::Options(docs::ALLOW.into(), None),
            _ => Said::Failure(None, Failure::MethodNotAllowed { allow: docs::ALLOW.into() }),
        }
    }
}
