//! The background work that waits for a pool, and what of it begins next.
//!
//! Pure. Jobs that have come for the place that they were offered begin first. Then open batches take
//! turns, item by item, and go before the jobs that wait in their own place. After [`WAIT_MOST`] in
//! which no job has begun, one job goes before them.

use std::collections::VecDeque;
use std::time::Instant;

use super::background::WAIT_MOST;
use crate::base::BatchId;

/// What waits. `T` is what the shell keeps with each piece of work.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    /// The first has the next turn. None is empty.
    batches: VecDeque<(BatchId, VecDeque<BacklogPiece<T>>)>,
    /// Jobs with a place.
    jobs: VecDeque<BacklogPiece<T>>,
    /// When a job last came, or was offered a place.
    last_job: Option<Instant>,
    count: u64,
}

/// The number of a piece of work that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BacklogId(u64);

#[derive(Debug)]
struct BacklogPiece<T> {
    id: BacklogId,
    since: Instant,
    what: T,
}

/// What begins next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextWork<T> {
    /// This work.
    Begins(T),
    /// A job that still waits in its own place.
    Offer,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self { batches: VecDeque::new(), jobs: VecDeque::new(), last_job: None, count: 0 }
    }
}

impl<T> Backlog<T> {
    /// Adds an item of a batch.
    pub(super) fn push_item(&mut self, now: Instant, batch: BatchId, what: T) -> BacklogId {
        let piece = self.piece(now, what);
        let id = piece.id;
        match self.batches.iter_mut().find(|(other, _)| *other == batch) {
            Some((_, pieces)) => pieces.push_back(piece),
            None => self.batches.push_back((batch, VecDeque::from([piece]))),
        }
        id
    }

    /// Puts an item of a batch back, before the others of its batch.
    pub(super) fn return_item(&mut self, now: Instant, batch: BatchId, what: T) -> BacklogId {
        let piece = self.piece(now, what);
        let id = piece.id;
        match self.batches.iter_mut().find(|(other, _)| *other == batch) {
            Some((_, pieces)) => pieces.push_front(piece),
            None => self.batches.push_front((batch, VecDeque::from([piece]))),
        }
        id
    }

    /// Adds a job that was offered a place, or had one.
    pub(super) fn push_job(&mut self, now: Instant, what: T) -> BacklogId {
        self.last_job = Some(now);
        let piece = self.piece(now, what);
        let id = piece.id;
        self.jobs.push_back(piece);
        id
    }

    fn piece(&mut self, since: Instant, what: T) -> BacklogPiece<T> {
        self.count += 1;
        BacklogPiece { id: BacklogId(self.count), since, what }
    }

    /// Removes a piece of work whose caller has left.
    pub(super) fn remove(&mut self, id: BacklogId) -> Option<T> {
        let lists = self.batches.iter_mut().map(|(_, pieces)| pieces).chain([&mut self.jobs]);
        let removed = lists.into_iter().find_map(|list| {
            let place = list.iter().position(|piece| piece.id == id)?;
            list.remove(place)
        });
        self.batches.retain(|(_, pieces)| !pieces.is_empty());
        removed.map(|piece| piece.what)
    }

    /// Removes and returns what begins next; `None` if nothing waits. Jobs wait in their own place
    /// since `jobs_since`. If `has_place` is false, only a job that has come for its place may begin.
    pub(super) fn next(
        &mut self,
        now: Instant,
        jobs_since: Option<Instant>,
        has_place: bool,
    ) -> Option<NextWork<T>> {
        if let Some(job) = self.jobs.pop_front() {
            return Some(NextWork::Begins(job.what));
        }
        if !has_place {
            return None;
        }
        let waited = jobs_since.map(|since| self.last_job.map_or(since, |last| last.max(since)));
        let is_late = waited.is_some_and(|since| since + WAIT_MOST <= now);
        if let Some(item) = self.next_item_if(|_| !is_late) {
            return Some(NextWork::Begins(item));
        }
        jobs_since?;
        self.last_job = Some(now);
        Some(NextWork::Offer)
    }

    /// Removes and returns the next item of a batch, if it is like this.
    pub(super) fn next_item_if(&mut self, is_like: impl FnOnce(&T) -> bool) -> Option<T> {
        let (_, pieces) = self.batches.front()?;
        is_like(&pieces.front()?.what).then_some(())?;
        let (batch, mut pieces) = self.batches.pop_front()?;
        let item = pieces.pop_front();
        if !pieces.is_empty() {
            self.batches.push_back((batch, pieces));
        }
        item.map(|item| item.what)
    }

    /// Since when the work waits that has waited longest.
    pub(super) fn since(&self) -> Option<Instant> {
        let firsts = self.batches.iter().filter_map(|(_, pieces)| pieces.front());
        firsts.chain(self.jobs.front()).map(|piece| piece.since).min()
    }

    /// The batches that have items here, and how many.
    pub(super) fn batches(&self) -> Vec<(BatchId, usize)> {
        self.batches.iter().map(|(batch, pieces)| (*batch, pieces.len())).collect()
    }

    /// How many pieces of work wait.
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.batches.iter().map(|(_, pieces)| pieces.len()).sum::<usize>()
    }

    /// Returns true if nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.batches.is_empty()
    }

    /// Removes and returns the items of all batches.
    pub(super) fn take_items(&mut self) -> Vec<T> {
        let batches = std::mem::take(&mut self.batches).into_iter();
        batches.flat_map(|(_, pieces)| pieces).map(|piece| piece.what).collect()
    }

    /// Removes and returns all work.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let jobs = std::mem::take(&mut self.jobs).into_iter().map(|piece| piece.what);
        jobs.chain(self.take_items()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: BatchId = BatchId(1);
    const TWO: BatchId = BatchId(2);

    fn order(backlog: &mut Backlog<&'static str>, now: Instant) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some(NextWork::Begins(what)) = backlog.next(now, None, true) {
            order.push(what);
        }
        order
    }

    #[test]
    fn open_batches_take_turns_item_by_item() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        for what in ["a1", "a2", "a3", "a4"] {
            backlog.push_item(now, ONE, what);
        }
        assert_eq!(backlog.next(now, None, true), Some(NextWork::Begins("a1")));
        backlog.push_item(now, TWO, "b1");
        backlog.push_item(now, TWO, "b2");
        assert_eq!(backlog.batches(), [(ONE, 3), (TWO, 2)]);
        assert_eq!(order(&mut backlog, now), ["a2", "b1", "a3", "b2", "a4"]);
        assert_eq!((backlog.len(), backlog.since(), backlog.batches()), (0, None, vec![]));
    }

    #[test]
    fn an_item_that_comes_back_is_the_next_of_its_batch() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push_item(now, ONE, "a2");
        backlog.return_item(now, ONE, "a1");
        assert_eq!(order(&mut backlog, now), ["a1", "a2"]);
    }

    #[test]
    fn batches_go_before_jobs_and_one_job_first_after_a_while() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let just_before = now + Duration::from_millis(29_999);
        let late = now + WAIT_MOST;
        for what in ["a1", "a2", "a3", "a4"] {
            backlog.push_item(now, ONE, what);
        }
        assert_eq!(backlog.next(just_before, Some(now), true), Some(NextWork::Begins("a1")));
        assert_eq!(backlog.next(late, Some(now), true), Some(NextWork::Offer));
        assert_eq!(backlog.next(late, Some(now), true), Some(NextWork::Begins("a2")));
        backlog.push_job(late, "job");
        assert_eq!(backlog.next(late, None, false), Some(NextWork::Begins("job")));
        assert_eq!(backlog.next(late, None, false), None);
        let again = late + WAIT_MOST;
        assert_eq!(backlog.next(again, Some(now), true), Some(NextWork::Offer));
        assert_eq!(order(&mut backlog, again), ["a3", "a4"]);
        assert_eq!(backlog.next(again, Some(now), true), Some(NextWork::Offer));
        assert_eq!(backlog.next(again, None, true), None);
    }

    #[test]
    fn what_is_removed_does_not_begin() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let first = backlog.push_item(now, ONE, "a1");
        let only = backlog.push_item(now, TWO, "b1");
        backlog.push_item(now, ONE, "a2");
        assert_eq!((backlog.remove(first), backlog.remove(first)), (Some("a1"), None));
        assert_eq!(backlog.remove(only), Some("b1"));
        assert_eq!(order(&mut backlog, now), ["a2"]);
    }
}
