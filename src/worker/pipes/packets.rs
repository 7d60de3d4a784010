//! What the worker has not read, and how it is taken back: questions that each are one packet in the
//! pipe, so that a worker reads one at a time.
//!
//! A question is a length of four bytes and as many bytes (`u32`). Each that fits into a page is
//! written by a write of its own. A longer one is written as a stream. While the worker may be reading
//! such a question, nothing is taken back: the rest of it must stay.

use std::io;

use bytes::Buf as _;

use super::Pipes;
use crate::base::CallId;
use crate::wire::QuestionSink as _;

/// The most bytes that are one packet.
const PACKET_MOST: usize = 4096;
/// The bytes of a length.
const LENGTH: usize = 4;
/// The name by which a worker is told that nobody waits for a call.
const CANCEL: &[u8] = b"x";

/// What is known of the packets in one pipe.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// What is written now are packets.
    are_on: bool,
    /// How many bytes of the first message in `outgoing` are still to be written; 0: all of it.
    unfinished: usize,
    /// The count in `asked` at which the last message ends that is no packet.
    long_until: u64,
}

impl Pipes {
    /// Notes a message that was put into `outgoing` behind its first `before` bytes.
    pub(super) fn note_queued(&mut self, before: usize) {
        let size = self.outgoing.len() - before;
        if let Some(packets) = &mut self.packets
            && size > PACKET_MOST
        {
            packets.long_until = self.asked + size as u64;
        }
    }

    /// Returns how many bytes of `outgoing` the next write may have.
    pub(super) fn next_write(&mut self) -> io::Result<usize> {
        let Some(packets) = &mut self.packets else { return Ok(self.outgoing.len()) };
        if packets.unfinished > 0 {
            return Ok(packets.unfinished);
        }
        let size = size_of_first(self.outgoing.whole().unwrap_or_default());
        let is_packet = size <= PACKET_MOST;
        if packets.are_on != is_packet {
            self.input.send_packets(is_packet)?;
            packets.are_on = is_packet;
        }
        Ok(size)
    }

    /// Notes how many bytes of a message are left after a write.
    pub(super) fn note_written(&mut self, unfinished: usize) {
        if let Some(packets) = &mut self.packets {
            packets.unfinished = unfinished;
        }
    }

    /// Returns how many of the newest calls have no byte written yet.
    pub fn unwritten(&self) -> usize {
        self.begins_from(self.written)
    }

    /// Returns how many of the newest calls the worker has read no byte of, and will read none of.
    /// As long as any process has the other end of its stdin, that is certain only for those with no
    /// byte written.
    pub fn unread(&self) -> usize {
        if let Some(left) = self.input.left_at_end() {
            return usize::from(!self.is_idle() && self.asked > 0 && left == self.written);
        }
        if !self.is_stdin_closed() {
            return self.unwritten();
        }
        self.begins_from(self.written.saturating_sub(self.input.left()))
    }

    fn begins_from(&self, place: u64) -> usize {
        self.begins.iter().rev().take_while(|(_, begin)| *begin >= place).count()
    }

    /// Returns how much of a question of this length the worker has not read.
    pub fn unread_of(&self, call: CallId, length: usize) -> u64 {
        let Some((_, begin)) = self.begins.iter().find(|(id, _)| *id == call) else { return 0 };
        let read = self.written.saturating_sub(self.input.in_pipe());
        (begin + length as u64).saturating_sub(read).min(length as u64)
    }

    /// Returns how many bytes were read from the worker while it served.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Returns how many bytes of questions the worker has not read.
    pub fn unread_bytes(&self) -> u64 {
        self.outgoing.len() as u64 + self.input.in_pipe()
    }

    /// Returns how many bytes the worker has written that are no whole message.
    pub fn half_said_bytes(&self) -> u64 {
        self.incoming.len() as u64
    }

    /// Returns true if a part of a message was read.
    pub fn has_part(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// Returns true if the worker has written something that was not read yet.
    pub fn has_output(&self) -> bool {
        rustix::io::ioctl_fionread(&self.stdout).is_ok_and(|left| left > 0)
    }

    /// Takes back the calls that the worker has not read, unless it may be reading a long question.
    /// It keeps the first of its calls in any case. Returns the others, oldest first. The worker
    /// knows nothing of them, and owes no answer.
    pub fn take_back(&mut self) -> Vec<CallId> {
        let Some(packets) = &self.packets else { return Vec::new() };
        if self.written - self.input.left() < packets.long_until {
            return Vec::new();
        }
        let mut unread = self.input.take_unread();
        self.written -= unread.len() as u64;
        unread.extend_from_slice(self.outgoing.whole().unwrap_or_default());
        self.outgoing.clear();
        self.asked = self.written;
        let first = self.correlator.oldest().copied();
        let mut taken = Vec::new();
        let mut rest = &unread[..];
        while !rest.is_empty() {
            let (message, others) = rest.split_at(size_of_first(rest));
            rest = others;
            match self.called_by(message) {
                Some(call) if Some(call) != first => {
                    self.correlator.take_back(&call);
                    taken.push(call);
                }
                // The first call, or what it must know of one that it has: nobody waits for that.
                _ => {
                    self.outgoing.joined().extend_from_slice(message);
                    self.asked += message.len() as u64;
                }
            }
        }
        self.begins.retain(|(call, _)| !taken.contains(call));
        taken
    }

    /// Returns the call whose question this message is; `None` for other messages, and for calls
    /// that were given up.
    fn called_by(&self, message: &[u8]) -> Option<CallId> {
        let mut words = message.get(LENGTH..)?.splitn(3, |byte| *byte == b' ');
        let tag = words.next()?;
        if words.next()? == CANCEL {
            return None;
        }
        self.correlator.awaited(tag).copied()
    }
}

/// Returns the size of the first message with its length, at most all there is.
fn size_of_first(messages: &[u8]) -> usize {
    let size = match messages.get(..LENGTH) {
        Some(mut length) => LENGTH + length.get_u32() as usize,
        None => messages.len(),
    };
    size.min(messages.len())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{PlayedProgram, flush};
    use super::*;
    use crate::base::Question;
    use crate::config::framing::Framings;
    use crate::config::{Framing, Matching, PoolSettings};

    /// The pipes of a worker, and its program.
    struct Worker {
        pipes: Pipes,
        program: PlayedProgram,
    }

    impl Worker {
        fn new() -> Self {
            let mut wire = PoolSettings::for_tests().program.wire;
            wire.framing = Framings { send: Framing::U32, reply: Framing::U32 };
            (wire.matching, wire.takes_back) = (Matching::Tag, true);
            (wire.message_max, wire.written_max) = (1 << 20, 1 << 20);
            let (pipes, program) = PlayedProgram::with_pipes(&wire);
            Self { pipes, program }
        }

        async fn is_asked(&mut self, calls: &[(u64, &str)]) {
            for (call, question) in calls {
                let question = Question::plain((*question).to_owned());
                self.pipes.ask(CallId(*call), &question).expect("short enough");
            }
            flush(&mut self.pipes).await;
        }

        /// Reads once, and returns what is behind the tag of the message or messages.
        fn reads(&self) -> String {
            let bytes = self.program.reads();
            let text = String::from_utf8_lossy(bytes.get(LENGTH..).unwrap_or_default());
            text.split_once(' ').map_or(String::new(), |(_, text)| text.to_owned())
        }

        fn gives_back(&mut self) -> Vec<u64> {
            self.pipes.take_back().iter().map(|call| call.0).collect()
        }
    }

    #[tokio::test]
    async fn a_worker_reads_one_question_at_a_time() {
        let mut worker = Worker::new();
        worker.is_asked(&[(1, "a {}"), (2, "b {}"), (3, "c {}")]).await;
        assert_eq!([worker.reads(), worker.reads()], ["a {}", "b {}"]);
        assert_eq!(worker.reads(), "c {}");
        assert_eq!(worker.reads(), "");
    }

    #[tokio::test]
    async fn what_a_worker_has_not_read_is_taken_back() {
        let mut worker = Worker::new();
        worker.is_asked(&[(1, "a {}"), (2, "b {}"), (3, "c {}")]).await;
        assert_eq!(worker.reads(), "a {}");
        assert_eq!(worker.gives_back(), [2, 3]);
        assert_eq!(worker.gives_back(), [0; 0]);
        worker.is_asked(&[(4, "d {}")]).await;
        assert_eq!((worker.reads().as_str(), worker.reads().as_str()), ("d {}", ""));
        assert_eq!(worker.pipes.correlator.len(), 2, "a and d are in it");
    }

    #[tokio::test]
    async fn a_worker_that_has_read_nothing_keeps_its_first_call() {
        let mut worker = Worker::new();
        worker.is_asked(&[(1, "a {}"), (2, "b {}")]).await;
        assert_eq!(worker.gives_back(), [2]);
        worker.is_asked(&[]).await;
        assert_eq!((worker.reads().as_str(), worker.reads().as_str()), ("a {}", ""));
    }

    #[tokio::test]
    async fn what_it_must_know_of_a_call_that_it_has_still_comes() {
        let mut worker = Worker::new();
        worker.is_asked(&[(1, "a {}")]).await;
        assert_eq!(worker.reads(), "a {}");
        worker.is_asked(&[(2, "b {}")]).await;
        assert!(worker.pipes.tell_cancelled(CallId(1), "{id} x {}"));
        worker.is_asked(&[]).await;
        assert_eq!(worker.gives_back(), [2]);
        worker.is_asked(&[]).await;
        assert_eq!((worker.reads().as_str(), worker.reads().as_str()), ("x {}", ""));
    }

    #[tokio::test]
    async fn nothing_is_taken_back_while_a_long_question_may_be_read() {
        let mut worker = Worker::new();
        let long = format!("long {}", "x".repeat(10_000));
        worker.is_asked(&[(1, &long), (2, "b {}")]).await;
        assert_eq!(worker.gives_back(), [0; 0]);
        assert!(worker.reads().starts_with("long xxx"));
        assert_eq!(worker.gives_back(), [0; 0], "b was read with the end of the other");
        worker.is_asked(&[(3, "c {}"), (4, "d {}")]).await;
        assert_eq!(worker.reads(), "c {}");
        assert_eq!(worker.gives_back(), [4]);
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_is_not_taken_back() {
        let mut worker = Worker::new();
        worker.is_asked(&[(1, "a {}"), (2, "b {}"), (3, "c {}")]).await;
        assert_eq!(worker.reads(), "a {}");
        worker.pipes.give_up(CallId(2), None);
        assert_eq!(worker.gives_back(), [3]);
        worker.is_asked(&[]).await;
        assert_eq!(worker.reads(), "b {}");
    }
}
