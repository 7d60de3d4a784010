//! The trial of one worker: starts it, asks it questions turn by turn, and records what it does.
//!
//! A thin shell: `worker::turn` decides when a turn is over, `diagnosis` what to report.

mod turns;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio_util::task::TaskTracker;

use super::process::{Event, TriedProcess};
use super::questions::Planned;
use super::record::{Exchange, Record, RecordedBanner, Stall, TrialEnd, TrialPhase};
use crate::base::{ByteRegex, WorkerId};
use crate::config::{Framing, LaunchSettings, PoolSettings};
use crate::doctor::Activity;
use crate::wire::{Correlator, Decoder, Encoder};
use crate::worker::guard::Guard;
use crate::worker::kill;
use crate::worker::look::{Look, Watcher};
use crate::worker::process::{Exit, Process};
use crate::worker::spawn::{Streams, spawn};
use crate::worker::stderr::{LastWords, pump};
use crate::worker::traced::FailedCalls;
use crate::worker::turn::{Over, Start};

/// How long to wait for more output of a worker that cannot be seen to wait for its input.
const LINGER: Duration = Duration::from_millis(250);
/// How long a worker may take to write its buffered output after its input was closed.
const AT_END: Duration = Duration::from_millis(700);
/// How long a worker may take to end after it closed a pipe.
const CLOSING: Duration = Duration::from_millis(300);
/// How long to wait for the rest of stderr after the worker has ended.
const LAST_STDERR: Duration = Duration::from_millis(100);
/// Upper bound for the time between TERM and KILL.
const GRACE_MAX: Duration = Duration::from_secs(1);

/// What every trial shares.
#[derive(Clone, Debug)]
pub(super) struct TrialContext {
    /// The guard process.
    pub(super) guard: Guard,
    /// The background tasks.
    pub(super) tasks: TaskTracker,
    /// Where the failed calls of the worker are noted; `None`: nowhere.
    pub(super) traced: Option<Rc<FailedCalls>>,
}

impl TrialContext {
    /// Starts a worker.
    async fn spawn(&self, launch: &LaunchSettings) -> io::Result<(Process, Streams)> {
        match &self.traced {
            None => spawn(launch, &self.guard).await,
            Some(calls) => calls.spawn(launch, &self.guard).await,
        }
    }
}

/// How long a trial may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The time from the start until a worker has answered what every new one is asked.
    pub(super) start: Duration,
    /// The time for each answer after that.
    pub(super) answer: Duration,
}

/// Starts a worker with these settings and asks it these questions.
///
/// Stopping the worker takes up to a second more. Dropping the future kills the worker.
pub(super) async fn try_one(
    settings: &PoolSettings,
    questions: &[Planned],
    limits: Limits,
    context: &TrialContext,
) -> io::Result<Record> {
    let born = Instant::now();
    let (process, streams) = context.spawn(&settings.program.launch).await?;
    let words = LastWords::new(settings.name.as_str().into(), WorkerId(0), &streams.token);
    let Streams { stdin, stdout, stderr, .. } = streams;
    let pump = context.tasks.spawn_local(pump(stderr, words.clone()));
    let wire = &settings.program.wire;
    let mut tried = TriedWorker {
        settings,
        limits,
        watcher: Watcher::new(process.id(), stdin.get_ref(), stdout.get_ref()),
        worker: TriedProcess {
            process,
            stdin: Some(stdin),
            stdout,
            outgoing: BytesMut::new(),
            incoming: BytesMut::new(),
            output: Vec::new(),
        },
        encoder: Encoder::new(&wire.framing.send, wire.message_max),
        decoder: Decoder::new(&wire.framing.reply, wire.message_max),
        correlator: Correlator::new(wire),
        phase: TrialPhase::Start,
        question: Bytes::new(),
        activity: Activity::default(),
        doubt: None,
        born,
    };
    let mut record = Record {
        start: Duration::ZERO,
        is_started: false,
        doubt: None,
        banner: RecordedBanner::default(),
        exchanges: Vec::new(),
        end: TrialEnd::Passed,
        output_at_end: Vec::new(),
        stderr: Vec::new(),
    };
    let failed = tried.run(questions, &mut record).await.err();
    let has_ended = matches!(failed, Some(Failed::Ended(_)));
    let TriedWorker { worker, phase, question, doubt, .. } = tried;
    let TriedProcess { process, stdin, .. } = worker;
    let exit = if has_ended {
        kill::kill_now(process).await
    } else {
        kill::stop(process, stdin, settings.rules.stop_grace.min(GRACE_MAX)).await
    };
    tokio::time::timeout(LAST_STDERR, pump).await.ok();
    record.doubt = doubt;
    record.stderr = words.lines();
    record.end = match failed {
        None => TrialEnd::Passed,
        Some(Failed::Ended(after)) => {
            let exit = words.explain(exit);
            let is_meant = wire.ends_with_answer() && !record.exchanges.is_empty();
            if is_meant && exit == Exit::Code(0) {
                TrialEnd::Passed
            } else {
                TrialEnd::Ended { exit, after, phase, question }
            }
        }
        Some(Failed::Other(end)) => *end,
    };
    Ok(record)
}

/// Why a trial stopped early.
enum Failed {
    /// The process ended by itself, this long after its start.
    Ended(Duration),
    Other(Box<TrialEnd>),
}

/// The worker under trial.
struct TriedWorker<'a> {
    settings: &'a PoolSettings,
    limits: Limits,
    watcher: Watcher,
    worker: TriedProcess,
    encoder: Encoder,
    decoder: Decoder,
    correlator: Correlator<()>,
    phase: TrialPhase,
    /// The last question.
    question: Bytes,
    activity: Activity,
    /// See [`Record::doubt`].
    doubt: Option<Look>,
    born: Instant,
}

impl TriedWorker<'_> {
    /// Starts the worker and asks all questions.
    async fn run(&mut self, questions: &[Planned], record: &mut Record) -> Result<(), Failed> {
        let started = self.start(&mut record.banner).await;
        record.start = self.born.elapsed();
        started?;
        record.is_started = true;
        for planned in questions {
            self.phase = planned.phase;
            self.ask(planned, &mut record.exchanges).await?;
            let is_odd = record.exchanges.last().is_some_and(|last| !last.extra.is_empty());
            if is_odd && planned.phase == TrialPhase::Probe {
                // Is it so each time, or only the first?
                self.ask(planned, &mut record.exchanges).await.ok();
                return Ok(());
            }
        }
        let is_empty = |exchange: &Exchange| exchange.answer.as_ref().is_some_and(Bytes::is_empty);
        if self.ends_answer() && record.exchanges.iter().any(is_empty) {
            record.output_at_end = self.close_input().await;
        }
        Ok(())
    }

    /// Waits until the worker can be asked, and records what it writes before.
    async fn start(&mut self, banner: &mut RecordedBanner) -> Result<(), Failed> {
        let result = self.wait_for_start(banner).await;
        // Whatever a program writes that ends with its answer belongs to it.
        if !self.ends_with_answer() {
            banner.bytes = std::mem::take(&mut self.worker.output);
            self.worker.incoming.clear();
        }
        result
    }

    async fn wait_for_start(&mut self, banner: &mut RecordedBanner) -> Result<(), Failed> {
        let deadline = self.born + self.limits.start;
        let ready = self.settings.program.start.ready.as_ref();
        let mut start = Start::new(self.born, self.limits.start);
        let mut doubtful_since = None;
        loop {
            let mut look = self.watcher.look_at_start();
            if self.worker.read_rest() {
                start.moved(Instant::now());
                // It may have waited for room in the pipe, and has room now.
                look = Look::Works;
            }
            self.activity.observe(self.worker.process.id());
            if look == Look::Works && self.watcher.never_blocks() {
                start.never_blocks();
            }
            let cpu = self.watcher.cpu();
            let now = Instant::now();
            if look == Look::Works && self.watcher.saw_running() {
                start.moved(now);
            }
            let over = start.looked(now, look, cpu);
            banner.taken = ready.and_then(|ready| end_of_banner(ready, &self.worker.output));
            // While it starts, it may be seen less well than later.
            doubtful_since = over.map(|_| doubtful_since.unwrap_or(now));
            let is_settled = doubtful_since.is_some_and(|since| now - since >= LINGER);
            if let Some(over) = over.filter(|over| *over == Over::Certain || is_settled)
                && (ready.is_none() || banner.taken.is_some())
            {
                self.note(over, look);
                return Ok(());
            }
            // What waits for its input writes no more.
            if over == Some(Over::Certain) || now >= deadline || self.worker.has_much_output() {
                return Err(self.stall(self.born, look == Look::Waits).await);
            }
            match self.worker.next_event(start.next_look(now).min(deadline)).await {
                Event::Ended | Event::Closed => return Err(self.gone().await),
                Event::Output => start.moved(Instant::now()),
                Event::TookInput | Event::Nothing => {}
            }
        }
    }

    /// Asks one question and records the answer and what follows it in the same turn.
    async fn ask(
        &mut self,
        planned: &Planned,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<(), Failed> {
        let asked = Instant::now();
        if !self.ends_with_answer() {
            self.worker.output.clear();
            self.worker.incoming.clear();
            self.decoder.reset();
        }
        self.question = planned.question.text.clone();
        self.put(planned)?;
        let deadline = match self.phase {
            // It slept through its start, and has not been seen to read anything yet.
            TrialPhase::Sample if self.doubt == Some(Look::Works) && exchanges.is_empty() => {
                self.born + self.limits.start
            }
            TrialPhase::Sample => asked + self.limits.answer,
            TrialPhase::Start | TrialPhase::Hello(_) | TrialPhase::Probe => {
                self.born + self.limits.start
            }
        };
        let end = if self.ends_with_answer() {
            self.take_end(asked, deadline).await?
        } else {
            self.take_turn(planned, asked, deadline).await?
        };
        let (answer, proven) = match end.answer {
            Some((answer, proven)) => (Some(answer), proven),
            None => (None, false),
        };
        let mut extra = self.worker.incoming.split().to_vec();
        if self.correlator.may_speak() {
            extra = self.without_notifications(extra);
        }
        exchanges.push(Exchange {
            phase: self.phase,
            question: self.question.clone(),
            answer,
            proven,
            took: end.took,
            output: self.worker.output.clone(),
            extra,
            unasked: end.unasked,
        });
        if end.is_gone { Err(self.gone().await) } else { Ok(()) }
    }

    /// Puts a question into `outgoing`.
    fn put(&mut self, planned: &Planned) -> Result<(), Failed> {
        let Planned { question, is_answered, .. } = planned;
        let result = if *is_answered {
            let asked = self.correlator.ask((), question, &self.encoder, &mut self.worker.outgoing);
            asked.map_err(|why| why.to_string())
        } else {
            let nonce = question.nonce.as_deref();
            let written =
                self.encoder.encode(b"", &question.text, nonce, &mut self.worker.outgoing);
            written.map_err(|why| why.to_string())
        };
        let phase = self.phase;
        result.map_err(|why| Failed::Other(Box::new(TrialEnd::Unsendable { phase, why })))
    }

    /// Looks at the worker as the server does. `is_answered`: it has written a whole message.
    fn look(&mut self, is_answered: bool) -> Look {
        self.activity.observe(self.worker.process.id());
        let is_unread = self.worker.unread() > 0;
        match self.watcher.look() {
            Look::Waits if is_unread => Look::Works,
            Look::Works if is_answered && self.worker.is_stdin_closed() => Look::Waits,
            look => look,
        }
    }

    /// Remembers the first look that left a doubt.
    fn note(&mut self, over: Over, look: Look) {
        if over == Over::Uncertain {
            self.doubt.get_or_insert(look);
        }
    }

    /// Waits a moment for output that nobody asked for, and returns it.
    async fn linger(&mut self) -> Vec<u8> {
        let before = self.worker.output.len();
        let kept = self.worker.incoming.len();
        let end = Instant::now() + LINGER;
        while Instant::now() < end && !self.worker.has_much_output() {
            if let Event::Ended | Event::Closed = self.worker.next_event(end).await {
                break;
            }
        }
        self.worker.incoming.truncate(kept);
        self.worker.output.split_off(before)
    }

    /// Finds out whether the process ended or only closed a pipe.
    async fn gone(&mut self) -> Failed {
        match tokio::time::timeout(CLOSING, self.worker.process.ended()).await {
            Ok(()) => Failed::Ended(self.born.elapsed()),
            Err(_) => Failed::Other(Box::new(TrialEnd::Closed { phase: self.phase })),
        }
    }

    /// Records that the expected output did not come, and what comes when the input is closed.
    async fn stall(&mut self, since: Instant, waits: bool) -> Failed {
        let mut stall = Stall {
            phase: self.phase,
            question: self.question.clone(),
            waited: since.elapsed(),
            unread: self.worker.unread() + self.worker.outgoing.len() as u64,
            waits,
            recent_cpu: self.activity.recent_cpu(),
            runs: self.activity.was_always_running(),
            output: self.worker.output.clone(),
            output_at_end: Vec::new(),
        };
        // A worker that computes would not notice that its input was closed.
        if stall.signs().computes() {
            self.worker.stdin = None;
        } else {
            stall.output_at_end = self.close_input().await;
        }
        Failed::Other(Box::new(TrialEnd::Stalled(stall)))
    }

    /// Closes the input of the worker and returns what it writes then.
    async fn close_input(&mut self) -> Vec<u8> {
        let before = self.worker.output.len();
        self.worker.stdin = None;
        self.worker.outgoing.clear();
        let end = Instant::now() + AT_END;
        while Instant::now() < end && !self.worker.has_much_output() {
            if let Event::Ended | Event::Closed = self.worker.next_event(end).await {
                break;
            }
        }
        let output = self.worker.output.split_off(before);
        // A program that talks to people ends its last line.
        if output.trim_ascii().is_empty() { Vec::new() } else { output }
    }

    /// A worker gets one question and ends with its answer.
    fn ends_with_answer(&self) -> bool {
        self.settings.program.wire.ends_with_answer()
    }

    /// An answer ends with the turn and with nothing else.
    fn ends_answer(&self) -> bool {
        self.settings.program.wire.framing.reply == Framing::Turn
    }
}

/// Returns where the banner ends: after the first match of `ready`, and after a line end if one
/// follows the match.
fn end_of_banner(ready: &ByteRegex, output: &[u8]) -> Option<usize> {
    let end = ready.find(output)?.end();
    let line_end = [&b"\r\n"[..], b"\n"].into_iter().find(|it| output[end..].starts_with(it));
    Some(end + line_end.map_or(0, <[u8]>::len))
}
