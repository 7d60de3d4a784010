//! The trial of one worker: starts it, asks the greetings and the probe, and records what it
//! does.
//!
//! A thin shell: `diagnosis` decides what to report.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::unix::AsyncFd;
use tokio_util::task::TaskTracker;

use super::activity;
use super::idle::IdleWatch;
use super::record::{Banner, Exchange, Record, Stage, Stall, TrialEnd};
use crate::base::{ByteRegex, Question, WorkerId};
use crate::config::{LaunchSettings, PoolSettings};
use crate::wire::{Correlator, Decoder, Encoder, Received};
use crate::worker::guard::Guard;
use crate::worker::kill;
use crate::worker::process::Process;
use crate::worker::ready::question;
use crate::worker::spawn::{Streams, spawn};
use crate::worker::stderr::{LastWords, pump};

/// How often the activity of a silent worker is read.
const TICK: Duration = Duration::from_millis(20);
/// A worker has started once it was blocked reading its input for this long.
const STARTED: Duration = Duration::from_millis(60);
/// It has also started once it slept for this long: it may wait for input in a way that `/proc`
/// does not show.
const STARTED_ASLEEP: Duration = Duration::from_millis(500);
/// A worker that was blocked reading its input for this long will not answer.
const SILENT: Duration = Duration::from_millis(400);
/// How long to wait for more output after an answer.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait if the worker sleeps meanwhile.
const LINGER_ASLEEP: Duration = Duration::from_millis(250);
/// How long a worker may take to write its buffered output after its input was closed.
const AT_END: Duration = Duration::from_millis(700);
/// How long a worker may take to end after it closed a pipe.
const CLOSING: Duration = Duration::from_millis(300);
/// How long to wait for the rest of stderr after the worker has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Upper bound for the time between TERM and KILL.
const GRACE_MOST: Duration = Duration::from_secs(1);
/// How many bytes of a worker's output are kept.
const KEPT_MOST: usize = 1 << 20;

/// What every trial shares: the guard process and the tracker of background tasks.
#[derive(Clone, Debug)]
pub(super) struct TrialContext {
    pub(super) guard: Guard,
    pub(super) tasks: TaskTracker,
}

/// Starts a worker of this pool as `launch` says and tries it until `deadline` at the latest.
///
/// Stopping the worker takes up to a second more. Dropping the future kills the worker.
pub(super) async fn try_one(
    settings: &PoolSettings,
    launch: &LaunchSettings,
    context: &TrialContext,
    deadline: Instant,
) -> io::Result<Record> {
    let born = Instant::now();
    let (process, streams) = spawn(launch, &context.guard)?;
    let words = LastWords::new(settings.name.as_str().into(), WorkerId(0), &streams.token);
    let Streams { stdin, stdout, stderr, .. } = streams;
    let pump = context.tasks.spawn_local(pump(stderr, words.clone()));
    let mut worker = Worker {
        settings,
        process,
        stdin: Some(stdin),
        stdout,
        encoder: Encoder::new(
            &settings.program.wire.framing.send,
            settings.program.wire.message_max,
        ),
        decoder: Decoder::new(
            &settings.program.wire.framing.reply,
            settings.program.wire.message_max,
        ),
        correlator: Correlator::new(&settings.program.wire),
        outgoing: BytesMut::new(),
        incoming: BytesMut::new(),
        raw: Vec::new(),
        stage: Stage::Banner,
        idle: IdleWatch::default(),
        born,
        deadline,
    };
    let mut record = Record {
        start: Duration::ZERO,
        waited: false,
        banner: Banner::default(),
        exchanges: Vec::new(),
        end: TrialEnd::Ready,
        words: Vec::new(),
    };
    let stop = worker.lead(&mut record).await.err();
    let ended = matches!(stop, Some(Stop::Ended(_)));
    let Worker { process, stdin, stage, .. } = worker;
    let exit = if ended {
        kill::kill_now(process).await
    } else {
        kill::stop(process, stdin, settings.rules.stop_grace.min(GRACE_MOST)).await
    };
    tokio::time::timeout(LAST_WORDS, pump).await.ok();
    record.words = words.lines();
    record.end = match stop {
        None => TrialEnd::Ready,
        Some(Stop::Ended(after)) => TrialEnd::Ended { exit: words.explain(exit), after, stage },
        Some(Stop::Other(end)) => *end,
    };
    Ok(record)
}

/// Why a trial stopped early.
enum Stop {
    /// The process ended by itself, this long after its start.
    Ended(Duration),
    Other(Box<TrialEnd>),
}

/// The next event of a worker.
enum Step {
    /// It wrote output, which is now in `incoming`.
    Heard,
    /// It took bytes of the question.
    Wrote,
    /// It closed its input or its output.
    Closed,
    /// Its process ended.
    Ended,
    /// Nothing happened for one `TICK`.
    Nothing,
}

/// The worker under trial.
struct Worker<'a> {
    settings: &'a PoolSettings,
    process: Process,
    stdin: Option<AsyncFd<OwnedFd>>,
    stdout: AsyncFd<OwnedFd>,
    encoder: Encoder,
    decoder: Decoder,
    correlator: Correlator<()>,
    outgoing: BytesMut,
    incoming: BytesMut,
    /// All output since the last question.
    raw: Vec<u8>,
    stage: Stage,
    idle: IdleWatch,
    born: Instant,
    deadline: Instant,
}

impl Worker<'_> {
    /// Takes the worker through all stages: start, greetings, probe.
    async fn lead(&mut self, record: &mut Record) -> Result<(), Stop> {
        let started = self.settle(&mut record.banner).await;
        let still_since = self.idle.waiting_since.or(self.idle.sleeping_since);
        record.start = still_since.unwrap_or_else(Instant::now).duration_since(self.born);
        record.waited = self.idle.waiting_since.is_some();
        started?;
        for (index, greeting) in self.settings.program.start.hello.iter().enumerate() {
            self.stage = Stage::Hello(index + 1);
            self.exchange(&greeting.send, greeting.answer, &mut record.exchanges).await?;
        }
        if let Some(probe) = &self.settings.program.start.probe {
            self.stage = Stage::Probe;
            self.exchange(&probe.send, true, &mut record.exchanges).await?;
        }
        Ok(())
    }

    /// Waits until the worker is ready for a question, and records what it writes before.
    async fn settle(&mut self, banner: &mut Banner) -> Result<(), Stop> {
        let now = Instant::now();
        let half = now + self.deadline.saturating_duration_since(now) / 2;
        let ready = self.settings.program.start.ready.as_ref();
        let give_up = if ready.is_some() { self.deadline } else { half };
        let result = loop {
            let now = Instant::now();
            let is_asleep = self.idle.sleeping_for(now) >= STARTED_ASLEEP;
            let taken = ready.and_then(|ready| taken_by(ready, &self.raw));
            let is_over =
                self.idle.waiting_for(now) >= STARTED || now >= give_up || self.has_said_enough();
            if is_over || (is_asleep && (ready.is_none() || taken.is_some())) {
                banner.taken = taken;
                break if ready.is_some() && taken.is_none() {
                    Err(self.stall(Bytes::new(), self.born).await)
                } else {
                    Ok(())
                };
            }
            match self.step().await {
                Step::Ended | Step::Closed => break Err(self.gone().await),
                Step::Heard | Step::Wrote | Step::Nothing => {}
            }
        };
        banner.bytes = std::mem::take(&mut self.raw);
        self.incoming.clear();
        result
    }

    /// Sends a question, waits for its answer, and records what follows the answer.
    async fn exchange(
        &mut self,
        text: &str,
        answered: bool,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<(), Stop> {
        let asked = Instant::now();
        let question = question(text);
        self.raw.clear();
        self.put(&question, answered)?;
        let answer = if answered { Some(self.answer(&question).await?) } else { None };
        let took = asked.elapsed();
        let lingered = self.linger().await;
        let mut extra = self.incoming.split().to_vec();
        if self.correlator.may_speak() {
            extra = self.drop_notifications(extra);
        }
        let proven = answer.as_ref().is_some_and(|(_, proven)| *proven);
        let answer = answer.map(|(answer, _)| answer);
        let raw = self.raw.clone();
        let is_again = lingered.is_ok() && self.stage == Stage::Probe && !extra.is_empty();
        let again = if is_again { self.ask_again(&question).await } else { Vec::new() };
        exchanges.push(Exchange {
            stage: self.stage,
            question: question.text,
            answer,
            proven,
            took,
            raw,
            extra,
            again,
        });
        lingered
    }

    /// Sends the question a second time and returns all output, uncut.
    async fn ask_again(&mut self, question: &Question) -> Vec<u8> {
        self.raw.clear();
        if self.put(question, true).is_ok() {
            // The output counts even if the worker ends after it.
            self.linger().await.ok();
        }
        self.incoming.clear();
        std::mem::take(&mut self.raw)
    }

    /// Puts a question into `outgoing`.
    fn put(&mut self, question: &Question, answered: bool) -> Result<(), Stop> {
        let result = if answered {
            self.correlator
                .ask((), question, &self.encoder, &mut self.outgoing)
                .map_err(|why| why.to_string())
        } else {
            self.encoder
                .encode(b"", &question.text, None, &mut self.outgoing)
                .map_err(|why| why.to_string())
        };
        result.map_err(|why| Stop::Other(Box::new(TrialEnd::Unsendable { stage: self.stage, why })))
    }

    /// Waits for the answer; the second value is true if the answer proves its question.
    async fn answer(&mut self, question: &Question) -> Result<(Bytes, bool), Stop> {
        let asked = Instant::now();
        self.idle.reset();
        loop {
            match self.step().await {
                Step::Heard => {
                    if let Some(answer) = self.hear()? {
                        return Ok(answer);
                    }
                }
                Step::Ended | Step::Closed => {
                    if let Some(answer) = self.hear()? {
                        return Ok(answer);
                    }
                    return Err(self.gone().await);
                }
                Step::Wrote | Step::Nothing => {}
            }
            let now = Instant::now();
            let is_silent = self.idle.waiting_for(now) >= SILENT && self.unread() == 0;
            if is_silent || now >= self.deadline {
                return Err(self.stall(question.text.clone(), asked).await);
            }
        }
    }

    /// Cuts the output into messages and returns the answer if it is complete.
    fn hear(&mut self) -> Result<Option<(Bytes, bool)>, Stop> {
        let out_of_step = |worker: &Self, why: String| {
            let (stage, raw) = (worker.stage, worker.raw.clone());
            Stop::Other(Box::new(TrialEnd::OutOfStep { stage, why, raw }))
        };
        while !self.incoming.is_empty() {
            let message = match self.decoder.next(&mut self.incoming, None) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(broken) => {
                    let found = broken.found().map(|found| format!(": {found}"));
                    let why = format!("{broken}{}", found.unwrap_or_default());
                    return Err(out_of_step(self, why));
                }
            };
            match self.correlator.received(message) {
                Received::Answer { text, proven, share, .. } if share.is_last() => {
                    return Ok(Some((text, proven)));
                }
                Received::Answer { .. } | Received::Notification | Received::Late => {}
                Received::WorkerAsks { reply } => {
                    self.encoder.encode(b"", &reply, None, &mut self.outgoing).ok();
                }
                Received::Mismatch(why) => return Err(out_of_step(self, why)),
            }
        }
        Ok(None)
    }

    /// Waits a moment for output that follows the answer.
    async fn linger(&mut self) -> Result<(), Stop> {
        let end = Instant::now() + LINGER;
        self.idle.reset();
        loop {
            let now = Instant::now();
            let is_quiet = self.unread() == 0
                && self.outgoing.is_empty()
                && (self.idle.waiting_for(now) >= STARTED
                    || self.idle.sleeping_for(now) >= LINGER_ASLEEP);
            if is_quiet || now >= end || self.has_said_enough() {
                return Ok(());
            }
            if let Step::Ended | Step::Closed = self.step().await {
                return Err(self.gone().await);
            }
        }
    }

    /// Removes complete notifications from the output after an answer.
    fn drop_notifications(&mut self, extra: Vec<u8>) -> Vec<u8> {
        let mut decoder = Decoder::new(
            &self.settings.program.wire.framing.reply,
            self.settings.program.wire.message_max,
        );
        let mut buffer = BytesMut::from(&extra[..]);
        while let Ok(Some(message)) = decoder.next(&mut buffer, None) {
            let received = self.correlator.received(message);
            if let Received::Mismatch(_) | Received::Answer { .. } = received {
                return extra;
            }
        }
        buffer.to_vec()
    }

    /// Finds out whether the process ended or only closed a pipe.
    async fn gone(&mut self) -> Stop {
        match tokio::time::timeout(CLOSING, self.process.ended()).await {
            Ok(()) => Stop::Ended(self.born.elapsed()),
            Err(_) => Stop::Other(Box::new(TrialEnd::Closed { stage: self.stage })),
        }
    }

    /// Records that the expected output did not arrive. Closes the input, to see whether the
    /// worker writes then.
    async fn stall(&mut self, question: Bytes, asked: Instant) -> Stop {
        let waited = asked.elapsed();
        let waits = self.idle.waiting_since.is_some();
        let (recent_cpu, runs) = (self.idle.recent_cpu(), self.idle.was_always_running());
        let unread = self.unread() + self.outgoing.len() as u64;
        let said = self.raw.clone();
        self.stdin = None;
        self.outgoing.clear();
        // A worker that computes would not notice that its input was closed.
        let is_idle = waits || self.idle.sleeping_since.is_some();
        let end = Instant::now() + if is_idle { AT_END } else { Duration::ZERO };
        while Instant::now() < end {
            if let Step::Ended | Step::Closed = self.step().await {
                break;
            }
        }
        let at_end = self.raw.split_off(said.len().min(self.raw.len()));
        let stage = self.stage;
        let stall =
            Stall { stage, question, waited, unread, waits, recent_cpu, runs, said, at_end };
        Stop::Other(Box::new(TrialEnd::Stalled(stall)))
    }

    /// Returns how many bytes in its input the worker has not read.
    fn unread(&self) -> u64 {
        self.stdin.as_ref().and_then(|stdin| ioctl_fionread(stdin.get_ref()).ok()).unwrap_or(0)
    }

    /// Returns true if the unread output is longer than what is kept.
    fn has_said_enough(&self) -> bool {
        self.incoming.len() >= KEPT_MOST
    }

    /// Waits for the next event, or for one `TICK`.
    async fn step(&mut self) -> Step {
        let mut buffer = [0; 8192];
        let (stdin, outgoing) = (self.stdin.as_ref(), &self.outgoing);
        let writing = async {
            match stdin {
                Some(stdin) if !outgoing.is_empty() => write(stdin, outgoing).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = read(&self.stdout, &mut buffer) => match count {
                0 => Step::Closed,
                count => {
                    self.heard(&buffer[..count]);
                    Step::Heard
                }
            },
            count = writing => match count {
                Ok(count) => {
                    self.outgoing.advance(count);
                    Step::Wrote
                }
                Err(_) => Step::Closed,
            },
            () = self.process.ended() => {
                // Its last output may still be in the pipe.
                let mut left = KEPT_MOST;
                while left > 0
                    && let Ok(count @ 1..) = rustix::io::read(self.stdout.get_ref(), &mut buffer)
                {
                    self.heard(&buffer[..count]);
                    left = left.saturating_sub(count);
                }
                Step::Ended
            }
            () = tokio::time::sleep(TICK) => {
                self.idle.observe(activity::snapshot(self.process.id()));
                Step::Nothing
            }
        }
    }

    /// Takes new output.
    fn heard(&mut self, bytes: &[u8]) {
        self.idle.reset();
        self.incoming.extend_from_slice(bytes);
        let room = KEPT_MOST.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Returns where the banner ends: after the first match of `ready`, and after a line end if one
/// follows the match.
fn taken_by(ready: &ByteRegex, said: &[u8]) -> Option<usize> {
    let end = ready.find(said)?.end();
    let line_end = [&b"\r\n"[..], b"\n"].into_iter().find(|it| said[end..].starts_with(it));
    Some(end + line_end.map_or(0, <[u8]>::len))
}

/// Reads once; 0 means the end of the output.
async fn read(stdout: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> usize {
    loop {
        let Ok(mut ready) = stdout.readable().await else { return 0 };
        match ready.try_io(|stdout| Ok(rustix::io::read(stdout.get_ref(), &mut *buffer)?)) {
            Ok(Ok(count)) => return count,
            // The other end of the pseudo-terminal is closed.
            Ok(Err(_)) => return 0,
            Err(_would_block) => {}
        }
    }
}

/// Writes once.
async fn write(stdin: &AsyncFd<OwnedFd>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        let Ok(mut ready) = stdin.writable().await else { return Err(Errno::PIPE) };
        match ready.try_io(|stdin| Ok(rustix::io::write(stdin.get_ref(), bytes)?)) {
            Ok(Ok(count)) => return Ok(count),
            Ok(Err(_)) => return Err(Errno::PIPE),
            Err(_would_block) => {}
        }
    }
}
