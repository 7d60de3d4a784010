//! What a worker says to a caller before its answer, and what callers say to that.
//!
//! The first such message is the outcome of the call for its caller, as the first part of an answer
//! is: from then on the call may not run twice. The answer itself is the last message. A caller
//! that does not keep up is told nothing more but the answer; it never holds the worker back.

use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::Pool;
use super::cancels::not_reading;
use super::entry::{Delivery, Entry, Payload, unsendable};
use super::links::Link;
use crate::base::{
    CallId, Failure, Outcome, PartForm, PartSender, Question, Reply, ReplyForm, answer_in_parts,
};
use crate::observe::metrics::Dropping;

/// Most bytes of messages that wait for one caller.
const WAITING_MOST: usize = 1 << 20;

impl Pool {
    /// Passes on what a worker says to the caller of this call before its answer.
    pub(super) fn pass_aside_on(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        call: CallId,
        text: Bytes,
    ) {
        if self.answers.come_in_parts {
            let part = Reply { body: text, form: ReplyForm::Json };
            return self.pass_on(now, link, call, Some(part));
        }
        if self.is_told(now, call, text) {
            return;
        }
        self.metrics.message_dropped(Dropping::Late, 1);
        if let Some(pipes) = link.pipes.borrow_mut().as_mut() {
            pipes.stop_listening(call);
        }
    }

    /// Returns false if the caller has left, or does not keep up.
    fn is_told(self: &Rc<Self>, now: Instant, call: CallId, text: Bytes) -> bool {
        let Some(timing) = self.state.borrow_mut().has_begun(now, call) else { return false };
        let state = self.state.borrow();
        let Some(entry) = state.payload(call) else { return false };
        let mut progress = entry.progress.borrow_mut();
        if matches!(&*progress, Delivery::Before) {
            let (sender, parts) = answer_in_parts(WAITING_MOST);
            self.watch_caller(call, &sender);
            *progress = Delivery::Open(sender);
            let form = ReplyForm::Parts(PartForm::Messages(own_id(entry)), parts);
            let result = Ok(Reply { body: Bytes::new(), form });
            entry.outbox.put(Outcome { result, timing });
        }
        matches!(&*progress, Delivery::Open(sender) if sender.has_room() && sender.push(text))
    }

    /// Watches for the caller leaving before the answer.
    fn watch_caller(self: &Rc<Self>, call: CallId, sender: &PartSender) {
        let (pool, gate) = (Rc::clone(self), sender.gate());
        self.lifecycle.stream_begins();
        self.services.tasks.spawn_local(async move {
            let has_left = poll_fn(|context| gate.poll_over(context)).await;
            pool.lifecycle.stream_ends();
            if has_left {
                pool.leave(call);
            }
        });
    }

    /// Tells the workers that hold a call that its caller answers no questions any longer.
    pub(super) fn stop_listening(&self, call: CallId) {
        let listens = |entry: &Payload| entry.question.listener.is_some();
        if !self.state.borrow().payload(call).is_some_and(listens) {
            return;
        }
        for link in self.links.all() {
            if let Some(pipes) = link.pipes.borrow_mut().as_mut() {
                pipes.stop_listening(call);
            }
            link.wake();
        }
    }

    /// Passes on what a caller says to the question of a worker whose name is at this place.
    ///
    /// # Errors
    ///
    /// `bad_request` for an answer to a question that no worker waits for.
    pub(super) fn say_to_question(
        &self,
        said: &Question,
        place: &Range<usize>,
        is_answer: bool,
    ) -> Result<(), Failure> {
        for link in self.links.all() {
            let mut pipes = link.pipes.borrow_mut();
            let said = pipes.as_mut().map(|it| it.say_to_question(&said.text, place, is_answer));
            match said.flatten() {
                None => {}
                Some(Ok(true)) => {
                    link.wake();
                    return Ok(());
                }
                Some(Ok(false)) => return Err(not_reading()),
                Some(Err(refused)) => return Err(unsendable(&refused)),
            }
        }
        if is_answer {
            let detail = "the message has no `method`, and its `id` names no question of the \
                program that waits for an answer";
            return Err(Failure::BadRequest { detail: detail.into() });
        }
        self.metrics.message_dropped(Dropping::Cancel, 1);
        Ok(())
    }
}

/// Returns the id by which the caller knows a call.
fn own_id(entry: &Entry) -> Bytes {
    entry.own_name.as_ref().map_or_else(|| Bytes::from_static(b"null"), |name| name.id.clone())
}
