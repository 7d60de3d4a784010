//! Calls of other servers in workers of this one.
//!
//! Pure: the part of [`State`] that reserves workers for them. A free worker is reserved while a
//! call is claimed for it, so a call that comes begins at once. Until then the worker takes no other
//! call. What becomes of a call whose worker is lost is for its own server to decide: here it is
//! never put back into the queue.

use std::time::Instant;

use super::actions::{Action, NewCall};
use super::calls::CallOrigin;
use super::rules::Rules;
use super::sharing::Wanted;
use super::state::State;
use crate::base::{CallId, Failure, Tenant, WorkerId};

impl<P> State<P> {
    /// This many calls of other servers wait, the oldest since `since`. Workers are reserved for them
    /// as they become free, unless an older call of this server waits.
    pub fn want(&mut self, since: Option<Instant>, calls: usize) {
        if let Some(spread) = &mut self.spread {
            spread.wanted = Wanted { since, calls };
        }
    }

    /// A reserved worker gets a call of another server.
    ///
    /// # Errors
    ///
    /// If the worker is not reserved, because it was lost or has to leave, the payload comes back.
    pub fn give_reserved(
        &mut self,
        now: Instant,
        worker: WorkerId,
        call: NewCall<P>,
    ) -> Result<CallId, P> {
        if !self.crew.unreserve(worker) {
            return Err(call.payload);
        }
        let seat = self.line.enter(Tenant::ELSEWHERE);
        let call = NewCall { idempotent: false, caller_deadline: None, ..call };
        let id = self.enter(now, call, None, (Some(seat), None, Rules::never(now)));
        if let Some(call) = self.calls.get_mut(id) {
            call.origin = CallOrigin::Elsewhere { blamed: false };
        }
        self.give(now, id, worker);
        Ok(id)
    }

    /// A reserved worker gets no call of another server.
    pub fn release(&mut self, now: Instant, worker: WorkerId) {
        if self.crew.unreserve(worker)
            && let Some(stay) = self.crew.set_free(now, worker)
        {
            self.freed(now, worker, stay);
        }
    }

    /// Reserves free workers for calls of other servers.
    pub(super) fn reserve_for_others(&mut self, now: Instant) {
        loop {
            let Some(Wanted { since: Some(since), calls: 1.. }) = self.wanted() else { return };
            if self.stopping || self.are_enough_running() || self.has_older_call(now, since) {
                return;
            }
            let kept = self.background.kept;
            let free = self.crew.free().iter().rev().find(|worker| kept != Some(**worker));
            let Some(worker) = free.copied() else { return };
            self.crew.reserve(worker);
            if let Some(spread) = &mut self.spread {
                spread.wanted.calls -= 1;
            }
            self.push(Action::Claim(worker));
        }
    }

    fn wanted(&self) -> Option<Wanted> {
        self.spread.as_ref().map(|spread| spread.wanted)
    }

    /// Returns true if a call of this server waits since then or longer.
    fn has_older_call(&mut self, now: Instant, since: Instant) -> bool {
        let rule = self.wait_rule(now);
        let Some(id) = self.line.next(rule, |id| self.calls.since(id)) else { return false };
        let Some(own) = self.calls.since(id) else { return false };
        self.waits_since(own) <= since
    }

    /// Fails a call whose worker was lost.
    pub(super) fn fail_lost(&mut self, now: Instant, id: CallId, failure: Failure) {
        let origin = self.calls.get(id).map(|call| call.origin);
        let Some(CallOrigin::Elsewhere { blamed }) = origin else {
            return self.fail(now, id, failure);
        };
        if let Some(ended) = self.end(now, id, false) {
            self.push(Action::GuestLost { ended: Box::new(ended), failure, blamed });
        }
    }
}
