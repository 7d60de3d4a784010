//! What a pool keeps of calls that have ended, for those who look.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use super::actions::Ended;
use super::entry::Entry;
use crate::base::{CallId, Code, Conduct, Timing};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::observe::rings::{Load, Rings, SecondClock};
use crate::report::{FailureStatus, History, Recent, SecondSample, SlowCall};

/// How many slow calls are kept.
const SLOW_KEPT: usize = 16;
/// Calls that take this long are kept.
const SLOW: Duration = Duration::from_secs(1);

/// What became of the calls of a pool.
#[derive(Debug)]
pub(super) struct Ledger {
    rings: RefCell<Rings>,
    /// The last slow calls, oldest first.
    slow: RefCell<VecDeque<Slow>>,
}

/// A call that took long.
#[derive(Debug)]
struct Slow {
    route: Arc<RouteMetrics>,
    timing: Timing,
    outcome: CallOutcome,
    conduct: Option<Conduct>,
    at: Instant,
}

/// What became of the calls of a pool lately.
#[derive(Clone, Debug)]
pub struct Lately {
    /// The last second that is over.
    pub sample: SecondSample,
    /// The last minute.
    pub recent: Recent,
    /// What failed in the last ten minutes.
    pub failures: FailureStatus,
    /// The last slow calls, the latest first.
    pub slow: Vec<SlowCall>,
}

impl Ledger {
    /// A ledger of a pool that starts now.
    pub(super) fn new(clock: SecondClock, now: Instant) -> Self {
        Self { rings: RefCell::new(Rings::new(clock, now)), slow: RefCell::default() }
    }
}

impl Pool {
    /// Notes how busy the pool is from now on.
    pub(super) fn note_load(&self, now: Instant, load: Load) {
        let mut rings = self.ledger.rings.borrow_mut();
        if rings.is_over(now) {
            rings.roll(now, self.metrics.hits());
        }
        rings.note_load(load);
    }

    /// Counts a call that was refused when it arrived.
    pub(super) fn note_refused(&self, now: Instant, code: Code) {
        let mut rings = self.ledger.rings.borrow_mut();
        if rings.is_over(now) {
            rings.roll(now, self.metrics.hits());
        }
        rings.refused(code);
    }

    /// Counts a call that has ended.
    pub(super) fn note_ended(&self, ended: &Ended<Entry>, outcome: CallOutcome) {
        let Ended { payload: entry, timing, conduct, at, .. } = ended;
        let mut rings = self.ledger.rings.borrow_mut();
        if rings.is_over(*at) {
            rings.roll(*at, self.metrics.hits());
        }
        let failed = match outcome {
            CallOutcome::Failed(code) => Some(code),
            CallOutcome::Ok | CallOutcome::Abandoned => None,
        };
        rings.ended(timing.queue, timing.work, failed);
        drop(rings);
        if self.is_tapped() {
            self.tap_end(&entry.route, *timing, outcome);
        }
        if timing.queue + timing.work >= SLOW {
            let (route, timing, conduct) = (Arc::clone(&entry.route), *timing, *conduct);
            self.ledger.keep_slow(Slow { route, timing, outcome, conduct, at: *at });
        }
    }

    /// Returns what became of its calls lately. This is what closes a second in which no call ended.
    pub fn lately(&self, now: Instant) -> Lately {
        let mut rings = self.ledger.rings.borrow_mut();
        rings.roll(now, self.metrics.hits());
        let slow = self.ledger.slow.borrow();
        Lately {
            sample: rings.sample(),
            recent: rings.recent(),
            failures: rings.failures(),
            slow: slow.iter().rev().map(|slow| slow.shown(now)).collect(),
        }
    }

    /// Returns the last ten minutes, a second each.
    pub fn history(&self, now: Instant) -> History {
        let mut rings = self.ledger.rings.borrow_mut();
        rings.roll(now, self.metrics.hits());
        rings.history()
    }
}

impl Ledger {
    fn keep_slow(&self, call: Slow) {
        let mut slow = self.slow.borrow_mut();
        if slow.len() == SLOW_KEPT {
            slow.pop_front();
        }
        slow.push_back(call);
    }
}

impl Slow {
    fn shown(&self, now: Instant) -> SlowCall {
        SlowCall {
            call: self.timing.call.map(CallId::name).unwrap_or_default(),
            route: self.route.label().to_owned().into(),
            worker: self.timing.worker.map(|worker| worker.0),
            wait: self.timing.queue,
            work: self.timing.work,
            outcome: self.outcome.label().into(),
            verdict: self.conduct.map(|conduct| conduct.label().into()),
            ago: now.saturating_duration_since(self.at),
        }
    }
}
