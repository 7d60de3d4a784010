//! How calls leave the queue, and the books.
//!
//! Pure: a part of [`State`].

use std::time::Instant;

use super::actions::{Action, Ended};
use super::state::State;
use crate::base::{CallId, Failure};

impl<P> State<P> {
    /// Takes a call out of the queue if it waits there. It stays in the books.
    pub(super) fn leave_queue(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id).filter(|call| call.waits_until.is_some()) else {
            return;
        };
        let bytes = call.bytes;
        let fresh = call.seat.filter(|_| call.given.is_none());
        if let Some(seat) = fresh {
            self.line.look_before(seat, |id| self.calls.since(id));
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.waits_until = None;
            self.line.left(fresh, bytes, |id| self.calls.waits(id));
        }
    }

    /// Ends a call with a failure.
    pub(super) fn fail(&mut self, now: Instant, id: CallId, failure: Failure) {
        self.leave_queue(id);
        if let Some(ended) = self.end(now, id, false) {
            self.push(Action::Fail(Box::new(ended), failure));
        }
    }

    /// Takes a call out of the books; `left` means that its caller left.
    pub(super) fn end(&mut self, now: Instant, id: CallId, left: bool) -> Option<Ended<P>> {
        let call = self.calls.remove(id)?;
        if let Some(deadline) = call.caller_deadline {
            self.alarms.drop_caller_deadline(deadline, id);
        }
        self.suspects.ended(&call);
        if let Some(seat) = call.seat {
            self.line.ended(seat);
        }
        let (timing, abandoned) = (call.timing(now), left || call.abandoned.is_some());
        let conduct = call.conduct;
        Some(Ended { payload: call.payload, timing, abandoned, conduct, at: now })
    }
}
