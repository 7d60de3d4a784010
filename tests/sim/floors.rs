//! What a pool must do; `oracle` mostly says what it may do. A pool starts workers again after a
//! pause, leaves no room unused, does not end a rescue early, replaces workers and lets them go.

use std::time::{Duration, Instant};

use httpipe::testing::config::InFlight;

use super::model::{Ask, Checked, Model, Stage, ensure};
use super::oracle::Oracle;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const IDLE_MOST: Duration = Duration::from_secs(30);
/// The longest that a worker may outlive its age. Workers are replaced one after the other, and
/// each may take a start, a call that runs for the whole `timeout`, and a second's look.
const RENEWAL_MOST: Duration = Duration::from_mins(5);

/// The pause between starts after a bad worker. The core draws its end at random, so only the
/// earliest and the latest end are known. A failure between the two may count or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pause {
    least_failures: u32,
    most_failures: u32,
    /// The earliest and the latest end.
    until: Option<(Instant, Instant)>,
}

impl Pause {
    pub(crate) fn failed(&mut self, now: Instant) {
        let (earliest, latest) = self.until.unwrap_or((now, now));
        if now < earliest {
            return;
        }
        let counts = now >= latest;
        self.least_failures += u32::from(counts);
        self.most_failures += 1;
        let most = delay(self.most_failures) * 5 / 4;
        let least = if counts { delay(self.least_failures) } else { Duration::ZERO };
        self.until = Some((now + least, latest.max(now + most)));
    }

    fn forbids_starts(&self, now: Instant) -> bool {
        self.until.is_some_and(|(earliest, _)| now < earliest)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|(_, latest)| now > latest)
    }
}

fn delay(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE)
}

impl Oracle {
    /// How much longer a call may wait if no worker has ever been ready.
    pub(super) fn start_wait(&self) -> Duration {
        self.first_ready.map_or(self.rules.start_timeout, |_| Duration::ZERO)
    }

    /// After a bad worker a pool pauses, then tries a single worker until it serves.
    pub(crate) fn judge_start(&self) -> Checked {
        ensure(!self.pause.forbids_starts(self.now), || {
            format!("a worker starts during {:?}", self.pause)
        })?;
        let is_tried = self.unproven_deaths > 0 && self.count(Stage::Serving) == 0;
        ensure(!is_tried || self.count(Stage::Starting) == 0, || {
            "a second worker is tried after a bad one".to_owned()
        })
    }

    /// When the pause after a bad worker is over, a worker is tried; once it serves, the least
    /// are there.
    pub(crate) fn judge_recovery(&self) -> Checked {
        if !self.pause.is_over(self.now) {
            return Ok(());
        }
        let (starting, serving) = (self.count(Stage::Starting), self.count(Stage::Serving));
        let enough = if serving == 0 { 1 } else { self.rules.least };
        ensure(starting + serving >= enough, || {
            format!("no worker is tried after {:?}, {serving} serve", self.pause)
        })
    }

    /// While a call waits, no worker has room for it.
    pub(crate) fn judge_room(&self) -> Checked {
        let InFlight::Fixed(most) = self.rules.in_flight else { return Ok(()) };
        let roomy = |model: &&Model| {
            let inside = model.held.len() + model.given_up.len();
            model.stage == Stage::Serving && !self.is_renewing && inside < most as usize
        };
        let waits = self.waiting().next();
        ensure(waits.is_none() || !self.workers.values().any(|model| roomy(&model)), || {
            format!("call {waits:?} waits and a worker has room")
        })
    }

    /// Workers that take one call each do not count once they have it. As many may run at once as
    /// the pool may have.
    pub(crate) fn may_run_no_more(&self) -> bool {
        let running = self.workers.values().filter(|model| !model.held.is_empty()).count();
        self.rules.recycle_calls == Some(1) && running >= self.rules.most
    }

    /// Once one of the calls behind an overdue head was given to a second worker, none of them is
    /// left behind that head while a worker is free.
    pub(crate) fn judge_rescues(&self, is_free: bool) -> Checked {
        if !is_free || self.has_changed_rules {
            return Ok(());
        }
        for (id, model) in self.workers.iter().filter(|(_, model)| model.is_rescued) {
            let has_time = self.now < model.head_since + self.rules.queue_wait;
            let is_left = |ask: &Ask| {
                let is_wanted = ask.ended.is_none() && ask.alone_since.is_none();
                let may = ask.idempotent && ask.rescues == 0 && self.now < ask.latest;
                has_time && is_wanted && may && ask.holders == [*id]
            };
            for inside in model.held.iter().skip(1) {
                let is_refused = self.suspicion.is_refused(inside.serial);
                ensure(is_refused || !is_left(&self.asks[inside.serial]), || {
                    format!("call {} is left in worker {id} while one is free", inside.serial)
                })?;
            }
        }
        Ok(())
    }

    /// Workers that have had their calls or reached their age are replaced, and spare workers
    /// that stay free leave.
    pub(crate) fn judge_departures(&self) -> Checked {
        let now = self.now;
        let serving = || self.workers.iter().filter(|(_, model)| model.stage == Stage::Serving);
        let alive = self.count(Stage::Starting) + self.count(Stage::Serving);
        let least = self.rules.least;
        for (id, model) in serving().filter(|(_, model)| model.held.is_empty()) {
            let is_idle = !self.is_renewing && now > model.idle_since + IDLE_MOST;
            ensure(!is_idle || alive <= least, || {
                format!("worker {id} stays idle, {alive} are more than {least}")
            })?;
        }
        if self.stopping || self.has_changed_rules || self.unproven_deaths > 0 {
            return Ok(());
        }
        self.judge_replaced()?;
        if now < self.calm_since + RENEWAL_MOST {
            return Ok(());
        }
        let oldest = serving().map(|(_, model)| model.started).min();
        let is_over = |age| oldest.is_some_and(|started| now > started + age + RENEWAL_MOST);
        ensure(!self.rules.recycle_age.is_some_and(is_over), || {
            "an old worker is not replaced".to_owned()
        })
    }

    fn judge_replaced(&self) -> Checked {
        let Some(calls) = self.rules.recycle_calls else { return Ok(()) };
        let least = self.rules.least;
        let alive = self.workers.values().filter(|model| model.stage != Stage::Leaving);
        let lasting = alive.filter(|model| model.calls < calls).count();
        ensure(lasting >= least, || format!("{lasting} workers last, the least is {least}"))?;
        if self.rules.recycle_age.is_some() || self.may_recycle {
            return Ok(());
        }
        // Drawn from the last tenth.
        let sure = (calls * 9 / 10).max(1);
        let serving = || self.workers.iter().filter(|(_, model)| model.stage == Stage::Serving);
        let fresh = serving().filter(|(_, model)| model.calls < sure).count();
        let left = serving().find(|(_, model)| model.calls >= calls && model.held.is_empty());
        ensure(left.is_none() || fresh < least, || {
            format!("worker {left:?} has had its calls and stays, {fresh} others are fresh")
        })
    }
}
