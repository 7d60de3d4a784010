//! Calls that run long: when a worker is looked at because of its oldest call, and what was found.
//!
//! Pure: the part of [`State`] that asks for looks. The shell looks (`diagnose`), and `doctor` says
//! what it means. A call that is answered soon is never looked at.

use std::time::{Duration, Instant};

use super::actions::Action;
use super::crew::WorkerBook;
use super::rules::Rules;
use super::state::State;
use crate::base::{CallId, Conduct, WorkerId};

/// The longest time until the first look. Two looks must agree, and callers are told at `timeout`:
/// a short one leaves room for both.
const FIRST_MOST: Duration = Duration::from_secs(1);

impl Rules {
    /// Returns how long the oldest call of a worker may run until the first look.
    pub(super) fn first_look(&self) -> Duration {
        (self.timeout / 4).min(FIRST_MOST)
    }
}

impl<P> State<P> {
    /// When the worker is looked at next because of its oldest call: after `first_look`, as long
    /// again after that, and then each time after twice as long.
    pub(super) fn look_at(&self, book: &WorkerBook) -> Option<Instant> {
        book.held.front()?;
        Some(match book.looked {
            None => book.head_since + self.first_look,
            Some(last) => last + self.first_look.max(last.duration_since(book.head_since)),
        })
    }

    /// Asks for a look at a worker whose oldest call runs long.
    pub(super) fn check_long_run(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let Some(at) = self.look_at(book) else { return };
        if at > now {
            return self.alarms.at(at);
        }
        let head = book.held.front().map(|held| held.id);
        self.crew.looked(now, worker);
        if let Some(next) = self.crew.get(worker).and_then(|book| self.look_at(book)) {
            self.alarms.at(next);
        }
        // Nobody waits for a call that another worker has answered.
        if let Some(call) = head.filter(|id| self.calls.get(*id).is_some()) {
            self.push(Action::Examine { worker, call });
        }
    }

    /// Looks have shown what a worker does with its oldest call. Returns true if that is news.
    pub fn found(&mut self, worker: WorkerId, call: CallId, conduct: Conduct) -> bool {
        let is_news = self.crew.found(worker, call, conduct);
        if let Some(call) = self.calls.get_mut(call).filter(|_| is_news) {
            call.conduct = Some(conduct);
        }
        is_news
    }

    /// Returns what workers were found to do with the oldest calls that they hold.
    pub fn conducts(&self) -> Vec<(WorkerId, Conduct)> {
        self.crew.iter().filter_map(|book| Some((book.id, book.conduct?))).collect()
    }
}
