//! Attends to one worker from its start to its end.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Pool;
use super::actions::Loss;
use super::forks::Made;
use super::links::{Ending, Link};
use super::once::serve_once;
use super::steps::{CLOSING, Step, Steps};
use super::turns::Turns;
use crate::base::ExitReason;
use crate::config::PoolSettings;
use crate::observe::metrics::Dropping;
use crate::worker::kill;
use crate::worker::look::Watcher;
use crate::worker::pipes::{Pipes, shown};
use crate::worker::process::{Exit, Process, Used};
use crate::worker::ready::{Banner, Beginning, NotReady, prepare};
use crate::worker::stderr::{LastWords, pump};

/// How long to wait for the last lines on stderr of a worker that has ended.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long the killed processes of a group may take to close their descriptors.
const LAST_READS: Duration = Duration::from_millis(50);

/// The whole life of one worker.
pub(super) async fn attend(pool: Rc<Pool>, link: Rc<Link>) {
    let settings = pool.settings();
    let made = tokio::select! {
        biased;
        made = pool.make(&settings) => made,
        reason = poll_fn(|context| link.poll_order(context)) => {
            leave_unmade(&pool, &link, reason);
            return;
        }
    };
    let (reason, how, said, used) = match made {
        Ok(Made { process, streams, is_forked }) => {
            link.has_process(process.id());
            let words = LastWords::new(settings.name.as_str().into(), link.worker, &streams.token);
            words.leave_out(pool.links.told());
            let mut pump = pool.services.tasks.spawn_local(pump(streams.stderr, words.clone()));
            let pipes = Pipes::new(streams.stdin, streams.stdout, &settings.program.wire);
            let end = match pipes {
                Ok(pipes) => live(&pool, &link, &settings, (&process, is_forked), pipes).await,
                Err(error) => {
                    link.note(error.to_string());
                    ExitReason::StartFailed
                }
            };
            link.traces.note_memory(process.id());
            if let Some(pipes) = &*link.pipes.borrow() {
                link.traces.note_pipes(pipes);
            }
            let used = process.used();
            let exit = part(&link, &settings, process, end).await;
            let wire = &settings.program.wire;
            if end == ExitReason::Crash && wire.error_is_stderr && exit != Exit::Code(0) {
                wait_for_last_words(&mut pump).await;
            }
            let is_answered = end == ExitReason::Crash
                && wire.ends_with_answer()
                && pool.answered_by_end(&link, &exit, &words).await;
            let end = if is_answered { ExitReason::Recycled } else { end };
            pool.answers.ended_well.set(is_answered);
            if !is_answered {
                wait_for_readers(&link).await;
                pool.lost(&link, end, &exit);
            }
            wait_for_last_words(&mut pump).await;
            // A process that left the group still holds stderr, perhaps for ever.
            pump.abort();
            let exit = words.explain(exit);
            report(&settings, &link, end, &exit, &words);
            if end == ExitReason::StartFailed {
                pool.links.note_told(words.begin());
            }
            let used = used.get().copied().unwrap_or_default();
            (end, exit.to_string(), words.lines(), used)
        }
        Err(error) => {
            link.note(error.to_string());
            tracing::error!(pool = settings.name, worker = link.worker.0, %error,
                "a worker could not be started");
            let now = Instant::now();
            let why = Arc::from("the last one could not be started");
            pool.state.borrow_mut().lose(now, link.worker, &Loss::StartFailed { why }, 0);
            (ExitReason::StartFailed, error.to_string(), Vec::new(), Used::default())
        }
    };
    remove(&pool, &link, ending(&link, reason, how, said, used));
}

fn ending(link: &Link, reason: ExitReason, how: String, said: Vec<String>, used: Used) -> Ending {
    let Used { cpu, memory_peak } = used;
    Ending { worker: link.worker, reason, how, said, cpu, memory_peak, at: Instant::now() }
}

/// Removes a worker that has no process any longer.
fn remove(pool: &Rc<Pool>, link: &Link, ending: Ending) {
    let worker = ending.worker;
    pool.keep_record(link, &ending);
    pool.metrics.worker_ended(ending.reason, ending.cpu);
    pool.tap_exit(worker, ending.reason);
    pool.links.remove(ending);
    pool.state.borrow_mut().gone(worker);
    pool.settle(Instant::now());
    pool.lifecycle.note_moved();
}

/// Removes a worker that has to leave before its process was made.
fn leave_unmade(pool: &Rc<Pool>, link: &Link, reason: ExitReason) {
    let (now, how) = (Instant::now(), "it had no process yet");
    pool.state.borrow_mut().lose(now, link.worker, &Loss::Ended(how.into()), 0);
    remove(pool, link, ending(link, reason, how.into(), vec![], Used::default()));
}

/// Attends to a worker from the start of its process until it has to leave or has ended. Returns
/// the reason.
async fn live(
    pool: &Rc<Pool>,
    link: &Rc<Link>,
    settings: &PoolSettings,
    (process, is_forked): (&Process, bool),
    mut pipes: Pipes,
) -> ExitReason {
    if pool.is_wanted_at_once(&pipes, settings) {
        pool.put_in_place(link, pipes);
        return serve_once(pool, link, process).await;
    }
    pool.let_hear(link, &mut pipes);
    let [stdin, stdout] = pipes.ends();
    let mut watcher = Watcher::new(process.id(), stdin, stdout);
    let ready = tokio::select! {
        biased;
        reason = poll_fn(|context| link.poll_order(context)) => {
            return reason;
        }
        ready = tokio::time::timeout(
            settings.rules.start_timeout,
            prepare(&mut pipes, &mut watcher, settings, is_forked),
        ) => ready,
        () = process.ended() => {
            link.traces.note_pipes(&pipes);
            link.note("it ended before it was ready".to_owned());
            link.note_early_end();
            return ExitReason::StartFailed;
        }
    };
    let why = match ready {
        Ok(Ok(beginning)) => {
            pool.begins(link, &beginning);
            if settings.program.wire.takes_turns {
                let wire = &settings.program.wire;
                link.takes_turns(Turns::new(watcher, wire, beginning.uncertain));
            }
            let ends_with_answer = pipes.ends_with_answer();
            pool.put_in_place(link, pipes);
            if ends_with_answer {
                return serve_once(pool, link, process).await;
            }
            return serve(pool, link, process).await;
        }
        Ok(Err(not_ready)) => {
            let is_closed = matches!(not_ready, NotReady::Closed);
            let ended = is_closed && tokio::time::timeout(CLOSING, process.ended()).await.is_ok();
            if ended {
                link.note_early_end();
            }
            not_ready.to_string()
        }
        Err(_) => "it was not ready within `start_timeout`".to_owned(),
    };
    link.traces.note_pipes(&pipes);
    link.note(why);
    ExitReason::StartFailed
}

/// Attends to a worker that is ready, until it has to leave or has ended. Returns the reason.
async fn serve(pool: &Rc<Pool>, link: &Rc<Link>, process: &Process) -> ExitReason {
    pool.note_ready(link);
    let ended = pin!(process.ended());
    let mut steps = Steps::new(link, ended);
    loop {
        match steps.next().await {
            Step::Heard => {
                if let Some(reason) = pool.heard(link).await {
                    return reason;
                }
                // Meanwhile a worker that has answered goes on to wait for its input.
                if link.unwritten() > 0 || link.next_look_is_soon() {
                    let_others_run().await;
                }
            }
            Step::Look => {
                if let Some(reason) = pool.look(link).await {
                    return reason;
                }
                if link.next_look_is_soon() {
                    // The worker may share this processor, and needs it to get to its next read.
                    rustix::thread::sched_yield();
                    let_others_run().await;
                }
            }
            Step::Ordered(reason) if reason != ExitReason::Crash => return reason,
            Step::Ordered(_) | Step::Closed => {
                if !steps.wait_for_end().await {
                    link.note("it closed its pipes and did not end".to_owned());
                }
                return end_of_service(pool, link).await;
            }
            Step::Ended => return end_of_service(pool, link).await,
        }
    }
}

/// Takes the last answers of a worker that has ended. Returns the reason of its end.
async fn end_of_service(pool: &Rc<Pool>, link: &Rc<Link>) -> ExitReason {
    if let Some(reason) = link.drain(async || pool.heard(link).await).await {
        return reason;
    }
    if let Some(pipes) = &*link.pipes.borrow() {
        link.traces.note_pipes(pipes);
    }
    pool.end_last_turn(link).await;
    link.ordered().unwrap_or(ExitReason::Crash)
}

/// Makes a worker leave, and reaps it. One that has ended is reaped at once.
async fn part(link: &Link, settings: &PoolSettings, process: Process, end: ExitReason) -> Exit {
    if matches!(end, ExitReason::Crash | ExitReason::Killed) {
        return kill::kill_now(process).await;
    }
    // Both pipes are closed, which frees a program that is stuck in a write.
    let pipes = link.pipes.borrow_mut().take();
    let hurry = poll_fn(|context| link.poll_kill(context));
    kill::stop_in_time(process, pipes, settings.rules.stop_grace, hurry).await
}

/// Waits until no process can read the questions of a worker. A killed process closes its
/// descriptors a moment later; one that has left the group may keep them forever.
async fn wait_for_readers(link: &Link) {
    let mut left = LAST_READS;
    while link.may_be_read() && !left.is_zero() {
        let pause = LAST_READS / 25;
        tokio::time::sleep(pause).await;
        left = left.saturating_sub(pause);
    }
}

/// Waits a moment for the end of stderr.
async fn wait_for_last_words(pump: &mut JoinHandle<()>) {
    if !pump.is_finished() {
        tokio::time::timeout(LAST_WORDS, pump).await.ok();
    }
}

impl Pool {
    /// Gives a worker its first call, if one waits, and tells those who wait for a ready pool.
    pub(super) fn note_ready(self: &Rc<Self>, link: &Link) {
        let now = Instant::now();
        self.state.borrow_mut().ready(now, link.worker);
        self.settle(now);
        self.lifecycle.note_moved();
        self.links.forget_told();
    }

    /// Notes how a worker became ready.
    fn begins(&self, link: &Link, beginning: &Beginning) {
        if let Some(answer) = &beginning.initialized {
            *self.answers.initialized.borrow_mut() = Some(answer.clone());
        }
        let Banner { begin, bytes } = &beginning.banner;
        if *bytes > 0 {
            self.metrics.message_dropped(Dropping::Banner, 1);
            if !self.answers.told_banner.replace(true) {
                let (pool, worker) = (self.name(), link.worker.0);
                let (said, bytes) = (shown(begin), *bytes);
                tracing::warn!(
                    pool,
                    worker,
                    said,
                    bytes,
                    hint = "announce it with `ready`, a regular expression that matches its end",
                    "what a worker wrote before its first question is no answer, and was dropped"
                );
            }
        }
        if let Some(look) = beginning.uncertain.filter(|_| self.answers.take_turns) {
            self.tell_uncertain(look);
        }
    }

    /// Deals with the calls that a worker held when it was reaped.
    fn lost(self: &Rc<Self>, link: &Link, end: ExitReason, exit: &Exit) {
        let now = Instant::now();
        let loss = match end {
            ExitReason::StartFailed if link.has_ended_early() => Loss::StartFailed {
                why: format!("the last one ended before it was ready: {exit}").into(),
            },
            ExitReason::StartFailed => {
                Loss::StartFailed { why: "the last one did not become ready".into() }
            }
            ExitReason::Killed => Loss::Killed,
            _ => Loss::Ended(Arc::from(exit.to_string())),
        };
        self.state.borrow_mut().lose(now, link.worker, &loss, link.unread());
        *link.pipes.borrow_mut() = None;
        self.settle(now);
    }
}

/// Logs the end of a worker.
fn report(settings: &PoolSettings, link: &Link, end: ExitReason, exit: &Exit, words: &LastWords) {
    let pool = settings.name.as_str();
    let worker = link.worker.0;
    let why = link.why();
    match end {
        // One for each call.
        ExitReason::Recycled if settings.program.wire.ends_with_answer() => {
            tracing::debug!(pool, worker, reason = end.label(), %exit, "worker left");
        }
        ExitReason::ScaledDown
        | ExitReason::Recycled
        | ExitReason::Reloaded
        | ExitReason::Stopped => {
            tracing::info!(pool, worker, reason = end.label(), %exit, "worker left");
        }
        _ => {
            let said = words.news().join("\n");
            tracing::warn!(pool, worker, reason = end.label(), why, %exit, said, "worker lost");
        }
    }
}

/// Lets the tasks that were woken before run first. These are the callers that have just been
/// answered: their next questions then go out in the same write as those that wait already.
async fn let_others_run() {
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
