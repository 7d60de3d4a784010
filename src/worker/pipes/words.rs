//! What goes to a worker without its task: messages that it does not answer (notifications, cancelled
//! calls, what callers say to its questions), and a question that is alone.

use std::ops::Range;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{BACKLOG_MOST, Pipes};
use crate::base::{CallId, Question};
use crate::wire::Refused;

impl Pipes {
    /// Writes what waits to be written, as far as the kernel takes it now. Returns true if nothing is
    /// left that [`Pipes::poll_flush`] must do.
    pub fn send_now(&mut self) -> bool {
        let nobody = &mut Context::from_waker(Waker::noop());
        !self.ends_with_answer() && matches!(self.poll_flush(nobody), Poll::Ready(Ok(())))
    }

    /// Queues a message that is not answered.
    pub fn say(&mut self, said: &Question) -> Result<(), Refused> {
        let before = self.outgoing.len();
        self.encoder.put(b"", &said.text, said.nonce.as_deref(), &mut self.outgoing)?;
        self.note_queued(before);
        self.asked += (self.outgoing.len() - before) as u64;
        Ok(())
    }

    /// Queues a message that is not answered. Returns false, and queues nothing, if the worker does
    /// not read what was written before.
    pub fn tell(&mut self, said: &Question) -> Result<bool, Refused> {
        let has_room = self.outgoing.len() < BACKLOG_MOST;
        if has_room {
            self.say(said)?;
        }
        Ok(has_room)
    }

    /// Tells the worker that a call is cancelled, in `words`, which are made of the id of the call.
    /// Afterwards the worker owes no answer to it.
    ///
    /// Returns false if the worker does not hold the call, or does not read what was written
    /// before: then these messages would pile up without limit.
    pub fn cancel(&mut self, call: CallId, words: impl FnOnce(u64) -> Bytes) -> bool {
        if self.outgoing.len() >= BACKLOG_MOST {
            return false;
        }
        let Some(id) = self.correlator.cancel(&call) else { return false };
        self.begins.retain(|(begun, _)| *begun != call);
        // The framing refuses only words that would break it. Then the worker is not told.
        self.say(&Question::plain(words(id))).ok();
        self.refuse();
        true
    }

    /// Notes that the caller of a call is told nothing from now on, except the answer.
    pub fn stop_listening(&mut self, call: CallId) {
        self.correlator.stop_listening(&call);
        self.refuse();
    }

    /// Passes on what a caller says to a question of the worker, whose name is at this place.
    /// Returns `None` if the worker has asked no such question; else as [`Pipes::tell`] does.
    pub fn say_to_question(
        &mut self,
        said: &Bytes,
        place: &Range<usize>,
        is_answer: bool,
    ) -> Option<Result<bool, Refused>> {
        let name = &said[place.clone()];
        if self.outgoing.len() >= BACKLOG_MOST {
            return self.correlator.has_asked(name).then_some(Ok(false));
        }
        let own = if is_answer {
            self.correlator.answer_of_caller(name)
        } else {
            self.correlator.progress_of_caller(name)
        };
        let text = [&said[..place.start], &own?, &said[place.end..]].concat();
        Some(self.tell(&Question::plain(text)))
    }

    /// Answers the questions of the worker that nobody else will answer, so that it waits for none.
    pub(super) fn refuse(&mut self) {
        if !self.correlator.has_refusals() {
            return;
        }
        for reply in self.correlator.take_refusals() {
            // It does no harm if this is lost, because the worker asks without reading.
            self.tell(&Question::plain(reply)).ok();
        }
    }

    /// Tells the worker that nobody waits for a call, in `words`, where `{id}` stands for its tag.
    /// The worker still owes an answer. Returns false if nothing was written: the worker does not
    /// hold the call, or does not read.
    pub fn tell_cancelled(&mut self, call: CallId, words: &str) -> bool {
        let Some(tag) = self.correlator.tag_of(&call) else { return false };
        self.tell(&Question::plain(words.replace("{id}", &tag.to_string()))).unwrap_or(false)
    }

    /// Gives a call up: its answer is dropped when it comes. Until then the worker owes it. It is
    /// told so in `words`, where `{id}` stands for the id of the call, unless it does not read.
    pub fn give_up(&mut self, call: CallId, words: Option<&str>) {
        let Some(id) = self.correlator.give_up(&call) else { return };
        self.begins.retain(|(begun, _)| *begun != call);
        self.refuse();
        if let Some(words) = words {
            // It does no harm if this is lost: the worker works in vain.
            self.tell(&Question::plain(words.replace("{id}", &id.to_string()))).ok();
        }
    }
}
