//! What may be written about jobs.
//!
//! Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Size, Time};

/// Where jobs are kept, and how many. If absent, there are none.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsFile {
    /// The file that keeps them, relative to this file, on a local disk. It is a database of SQLite,
    /// made with mode 0600. One server has one file. A change takes effect after a restart.
    #[schemars(length(min = 1))]
    pub file: String,
    /// Most jobs that wait or run; beyond it, a request gets 503 `jobs_full`.
    #[schemars(range(min = 1))]
    pub length: u64,
    /// Most bytes of questions and answers that are kept; beyond it, a request gets 503 `jobs_full`.
    pub bytes: Size,
    /// Most bytes of the answer of one job; with a longer one it fails as `bad_answer`.
    pub result: Size,
}

impl Default for JobsFile {
    fn default() -> Self {
        Self {
            file: "jobs.db".to_owned(),
            length: 100_000,
            bytes: Size::mebibytes(1024),
            result: Size::mebibytes(16),
        }
    }
}

/// Whether calls of a route may be jobs, and their rules.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum RouteJobsFile {
    /// They may, with the rules of an empty table; or they may not.
    Switch(bool),
    /// They may, with these rules.
    Rules(JobRulesFile),
}

/// The rules of the jobs of a route.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobRulesFile {
    /// How long a job may take in a worker, whatever the `timeout` of the pool.
    pub timeout: Time,
    /// How long it may wait for a worker; then it fails as `queue_timeout`.
    pub wait: Time,
    /// How long it is kept after its end, with its answer.
    pub keep: Time,
    /// How many minutes earlier than it came a job counts as having come. So it goes before others, and
    /// others go before it once they have waited that much longer.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
}

impl Default for JobRulesFile {
    fn default() -> Self {
        Self {
            timeout: Time::seconds(3600),
            wait: Time::seconds(86_400),
            keep: Time::seconds(86_400),
            priority: 0,
        }
    }
}
