//! What the books know of answers that come in parts, and who is told what nobody answers.
//!
//! Pure.

use std::time::Instant;

use super::books::Phase;
use super::state::State;
use crate::base::{CallId, Timing, WorkerId};

impl<P> State<P> {
    /// A part of the answer goes to the caller: from now on the call may not run twice. Gives
    /// what it cost so far; `None` where nobody waits for it.
    pub(super) fn has_begun(&mut self, now: Instant, id: CallId) -> Option<Timing> {
        self.leave_line(id);
        let call = self.calls.get_mut(id).filter(|call| call.abandoned.is_none())?;
        call.idempotent = false;
        let given = call.given.unwrap_or(now);
        Some(Timing {
            queue: given.saturating_duration_since(call.accepted),
            work: now.saturating_duration_since(given),
        })
    }

    /// Who is told what nobody answers: the free worker used last, else the one that holds
    /// least.
    pub(super) fn listener(&self) -> Option<WorkerId> {
        let serving =
            |book: &&_| matches!(book, super::books::WorkerBook { phase: Phase::Serving, .. });
        let least = || self.workers.values().filter(serving).min_by_key(|book| book.held.len());
        self.free.last().copied().or_else(|| Some(least()?.id))
    }
}
