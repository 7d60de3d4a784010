//! Makes a new worker ready: reads its banner, sends the greetings and the probe.

use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::look::{Look, Watcher};
use super::pipes::{Heard, OutOfStep, Pipes, shown};
use super::turn::{NextLook, Over, Start, Turn, TurnShape, Written};
use crate::base::json;
use crate::base::{ByteRegex, CallId, Question};
use crate::config::{PoolSettings, WireSettings};
use crate::python::read_description;
use crate::wire::Share;

/// The id under which the pipes know the questions that are asked before the first call.
const BEFORE_CALLS: CallId = CallId(0);
/// How long to wait for more of the banner when the pattern matches up to the last byte that was
/// read: the rest of its line may be on the way.
const BANNER_REST: Duration = Duration::from_millis(50);
/// Most bytes of a banner.
const BANNER_MOST: usize = 1 << 20;

/// How long a worker that says that it is ready may take until it waits for its input.
const BANNER_LOOKS: Duration = Duration::from_millis(200);
/// Most bytes of an unannounced banner that the log shows.
const BANNER_KEPT: usize = 200;

/// Bytes that each part of an answer counts in addition to its own.
const PART_OVERHEAD: usize = 256;
/// Bytes that the parts of one answer may always take together, even if `message_max` is smaller.
const PARTS_LEAST: usize = 1 << 20;

/// Why a worker did not become ready, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It closed its output, or a pipe failed.
    #[error("it closed its output")]
    Closed,
    /// It broke the protocol.
    #[error("{0}")]
    OutOfStep(String),
    /// It gave the wrong answer to the probe.
    #[error("the probe was answered with {got}, not with {wanted}")]
    WrongProbe {
        /// The answer, escaped.
        got: String,
        /// The answer that `probe.reply` asks for.
        wanted: String,
    },
    /// The functions cannot be served.
    #[error("its functions cannot be served: {0}")]
    NotServed(String),
    /// Its answers end when it waits for its input, which the kernel does not show.
    #[error(
        "the kernel does not show when it waits for its input (another user's process, no /proc, a \
         sandbox, an input that never blocks), so nothing ends its answers: use another framing \
         than `turn`"
    )]
    Hidden,
    /// A greeting or the probe cannot be sent in this framing.
    #[error("`hello` or `probe` cannot be sent: {0}")]
    Unsendable(String),
}

impl From<io::Error> for NotReady {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// How a new worker became ready.
#[derive(Debug, Default)]
pub struct Beginning {
    /// What it wrote that nobody announced, before its first question: no answer.
    pub banner: Banner,
    /// The last look, if the worker could not be seen to wait for its input.
    pub uncertain: Option<Look>,
    /// Its answer to the greeting `initialize` of JSON-RPC.
    pub initialized: Option<Bytes>,
}

/// Output before the first question.
#[derive(Debug, Default)]
pub struct Banner {
    /// Its first bytes.
    pub begin: Vec<u8>,
    /// Its length.
    pub bytes: usize,
}

/// Prepares a new worker for its first call: waits until it waits for its input, unless `ready` says
/// how its banner ends, and then sends the greetings and the probe. Has no time limit of its own.
pub async fn prepare(
    pipes: &mut Pipes,
    watcher: &mut Watcher,
    settings: &PoolSettings,
    is_forked: bool,
) -> Result<Beginning, NotReady> {
    let program = &settings.program;
    let mut starting = Starting { pipes, watcher, beginning: Beginning::default(), kept: 0 };
    match &program.start.ready {
        Some(ready) => {
            skip_banner(starting.pipes, ready).await?;
            if program.wire.takes_turns {
                starting.find_out_how_it_waits().await?;
            }
        }
        // The loop writes nothing before it is asked.
        None if program.python.is_some() => {}
        None => starting.wait_for_input(settings.rules.start_timeout).await?,
    }
    if program.wire.needs_turns() {
        match starting.beginning.uncertain {
            Some(Look::Hidden) => return Err(NotReady::Hidden),
            Some(Look::Works) if starting.watcher.never_blocks() => return Err(NotReady::Hidden),
            _ => {}
        }
    }
    // A worker that was forked has been told before.
    let hello = if is_forked { &[][..] } else { &program.start.hello };
    for greeting in hello {
        if greeting.answer {
            let answer = starting.ask(&greeting.send, &program.wire).await?;
            if program.wire.is_json_rpc && json::calls(greeting.send.as_bytes(), "initialize") {
                starting.beginning.initialized = Some(answer);
            }
        } else {
            let said = question(&greeting.send);
            starting.pipes.say(&said).map_err(|why| unsendable(&why))?;
            poll_fn(|context| starting.pipes.poll_flush(context)).await?;
            if program.wire.takes_turns {
                starting.wait_for_input(settings.rules.start_timeout).await?;
            }
        }
    }
    let Some(probe) = &program.start.probe else { return Ok(starting.beginning) };
    let answer = starting.ask(&probe.send, &program.wire).await?;
    if program.python.is_some()
        && let Err(refusal) = read_description(&answer)
    {
        return Err(NotReady::NotServed(refusal.message));
    }
    match &probe.reply {
        Some(wanted) if answer != wanted.as_bytes() => Err(NotReady::WrongProbe {
            got: format!("\"{}\"", answer.escape_ascii()),
            wanted: format!("{wanted:?}"),
        }),
        _ => Ok(starting.beginning),
    }
}

/// A worker before its first call.
struct Starting<'a> {
    pipes: &'a mut Pipes,
    watcher: &'a mut Watcher,
    beginning: Beginning,
    /// Bytes of output that are kept.
    kept: usize,
}

impl Starting<'_> {
    /// Waits until the worker waits for its input. What it writes until then is dropped.
    async fn wait_for_input(&mut self, start_timeout: Duration) -> Result<(), NotReady> {
        let mut start = Start::new(Instant::now(), start_timeout);
        loop {
            let is_read = self.pipes.is_read();
            let mut look = self.watcher.look_at_start();
            if !is_read {
                // It is stopped, or was woken a moment ago, and only seems to wait.
                look = Look::Works;
            }
            self.pipes.read_rest();
            if self.drop_output() {
                start.moved(Instant::now());
                // It may have waited for room in the pipe, and has room now.
                look = Look::Works;
                if self.beginning.banner.bytes.max(self.kept) > BANNER_MOST {
                    let why = "what it writes before its first question does not end";
                    return Err(NotReady::OutOfStep(why.to_owned()));
                }
            }
            if look == Look::Works && self.watcher.never_blocks() {
                start.never_blocks();
            }
            // A program that waits needs no other sign.
            let cpu = match look {
                Look::Waits => Duration::ZERO,
                _ => self.watcher.cpu(),
            };
            let now = Instant::now();
            if look == Look::Works && self.watcher.saw_running() {
                start.moved(now);
            }
            if let Some(over) = start.looked(now, look, cpu) {
                self.beginning.uncertain = (over == Over::Uncertain).then_some(look);
                return Ok(());
            }
            self.read_until(start.next_look(now)).await?;
        }
    }

    /// Finds out whether a worker that has said that it is ready can be seen to wait for its input.
    async fn find_out_how_it_waits(&mut self) -> Result<(), NotReady> {
        let end = Instant::now() + BANNER_LOOKS;
        loop {
            let look = self.watcher.look();
            let now = Instant::now();
            if look != Look::Works || now >= end {
                self.beginning.uncertain = (look != Look::Waits).then_some(look);
                return Ok(());
            }
            self.read_until(now + Duration::from_millis(1)).await?;
        }
    }

    /// Drops what the worker wrote, but keeps its begin for the log. Of a program that ends with its
    /// answer it drops nothing, because all its output is that answer. Returns true if it wrote.
    fn drop_output(&mut self) -> bool {
        if self.pipes.ends_with_answer() {
            let before = std::mem::replace(&mut self.kept, self.pipes.received().len());
            return self.kept > before;
        }
        let output = self.pipes.take_rest();
        let Banner { begin, bytes } = &mut self.beginning.banner;
        let room = BANNER_KEPT.saturating_sub(begin.len());
        begin.extend_from_slice(&output[..output.len().min(room)]);
        *bytes += output.len();
        !output.is_empty()
    }

    /// Reads once, or waits until this time.
    async fn read_until(&mut self, time: Instant) -> Result<bool, NotReady> {
        match tokio::time::timeout_at(time.into(), read(self.pipes)).await {
            Ok(read) => read.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    async fn ask(&mut self, text: &str, wire: &WireSettings) -> Result<Bytes, NotReady> {
        let question = question(text);
        self.pipes.ask(BEFORE_CALLS, &question).map_err(|why| unsendable(&why))?;
        poll_fn(|context| self.pipes.poll_flush(context)).await?;
        if !wire.takes_turns {
            return answer(self.pipes, wire.message_max).await;
        }
        let shape = TurnShape::of(wire);
        let mut turn = Turn::new(Instant::now(), shape);
        let mut written = Written::default();
        let mut parts = Vec::new();
        loop {
            let next = match turn.next_look() {
                NextLook::Soon => Instant::now(),
                NextLook::At(time) => time,
            };
            if self.read_until(next).await? {
                self.take_in(&mut turn, &mut written, &mut parts, wire)?;
                continue;
            }
            let is_read = self.pipes.is_read();
            let mut look =
                if turn.is_silent() { self.watcher.look_closely() } else { self.watcher.look() };
            if look == Look::Works && self.beginning.uncertain == Some(Look::Works) {
                look = Look::Hidden;
            }
            if !is_read {
                // It is stopped, or was woken a moment ago, and only seems to wait.
                look = Look::Works;
            }
            if self.pipes.read_rest() > 0 {
                // It may have waited for room in the pipe, and has room now.
                self.take_in(&mut turn, &mut written, &mut parts, wire)?;
                continue;
            }
            if turn.looked(Instant::now(), look).is_some() {
                break;
            }
        }
        let rest = self.pipes.take_rest();
        self.pipes.close_turn();
        if wire.stream.is_some() {
            let is_ended = shape != TurnShape::Whole || has_last(&parts);
            let unended = || NotReady::OutOfStep("it wrote an answer without its end".to_owned());
            return is_ended.then(|| joined(parts)).ok_or_else(unended);
        }
        written.answer(rest, shape == TurnShape::All).map_err(|no| {
            let said: Vec<String> = no.written.iter().map(|message| shown(message)).collect();
            NotReady::OutOfStep(format!("{}: {}", no.detail, said.join(", then ")))
        })
    }

    fn take_in(
        &mut self,
        turn: &mut Turn,
        written: &mut Written,
        parts: &mut Vec<Heard>,
        wire: &WireSettings,
    ) -> Result<(), NotReady> {
        let mut is_whole = false;
        while let Some(message) = self.pipes.cut().map_err(out_of_step)? {
            if wire.stream.is_none() {
                written.add(message);
            } else if !has_last(parts) {
                parts.push(self.pipes.pair(message).map_err(out_of_step)?);
            }
            // Where only the turn ends the parts, one of them is all that there may be.
            is_whole = wire.stream.is_none() || wire.needs_turns() || has_last(parts);
        }
        check_sum(parts, wire.message_max)?;
        turn.wrote(Instant::now(), is_whole);
        Ok(())
    }
}

/// Reads the answer to the question that was just asked.
async fn answer(pipes: &mut Pipes, most: usize) -> Result<Bytes, NotReady> {
    let mut heard: Vec<Heard> = Vec::new();
    loop {
        read(pipes).await?;
        pipes.hear(&mut heard).map_err(out_of_step)?;
        if has_last(&heard) {
            return Ok(joined(heard));
        }
        check_sum(&heard, most)?;
    }
}

/// Returns true if the last part of an answer has come.
fn has_last(parts: &[Heard]) -> bool {
    parts.last().is_some_and(|part| part.share.is_last())
}

/// Refuses parts that are too large together.
fn check_sum(parts: &[Heard], most: usize) -> Result<(), NotReady> {
    let sum: usize = parts.iter().map(|part| part.answer.len() + PART_OVERHEAD).sum();
    if sum > most.max(PARTS_LEAST) {
        return Err(NotReady::OutOfStep("its answer in parts does not end".to_owned()));
    }
    Ok(())
}

fn out_of_step(out: OutOfStep) -> NotReady {
    let said = out.said.map(|said| format!(": {said}")).unwrap_or_default();
    NotReady::OutOfStep(format!("{}{said}", out.detail))
}

/// Joins the parts of an answer, one line each.
fn joined(mut heard: Vec<Heard>) -> Bytes {
    if heard.last().is_some_and(|message| message.share == Share::End) {
        heard.pop();
    }
    match &heard[..] {
        [one] => one.answer.clone(),
        parts => {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &part.answer[..]).collect();
            parts.join(&b'\n').into()
        }
    }
}

/// Makes the question of a `hello` or `probe`, with a fresh nonce in the place of `{nonce}`.
pub fn question(text: &str) -> Question {
    if !text.contains("{nonce}") {
        return Question::plain(text.to_owned());
    }
    let nonce = format!("{:032x}", fastrand::u128(..));
    let text = text.replace("{nonce}", &nonce);
    Question { nonce: Some(nonce.into()), ..Question::plain(text) }
}

async fn skip_banner(pipes: &mut Pipes, ready: &ByteRegex) -> Result<(), NotReady> {
    loop {
        read(pipes).await?;
        let Some(mut end) = ready.find(pipes.received()).map(|found| found.end()) else {
            if pipes.received().len() > BANNER_MOST {
                return Err(NotReady::OutOfStep("its banner does not end".to_owned()));
            }
            continue;
        };
        while end == pipes.received().len() {
            match tokio::time::timeout(BANNER_REST, read(pipes)).await {
                Ok(more) => more?,
                Err(_) => break,
            }
            end = ready.find(pipes.received()).map_or(end, |found| found.end());
        }
        let received = pipes.received();
        received.advance(end);
        let line_end =
            [&b"\r\n"[..], b"\n"].into_iter().find(|line_end| received.starts_with(line_end));
        received.advance(line_end.map_or(0, <[u8]>::len));
        return Ok(());
    }
}

async fn read(pipes: &mut Pipes) -> Result<(), NotReady> {
    match poll_fn(|context| pipes.poll_read(context)).await? {
        0 => Err(NotReady::Closed),
        _ => Ok(()),
    }
}

fn unsendable(why: &impl ToString) -> NotReady {
    NotReady::Unsendable(why.to_string())
}
