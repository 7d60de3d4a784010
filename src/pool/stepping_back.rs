//! Workers that step back: one that computes for long while the processors are full gives way to those
//! that start, and to those whose calls are short.
//!
//! Pure: the part of [`State`] that decides which workers step back, and how far. The shell looks at
//! them and changes their priority (`priority`). Anybody may lower the priority of their processes, and
//! few may raise it again; a worker that has stepped back and may not rise is replaced after its answer.

use std::time::{Duration, Instant};

use super::actions::Action;
use super::crew::WorkerBook;
use super::scale::QUICK_START;
use super::sight::{Rising, Sight};
use super::state::State;
use crate::base::WorkerId;

/// How long the oldest call of a worker has run when the worker is first looked at, ...
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// ... while workers are added, which start the sooner for it, ...
const FIRST_LOOK_GROWING: Duration = Duration::from_millis(5);
/// ... and where a worker cannot rise again: to start another one is a small part of this.
const FIRST_LOOK_FOR_GOOD: Duration = Duration::from_millis(300);
/// How far workers step back (`nice`) while no more than so many of them do on each processor.
/// Together they weigh a third of an ordinary process there, so one that starts gets three quarters.
const STEPS: [(usize, u8); 3] = [(1, 5), (3, 10), (9, 15)];
/// How far they step back while more of them do.
const LAST_STEP: u8 = 19;

impl<P> State<P> {
    /// How long the oldest call of a worker may run until the first look.
    pub(super) fn sight_after(&self) -> Duration {
        match self.rising {
            Rising::Permitted if self.is_growing => FIRST_LOOK_GROWING,
            Rising::Permitted => FIRST_LOOK,
            Rising::Refused => FIRST_LOOK_FOR_GOOD,
        }
    }

    /// When the worker is looked at next because its oldest call may compute for long; `None` if it has
    /// no call, or has stepped back, or while fewer workers than there are processors have calls, or
    /// where it could not rise again and another one takes long to start.
    pub(super) fn step_back_at(&self, book: &WorkerBook) -> Option<Instant> {
        book.held.front().filter(|_| book.stepped_back == 0)?;
        // One that cannot rise again costs a start, which must be quick.
        let is_slow = self.crew.start_time().is_none_or(|time| time > QUICK_START);
        if self.rising == Rising::Refused && is_slow {
            return None;
        }
        let (first, full) = (self.sight_after(), self.crew.busy().enough_since()?);
        Some(match book.sighted {
            None => book.head_since.max(full) + first,
            Some(last) => last.max(full) + first.max(last.duration_since(book.head_since)),
        })
    }

    /// Sets the alarm at which a worker that was given its first call just now may be looked at.
    pub(super) fn note_sight(&mut self, now: Instant) {
        if self.crew.busy().enough_since().is_some() {
            self.alarms.at(now + self.sight_after());
        }
    }

    /// Asks for a look at a worker whose oldest call runs long.
    pub(super) fn check_step_back(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let Some(at) = self.step_back_at(book) else { return };
        if at > now {
            return self.alarms.at(at);
        }
        self.crew.sighted(now, worker);
        if let Some(next) = self.crew.get(worker).and_then(|book| self.step_back_at(book)) {
            self.alarms.at(next);
        }
        self.push(Action::Sight(worker));
    }

    /// A look has shown what a worker and the processors do. The worker steps back if it must; those
    /// that did before step back as far, if that is further.
    pub fn seen(&mut self, worker: WorkerId, sight: Sight) {
        let Some(book) = self.crew.get(worker) else { return };
        let gives_way = sight.computes && sight.is_full;
        if !gives_way || book.held.is_empty() || book.stepped_back > 0 {
            return;
        }
        let before = self.crew.iter().filter(|book| book.stepped_back > 0);
        let before: Vec<(WorkerId, u8)> = before.map(|it| (it.id, it.stepped_back)).collect();
        let on_each = (before.len() + 1).div_ceil(self.rules.processors.max(1));
        let step = STEPS.iter().find(|(most, _)| on_each <= *most);
        let by = step.map_or(LAST_STEP, |(_, by)| *by);
        let further = before.into_iter().filter(|(_, step)| *step < by).map(|(id, _)| id);
        for id in further.chain([worker]) {
            self.crew.step_back(id, by);
            self.push(Action::StepBack { worker: id, by });
        }
    }

    /// A worker could not be slowed down, so it need not rise again.
    pub fn stays_in_front(&mut self, worker: WorkerId) {
        self.crew.step_back(worker, 0);
    }

    /// A worker could not rise to its old priority. It is replaced.
    pub fn stays_back(&mut self, worker: WorkerId) {
        self.rising = Rising::Refused;
        self.crew.make_due(worker);
        self.retire_due();
    }
}

#[cfg(test)]
mod tests;
