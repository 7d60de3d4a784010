//! What the server tells of the work that its pools do in the background: jobs, and items of batch
//! requests; and of calls that workers get together.
//!
//! Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// The work of all pools in the background.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackgroundStatus {
    /// The file of the jobs cannot be written, so new jobs are refused.
    pub store_failing: bool,
    /// The pools that have any: first those that are configured, in file order, and then those that
    /// are not and still have jobs.
    pub pools: Vec<PoolWorkStatus>,
    /// The jobs that run, the one first that has run longest; 16 at most.
    pub running: Vec<RunningJobStatus>,
}

/// What one pool does in the background.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolWorkStatus {
    /// The name after `pool.`.
    pub pool: String,
    /// Its jobs; `null` if it has none.
    pub jobs: Option<JobCountsStatus>,
    /// The batch requests whose items it has; `null` if it has had none.
    pub batches: Option<BatchStatus>,
    /// How many calls its workers were given together; `null` where they get one at a time.
    pub groups: Option<GroupStatus>,
}

/// How many jobs of one pool there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCountsStatus {
    /// Jobs that wait for a worker.
    pub queued: u64,
    /// Jobs that a worker has, or that have begun and wait for one.
    pub running: u64,
    /// Jobs that have an answer, as long as they are kept.
    pub succeeded: u64,
    /// Jobs that failed, as long as they are kept.
    pub failed: u64,
    /// Jobs that were canceled, as long as they are kept.
    pub canceled: u64,
    /// How long the job has waited that has waited longest; `null` if none waits.
    #[serde(rename = "oldest_seconds", with = "seconds::optional")]
    pub oldest: Option<Duration>,
}

/// A job that a worker has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningJobStatus {
    /// Its name; `null` for those without the operator's key or the token: who knows the name may
    /// look at the job.
    pub id: Option<String>,
    /// Its pool.
    pub pool: String,
    /// The match text of its route.
    pub route: String,
    /// How long it has run.
    #[serde(rename = "since_seconds", with = "seconds")]
    pub since: Duration,
    /// The part of it that is done, from 0 to 1; `null` if it has not said so.
    pub fraction: Option<f64>,
    /// What its program says of that; `null` if it says nothing, and for those without the key.
    pub text: Option<String>,
}

/// The batch requests whose items a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStatus {
    /// How many there are.
    pub open: usize,
    /// How many of their items wait for a worker. Of each batch a few are read ahead, and the others
    /// are still with its caller.
    pub waiting: usize,
    /// How many of their items are in workers.
    pub running: usize,
}

/// How many calls workers were given together, since the start of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Groups.
    pub groups: u64,
    /// Calls in all of them.
    pub calls: u64,
    /// How many groups there were of each size. Sizes without a group are left out.
    pub sizes: Vec<GroupSizeStatus>,
}

/// Groups of about the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSizeStatus {
    /// They have at most this many calls, and more than those of the size below; `null`: more than
    /// those of the largest size.
    pub most: Option<u64>,
    /// How many there were.
    pub groups: u64,
}

impl BackgroundStatus {
    /// Most running jobs that are told of.
    pub const RUNNING_MOST: usize = 16;

    /// Takes out what only operators may see.
    pub(super) fn hide_contents(&mut self) {
        for job in &mut self.running {
            (job.id, job.text) = (None, None);
        }
    }
}

impl GroupStatus {
    /// Returns how many calls a group has on average.
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    pub fn mean(&self) -> f64 {
        self.calls as f64 / self.groups.max(1) as f64
    }
}
