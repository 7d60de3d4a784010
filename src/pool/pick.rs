//! Which worker gets the next call.
//!
//! Pure: a part of [`State`].

use std::time::{Duration, Instant};

use super::crew::WorkerBook;
use super::state::State;
use crate::base::WorkerId;
use crate::config::InFlight;

impl<P> State<P> {
    /// The worker that gets the next call: the free worker used last, else the one that holds the
    /// fewest calls and has room. A worker whose head is overdue gets no call.
    ///
    /// To wake a process costs more than a call that takes microseconds. While calls are known to, and as
    /// many workers as there are processors are at work, one of these gets the call, if it has room.
    pub(super) fn pick(&self, now: Instant, may_follow: bool) -> Option<WorkerId> {
        if self.are_enough_running() {
            return None;
        }
        let kept = self.background.kept;
        let mut free = self.crew.free().iter().rev();
        let free = free.find(|worker| kept != Some(**worker)).copied();
        let (window, patience, spares) = match self.rules.in_flight {
            InFlight::Fixed(calls) => (calls, Duration::MAX, false),
            InFlight::Auto if may_follow => (self.window(), self.estimate.overdue_after(), true),
            InFlight::Auto => (1, Duration::ZERO, false),
        };
        let busy = self.crew.busy().workers();
        if window == 1 || free.is_some() && (!spares || busy.len() < self.rules.processors) {
            return free;
        }
        let mut at_work = 0;
        let mut best: Option<(usize, WorkerId)> = None;
        for book in busy.iter().filter_map(|worker| self.crew.get(*worker)) {
            if book.overdue || now.duration_since(book.head_since) >= patience {
                continue;
            }
            at_work += 1;
            let place = (book.held.len(), book.id);
            if self.has_room(book, window) && best.is_none_or(|best| place < best) {
                best = Some(place);
            }
        }
        let best = best.map(|(_, worker)| worker);
        if at_work < self.rules.processors { free.or(best) } else { best.or(free) }
    }

    /// Returns true if a worker that is at work may be given one more call.
    fn has_room(&self, book: &WorkerBook, window: u32) -> bool {
        let inside = book.held.len() + book.given_up.len();
        let is_full = book.given_up.len() >= self.rules.given_up_most();
        let has_room = !is_full && inside < window as usize && !book.holds_large();
        let is_taken = self.background.kept == Some(book.id) || self.is_in_background(book);
        book.takes_calls() && has_room && !is_taken
    }

    /// Returns true if as many workers run as there may be. A worker that takes one call does not
    /// count from then on, and without this limit each waiting call would get a process at once.
    pub(super) fn are_enough_running(&self) -> bool {
        let has_call = |book: &&WorkerBook| !book.held.is_empty();
        self.rules.recycle_calls == Some(1)
            && self.crew.iter().filter(has_call).count() >= self.rules.most
    }
}
