//! What a pool keeps of calls that have ended, for those who look.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use super::actions::Ended;
use super::entry::Payload;
use super::seldom_said::SeldomSaid;
use crate::base::{CallId, Code, Conduct, Timing};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::observe::rings::{Load, Rings, SecondClock};
use crate::report::{FailureStatus, History, Recent, SecondSample, SlowCall};

/// How many slow calls are kept.
const SLOW_KEPT: usize = 16;
/// Calls that take longer are kept where the configuration does not say which.
const SLOW: Duration = Duration::from_secs(1);
/// How often the log tells of them.
const SLOW_EVERY: Duration = Duration::from_secs(1);

/// What became of the calls of a pool.
#[derive(Debug)]
pub(super) struct Ledger {
    rings: RefCell<Rings>,
    /// The last slow calls, oldest first.
    slow: RefCell<VecDeque<Slow>>,
    /// Slow calls in the log.
    said: RefCell<SeldomSaid>,
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
        Self {
            rings: RefCell::new(Rings::new(clock, now)),
            slow: RefCell::default(),
            said: RefCell::new(SeldomSaid::every(SLOW_EVERY)),
        }
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
    pub(super) fn note_ended(&self, ended: &Ended<Payload>, outcome: CallOutcome) {
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
        let limit = self.settings.borrow().rules.slow;
        if timing.queue + timing.work > limit.unwrap_or(SLOW) {
            let (route, timing, conduct) = (Arc::clone(&entry.route), *timing, *conduct);
            let slow = Slow { route, timing, outcome, conduct, at: *at };
            if limit.is_some() {
                self.tell_slow(&slow);
            }
            self.ledger.keep_slow(slow);
        }
    }

    /// Logs a slow call, unless the log has had a line of one within the last second.
    fn tell_slow(&self, slow: &Slow) {
        let Some(calls) = self.ledger.said.borrow_mut().may_say(slow.at, 1) else { return };
        let SlowCall { call, route, worker, wait, work, outcome, verdict, .. } =
            slow.shown(slow.at);
        tracing::warn!(
            pool = self.name(),
            worker,
            call,
            route = &*route,
            queue_ms = millis(wait),
            work_ms = millis(work),
            outcome = &*outcome,
            verdict = verdict.as_deref(),
            calls,
            "a call was slow"
        );
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

/// Returns a time in milliseconds with three decimals, as the lines of requests have it.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    #[test]
    fn only_the_last_slow_calls_are_kept() {
        let now = Instant::now();
        let ledger = Ledger::new(SecondClock::new(now, Duration::ZERO), now);
        let route = Arc::new(Metrics::new().route("GET /", None));
        for serial in 1..=1_000 {
            let call = Some(CallId(serial << CallId::PLACE_BITS));
            let timing = Timing { call, ..Timing::default() };
            let (route, outcome) = (Arc::clone(&route), CallOutcome::Ok);
            ledger.keep_slow(Slow { route, timing, outcome, conduct: None, at: now });
        }
        let kept: Vec<String> = ledger.slow.borrow().iter().map(|it| it.shown(now).call).collect();
        let last: Vec<String> = (985..=1_000).map(|serial| format!("{serial:x}")).collect();
        assert_eq!(kept, last);
    }
}
