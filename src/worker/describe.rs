//! Asks an interpreter once what it serves, before anything is served.
//!
//! The process is started as a worker is, with the same first messages, and leaves after its answer.
//! It may take as long as an import takes, so this blocks a thread that has nothing else to do.

use std::cell::OnceCell;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, LocalOptions};

use super::guard::Guard;
use super::process::Exit;
use super::spawn::{Streams, spawn};
use super::stderr::{LastWords, pump};
use super::{kill, reaper};
use crate::config::{Framing, LaunchSettings, NotDescribed};
use crate::python::{DESCRIBE, loop_text};
use crate::wire::{Decoder, Encoder};

/// How long the process may take to leave after its answer.
const GRACE: Duration = Duration::from_secs(1);
/// How long a process that closed its output may take to end by itself.
const CLOSING: Duration = Duration::from_millis(500);
/// How long to wait for its last lines on stderr.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// The largest description, in bytes.
const DESCRIPTION_MAX: usize = 64 << 20;
/// The tag of the question.
const TAG: &[u8] = b"1 ";

/// Asks interpreters before the server runs. The guard process, which kills what they leave behind,
/// is started when the first is asked.
pub fn before_start(
    binary: PathBuf,
) -> impl Fn(&LaunchSettings, Duration) -> Result<Vec<u8>, NotDescribed> {
    let guard = OnceCell::new();
    move |launch, limit| {
        if guard.get().is_none() {
            reaper::expect_children();
            guard.set(Guard::start(&binary).map_err(|error| cannot_start(&error))?).ok();
        }
        let guard = guard.get().expect("it was just started");
        describe(guard, launch, limit)
    }
}

/// Asks one interpreter. Must not be called inside a runtime.
pub fn describe(
    guard: &Guard,
    launch: &LaunchSettings,
    limit: Duration,
) -> Result<Vec<u8>, NotDescribed> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| cannot_start(&error))?;
    runtime.block_on(ask(guard, launch, limit))
}

async fn ask(
    guard: &Guard,
    launch: &LaunchSettings,
    limit: Duration,
) -> Result<Vec<u8>, NotDescribed> {
    let (process, Streams { stdin, stdout, stderr, token }) =
        spawn(launch, guard).await.map_err(|error| cannot_start(&error))?;
    let words = LastWords::unlogged(&token);
    let mut pump =
        StderrReading { reading: Box::pin(pump(stderr, words.clone())), are_over: false };
    let talk = async {
        let mut stdin = pipe::Sender::from_owned_fd_unchecked(stdin.into_inner())?;
        let mut stdout = pipe::Receiver::from_owned_fd_unchecked(stdout.into_inner())?;
        // A program that does not read may have written why.
        let write = async { drop(stdin.write_all(&questions()).await) };
        let (answer, ()) = tokio::join!(answer(&mut stdout), write);
        Ok::<_, io::Error>((answer?, stdin))
    };
    let talked = tokio::select! {
        talked = tokio::time::timeout(limit, talk) => talked,
        // It has closed its stderr, and may still answer; the time limit holds.
        never = async { pump.read().await; std::future::pending().await } => never,
    };
    match talked {
        Ok(Ok((Some(answer), stdin))) => {
            kill::stop(process, stdin, GRACE).await;
            Ok(answer[TAG.len().min(answer.len())..].to_vec())
        }
        Ok(_) => {
            tokio::time::timeout(CLOSING, process.ended()).await.ok();
            let exit = kill::kill_now(process).await;
            tokio::time::timeout(LAST_WORDS, pump.read()).await.ok();
            let why = match words.explain(exit) {
                Exit::NotRun(reason) => format!("cannot be run: {reason}"),
                exit => format!("ended with {exit} before it said what it serves"),
            };
            Err(NotDescribed { why, said: words.lines() })
        }
        Err(_) => {
            kill::kill_now(process).await;
            tokio::time::timeout(LAST_WORDS, pump.read()).await.ok();
            let why = format!("has not imported it within {limit:?} (`start_timeout`)");
            Err(NotDescribed { why, said: words.lines() })
        }
    }
}

/// The stderr of the process, which may end before its answer or long after.
struct StderrReading<F> {
    reading: Pin<Box<F>>,
    are_over: bool,
}

impl<F: Future<Output = ()>> StderrReading<F> {
    /// Reads to the end.
    async fn read(&mut self) {
        if !self.are_over {
            self.reading.as_mut().await;
            self.are_over = true;
        }
    }
}

/// What the process is sent: the loop, and what it is asked.
fn questions() -> BytesMut {
    let encoder = Encoder::new(&Framing::U32, usize::MAX);
    let mut out = BytesMut::new();
    let first = encoder.encode(b"", loop_text().as_bytes(), None, &mut out);
    let second = encoder.encode(TAG, DESCRIBE.as_bytes(), None, &mut out);
    debug_assert!(first.is_ok() && second.is_ok(), "both are short");
    out
}

/// Reads one message; `None` if the output ends before.
async fn answer(stdout: &mut pipe::Receiver) -> io::Result<Option<Bytes>> {
    let mut decoder = Decoder::new(&Framing::U32, DESCRIPTION_MAX);
    let mut read = BytesMut::new();
    loop {
        match decoder.next(&mut read, None) {
            Ok(None) => {}
            Ok(message) => return Ok(message),
            Err(_) => return Ok(None),
        }
        if stdout.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
}

fn cannot_start(error: &io::Error) -> NotDescribed {
    NotDescribed { why: format!("cannot be started: {error}"), said: Vec::new() }
}
