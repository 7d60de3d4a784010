//! A worker that waits for a call of another server.
//!
//! Pure: the smallest steps on it, as the rest of [`Crew`].

use std::time::Instant;

use super::{Crew, Phase, Stay};
use crate::base::WorkerId;

impl Crew {
    /// A free worker takes no calls until it is given one of another server.
    pub(in crate::pool) fn reserve(&mut self, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.is_reserved = true;
            Self::leave_free(&mut self.free, worker);
        }
    }

    /// A worker is reserved no longer. It is not free yet: it is given a call now, or
    /// [`Crew::set_free`] is next. Returns false if it was not, or if it leaves.
    pub(in crate::pool) fn unreserve(&mut self, worker: WorkerId) -> bool {
        let Some(book) = self.workers.get_mut(&worker) else { return false };
        std::mem::take(&mut book.is_reserved) && book.phase == Phase::Serving
    }

    /// A worker that was reserved got no call. Returns whether it stays.
    pub(in crate::pool) fn set_free(&mut self, now: Instant, worker: WorkerId) -> Option<Stay> {
        let book = self.workers.get_mut(&worker)?;
        Some(Self::freed(&mut self.free, now, book))
    }
}
