//! Which worker gets a call, and how many workers there are.
//!
//! `state` decides and is pure. The rest is the thin shell around it: [`Pool`] takes calls in and
//! hands outcomes out, `driver` carries out what was decided, and `attend` attends to one worker
//! from its start to its end.

pub mod actions;
mod ahead;
pub mod away;
pub mod check;
pub mod crew;
pub mod grouping;

pub mod pending;
pub mod rules;
pub mod sight;
pub mod state;
mod steps;

mod alarms;
mod answers;
mod asides;
mod attend;
mod background;
mod backlog;
mod begun;
mod blame;
mod calls;
mod calm;
mod cancels;
mod costs;
mod deadlines;
mod diagnose;
mod driver;
mod elsewhere;
mod ends;
mod entry;
mod estimate;
mod feeder;
mod forks;
mod given_up;
mod group_calls;
mod groups;
mod guests;
mod inside;
mod judging;
mod ledger;
mod lifecycle;
mod line;
mod links;
mod long_runs;
mod losses;
mod lost;
mod once;
mod outbox;
mod pick;
mod priority;
mod progress;
mod promises;
mod records;
mod refusals;
mod scale;
mod seldom_said;
mod sharing;
mod slots;
mod stepping_back;
mod streams;
mod suspects;
mod taps;
mod terms;
mod timer;
mod traces;
mod turn_ends;
mod turns;
mod vacancy;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use crate::base::{Call, CallId, ExitReason, Tenant, WorkerCount, WorkerCounts, WorkerId};
use crate::config::{InFlight, PoolSettings};
use crate::observe::metrics::{Metrics, PoolMetrics, RouteMetrics};
use crate::observe::rings::SecondClock;
use crate::worker::guard::Guard;

use actions::{Action, NewCall};
use answers::Answers;
use check::Summary;
use crew::Phase;
use entry::{Entry, Payload, fingerprints};
use feeder::Feeder;
use forks::Forks;
use ledger::Ledger;
use lifecycle::Lifecycle;
use links::Links;
use pending::Pending;
use records::Records;
use rules::Rules;
use seldom_said::SeldomSaid;
use state::State;
use taps::Taps;
use timer::Timer;

#[cfg(feature = "nats")]
pub use elsewhere::{Forwarding, Guest, GuestName, GuestOutcome, OtherServers, PartFate};
pub use feeder::{BackgroundSource, JobPlace};
pub use ledger::Lately;
pub use links::Ending;

/// What all pools of a server share.
#[derive(Clone, Debug)]
pub struct Services {
    /// All tasks are started on it, so that a stop can wait for them.
    pub tasks: TaskTracker,
    /// Knows the process groups of all workers.
    pub guard: Guard,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
    /// Numbers the workers of all pools.
    pub workers: WorkerCount,
    /// Which second it is, for the samples of all pools.
    pub seconds: SecondClock,
}

/// The workers of one program and the queue before them. Lives on one thread.
#[derive(Debug)]
pub struct Pool {
    settings: RefCell<Arc<PoolSettings>>,
    answers: Answers,
    state: RefCell<State<Payload>>,
    /// What the books want done. Kept between two settlings only to reuse its memory.
    actions: RefCell<Vec<Action<Payload>>>,
    links: Links,
    forks: Forks,
    /// Hands background work over; none before the first.
    feeder: OnceCell<Box<Feeder>>,
    timer: Timer,
    lifecycle: Lifecycle,
    services: Services,
    metrics: PoolMetrics,
    ledger: Ledger,
    taps: Taps,
    records: Records,
    /// What workers wrote that is no answer, in the log.
    strays: RefCell<SeldomSaid>,
    /// What is wrong with its workers, in the log.
    ill: RefCell<SeldomSaid>,
}

/// What operators are told of one pool.
#[derive(Clone, Debug)]
pub struct Report {
    /// The name of the pool.
    pub name: String,
    /// The summary of its books.
    pub summary: Summary,
    /// The process ids of its workers.
    pub processes: HashMap<WorkerId, u32>,
    /// The numbers of its workers by state.
    pub counts: WorkerCounts,
    /// How the last workers ended, oldest first.
    pub exits: Vec<Ending>,
    /// Of which workers there is a record.
    pub recorded: Vec<WorkerId>,
    /// The routes of the calls on which workers work.
    pub routes: HashMap<CallId, String>,
    /// What became of its calls lately.
    pub lately: Lately,
}

/// How often the log tells of what workers wrote that is no answer, and of what is wrong with them.
const STRAYS_EVERY: Duration = Duration::from_mins(1);
const ILL_EVERY: Duration = Duration::from_mins(10);
/// How long the kernel may take to end a killed worker. It takes for ever if the program runs as
/// another user, or waits for a device that does not answer.
const KILLING: Duration = Duration::from_secs(5);

impl Pool {
    /// Starts the workers of a program. Must be called inside the runtime, on a thread that lives as
    /// long as the server.
    pub fn start(settings: Arc<PoolSettings>, services: Services) -> Rc<Self> {
        let seed = fastrand::u64(..);
        let metrics = services.metrics.pool(&settings.name);
        let state = State::new(Rules::from(&*settings), seed, fingerprints())
            .naming_routes_with(|entry| entry.route.label().to_owned());
        let pool = Rc::new(Self {
            answers: Answers::new(&settings.program.wire),
            state: RefCell::new(state.counting_with(services.workers.clone())),
            settings: RefCell::new(settings),
            actions: RefCell::default(),
            links: Links::default(),
            forks: Forks::default(),
            feeder: OnceCell::new(),
            timer: Timer::default(),
            lifecycle: Lifecycle::default(),
            taps: Taps::default(),
            records: Records::default(),
            ledger: Ledger::new(services.seconds, Instant::now()),
            services,
            metrics,
            strays: RefCell::new(SeldomSaid::every(STRAYS_EVERY)),
            ill: RefCell::new(SeldomSaid::every(ILL_EVERY)),
        });
        // Before the first worker, which waits for it.
        pool.keep_forks();
        pool.settle(Instant::now());
        pool.services.tasks.spawn_local(driver::keep_time(Rc::clone(&pool)));
        pool.services.tasks.spawn_local(driver::watch_memory(Rc::clone(&pool)));
        pool
    }

    /// Returns the name of the pool.
    pub fn name(&self) -> String {
        self.settings.borrow().name.clone()
    }

    /// Returns the settings that hold now.
    pub fn settings(&self) -> Arc<PoolSettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Takes a call in. The future resolves to its one outcome. Dropping it means that the caller
    /// has left. What is kept of the call is taken out of it, so that the rest is not moved.
    pub fn submit(
        self: &Rc<Self>,
        now: Instant,
        call: &mut Call,
        route: Arc<RouteMetrics>,
    ) -> Pending {
        if call.class.is_background() {
            return self.submit_background(now, call, route);
        }
        if self.settings.borrow().rules.in_flight == InFlight::Auto {
            // Two workers may be at work on the call, and a caller cannot tell what each says.
            call.question.listener = None;
        }
        let entry = Entry::of(call, route, None);
        let new = NewCall {
            bytes: entry.question.text.len(),
            idempotent: call.idempotent,
            caller_deadline: call.caller_deadline,
            tenant: call.tenant,
            timeout: None,
            payload: Rc::clone(&entry),
        };
        let arrived = self.state.borrow_mut().arrive(now, new);
        let id = match arrived {
            Ok(id) => {
                self.settle(now);
                Some(id)
            }
            Err((_, failure)) => {
                self.note_refused(now, failure.code());
                entry.refuse(failure);
                None
            }
        };
        Pending::new(Rc::clone(self), id, entry)
    }

    /// A caller of this tenant waits for this call, too.
    pub fn share(&self, call: CallId, tenant: Tenant) {
        self.state.borrow_mut().shared_with(Instant::now(), call, tenant);
    }

    /// Replaces the settings that may change without a new program: numbers of workers, times and
    /// limits.
    pub fn adjust(self: &Rc<Self>, settings: Arc<PoolSettings>) {
        let now = Instant::now();
        self.state.borrow_mut().set_rules(now, Rules::from(&*settings));
        *self.settings.borrow_mut() = settings;
        self.record_as_configured();
        self.listen_to_all();
        self.lifecycle.note_adjusted();
        self.settle(now);
    }

    /// Returns how many workers are ready or busy.
    pub fn serving(&self) -> usize {
        let counts = self.worker_counts();
        counts.ready + counts.busy
    }

    /// Returns how many calls can be in workers at once.
    pub fn slots(&self) -> usize {
        self.state.borrow().slots()
    }

    /// Waits until a worker serves, or the pool ends.
    pub async fn wait_serving(&self) {
        let is_over = || self.serving() > 0 || self.lifecycle.ending().is_some();
        self.lifecycle.wait_moved(is_over).await;
    }

    /// Waits until this many workers serve, or until the first workers have all ended before one
    /// was ready, or until the pool ends. Later starts may still succeed.
    pub async fn wait_started(&self, count: usize) {
        let is_over = || {
            let WorkerCounts { starting, ready, busy, .. } = self.worker_counts();
            let have_ended = ready + busy + starting == 0 && !self.links.have_none_ended();
            ready + busy >= count || have_ended || self.lifecycle.ending().is_some()
        };
        self.lifecycle.wait_moved(is_over).await;
    }

    /// Notes one more user, which may submit calls.
    pub fn attach(&self) {
        self.lifecycle.attach();
    }

    /// Notes that a user has gone.
    pub fn detach(&self) {
        self.lifecycle.detach();
    }

    /// Waits until no user is left and no call is in the books.
    pub async fn wait_unused(&self) {
        self.lifecycle.wait_unused(|| self.state.borrow().calls_open() > 0).await;
    }

    /// Fails all open calls with `draining`, stops all workers and waits until they have gone. Gives
    /// up on workers that even KILL does not end.
    pub async fn stop(self: &Rc<Self>, reason: ExitReason) {
        let now = Instant::now();
        self.lifecycle.end(reason);
        self.forks.end();
        self.close_background();
        self.state.borrow_mut().stop(now);
        self.settle(now);
        self.timer.wake();
        let patience = self.settings().rules.stop_grace + KILLING;
        if tokio::time::timeout(patience, self.links.wait_empty()).await.is_err() {
            let (pool, workers) = (self.name(), self.links.len());
            tracing::error!(pool, workers, "workers that cannot be killed are left behind");
        }
    }

    /// Starts nothing and gives no calls from now on, because the process is about to end.
    pub fn halt(&self) {
        self.lifecycle.end(ExitReason::Stopped);
        self.forks.end();
    }

    /// Returns what operators are told of this pool.
    pub fn report(&self) -> Report {
        let now = Instant::now();
        let state = self.state.borrow();
        let summary = state.summary(now);
        let heads = summary.workers.iter().filter_map(|worker| worker.head);
        let route = |call| Some((call, state.payload(call)?.route.label().to_owned()));
        Report {
            name: self.name(),
            routes: heads.filter_map(|head| route(head.call)).collect(),
            lately: self.lately(now),
            summary,
            processes: self.links.processes(),
            counts: self.worker_counts(),
            exits: self.links.endings(),
            recorded: self.recorded(),
        }
    }

    /// Returns the process ids of its workers.
    pub fn processes(&self) -> HashMap<WorkerId, u32> {
        self.links.processes()
    }

    /// Brings the gauges of this pool up to date.
    pub fn refresh_gauges(&self) {
        self.metrics.workers_most(self.settings.borrow().rules.workers_most);
        self.metrics.poisonous(self.state.borrow().poisonous());
        self.metrics.record_bytes(self.recorded_bytes());
        self.metrics.slots(self.slots());
        self.metrics.queue_length(self.state.borrow().queue_length());
        self.metrics.workers(self.worker_counts());
    }

    /// Forgets which questions are poisonous. Returns how many were refused.
    pub fn forgive_poisonous(&self) -> usize {
        self.state.borrow_mut().forgive_poisonous()
    }

    /// Replaces all workers, as a reload does: no call is lost. Returns how many.
    pub fn renew(self: &Rc<Self>) -> usize {
        let replaced = self.state.borrow_mut().renew_all();
        self.settle(Instant::now());
        replaced
    }

    /// Replaces one worker; no call is lost. Returns false if it is not here.
    pub fn renew_worker(self: &Rc<Self>, worker: WorkerId) -> bool {
        let is_here = self.state.borrow_mut().renew(worker);
        self.settle(Instant::now());
        is_here
    }

    /// Kills the process group of a worker. Returns false if it is not here.
    pub fn kill_worker(self: &Rc<Self>, worker: WorkerId) -> bool {
        let is_here = self.state.borrow_mut().kill(worker);
        self.settle(Instant::now());
        is_here
    }

    /// Returns how many of its workers are in each state.
    pub fn worker_counts(&self) -> WorkerCounts {
        let mut counts = WorkerCounts::default();
        for worker in self.state.borrow().summary(Instant::now()).workers {
            match worker.phase {
                Phase::Starting => counts.starting += 1,
                Phase::Serving if worker.holds == 0 => counts.ready += 1,
                Phase::Serving => counts.busy += 1,
                Phase::Leaving => counts.leaving += 1,
            }
        }
        counts
    }
}
