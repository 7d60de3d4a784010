//! The workers of a pool step back and come forward.

use super::super::actions::NewCall;
use super::super::rules::Rules;
use super::*;
use crate::base::{CallId, Tenant};
use crate::config::PoolSettings;
use crate::policy::Fingerprint;

const COMPUTES: Sight = Sight { computes: true, is_full: true };

struct Pool {
    state: State<usize>,
    now: Instant,
}

impl Pool {
    /// A pool of this many workers, each with a call, on as many processors, or on two.
    fn busy(workers: usize) -> (Self, Vec<CallId>) {
        let settings = PoolSettings::for_tests();
        let processors = workers.min(2);
        let rules =
            Rules { least: workers, most: workers + 2, processors, ..Rules::from(&settings) };
        let state = State::new(rules, 1, |_| Fingerprint(0));
        let mut pool = Self { state, now: Instant::now() };
        pool.settle();
        for worker in pool.state.crew.ids() {
            pool.state.ready(pool.now, worker);
        }
        let calls = (0..workers).map(|call| pool.arrive(call)).collect();
        pool.settle();
        (pool, calls)
    }

    fn arrive(&mut self, payload: usize) -> CallId {
        let call = NewCall {
            payload,
            bytes: 1,
            idempotent: true,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        };
        self.state.arrive(self.now, call).expect("there is room")
    }

    /// What the pool does about the priority of workers.
    fn settle(&mut self) -> Vec<String> {
        self.state.settle(self.now);
        self.state.check().expect("the books hold");
        let said = self.state.take_actions().into_iter().filter_map(|action| match action {
            Action::Sight(worker) => Some(format!("look at {worker}")),
            Action::StepBack { worker, by } => Some(format!("{worker} by {by}")),
            Action::ComeForward(worker) => Some(format!("{worker} forward")),
            _ => None,
        });
        said.collect()
    }

    fn after(&mut self, millis: u64) -> Vec<String> {
        self.now += Duration::from_millis(millis);
        self.state.tick(self.now);
        self.settle()
    }

    fn see(&mut self, worker: u64, sight: Sight) -> Vec<String> {
        self.state.seen(WorkerId(worker), sight);
        self.settle()
    }
}

#[test]
fn a_worker_that_computes_for_long_steps_back_until_its_answer() {
    let (mut pool, calls) = Pool::busy(1);
    assert!(pool.after(19).is_empty());
    assert_eq!(pool.after(1), ["look at 1"]);
    assert_eq!(pool.see(1, COMPUTES), ["1 by 5"]);
    assert!(pool.after(1_000).is_empty(), "it is not looked at again");
    pool.state.answered(pool.now, WorkerId(1), calls[0], true);
    assert_eq!(pool.settle(), ["1 forward"]);
}

#[test]
fn a_worker_that_waits_or_has_room_is_looked_at_less_and_less() {
    let (mut pool, _) = Pool::busy(1);
    for wait in [20, 20, 40, 80] {
        assert!(pool.after(wait - 1).is_empty(), "{wait}");
        assert_eq!(pool.after(1), ["look at 1"]);
        assert!(pool.see(1, Sight { computes: false, ..COMPUTES }).is_empty());
        assert!(pool.see(1, Sight { is_full: false, ..COMPUTES }).is_empty());
    }
}

#[test]
fn the_more_workers_step_back_the_further_they_do() {
    let (mut pool, _) = Pool::busy(8);
    pool.after(20);
    assert_eq!(pool.see(1, COMPUTES), ["1 by 5"]);
    assert_eq!(pool.see(2, COMPUTES), ["2 by 5"]);
    assert_eq!(pool.see(3, COMPUTES), ["1 by 10", "2 by 10", "3 by 10"]);
    assert_eq!(pool.see(4, COMPUTES), ["4 by 10"]);
}

#[test]
fn a_worker_that_may_not_rise_is_replaced_and_later_ones_get_more_time() {
    let (mut pool, calls) = Pool::busy(1);
    pool.after(20);
    pool.see(1, COMPUTES);
    pool.state.answered(pool.now, WorkerId(1), calls[0], true);
    pool.settle();
    pool.state.stays_back(WorkerId(1));
    pool.settle();
    assert!(pool.state.crew.get(WorkerId(1)).is_some_and(WorkerBook::is_due));
    pool.arrive(1);
    pool.settle();
    assert!(pool.after(299).is_empty());
    assert_eq!(pool.after(1), ["look at 1"]);
}

#[test]
fn while_workers_are_added_the_others_are_looked_at_sooner() {
    let (mut pool, _) = Pool::busy(2);
    pool.arrive(2);
    assert!(pool.settle().is_empty() && pool.after(5).is_empty(), "one more starts");
    assert_eq!(pool.after(0), ["look at 1", "look at 2"]);
}
