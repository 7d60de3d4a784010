//! What goes into a pool's books and what comes out of them.
//!
//! Pure: data only.

use std::sync::Arc;
use std::time::Instant;

use crate::base::{CallId, Failure, Timing, WorkerId};
use crate::policy::Fingerprint;

/// What the shell must do.
#[derive(Debug)]
pub enum Action<P> {
    /// Write the question of this call to this worker.
    Give {
        /// Who gets it.
        worker: WorkerId,
        /// What is given; its payload is in the books.
        call: CallId,
    },
    /// Tell the caller of this call, which is not in the books any more, that it failed.
    Fail(Ended<P>, Failure),
    /// Tell the caller that his own deadline has passed; the call itself runs on, abandoned.
    Expire {
        /// The call, still in the books.
        call: CallId,
        /// What is said.
        failure: Failure,
    },
    /// Start a worker under this name.
    Start(WorkerId),
    /// This question is refused from now on, for it has cost several workers; for the log.
    Refuse(Fingerprint),
    /// Stop this worker: it holds nothing any more and gets nothing any more.
    Stop(WorkerId, StopReason),
}

/// Why the pool itself stops a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A call took longer than allowed.
    Timeout,
    /// It is to be replaced for its calls, memory or age.
    Recycled,
    /// It is not needed any more.
    ScaledDown,
    /// The pool ends.
    Stopped,
}

/// A call that left the books.
#[derive(Debug)]
pub struct Ended<P> {
    /// What the shell kept with it.
    pub payload: P,
    /// How long it waited and worked.
    pub timing: Timing,
    /// Nobody waited for it any more.
    pub abandoned: bool,
}

/// A call that arrives.
#[derive(Debug)]
pub struct NewCall<P> {
    /// What the shell needs to ask and to answer.
    pub payload: P,
    /// Bytes of its question.
    pub bytes: usize,
    /// May it run twice?
    pub idempotent: bool,
    /// When its caller stops waiting.
    pub caller_deadline: Option<Instant>,
}

/// Why a worker was lost.
#[derive(Clone, Debug)]
pub enum Loss {
    /// It ended; how, in words.
    Ended(Arc<str>),
    /// What it wrote is in doubt for so many of its oldest calls, at least one.
    BadAnswer {
        /// What was wrong, in words for the caller.
        detail: Arc<str>,
        /// How many calls are in doubt.
        calls: usize,
    },
    /// It wrote while nothing was asked.
    UnaskedOutput,
    /// It did not become ready.
    StartFailed {
        /// Why not, in words for callers.
        why: Arc<str>,
    },
}

impl Loss {
    /// In words for callers: what became of a worker that had given no good answer.
    pub(super) fn in_vain(&self) -> Arc<str> {
        match self {
            Self::Ended(exit) => {
                format!("the last one ended before its first answer: {exit}").into()
            }
            Self::StartFailed { why } => Arc::clone(why),
            Self::BadAnswer { .. } | Self::UnaskedOutput => {
                "the last one was stopped for what it wrote".into()
            }
        }
    }
}
