//! Callers and background work together, from a seed: a small world that knows what each may do to
//! the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use httpipe::testing::base::{CallId, Failure, Tenant, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, Loss, NewCall};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

use super::weather::{draw_rules, spread};

const WAIT_MOST: Duration = Duration::from_secs(30);
const STEPS: u32 = 2000;
const SEEDS: u64 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    Work,
    Started(WorkerId),
    Ends(WorkerId, CallId),
    Crash(WorkerId),
}

/// What a call is known by: background work has odd numbers.
type Number = u64;

fn is_work(number: Number) -> bool {
    number % 2 == 1
}

struct Mixed {
    rules: Rules,
    state: State<Number>,
    now: Instant,
    began: Instant,
    /// Draws what callers and workers do.
    rng: Rng,
    /// Draws what background work does, so that callers are the same without it.
    own_rng: Rng,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    /// The calls that each serving worker holds, oldest first.
    held: BTreeMap<WorkerId, Vec<(CallId, Number)>>,
    numbers: HashMap<CallId, Number>,
    /// The work that waits, with the time since when.
    stock: VecDeque<(Number, Instant, u32)>,
    has_work: bool,
    last: [Number; 2],
    gap: (u64, u64),
    service: (u64, u64),
    crash: f64,
    /// Since when work is owed a worker.
    owed_since: Option<Instant>,
    begun: u64,
    ended: u64,
    /// What callers were told: number, time, and how.
    told: Vec<(Number, Duration, String)>,
}

impl Mixed {
    fn new(seed: u64, share: u32, has_work: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let in_order = rng.bool();
        let rules = Rules { share, ..draw_rules(&mut rng, in_order, false) };
        let now = Instant::now();
        let question = |number: &Number| Fingerprint(*number);
        let gap = (0, [200, 5_000, 100_000, 1_000_000][rng.usize(..4)]);
        let service = [(1, 50), (500, 5_000), (1_000, 2_000_000)][rng.usize(..3)];
        let crash = [0.0, 0.0, 0.02][rng.usize(..3)];
        let mut mixed = Self {
            state: State::new(rules.clone(), seed, question),
            rules,
            now,
            began: now,
            rng,
            own_rng: Rng::with_seed(!seed),
            events: BinaryHeap::new(),
            scheduled: 0,
            held: BTreeMap::new(),
            numbers: HashMap::new(),
            stock: VecDeque::new(),
            has_work,
            last: [0, 1],
            gap,
            service,
            crash,
            owed_since: None,
            begun: 0,
            ended: 0,
            told: Vec::new(),
        };
        mixed.after(Duration::ZERO, Event::Call);
        if has_work {
            mixed.after(Duration::ZERO, Event::Work);
        }
        mixed
    }

    fn after(&mut self, delay: Duration, event: Event) {
        // Those of callers come in the same order with and without background work.
        self.scheduled += u64::from(event != Event::Work);
        self.events.push(Reverse((self.now + delay, self.scheduled, event)));
    }

    fn takes_one(&self) -> bool {
        self.rules.in_order || self.rules.in_flight == InFlight::Auto
    }

    fn places_each(&self) -> usize {
        match self.rules.in_flight {
            InFlight::Fixed(calls) if !self.takes_one() => calls as usize,
            InFlight::Fixed(_) | InFlight::Auto => 1,
        }
    }

    fn work_most(&self) -> usize {
        let places = self.held.len().min(self.rules.most) * self.places_each();
        match (self.rules.share, places) {
            (0, _) | (_, 0) => 0,
            (share, 1) if share < 1000 => 0,
            (share, places) => (places * share as usize / 1000).max(1),
        }
    }

    fn running(&self) -> usize {
        self.held.values().flatten().filter(|(_, number)| is_work(*number)).count()
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.state.stop(self.now);
        self.consequences();
        assert_eq!(self.state.calls_open(), 0, "the end answers everyone");
        assert_eq!(self.begun, self.ended, "all that began has ended or gone back");
    }

    fn step(&mut self) {
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let deadline = self.state.next_deadline();
        let is_tick = deadline.is_some_and(|at| event.is_none_or(|event| at <= event));
        let Some(at) = (if is_tick { deadline } else { event }) else { return };
        self.now = at.max(self.now);
        if is_tick {
            self.state.tick(self.now);
        } else if let Some(Reverse((_, _, event))) = self.events.pop() {
            self.happen(event);
        }
        self.consequences();
        self.judge();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call => {
                let gap = spread(&mut self.rng, self.gap);
                self.after(gap, Event::Call);
                self.last[0] += 2;
                let (number, idempotent) = (self.last[0], self.rng.bool());
                match self.state.arrive(self.now, new_call(number, idempotent)) {
                    Ok(id) => drop(self.numbers.insert(id, number)),
                    Err((_, failure)) => self.tell(number, failure.code().as_str()),
                }
            }
            Event::Work => {
                let gap = spread(&mut self.own_rng, (0, 3_000_000));
                self.after(gap, Event::Work);
                if self.stock.len() < 20 {
                    self.last[1] += 2;
                    self.stock.push_back((self.last[1], self.now, 0));
                }
            }
            Event::Started(worker) => {
                self.held.insert(worker, Vec::new());
                self.state.ready(self.now, worker);
            }
            Event::Ends(worker, call) => self.ends(worker, call),
            Event::Crash(worker) => {
                if let Some(held) = self.held.remove(&worker) {
                    self.note_lost(&held);
                    let loss = Loss::Ended("exit code 1".into());
                    self.state.lose(self.now, worker, &loss, 0);
                    self.state.gone(worker);
                }
            }
        }
    }

    fn ends(&mut self, worker: WorkerId, call: CallId) {
        let takes_one = self.takes_one();
        let Some(held) = self.held.get_mut(&worker) else { return };
        let Some(place) = held.iter().position(|(id, _)| *id == call) else { return };
        if takes_one && place > 0 {
            return;
        }
        let (_, number) = held.remove(place);
        let next = held.first().filter(|_| takes_one).copied();
        if let Some(ended) = self.state.answered(self.now, worker, call, true) {
            assert_eq!(ended.payload, number);
            self.tell(number, "answer");
        }
        if let Some((id, number)) = next {
            self.work_on(worker, id, number);
        }
    }

    fn work_on(&mut self, worker: WorkerId, call: CallId, number: Number) {
        let rng = if is_work(number) { &mut self.own_rng } else { &mut self.rng };
        let (takes, crashes) = (spread(rng, self.service), rng.f64() < self.crash);
        let event = if crashes { Event::Crash(worker) } else { Event::Ends(worker, call) };
        self.after(takes, event);
    }

    /// Background work that is lost goes back or fails, and is counted there.
    fn note_lost(&mut self, held: &[(CallId, Number)]) {
        for (id, _) in held {
            assert!(self.numbers.contains_key(id), "it was begun");
        }
    }

    fn tell(&mut self, number: Number, how: &str) {
        if is_work(number) {
            self.ended += 1;
        } else {
            self.told.push((number, self.now - self.began, how.to_owned()));
        }
    }

    fn consequences(&mut self) {
        loop {
            self.state.settle(self.now);
            let mut is_done = true;
            for action in self.state.take_actions() {
                is_done = false;
                self.carry_out(action);
            }
            if is_done && !self.feed() {
                break;
            }
        }
        self.state.check().expect("the books hold");
    }

    /// As the feeder does.
    fn feed(&mut self) -> bool {
        let mut has_begun = false;
        while self.state.vacancy(self.now) > 0 {
            let Some((number, since, retries)) = self.stock.pop_front() else { break };
            let (running, queue) = (self.running(), self.state.queue_length());
            let is_late = since + WAIT_MOST <= self.now && running == 0;
            assert!(queue == 0 || is_late, "work {number} begins before {queue} calls");
            assert!(running < self.work_most(), "{running} run of {}", self.work_most());
            match self.state.begin(self.now, new_call(number, true), retries) {
                Ok(id) => drop(self.numbers.insert(id, number)),
                Err((number, failure)) => {
                    // It has cost several workers.
                    let is_poisonous = matches!(failure, Failure::Poisonous) && retries > 0;
                    assert!(is_poisonous, "work {number} is refused: {failure:?}");
                    continue;
                }
            }
            assert_eq!(self.state.queue_length(), queue, "work is in the queue");
            self.begun += 1;
            has_begun = true;
            // What was decided is carried out before more begins, so that `held` is right.
            let actions = self.state.take_actions();
            for action in actions {
                self.carry_out(action);
            }
        }
        if self.has_work {
            let since = self.stock.front().map(|(_, since, _)| *since);
            self.state.background_waits(since, since.is_some());
        }
        has_begun
    }

    fn carry_out(&mut self, action: Action<Number>) {
        match action {
            Action::Start(worker) => {
                let delay = spread(&mut self.rng, (100, 100_000));
                self.after(delay, Event::Started(worker));
            }
            Action::Give { worker, call } => {
                let number = self.numbers[&call];
                let takes_one = self.takes_one();
                let held = self.held.get_mut(&worker).expect("it serves");
                let is_behind_work = held.iter().any(|(_, number)| is_work(*number));
                assert!(!takes_one || !is_behind_work, "call {number} stands behind work");
                assert!(!takes_one || held.is_empty() || !is_work(number), "work stands behind");
                held.push((call, number));
                if !takes_one || held.len() == 1 {
                    self.work_on(worker, call, number);
                }
            }
            Action::Stop(worker, _) | Action::Kill(worker) => {
                self.held.remove(&worker);
                self.state.gone(worker);
            }
            Action::GiveUp { worker, call } => {
                if let Some(held) = self.held.get_mut(&worker) {
                    held.retain(|(id, _)| *id != call);
                }
            }
            Action::Fail(ended, failure) => self.tell(ended.payload, failure.code().as_str()),
            Action::GiveGroup { .. } => unreachable!("calls go one by one"),
            Action::GoesBack { payload, retries, .. } => {
                assert!(is_work(*payload), "a call of a caller goes back");
                self.ended += 1;
                self.stock.push_front((*payload, self.now, retries));
            }
            Action::TakeBack(worker) => self.state.taken_back(self.now, worker, &[]),
            Action::Expire { .. }
            | Action::Examine { .. }
            | Action::Sight(_)
            | Action::StepBack { .. }
            | Action::ComeForward(_)
            | Action::Refuse(_) => {}
            Action::Claim(_) | Action::CallBack { .. } | Action::GuestLost { .. } => {
                panic!("nothing is shared with other servers");
            }
        }
    }

    /// Work that has waited too long begins within the time that the calls in one worker may take.
    fn judge(&mut self) {
        let is_late = |since: Instant| since + WAIT_MOST <= self.now;
        let waits = self.stock.front().is_some_and(|(_, since, _)| is_late(*since));
        if !waits || self.running() > 0 || self.work_most() == 0 {
            self.owed_since = None;
            return;
        }
        let since = *self.owed_since.get_or_insert(self.now);
        let ahead = match self.rules.in_flight {
            InFlight::Fixed(calls) if self.rules.in_order => calls,
            InFlight::Fixed(_) => 1,
            InFlight::Auto => 32,
        };
        let most = self.rules.timeout * ahead + Duration::from_secs(5);
        assert!(self.now <= since + most, "work has been owed a worker since {since:?}");
    }
}

fn new_call(number: Number, idempotent: bool) -> NewCall<Number> {
    NewCall {
        payload: number,
        bytes: 10,
        idempotent,
        caller_deadline: None,
        tenant: Tenant::ANONYMOUS,
        timeout: None,
    }
}

fn each_seed(check: impl Fn(u64)) {
    let seeds = super::number_from("HTTPIPE_SIM_SEEDS").unwrap_or(SEEDS);
    let first = super::number_from("SEED");
    let seeds = first.map_or(0..seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed)));
        assert!(done.is_ok(), "seed {seed}, see above; SEED={seed} runs it alone");
    }
}

#[test]
fn work_keeps_within_its_share_goes_after_callers_and_begins_in_bounded_time() {
    each_seed(|seed| {
        let share = [300, 500, 1000][(seed % 3) as usize];
        Mixed::new(seed, share, true).run();
    });
}

#[test]
fn with_no_share_callers_are_told_the_same_as_without_work() {
    each_seed(|seed| {
        let told = |has_work| {
            let mut mixed = Mixed::new(seed, 0, has_work);
            let until = mixed.began + Duration::from_secs(2);
            while mixed.now < until && mixed.scheduled < 5_000 {
                mixed.step();
            }
            assert_eq!(mixed.begun, 0);
            mixed.told.retain(|(_, at, _)| *at < Duration::from_secs(1));
            mixed.told.truncate(200);
            mixed.told
        };
        assert_eq!(told(true), told(false), "seed {seed}");
    });
}
