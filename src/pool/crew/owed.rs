//! What a worker still owes after a call took too long, when it was last heard, and what it never
//! read.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].

use std::time::Instant;

use super::super::line::Charge;
use super::{Crew, GivenUp, Released, Stay, WorkerBook};
use crate::base::{CallId, WorkerId};

/// What the worker is after a call was taken back from it.
pub(in crate::pool) struct TakenBack {
    /// What its tenant has paid for it; `None` for background work.
    pub(in crate::pool) charge: Option<Charge>,
    /// It holds nothing now; whether it stays.
    pub(in crate::pool) freed: Option<Stay>,
}

impl WorkerBook {
    /// Returns true if no call may stand behind one that it holds.
    pub(in crate::pool) fn holds_large(&self) -> bool {
        self.held.iter().any(|held| held.is_large)
    }
}

impl Crew {
    /// A worker answered some call.
    pub(in crate::pool) fn heard(&mut self, now: Instant, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.heard_at = Some(now);
            book.is_mute = false;
        }
    }

    /// A worker answered a call that was given up. Returns true if it had stepped back, and has
    /// nothing to work on now.
    pub(in crate::pool) fn answered_late(&mut self, worker: WorkerId, id: CallId) -> bool {
        let Some(book) = self.workers.get_mut(&worker) else { return false };
        book.given_up.retain(|call| call.id != id);
        let rests = book.given_up.is_empty() && book.held.is_empty();
        rests && std::mem::take(&mut book.stepped_back) > 0
    }

    /// Gives up a call that a worker holds and still has to answer. Returns `None` if the worker
    /// does not hold the call.
    pub(in crate::pool) fn give_up(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
    ) -> Option<Released> {
        let before = self.workers.get(&worker)?;
        let (was_overdue, stepped_back) = (before.overdue, before.stepped_back);
        let released = self.release(now, worker, id, false, false)?;
        let book = self.workers.get_mut(&worker)?;
        book.given_up.push(GivenUp { id, given: released.given });
        // The worker does not go on to the calls behind this one because it was given up.
        book.overdue = was_overdue && released.freed.is_none();
        // It computes on.
        book.stepped_back = stepped_back;
        Some(released)
    }

    /// A worker that answers nobody takes no more calls, and is to be replaced.
    pub(in crate::pool) fn mute(&mut self, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.is_mute = true;
        }
        self.make_due(worker);
    }

    /// A call was answered by one worker or abandoned, so no caller needs the answers of the
    /// workers that hold it now.
    pub(in crate::pool) fn orphan(&mut self, id: CallId, since: Instant) {
        let held = self.workers.values_mut().flat_map(|book| book.held.iter_mut());
        held.filter(|held| held.id == id).for_each(|held| held.orphaned = Some(since));
    }

    /// A call that a worker has not read leaves it. Returns `None` if the worker does not hold it.
    pub(in crate::pool) fn take_back(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
    ) -> Option<TakenBack> {
        let book = self.workers.get_mut(&worker)?;
        let place = book.held.iter().position(|held| held.id == id)?;
        let held = book.held.remove(place)?;
        if place == 0 {
            book.has_new_head(now);
            book.overdue = false;
        }
        let freed = book.held.is_empty().then(|| Self::freed(&mut self.free, now, book));
        if freed.is_some() {
            self.busy.remove(worker);
        }
        Some(TakenBack { charge: held.charge, freed })
    }
}
