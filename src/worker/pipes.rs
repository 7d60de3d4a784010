//! The pipes of one running worker: what is still to be written, what was read, and which
//! calls it owes an answer.
//!
//! Everything that waits to be written goes out in one write, and everything that can be read
//! comes in with one read and is handed out together.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use crate::base::{CallId, Question};
use crate::config::WireSettings;
use crate::wire::{Broken, Correlator, Decoder, Encoder, Received, Refused, Share};

/// Room for the next read; what a pipe holds at most comes in one.
const READ_ROOM: usize = 64 << 10;
/// With less room than this left, a new buffer is taken.
const READ_ROOM_LEAST: usize = 4 << 10;
/// With more than this to be written, what is not a call waits no longer: it is refused.
const BACKLOG_MOST: usize = 1 << 20;
/// Most bytes of what a worker said that the log shows.
const SHOWN_MOST: usize = 200;
/// A buffer that held a message above this is not kept for the next: many workers that were each
/// asked something large once would hold that memory for ever.
const KEPT_ROOM: usize = 256 << 10;

/// The pipes of one worker.
#[derive(Debug)]
pub struct Pipes {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    encoder: Encoder,
    decoder: Decoder,
    correlator: Correlator<CallId>,
    outgoing: BytesMut,
    /// Whether `outgoing` has grown above what is kept.
    is_outgoing_large: bool,
    incoming: BytesMut,
    /// Bytes that were ever put into `outgoing`, and that ever left it.
    asked: u64,
    written: u64,
    /// Where in that count the newest calls begin; of as many as are open, and of all those that
    /// are open and were not read.
    begins: VecDeque<(CallId, u64)>,
    dropped: Dropped,
}

/// Messages of a worker that are no answers to calls, since they were last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// It said something that asks for nothing.
    pub notifications: u64,
    /// It asked something, and was told that there is no such method.
    pub questions: u64,
    /// It answered a call that was cancelled.
    pub late: u64,
}

/// An answer that found its call; not yet judged.
#[derive(Debug)]
pub struct Heard {
    /// Whose it is.
    pub call: CallId,
    /// What the worker said.
    pub answer: Bytes,
    /// What it had been asked.
    pub question: Bytes,
    /// The answer itself showed whose it is.
    pub proven: bool,
    /// How much of the answer it is.
    pub share: Share,
}

/// The worker broke the agreement and must be stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfStep {
    /// In which way.
    pub fault: Fault,
    /// What was wrong, in words that may be told to callers.
    pub detail: String,
    /// What it said, escaped and cut short, for the operator alone.
    pub said: Option<String>,
}

/// In which way a worker broke the agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It said something while nothing was asked.
    Unasked,
    /// What it said belongs to no call, or is no message.
    Mismatch,
    /// A message was longer than `message_max`.
    TooBig,
}

/// What an idle worker was found doing.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing, as agreed.
    Kept,
    /// It said this while nothing was asked.
    Broken(Bytes),
    /// It has closed its output.
    Closed,
}

impl Pipes {
    /// Takes over the streams of a process just started.
    pub fn new(
        stdin: AsyncFd<OwnedFd>,
        stdout: AsyncFd<OwnedFd>,
        wire: &WireSettings,
    ) -> io::Result<Self> {
        Ok(Self {
            stdin: pipe::Sender::from_owned_fd_unchecked(stdin.into_inner())?,
            // Unchecked, because it may be a pseudo-terminal.
            stdout: pipe::Receiver::from_owned_fd_unchecked(stdout.into_inner())?,
            encoder: Encoder::new(&wire.framing.send, wire.message_max),
            decoder: Decoder::new(&wire.framing.reply, wire.message_max),
            correlator: Correlator::new(wire),
            outgoing: BytesMut::new(),
            is_outgoing_large: false,
            incoming: BytesMut::new(),
            asked: 0,
            written: 0,
            begins: VecDeque::new(),
            dropped: Dropped::default(),
        })
    }

    /// Asks a question; it is written by the next [`Pipes::poll_flush`].
    pub fn ask(&mut self, call: CallId, question: &Question) -> Result<(), Refused> {
        let before = self.outgoing.len();
        self.correlator.ask(call, question, &self.encoder, &mut self.outgoing)?;
        self.is_outgoing_large |= self.outgoing.len() > KEPT_ROOM;
        self.begins.push_back((call, self.asked));
        // What was answered was read, and so was all that came before it: of the newest calls,
        // no more than those that are open can be unread.
        while self.begins.len() > self.correlator.len() {
            self.begins.pop_front();
        }
        self.asked += (self.outgoing.len() - before) as u64;
        Ok(())
    }

    /// Says something that is not answered.
    pub fn say(&mut self, said: &Question) -> Result<(), Refused> {
        let before = self.outgoing.len();
        self.encoder.encode(b"", &said.text, said.nonce.as_deref(), &mut self.outgoing)?;
        self.asked += (self.outgoing.len() - before) as u64;
        Ok(())
    }

    /// Says something that is not answered, unless it does not even read what was said before.
    pub fn tell(&mut self, said: &Question) -> Result<bool, Refused> {
        let has_room = self.outgoing.len() < BACKLOG_MOST;
        if has_room {
            self.say(said)?;
        }
        Ok(has_room)
    }

    /// Tells it in these words that a call is not waited for any more, `{id}` being the call's.
    /// It owes no answer to it then. Says whether the call was its own and it was told: to one
    /// that does not read, questions of callers who leave would else pile up without end.
    pub fn cancel(&mut self, call: CallId, words: &str) -> bool {
        if self.outgoing.len() >= BACKLOG_MOST {
            return false;
        }
        let Some(id) = self.correlator.cancel(&call) else { return false };
        self.begins.retain(|(begun, _)| *begun != call);
        // Refused by the framing are only words that break it, which is the operator's own
        // concern.
        self.say(&Question::plain(words.replace("{id}", &id.to_string()))).ok();
        true
    }

    /// What it said beside answers since this was last asked.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// Does it owe no answer?
    pub fn is_idle(&self) -> bool {
        self.correlator.is_empty()
    }

    /// Of how many of its newest calls nothing was written yet.
    pub fn unwritten(&self) -> usize {
        self.begins_from(self.written)
    }

    /// Of how many of its newest calls it read nothing; true only once it has gone, with all
    /// who may have shared its stdin.
    pub fn unread(&self) -> usize {
        // A pipe tells at either end what stands in it, and keeps that while one end is open.
        let left = rustix::io::ioctl_fionread(&self.stdin).unwrap_or(0);
        self.begins_from(self.written.saturating_sub(left))
    }

    fn begins_from(&self, place: u64) -> usize {
        self.begins.iter().rev().take_while(|(_, begin)| *begin >= place).count()
    }

    /// Looks, with a system call, whether an idle worker has said anything. Must be asked right
    /// before its next question, or what it said would pass for the answer. One that may speak
    /// unasked is not looked at.
    pub fn silence(&mut self) -> Silence {
        if self.correlator.may_speak() {
            return Silence::Kept;
        }
        if !self.incoming.is_empty() {
            return Silence::Broken(self.incoming.split().freeze());
        }
        let mut bytes = [0; 512];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.stdout, &mut bytes)) {
            Ok(0) => Silence::Closed,
            Ok(count) => Silence::Broken(Bytes::copy_from_slice(&bytes[..count])),
            Err(rustix::io::Errno::WOULDBLOCK) => Silence::Kept,
            Err(_) => Silence::Closed,
        }
    }

    /// Writes what waits to be written; ready when nothing does.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let stdin = Pin::new(&mut self.stdin);
            let count = ready!(stdin.poll_write(context, &self.outgoing))?;
            self.outgoing.advance(count);
            self.written += count as u64;
        }
        if std::mem::take(&mut self.is_outgoing_large) {
            self.outgoing = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; ready with 0 at the end of the worker's output.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.capacity() - self.incoming.len() < READ_ROOM_LEAST {
            self.incoming.reserve(READ_ROOM);
        }
        let stdout = Pin::new(&mut self.stdout);
        tokio_util::io::poll_read_buf(stdout, context, &mut self.incoming)
    }

    /// Reads once what there is, with a system call, whatever the runtime knows; for a worker
    /// that has ended. Says how much it was.
    pub fn read_now(&mut self) -> usize {
        let mut bytes = vec![0; READ_ROOM];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.stdout, &mut bytes[..]));
        let count = read.unwrap_or(0);
        self.incoming.extend_from_slice(&bytes[..count]);
        count
    }

    /// At least as much as what it wrote that was not read yet.
    pub fn left_to_read(&self) -> usize {
        // Of a pseudo-terminal the kernel does not tell all, but it holds less than one read.
        let told = rustix::io::ioctl_fionread(&self.stdout).unwrap_or(0);
        usize::try_from(told).unwrap_or(usize::MAX).max(READ_ROOM)
    }

    /// Cuts what was read into answers and finds their calls.
    ///
    /// # Errors
    ///
    /// [`OutOfStep`], after the answers before it were put into `heard`.
    pub fn hear(&mut self, heard: &mut Vec<Heard>) -> Result<(), OutOfStep> {
        while !self.incoming.is_empty() {
            let nonce = self.correlator.oldest_nonce();
            let Some(message) = self.decoder.next(&mut self.incoming, nonce)? else { break };
            if message.len() > KEPT_ROOM {
                self.incoming = BytesMut::from(&self.incoming[..]);
            }
            if self.correlator.is_empty() && !self.correlator.may_speak() {
                return Err(OutOfStep::unasked(&message));
            }
            let said = message.clone();
            match self.correlator.received(message) {
                Received::Answer { token, text, question, proven, share } => {
                    heard.push(Heard { call: token, answer: text, question, proven, share });
                }
                Received::Notification => {
                    self.dropped.notifications += 1;
                    tracing::debug!(said = shown(&said), "a worker's notification was dropped");
                }
                Received::WorkerAsks { reply } => {
                    self.dropped.questions += 1;
                    // Our own "method not found" is short; a framing that refuses it is no loss,
                    // nor is it to one that asks and asks and does not read.
                    self.tell(&Question::plain(reply)).ok();
                }
                Received::Late => {
                    self.dropped.late += 1;
                    tracing::debug!("the answer to a cancelled call was dropped");
                }
                Received::Mismatch(detail) => {
                    let said = Some(shown(&said));
                    return Err(OutOfStep { fault: Fault::Mismatch, detail, said });
                }
            }
        }
        // With `json-id` a notification may be half read while nothing is asked.
        if !self.incoming.is_empty() && self.correlator.is_empty() && !self.correlator.may_speak() {
            return Err(OutOfStep::unasked(&self.incoming));
        }
        Ok(())
    }

    /// What was read and not yet cut, for those who look for a banner.
    pub fn received(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }
}

impl OutOfStep {
    /// It said this while nothing was asked.
    pub fn unasked(said: &[u8]) -> Self {
        let detail = "it wrote something while nothing was asked".to_owned();
        Self { fault: Fault::Unasked, detail, said: Some(shown(said)) }
    }
}

impl From<Broken> for OutOfStep {
    fn from(broken: Broken) -> Self {
        let fault = match broken {
            Broken::TooBig { .. } => Fault::TooBig,
            Broken::Malformed { .. } => Fault::Mismatch,
        };
        Self { fault, detail: broken.to_string(), said: broken.found().map(str::to_owned) }
    }
}

/// Bytes as the log shows them.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_MOST)];
    let more = if cut.len() < bytes.len() { " ..." } else { "" };
    format!("\"{}\"{more}", cut.escape_ascii())
}
