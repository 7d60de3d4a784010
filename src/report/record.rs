//! What is known of a worker that was lost: `/records/WORKER`.
//!
//! Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;
use super::tap::TapEvent;

/// What is known of a worker that was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The number that stands for the worker in the log.
    pub worker: u64,
    /// Its pool.
    pub pool: String,
    /// Its process id; `null` if it never had a process.
    pub pid: Option<u32>,
    /// When it was reaped, in seconds since 1970.
    pub at: f64,
    /// Why it ended, as in `httpipe_worker_exits_total`.
    pub reason: Cow<'static, str>,
    /// How it ended, in words: `exit code 1`, `signal 9`.
    pub exit: String,
    /// Why the server stopped it, in words that may quote what it wrote; empty if it ended by itself.
    pub why: String,
    /// How long it lived.
    #[serde(rename = "age_seconds", with = "seconds")]
    pub age: Duration,
    /// How many calls it was given.
    pub calls: u64,
    /// The CPU time that it used.
    #[serde(rename = "cpu_seconds", with = "seconds")]
    pub cpu: Duration,
    /// The resident memory that it had when the server stopped it, in bytes; `null` if it had ended
    /// before.
    pub memory: Option<u64>,
    /// The most resident memory that it ever had, in bytes, and at least that of the server when it
    /// started the worker; `null` if the system does not say it.
    pub memory_peak: Option<u64>,
    /// The calls that it held, oldest first: at most 16.
    pub inside: Vec<InsideCall>,
    /// How many more calls it held.
    pub inside_more: usize,
    /// How many answers it still owed to calls that had been given up.
    pub given_up: usize,
    /// How many bytes of questions it had not read.
    pub unread_bytes: u64,
    /// How many bytes it had written that are no whole message.
    pub half_said_bytes: u64,
    /// Its last lines on stderr, oldest first.
    pub stderr: Vec<String>,
    /// The last exchanges with it, oldest piece first, with contents; `null` unless the pool has
    /// `record`. The text of an answer is empty: the pieces that were read before it have it.
    pub exchanges: Option<Vec<TapEvent>>,
}

/// A call that was in a worker when the worker was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideCall {
    /// The name of the call, as in the access log.
    pub call: String,
    /// The match text of its route.
    pub route: String,
    /// How long it had been in the worker.
    #[serde(rename = "since_seconds", with = "seconds")]
    pub since: Duration,
    /// The size of the question, in bytes, without what the framing adds.
    pub bytes: usize,
    /// How many workers it had cost before.
    pub retries: u32,
    /// Its caller had left.
    pub abandoned: bool,
    /// The worker had not read it.
    pub unread: bool,
    /// What stands for its question in the log and among the poisonous ones; `null` for a long
    /// question that is not suspected. A restart changes it.
    pub question: Option<String>,
}
