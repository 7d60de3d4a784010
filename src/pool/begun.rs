//! Answers that come in parts, questions that expect no answer, and calls for several callers.
//!
//! Pure: a part of [`State`].

use std::time::Instant;

use super::calls::CallBook;
use super::crew::Phase;
use super::state::State;
use crate::base::{CallId, Tenant, Timing, WorkerId};

impl<P> State<P> {
    /// A part of the answer goes to the caller, so the call must not run a second time. Returns
    /// how long the call has waited and worked; `None` if its caller left.
    pub fn has_begun(&mut self, now: Instant, id: CallId) -> Option<Timing> {
        self.leave_queue(id);
        let call = self.calls.get_mut(id).filter(|call| call.abandoned.is_none())?;
        call.idempotent = false;
        Some(call.timing(now))
    }

    /// Another caller waits for this call as well. If it still waits, it moves to the tenant of that
    /// caller if its turn comes sooner there. So a call does not wait behind a flood because somebody
    /// in the flood has asked the same first.
    pub fn shared_with(&mut self, now: Instant, id: CallId, tenant: Tenant) {
        let is_fresh = |call: &&CallBook<P>| call.waits_until.is_some() && call.given.is_none();
        let Some(call) = self.calls.get(id).filter(is_fresh) else { return };
        let (Some(from), bytes) = (call.seat, call.bytes) else { return };
        let to = self.line.enter(tenant);
        let (usual, since) = (self.usual(), |id| self.calls.since(id));
        let moves = from != to && self.line.move_over((id, bytes), [from, to], usual, since);
        self.line.ended(if moves { from } else { to });
        if let Some(call) = self.calls.get_mut(id).filter(|_| moves) {
            (call.seat, call.since) = (Some(to), now);
        }
    }

    /// The worker that gets a question without an answer: the free worker used last, else the
    /// one that holds the fewest calls.
    pub(super) fn listener(&self) -> Option<WorkerId> {
        let serving = || self.crew.iter().filter(|book| book.phase == Phase::Serving);
        let least = || serving().min_by_key(|book| book.held.len());
        self.crew.free().last().copied().or_else(|| Some(least()?.id))
    }
}
