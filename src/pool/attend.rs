//! Lives with one worker from its start to its end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::actions::Loss;
use super::{Ending, Pool};
use crate::base::{ExitReason, PartGate, WorkerId};
use crate::config::PoolSettings;
use crate::sync::seldom::Seldom;
use crate::worker::kill;
use crate::worker::pipes::{Fault, OutOfStep, Pipes};
use crate::worker::process::{Exit, Process};
use crate::worker::ready::{NotReady, prepare};
use crate::worker::spawn::spawn;
use crate::worker::stderr::{LastWords, pump};

/// How long a worker that closed its pipes may take to end by itself: its exit says more than
/// the signal that we would send.
const CLOSING: Duration = Duration::from_millis(200);
/// How long what it last wrote to stderr is waited for.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What the pool holds of one worker.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) worker: WorkerId,
    /// There while calls can be given.
    pub(super) pipes: RefCell<Option<Pipes>>,
    order: Cell<Option<ExitReason>>,
    waker: RefCell<Option<Waker>>,
    process: Cell<Option<u32>>,
    /// Why it has to go, for the log.
    why: RefCell<Option<String>>,
    /// It ended by itself before it was ready.
    ended_early: Cell<bool>,
    /// The readers of its answers that come in parts.
    gates: RefCell<Vec<PartGate>>,
}

impl Link {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            pipes: RefCell::default(),
            order: Cell::new(None),
            waker: RefCell::default(),
            process: Cell::new(None),
            why: RefCell::default(),
            ended_early: Cell::new(false),
            gates: RefCell::default(),
        }
    }

    /// Tells it to leave. The first reason stands.
    pub(super) fn order(&self, reason: ExitReason) {
        self.order.set(self.order.get().or(Some(reason)));
        self.wake();
    }

    /// There is something to write, or an order.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Keeps for the log why it has to go. The first reason stands.
    pub(super) fn note(&self, why: String) {
        self.why.borrow_mut().get_or_insert(why);
    }

    /// The same for a worker out of step, with what it said.
    pub(super) fn note_out_of_step(&self, out: OutOfStep) {
        let said = out.said.map(|said| format!(": {said}")).unwrap_or_default();
        let hint = match out.fault {
            Fault::Unasked => "; if that is its banner, `ready` must match it",
            Fault::Mismatch | Fault::TooBig => "",
        };
        self.note(format!("{}{said}{hint}", out.detail));
    }

    /// It is not read while this reader does not keep up.
    pub(super) fn held_back_by(&self, gate: PartGate) {
        self.gates.borrow_mut().push(gate);
    }

    /// Ready when all readers keep up.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut gates = self.gates.borrow_mut();
        gates.retain(|gate| !gate.is_over());
        let is_shut = |gate: &PartGate| gate.poll_room(context).is_pending();
        if gates.iter().any(is_shut) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// How many of its newest calls it cannot have read anything of, now that it has gone.
    pub(super) fn unread(&self) -> usize {
        self.pipes.borrow().as_ref().map_or(0, Pipes::unread)
    }

    pub(super) fn unwritten(&self) -> usize {
        self.pipes.borrow().as_ref().map_or(0, Pipes::unwritten)
    }

    pub(super) fn process(&self) -> Option<u32> {
        self.process.get()
    }

    fn ordered(&self, context: &mut Context<'_>) -> Option<ExitReason> {
        match &mut *self.waker.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        self.order.get()
    }
}

/// What happens to a worker that serves.
enum Step {
    Heard,
    Closed,
    Ended,
    Ordered(ExitReason),
}

/// The whole life of one worker.
pub(super) async fn attend(pool: Rc<Pool>, link: Rc<Link>) {
    let settings = pool.settings();
    let (reason, how) = match spawn(&settings.program.launch, &pool.surroundings.guard) {
        Ok((process, streams)) => {
            link.process.set(Some(process.id()));
            let words = LastWords::new(settings.name.as_str().into(), link.worker, &streams.token);
            let mut pump = pool.surroundings.tasks.spawn_local(pump(streams.stderr, words.clone()));
            let pipes = Pipes::new(streams.stdin, streams.stdout, &settings.program.wire);
            let end = match pipes {
                Ok(pipes) => live(&pool, &link, &settings, &process, pipes).await,
                Err(error) => {
                    link.note(error.to_string());
                    ExitReason::StartFailed
                }
            };
            let exit = part(&link, &settings, process, end).await;
            pool.lost(&link, end, &exit);
            if tokio::time::timeout(LAST_WORDS, &mut pump).await.is_err() {
                // Somebody who left the group holds it, perhaps for ever.
                pump.abort();
            }
            let exit = words.explain(exit);
            report(&settings, &link, end, &exit, &words);
            (end, exit.to_string())
        }
        Err(error) => {
            link.note(error.to_string());
            tracing::error!(pool = settings.name, worker = link.worker.0, %error,
                "a worker could not be started");
            let now = Instant::now();
            let why = Arc::from("the last one could not be started");
            pool.state.borrow_mut().lose(now, link.worker, &Loss::StartFailed { why }, 0);
            (ExitReason::StartFailed, error.to_string())
        }
    };
    pool.remember(Ending { worker: link.worker, reason, how, at: Instant::now() });
    pool.metrics.worker_ended(reason);
    pool.links.borrow_mut().remove(&link.worker);
    pool.state.borrow_mut().gone(link.worker);
    pool.settle(Instant::now());
    pool.ended.notify_waiters();
}

/// From the start of the process to the moment it has to leave, or has ended.
async fn live(
    pool: &Rc<Pool>,
    link: &Rc<Link>,
    settings: &PoolSettings,
    process: &Process,
    mut pipes: Pipes,
) -> ExitReason {
    let ready = tokio::select! {
        biased;
        reason = poll_fn(|context| link.ordered(context).map_or(Poll::Pending, Poll::Ready)) => {
            return reason;
        }
        ready = tokio::time::timeout(settings.rules.start_timeout, prepare(&mut pipes, &settings.program)) => ready,
        () = process.ended() => {
            link.note("it ended before it was ready".to_owned());
            link.ended_early.set(true);
            return ExitReason::StartFailed;
        }
    };
    let why = match ready {
        Ok(Ok(())) => {
            *link.pipes.borrow_mut() = Some(pipes);
            return serve(pool, link, process).await;
        }
        Ok(Err(not_ready)) => {
            let is_closed = matches!(not_ready, NotReady::Closed);
            let ended = is_closed && tokio::time::timeout(CLOSING, process.ended()).await.is_ok();
            link.ended_early.set(ended);
            not_ready.to_string()
        }
        Err(_) => "it was not ready within `start_timeout`".to_owned(),
    };
    link.note(why);
    ExitReason::StartFailed
}

async fn serve(pool: &Rc<Pool>, link: &Rc<Link>, process: &Process) -> ExitReason {
    let now = Instant::now();
    pool.state.borrow_mut().ready(now, link.worker);
    pool.settle(now);
    pool.first_ready.notify_waiters();
    let ended = pin!(process.ended());
    let mut ended = Seldom::new(ended);
    loop {
        let step = poll_fn(|context| {
            if let Some(reason) = link.ordered(context) {
                return Poll::Ready(Step::Ordered(reason));
            }
            let mut pipes = link.pipes.borrow_mut();
            let Some(pipes) = pipes.as_mut() else { return Poll::Ready(Step::Closed) };
            if let Poll::Ready(Err(_)) = pipes.poll_flush(context) {
                return Poll::Ready(Step::Closed);
            }
            if link.poll_room(context).is_ready() {
                match pipes.poll_read(context) {
                    Poll::Ready(Ok(1..)) => return Poll::Ready(Step::Heard),
                    Poll::Ready(_) => return Poll::Ready(Step::Closed),
                    Poll::Pending => {}
                }
            }
            ended.poll(context).map(|()| Step::Ended)
        });
        match step.await {
            Step::Heard => {
                if let Some(reason) = pool.heard(link) {
                    return reason;
                }
                if link.unwritten() > 0 {
                    turn().await;
                }
            }
            Step::Ordered(reason) if reason != ExitReason::Crash => return reason,
            Step::Ordered(_) | Step::Closed => {
                let ended = poll_fn(|context| ended.poll(context));
                if tokio::time::timeout(CLOSING, ended).await.is_err() {
                    link.note("it closed its pipes and did not end".to_owned());
                }
                return drain(pool, link);
            }
            Step::Ended => return drain(pool, link),
        }
    }
}

/// Reads what a worker wrote before it ended; its last answers count. No more than that: others
/// may hold the pipe, and write without end.
fn drain(pool: &Rc<Pool>, link: &Rc<Link>) -> ExitReason {
    let mut left = link.pipes.borrow().as_ref().map_or(0, Pipes::left_to_read);
    while left > 0 {
        let read = link.pipes.borrow_mut().as_mut().map_or(0, Pipes::read_now);
        if read == 0 {
            break;
        }
        left = left.saturating_sub(read);
        if let Some(reason) = pool.heard(link) {
            return reason;
        }
    }
    link.order.get().unwrap_or(ExitReason::Crash)
}

/// Makes a worker leave; one that has ended is reaped at once.
async fn part(link: &Link, settings: &PoolSettings, process: Process, end: ExitReason) -> Exit {
    if end == ExitReason::Crash {
        return kill::kill_now(process).await;
    }
    // Both pipes go: a program that is stuck writing is freed by it.
    let pipes = link.pipes.borrow_mut().take();
    kill::stop(process, pipes, settings.rules.stop_grace).await
}

impl Pool {
    /// A worker has ended and is reaped: what it still held is dealt with.
    fn lost(self: &Rc<Self>, link: &Link, end: ExitReason, exit: &Exit) {
        let now = Instant::now();
        let loss = match end {
            ExitReason::StartFailed if link.ended_early.get() => Loss::StartFailed {
                why: format!("the last one ended before it was ready: {exit}").into(),
            },
            ExitReason::StartFailed => {
                Loss::StartFailed { why: "the last one did not become ready".into() }
            }
            _ => Loss::Ended(Arc::from(exit.to_string())),
        };
        self.state.borrow_mut().lose(now, link.worker, &loss, link.unread());
        *link.pipes.borrow_mut() = None;
        self.settle(now);
    }
}

fn report(settings: &PoolSettings, link: &Link, end: ExitReason, exit: &Exit, words: &LastWords) {
    let pool = settings.name.as_str();
    let worker = link.worker.0;
    let why = link.why.borrow();
    let why = why.as_deref().unwrap_or_default();
    match end {
        ExitReason::ScaledDown
        | ExitReason::Recycled
        | ExitReason::Reloaded
        | ExitReason::Stopped => {
            tracing::info!(pool, worker, reason = end.label(), %exit, "worker left");
        }
        _ => {
            let said = words.lines().join("\n");
            tracing::warn!(pool, worker, reason = end.label(), why, %exit, said, "worker lost");
        }
    }
}

/// Lets the tasks that were woken before run first: the callers who have just been answered, whose
/// next questions then go out in the same write as those that wait already.
async fn turn() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
