//! What a worker still owes after a call took too long, and when it was last heard.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].

use std::time::Instant;

use super::{Crew, GivenUp, Released};
use crate::base::{CallId, WorkerId};

impl Crew {
    /// A worker answered some call.
    pub(in crate::pool) fn heard(&mut self, now: Instant, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.heard_at = Some(now);
            book.is_mute = false;
        }
    }

    /// A worker answered a call that was given up.
    pub(in crate::pool) fn answered_late(&mut self, worker: WorkerId, id: CallId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.given_up.retain(|call| call.id != id);
        }
    }

    /// Gives up a call that a worker holds and still has to answer. Returns `None` if the worker
    /// does not hold the call.
    pub(in crate::pool) fn give_up(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
    ) -> Option<Released> {
        let was_overdue = self.workers.get(&worker)?.overdue;
        let released = self.release(now, worker, id, false)?;
        let book = self.workers.get_mut(&worker)?;
        book.given_up.push(GivenUp { id, given: released.given });
        // The worker does not go on to the calls behind this one because it was given up.
        book.overdue = was_overdue && released.freed.is_none();
        Some(released)
    }

    /// A worker that answers nobody takes no more calls, and is to be replaced.
    pub(in crate::pool) fn mute(&mut self, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.is_mute = true;
        }
        self.make_due(worker);
    }
}
