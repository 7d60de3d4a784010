//! Groups under seeds: workers that crash, hang and miscount for some calls, callers that leave, and
//! background work. A small world that knows which calls are good, so it knows what each must be told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use fastrand::Rng;
use httpipe::testing::base::{CallId, Failure, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, Loss, NewCall};
use httpipe::testing::pool::groups::{GroupRules, HalfId};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

use super::grouped_call::{GroupedCall, Nature, question_of};
use super::model::{Checked, ensure};
use super::weather::spread;
use super::{number_from, tenant};

const STEPS: u32 = 300;
const STEPS_MOST: u32 = 20_000;
const SEEDS: u64 = 256;
/// How long a question is suspected at least.
const SUSPICION: Duration = Duration::from_mins(9);
/// The pool must have ended every call this long after the last.
const REST: Duration = Duration::from_hours(2);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Works,
    Leaves(usize),
    Started(WorkerId),
    Ends(WorkerId, u64),
}

struct GroupWorld {
    rng: Rng,
    rules: Rules,
    group: GroupRules,
    state: State<usize>,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    calls: Vec<GroupedCall>,
    ids: HashMap<CallId, usize>,
    /// What each serving worker holds, with the number of that group.
    held: BTreeMap<WorkerId, (u64, Vec<CallId>)>,
    starting: BTreeSet<WorkerId>,
    /// Since when each of these is free.
    free: BTreeMap<WorkerId, Instant>,
    stock: Vec<(usize, u32, HalfId)>,
    /// Since when background work waits, as the core was told.
    told: Option<Instant>,
    is_open: bool,
    given: u64,
    losses: u32,
    /// When a question was last the only one of a worker that crashed.
    blamed: HashMap<usize, Instant>,
    bad: f64,
    leaves: f64,
    gap: (u64, u64),
    service: (u64, u64),
}

impl GroupWorld {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wait = [0, 0, 0, 2, 20][rng.usize(..5)];
        let group = GroupRules {
            most: rng.usize(1..=20),
            wait: Duration::from_millis(wait),
            bytes: [40, 1000][rng.usize(..2)],
            mixes_all: seed % 4 == 3,
        };
        let least = rng.usize(1..=3);
        let rules = Rules {
            least,
            most: least + rng.usize(..3),
            in_flight: InFlight::Fixed(1),
            takes_back: false,
            in_order: true,
            timeout: Duration::from_millis([200, 30_000][rng.usize(..2)]),
            abandoned: Duration::from_millis([20, 10_000][rng.usize(..2)]),
            queue_length: [20, 1000][rng.usize(..2)],
            queue_bytes: 100_000,
            queue_wait: Duration::from_hours(1),
            start_timeout: Duration::from_mins(10),
            retries: rng.u32(..=2),
            recycle_calls: [None, Some(50)][rng.usize(..2)],
            recycle_age: None,
            share: [0, 500, 1000][rng.usize(..3)],
            processors: 2,
            group: Some(group),
        };
        let now = Instant::now();
        let question = |call: &usize| Fingerprint(question_of(*call) as u64);
        let mut world = Self {
            state: State::new(rules.clone(), seed, question),
            rules,
            group,
            now,
            events: BinaryHeap::new(),
            scheduled: 0,
            calls: Vec::new(),
            ids: HashMap::new(),
            held: BTreeMap::new(),
            starting: BTreeSet::new(),
            free: BTreeMap::new(),
            stock: Vec::new(),
            told: None,
            is_open: true,
            given: 0,
            losses: 0,
            blamed: HashMap::new(),
            bad: [0.0, 0.01, 0.1][rng.usize(..3)],
            leaves: [0.0, 0.1][rng.usize(..2)],
            gap: (0, [50, 5_000, 200_000][rng.usize(..3)]),
            service: [(1, 100), (500, 20_000)][rng.usize(..2)],
            rng,
        };
        world.after(Duration::ZERO, Event::Arrives);
        world.after(Duration::ZERO, Event::Works);
        world
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + delay, self.scheduled, event)));
    }

    fn run(&mut self) -> Checked {
        self.consequences()?;
        for _ in 0..STEPS {
            self.step()?;
        }
        self.is_open = false;
        let end = self.now + REST;
        let mut steps = 0;
        while self.state.calls_open() > 0 && self.now < end {
            self.step()?;
            steps += 1;
            ensure(steps < STEPS_MOST, || "it does not come to rest".to_owned())?;
        }
        // Where the share is nothing, or one worker serves, it never begins.
        for (serial, ..) in std::mem::take(&mut self.stock) {
            self.calls[serial].ended += 1;
        }
        let open: Vec<&GroupedCall> = self.calls.iter().filter(|call| call.ended != 1).collect();
        ensure(open.is_empty(), || format!("not ended once: {open:?}"))
    }

    fn step(&mut self) -> Checked {
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let deadline = self.state.next_deadline();
        let is_tick = deadline.is_some_and(|at| event.is_none_or(|event| at <= event));
        let Some(at) = (if is_tick { deadline } else { event }) else {
            return Err("nothing happens any longer".to_owned());
        };
        self.now = at.max(self.now);
        if is_tick {
            self.state.tick(self.now);
        } else if let Some(Reverse((_, _, event))) = self.events.pop() {
            self.happen(&event)?;
        }
        self.consequences()
    }

    fn new_call(&mut self, is_work: bool) -> NewCall<usize> {
        let serial = self.calls.len();
        let same = self.calls.get(question_of(serial)).map(|first| first.nature);
        let nature = match self.rng.f64() {
            _ if same.is_some() => same.unwrap_or(Nature::Good),
            chance if chance >= self.bad => Nature::Good,
            _ => {
                [Nature::Error, Nature::Crash, Nature::Hang, Nature::Miscount][self.rng.usize(..4)]
            }
        };
        let idempotent = self.rng.u8(..8) > 0;
        let tenant = tenant(self.rng.u32(..3), 1);
        self.calls.push(GroupedCall {
            nature,
            idempotent,
            is_work,
            tenant,
            arrived: self.now,
            has_left: false,
            ended: 0,
            most: usize::MAX,
            lost_with: 0,
            lost: 0,
            was_read: false,
        });
        self.call_of(serial)
    }

    fn call_of(&self, serial: usize) -> NewCall<usize> {
        let GroupedCall { idempotent, tenant, .. } = self.calls[serial];
        let bytes = serial % 9;
        NewCall { payload: serial, bytes, idempotent, caller_deadline: None, tenant, timeout: None }
    }

    fn happen(&mut self, event: &Event) -> Checked {
        match *event {
            Event::Arrives if self.is_open => {
                let gap = spread(&mut self.rng, self.gap);
                self.after(gap, Event::Arrives);
                let call = self.new_call(false);
                let serial = call.payload;
                match self.state.arrive(self.now, call) {
                    Ok(id) => drop(self.ids.insert(id, serial)),
                    Err((_, failure)) => self.refused(serial, &failure)?,
                }
                if self.rng.f64() < self.leaves {
                    let delay = spread(&mut self.rng, (1, 100_000));
                    self.after(delay, Event::Leaves(serial));
                }
            }
            Event::Works if self.is_open => {
                let gap = spread(&mut self.rng, (0, 500_000));
                self.after(gap, Event::Works);
                for _ in 0..self.rng.usize(1..30) {
                    let serial = self.new_call(true).payload;
                    self.stock.push((serial, 0, HalfId::NONE));
                }
            }
            Event::Arrives | Event::Works => {}
            Event::Leaves(serial) => {
                let id = self.ids.iter().find(|(_, it)| **it == serial).map(|(id, _)| *id);
                self.calls[serial].has_left = true;
                if let Some(ended) = id.and_then(|id| self.state.caller_left(self.now, id)) {
                    self.calls[ended.payload].ended += 1;
                }
            }
            // It may have been told to leave before.
            Event::Started(worker) if !self.starting.remove(&worker) => {}
            Event::Started(worker) => {
                self.state.ready(self.now, worker);
                self.held.insert(worker, (0, Vec::new()));
                self.free.insert(worker, self.now);
            }
            Event::Ends(worker, number) => self.ends(worker, number)?,
        }
        Ok(())
    }

    fn refused(&mut self, serial: usize, failure: &Failure) -> Checked {
        self.calls[serial].ended += 1;
        let may = match failure {
            Failure::QueueFull { .. } => self.free.is_empty(),
            Failure::NoWorker { .. } => self.bad > 0.0,
            Failure::Poisonous => self.calls[serial].nature.is_bad(),
            _ => false,
        };
        ensure(may, || format!("call {serial} is refused as {failure:?}"))
    }

    /// A worker has worked on its group.
    fn ends(&mut self, worker: WorkerId, number: u64) -> Checked {
        let Some((of, group)) = self.held.get(&worker).cloned() else { return Ok(()) };
        if of != number {
            return Ok(());
        }
        let natures: Vec<Nature> = group.iter().map(|id| self.calls[self.ids[id]].nature).collect();
        let is_in = |nature: Nature| natures.contains(&nature);
        if is_in(Nature::Hang) {
            return Ok(());
        }
        let loss = if is_in(Nature::Crash) {
            Loss::Ended("exit code 1".into())
        } else if is_in(Nature::Miscount) {
            Loss::BadAnswer { detail: "miscounted".into(), calls: group.len() }
        } else {
            for id in group {
                let (serial, good) =
                    (self.ids[&id], self.calls[self.ids[&id]].nature == Nature::Good);
                if let Some(ended) = self.state.answered(self.now, worker, id, good) {
                    ensure(ended.payload == serial, || format!("{serial} gets another's answer"))?;
                    self.calls[serial].ended += 1;
                }
            }
            if let Some(held) = self.held.get_mut(&worker) {
                held.1.clear();
                self.free.insert(worker, self.now);
            }
            return Ok(());
        };
        // A crash may come before the group was read.
        let unread = usize::from(is_in(Nature::Crash) && self.rng.u8(..4) == 0);
        if let ([id], true, 0) = (&group[..], is_in(Nature::Crash), unread) {
            self.blamed.insert(question_of(self.ids[id]), self.now);
        }
        self.gone(worker, unread > 0)?;
        self.state.lose(self.now, worker, &loss, unread);
        self.state.gone(worker);
        Ok(())
    }

    /// A worker is lost with what it holds.
    fn gone(&mut self, worker: WorkerId, is_unread: bool) -> Checked {
        self.free.remove(&worker);
        let Some((_, group)) = self.held.remove(&worker) else { return Ok(()) };
        if group.is_empty() || is_unread {
            return Ok(());
        }
        self.losses += 1;
        let half = group.len().div_ceil(2);
        for id in &group {
            let call = &mut self.calls[self.ids[id]];
            (call.most, call.lost_with, call.was_read) = (half, self.losses, true);
            call.lost += 1;
            let most = self.group.most.next_power_of_two().ilog2() + 1;
            ensure(call.lost <= most.max(1 + self.rules.retries), || {
                format!("one call has cost {} workers: {call:?}", call.lost)
            })?;
        }
        Ok(())
    }

    fn consequences(&mut self) -> Checked {
        for rounds in 0.. {
            ensure(rounds < 10_000, || "its decisions do not end".to_owned())?;
            self.state.settle(self.now);
            let actions = self.state.take_actions();
            let is_still = actions.is_empty() && !self.feed()?;
            for action in actions {
                self.carry_out(action)?;
            }
            if is_still {
                break;
            }
        }
        self.state.check()?;
        self.judge()
    }

    /// Hands background work over, as the shell does.
    fn feed(&mut self) -> Result<bool, String> {
        let vacancy = self.state.vacancy(self.now);
        let waits = self.stock.first().map(|(serial, ..)| self.calls[*serial].arrived);
        let is_news = std::mem::replace(&mut self.told, waits) != waits;
        if is_news {
            self.state.background_waits(waits, waits.is_some());
        }
        let Some((first, _, half)) = self.stock.first().copied().filter(|_| vacancy > 0) else {
            return Ok(is_news);
        };
        let waiting = self.state.queue_length();
        let is_owed = self.state.owes_background(self.now);
        ensure(waiting == 0 || is_owed, || format!("work begins while {waiting} calls wait"))?;
        let most = self.group.most.min(self.stock.len().div_ceil(vacancy));
        let mixes_all = self.group.mixes_all;
        let may_share = |serial: usize| {
            (self.calls[serial].idempotent || mixes_all) && !self.state.is_suspected(&serial)
        };
        let joins = |(serial, _, other): &(usize, u32, HalfId)| {
            *other == half && may_share(*serial) && may_share(first)
        };
        let others =
            self.stock[1..].iter().take(most.min(3) - 1).take_while(|it| joins(it)).count();
        let taken: Vec<_> = self.stock.drain(..=others).collect();
        let group =
            taken.iter().map(|(serial, retries, half)| (self.call_of(*serial), *retries, *half));
        let begun = self.state.begin_group(self.now, group.collect());
        for ((serial, ..), begun) in taken.iter().zip(begun) {
            match begun {
                Ok(id) => drop(self.ids.insert(id, *serial)),
                // Each time that it begins it is another call, and two of them were blamed.
                Err((_, Failure::Poisonous)) if self.calls[*serial].nature.is_bad() => {
                    self.calls[*serial].ended += 1;
                }
                Err((_, failure)) => return Err(format!("{serial} does not begin: {failure:?}")),
            }
        }
        Ok(true)
    }

    fn carry_out(&mut self, action: Action<usize>) -> Checked {
        match action {
            Action::Start(worker) => {
                self.starting.insert(worker);
                let delay = spread(&mut self.rng, (100, 100_000));
                self.after(delay, Event::Started(worker));
            }
            Action::GiveGroup { worker, calls } => self.give(worker, calls)?,
            Action::Stop(worker, _) | Action::Kill(worker) => {
                self.starting.remove(&worker);
                self.gone(worker, false)?;
                self.state.gone(worker);
            }
            Action::Fail(ended, failure) => self.failed(ended.payload, &failure)?,
            Action::GoesBack { payload, retries, half } => {
                ensure(self.calls[*payload].is_work, || "a call of a caller goes back".to_owned())?;
                self.stock.insert(0, (*payload, retries, half));
            }
            Action::Examine { .. }
            | Action::Refuse(_)
            | Action::Sight(_)
            | Action::StepBack { .. }
            | Action::ComeForward(_) => {}
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn give(&mut self, worker: WorkerId, ids: Vec<CallId>) -> Checked {
        let calls: Vec<&GroupedCall> = ids.iter().map(|id| &self.calls[self.ids[id]]).collect();
        let what = || format!("worker {worker} gets {calls:?}");
        let count = calls.len();
        let bytes: usize = ids.iter().map(|id| self.ids[id] % 9 + 1).sum();
        ensure(count <= self.group.most, || format!("{} in one group, {}", count, what()))?;
        ensure(count == 1 || bytes < self.group.bytes, || format!("{bytes} bytes, {}", what()))?;
        let is_free = self.held.get(&worker).is_some_and(|(_, held)| held.is_empty());
        ensure(is_free, || format!("it is not free: {}", what()))?;
        let is_blamed = |id: &CallId| {
            let at = self.blamed.get(&question_of(self.ids[id]));
            at.is_some_and(|at| self.now < *at + SUSPICION)
        };
        ensure(count == 1 || !ids.iter().any(is_blamed), || {
            format!("one of them has cost a worker before: {}", what())
        })?;
        for call in &calls {
            let is_whole = count <= call.most
                && call.lost_with == calls[0].lost_with
                && call.is_work == calls[0].is_work
                && (count == 1 || call.idempotent || self.group.mixes_all);
            ensure(is_whole, || format!("they cannot go together: {}", what()))?;
            ensure(call.ended == 0 && !call.has_left, || format!("nobody waits: {}", what()))?;
            ensure(call.idempotent || !call.was_read, || {
                format!("for the second time: {}", what())
            })?;
        }
        self.given += 1;
        self.free.remove(&worker);
        self.held.insert(worker, (self.given, ids));
        let delay = spread(&mut self.rng, self.service);
        let number = self.given;
        self.after(delay, Event::Ends(worker, number));
        Ok(())
    }

    /// A good call that may run twice never fails for another one.
    fn failed(&mut self, serial: usize, failure: &Failure) -> Checked {
        let call = &mut self.calls[serial];
        call.ended += 1;
        let may = match failure {
            Failure::WorkerLost { .. } | Failure::BadAnswer { .. } | Failure::Timeout { .. } => {
                // One that may not run twice is lost with the others of its group.
                let is_lost = self.group.mixes_all && !call.idempotent && self.bad > 0.0;
                call.nature.is_bad() || call.has_left || is_lost
            }
            Failure::NoWorker { .. } => self.bad > 0.0,
            Failure::QueueFull { .. } => true,
            Failure::Poisonous => call.nature.is_bad(),
            _ => false,
        };
        let since = self.now - call.arrived;
        ensure(may, || format!("call {serial} fails after {since:?} as {failure:?}: {call:?}"))
    }

    /// No call waits while a worker is free, or no longer than calls may gather.
    fn judge(&mut self) -> Checked {
        if self.state.owes_background(self.now) {
            return Ok(());
        }
        let waiting = self.state.queue_length();
        let Some(free) = self.free.values().min().filter(|_| waiting > 0) else { return Ok(()) };
        ensure(waiting < self.group.most, || format!("{waiting} calls wait for no more"))?;
        let last = self.now.saturating_duration_since(*free);
        let oldest = self.state.summary(self.now).oldest_wait.min(last);
        ensure(oldest < self.group.wait, || format!("a call has gathered for {oldest:?}"))
    }
}

#[test]
fn whatever_happens_in_groups_good_calls_are_answered_and_bad_ones_are_found() {
    let run = |seed: u64| {
        let mut world = GroupWorld::new(seed);
        world.run().err().map(|what| format!("seed {seed}: {what}"))
    };
    let seeds = number_from("SEED")
        .map_or(0..number_from("HTTPIPE_SIM_SEEDS").unwrap_or(SEEDS), |it| it..it + 1);
    let broken: Vec<String> = seeds.filter_map(run).collect();
    let shown: Vec<&String> = broken.iter().take(5).collect();
    assert!(broken.is_empty(), "{} seeds: {shown:#?}", broken.len());
}
