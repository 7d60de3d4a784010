//! Which worker gets a call, and how many workers there are.
//!
//! `state` decides and is pure. The rest is the thin shell around it: [`Pool`] takes calls in
//! and hands outcomes out, `driver` carries out what was decided, `attend` lives with one
//! worker from its start to its end.

pub mod actions;
pub mod check;
pub mod crew;
pub mod pending;
pub mod rules;
pub mod state;

mod alarms;
mod attend;
mod begun;
mod blame;
mod calls;
mod deadlines;
mod driver;
mod estimate;
mod losses;
mod promises;
mod queue;
mod refusals;
mod scale;
mod streams;
mod suspects;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::base::{Call, ExitReason, PartForm, Question, WorkerCounts, WorkerId};
use crate::config::PoolSettings;
use crate::observe::metrics::{Metrics, PoolMetrics, RouteMetrics};
use crate::wire::Judge;
use crate::worker::guard::Guard;

use actions::{Action, NewCall};
use attend::Link;
use check::Summary;
use crew::Phase;
use pending::{Pending, Slot};
use rules::Rules;
use state::State;
use streams::Stream;

/// What every pool of a server shares.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Tasks are started on it, so that stopping can wait for them.
    pub tasks: TaskTracker,
    /// Knows the process groups.
    pub guard: Guard,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The workers of one program and the queue before them. Lives on one thread.
#[derive(Debug)]
pub struct Pool {
    settings: RefCell<Arc<PoolSettings>>,
    judge: Judge,
    /// An answer shows by itself which call it is for.
    proves: bool,
    /// What the parts of an answer are.
    part_form: PartForm,
    /// Most bytes of parts that wait for one reader.
    part_limit: usize,
    /// Answers of which parts are being passed on.
    streaming: Cell<usize>,
    /// Those who may submit calls.
    knowers: Cell<usize>,
    state: RefCell<State<Ticket>>,
    /// What the books want done; kept between two settlings for its room alone.
    actions: RefCell<Vec<Action<Ticket>>>,
    links: RefCell<BTreeMap<WorkerId, Rc<Link>>>,
    surroundings: Surroundings,
    metrics: PoolMetrics,
    /// When the timer will look at the books, and how it is told to look earlier.
    armed: Cell<Option<Instant>>,
    timer: Notify,
    /// What every stop of a worker is counted as once the pool ends.
    ending: Cell<Option<ExitReason>>,
    ended: Notify,
    first_ready: Notify,
    emptied: Notify,
    /// The settings are others now, or the pool ends.
    adjusted: Notify,
    exits: RefCell<VecDeque<Ending>>,
}

/// What is kept with each call.
#[derive(Debug)]
struct Ticket {
    question: Question,
    slot: Rc<Slot>,
    route: Arc<RouteMetrics>,
    stream: RefCell<Stream>,
}

/// What operators are told of one pool.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What its books say.
    pub summary: Summary,
    /// The process ids of its workers.
    pub processes: HashMap<WorkerId, u32>,
    /// Its workers by state.
    pub counts: WorkerCounts,
    /// The last workers that ended, the latest last.
    pub exits: Vec<Ending>,
}

/// How one worker ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its name.
    pub worker: WorkerId,
    /// Why.
    pub reason: ExitReason,
    /// How, in words that hold nothing the worker wrote.
    pub how: String,
    /// When.
    pub at: Instant,
}

/// How long the kernel may take to end what was killed. It takes for ever where a program has
/// another user's rights, or waits for a device that does not answer.
const KILLING: Duration = Duration::from_secs(5);

/// Endings that are kept for operators.
const ENDINGS_KEPT: usize = 10;

impl Pool {
    /// Starts the workers of a program. Must be called on a thread that lives as long as the
    /// server does, inside its runtime.
    pub fn start(settings: Arc<PoolSettings>, surroundings: Surroundings) -> Rc<Self> {
        let seed = fastrand::u64(..);
        let metrics = surroundings.metrics.pool(&settings.name);
        let pool = Rc::new(Self {
            judge: Judge::new(&settings.program.wire),
            proves: settings.program.wire.proves_question(),
            part_form: streams::part_form(&settings.program.wire),
            part_limit: settings
                .program
                .wire
                .stream
                .as_ref()
                .map_or(usize::MAX, |stream| stream.buffer),
            state: RefCell::new(State::new(Rules::from(&*settings), seed, driver::fingerprints())),
            settings: RefCell::new(settings),
            actions: RefCell::default(),
            links: RefCell::default(),
            surroundings,
            metrics,
            armed: Cell::new(None),
            timer: Notify::new(),
            ending: Cell::new(None),
            ended: Notify::new(),
            first_ready: Notify::new(),
            emptied: Notify::new(),
            streaming: Cell::new(0),
            knowers: Cell::new(0),
            adjusted: Notify::new(),
            exits: RefCell::default(),
        });
        pool.settle(Instant::now());
        pool.surroundings.tasks.spawn_local(driver::keep_time(Rc::clone(&pool)));
        pool.surroundings.tasks.spawn_local(driver::watch_memory(Rc::clone(&pool)));
        pool
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.settings.borrow().name.clone()
    }

    /// What it was started with, or told since.
    pub fn settings(&self) -> Arc<PoolSettings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Takes a call in. The future gives its one outcome; dropping it means that the caller
    /// left.
    pub fn submit(self: &Rc<Self>, call: Call, route: Arc<RouteMetrics>) -> Pending {
        let now = Instant::now();
        let slot = Rc::new(Slot::default());
        let new = NewCall {
            bytes: call.question.text.len(),
            idempotent: call.idempotent,
            caller_deadline: call.caller_deadline,
            payload: Ticket {
                question: call.question,
                slot: Rc::clone(&slot),
                route,
                stream: RefCell::default(),
            },
        };
        let arrived = self.state.borrow_mut().arrive(now, new);
        let id = match arrived {
            Ok(id) => {
                self.settle(now);
                Some(id)
            }
            Err((ticket, failure)) => {
                driver::refuse(&ticket, failure);
                None
            }
        };
        Pending::new(Rc::clone(self), id, slot)
    }

    /// Replaces what may change without a new program: numbers of workers, times, limits.
    pub fn adjust(self: &Rc<Self>, settings: Arc<PoolSettings>) {
        let now = Instant::now();
        self.state.borrow_mut().set_rules(now, Rules::from(&*settings));
        *self.settings.borrow_mut() = settings;
        self.adjusted.notify_one();
        self.settle(now);
    }

    /// Has it a worker that is ready or busy?
    pub fn is_ready(&self) -> bool {
        let counts = self.worker_counts();
        counts.ready + counts.busy > 0
    }

    /// Waits until a worker is ready for the first time since this was asked.
    pub async fn becomes_ready(&self) {
        let ready = self.first_ready.notified();
        if !self.is_ready() {
            ready.await;
        }
    }

    /// Somebody who may submit calls knows it now.
    pub fn known(&self) {
        self.knowers.update(|knowers| knowers + 1);
    }

    /// One who knew it has gone.
    pub fn forgotten(&self) {
        self.knowers.update(|knowers| knowers - 1);
        self.emptied.notify_waiters();
    }

    /// Waits until no call is in its books and nobody is left who knows it.
    pub async fn becomes_useless(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.knowers.get() == 0 && self.state.borrow().calls_open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Answers what is open with `draining`, stops all workers and waits until they have gone, but
    /// not for ever for those that even KILL does not end.
    pub async fn stop(self: &Rc<Self>, reason: ExitReason) {
        let now = Instant::now();
        self.ending.set(Some(reason));
        self.state.borrow_mut().stop(now);
        self.settle(now);
        self.timer.notify_one();
        self.adjusted.notify_one();
        let patience = self.settings().rules.stop_grace + KILLING;
        if tokio::time::timeout(patience, self.all_gone()).await.is_err() {
            let (pool, workers) = (self.name(), self.links.borrow().len());
            tracing::error!(pool, workers, "workers that cannot be killed are left behind");
        }
    }

    async fn all_gone(&self) {
        loop {
            let ended = self.ended.notified();
            if self.links.borrow().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Decides nothing any more: the process is about to end.
    pub fn cease(&self) {
        self.ending.set(Some(ExitReason::Stopped));
    }

    /// What operators are told.
    pub fn report(&self) -> Report {
        let links = self.links.borrow();
        let processes = links.iter().filter_map(|(id, link)| Some((*id, link.process()?)));
        Report {
            name: self.name(),
            summary: self.state.borrow().summary(Instant::now()),
            processes: processes.collect(),
            counts: self.worker_counts(),
            exits: self.exits.borrow().iter().cloned().collect(),
        }
    }

    /// Brings the gauges up to date.
    pub fn publish(&self) {
        self.metrics.queue_length(self.state.borrow().queue_length());
        self.metrics.workers(self.worker_counts());
    }

    /// Forgets which questions are poisonous; says how many were refused.
    pub fn forgive_poisonous(&self) -> usize {
        self.state.borrow_mut().forgive_poisonous()
    }

    fn remember(&self, ending: Ending) {
        let mut exits = self.exits.borrow_mut();
        if exits.len() == ENDINGS_KEPT {
            exits.pop_front();
        }
        exits.push_back(ending);
    }

    fn worker_counts(&self) -> WorkerCounts {
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
