//! One worker, what it works on, and how it ended.
//!
//! Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It is not ready yet.
    Starting,
    /// It is ready and holds no call.
    Ready,
    /// It holds at least one call.
    Busy,
    /// It was told to stop.
    Leaving,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The number that stands for it in the log.
    pub id: u64,
    /// Its process id; 0 before it has a process.
    pub pid: u32,
    /// Its state.
    pub state: WorkerState,
    /// How many calls it has answered.
    pub calls: u64,
    /// How many calls it holds.
    pub in_flight: usize,
    /// The time since its start.
    #[serde(rename = "age_seconds", with = "seconds")]
    pub age: Duration,
    /// How much of one core it has used in the last second: 1 is a whole core, and a program with
    /// threads may use more. `null` until somebody has looked for two seconds.
    pub cpu: Option<f64>,
    /// Its resident memory, in bytes, shared parts included; `null` until somebody has looked.
    pub memory: Option<u64>,
    /// What the doctor says of a call that takes long: `holds_output`, `half_answer`, `not_reading`,
    /// `silent` or `works`; `null` if it was not asked.
    pub verdict: Option<Cow<'static, str>>,
    /// The oldest call that it holds, on which it works; `null` if it holds none.
    pub head: Option<Head>,
}

/// The call on which a worker works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The name of the call, as in the access log: hexadecimal, unique in its pool.
    pub call: String,
    /// The match text of its route, as in the metrics.
    pub route: Cow<'static, str>,
    /// The time since it was the oldest of this worker: what the worker has spent on it so far.
    #[serde(rename = "since_seconds", with = "seconds")]
    pub since: Duration,
    /// The size of the question, in bytes, without what the framing adds.
    pub bytes: usize,
    /// How many workers it has cost before.
    pub retries: u32,
    /// Its caller has left. It runs on, because the worker has read it.
    pub abandoned: bool,
}

/// How one worker ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The number that stands for the worker in the log.
    pub worker: u64,
    /// Why, as in `httpipe_worker_exits_total`.
    pub reason: Cow<'static, str>,
    /// How, in words: `exit code 1`, `signal 9`. Never what the worker wrote.
    pub exit: String,
    /// The time since then.
    #[serde(rename = "ago_seconds", with = "seconds")]
    pub ago: Duration,
    /// There is a record of it at `/records/WORKER`.
    pub record: bool,
}
