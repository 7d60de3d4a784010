//! What a pool promises, written down a second time. The oracle keeps books of its own, of calls
//! and workers as seen from outside, and judges every decision of the core by them. It does not
//! look into the core's books.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, Failure, TenantId, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::actions::StopReason;
use httpipe::testing::pool::rules::Rules;

use super::floors::Pause;
use super::model::{Ask, Blame, Checked, Inside, Model, Serial, Stage, Standing, ensure};
use super::suspicion::Suspicion;

const IDLE_MOST: Duration = Duration::from_secs(30);
const WINDOW_MOST: usize = 32;
const TAKEN_BACK_MOST: usize = 16;

#[expect(clippy::struct_excessive_bools, reason = "each is known for itself")]
pub(crate) struct Oracle {
    pub(crate) rules: Rules,
    pub(crate) now: Instant,
    pub(crate) step: u64,
    pub(crate) first_ready: Option<Instant>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) open: BTreeSet<Serial>,
    pub(crate) workers: BTreeMap<WorkerId, Model>,
    pub(crate) stopping: bool,
    pub(crate) starts: u64,
    pub(crate) pause: Pause,
    /// When the last worker was bad.
    pub(crate) calm_since: Instant,
    /// Deaths before a good answer, since the last good answer.
    pub(crate) unproven_deaths: u32,
    /// The rules have changed: the core may still keep what it promised under earlier ones.
    pub(crate) has_changed_rules: bool,
    /// Calls sent ahead may have been rescued.
    pub(crate) may_rescue: bool,
    /// Workers are replaced, so there may be more of them for a while.
    pub(crate) is_renewing: bool,
    /// Workers are replaced for reasons that the core does not see, such as their memory.
    pub(crate) may_recycle: bool,
    pub(crate) retries_most: u32,
    pub(crate) queue_wait_most: Duration,
    /// How many workers were emptied.
    pub(crate) emptied: u64,
    pub(super) no_free_since: Option<Instant>,
    /// Whether the queue of each tenant stands.
    standing: BTreeMap<TenantId, Standing>,
    pub(crate) suspicion: Suspicion,
}

impl Oracle {
    pub(crate) fn new(rules: Rules, now: Instant, kinds: Serial) -> Self {
        let is_renewing = rules.recycle_calls.is_some() || rules.recycle_age.is_some();
        let retries_most = rules.retries;
        let queue_wait_most = rules.queue_wait;
        let may_rescue = rules.in_flight == InFlight::Auto;
        Self {
            has_changed_rules: false,
            may_rescue,
            rules,
            now,
            step: 0,
            first_ready: None,
            asks: Vec::new(),
            open: BTreeSet::new(),
            workers: BTreeMap::new(),
            stopping: false,
            starts: 0,
            pause: Pause::default(),
            calm_since: now,
            unproven_deaths: 0,
            is_renewing,
            may_recycle: false,
            retries_most,
            queue_wait_most,
            emptied: 0,
            no_free_since: Some(now),
            standing: BTreeMap::new(),
            suspicion: Suspicion::of(kinds),
        }
    }

    pub(crate) fn accepted(
        &mut self,
        id: CallId,
        tenant: TenantId,
        idempotent: bool,
        caller: Option<Instant>,
    ) {
        self.standing.entry(tenant).or_default();
        self.open.insert(self.asks.len());
        self.asks.push(Ask {
            id: Some(id),
            tenant,
            idempotent,
            accepted: self.now,
            waits_until: self.now + self.start_wait() + self.rules.queue_wait,
            latest: self.now
                + self.start_wait()
                + self.rules.queue_wait
                + self.rules.timeout * (1 + self.rules.retries),
            caller_deadline: caller,
            was_given: false,
            holders: Vec::new(),
            rescues: 0,
            may_be_read: false,
            suspected: 0,
            alone_since: None,
            told: 0,
            ended: None,
            is_taken_back: false,
            requeued: (0, 0),
            blame: None,
        });
    }

    pub(crate) fn count(&self, stage: Stage) -> usize {
        self.workers.values().filter(|model| model.stage == stage).count()
    }

    fn free(&self) -> impl Iterator<Item = (&WorkerId, &Model)> {
        self.workers
            .iter()
            .filter(|(_, model)| model.stage == Stage::Serving && model.held.is_empty())
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Serial, &Ask)> {
        self.open
            .iter()
            .map(|serial| (*serial, &self.asks[*serial]))
            .filter(|(_, ask)| ask.holders.is_empty())
    }

    pub(crate) fn start(&mut self, worker: WorkerId) -> Checked {
        self.starts += 1;
        ensure(!self.stopping, || format!("worker {worker} starts while the pool stops"))?;
        self.judge_start()?;
        self.note_spoiled();
        let alive = self.count(Stage::Starting) + self.count(Stage::Serving);
        let most = self.rules.most;
        ensure(self.is_renewing || alive < most, || {
            format!("worker {worker} is one more than {most}")
        })?;
        let model = Model {
            stage: Stage::Starting,
            started: self.now,
            held: Vec::new(),
            given_up: Vec::new(),
            heard_at: None,
            head_since: self.now,
            idle_since: self.now,
            used: 0,
            calls: 0,
            proven: false,
            is_rescued: false,
        };
        ensure(self.workers.insert(worker, model).is_none(), || {
            format!("worker {worker} starts twice")
        })
    }

    pub(crate) fn give(&mut self, worker: WorkerId, id: CallId, serial: Serial) -> Checked {
        self.look();
        self.suspicion.given(serial, self.now)?;
        self.judge_call(worker, serial)?;
        self.judge_turn(serial)?;
        self.judge_worker(worker, serial)?;
        let ask = &mut self.asks[serial];
        ask.was_given = true;
        ask.may_be_read = true;
        let first = ask.holders.first().copied();
        ask.rescues += u32::from(first.is_some());
        ask.holders.push(worker);
        if let Some(first) = first.and_then(|first| self.workers.get_mut(&first)) {
            first.is_rescued = true;
        }
        let model = self.workers.get_mut(&worker).expect("judged");
        if model.held.is_empty() {
            model.head_since = self.now;
        }
        model.calls += 1;
        model.held.push(Inside { id, serial, given: self.now });
        Ok(())
    }

    fn judge_call(&self, worker: WorkerId, serial: Serial) -> Checked {
        let ask = &self.asks[serial];
        let call = || format!("call {serial} given to worker {worker}");
        ensure(ask.ended.is_none(), || format!("{} after its end", call()))?;
        ensure(ask.alone_since.is_none(), || format!("{} though nobody waits for it", call()))?;
        ensure(!ask.was_given || self.now <= ask.latest, || format!("{} too late", call()))?;
        ensure(ask.idempotent || !ask.may_be_read, || {
            format!("{}, may not run twice and may have", call())
        })?;
        ensure(!ask.holders.contains(&worker), || format!("{}, which has it", call()))?;
        ensure(ask.holders.len() <= 1, || format!("{} beside {:?}", call(), ask.holders))?;
        let Some(first) = ask.holders.first() else { return Ok(()) };
        let is_head = self.workers[first].held.first().is_some_and(|head| head.serial == serial);
        let may_rescue = self.may_rescue && !self.rules.takes_back;
        let may = ask.idempotent && may_rescue && !is_head;
        ensure(may, || format!("{} and still in worker {first}", call()))
    }

    fn look(&mut self) {
        let mut oldest: BTreeMap<TenantId, Instant> = BTreeMap::new();
        for (_, ask) in self.waiting().filter(|(_, ask)| !ask.was_given) {
            let first = oldest.entry(ask.tenant).or_insert(ask.accepted);
            *first = ask.accepted.min(*first);
        }
        for (tenant, standing) in &mut self.standing {
            let oldest = oldest.get(tenant).copied().zip(self.first_ready);
            let oldest = oldest.map(|(oldest, ready)| oldest.max(ready));
            standing.look(self.now, oldest, self.rules.queue_wait);
        }
    }

    /// Calls that were put back are given first, in their order; then the oldest of a tenant, or the
    /// newest while its queue stands. While workers may be added it is either of them for a while, and
    /// none between.
    fn judge_turn(&self, serial: Serial) -> Checked {
        let ask = &self.asks[serial];
        let standing = &self.standing[&ask.tenant];
        let (mut is_oldest, mut is_newest) = (true, true);
        for (other, waits) in self.waiting().filter(|(other, _)| *other != serial) {
            if waits.was_given {
                let sooner = waits.requeued.0 > ask.requeued.0
                    || (waits.requeued.0 == ask.requeued.0 && waits.requeued.1 < ask.requeued.1);
                let before = !ask.was_given || (!self.may_rescue && sooner);
                ensure(!before, || format!("call {serial} is given before call {other}"))?;
            } else if !ask.was_given && waits.tenant == ask.tenant {
                is_oldest &= serial < other;
                is_newest &= other < serial;
            }
        }
        let may_grow = self.rules.most > self.rules.least && standing.may_be_outgrown;
        let is_next = if standing.is_long { is_newest } else { is_oldest };
        ensure(is_next || (may_grow && is_newest), || {
            format!(
                "call {serial} is given out of its turn, oldest {is_oldest}, newest {is_newest}"
            )
        })
    }

    fn judge_worker(&self, worker: WorkerId, serial: Serial) -> Checked {
        let Some(model) = self.workers.get(&worker) else {
            return Err(format!("call {serial} is given to worker {worker}, which is gone"));
        };
        let stage = model.stage;
        ensure(stage == Stage::Serving, || {
            format!("call {serial} given to worker {worker}, {stage:?}")
        })?;
        let holds = model.held.len();
        let most = match self.rules.in_flight {
            InFlight::Fixed(most) => most as usize,
            InFlight::Auto if self.rules.takes_back => TAKEN_BACK_MOST,
            InFlight::Auto if self.asks[serial].idempotent => WINDOW_MOST,
            InFlight::Auto => 1,
        };
        let inside = holds + model.given_up.len();
        let has_room = inside < most && !self.is_full(model, 0);
        ensure(has_room, || format!("worker {worker} gets call {serial} and has {inside}"))?;
        let last = self.free().max_by_key(|(_, free)| free.used).map(|(id, _)| *id);
        // While all processors have work, calls that take microseconds need wake nobody.
        let at_work = self.workers.values().filter(|model| !model.held.is_empty()).count();
        let may_follow = holds > 0 && self.rules.in_flight == InFlight::Auto;
        let may_follow = may_follow && at_work >= self.rules.processors;
        let right = may_follow || last.is_none_or(|last| last == worker);
        ensure(right, || {
            format!("worker {worker} gets call {serial}, {last:?} is free and was used last")
        })?;
        self.judge_retirement(worker, model)
    }

    /// A worker that has had its calls gets more only until enough others serve in its place. With
    /// `calls = 1` it gets no more at all.
    fn judge_retirement(&self, worker: WorkerId, model: &Model) -> Checked {
        let Some(calls) = self.rules.recycle_calls.filter(|_| !self.has_changed_rules) else {
            return Ok(());
        };
        // Others may be old or grown, and about to go themselves.
        let is_only_reason = self.rules.recycle_age.is_none() && !self.may_recycle;
        // Drawn from the last tenth.
        let is_fresh =
            |model: &&Model| model.stage == Stage::Serving && model.calls < calls * 9 / 10;
        let fresh = self.workers.values().filter(is_fresh).count();
        let is_replaced = is_only_reason && fresh >= self.rules.least;
        ensure(model.calls < calls || (calls > 1 && !is_replaced), || {
            format!("worker {worker} gets more than {calls} calls, {fresh} others are fresh")
        })
    }

    /// A worker answered a call. Returns the call if its caller is owed the answer.
    pub(crate) fn answered(&mut self, worker: WorkerId, id: CallId, good: bool) -> Option<Serial> {
        let (now, used) = (self.now, self.step);
        let model = self.workers.get_mut(&worker)?;
        let place = model.held.iter().position(|inside| inside.id == id)?;
        let serial = model.held.remove(place).serial;
        model.heard_at = Some(now);
        if place == 0 {
            model.head_since = now;
            model.is_rescued = false;
        }
        if model.held.is_empty() {
            model.idle_since = now;
            model.used = used;
        }
        let ask = &mut self.asks[serial];
        if good {
            model.proven = true;
            self.unproven_deaths = 0;
            self.pause = Pause::default();
            if ask.ended.is_none() {
                self.suspicion.acquit(serial);
            }
        }
        ask.holders.retain(|holder| *holder != worker);
        ask.ended.is_none().then_some(serial)
    }

    /// Takes all calls out of a worker that is stopped or lost. `blame` returns why the call at a
    /// place may fail; nothing of the newest `unwritten` ones was read. `is_certain` means that
    /// the worker was lost because of its first call.
    pub(crate) fn empty(
        &mut self,
        worker: WorkerId,
        unwritten: usize,
        blame: impl Fn(usize) -> Blame,
        suspects: usize,
        is_certain: bool,
    ) {
        let (now, step) = (self.now, self.step);
        let Some(model) = self.workers.get_mut(&worker) else { return };
        if model.stage != Stage::Leaving && !model.proven && !self.stopping {
            self.unproven_deaths += 1;
            self.pause.failed(now);
        }
        model.stage = Stage::Leaving;
        self.emptied += 1;
        let held = std::mem::take(&mut model.held);
        let read = held.len() - unwritten.min(held.len());
        for (place, inside) in held.into_iter().enumerate() {
            let ask = &mut self.asks[inside.serial];
            if place == 0 && read > 0 && is_certain && ask.ended.is_none() {
                self.suspicion.blame(inside.serial, now);
            }
            ask.holders.retain(|holder| *holder != worker);
            if ask.ended.is_some() || !ask.holders.is_empty() {
                continue;
            }
            if place >= read && !ask.idempotent {
                ask.may_be_read = false;
            }
            ask.suspected += u32::from(place < suspects && place < read);
            ask.blame = Some((step, if place < read { blame(place) } else { Blame::Lost }));
            ask.requeued = (self.emptied, place);
            ask.waits_until = now + self.queue_wait_most;
        }
    }

    /// Judges the stop of a worker.
    pub(crate) fn stop(&mut self, worker: WorkerId, reason: StopReason) -> Checked {
        let Some(model) = self.workers.get(&worker) else {
            return Err(format!("worker {worker} is stopped and gone"));
        };
        ensure(model.stage != Stage::Leaving, || format!("worker {worker} is stopped twice"))?;
        let now = self.now;
        let alive = self.count(Stage::Starting) + self.count(Stage::Serving);
        let legal = match reason {
            StopReason::Timeout if self.rules.in_order => {
                self.limits(model).any(|limit| limit <= now)
            }
            StopReason::Timeout => self.may_stop_for_time(model),
            StopReason::Stopped => self.stopping,
            StopReason::Recycled => self.is_renewing && model.held.is_empty(),
            StopReason::ScaledDown => {
                let is_idle = model.stage == Stage::Serving && now >= model.idle_since + IDLE_MOST;
                let is_idle = is_idle && alive > self.rules.least;
                model.held.is_empty() && (is_idle || alive > self.rules.most)
            }
        };
        ensure(legal, || format!("worker {worker} is stopped as {reason:?}: {model:?}"))?;
        let late: Vec<bool> = self.limits(model).map(|limit| limit <= now).collect();
        let (deaths, pause) = (self.unproven_deaths, self.pause.clone());
        let blame = |place: usize| match late.get(place) {
            Some(true) => Blame::RanOut,
            _ => Blame::Lost,
        };
        let is_certain = late.iter().filter(|late| **late).count() == 1 && late[0];
        let is_certain = is_certain && model.given_up.is_empty();
        self.empty(worker, 0, blame, 0, is_certain);
        (self.unproven_deaths, self.pause) = (deaths, pause);
        Ok(())
    }

    /// Judges a call that left the core's books with a failure.
    pub(crate) fn failed(&mut self, serial: Serial, failure: &Failure, abandoned: bool) -> Checked {
        let (now, step) = (self.now, self.step);
        if *failure == Failure::Poisonous {
            self.look();
        }
        let ask = &self.asks[serial];
        let blame = ask.blame.filter(|(at, _)| *at == step).map(|(_, blame)| blame);
        let is_alone = ask.alone_since.is_some();
        let may = match failure {
            Failure::QueueTimeout { .. } if ask.was_given => ask.holders.is_empty(),
            Failure::QueueTimeout { .. } => ask.waits_until == now,
            Failure::WorkerLost { .. } => {
                let is_spent = if ask.idempotent {
                    ask.suspected > self.rules.retries
                } else {
                    ask.may_be_read
                };
                let is_spent = is_spent || now >= ask.latest;
                matches!(blame, Some(Blame::Lost | Blame::Doubt)) && (is_alone || is_spent)
            }
            Failure::BadAnswer { .. } => blame == Some(Blame::Doubt),
            Failure::Timeout { .. } => {
                blame == Some(Blame::RanOut) || ask.caller_deadline == Some(now)
            }
            Failure::NoWorker { .. } => {
                self.count(Stage::Serving) == 0 && self.unproven_deaths >= 3
            }
            // It made room for a call of another tenant.
            Failure::QueueFull { .. } => self.standing.len() > 1 && !ask.was_given,
            Failure::Draining => self.stopping,
            Failure::Cancelled => is_alone && ask.is_taken_back && ask.holders.is_empty(),
            Failure::Poisonous => ask.holders.is_empty() && self.suspicion.may_refuse(serial, now),
            _ => false,
        };
        ensure(may, || format!("call {serial} fails as {failure:?}, blame {blame:?}: {ask:?}"))?;
        self.ended(serial, abandoned)
    }

    /// Judges what must hold after every event, once the core has drawn the consequences.
    pub(crate) fn judge(&mut self, is_whole: bool) -> Checked {
        self.look();
        self.note_spoiled();
        let is_free = self.free().next().is_some();
        if is_whole {
            self.judge_calls(is_free && !self.may_run_no_more())?;
            self.judge_given_up()?;
            self.judge_room()?;
            self.judge_departures()?;
        }
        self.judge_rescues(is_free)?;
        self.judge_numbers(is_free)
    }

    fn judge_calls(&self, is_free: bool) -> Checked {
        let now = self.now;
        for (serial, ask) in self.open.iter().map(|serial| (*serial, &self.asks[*serial])) {
            let waits = ask.holders.is_empty();
            ensure(!waits || ask.alone_since.is_none(), || {
                format!("call {serial} waits for nobody")
            })?;
            ensure(!waits || !is_free, || format!("call {serial} waits while a worker is free"))?;
            ensure(!waits || ask.waits_until >= now, || {
                format!("call {serial} waits too long: {ask:?}")
            })?;
            let is_late =
                ask.caller_deadline.is_some_and(|at| at < now) && ask.alone_since.is_none();
            ensure(!is_late, || format!("call {serial} is past its caller's deadline"))?;
            ensure(ask.suspected <= 1 + self.retries_most, || {
                format!("call {serial} is tried for ever")
            })?;
        }
        for (id, model) in &self.workers {
            let late = self.limits(model).any(|limit| limit < now);
            ensure(!late, || format!("worker {id} runs on past a limit: {model:?}"))?;
        }
        Ok(())
    }
}
