//! The pages of the admin listener: at which path each is, which methods it takes, and what it needs
//! of a request.
//!
//! Pure.

use http::Method;
use percent_encoding::percent_decode_str;

use super::access::Need;
use super::docs::{self, DocsPage};
use super::jobs::JobRequest;

/// One page for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Live,
    Ready,
    Metrics,
    Status,
    Events,
    Tap,
    Reload,
    Poisonous,
    Docs(DocsPage),
    Jobs,
    /// What is done to jobs.
    Job(JobRequest),
    /// The record of this worker.
    Record(String),
    Deed(Deed),
}

/// What is done to a pool or a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// All workers of this pool are replaced.
    RecyclePool(String),
    /// This worker is replaced.
    RecycleWorker(String),
    /// The process group of this worker is killed.
    KillWorker(String),
}

impl Page {
    /// The pages whose paths hold no name.
    pub(super) const FIXED: [Self; 12] = [
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Status,
        Self::Events,
        Self::Tap,
        Self::Reload,
        Self::Poisonous,
        Self::Jobs,
        Self::Job(JobRequest::BackUp),
        Self::Docs(DocsPage::Document),
        Self::Docs(DocsPage::Whole),
    ];

    /// Returns the path, with `NAME` and `ID` where a name is.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::Live => "/live",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
            Self::Status => "/status.json",
            Self::Events => "/events",
            Self::Tap => "/tap",
            Self::Reload => "/reload",
            Self::Poisonous => "/poisonous",
            Self::Jobs | Self::Job(JobRequest::List(_)) => "/jobs",
            Self::Job(JobRequest::BackUp) => "/jobs/backup",
            Self::Job(JobRequest::Remove(_)) => "/jobs/ID",
            Self::Job(JobRequest::Retry(_)) => "/jobs/ID/retry",
            Self::Docs(DocsPage::Document) => crate::openapi::PATH,
            Self::Docs(DocsPage::Whole | DocsPage::File(_)) => docs::PLACE,
            Self::Record(_) => "/records/WORKER",
            Self::Deed(Deed::RecyclePool(_)) => "/pools/NAME/recycle",
            Self::Deed(Deed::RecycleWorker(_)) => "/workers/ID/recycle",
            Self::Deed(Deed::KillWorker(_)) => "/workers/ID/kill",
        }
    }

    /// Returns the page at this path, as it was sent.
    pub(super) fn at(path: &str) -> Option<Self> {
        let fixed = Self::FIXED.into_iter().find(|page| page.path() == path);
        let docs = || DocsPage::at(path).map(Self::Docs);
        let deed = || Deed::at(path).map(Self::Deed);
        fixed.or_else(docs).or_else(|| Self::record(path)).or_else(|| Self::job(path)).or_else(deed)
    }

    fn record(path: &str) -> Option<Self> {
        let worker = path.strip_prefix("/records/").filter(|worker| !worker.contains('/'))?;
        Some(Self::Record(percent_decode_str(worker).decode_utf8_lossy().into_owned()))
    }

    fn job(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/jobs/")?;
        let (name, verb) = rest.split_once('/').map_or((rest, None), |(it, verb)| (it, Some(verb)));
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        match verb {
            None => Some(Self::Job(JobRequest::Remove(name))),
            Some("retry") => Some(Self::Job(JobRequest::Retry(name))),
            Some(_) => None,
        }
    }

    /// Returns all paths, for the response to an unknown one.
    pub(super) fn list() -> String {
        let deeds = [Deed::RecyclePool, Deed::RecycleWorker, Deed::KillWorker];
        let deeds = deeds.map(|deed| Self::Deed(deed(String::new())));
        let record = Self::Record(String::new());
        let jobs = [JobRequest::Remove, JobRequest::Retry];
        let jobs = jobs.map(|request| Self::Job(request(String::new())));
        let all = Self::FIXED.iter().chain([&record]).chain(&jobs).chain(&deeds);
        let paths: Vec<_> = all.map(Self::path).collect();
        format!("/, {}", paths.join(", "))
    }

    /// Returns the methods that the page takes, as `Allow` lists them.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Live | Self::Ready | Self::Metrics | Self::Status | Self::Docs(_) => "GET, HEAD",
            Self::Events
            | Self::Tap
            | Self::Record(_)
            | Self::Jobs
            | Self::Job(JobRequest::List(_)) => "GET",
            Self::Reload | Self::Deed(_) | Self::Job(JobRequest::Retry(_) | JobRequest::BackUp) => {
                "POST"
            }
            Self::Poisonous | Self::Job(JobRequest::Remove(_)) => "DELETE",
        }
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// Returns what the page needs of a request.
    pub(super) fn need(&self) -> Need {
        match self {
            // The page and its files hold nothing of this server.
            Self::Live | Self::Ready | Self::Docs(DocsPage::Whole | DocsPage::File(_)) => {
                Need::Health
            }
            Self::Metrics
            | Self::Status
            | Self::Events
            | Self::Tap
            | Self::Docs(DocsPage::Document) => Need::Look,
            Self::Reload | Self::Poisonous => Need::Change,
            // Who has the name of a job may see its answer.
            Self::Record(_) | Self::Deed(_) | Self::Jobs | Self::Job(_) => Need::Secret,
        }
    }
}

impl Deed {
    fn at(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (Some(kind), Some(name), Some(verb), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let deed = match (kind, verb) {
            ("pools", "recycle") => Self::RecyclePool,
            ("workers", "recycle") => Self::RecycleWorker,
            ("workers", "kill") => Self::KillWorker,
            _ => return None,
        };
        // A name that is no UTF-8 is nobody's, and is shown as well as it can be.
        Some(deed(percent_decode_str(name).decode_utf8_lossy().into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_at_its_path_and_listed() {
        for page in Page::FIXED {
            assert_eq!(Page::at(page.path()).as_ref(), Some(&page));
            assert!(Page::list().contains(page.path()));
        }
        assert!(Page::list().ends_with("/workers/ID/kill"), "{}", Page::list());
    }

    #[test]
    fn names_in_paths_are_decoded_and_nothing_else_is_a_page() {
        let deed = |path| match Page::at(path) {
            Some(Page::Deed(deed)) => Some(deed),
            _ => None,
        };
        let pool = |name: &str| Some(Deed::RecyclePool(name.to_owned()));
        assert_eq!(deed("/pools/fib/recycle"), pool("fib"));
        assert_eq!(deed("/pools/%3Cimg%20src%3Dx%2F%3E/recycle"), pool("<img src=x/>"));
        assert_eq!(deed("/pools/%E2%98%83%ff/recycle"), pool("☃\u{fffd}"));
        let record = |worker: &str| Some(Page::Record(worker.to_owned()));
        assert_eq!(Page::at("/records/7"), record("7"));
        assert_eq!(Page::at("/records/%1b"), record("\u{1b}"));
        assert_eq!(deed("/workers/7/recycle"), Some(Deed::RecycleWorker("7".to_owned())));
        assert_eq!(deed("/workers/7/kill"), Some(Deed::KillWorker("7".to_owned())));
        for path in [
            "/pools/fib",
            "/pools/fib/kill",
            "/pools/fib/recycle/",
            "/pools/a/b/recycle",
            "//pools/fib/recycle",
            "/workers",
            "/records",
            "/records/7/",
            "/Workers/7/kill",
        ] {
            assert_eq!(Page::at(path), None, "{path}");
        }
    }
}
