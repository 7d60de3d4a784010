//! The pipes of one running worker: bytes to be written, bytes that were read, and the calls to
//! which it owes an answer.
//!
//! One write sends all that waits to be written. One read takes all that can be read, and its
//! answers are handed out together.

#[cfg(test)]
pub(crate) mod fixture;
mod found;
mod packets;
mod progress;
mod reading;
mod words;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

pub use self::found::{Dropped, Heard, LargeMessage, Silence};
pub use super::fault::{Fault, OutOfStep, shown};
use super::input::Input;
use super::listener::{FoundBy, StrayReason, WireListener};
use super::mark::Mark;
use super::wide::{USUAL, Width};
use crate::base::{CallId, Progress, Question};
use crate::config::{Framing, WireSettings};
use crate::sync::bulk::LARGE;
use crate::wire::{Correlator, Decoder, Encoder, Outgoing, ReadMessage, Received, Refused, Share};
use packets::Packets;

/// Room for the next read: a pipe holds this much by default.
const READ_ROOM: usize = USUAL;
/// A buffer with less room than this is replaced before a read.
const READ_ROOM_LEAST: usize = 4 << 10;
/// With this much waiting to be written, messages that are not calls are refused.
const BACKLOG_MOST: usize = 1 << 20;
/// A buffer that held a longer message is released, so that no worker keeps that memory for ever.
const KEPT_ROOM: usize = 256 << 10;

/// Where the ids of one worker begin, drawn at random: nobody can guess those of others. They fit
/// into 31 bits for a billion calls, as several protocols ask.
const IDS_BEGIN: Range<u64> = 1 << 16..1 << 30;

/// The pipes of one worker.
#[derive(Debug)]
pub struct Pipes {
    input: Input,
    stdout: pipe::Receiver,
    /// Of `stdout`. It stays as it is where the worker must not be far ahead of who reads its answers.
    width: Width,
    encoder: Encoder,
    decoder: Decoder,
    correlator: Correlator<CallId>,
    /// Whatever is read is a part of an answer that ends with its turn.
    passes_on: bool,
    packets: Option<Packets>,
    outgoing: Outgoing,
    /// `outgoing` has grown beyond [`KEPT_ROOM`].
    is_outgoing_large: bool,
    incoming: BytesMut,
    /// The length of the last large message that was read.
    last_large: usize,
    mark: Mark,
    /// All bytes that were put into `outgoing` so far.
    asked: u64,
    /// All bytes that were written to the worker so far.
    written: u64,
    /// All bytes that were read from it while it served.
    read: u64,
    /// The newest calls, oldest first, each with the count in `asked` at which its question begins.
    /// It holds at most as many calls as are open, and every open call that the worker has not
    /// read.
    begins: VecDeque<(CallId, u64)>,
    dropped: Dropped,
    /// Calls that were given up and have had their answer, since the last [`Pipes::take_ended`].
    ended: Vec<CallId>,
    /// How far calls are, the latest that was said of each, since the last [`Pipes::take_progress`].
    progress: Vec<(CallId, Progress)>,
    /// How the calls of its answers are found.
    found_by: FoundBy,
    /// Hears what goes through, if anybody wants to know.
    listener: Option<Rc<dyn WireListener>>,
}

impl Pipes {
    /// Takes over the streams of a process that was just started.
    pub fn new(
        stdin: AsyncFd<OwnedFd>,
        stdout: AsyncFd<OwnedFd>,
        wire: &WireSettings,
    ) -> io::Result<Self> {
        Ok(Self {
            input: Input::new(stdin, wire.ends_with_answer(), Width::default())?,
            packets: wire.takes_back.then(Packets::default),
            // Not checked to be a pipe, because it may be a pseudo-terminal.
            stdout: pipe::Receiver::from_owned_fd_unchecked(stdout.into_inner())?,
            width: if wire.stream.is_some() { Width::Fixed } else { Width::default() },
            encoder: Encoder::new(&wire.framing.send, wire.message_max),
            decoder: Decoder::new(&wire.framing.reply, wire.written_max),
            correlator: Correlator::new(wire).counting_from(fastrand::u64(IDS_BEGIN)),
            passes_on: wire.framing.reply == Framing::Turn && wire.stream.is_some(),
            // Packets are found again by what they begin with.
            outgoing: if wire.takes_back { Outgoing::in_one_place() } else { Outgoing::default() },
            is_outgoing_large: false,
            incoming: BytesMut::new(),
            last_large: 0,
            mark: Mark::of(&wire.framing.reply),
            asked: 0,
            written: 0,
            read: 0,
            begins: VecDeque::new(),
            dropped: Dropped::default(),
            ended: Vec::new(),
            progress: Vec::new(),
            found_by: FoundBy::of(wire),
            listener: None,
        })
    }

    /// Queues the question of a call; the next [`Pipes::poll_flush`] writes it.
    pub fn ask(&mut self, call: CallId, question: &Question) -> Result<(), Refused> {
        let before = self.outgoing.len();
        self.correlator.ask(call, question, &self.encoder, &mut self.outgoing)?;
        if self.outgoing.len() > USUAL {
            self.is_outgoing_large |= self.outgoing.len() > KEPT_ROOM;
            self.input.widen();
        }
        self.note_queued(before);
        self.begins.push_back((call, self.asked));
        // A worker that answered a call has read all questions up to it.
        while self.begins.len() > self.correlator.len() {
            self.begins.pop_front();
        }
        self.asked += (self.outgoing.len() - before) as u64;
        Ok(())
    }

    /// Returns the calls that were given up and whose answers have come since the last call of this
    /// function.
    pub fn take_ended(&mut self) -> Vec<CallId> {
        std::mem::take(&mut self.ended)
    }

    /// Returns what was counted since the last call of this function; `None`: nothing was.
    pub fn take_dropped(&mut self) -> Option<Dropped> {
        self.dropped.is_any().then(|| std::mem::take(&mut self.dropped))
    }

    /// Returns true if the worker owes no answer.
    pub fn is_idle(&self) -> bool {
        self.correlator.is_empty()
    }

    /// Looks, with a system call, whether an idle worker has written anything. Must be called right
    /// before its next question, or what it wrote would be taken for the answer. Does not look if
    /// the protocol lets the worker write unasked.
    pub fn silence(&mut self) -> Silence {
        if self.correlator.may_speak() {
            return Silence::Kept;
        }
        if self.ends_with_answer() {
            // Whatever it writes, also before its question, is its answer.
            return if self.is_stdin_closed() { Silence::Closed } else { Silence::Kept };
        }
        if !self.incoming.is_empty() {
            return Silence::Broken(self.incoming.split().freeze());
        }
        let mut bytes = [MaybeUninit::<u8>::uninit(); 512];
        let read = rustix::io::retry_on_intr(|| {
            let (read, _) = rustix::io::read(&self.stdout, &mut bytes)?;
            Ok((!read.is_empty()).then(|| Bytes::copy_from_slice(read)))
        });
        match read {
            Ok(Some(read)) => {
                if let Some(listener) = &self.listener {
                    listener.read(&read);
                }
                Silence::Broken(read)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Silence::Kept,
            Ok(None) | Err(_) => Silence::Closed,
        }
    }

    /// Writes what waits to be written. Ready when nothing is left.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let next = self.next_write()?;
            let written = match self.outgoing.whole() {
                Some(whole) => self.input.poll_write(context, &whole[..next]),
                None => self.input.poll_write_pieces(context, self.outgoing.pieces()),
            };
            match ready!(written) {
                Ok(count) => {
                    self.tell_written(count);
                    self.outgoing.advance(count);
                    self.note_written(next - count);
                    self.written += count as u64;
                }
                // A program need not read all of its question to answer it.
                Err(_) if self.ends_with_answer() => self.outgoing.clear(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.ends_with_answer() && !self.is_idle() {
            self.input.end();
        }
        if std::mem::take(&mut self.is_outgoing_large) {
            self.outgoing.release();
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the listener what of `outgoing` was written.
    #[inline]
    fn tell_written(&self, count: usize) {
        let Some(listener) = &self.listener else { return };
        let written = self.written..self.written + count as u64;
        let begins = |(_, begin): &&(CallId, u64)| written.contains(begin);
        let call = self.begins.iter().find(begins).map(|(call, _)| *call);
        match self.outgoing.whole() {
            Some(whole) => listener.wrote(&whole[..count], call),
            // Who looks is to see what stands before a large question together with it.
            None => listener.wrote(&self.outgoing.first(count), call),
        }
    }

    /// Reads once. Ready with 0 at the end of the worker's output.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.capacity() - self.incoming.len() < READ_ROOM_LEAST {
            self.make_room();
        }
        let stdout = Pin::new(&mut self.stdout);
        let read = tokio_util::io::poll_read_buf(stdout, context, &mut self.incoming);
        if let Poll::Ready(Ok(count)) = read {
            self.read += count as u64;
            self.tell_read(count);
        }
        read
    }

    /// Sets who hears what goes through the pipes; `None`: nobody.
    pub fn listen(&mut self, listener: Option<Rc<dyn WireListener>>) {
        self.listener = listener;
    }

    /// Tells the listener what was read last.
    fn tell_read(&self, count: usize) {
        if let Some(listener) = &self.listener
            && count > 0
        {
            listener.read(&self.incoming[self.incoming.len() - count..]);
        }
    }

    /// Returns the fault of a worker that wrote this while nothing was asked, and tells who listens.
    pub fn unasked(&self, said: &[u8]) -> OutOfStep {
        self.tell_stray(said, StrayReason::Unasked);
        OutOfStep::unasked(said)
    }

    /// Tells the listener that this answers no call.
    pub fn tell_stray(&self, message: &[u8], why: StrayReason) {
        if let Some(listener) = &self.listener {
            listener.stray(message, why);
        }
    }

    /// Cuts what was read into answers, finds their calls, and appends them to `heard`. Stops at a
    /// large message all of which must be read to know its call, and returns it: once it is read,
    /// [`Pipes::hear_read`] goes on.
    ///
    /// # Errors
    ///
    /// [`OutOfStep`] if the worker broke the protocol. The answers before that are in `heard`.
    pub fn hear(&mut self, heard: &mut Vec<Heard>) -> Result<Option<LargeMessage>, OutOfStep> {
        self.mark.drop_from(&mut self.incoming);
        while !self.incoming.is_empty() {
            let nonce = self.correlator.oldest_nonce();
            let Some(message) = self.decoder.next(&mut self.incoming, nonce)? else { break };
            if message.len() > KEPT_ROOM {
                self.let_go(message.len());
            }
            if self.correlator.is_empty() && !self.correlator.may_speak() {
                return Err(self.unasked(&message));
            }
            if message.len() > LARGE
                && let Some(reader) = self.correlator.reader()
            {
                return Ok(Some(LargeMessage { message, reader }));
            }
            let said = message.clone();
            let received = self.correlator.received(message);
            self.take_in(received, &said, heard)?;
        }
        self.refuse();
        // With `json-id`, which may speak unasked, this can be the first half of a notification.
        if !self.incoming.is_empty() && self.correlator.is_empty() && !self.correlator.may_speak() {
            return Err(self.unasked(&self.incoming));
        }
        Ok(None)
    }

    /// Finds the call of a large message that was read.
    ///
    /// # Errors
    ///
    /// As [`Pipes::hear`] has them.
    pub fn hear_read(
        &mut self,
        read: ReadMessage,
        heard: &mut Vec<Heard>,
    ) -> Result<(), OutOfStep> {
        let said = read.message().clone();
        let received = self.correlator.received_read(read);
        self.take_in(received, &said, heard)
    }

    /// Deals with a message: with an answer, by appending it to `heard`.
    fn take_in(
        &mut self,
        received: Received<CallId>,
        said: &Bytes,
        heard: &mut Vec<Heard>,
    ) -> Result<(), OutOfStep> {
        if let Some(listener) = &self.listener {
            match &received {
                Received::Answer { token, .. } | Received::Aside { token, .. } => {
                    listener.cut(said, *token, self.found_by);
                }
                Received::Notification
                | Received::WorkerAsks { .. }
                | Received::Progress { .. } => {
                    listener.stray(said, StrayReason::Aside);
                }
                Received::Late { .. } => listener.stray(said, StrayReason::Late),
                Received::Stray(_) | Received::Mismatch(_) => {
                    listener.stray(said, StrayReason::Mismatch);
                }
            }
        }
        match received {
            Received::Answer { token, text, question, proven, share } => {
                heard.push(Heard { call: token, answer: text, question, proven, share });
            }
            Received::Aside { token, text } => {
                let (question, share) = (Bytes::new(), Share::Aside);
                heard.push(Heard { call: token, answer: text, question, proven: true, share });
            }
            Received::Progress { token, progress } => self.note_progress(token, progress),
            Received::Notification => {
                self.dropped.notifications += 1;
                tracing::debug!(said = shown(said), "dropped a notification of a worker");
            }
            Received::WorkerAsks { reply } => {
                self.dropped.questions += 1;
                // It does no harm if the reply is lost, because the framing refuses it or
                // because the worker asks without reading.
                self.tell(&Question::plain(reply)).ok();
            }
            Received::Late { ended } => {
                self.dropped.late += 1;
                self.ended.extend(ended);
                tracing::debug!("dropped the answer to a call that nobody waits for");
            }
            Received::Stray(reason) => {
                self.dropped.strays += 1;
                self.dropped.stray.get_or_insert_with(|| (shown(said), reason));
            }
            Received::Mismatch(detail) => {
                let said = Some(shown(said));
                return Err(OutOfStep { fault: Fault::Mismatch, detail, said });
            }
        }
        Ok(())
    }

    /// Cuts the next whole message off what was read, for a worker that takes turns. Messages that
    /// only say how far the call is are noted.
    pub fn cut(&mut self) -> Result<Option<Bytes>, OutOfStep> {
        self.mark.drop_from(&mut self.incoming);
        if self.passes_on {
            return Ok(Some(self.take_rest()).filter(|part| !part.is_empty()));
        }
        loop {
            let nonce = self.correlator.oldest_nonce();
            let Some(message) = self.decoder.next(&mut self.incoming, nonce)? else {
                return Ok(None);
            };
            if message.len() > KEPT_ROOM {
                self.let_go(message.len());
            }
            let Some(told) = self.correlator.told_of_oldest(&message) else {
                return Ok(Some(message));
            };
            self.take_in(told, &message, &mut Vec::new())?;
        }
    }

    /// Pairs a message with the call of the turn that it was written in, which proves the pairing.
    pub fn pair(&mut self, message: Bytes) -> Result<Heard, OutOfStep> {
        let said = message.clone();
        match self.correlator.received(message) {
            Received::Answer { token, text, question, share, .. } => {
                if let Some(listener) = &self.listener {
                    listener.cut(&said, token, self.found_by);
                }
                Ok(Heard { call: token, answer: text, question, proven: true, share })
            }
            Received::Mismatch(detail) => {
                self.tell_stray(&said, StrayReason::Mismatch);
                Err(OutOfStep { fault: Fault::Mismatch, detail, said: Some(shown(&said)) })
            }
            Received::Aside { .. }
            | Received::Notification
            | Received::WorkerAsks { .. }
            | Received::Late { .. }
            | Received::Progress { .. }
            | Received::Stray(_) => {
                unreachable!("a worker that takes turns has none of these")
            }
        }
    }

    /// Removes the call whose turn is over, if no answer has removed it.
    pub fn close_turn(&mut self) {
        self.correlator.forget_oldest();
    }

    /// Takes what was read and is no whole message.
    pub fn take_rest(&mut self) -> Bytes {
        self.mark.drop_from(&mut self.incoming);
        self.decoder.reset();
        self.incoming.split().freeze()
    }

    /// Returns true if everything was written to the worker, and it has read it.
    pub fn is_read(&self) -> bool {
        self.is_flushed() && self.input.left() == 0
    }

    /// Returns true if no process has the other end of the worker's stdin.
    pub fn is_stdin_closed(&self) -> bool {
        self.input.has_no_reader()
    }

    /// Returns true if nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Our ends of the pipes that its questions and its answers go through.
    pub fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.input.pipe(), self.stdout.as_fd()]
    }

    /// Returns true if the program gets one question, and ends with its answer.
    pub fn ends_with_answer(&self) -> bool {
        self.input.ends
    }

    /// Ends the input of a program that was killed, to find out whether it has read its question.
    pub fn close_input(&mut self) {
        self.input.end();
        self.input.drain();
    }

    /// Returns what was read and not yet cut into messages. A banner is searched here.
    pub fn received(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }
}

#[cfg(test)]
mod tests;
