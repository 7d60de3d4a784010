//! A shell without processes: draws what workers and callers do, tells the core, carries out
//! what the core decides, and shows both to the oracle.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use fastrand::Rng;
use httpipe::testing::base::{CallId, Failure, Tenant, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, Loss, NewCall};
use httpipe::testing::pool::state::State;

use super::diary::{Diary, decided};
use super::model::{Checked, Serial, Stage, unshared};
use super::oracle::Oracle;
use super::weather::{Weather, draw_rules, spread};

/// How long a start may take, as in the real shell.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// A pool that gets no new calls must have ended every call after this time.
const REST: Duration = Duration::from_secs(400);
/// Some seeds and every replay check the whole books after every event; the others once in this
/// many events.
const SPARSE: u64 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Arrival,
    Leave(Serial),
    Started(WorkerId),
    StartFails(WorkerId),
    Finish(WorkerId, CallId),
    Crash(WorkerId),
    Unasked(WorkerId),
    /// A worker that was to be killed is dead.
    Killed(WorkerId),
    Gone(WorkerId),
}

pub(crate) struct World {
    pub(super) rng: Rng,
    pub(super) state: State<Serial>,
    pub(super) oracle: Oracle,
    pub(super) weather: Weather,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    is_open: bool,
    /// Whose calls they are.
    tenants: Vec<Tenant>,
    pub(super) diary: Diary,
    is_thorough: bool,
    ticks_in_vain: u32,
    /// Workers that are to be killed. None of them may get a call.
    pub(super) doomed: BTreeSet<WorkerId>,
    /// How far workers have stepped back.
    pub(super) stepped_back: BTreeMap<WorkerId, u8>,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let in_order = rng.bool();
        let takes_back = !in_order && seed.is_multiple_of(3);
        let rules = draw_rules(&mut rng, in_order, takes_back);
        let weather = Weather::draw(&mut rng);
        let kinds = weather.questions;
        let question = move |serial: &Serial| Fingerprint((serial % kinds) as u64);
        let began = Instant::now();
        if is_traced {
            eprintln!("{rules:?}\n{weather:?}");
        }
        let mut world = Self {
            rng,
            state: State::new(rules.clone(), seed, question),
            oracle: Oracle::new(rules, began, kinds),
            weather,
            events: BinaryHeap::new(),
            scheduled: 0,
            is_open: true,
            tenants: vec![Tenant::ANONYMOUS],
            diary: Diary::new(began, is_traced),
            is_thorough: is_traced || seed.is_multiple_of(16),
            ticks_in_vain: 0,
            doomed: BTreeSet::new(),
            stepped_back: BTreeMap::new(),
        };
        world.after(Duration::ZERO, Event::Arrival);
        world
    }

    pub(crate) fn steps(&self) -> u64 {
        self.oracle.step
    }

    /// Runs this many events.
    pub(crate) fn live(&mut self, steps: u64) -> Checked {
        self.consequences()?;
        for _ in 0..steps {
            self.step()?;
        }
        Ok(())
    }

    /// No more calls arrive. The pool must come to rest whatever its workers do, return to its
    /// least once they behave, and end.
    pub(crate) fn rest(&mut self) -> Checked {
        self.is_open = false;
        if self.rng.bool() {
            self.until(self.oracle.now + REST)?;
            if let Some(serial) = self.oracle.open.first() {
                return Err(format!("call {serial} never ends: {:?}", self.oracle.asks[*serial]));
            }
            self.weather = self.weather.calm();
            self.until(self.oracle.now + Duration::from_secs(80))?;
            self.oracle.judge(true)?;
            let (serving, least) = (self.oracle.count(Stage::Serving), self.oracle.rules.least);
            if serving < least || (serving > least && !self.oracle.is_renewing) {
                return Err(format!("{serving} workers serve after a rest, the least is {least}"));
            }
        }
        self.oracle.stopping = true;
        self.oracle.step += 1;
        self.state.stop(self.oracle.now);
        self.consequences()?;
        if let Some((worker, _)) =
            self.oracle.workers.iter().find(|(_, model)| model.stage != Stage::Leaving)
        {
            return Err(format!("worker {worker} is not stopped with the pool"));
        }
        self.until(self.oracle.now + Duration::from_secs(5))?;
        match self.state.calls_open() {
            0 if self.oracle.open.is_empty() => Ok(()),
            calls => Err(format!("{calls} calls in the books after the end")),
        }
    }

    fn until(&mut self, end: Instant) -> Checked {
        while self.next().is_some_and(|at| at <= end) {
            self.step()?;
        }
        self.oracle.now = end;
        Ok(())
    }

    fn next(&self) -> Option<Instant> {
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        event.into_iter().chain(self.state.next_deadline()).min()
    }

    /// Runs the next event or the tick that the core asked for, whichever comes first.
    fn step(&mut self) -> Checked {
        self.oracle.step += 1;
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let deadline = self.state.next_deadline();
        let is_tick = match (event, deadline) {
            (Some(event), Some(deadline)) if event == deadline => self.rng.bool(),
            (Some(event), Some(deadline)) => deadline < event,
            (event, _) => event.is_none(),
        };
        let Some(at) = (if is_tick { deadline } else { event }) else { return Ok(()) };
        self.oracle.now = at.max(self.oracle.now);
        if is_tick {
            self.trace(|| "tick".to_owned());
            self.state.tick(self.oracle.now);
        } else if let Some(Reverse((_, _, event))) = self.events.pop() {
            self.happen(event)?;
        }
        self.consequences()?;
        // A second tick at the same time is right: the first may abandon a call whose time is over.
        let is_due = self.state.next_deadline().is_some_and(|next| next <= self.oracle.now);
        self.ticks_in_vain = if is_tick && is_due { self.ticks_in_vain + 1 } else { 0 };
        match self.ticks_in_vain {
            ..3 => Ok(()),
            _ => Err("a tick asks for a tick at once, again and again".to_owned()),
        }
    }

    fn consequences(&mut self) -> Checked {
        self.state.settle(self.oracle.now);
        let mut actions = self.state.take_actions();
        while !actions.is_empty() {
            for action in actions {
                self.carry_out(action)?;
            }
            self.state.settle(self.oracle.now);
            actions = self.state.take_actions();
        }
        let is_whole = self.is_thorough || self.oracle.step.is_multiple_of(SPARSE);
        if is_whole {
            self.state.check()?;
        }
        self.oracle.judge(is_whole)
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.oracle.now + delay, self.scheduled, event)));
    }

    fn draw(&mut self, chance: f64) -> bool {
        self.rng.f64() < chance
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        self.diary.note(self.oracle.step, self.oracle.now, what);
    }

    /// Calls are of one of these tenants.
    pub(crate) fn of_tenants(mut self, tenants: &[Tenant]) -> Self {
        self.tenants = tenants.to_vec();
        self
    }

    fn happen(&mut self, event: Event) -> Checked {
        self.trace(|| format!("{event:?}"));
        let now = self.oracle.now;
        match event {
            Event::Arrival => self.arrive(),
            Event::Leave(serial) => self.leave(serial),
            Event::Finish(worker, call) => self.finish(worker, call),
            Event::Started(worker) => {
                let step = self.oracle.step;
                if let Some(model) = self.oracle.workers.get_mut(&worker)
                    && model.stage == Stage::Starting
                {
                    model.stage = Stage::Serving;
                    self.oracle.first_ready.get_or_insert(self.oracle.now);
                    model.idle_since = now;
                    model.used = step;
                }
                self.state.ready(now, worker);
                Ok(())
            }
            Event::StartFails(worker) => {
                let is_starting = |stage| stage == Stage::Starting;
                self.lose(worker, &Loss::StartFailed { why: "not ready".into() }, 0, is_starting)
            }
            Event::Unasked(worker) => {
                let unwritten =
                    self.oracle.workers.get(&worker).map_or(0, |model| model.held.len());
                self.lose(worker, &Loss::UnaskedOutput, unwritten, |stage| stage == Stage::Serving)
            }
            Event::Crash(worker) => {
                let holds = self.oracle.workers.get(&worker).map_or(0, |model| model.held.len());
                let unwritten = if self.rng.bool() { 0 } else { self.rng.usize(..=holds) };
                let loss = Loss::Ended("exit code 1".into());
                self.lose(worker, &loss, unwritten, |stage| stage != Stage::Leaving)
            }
            Event::Killed(worker) => {
                let holds = self.oracle.workers.get(&worker).map_or(0, |model| model.held.len());
                let unwritten = if self.rng.bool() { 0 } else { self.rng.usize(..=holds) };
                self.lose(worker, &Loss::Killed, unwritten, |stage| stage != Stage::Leaving)
            }
            Event::Gone(worker) => {
                if self.rng.bool() {
                    self.state.lose(now, worker, &Loss::Ended("signal 9".into()), 0);
                }
                self.state.gone(worker);
                self.oracle.workers.remove(&worker);
                Ok(())
            }
        }
    }

    fn arrive(&mut self) -> Checked {
        if !self.is_open {
            return Ok(());
        }
        let gap = if self.rng.u8(..4) == 0 {
            Duration::ZERO
        } else {
            spread(&mut self.rng, self.weather.gap)
        };
        self.after(gap, Event::Arrival);
        if self.draw(self.weather.changes_rules) {
            self.change_rules();
            self.consequences()?;
        }
        if self.draw(self.weather.recycles) {
            self.recycle();
            self.consequences()?;
        }
        let now = self.oracle.now;
        let serial = self.oracle.asks.len();
        let idempotent = self.draw(self.weather.idempotent);
        let in_a_hurry = self.draw(self.weather.in_a_hurry);
        let caller_deadline = in_a_hurry.then(|| now + spread(&mut self.rng, (1, 10_000_000)));
        let bytes = self.rng.usize(..30);
        // The first has most of the calls. With one tenant, nothing is drawn.
        let tenant = match self.tenants[..] {
            [tenant] => tenant,
            _ if self.rng.bool() => self.tenants[0],
            _ => self.tenants[self.rng.usize(..self.tenants.len())],
        };
        let new =
            NewCall { payload: serial, bytes, idempotent, caller_deadline, tenant, timeout: None };
        match self.state.arrive(now, new) {
            Ok(id) => {
                self.oracle.accepted(id, tenant.id, idempotent, caller_deadline);
                if self.draw(self.weather.leaves) {
                    let delay = spread(&mut self.rng, (1, 10_000_000));
                    self.after(delay, Event::Leave(serial));
                }
                Ok(())
            }
            Err((payload, failure)) => self.refused(payload == serial, serial, &failure),
        }
    }

    fn refused(&mut self, is_same: bool, serial: Serial, failure: &Failure) -> Checked {
        self.trace(|| format!("refused: {failure:?}"));
        let oracle = &self.oracle;
        let serving = oracle.count(Stage::Serving);
        let is_free = oracle
            .workers
            .values()
            .any(|model| model.stage == Stage::Serving && model.held.is_empty());
        let may = match failure {
            Failure::QueueFull { .. } => !is_free || oracle.may_run_no_more(),
            Failure::NoWorker { .. } => serving == 0 && oracle.unproven_deaths >= 3,
            Failure::Draining => oracle.stopping,
            Failure::Poisonous => oracle.suspicion.may_refuse(serial, oracle.now),
            _ => false,
        };
        if may && is_same { Ok(()) } else { Err(format!("a call is refused as {failure:?}")) }
    }

    fn change_rules(&mut self) {
        let (in_order, takes_back) = (self.oracle.rules.in_order, self.oracle.rules.takes_back);
        let rules = draw_rules(&mut self.rng, in_order, takes_back);
        self.trace(|| format!("{rules:?}"));
        self.oracle.is_renewing = true;
        self.oracle.has_changed_rules = true;
        self.oracle.may_rescue |= rules.in_flight == InFlight::Auto;
        self.oracle.queue_wait_most = self.oracle.queue_wait_most.max(rules.queue_wait);
        self.oracle.retries_most = self.oracle.retries_most.max(rules.retries);
        self.oracle.rules = rules.clone();
        self.state.set_rules(self.oracle.now, rules);
        // What the new rules find too late already is due now, not in the past.
        self.state.tick(self.oracle.now);
    }

    fn leave(&mut self, serial: Serial) -> Checked {
        let now = self.oracle.now;
        let ask = &mut self.oracle.asks[serial];
        let Some(id) = ask.id else { return Ok(()) };
        let is_held = !ask.holders.is_empty();
        if ask.ended.is_none() && ask.alone_since.is_none() {
            ask.alone_since = Some(now);
        }
        let is_open = ask.ended.is_none();
        match self.state.caller_left(now, id) {
            Some(ended) if is_open && !is_held && ended.payload == serial => {
                self.oracle.ended(serial, ended.abandoned)
            }
            None if !is_open || is_held => Ok(()),
            other => Err(format!("the caller of {serial} left and {other:?} came back")),
        }
    }

    fn finish(&mut self, worker: WorkerId, call: CallId) -> Checked {
        let in_order = self.oracle.rules.in_order;
        let Some(model) = self.oracle.workers.get(&worker) else { return Ok(()) };
        if model.stage == Stage::Serving && self.oracle.answered_late(worker, call) {
            self.state.answered_late(self.oracle.now, worker, call);
            return Ok(());
        }
        let Some(model) = self.oracle.workers.get(&worker) else { return Ok(()) };
        let place = model.held.iter().position(|inside| inside.id == call);
        if model.stage != Stage::Serving || place.is_none_or(|place| in_order && place > 0) {
            return Ok(());
        }
        let holds = model.held.len();
        if in_order && self.draw(self.weather.doubt) {
            let calls = self.rng.usize(1..=holds);
            let loss = Loss::BadAnswer { detail: "out of step".into(), calls };
            let unwritten = self.rng.usize(..holds);
            return self.lose(worker, &loss, unwritten, |stage| stage == Stage::Serving);
        }
        let good = !self.draw(self.weather.bad);
        let owed = self.oracle.answered(worker, call, good);
        let ended = self.state.answered(self.oracle.now, worker, call, good);
        match (ended, owed) {
            (Some(ended), Some(serial)) if ended.payload == serial => {
                self.oracle.ended(serial, ended.abandoned)?;
            }
            (None, None) => {}
            (ended, owed) => return Err(format!("an answer for {owed:?} reaches {ended:?}")),
        }
        if in_order {
            self.work_on_head(worker);
        }
        if self.draw(self.weather.unasked) {
            let delay = spread(&mut self.rng, (1, 1_000));
            self.after(delay, Event::Unasked(worker));
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action<Serial>) -> Checked {
        self.trace(|| decided(&action));
        match action {
            Action::Start(worker) => {
                self.oracle.start(worker)?;
                let delay = spread(&mut self.rng, self.weather.start);
                if self.draw(self.weather.start_fails) {
                    let delay = if self.rng.bool() { delay } else { START_TIMEOUT };
                    self.after(delay, Event::StartFails(worker));
                } else {
                    self.after(delay, Event::Started(worker));
                }
                Ok(())
            }
            Action::Stop(worker, reason) => {
                self.oracle.stop(worker, reason)?;
                self.reap(worker);
                Ok(())
            }
            Action::Kill(worker) => {
                self.kill(worker);
                Ok(())
            }
            Action::Give { worker, .. } if self.doomed.contains(&worker) => {
                Err(format!("worker {worker} gets a call though it is to be killed"))
            }
            Action::Give { worker, call } => self.give(worker, call),
            Action::GiveGroup { .. } => Err("calls go one by one".to_owned()),
            Action::TakeBack(worker) => self.take_back(worker),
            Action::GoesBack { payload, .. } => Err(format!("{payload} is no background work")),
            Action::Claim(_) | Action::CallBack { .. } | Action::GuestLost { .. } => unshared(),
            Action::GiveUp { worker, call } => self.oracle.give_up(worker, call),
            Action::Examine { worker, call } => self.oracle.looked_at(worker, call),
            Action::Sight(_) | Action::StepBack { .. } | Action::ComeForward(_) => {
                self.change_priority(&action)
            }
            Action::Refuse(question) => {
                let question = usize::try_from(question.0).expect("it was a serial");
                self.oracle.suspicion.refuse(question, self.oracle.now)
            }
            Action::Fail(ended, failure) => {
                self.oracle.failed(ended.payload, &failure, ended.abandoned)
            }
            Action::Expire { call, failure } => {
                let Some(serial) = self.state.payload(call).copied() else {
                    return Err(format!("call {call} expires and is not in the books"));
                };
                if !matches!(failure, Failure::Timeout { .. }) {
                    return Err(format!("call {call} expires as {failure:?}"));
                }
                self.oracle.expired(serial)
            }
        }
    }

    /// The worker has read some of its calls: mostly the first, perhaps none or all.
    fn take_back(&mut self, worker: WorkerId) -> Checked {
        let holds = self.oracle.workers.get(&worker).map_or(0, |model| model.held.len());
        if holds < 2 {
            return Err(format!("worker {worker} holds nothing that could be taken back"));
        }
        let read = if self.rng.bool() { 1 } else { self.rng.usize(..=holds) };
        let taken = self.oracle.take_back(worker, read)?;
        self.state.taken_back(self.oracle.now, worker, &taken);
        Ok(())
    }

    fn give(&mut self, worker: WorkerId, call: CallId) -> Checked {
        let Some(serial) = self.state.payload(call).copied() else {
            return Err(format!("worker {worker} gets call {call}, which is not in the books"));
        };
        self.oracle.give(worker, call, serial)?;
        let is_head = self.oracle.workers[&worker].held.len() == 1;
        if !self.oracle.rules.in_order {
            self.work_on(worker, call);
        } else if is_head {
            self.work_on_head(worker);
        }
        Ok(())
    }

    fn work_on_head(&mut self, worker: WorkerId) {
        let head = self.oracle.workers.get(&worker).and_then(|model| model.held.first());
        if let Some(head) = head.copied() {
            self.work_on(worker, head.id);
        }
    }

    fn work_on(&mut self, worker: WorkerId, call: CallId) {
        let delay = spread(&mut self.rng, self.weather.service);
        if self.draw(self.weather.hang) {
            return;
        }
        if self.draw(self.weather.crash) {
            return self.after(delay, Event::Crash(worker));
        }
        self.after(delay, Event::Finish(worker, call));
    }
}
