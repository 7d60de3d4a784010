//! The ids of cancelled calls, so that a late answer is not taken for one that belongs to no call.
//!
//! Pure: remembers the highest [`REMEMBERED_MAX`] ids one by one. Any id below them that was used
//! counts as cancelled too: otherwise callers who leave could make a slow worker look out of step.

use std::collections::BTreeSet;

/// How many cancelled ids are remembered one by one.
pub(super) const REMEMBERED_MAX: usize = 1024;

/// Which ids were cancelled.
#[derive(Debug, Default)]
pub(super) struct CancelledIds {
    ids: BTreeSet<u64>,
    /// Ids up to this one were never used.
    unused_up_to: u64,
    /// Every used id up to this one counts as cancelled. Only grows.
    all_up_to: u64,
    /// Those of them to which no answer has come: the worker may still be at work on them.
    silent: BTreeSet<u64>,
    /// There were too many of those to remember them one by one.
    has_lost_track: bool,
}

impl CancelledIds {
    /// No id is cancelled, and none up to this one is ever used.
    pub(super) fn above(id: u64) -> Self {
        Self { unused_up_to: id, all_up_to: id, ..Self::default() }
    }

    /// Adds an id. Calls are not always cancelled in the order in which they were asked.
    pub(super) fn add(&mut self, id: u64) {
        if self.silent.len() == REMEMBERED_MAX {
            self.has_lost_track = true;
            self.silent.clear();
        }
        self.silent.insert(id);
        if id <= self.all_up_to {
            return;
        }
        self.ids.insert(id);
        if self.ids.len() > REMEMBERED_MAX
            && let Some(lowest) = self.ids.pop_first()
        {
            self.all_up_to = lowest;
        }
    }

    /// Notes that the answer to a cancelled call has come.
    pub(super) fn answered(&mut self, id: u64) {
        self.silent.remove(&id);
    }

    /// Returns true if every cancelled call has had its answer, so that the worker is at work on
    /// none of them.
    pub(super) fn are_answered(&self) -> bool {
        self.silent.is_empty() && !self.has_lost_track
    }

    /// Returns true if what comes for this id is late.
    pub(super) fn contains(&self, id: u64) -> bool {
        (self.unused_up_to < id && id <= self.all_up_to) || self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = REMEMBERED_MAX as u64;

    fn cancelled(ids: impl IntoIterator<Item = u64>) -> CancelledIds {
        let mut cancelled = CancelledIds::default();
        ids.into_iter().for_each(|id| cancelled.add(id));
        cancelled
    }

    #[test]
    fn an_id_that_was_not_cancelled_is_not_contained() {
        let cancelled = cancelled([5, 3]);
        assert_eq!((0..7).filter(|id| cancelled.contains(*id)).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn no_cancelled_id_is_ever_forgotten_whatever_the_order() {
        let count = 3 * MAX;
        let low_last = (MAX + 1..=count).chain(1..=MAX);
        let (up, down) = (1..=count, (1..=count).rev());
        let orders: [Box<dyn Iterator<Item = u64>>; 3] =
            [Box::new(up), Box::new(down), Box::new(low_last)];
        for (place, order) in orders.into_iter().enumerate() {
            let mut cancelled = CancelledIds::default();
            let mut added = Vec::new();
            for id in order {
                cancelled.add(id);
                added.push(id);
                if added.len() % 100 == 0 {
                    assert!(added.iter().all(|id| cancelled.contains(*id)), "order {place}");
                }
            }
            assert!((1..=count).all(|id| cancelled.contains(id)), "order {place}");
            assert!(!cancelled.contains(0) && !cancelled.contains(count + 1));
        }
    }

    #[test]
    fn an_id_below_the_first_is_not_contained_however_many_are_cancelled() {
        let mut cancelled = CancelledIds::above(5000);
        (5001..=5000 + 3 * MAX).for_each(|id| cancelled.add(id));
        assert!(cancelled.contains(5001) && !cancelled.contains(5000) && !cancelled.contains(1));
    }

    #[test]
    fn after_more_than_can_be_remembered_the_worker_never_counts_as_free_again() {
        let free_after = |count| {
            let mut cancelled = cancelled(1..=count);
            assert!(!cancelled.are_answered());
            (1..=count).for_each(|id| cancelled.answered(id));
            cancelled.are_answered()
        };
        assert!(free_after(MAX));
        assert!(!free_after(MAX + 1));
    }

    #[test]
    fn the_memory_is_bounded_and_the_highest_ids_stay_exact() {
        // Only odd ids are cancelled.
        let cancelled = cancelled((1..=4 * MAX).map(|number| 2 * number - 1));
        assert_eq!(cancelled.ids.len(), REMEMBERED_MAX);
        let highest = 8 * MAX - 1;
        for id in (highest - 2 * MAX + 2..=highest).step_by(2) {
            assert!(cancelled.contains(id) && !cancelled.contains(id - 1), "{id}");
        }
    }
}
