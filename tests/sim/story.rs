//! A short story told to the core, and what it decides, in words.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, Tenant, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::{Action, Loss, NewCall};
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;

pub(crate) type Name = &'static str;

/// A pool's core, its clock, and calls with names. Each method returns what the core decides, in
/// words: `give a to 1`, `start 2`, `fail a worker_lost`. The first word of a name is the question.
pub(crate) struct Story {
    pub(crate) state: State<Name>,
    pub(crate) now: Instant,
    pub(crate) ids: HashMap<Name, CallId>,
    /// The calls whose worker the core wanted to be looked at, each with the time.
    pub(crate) looks: Vec<(Name, Instant)>,
}

pub(crate) fn rules() -> Rules {
    Rules {
        // So many that a free worker has one in any story that does not say otherwise.
        processors: 64,
        least: 1,
        most: 1,
        in_flight: InFlight::Fixed(1),
        takes_back: false,
        in_order: true,
        timeout: Duration::from_secs(30),
        abandoned: Duration::from_secs(10),
        queue_length: 100,
        queue_bytes: 10_000,
        queue_wait: Duration::from_secs(5),
        start_timeout: Duration::from_secs(30),
        retries: 1,
        recycle_calls: None,
        recycle_age: None,
        share: 500,
        group: None,
    }
}

impl Story {
    /// A pool whose least workers are ready.
    pub(crate) fn of(rules: Rules) -> Self {
        let least = rules.least as u64;
        let mut story = Self::before_the_start(rules);
        story.settle();
        (1..=least).for_each(|worker| drop(story.ready(worker)));
        story
    }

    pub(crate) fn before_the_start(rules: Rules) -> Self {
        let question = |name: &Name| {
            let mut hasher = DefaultHasher::new();
            name.split(' ').next().hash(&mut hasher);
            Fingerprint(hasher.finish())
        };
        let (now, ids) = (Instant::now(), HashMap::new());
        Self { state: State::new(rules, 1, question), now, ids, looks: Vec::new() }
    }

    /// A pool with this many workers that has measured calls of 10 µs and sends ahead.
    pub(crate) fn sending_ahead(workers: usize) -> Self {
        Self::sending_ahead_by(&Rules { least: workers, most: workers, ..rules() })
    }

    /// The pool of [`Story::sending_ahead`] with other rules.
    pub(crate) fn sending_ahead_by(rules: &Rules) -> Self {
        let mut story = Self::of(Rules { in_flight: InFlight::Auto, ..rules.clone() });
        for _ in 0..20 {
            let worker = story.call("warm")[0].replace("give warm to ", "");
            story.now += Duration::from_micros(10);
            story.good(worker.parse().expect("its number"), "warm");
        }
        story
    }

    pub(crate) fn settle(&mut self) -> Vec<String> {
        self.state.settle(self.now);
        self.state.check().expect("the books hold");
        let actions = self.state.take_actions();
        actions.into_iter().filter_map(|action| self.words(action)).collect()
    }

    fn words(&mut self, action: Action<Name>) -> Option<String> {
        let name = |id| self.state.payload(id).copied().expect("in the books");
        Some(match action {
            Action::Give { worker, call } => format!("give {} to {worker}", name(call)),
            Action::GiveGroup { worker, calls } => {
                let names: Vec<Name> = calls.into_iter().map(name).collect();
                format!("give {} to {worker}", names.join("+"))
            }
            Action::GiveUp { worker, call } => {
                let name = self.ids.iter().find(|(_, id)| **id == call).expect("it arrived").0;
                format!("give up {name} in {worker}")
            }
            Action::Fail(ended, failure) => format!("fail {} {}", ended.payload, failure.code()),
            Action::Expire { call, failure } => format!("expire {} {}", name(call), failure.code()),
            Action::Examine { call, .. } => {
                self.looks.push((name(call), self.now));
                return None;
            }
            // A story that is about it looks by itself.
            Action::Sight(_) => return None,
            Action::StepBack { worker, by } => format!("{worker} steps back by {by}"),
            Action::ComeForward(worker) => format!("{worker} comes forward"),
            Action::TakeBack(worker) => format!("take back from {worker}"),
            Action::GoesBack { payload, .. } => format!("{payload} goes back"),
            Action::Claim(worker) => format!("claim for {worker}"),
            Action::CallBack { host, .. } => format!("call back from {}", host.0),
            Action::GuestLost { ended, failure, blamed } => {
                let blamed = if blamed { " blamed" } else { "" };
                format!("lose guest {} {}{blamed}", ended.payload, failure.code())
            }
            Action::Start(worker) => format!("start {worker}"),
            Action::Refuse(_) => "refuse from now on".to_owned(),
            Action::Kill(worker) => format!("kill {worker}"),
            Action::Stop(worker, reason) => format!("stop {worker} {reason:?}"),
        })
    }

    pub(crate) fn arrive(
        &mut self,
        name: Name,
        idempotent: bool,
        deadline: Option<Duration>,
    ) -> Vec<String> {
        let caller_deadline = deadline.map(|after| self.now + after);
        self.enter(NewCall {
            payload: name,
            bytes: 10,
            idempotent,
            caller_deadline,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        })
    }

    /// A call of this tenant.
    pub(crate) fn call_of(&mut self, name: Name, tenant: Tenant) -> Vec<String> {
        self.call_with(name, tenant, 10)
    }

    /// A call of this tenant with a question of this size.
    pub(crate) fn call_with(&mut self, name: Name, tenant: Tenant, bytes: usize) -> Vec<String> {
        self.enter(NewCall {
            payload: name,
            bytes,
            idempotent: true,
            caller_deadline: None,
            tenant,
            timeout: None,
        })
    }

    /// A caller of this tenant waits for this call, too.
    pub(crate) fn share(&mut self, name: Name, tenant: Tenant) {
        self.state.shared_with(self.now, self.ids[name], tenant);
        self.settle();
    }

    /// A call with a question of this size.
    pub(crate) fn arrive_with(&mut self, name: Name, bytes: usize) -> Vec<String> {
        self.enter(NewCall {
            payload: name,
            bytes,
            idempotent: true,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        })
    }

    fn enter(&mut self, call: NewCall<Name>) -> Vec<String> {
        let name = call.payload;
        match self.state.arrive(self.now, call) {
            Ok(id) => drop(self.ids.insert(name, id)),
            Err((_, failure)) => return vec![format!("refuse {name} {}", failure.code())],
        }
        self.settle()
    }

    pub(crate) fn call(&mut self, name: Name) -> Vec<String> {
        self.arrive(name, true, None)
    }

    pub(crate) fn calls(&mut self, names: &[Name]) {
        for name in names {
            self.call(name);
        }
    }

    pub(crate) fn ready(&mut self, worker: u64) -> Vec<String> {
        self.state.ready(self.now, WorkerId(worker));
        self.settle()
    }

    /// A good answer. The first words are `answer NAME` if a caller gets it.
    pub(crate) fn good(&mut self, worker: u64, name: Name) -> Vec<String> {
        self.answer(worker, name, true)
    }

    /// An answer that the caller gets as a failure.
    pub(crate) fn bad(&mut self, worker: u64, name: Name) -> Vec<String> {
        self.answer(worker, name, false)
    }

    fn answer(&mut self, worker: u64, name: Name, good: bool) -> Vec<String> {
        let ended = self.state.answered(self.now, WorkerId(worker), self.ids[name], good);
        let mut said: Vec<String> =
            ended.iter().map(|ended| format!("answer {}", ended.payload)).collect();
        said.extend(self.settle());
        said
    }

    pub(crate) fn crash(&mut self, worker: u64, unwritten: usize) -> Vec<String> {
        let loss = Loss::Ended("exit code 1".into());
        self.state.lose(self.now, WorkerId(worker), &loss, unwritten);
        self.state.gone(WorkerId(worker));
        self.settle()
    }

    /// These calls, oldest first, were taken out of the pipe of a worker.
    pub(crate) fn taken_back(&mut self, worker: u64, names: &[Name]) -> Vec<String> {
        let ids: Vec<CallId> = names.iter().map(|name| self.ids[name]).collect();
        self.state.taken_back(self.now, WorkerId(worker), &ids);
        self.settle()
    }

    pub(crate) fn leave(&mut self, name: Name) -> Vec<String> {
        self.state.caller_left(self.now, self.ids[name]);
        self.settle()
    }

    /// Time passes, and the core is not woken although it asked to be, as on a busy machine.
    pub(crate) fn pass_unnoticed(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Time passes. The core is woken whenever it asked to be, and not in between.
    pub(crate) fn pass(&mut self, millis: u64) -> Vec<String> {
        let end = self.now + Duration::from_millis(millis);
        let mut said = Vec::new();
        while let Some(at) = self.state.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.state.tick(self.now);
            said.extend(self.settle());
        }
        self.now = end;
        said
    }

    pub(crate) fn change(&mut self, rules: Rules) -> Vec<String> {
        self.state.set_rules(self.now, rules);
        self.settle()
    }
}
