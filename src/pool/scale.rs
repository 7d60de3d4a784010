//! How many workers there are: kept ready, added under load, replaced, let go.
//!
//! Pure: the part of [`State`] that starts and stops workers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::actions::{Action, StopReason};
use super::books::{Phase, Stay, WorkerBook};
use super::state::State;
use crate::base::{Failure, WorkerId};
use crate::policy::backoff::unit;

/// With no worker free for so long, one more is started; a call that has waited longer asks
/// for one of its own.
const PATIENCE: Duration = Duration::from_millis(5);
/// A worker above the least leaves after being idle for so long.
const IDLE_MOST: Duration = Duration::from_secs(30);
/// Limits that recycle are drawn from the last tenth, so that workers do not leave together.
const JITTER: f64 = 0.1;

/// Workers by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// All that are kept: not leaving, not to be replaced.
    pub(super) counted: usize,
    starting: usize,
    serving: usize,
}

impl<P> State<P> {
    /// Compares the number of workers with what is wanted.
    pub(super) fn scale(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let census = self.census();
        if census.counted > self.rules.most {
            return self.let_go(census.counted - self.rules.most);
        }
        let missing = self.rules.least.saturating_sub(census.counted);
        let room = self.rules.most - census.counted;
        let wanted = missing.max(self.spares(now, census)).min(room);
        if wanted == 0 {
            return;
        }
        if let Some(until) = self.backoff.blocked_until(now) {
            return self.note(until);
        }
        let probing = self.backoff.is_failing() && census.serving == 0;
        let starts = match (probing, census.starting) {
            (false, _) => wanted,
            (true, 0) => 1,
            (true, _) => 0,
        };
        (0..starts).for_each(|_| self.start(now));
    }

    /// Workers to add although nothing is missing.
    fn spares(&mut self, now: Instant, census: Census) -> usize {
        let Some(since) = self.no_free_since else { return 0 };
        if census.counted >= self.rules.most {
            return 0;
        }
        if now < since + PATIENCE {
            self.note(since + PATIENCE);
            return 0;
        }
        let (impatient, next) = self.impatient(now);
        if let Some(accepted) = next {
            self.note(accepted + PATIENCE);
        }
        let for_nobody = usize::from(census.starting == 0);
        impatient.saturating_sub(census.starting).max(for_nobody)
    }

    /// How many calls have waited for long, counted up to the most workers, and when the first of
    /// the others was accepted.
    fn impatient(&self, now: Instant) -> (usize, Option<Instant>) {
        let mut impatient = 0;
        let mut next: Option<Instant> = None;
        for id in self.line.ids() {
            let Some(call) = self.calls.get(id).filter(|call| call.waits_until.is_some()) else {
                continue;
            };
            let is_impatient = now >= call.accepted + PATIENCE;
            if is_impatient {
                impatient += 1;
            } else {
                next = Some(next.map_or(call.accepted, |first| first.min(call.accepted)));
            }
            // Those that never had a worker stand in the order of their acceptance.
            let are_others_younger = !is_impatient && call.given.is_none();
            if are_others_younger || impatient >= self.rules.most {
                break;
            }
        }
        (impatient, next)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a number of calls, lowered by a chance: near is enough"
    )]
    fn start(&mut self, now: Instant) {
        self.census = None;
        self.worker_serial += 1;
        let id = WorkerId(self.worker_serial);
        let early = 1.0 - JITTER * unit(&mut self.seed);
        let calls_due = match self.rules.recycle_calls {
            // Not cut off: of two calls a tenth less is two.
            Some(calls) => ((calls as f64 * early).round() as u64).max(1),
            None => u64::MAX,
        };
        let due_at = self.rules.recycle_age.map(|age| now + age.mul_f64(early));
        if let Some(due_at) = due_at {
            self.note(due_at);
        }
        self.workers.insert(
            id,
            WorkerBook {
                id,
                phase: Phase::Starting,
                started: now,
                held: VecDeque::new(),
                head_since: now,
                busy_since: now,
                idle_since: now,
                given: 0,
                calls_due,
                due_at,
                stay: Stay::Kept,
                proven: false,
                patience: Duration::ZERO,
                overdue: false,
            },
        );
        self.push(Action::Start(id));
    }

    fn census(&mut self) -> Census {
        let known = self.census.unwrap_or_else(|| self.count_workers());
        *self.census.insert(known)
    }

    pub(super) fn count_workers(&self) -> Census {
        let mut census = Census::default();
        for book in self.workers.values() {
            census.counted += usize::from(book.counts());
            census.starting += usize::from(book.phase == Phase::Starting);
            census.serving += usize::from(book.phase == Phase::Serving);
        }
        census
    }

    /// Parts with so many workers: with those that start or are free at once, with busy ones as
    /// they get free.
    fn let_go(&mut self, surplus: usize) {
        let mut kept: Vec<&WorkerBook> =
            self.workers.values().filter(|book| book.counts()).collect();
        kept.sort_by_key(|book| (book.phase, book.held.len(), book.idle_since));
        let parting: Vec<WorkerId> = kept.iter().take(surplus).map(|book| book.id).collect();
        for id in parting {
            match self.workers.get_mut(&id) {
                Some(book) if !book.held.is_empty() => book.stay = book.stay.max(Stay::Due),
                _ => self.stop_worker(id, StopReason::ScaledDown),
            }
        }
        self.census = None;
        self.retire_due();
    }

    /// Stops workers above the least that have been idle for long.
    pub(super) fn check_idle(&mut self, now: Instant) {
        let mut surplus = self.census().counted.saturating_sub(self.rules.least);
        for id in self.free.clone() {
            let Some(book) = self.workers.get(&id).filter(|book| book.counts()) else { continue };
            let leaves_at = book.idle_since + IDLE_MOST;
            if surplus == 0 {
                return;
            }
            if leaves_at > now {
                return self.note(leaves_at);
            }
            surplus -= 1;
            self.stop_worker(id, StopReason::ScaledDown);
        }
    }

    /// A worker became free: it may have to leave some time.
    pub(super) fn note_idle(&mut self, now: Instant) {
        if self.rules.most > self.rules.least {
            self.note(now + IDLE_MOST);
        }
    }

    /// Marks a worker that is old enough; one at a time.
    pub(super) fn check_age(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get(&worker) else { return };
        let Some(due_at) = book.due_at.filter(|_| book.counts()) else { return };
        if due_at > now {
            return self.note(due_at);
        }
        self.recycle(worker);
        if self.workers.get(&worker).is_some_and(WorkerBook::counts) {
            self.note(now + Duration::from_secs(1));
        }
    }

    /// A worker should be replaced soon, for a reason found outside the books (its memory).
    /// Only one at a time is, so that a pool whose workers all grew is not renewed at once.
    pub fn recycle(&mut self, worker: WorkerId) {
        if self.workers.values().any(|book| book.is_due() && book.phase != Phase::Leaving) {
            return;
        }
        if let Some(book) = self.workers.get_mut(&worker) {
            book.stay = book.stay.max(Stay::Due);
        }
        self.census = None;
        self.retire_due();
    }

    /// Parts with the workers that are to be replaced, as soon as enough others serve: with those
    /// that hold nothing at once, with busy ones as they get free.
    pub(super) fn retire_due(&mut self) {
        let is_fresh = |book: &&WorkerBook| book.phase == Phase::Serving && !book.is_due();
        if self.workers.values().filter(is_fresh).count() < self.rules.least {
            return;
        }
        let serving = self.workers.values_mut().filter(|book| book.phase == Phase::Serving);
        let mut free = Vec::new();
        for book in serving.filter(|book| book.is_due()) {
            book.stay = Stay::Parting;
            if book.held.is_empty() {
                free.push(book.id);
            }
        }
        for id in free {
            self.stop_worker(id, StopReason::Recycled);
        }
    }

    pub(super) fn refuse_if_hopeless(&mut self, now: Instant) {
        if !self.has_no_prospect() || self.stopping {
            return;
        }
        for id in self.line.drain() {
            if self.calls.waits(id) {
                let failure = self.no_worker(now);
                self.fail(now, id, failure);
            }
        }
    }

    /// No worker serves, and the last starts came to nothing.
    pub(super) fn has_no_prospect(&self) -> bool {
        self.backoff.is_tripped() && !self.workers.values().any(|book| book.phase == Phase::Serving)
    }

    pub(super) fn no_worker(&self, now: Instant) -> Failure {
        let until = self.backoff.blocked_until(now).unwrap_or(now);
        let why = match &self.in_vain {
            Some(why) => format!("and none can be started now: {why}").into(),
            None => "and none has been yet".into(),
        };
        Failure::NoWorker { why, retry_after: until - now }
    }
}
