//! When a worker may begin with background work, which waits outside of the books.
//!
//! Pure: the part of [`State`] that lets it in. So the queue, the rule of overload and `Retry-After`
//! know nothing of it. The shell (`feeder`) asks for
//! [`State::vacancy`] whenever a worker may have become free, and calls [`State::begin`].
//!
//! - Callers go first: background work begins only where no call waits.
//! - It holds at most the pool's `share` of the places in workers, and none while a single worker
//!   serves, unless the share is all.
//! - Where a worker works on one call at a time, one with background work gets no other calls: they
//!   would stand behind it.
//! - Background work that has waited for [`WAIT_MOST`] while none runs gets the next worker that
//!   becomes free, whatever waits in the queue.
//! - The estimates of how long calls take do not learn from it.
//! - Where workers get groups, a group of it is in one place, and never has calls of callers in it.

use std::time::Instant;

use super::actions::{Action, NewCall};
use super::background::WAIT_MOST;
use super::crew::{Census, Held, WorkerBook};
use super::grouping::HalfId;
use super::rules::Rules;
use super::scale::PATIENCE;
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

impl<P> State<P> {
    /// Background work waits since then; `is_ready` if some of it could begin at once. `None`: none
    /// waits.
    pub fn background_waits(&mut self, since: Option<Instant>, is_ready: bool) {
        self.background.waits_since = since;
        self.background.is_ready = is_ready && since.is_some();
        if since.is_none() {
            // No worker is kept for what has gone.
            self.background.kept = None;
        }
        // Without a share it changes nothing, not even when the books are looked at.
        if let Some(since) = since.filter(|_| self.rules.share > 0) {
            self.alarms.at(since + WAIT_MOST);
        }
    }

    /// Asks for a tick at this time.
    pub fn wake(&mut self, now: Instant) {
        self.alarms.at(now);
    }

    /// Returns how many pieces of background work can begin now. Call it after [`State::settle`].
    pub fn vacancy(&mut self, now: Instant) -> usize {
        if self.stopping || self.are_enough_running() {
            return 0;
        }
        let left = self.background_most().saturating_sub(self.background_running());
        if left == 0 {
            return 0;
        }
        if self.background.kept.is_some() && self.owes_background(now) {
            return usize::from(self.background_place().is_some());
        }
        if self.line.len() > 0 || self.line.is_overloaded() {
            return 0;
        }
        left.min(self.background_places())
    }

    /// Returns true if background work has waited too long while none runs: the next worker that
    /// becomes free is for it.
    pub fn owes_background(&mut self, now: Instant) -> bool {
        let is_late = |since: Instant| since + WAIT_MOST <= now;
        self.background.waits_since.is_some_and(is_late)
            && self.background_most() > 0
            && self.background_running() == 0
    }

    /// Returns true if no background work can begin, because no worker serves and the last starts
    /// failed. The failure says so.
    pub fn hopeless(&self, now: Instant) -> Option<Failure> {
        (self.has_no_prospect() && !self.stopping).then(|| self.no_worker(now))
    }

    /// A piece of background work begins. Only where [`State::vacancy`] says that one may. `retries`: how
    /// many workers it has cost already.
    ///
    /// # Errors
    ///
    /// If the work is refused, its payload comes back with `poisonous`, `no_worker` or `draining`.
    pub fn begin(
        &mut self,
        now: Instant,
        call: NewCall<P>,
        retries: u32,
    ) -> Result<CallId, (P, Failure)> {
        if self.stopping {
            return Err((call.payload, Failure::Draining));
        }
        let Some(worker) = self.background_place() else {
            return Err((call.payload, self.no_worker(now)));
        };
        let id = self.admit(now, call, retries)?;
        self.background.kept = None;
        self.give(now, id, worker);
        Ok(id)
    }

    /// Background work enters the books, for a worker to begin with it.
    ///
    /// # Errors
    ///
    /// As [`State::begin`] has them.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        call: NewCall<P>,
        retries: u32,
    ) -> Result<CallId, (P, Failure)> {
        let question = self.suspects.arrives(now, &call.payload);
        if question.is_some_and(|question| self.suspects.refuses(now, question)) {
            return Err((call.payload, Failure::Poisonous));
        }
        let id = self.enter(now, call, question, (None, None, Rules::never(now)));
        if let Some(call) = self.calls.get_mut(id) {
            call.retries = retries;
        }
        Ok(id)
    }

    /// A background call whose worker was lost leaves the books, and may run again.
    pub(super) fn give_back(&mut self, now: Instant, id: CallId) {
        let (retries, half) =
            self.calls.get(id).map_or((0, HalfId::NONE), |call| (call.retries, call.half));
        if let Some(ended) = self.end(now, id, false) {
            self.push(Action::GoesBack { payload: Box::new(ended.payload), retries, half });
        }
    }

    /// Chooses the worker that takes no calls of callers until it has room for background work that
    /// has waited too long: one that is free, else the one with the fewest calls.
    pub(super) fn keep_for_background(&mut self, now: Instant) {
        let was = self.background.kept.take();
        if !self.background.is_ready || self.stopping || !self.owes_background(now) {
            return;
        }
        let takes_calls = |id: &WorkerId| self.crew.get(*id).is_some_and(WorkerBook::takes_calls);
        let least = || {
            let books = self.crew.iter().filter(|book| book.takes_calls());
            books.min_by_key(|book| book.held.len()).map(|book| book.id)
        };
        let free = self.crew.free().last().copied();
        self.background.kept = free.or(was.filter(takes_calls)).or_else(least);
    }

    /// Sets the alarm at which waiting background work has waited too long.
    pub(super) fn note_background(&mut self, now: Instant) {
        let due = self.background.waits_since.map(|since| since + WAIT_MOST);
        if let Some(due) = due.filter(|due| *due > now && self.rules.share > 0) {
            self.alarms.at(due);
        }
    }

    /// How many workers to add for background work: one, if some waits that cannot begin.
    pub(super) fn background_demand(&mut self, now: Instant, census: Census) -> usize {
        let Some(since) = self.background.waits_since else { return 0 };
        if census.starting > 0 || !self.may_grow_for_background() {
            return 0;
        }
        if now < since + PATIENCE {
            self.alarms.at(since + PATIENCE);
            return 0;
        }
        usize::from(self.vacancy(now) == 0)
    }

    /// Returns true if background work waits, and more of it could run if more workers served.
    pub(super) fn may_grow_for_background(&self) -> bool {
        self.background.waits()
            && self.background_running() < self.rules.background_most(self.rules.most)
    }

    /// Returns true if a worker can be given no call because of the background work that it has.
    pub(super) fn is_in_background(&self, book: &WorkerBook) -> bool {
        self.rules.takes_one() && book.held.front().is_some_and(Held::is_background)
    }

    fn background_most(&mut self) -> usize {
        let serving = self.crew.census().serving;
        self.rules.background_most(serving)
    }

    /// Returns true if a worker holds background work.
    pub fn runs_background(&self) -> bool {
        self.background_running() > 0
    }

    /// Shows each piece of background work that a worker holds.
    pub fn each_background(&self, mut show: impl FnMut(&P)) {
        let held = self.crew.iter().flat_map(|book| &book.held);
        for held in held.filter(|held| held.is_background()) {
            if let Some(payload) = self.payload(held.id) {
                show(payload);
            }
        }
    }

    fn background_running(&self) -> usize {
        if self.rules.group.is_some() {
            // A group is in one place, whatever its size.
            return self.crew.iter().filter(|book| self.is_in_background(book)).count();
        }
        let held = self.crew.iter().flat_map(|book| &book.held);
        held.filter(|held| held.is_background()).count()
    }

    /// How many free places background work could have.
    fn background_places(&self) -> usize {
        if self.rules.places_each() == 1 {
            return self.crew.free().len();
        }
        self.crew.iter().map(|book| self.room_in(book)).sum()
    }

    /// How many more calls a worker can work on.
    fn room_in(&self, book: &WorkerBook) -> usize {
        if !book.takes_calls() || self.is_full(book) {
            return 0;
        }
        let places = self.rules.places_each();
        let inside = book.held.len() + book.given_up.len();
        // One that holds nothing has room, whatever it owes.
        places.saturating_sub(inside).max(usize::from(book.held.is_empty()))
    }

    /// The worker that gets the next background work: one that was kept for it, else the free worker
    /// used last, else the one that holds the fewest calls.
    pub(super) fn background_place(&self) -> Option<WorkerId> {
        if let Some(kept) = self.background.kept {
            return self.crew.get(kept).filter(|book| self.room_in(book) > 0).map(|book| book.id);
        }
        let free = self.crew.free().last().copied();
        free.or_else(|| {
            let roomy = self.crew.iter().filter(|book| self.room_in(book) > 0);
            roomy.min_by_key(|book| book.held.len()).map(|book| book.id)
        })
    }
}
