//! What one call costs the pool's books, with few and many workers and waiting calls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, Tenant, TenantId, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, NewCall};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

use crate::{Bench, pool};

/// A pool whose workers are ready, and a clock that moves.
struct Pool {
    state: State<u32>,
    now: Instant,
    given: VecDeque<(WorkerId, CallId)>,
}

impl Pool {
    fn new(workers: usize, in_flight: InFlight) -> Self {
        let mut rules = Rules::from(&*pool("reply = \"{input}|{result}\""));
        rules.least = workers;
        rules.most = workers;
        rules.in_flight = in_flight;
        rules.queue_length = 1 << 20;
        let mut pool = Self {
            state: State::new(rules, 1, |_| Fingerprint(0)),
            now: Instant::now(),
            given: VecDeque::new(),
        };
        while pool.step() > 0 {}
        pool
    }

    /// Settles, carries the actions out and returns how many there were.
    fn step(&mut self) -> usize {
        self.now += Duration::from_micros(1);
        self.state.settle(self.now);
        let actions = self.state.take_actions();
        let count = actions.len();
        for action in actions {
            match action {
                Action::Start(worker) => self.state.ready(self.now, worker),
                Action::Give { worker, call } => self.given.push_back((worker, call)),
                Action::Sight(_) | Action::StepBack { .. } | Action::ComeForward(_) => {}
                Action::Fail(..)
                | Action::Refuse(_)
                | Action::Expire { .. }
                | Action::GiveGroup { .. }
                | Action::GiveUp { .. }
                | Action::Kill(_)
                | Action::Examine { .. }
                | Action::TakeBack(_)
                | Action::GoesBack { .. }
                | Action::Claim(_)
                | Action::CallBack { .. }
                | Action::GuestLost { .. }
                | Action::Stop(..) => unreachable!("nothing fails here"),
            }
        }
        count
    }

    fn arrive(&mut self) {
        self.arrive_from(Tenant::ANONYMOUS);
    }

    fn arrive_from(&mut self, tenant: Tenant) {
        let call = NewCall {
            payload: 0_u32,
            bytes: 2,
            idempotent: true,
            caller_deadline: None,
            tenant,
            timeout: None,
        };
        assert!(self.state.arrive(self.now, call).is_ok(), "there is room");
        self.step();
    }

    fn answer(&mut self) {
        let (worker, call) = self.given.pop_front().expect("something is being worked on");
        let ended = self.state.answered(self.now, worker, call, true);
        assert!(ended.is_some(), "it was open");
        self.step();
    }
}

pub(crate) fn all(bench: &Bench) {
    for workers in [2, 16, 256] {
        let mut pool = Pool::new(workers, InFlight::Fixed(1));
        bench.run(&format!("state: a call, {workers} free workers"), 1, || {
            pool.arrive();
            pool.answer();
        });
    }
    for workers in [2, 16, 256] {
        let mut pool = Pool::new(workers, InFlight::Auto);
        (0..workers).for_each(|_| pool.arrive());
        bench.run(&format!("state: a call, auto, {workers} busy workers"), 1, || {
            pool.arrive();
            pool.answer();
        });
    }
    // What it costs that tenants take turns is the difference to the first of these.
    for tenants in [1, 2, 100] {
        let name = format!("state: a call behind 1000 that wait, {tenants} tenants");
        if !bench.wants(&name) {
            continue;
        }
        let mut pool = Pool::new(2, InFlight::Fixed(1));
        let mut next = (1..=tenants)
            .cycle()
            .map(|number| Tenant { id: TenantId(number), weight: std::num::NonZeroU8::MIN });
        let mut arrive = |pool: &mut Pool| pool.arrive_from(next.next().expect("it goes on"));
        (0..1002).for_each(|_| arrive(&mut pool));
        bench.run(&name, 1, || {
            arrive(&mut pool);
            pool.answer();
        });
    }
    for waiting in [1, 1000, 100_000, 1_000_000] {
        let name = format!("state: a call behind {waiting} that wait");
        if !bench.wants(&name) {
            continue;
        }
        let mut pool = Pool::new(2, InFlight::Fixed(1));
        (0..waiting + 2).for_each(|_| pool.arrive());
        bench.run(&name, 1, || {
            pool.arrive();
            pool.answer();
        });
    }
}
