//! The events of `/tap`: what goes through the pipes of workers.
//!
//! Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// One piece of what goes through the pipes of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TapEvent {
    /// When, in seconds since 1970.
    pub at: f64,
    /// What happened.
    pub kind: TapKind,
    /// The pool.
    pub pool: Cow<'static, str>,
    /// The worker; `null` for a call that ended without one.
    pub worker: Option<u64>,
    /// The call, as in the access log, where it is known.
    pub call: Option<String>,
    /// The match text of its route, where it is known.
    pub route: Option<Cow<'static, str>>,
    /// How many bytes there were.
    pub bytes: usize,
    /// The first 4 KiB of them, or what they look like, if contents are masked. What is not UTF-8 is
    /// written as `\xff`.
    pub text: String,
    /// Of the end of a call: how it ended, as in `httpipe_calls_total`. Of the end of a worker: why, as
    /// in `httpipe_worker_exits_total`. Of an answer, how its call was found: `proof`, `turn` or `order`.
    /// Of a message that answers no call: `unasked`, `aside` (which the protocol allows), `late` or
    /// `mismatch`.
    pub outcome: Option<Cow<'static, str>>,
    /// Of the end of a call: how long it was in its worker.
    #[serde(rename = "work_seconds", with = "seconds::optional")]
    pub work: Option<Duration>,
    /// How many events before this one were lost, because the reader did not keep up.
    pub dropped: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TapKind {
    /// Bytes were written to the worker: questions as they are framed.
    Write,
    /// Bytes were read from the worker, as they came.
    Read,
    /// A message was cut from what was read, and answers a call.
    Answer,
    /// A message was cut from what was read, and answers no call.
    Stray,
    /// A call ended.
    End,
    /// A worker ended.
    Exit,
}
