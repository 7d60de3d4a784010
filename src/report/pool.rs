//! One pool at one moment, and what became of its calls lately.
//!
//! Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{History, SecondSample};
use super::seconds;
use super::spread::AwayStatus;
use super::worker::{ExitStatus, WorkerStatus};
use crate::base::WorkerCounts;

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The name after `pool.`.
    pub name: String,
    /// What the configuration says of it. Not in a `tick`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// How many workers are in each state.
    pub states: WorkerCounts,
    /// Every worker, in the order of their starts.
    pub workers: Vec<WorkerStatus>,
    /// How many calls its workers can have at once, those included that would be started now.
    pub slots: usize,
    /// Its calls on other servers; `None` if there are none and can be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<AwayStatus>,
    /// The last starts failed. Calls are refused at once while no worker is ready.
    pub tripped: bool,
    /// The calls that wait.
    pub queue: QueueStatus,
    /// Questions that are refused because they cost several workers.
    pub poisonous: PoisonousStatus,
    /// How long a call is expected to be in a worker; `None` before the first answer.
    #[serde(rename = "service_seconds", with = "seconds::optional")]
    pub service_time: Option<Duration>,
    /// The last workers that ended, the latest first.
    pub last_exits: Vec<ExitStatus>,
    /// The last second that is over.
    pub sample: SecondSample,
    /// The calls of the last minute.
    pub recent: Recent,
    /// The failures of the last ten minutes.
    pub failures: FailureStatus,
    /// The last calls that took long, the latest first.
    pub slow: Vec<SlowCall>,
    /// How many cores all its workers have used in the last second, where it is known.
    pub cpu: Option<f64>,
    /// The resident memory of all its workers, in bytes. Memory that they share counts for each.
    pub memory: Option<u64>,
    /// The last ten minutes. Only in `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// What the configuration says of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The command, as one would type it. Without the operator's key or the token it is the file
    /// name of the program, and `…` stands for the arguments, which may hold secrets.
    pub command: String,
    /// How bytes are cut into messages, as in `line` or `line → block`.
    pub framing: String,
    /// How an answer finds its call, as in `echo`, `order` or `json-id`.
    pub matching: String,
    /// The fewest workers.
    pub least: usize,
    /// The most workers.
    pub most: usize,
    /// How long a call may be in a worker.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    pub timeout: Duration,
    /// The match texts of the routes that ask the pool, in file order.
    pub routes: Vec<String>,
    /// How many exchanges of each worker are kept for its record; 0 if none are.
    pub record: usize,
}

/// The queue of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// How many calls wait.
    pub length: usize,
    /// How many bytes their questions have.
    pub bytes: u64,
    /// How long the oldest of them has waited; `None` if none waits.
    #[serde(rename = "oldest_wait_seconds", with = "seconds::optional")]
    pub oldest_wait: Option<Duration>,
    /// The oldest call has waited too long for a while, so the newest call is served first.
    pub overloaded: bool,
}

/// Questions that are refused. What was asked is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoisonousStatus {
    /// How many there are.
    pub count: usize,
    /// The names that stand for them in the log. A restart changes them.
    pub fingerprints: Vec<String>,
}

/// The calls of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// How many seconds the numbers are of: 60 to 70, fewer just after the start of the pool.
    pub seconds: u64,
    /// Calls that ended: answered, failed or abandoned.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Requests that were answered from the cache; `null` if no route of the pool keeps answers.
    pub hits: Option<u64>,
    /// How long calls waited in the queue; `null` if there were none.
    pub wait_seconds: Option<Percentiles>,
    /// How long calls were in their worker; `null` if there were none.
    pub work_seconds: Option<Percentiles>,
}

/// How long calls took, in seconds: upper bounds that are at most a fifth too high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of them took no longer than this.
    pub p50: f64,
    /// 95 % of them took no longer.
    pub p95: f64,
    /// 99 % of them took no longer.
    pub p99: f64,
}

/// What failed in the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// How many seconds the numbers are of: 600, fewer after the start of the pool.
    pub seconds: u64,
    /// Calls that ended in this time, those that failed included.
    pub calls: u64,
    /// How many failed, by the code that callers were told. Codes without a failure are left out.
    pub by_code: BTreeMap<String, u64>,
}

/// A call that took long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowCall {
    /// The name of the call, as in the access log.
    pub call: String,
    /// The match text of its route.
    pub route: Cow<'static, str>,
    /// The worker that was given it last; `null` if none was.
    pub worker: Option<u64>,
    /// How long it waited in the queue.
    #[serde(rename = "wait_seconds", with = "seconds")]
    pub wait: Duration,
    /// How long it was in its worker.
    #[serde(rename = "work_seconds", with = "seconds")]
    pub work: Duration,
    /// How it ended, as in `httpipe_calls_total`: `ok`, `abandoned`, or the code of its failure.
    pub outcome: Cow<'static, str>,
    /// What the doctor said of it; `null` if it was not asked.
    pub verdict: Option<Cow<'static, str>>,
    /// The time since its end.
    #[serde(rename = "ago_seconds", with = "seconds")]
    pub ago: Duration,
}
