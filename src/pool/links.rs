//! The workers of a pool: a link to each that lives, and how the last ones ended.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::lifecycle::wait;
use super::traces::Traces;
use super::turns::Turns;
use crate::base::{CallId, ExitReason, PartGate, WorkerId};
use crate::doctor::Visit;
use crate::worker::pipes::{Fault, Heard, OutOfStep, Pipes};
use crate::worker::turn::NextLook;

/// How many endings are kept for operators.
const ENDINGS_KEPT: usize = 10;
/// How many lines of starts in vain are kept.
const TOLD_MOST: usize = 400;

/// How one worker ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The worker's id.
    pub worker: WorkerId,
    /// Why it ended.
    pub reason: ExitReason,
    /// How it ended, in words that hold nothing the worker wrote.
    pub how: String,
    /// Its last lines on stderr.
    pub said: Vec<String>,
    /// The CPU time that it used.
    pub cpu: Duration,
    /// The most memory that it had, in bytes, where that is known.
    pub memory_peak: Option<u64>,
    /// When it was reaped.
    pub at: Instant,
}

/// The workers of a pool.
#[derive(Debug, Default)]
pub(super) struct Links {
    living: RefCell<BTreeMap<WorkerId, Rc<Link>>>,
    /// The last endings, oldest first.
    endings: RefCell<VecDeque<Ending>>,
    one_left: Notify,
    /// What workers wrote that ended before any was ready. The log has it already.
    told: RefCell<HashSet<String>>,
}

/// What the pool holds of one worker.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) worker: WorkerId,
    /// There while calls can be given.
    pub(super) pipes: RefCell<Option<Pipes>>,
    /// Set when the worker is ready, if it takes turns.
    pub(super) turns: OnceCell<Turns>,
    order: Cell<Option<ExitReason>>,
    /// It is given no time to leave.
    is_killed: Cell<bool>,
    /// Wakes the task that attends to the worker.
    waker: RefCell<Option<Waker>>,
    process: Cell<Option<u32>>,
    /// Why it has to leave, for the log.
    why: RefCell<Option<String>>,
    /// It ended by itself before it was ready.
    ended_early: Cell<bool>,
    /// What the last look showed that its oldest call made necessary, and that call.
    pub(super) visited: Cell<Option<(CallId, Visit)>>,
    /// The readers of its answers that come in parts.
    gates: RefCell<Vec<PartGate>>,
    /// What was heard in one read. It is empty between two, and kept for its memory.
    pub(super) heard: RefCell<Vec<Heard>>,
    /// What is kept for its record.
    pub(super) traces: Traces,
    /// The calls that it was asked together and has not answered, in the order of their questions.
    pub(super) group: RefCell<Vec<CallId>>,
}

impl Links {
    /// Adds a worker that has no process yet.
    pub(super) fn add(&self, worker: WorkerId) -> Rc<Link> {
        let link = Rc::new(Link::new(worker));
        self.living.borrow_mut().insert(worker, Rc::clone(&link));
        link
    }

    /// Removes a worker that was reaped, and keeps how it ended.
    pub(super) fn remove(&self, ending: Ending) {
        self.living.borrow_mut().remove(&ending.worker);
        let mut endings = self.endings.borrow_mut();
        if endings.len() == ENDINGS_KEPT {
            endings.pop_front();
        }
        endings.push_back(ending);
        self.one_left.notify_waiters();
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<Rc<Link>> {
        self.living.borrow().get(&worker).cloned()
    }

    /// Returns all workers, oldest first.
    pub(super) fn all(&self) -> Vec<Rc<Link>> {
        self.living.borrow().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.living.borrow().len()
    }

    /// Tells a worker to leave, if it is still there.
    pub(super) fn order(&self, worker: WorkerId, reason: ExitReason) {
        if let Some(link) = self.living.borrow().get(&worker) {
            link.order(reason);
        }
    }

    /// Kills a worker, if it is still there, even if it was told to leave before.
    pub(super) fn kill(&self, worker: WorkerId) {
        if let Some(link) = self.living.borrow().get(&worker) {
            link.is_killed.set(true);
            link.note("an operator killed it".to_owned());
            link.order(ExitReason::Killed);
        }
    }

    /// Returns the process ids of the workers that have a process.
    pub(super) fn processes(&self) -> HashMap<WorkerId, u32> {
        let links = self.living.borrow();
        links.iter().filter_map(|(id, link)| Some((*id, link.process()?))).collect()
    }

    /// Returns the last endings, oldest first.
    pub(super) fn endings(&self) -> Vec<Ending> {
        self.endings.borrow().iter().cloned().collect()
    }

    /// Returns the lines that were logged of earlier starts in vain.
    pub(super) fn told(&self) -> HashSet<String> {
        self.told.borrow().clone()
    }

    /// Keeps what a worker that was never ready wrote, so that it is not logged again.
    pub(super) fn note_told(&self, lines: Vec<String>) {
        let mut told = self.told.borrow_mut();
        let room = TOLD_MOST.saturating_sub(told.len());
        told.extend(lines.into_iter().take(room));
    }

    /// Forgets what was told, now that a worker is ready.
    pub(super) fn forget_told(&self) {
        self.told.borrow_mut().clear();
    }

    /// Returns true if no worker has ended yet.
    pub(super) fn have_none_ended(&self) -> bool {
        self.endings.borrow().is_empty()
    }

    /// Waits until no worker is left.
    pub(super) async fn wait_empty(&self) {
        wait(&self.one_left, || self.living.borrow().is_empty()).await;
    }
}

impl Link {
    fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            pipes: RefCell::default(),
            turns: OnceCell::new(),
            order: Cell::new(None),
            is_killed: Cell::new(false),
            waker: RefCell::default(),
            process: Cell::new(None),
            why: RefCell::default(),
            ended_early: Cell::new(false),
            visited: Cell::new(None),
            gates: RefCell::default(),
            heard: RefCell::default(),
            traces: Traces::default(),
            group: RefCell::default(),
        }
    }

    /// Returns how many calls it was asked together and has not answered.
    pub(super) fn group_size(&self) -> usize {
        self.group.borrow().len()
    }

    /// Notes that the worker takes turns from its first question on.
    pub(super) fn takes_turns(&self, turns: Turns) {
        self.turns.set(turns).expect("a worker becomes ready once");
    }

    /// Returns true if the worker is to be looked at as soon as others have had their chance to run.
    pub(super) fn next_look_is_soon(&self) -> bool {
        let pipes = self.pipes.borrow();
        let next = self.turns.get().zip(pipes.as_ref()).and_then(|(turns, it)| turns.next_look(it));
        next == Some(NextLook::Soon)
    }

    /// Tells the worker to leave. The first reason stands.
    pub(super) fn order(&self, reason: ExitReason) {
        self.order.set(self.order.get().or(Some(reason)));
        self.wake();
    }

    /// Returns the reason if the worker was told to leave.
    pub(super) fn ordered(&self) -> Option<ExitReason> {
        self.order.get()
    }

    /// Returns the reason if the worker was told to leave. Else [`Link::wake`] wakes the task.
    pub(super) fn poll_order(&self, context: &mut Context<'_>) -> Poll<ExitReason> {
        self.wakes(context);
        self.order.get().map_or(Poll::Pending, Poll::Ready)
    }

    /// Ready once the worker is to be killed.
    pub(super) fn poll_kill(&self, context: &mut Context<'_>) -> Poll<()> {
        self.wakes(context);
        if self.is_killed.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn wakes(&self, context: &mut Context<'_>) {
        match &mut *self.waker.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
    }

    /// Wakes the worker's task, because there is something to write, or an order.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Keeps why the worker has to leave, for the log. The first reason stands.
    pub(super) fn note(&self, why: String) {
        self.why.borrow_mut().get_or_insert(why);
    }

    /// Keeps how a worker broke the protocol, with what it wrote. The first reason stands.
    pub(super) fn note_out_of_step(&self, out: OutOfStep) {
        let said = out.said.map(|said| format!(": {said}")).unwrap_or_default();
        let hint = match out.fault {
            Fault::Unasked => "; if that is its banner, `ready` must match it",
            Fault::Mismatch | Fault::TooBig => "",
        };
        self.note(format!("{}{said}{hint}", out.detail));
    }

    /// Returns why the worker has to leave, in words.
    pub(super) fn why(&self) -> String {
        self.why.borrow().clone().unwrap_or_default()
    }

    pub(super) fn note_early_end(&self) {
        self.ended_early.set(true);
    }

    /// Returns true if the worker ended by itself before it was ready.
    pub(super) fn has_ended_early(&self) -> bool {
        self.ended_early.get()
    }

    /// Makes the worker wait for this reader: its output is not read while the reader is behind.
    pub(super) fn held_back_by(&self, gate: PartGate) {
        self.gates.borrow_mut().push(gate);
    }

    /// Ready when all readers keep up.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut gates = self.gates.borrow_mut();
        if gates.is_empty() {
            return Poll::Ready(());
        }
        gates.retain(|gate| !gate.is_over());
        let is_shut = |gate: &PartGate| gate.poll_room(context).is_pending();
        if gates.iter().any(is_shut) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Returns how many of the newest calls the worker has read no byte of, now that it has gone.
    pub(super) fn unread(&self) -> usize {
        if self.turns.get().is_some_and(Turns::is_resting) {
            return usize::MAX;
        }
        self.pipes.borrow().as_ref().map_or(0, Pipes::unread)
    }

    /// Returns true if it may still be read which questions the worker has not read.
    pub(super) fn may_be_read(&self) -> bool {
        let pipes = self.pipes.borrow();
        pipes.as_ref().is_some_and(|pipes| !pipes.is_idle() && !pipes.is_stdin_closed())
    }

    /// Returns how many of the newest calls have no byte written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.pipes.borrow().as_ref().map_or(0, Pipes::unwritten)
    }

    pub(super) fn has_process(&self, id: u32) {
        self.process.set(Some(id));
    }

    /// Returns the process id once there is one.
    pub(super) fn process(&self) -> Option<u32> {
        self.process.get()
    }
}
