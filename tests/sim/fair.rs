//! Tenants that share a pool: what each gets of the workers' time, how long its calls wait, and which
//! are refused, when one of them floods the pool, calls are long or short, callers leave and workers
//! are lost.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use fastrand::Rng;
use httpipe::testing::base::{CallId, Failure, Tenant, TenantId, WorkerId};
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, Loss, NewCall};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

use super::story::rules;
use super::weather::spread;

/// How long a lost worker takes to come back.
const START: Duration = Duration::from_millis(3);

/// When the calls of a tenant come.
#[derive(Clone, Copy, Debug)]
enum Demand {
    /// So many are open at any time.
    Open(usize),
    /// One after this many microseconds, on average.
    Every(u64),
}

/// One tenant and its calls.
#[derive(Clone, Copy, Debug)]
struct Guest {
    weight: u8,
    demand: Demand,
    /// Least and most microseconds of a call.
    service: (u64, u64),
    /// The chance that a caller leaves.
    leaves: f64,
    /// The chance that a call ends its worker.
    crashes: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes(usize),
    Leaves(usize),
    Finishes(WorkerId, CallId),
    Crashes(WorkerId),
    Started(WorkerId),
}

/// What became of one call.
#[derive(Clone, Copy, Debug)]
struct Visit {
    guest: usize,
    came: Instant,
    id: Option<CallId>,
    ended: u32,
}

/// What became of the calls of one tenant.
#[derive(Clone, Debug, Default)]
struct Bill {
    used: Duration,
    served: u32,
    refused: u32,
    failed: u32,
    /// From the arrival to the answer.
    times: Vec<Duration>,
}

impl Bill {
    fn p99(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}

/// A pool with several tenants, in virtual time.
struct Inn {
    state: State<usize>,
    rng: Rng,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    guests: Vec<Guest>,
    /// Guests with the same number are one tenant.
    tenants: Vec<u32>,
    visits: Vec<Visit>,
    bills: Vec<Bill>,
    /// When each worker that has a call got it, and which.
    at_work: BTreeMap<WorkerId, (Instant, usize)>,
}

impl Inn {
    fn open(seed: u64, rules: Rules, guests: &[Guest]) -> Self {
        let mut inn = Self {
            state: State::new(rules, seed, |visit: &usize| Fingerprint(*visit as u64)),
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            events: BinaryHeap::new(),
            scheduled: 0,
            guests: guests.to_vec(),
            tenants: (1..=u32::try_from(guests.len()).expect("few")).collect(),
            visits: Vec::new(),
            bills: vec![Bill::default(); guests.len()],
            at_work: BTreeMap::new(),
        };
        inn.settle();
        for (guest, Guest { demand, .. }) in guests.iter().enumerate() {
            let calls = if let Demand::Open(calls) = demand { *calls } else { 1 };
            (0..calls).for_each(|_| inn.after(Duration::ZERO, Event::Comes(guest)));
        }
        inn
    }

    /// All guests are one tenant.
    fn all_as_one(mut self) -> Self {
        self.tenants.fill(1);
        self
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + delay, self.scheduled, event)));
    }

    fn run_until(mut self, is_over: impl Fn(&[Bill], Duration) -> bool) -> Vec<Bill> {
        let began = self.now;
        while !is_over(&self.bills, self.now - began) {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            while let Some(tick) = self.state.next_deadline().filter(|tick| *tick <= at) {
                self.now = tick.max(self.now);
                self.state.tick(self.now);
                self.settle();
            }
            self.now = at.max(self.now);
            self.happen(event);
            self.settle();
            if self.scheduled.is_multiple_of(256) {
                self.state.check().expect("the books hold");
            }
        }
        self.finish()
    }

    /// Ends the pool: every call must have ended once.
    fn finish(mut self) -> Vec<Bill> {
        let bills = self.bills.clone();
        self.state.stop(self.now);
        self.settle();
        let open = self.visits.iter().filter(|visit| visit.ended != 1).count();
        assert_eq!(open, 0, "calls that ended not once");
        bills
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Comes(guest) => self.comes(guest),
            Event::Leaves(visit) => {
                let id = self.visits[visit].id.expect("it was let in");
                if self.state.caller_left(self.now, id).is_some() {
                    self.ended(visit);
                }
            }
            Event::Finishes(worker, call) => {
                let guest = self.stops_working(worker);
                self.bills[guest].served += 1;
                if let Some(ended) = self.state.answered(self.now, worker, call, true) {
                    let Visit { guest, came, .. } = self.visits[ended.payload];
                    self.bills[guest].times.push(self.now - came);
                    self.ended(ended.payload);
                }
            }
            Event::Crashes(worker) => {
                self.stops_working(worker);
                self.state.lose(self.now, worker, &Loss::Ended("exit code 1".into()), 0);
                self.state.gone(worker);
            }
            Event::Started(worker) => self.state.ready(self.now, worker),
        }
    }

    fn comes(&mut self, guest: usize) {
        let Guest { weight, demand, leaves, .. } = self.guests[guest];
        let weight = NonZeroU8::new(weight).expect("not zero");
        let tenant = Tenant { id: TenantId(self.tenants[guest]), weight };
        let visit = self.visits.len();
        self.visits.push(Visit { guest, came: self.now, id: None, ended: 0 });
        let call = NewCall {
            payload: visit,
            bytes: 10,
            idempotent: true,
            caller_deadline: None,
            tenant,
            timeout: None,
        };
        match self.state.arrive(self.now, call) {
            Ok(id) => {
                self.visits[visit].id = Some(id);
                if self.rng.f64() < leaves {
                    let delay = spread(&mut self.rng, (1, 100_000));
                    self.after(delay, Event::Leaves(visit));
                }
            }
            Err((visit, failure)) => {
                assert!(matches!(failure, Failure::QueueFull { .. }), "{failure:?}");
                self.bills[guest].refused += 1;
                self.ended(visit);
            }
        }
        if let Demand::Every(mean) = demand {
            // Exponential, so that they come without regard to each other.
            let gap = -(1.0 - self.rng.f64()).ln() * mean as f64 / 1e6;
            self.after(Duration::from_secs_f64(gap), Event::Comes(guest));
        }
    }

    fn ended(&mut self, visit: usize) {
        self.visits[visit].ended += 1;
        let guest = self.visits[visit].guest;
        if matches!(self.guests[guest].demand, Demand::Open(_)) {
            self.after(Duration::ZERO, Event::Comes(guest));
        }
    }

    /// Returns whose call the worker had.
    fn stops_working(&mut self, worker: WorkerId) -> usize {
        let (since, visit) = self.at_work.remove(&worker).expect("it works");
        let guest = self.visits[visit].guest;
        self.bills[guest].used += self.now - since;
        guest
    }

    fn settle(&mut self) {
        loop {
            self.state.settle(self.now);
            let actions = self.state.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action<usize>) {
        match action {
            Action::Start(worker) => self.after(START, Event::Started(worker)),
            Action::Give { worker, call } => {
                let visit = *self.state.payload(call).expect("in the books");
                let Guest { service, crashes, .. } = self.guests[self.visits[visit].guest];
                let took = spread(&mut self.rng, service);
                let before = self.at_work.insert(worker, (self.now, visit));
                assert_eq!(before, None, "one call a worker");
                if self.rng.f64() < crashes {
                    self.after(took, Event::Crashes(worker));
                } else {
                    self.after(took, Event::Finishes(worker, call));
                }
            }
            Action::Fail(ended, failure) => {
                let bill = &mut self.bills[self.visits[ended.payload].guest];
                match failure {
                    Failure::QueueFull { .. } => bill.refused += 1,
                    Failure::Draining => {}
                    _ => bill.failed += 1,
                }
                self.ended(ended.payload);
            }
            Action::Stop(worker, _) => self.state.gone(worker),
            Action::Examine { .. } | Action::Sight(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn inn_rules(workers: usize, queue_length: usize) -> Rules {
    let queue_bytes = u64::MAX;
    Rules { least: workers, most: workers, queue_length, queue_bytes, ..rules() }
}

const POLITE: Guest = Guest {
    weight: 1,
    demand: Demand::Every(75_000),
    service: (2_000, 40_000),
    leaves: 0.0,
    crashes: 0.0,
};

/// Nine polite tenants with four workers, and one that calls this many times as often.
fn with_a_flood(times: u64) -> Inn {
    let mut guests = vec![POLITE; 9];
    if let Some(gap) = 75_000_u64.checked_div(times) {
        guests.push(Guest { demand: Demand::Every(gap), ..POLITE });
    }
    Inn::open(1, inn_rules(4, 1024), &guests)
}

/// The time within which 99 of 100 calls of polite tenants were answered, and how many were refused
/// or failed.
fn polite(inn: Inn) -> (Duration, u32) {
    let bills = inn.run_until(|_, passed| passed > Duration::from_mins(1));
    let mut all = Bill::default();
    for bill in &bills[..9] {
        all.times.extend(&bill.times);
        all.refused += bill.refused + bill.failed;
    }
    (all.p99(), all.refused)
}

#[test]
fn a_flood_by_one_tenant_hardly_delays_the_others_and_refuses_none_of_their_calls() {
    let (alone, _) = polite(with_a_flood(0));
    let (fair, refused) = polite(with_a_flood(100));
    assert_eq!(refused, 0, "polite calls");
    assert!(fair <= alone * 3 / 2, "{fair:?} with a flood, {alone:?} alone");
    // Without tenants it is another matter.
    let (unfair, refused) = polite(with_a_flood(100).all_as_one());
    assert!(unfair > alone * 10 && refused > 0, "{unfair:?}, {refused} refused");
}

#[test]
fn a_tenant_that_always_waits_gets_its_share_whatever_the_others_do() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let workers = rng.usize(1..=6);
        let services = [(1_000, 1_000), (500, 4_000), (10_000, 40_000), (700, 700)];
        let guests: Vec<Guest> = (0..rng.usize(2..=7))
            .map(|_| Guest {
                weight: rng.u8(1..=4),
                demand: Demand::Open(rng.usize(workers + 2..40)),
                service: services[rng.usize(..services.len())],
                leaves: [0.0, 0.0, 0.2][rng.usize(..3)],
                crashes: [0.0, 0.0, 0.01][rng.usize(..3)],
            })
            .collect();
        let inn = Inn::open(seed, inn_rules(workers, 1024), &guests);
        let bills = inn.run_until(|bills, _| bills.iter().all(|bill| bill.served >= 100));
        let weights: f64 = guests.iter().map(|guest| f64::from(guest.weight)).sum();
        let whole: f64 = bills.iter().map(|bill| bill.used.as_secs_f64()).sum();
        for (bill, guest) in bills.iter().zip(&guests) {
            let share = whole * f64::from(guest.weight) / weights;
            let used = bill.used.as_secs_f64();
            assert!(used >= 0.9 * share, "seed {seed}: {used} of {share}: {guest:?} {guests:?}");
        }
    }
}

#[test]
fn what_one_tenant_leaves_over_is_shared_by_the_others() {
    let full = Guest { demand: Demand::Open(20), service: (1_000, 1_000), ..POLITE };
    // It wants a tenth of the workers' time, and may have a third.
    let modest = Guest { demand: Demand::Every(5_000), service: (1_000, 1_000), ..POLITE };
    let inn = Inn::open(3, inn_rules(2, 1024), &[full, full, modest]);
    let bills = inn.run_until(|_, passed| passed > Duration::from_secs(20));
    let used: Vec<f64> = bills.iter().map(|bill| bill.used.as_secs_f64() / 40.0).collect();
    assert!((used[2] - 0.1).abs() < 0.01, "{used:?}");
    assert!((used[0] - 0.45).abs() < 0.01 && (used[1] - 0.45).abs() < 0.01, "{used:?}");
}

#[test]
fn a_full_queue_has_room_for_a_tenant_with_few_calls() {
    let flood = Guest { demand: Demand::Every(500), service: (5_000, 10_000), ..POLITE };
    let rare = Guest { demand: Demand::Every(100_000), service: (5_000, 10_000), ..POLITE };
    for queue_length in [1, 2, 10] {
        let inn = Inn::open(5, inn_rules(2, queue_length), &[flood, rare]);
        let bills = inn.run_until(|_, passed| passed > Duration::from_secs(30));
        assert!(bills[0].refused > 10_000, "{queue_length}: {}", bills[0].refused);
        // Half of a short queue is its own, and several of its own calls may come at once.
        let most = if queue_length < 10 { bills[1].served / 10 } else { 0 };
        assert!(bills[1].refused <= most, "{queue_length}: {}", bills[1].refused);
        assert!(bills[1].served > 200, "{}", bills[1].served);
    }
}
