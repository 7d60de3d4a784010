//! One call inside a worker.
//!
//! Pure: data.

use std::time::Instant;

use super::super::line::Charge;
use crate::base::CallId;

/// One call inside a worker.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Held {
    pub(in crate::pool) id: CallId,
    pub(in crate::pool) given: Instant,
    /// When the call was answered by another worker, or its caller left before that.
    pub(in crate::pool) orphaned: Option<Instant>,
    /// The pool was not overloaded when the worker was given the call.
    pub(in crate::pool) in_peace: bool,
    /// While the worker may be reading it, no call behind it in the pipe can be taken back.
    pub(in crate::pool) is_large: bool,
    /// What its tenant has paid for it; `None` for background work, for which nobody pays.
    pub(in crate::pool) charge: Option<Charge>,
}

impl Held {
    /// Returns true for work that never waits in the queue.
    pub(in crate::pool) fn is_background(&self) -> bool {
        self.charge.is_none()
    }
}

/// One call that was given up: its caller was told that it took too long, and the worker still
/// owes an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct GivenUp {
    pub(in crate::pool) id: CallId,
    pub(in crate::pool) given: Instant,
}
