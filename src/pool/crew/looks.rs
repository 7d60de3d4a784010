//! Looks at a worker because of its oldest call, and what they have shown.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].

use std::time::Instant;

use super::{Crew, WorkerBook};
use crate::base::{CallId, Conduct, WorkerId};

impl Crew {
    /// A worker is looked at because of its head.
    pub(in crate::pool) fn looked(&mut self, now: Instant, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.looked = Some(now);
        }
    }

    /// A worker is looked at because its head may compute for long.
    pub(in crate::pool) fn sighted(&mut self, now: Instant, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.sighted = Some(now);
        }
    }

    /// A worker steps back.
    pub(in crate::pool) fn step_back(&mut self, worker: WorkerId, by: u8) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.stepped_back = by;
        }
    }

    /// A worker was seen to do this with its head. Returns true if that is news.
    pub(in crate::pool) fn found(
        &mut self,
        worker: WorkerId,
        call: CallId,
        conduct: Conduct,
    ) -> bool {
        let book = self.workers.get_mut(&worker);
        let is_head = |book: &&mut WorkerBook| book.held.front().is_some_and(|it| it.id == call);
        let Some(book) = book.filter(is_head) else { return false };
        book.conduct.replace(conduct) != Some(conduct)
    }
}
