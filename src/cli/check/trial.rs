//! Tries one worker: starts it, leads it as far as its first call, and notes what is seen.
//!
//! A thin shell: what is worth telling is for `diagnosis` to say.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::unix::AsyncFd;
use tokio_util::task::TaskTracker;

use super::look;
use super::quiet::Quiet;
use super::seen::{Banner, End, Exchange, Seen, Silence, Stage};
use crate::base::{ByteRegex, Question, WorkerId};
use crate::config::{LaunchSettings, PoolSettings};
use crate::wire::{Correlator, Decoder, Encoder, Received};
use crate::worker::guard::Guard;
use crate::worker::kill;
use crate::worker::ready::question;
use crate::worker::spawn::{Process, Streams};
use crate::worker::stderr::{LastWords, pump};

/// How often a silent worker is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Blocked on its input for so long, a worker that was not asked yet has started.
const STARTED: Duration = Duration::from_millis(60);
/// Asleep for so long, it has too; it may wait for input in a way that cannot be told.
const STARTED_ASLEEP: Duration = Duration::from_millis(500);
/// Blocked on its input for so long, a worker will not answer any more.
const SILENT: Duration = Duration::from_millis(400);
/// How long output behind an answer is waited for.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_ASLEEP: Duration = Duration::from_millis(250);
/// How long a worker whose input was closed may take to say what it held back.
const AT_END: Duration = Duration::from_millis(700);
/// How long one that closed a pipe may take to end.
const CLOSING: Duration = Duration::from_millis(300);
/// How long what it last wrote to stderr is waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Longest time from TERM to KILL here.
const GRACE_MOST: Duration = Duration::from_secs(1);
/// Most bytes that are kept of what a worker writes.
const KEPT_MOST: usize = 1 << 20;

/// What a trial needs from outside.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) guard: Guard,
    pub(super) tasks: TaskTracker,
}

/// Tries a worker of this pool, run as `launch` says, until `deadline` at the latest; stopping
/// it takes up to a second more. Dropped earlier, it kills the worker.
pub(super) async fn try_one(
    settings: &PoolSettings,
    launch: &LaunchSettings,
    surroundings: &Surroundings,
    deadline: Instant,
) -> io::Result<Seen> {
    let born = Instant::now();
    let (process, streams) = Process::spawn(launch, &surroundings.guard)?;
    let words = LastWords::new(settings.name.as_str().into(), WorkerId(0), &process);
    let Streams { stdin, stdout, stderr } = streams;
    let pump = surroundings.tasks.spawn_local(pump(stderr, words.clone()));
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
        quiet: Quiet::default(),
        born,
        deadline,
    };
    let mut seen = Seen {
        start: Duration::ZERO,
        waited: false,
        banner: Banner::default(),
        exchanges: Vec::new(),
        end: End::Ready,
        words: Vec::new(),
    };
    let stop = worker.lead(&mut seen).await.err();
    let ended = matches!(stop, Some(Stop::Ended(_)));
    let Worker { process, stdin, stage, .. } = worker;
    let exit = if ended {
        kill::kill_now(process).await
    } else {
        kill::stop(process, stdin, settings.rules.stop_grace.min(GRACE_MOST)).await
    };
    tokio::time::timeout(LAST_WORDS, pump).await.ok();
    seen.words = words.lines();
    seen.end = match stop {
        None => End::Ready,
        Some(Stop::Ended(after)) => End::Ended { exit: words.explain(exit), after, stage },
        Some(Stop::Other(end)) => *end,
    };
    Ok(seen)
}

/// Why a trial went no further.
enum Stop {
    /// It ended by itself, after so long.
    Ended(Duration),
    Other(Box<End>),
}

/// What happened next.
enum Step {
    Heard,
    Wrote,
    Closed,
    Ended,
    Nothing,
}

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
    /// All that was read since the last question.
    raw: Vec<u8>,
    stage: Stage,
    quiet: Quiet,
    born: Instant,
    deadline: Instant,
}

impl Worker<'_> {
    async fn lead(&mut self, seen: &mut Seen) -> Result<(), Stop> {
        let started = self.settle(&mut seen.banner).await;
        let still_since = self.quiet.waits_since.or(self.quiet.sleeps_since);
        seen.start = still_since.unwrap_or_else(Instant::now).duration_since(self.born);
        seen.waited = self.quiet.waits_since.is_some();
        started?;
        for (index, greeting) in self.settings.program.start.hello.iter().enumerate() {
            self.stage = Stage::Hello(index + 1);
            self.exchange(&greeting.send, greeting.answer, &mut seen.exchanges).await?;
        }
        if let Some(probe) = &self.settings.program.start.probe {
            self.stage = Stage::Probe;
            self.exchange(&probe.send, true, &mut seen.exchanges).await?;
        }
        Ok(())
    }

    /// Waits until it can be asked, and collects what it says before.
    async fn settle(&mut self, banner: &mut Banner) -> Result<(), Stop> {
        let now = Instant::now();
        let half = now + self.deadline.saturating_duration_since(now) / 2;
        let ready = self.settings.program.start.ready.as_ref();
        let give_up = if ready.is_some() { self.deadline } else { half };
        let result = loop {
            let now = Instant::now();
            let asleep = self.quiet.slept(now) >= STARTED_ASLEEP;
            let taken = ready.and_then(|ready| taken_by(ready, &self.raw));
            let is_over =
                self.quiet.waited(now) >= STARTED || now >= give_up || self.has_said_enough();
            if is_over || (asleep && (ready.is_none() || taken.is_some())) {
                banner.taken = taken;
                break if ready.is_some() && taken.is_none() {
                    Err(self.silence(Bytes::new(), self.born).await)
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

    /// Asks and waits for the answer, and for what comes behind it.
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

    /// All that comes when it is asked the same again, in whatever messages.
    async fn ask_again(&mut self, question: &Question) -> Vec<u8> {
        self.raw.clear();
        if self.put(question, true).is_ok() {
            // What it says counts, even if it ends then.
            self.linger().await.ok();
        }
        self.incoming.clear();
        std::mem::take(&mut self.raw)
    }

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
        result.map_err(|why| Stop::Other(Box::new(End::Unsendable { stage: self.stage, why })))
    }

    async fn answer(&mut self, question: &Question) -> Result<(Bytes, bool), Stop> {
        let asked = Instant::now();
        self.quiet.broken();
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
            let is_silent = self.quiet.waited(now) >= SILENT && self.unread() == 0;
            if is_silent || now >= self.deadline {
                return Err(self.silence(question.text.clone(), asked).await);
            }
        }
    }

    /// Cuts what was read, and takes the answer if it is there.
    fn hear(&mut self) -> Result<Option<(Bytes, bool)>, Stop> {
        let out_of_step = |worker: &Self, why: String| {
            let (stage, raw) = (worker.stage, worker.raw.clone());
            Stop::Other(Box::new(End::OutOfStep { stage, why, raw }))
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

    /// Lets output that belongs to no question arrive.
    async fn linger(&mut self) -> Result<(), Stop> {
        let end = Instant::now() + LINGER;
        self.quiet.broken();
        loop {
            let now = Instant::now();
            let is_quiet = self.unread() == 0
                && self.outgoing.is_empty()
                && (self.quiet.waited(now) >= STARTED || self.quiet.slept(now) >= LINGER_ASLEEP);
            if is_quiet || now >= end || self.has_said_enough() {
                return Ok(());
            }
            if let Step::Ended | Step::Closed = self.step().await {
                return Err(self.gone().await);
            }
        }
    }

    /// What is left of output behind an answer once whole notifications are taken out.
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

    /// It ended or closed a pipe; which of them?
    async fn gone(&mut self) -> Stop {
        match tokio::time::timeout(CLOSING, self.process.ended()).await {
            Ok(()) => Stop::Ended(self.born.elapsed()),
            Err(_) => Stop::Other(Box::new(End::Closed { stage: self.stage })),
        }
    }

    /// It did not say what it was to say. Its input is closed, to see whether that helps.
    async fn silence(&mut self, question: Bytes, asked: Instant) -> Stop {
        let waited = asked.elapsed();
        let waits = self.quiet.waits_since.is_some();
        let (cpu_lately, runs) = (self.quiet.cpu_lately(), self.quiet.wanted_to_run());
        let unread = self.unread() + self.outgoing.len() as u64;
        let said = self.raw.clone();
        self.stdin = None;
        self.outgoing.clear();
        // One that computes would not notice.
        let is_idle = waits || self.quiet.sleeps_since.is_some();
        let end = Instant::now() + if is_idle { AT_END } else { Duration::ZERO };
        while Instant::now() < end {
            if let Step::Ended | Step::Closed = self.step().await {
                break;
            }
        }
        let at_end = self.raw.split_off(said.len().min(self.raw.len()));
        let stage = self.stage;
        let silence =
            Silence { stage, question, waited, unread, waits, cpu_lately, runs, said, at_end };
        Stop::Other(Box::new(End::Silent(silence)))
    }

    /// Bytes in its input that it has not read.
    fn unread(&self) -> u64 {
        self.stdin.as_ref().and_then(|stdin| ioctl_fionread(stdin.get_ref()).ok()).unwrap_or(0)
    }

    /// What was not asked for is more than anybody is shown.
    fn has_said_enough(&self) -> bool {
        self.incoming.len() >= KEPT_MOST
    }

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
                // What it wrote last may not have been reported yet.
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
                self.quiet.looked(look::at(self.process.id()));
                Step::Nothing
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.quiet.broken();
        self.incoming.extend_from_slice(bytes);
        let room = KEPT_MOST.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Where the banner ends: behind the first match and a line end right after it.
fn taken_by(ready: &ByteRegex, said: &[u8]) -> Option<usize> {
    let end = ready.find(said)?.end();
    let line_end = [&b"\r\n"[..], b"\n"].into_iter().find(|it| said[end..].starts_with(it));
    Some(end + line_end.map_or(0, <[u8]>::len))
}

/// Reads once; 0 is the end.
async fn read(stdout: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> usize {
    loop {
        let Ok(mut ready) = stdout.readable().await else { return 0 };
        match ready.try_io(|stdout| Ok(rustix::io::read(stdout.get_ref(), &mut *buffer)?)) {
            Ok(Ok(count)) => return count,
            // The other end of a pseudo-terminal has gone.
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
