//! Callers who obey `Retry-After` are accepted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, Failure, Tenant, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, NewCall};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

use super::story::{Story, rules};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes(usize),
    Finishes(WorkerId, CallId),
}

/// A pool whose calls all take the same time, and callers who do as they are told.
struct Counter {
    state: State<usize>,
    in_order: bool,
    service: Duration,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, Event)>>,
    inside: BTreeMap<WorkerId, VecDeque<CallId>>,
    /// How often each caller came.
    came: Vec<u32>,
    served: usize,
}

impl Counter {
    fn of(rules: Rules, service: Duration) -> Self {
        let in_order = rules.in_order;
        let now = Instant::now();
        let state = State::new(rules, 1, |caller: &usize| Fingerprint(*caller as u64));
        let events = BinaryHeap::new();
        let inside = BTreeMap::new();
        let came = Vec::new();
        let mut it = Self { state, in_order, service, now, events, inside, came, served: 0 };
        it.settle();
        it
    }

    /// Adds this many new callers at once. All callers come again until they are served.
    fn serve(&mut self, callers: usize) -> &[u32] {
        let first = self.came.len();
        self.came.resize(first + callers, 0);
        for caller in first..first + callers {
            self.events.push(Reverse((self.now, Event::Comes(caller))));
        }
        while let Some(Reverse((at, event))) = self.events.pop() {
            while let Some(tick) = self.state.next_deadline().filter(|tick| *tick < at) {
                self.now = tick.max(self.now);
                self.state.tick(self.now);
                self.settle();
            }
            self.now = at.max(self.now);
            match event {
                Event::Comes(caller) => self.comes(caller),
                Event::Finishes(worker, call) => self.finishes(worker, call),
            }
            self.settle();
        }
        &self.came[first..]
    }

    fn comes(&mut self, caller: usize) {
        self.came[caller] += 1;
        assert!(self.came[caller] < 100, "caller {caller} comes for ever");
        let call = NewCall {
            payload: caller,
            bytes: 1,
            idempotent: true,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        };
        if let Err((_, failure)) = self.state.arrive(self.now, call) {
            self.told(caller, &failure);
        }
    }

    /// The caller is told as the header tells it: in whole seconds, at least one.
    fn told(&mut self, caller: usize, failure: &Failure) {
        let (Failure::QueueFull { retry_after, .. } | Failure::QueueTimeout { retry_after, .. }) =
            failure
        else {
            panic!("{failure:?}");
        };
        let seconds = retry_after.as_secs_f64().ceil().max(1.0);
        let again = self.now + Duration::from_secs_f64(seconds);
        self.events.push(Reverse((again, Event::Comes(caller))));
    }

    fn finishes(&mut self, worker: WorkerId, call: CallId) {
        let inside = self.inside.get_mut(&worker).expect("it was given calls");
        inside.retain(|other| *other != call);
        let next = inside.front().copied();
        self.state.answered(self.now, worker, call, true).expect("it holds the call");
        self.served += 1;
        if let Some(next) = next.filter(|_| self.in_order) {
            self.events.push(Reverse((self.now + self.service, Event::Finishes(worker, next))));
        }
    }

    fn settle(&mut self) {
        loop {
            self.state.settle(self.now);
            let actions = self.state.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Start(worker) => self.state.ready(self.now, worker),
                    Action::Give { worker, call } => {
                        let inside = self.inside.entry(worker).or_default();
                        inside.push_back(call);
                        if inside.len() == 1 || !self.in_order {
                            let end = self.now + self.service;
                            self.events.push(Reverse((end, Event::Finishes(worker, call))));
                        }
                    }
                    Action::Fail(ended, failure) => self.told(ended.payload, &failure),
                    Action::Examine { .. } | Action::Sight(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Nearly all callers must get in the second time, and all of them the third time.
fn is_true(rules: Rules, service: Duration, callers: usize) {
    let parallel = match rules.in_flight {
        InFlight::Fixed(calls) if !rules.in_order => calls as usize,
        _ => 1,
    };
    // All the work there is, and the seconds that it takes to let everyone into the queue.
    let at_once = parallel * rules.most;
    let busy = (callers as f64 * service.as_secs_f64()) / at_once as f64;
    let slots = callers as f64 / (rules.queue_length + rules.most) as f64;
    let what = format!("{service:?} {:?} {}", rules.in_flight, rules.most);
    let mut counter = Counter::of(rules, service);
    // As many as it takes at once, so that it is known what a call costs.
    for _ in 0..50 {
        counter.serve(at_once);
    }
    let began = counter.now;
    let came = counter.serve(callers).to_vec();
    let often = came.iter().filter(|times| **times > 2).count();
    assert!(often * 20 <= callers, "{often} of {callers} came more than twice: {what}");
    assert!(came.iter().all(|times| *times <= 3), "{came:?}: {what}");
    assert!(came.iter().filter(|times| **times == 2).count() * 2 > callers, "overload: {what}");
    // No caller is told to wait longer than necessary.
    let took = (counter.now - began).as_secs_f64();
    assert!(took < busy * 1.3 + slots + 2.0, "{took}, {busy} {slots}: {what}");
}

fn pool(workers: usize, in_flight: u32, in_order: bool, queue_length: usize) -> Rules {
    let in_flight = InFlight::Fixed(in_flight);
    let queue_wait = Duration::from_mins(2);
    Rules {
        least: workers,
        most: workers,
        in_flight,
        in_order,
        queue_length,
        queue_wait,
        ..rules()
    }
}

#[test]
fn calls_that_ran_over_tell_how_long_the_next_may_take() {
    let mut story = Story::of(Rules { queue_length: 0, ..rules() });
    story.call("a");
    story.pass(30_000);
    story.ready(2);
    assert_eq!(story.call("b"), ["give b to 2"]);
    let call = NewCall {
        payload: "c",
        bytes: 1,
        idempotent: true,
        caller_deadline: None,
        tenant: Tenant::ANONYMOUS,
        timeout: None,
    };
    let (_, failure) = story.state.arrive(story.now, call).expect_err("there is no queue");
    let Failure::QueueFull { retry_after, .. } = failure else { panic!("{failure:?}") };
    assert!(retry_after >= Duration::from_secs(30), "{retry_after:?}");
}

/// What a caller is told while the only worker has worked on its first call for this long.
fn told_after(millis: u64) -> Duration {
    let mut story = Story::of(Rules { queue_length: 0, ..rules() });
    assert_eq!(story.call("first"), ["give first to 1"]);
    story.pass_unnoticed(millis);
    let call = NewCall {
        payload: "b",
        bytes: 1,
        idempotent: true,
        caller_deadline: None,
        tenant: Tenant::ANONYMOUS,
        timeout: None,
    };
    let (_, failure) = story.state.arrive(story.now, call).expect_err("there is no queue");
    let Failure::QueueFull { retry_after, .. } = failure else { panic!("{failure:?}") };
    retry_after
}

#[test]
fn a_call_is_expected_to_run_as_long_again_as_it_has_run_but_not_longer_than_it_may() {
    assert_eq!(told_after(20_000), Duration::from_secs(20));
    assert_eq!(told_after(100_000), Duration::from_secs(30));
}

#[test]
fn callers_who_come_back_after_retry_after_get_in() {
    for service in [20, 200, 2_000].map(Duration::from_millis) {
        is_true(pool(1, 1, true, 5), service, 40);
        is_true(pool(4, 1, true, 5), service, 60);
        is_true(pool(2, 4, true, 10), service, 80);
        is_true(pool(2, 4, false, 10), service, 80);
    }
}
