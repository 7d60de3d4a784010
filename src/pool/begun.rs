//! Answers that come in parts, and questions that expect no answer.
//!
//! Pure: a part of [`State`].

use std::time::Instant;

use super::crew::Phase;
use super::state::State;
use crate::base::{CallId, Timing, WorkerId};

impl<P> State<P> {
    /// A part of the answer goes to the caller, so the call must not run a second time. Returns
    /// how long the call has waited and worked; `None` if its caller left.
    pub(super) fn has_begun(&mut self, now: Instant, id: CallId) -> Option<Timing> {
        self.leave_queue(id);
        let call = self.calls.get_mut(id).filter(|call| call.abandoned.is_none())?;
        call.idempotent = false;
        Some(call.timing(now))
    }

    /// The worker that gets a question without an answer: the free worker used last, else the
    /// one that holds the fewest calls.
    pub(super) fn listener(&self) -> Option<WorkerId> {
        let serving = || self.crew.iter().filter(|book| book.phase == Phase::Serving);
        let least = || serving().min_by_key(|book| book.held.len());
        self.crew.free().last().copied().or_else(|| Some(least()?.id))
    }
}
