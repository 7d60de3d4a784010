//! `/jobs`: which jobs there are, and what operators do with them. Their contents are for callers.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Admin, By, JSON, Operator, PageResponse, json, problem};
use crate::observe::metrics::OperatorAction;

/// How many jobs a list has that does not say it, and how many at most.
const LISTED: u32 = 100;
const LISTED_MOST: u32 = 1000;

/// What an operator asks about jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobRequest {
    /// Which there are, the latest first.
    List(JobQuery),
    /// This one is canceled, or removed if it has ended.
    Remove(String),
    /// This one waits again, if it failed or was canceled.
    Retry(String),
    /// All are written into another file.
    BackUp,
}

/// Which jobs are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Those in this state.
    pub state: Option<String>,
    /// Those of this pool.
    pub pool: Option<String>,
    /// Those that came before this one.
    pub after: Option<String>,
    /// How many at most.
    pub limit: u32,
}

/// Why a request about jobs came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobObstacle {
    /// This server keeps no jobs.
    None,
    /// There is no job of this name.
    Unknown,
    /// It is not in a state for that; in words.
    Wrong(String),
    /// The request is wrong; in words.
    BadQuery(String),
    /// The file cannot be read or written; in words.
    Failed(String),
}

impl JobQuery {
    /// Reads the query of a request.
    pub(super) fn read(query: Option<&str>) -> Result<Self, String> {
        let mut read = Self { limit: LISTED, ..Self::default() };
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "state" => read.state = Some(value),
                "pool" => read.pool = Some(value),
                "after" => read.after = Some(value),
                "limit" => {
                    let limit =
                        value.parse().ok().filter(|limit| (1..=LISTED_MOST).contains(limit));
                    read.limit = limit.ok_or_else(|| {
                        format!("`limit` must be a number from 1 to {LISTED_MOST}")
                    })?;
                }
                _ => return Err("/jobs takes `state`, `pool`, `after` and `limit`".to_owned()),
            }
        }
        Ok(read)
    }
}

impl<O: Operator> Admin<O> {
    /// Lists jobs.
    pub(super) async fn list_jobs(&self, query: Option<&str>) -> PageResponse {
        match JobQuery::read(query) {
            Ok(query) => told(self.operator.jobs(JobRequest::List(query)).await),
            Err(detail) => problem(StatusCode::BAD_REQUEST, &detail),
        }
    }

    /// Does something with jobs.
    pub(super) async fn act_on_jobs(&self, request: JobRequest, by: &By<'_>) -> PageResponse {
        let (action, did) = match &request {
            JobRequest::Remove(_) => (OperatorAction::RemoveJob, "an operator removes a job"),
            JobRequest::Retry(_) => (OperatorAction::RetryJob, "an operator retries a job"),
            JobRequest::BackUp | JobRequest::List(_) => {
                (OperatorAction::BackUpJobs, "an operator backs up the jobs")
            }
        };
        let done = self.operator.jobs(request).await;
        if done.is_ok() {
            self.metrics.admin_action(action);
            by.log(did, "", "");
        }
        told(done)
    }
}

fn told(done: Result<Value, JobObstacle>) -> PageResponse {
    match done {
        Ok(done) => json(StatusCode::OK, JSON, &done),
        Err(JobObstacle::None) => {
            problem(StatusCode::NOT_FOUND, "this server keeps no jobs: it has no `[jobs]`")
        }
        Err(JobObstacle::Unknown) => {
            problem(StatusCode::NOT_FOUND, "there is no job of this name; `/jobs` lists them")
        }
        Err(JobObstacle::BadQuery(detail)) => problem(StatusCode::BAD_REQUEST, &detail),
        Err(JobObstacle::Wrong(detail)) => problem(StatusCode::CONFLICT, &detail),
        Err(JobObstacle::Failed(detail)) => problem(StatusCode::SERVICE_UNAVAILABLE, &detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_jobs() {
        let read = |query| JobQuery::read(Some(query));
        let expected = JobQuery {
            state: Some("failed".to_owned()),
            pool: Some("a b".to_owned()),
            after: Some("00".to_owned()),
            limit: 5,
        };
        assert_eq!(read("state=failed&pool=a%20b&after=00&limit=5"), Ok(expected));
        assert_eq!(read("").map(|query| query.limit), Ok(LISTED));
        for wrong in ["limit=0", "limit=1001", "limit=x", "states=failed", "x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
