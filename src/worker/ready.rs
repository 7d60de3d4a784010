//! Makes a new worker ready: reads its banner, sends the greetings and the probe.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::pipes::{Heard, Pipes};
use crate::base::{ByteRegex, CallId, Question};
use crate::config::ProgramSettings;
use crate::wire::Share;

/// The id under which the pipes know the questions that are asked before the first call.
const BEFORE_CALLS: CallId = CallId(0);
/// How long to wait for more of the banner when the pattern matches up to the last byte that was
/// read: the rest of its line may be on the way.
const BANNER_REST: Duration = Duration::from_millis(50);
/// Most bytes of a banner.
const BANNER_MOST: usize = 1 << 20;

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
    /// A greeting or the probe cannot be sent in this framing.
    #[error("`hello` or `probe` cannot be sent: {0}")]
    Unsendable(String),
}

impl From<io::Error> for NotReady {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// Prepares a new worker for its first call. Has no time limit of its own.
pub async fn prepare(pipes: &mut Pipes, program: &ProgramSettings) -> Result<(), NotReady> {
    if let Some(ready) = &program.start.ready {
        skip_banner(pipes, ready).await?;
    }
    for greeting in &program.start.hello {
        if greeting.answer {
            ask(pipes, &greeting.send, program.wire.message_max).await?;
        } else {
            pipes.say(&question(&greeting.send)).map_err(|why| unsendable(&why))?;
            std::future::poll_fn(|context| pipes.poll_flush(context)).await?;
        }
    }
    let Some(probe) = &program.start.probe else { return Ok(()) };
    let answer = ask(pipes, &probe.send, program.wire.message_max).await?;
    match &probe.reply {
        Some(wanted) if answer != wanted.as_bytes() => Err(NotReady::WrongProbe {
            got: format!("\"{}\"", answer.escape_ascii()),
            wanted: format!("{wanted:?}"),
        }),
        _ => Ok(()),
    }
}

async fn ask(pipes: &mut Pipes, text: &str, most: usize) -> Result<Bytes, NotReady> {
    let question = question(text);
    pipes.ask(BEFORE_CALLS, &question).map_err(|why| unsendable(&why))?;
    std::future::poll_fn(|context| pipes.poll_flush(context)).await?;
    let mut heard: Vec<Heard> = Vec::new();
    loop {
        read(pipes).await?;
        if let Err(out) = pipes.hear(&mut heard) {
            let said = out.said.map(|said| format!(": {said}")).unwrap_or_default();
            return Err(NotReady::OutOfStep(format!("{}{said}", out.detail)));
        }
        if heard.last().is_some_and(|message| message.share.is_last()) {
            return Ok(joined(heard));
        }
        let parts: usize = heard.iter().map(|part| part.answer.len() + PART_OVERHEAD).sum();
        if parts > most.max(PARTS_LEAST) {
            return Err(NotReady::OutOfStep("its answer in parts does not end".to_owned()));
        }
    }
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
    Question { text: text.into(), nonce: Some(nonce.into()) }
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
    match std::future::poll_fn(|context| pipes.poll_read(context)).await? {
        0 => Err(NotReady::Closed),
        _ => Ok(()),
    }
}

fn unsendable(why: &impl ToString) -> NotReady {
    NotReady::Unsendable(why.to_string())
}
