//! Answers that come in parts, calls that are cancelled, and what is said without an answer.
//!
//! The first part is the outcome that the caller waits for; from then on the call may not run
//! twice, and what becomes of it is told through its parts. In the books it stays one call
//! until its last part came.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::attend::Link;
use super::{Pool, Ticket, driver};
use crate::base::{
    CallId, Failure, Outcome, PartForm, PartSender, Question, Reply, ReplyForm, answer_in_parts,
};
use crate::config::{ReplyShape, StreamEnd, WireSettings};
use crate::observe::metrics::Dropping;
use crate::wire::{Share, Verdict};
use crate::worker::pipes::{Dropped, Heard};

/// When it may help to say again what no worker could be told.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How far the answer of one call has come.
#[derive(Debug, Default)]
pub(super) enum Stream {
    /// No part was passed on.
    #[default]
    Before,
    /// Parts are passed on here.
    Open(PartSender),
    /// The answer failed at a part, and its caller knows; the rest is dropped.
    Failed(Failure),
    /// The caller has got another outcome; what comes is dropped.
    Unwanted,
}

/// What the parts of this pool's answers are.
pub(super) fn part_form(wire: &WireSettings) -> PartForm {
    let says_more = matches!(&wire.stream, Some(stream) if stream.end == StreamEnd::More);
    let becomes_json = match &wire.reply {
        ReplyShape::Json => true,
        ReplyShape::Pattern(pattern) => pattern.has_fields(),
        ReplyShape::Plain | ReplyShape::Http => false,
    };
    if says_more || becomes_json { PartForm::Json } else { PartForm::Plain }
}

impl Pool {
    /// Passes one part of an answer on. Says why where it is in doubt whose it is.
    pub(super) fn take_part(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        heard: Heard,
    ) -> Option<String> {
        let Heard { call, answer, question, proven, share } = heard;
        let verdict = match share {
            Share::End => None,
            _ => Some(self.judge.judge(&question, answer, proven)),
        };
        let mut is_good = true;
        match verdict {
            None => self.pass_on(now, link, call, None),
            Some(Verdict::Good(reply)) => self.pass_on(now, link, call, Some(reply)),
            Some(Verdict::ProgramError(failure)) => self.fail_part(now, call, &failure),
            Some(Verdict::Unfit { detail }) => {
                is_good = false;
                self.fail_part(now, call, &Failure::BadAnswer { detail: detail.into() });
            }
            Some(Verdict::Doubtful { detail }) => return Some(detail),
        }
        if share.is_last() {
            let ended = self.state.borrow_mut().answered(now, link.worker, call, is_good);
            if let Some(ended) = ended {
                self.finish(ended, Ok(Reply { body: Bytes::new(), form: ReplyForm::Plain }));
            }
        }
        None
    }

    /// Gives a part to the caller, who gets his outcome with the first. `None`: the answer ends
    /// here, perhaps without any part.
    fn pass_on(self: &Rc<Self>, now: Instant, link: &Link, call: CallId, part: Option<Reply>) {
        let begun = self.state.borrow_mut().has_begun(now, call);
        let state = self.state.borrow();
        let Some(ticket) = state.payload(call) else { return self.drop_part() };
        let mut stream = ticket.stream.borrow_mut();
        if let (Stream::Before, Some(timing)) = (&*stream, begun) {
            let (sender, parts) = answer_in_parts(self.part_limit);
            link.held_back_by(sender.gate());
            self.watch(now, call, timing.work, &sender);
            *stream = Stream::Open(sender);
            let reply = Reply { body: Bytes::new(), form: ReplyForm::Parts(self.part_form, parts) };
            ticket.slot.put(Outcome { result: Ok(reply), timing });
        }
        let Some(part) = part else { return };
        let is_wanted = matches!(&*stream, Stream::Open(sender) if sender.push(part.body));
        if !is_wanted {
            self.drop_part();
        }
    }

    fn drop_part(&self) {
        self.metrics.message_dropped(Dropping::Late, 1);
    }

    /// The answer fails here. The rest of it is nobody's.
    fn fail_part(self: &Rc<Self>, now: Instant, call: CallId, failure: &Failure) {
        self.break_off(now, call, failure, Stream::Failed(failure.clone()));
        // Of a call that a worker holds nothing comes back.
        let left = self.state.borrow_mut().caller_left(now, call);
        debug_assert!(left.is_none(), "an answer comes from a worker that holds the call");
        self.cancel(now, call);
    }

    /// Tells the caller of a call still in the books how it ended for him.
    pub(super) fn break_off(&self, now: Instant, call: CallId, failure: &Failure, then: Stream) {
        let timing = self.state.borrow_mut().has_begun(now, call).unwrap_or_default();
        let state = self.state.borrow();
        let Some(ticket) = state.payload(call) else { return };
        let mut stream = ticket.stream.borrow_mut();
        match &*stream {
            Stream::Before => {
                ticket.slot.put(Outcome { result: Err(failure.clone()), timing });
            }
            Stream::Open(sender) => sender.finish(Err(failure.clone())),
            Stream::Failed(_) | Stream::Unwanted => return,
        }
        *stream = then;
    }

    /// Notices when the caller leaves in the middle of his answer. One who holds his worker back
    /// until there is only just time for it to finish is cut off: else whoever reads slowly
    /// enough could have workers stopped for it.
    fn watch(self: &Rc<Self>, now: Instant, call: CallId, worked: Duration, sender: &PartSender) {
        let (pool, gate) = (Rc::clone(self), sender.gate());
        let settings = self.settings();
        let spare = settings.rules.abandoned.min(settings.rules.timeout / 2);
        let patience = settings.rules.timeout.saturating_sub(worked + spare);
        self.streaming.update(|streams| streams + 1);
        self.surroundings.tasks.spawn_local(async move {
            let over = || poll_fn(|context| gate.poll_over(context));
            let in_time = tokio::time::timeout_at((now + patience).into(), over()).await;
            let has_left = if let Ok(has_left) = in_time {
                has_left
            } else {
                gate.hurry(Failure::Timeout { after: worked + patience });
                over().await
            };
            pool.streaming.update(|streams| streams - 1);
            pool.emptied.notify_waiters();
            if has_left {
                pool.leave(call);
            }
        });
    }

    /// Waits until no answer is being passed on in parts.
    pub async fn ends_streams(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.streaming.get() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Tells the worker that nobody waits for this call any more, where that was agreed. The
    /// call has ended then.
    pub(super) fn cancel(self: &Rc<Self>, now: Instant, call: CallId) {
        let settings = self.settings();
        let Some(words) = &settings.program.wire.cancel else { return };
        let links: Vec<Rc<Link>> = self.links.borrow().values().cloned().collect();
        for link in links {
            let was_its = link.pipes.borrow_mut().as_mut().is_some_and(|it| it.cancel(call, words));
            if was_its {
                link.wake();
                let ended = self.state.borrow_mut().answered(now, link.worker, call, false);
                if let Some(ended) = ended {
                    let after = ended.timing.queue + ended.timing.work;
                    self.finish(ended, Err(Failure::Timeout { after }));
                }
            }
        }
    }

    /// Says something to one worker that is not answered: the free one used last, else the one
    /// that holds least. It is no call: it waits for nothing and occupies nobody.
    ///
    /// # Errors
    ///
    /// `no_worker` where none is ready, `queue_full` where it does not read, and what the
    /// framing refuses.
    pub fn tell(&self, question: &Question) -> Result<(), Failure> {
        if self.ending.get().is_some() {
            return Err(Failure::Draining);
        }
        let listener = self.state.borrow().listener();
        let link = listener.and_then(|worker| self.links.borrow().get(&worker).cloned());
        let Some(link) = link else { return Err(none_to_tell()) };
        let told = link.pipes.borrow_mut().as_mut().map(|pipes| pipes.tell(question));
        match told {
            Some(Ok(true)) => {
                link.wake();
                Ok(())
            }
            Some(Ok(false)) => Err(Failure::QueueFull {
                detail: "the program does not read what it was told before".into(),
                retry_after: TELL_AGAIN,
            }),
            Some(Err(refused)) => Err(driver::refusal(&refused)),
            None => Err(none_to_tell()),
        }
    }

    /// Counts what a worker said beside answers.
    pub(super) fn count_dropped(&self, dropped: Dropped) {
        let Dropped { notifications, questions, late } = dropped;
        self.metrics.message_dropped(Dropping::Notification, notifications);
        self.metrics.message_dropped(Dropping::Question, questions);
        self.metrics.message_dropped(Dropping::Late, late);
    }
}

impl Ticket {
    /// Has any part of an answer been seen? Then no other worker may go on with it.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(&*self.stream.borrow(), Stream::Before)
    }

    /// Ends the parts, if there are any, as the call ended. Gives the failure that the caller
    /// was told already.
    pub(super) fn close(&self, result: &Result<Reply, Failure>) -> Option<Failure> {
        match self.stream.take() {
            Stream::Open(sender) => {
                sender.finish(result.as_ref().map(drop).map_err(Clone::clone));
                None
            }
            Stream::Failed(failure) => Some(failure),
            Stream::Before | Stream::Unwanted => None,
        }
    }
}

fn none_to_tell() -> Failure {
    Failure::NoWorker { why: "so nobody was told".into(), retry_after: TELL_AGAIN }
}
