//! The workers that hold calls.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].
//!
//! [`Crew`]: super::Crew

use std::time::Instant;

use crate::base::WorkerId;

/// The workers that hold calls, in the order in which they began to.
#[derive(Debug, Default)]
pub(in crate::pool) struct Busy {
    workers: Vec<WorkerId>,
    /// How many of them keep all processors busy.
    enough: usize,
    /// Since when there are that many.
    enough_since: Option<Instant>,
}

impl Busy {
    pub(in crate::pool) fn workers(&self) -> &[WorkerId] {
        &self.workers
    }

    /// Since when there have been as many as there are processors; `None` while there are fewer.
    pub(in crate::pool) fn enough_since(&self) -> Option<Instant> {
        self.enough_since
    }

    /// A worker was given its first call; `processors` such workers keep all processors busy.
    pub(super) fn add(&mut self, now: Instant, worker: WorkerId, processors: usize) {
        self.workers.push(worker);
        self.enough = processors;
        if self.workers.len() >= processors {
            self.enough_since.get_or_insert(now);
        }
    }

    /// A worker holds nothing any longer.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        if self.workers.last() == Some(&worker) {
            self.workers.pop();
        } else if let Some(place) = self.workers.iter().position(|other| *other == worker) {
            self.workers.remove(place);
        }
        if self.workers.len() < self.enough {
            self.enough_since = None;
        }
    }
}
