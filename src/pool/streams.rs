//! Answers that come in parts.
//!
//! The first part of an answer is the outcome of the call for its caller. From then on the call may
//! not run twice, and a failure is told through the parts. The call stays in the books until the
//! last part has come.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Pool;
use super::entry::{Delivery, Entry};
use super::links::Link;
use crate::base::{CallId, Failure, Outcome, PartGate, PartSender, Reply, ReplyForm, Timing};
use crate::observe::metrics::Dropping;
use crate::wire::{Share, Verdict};
use crate::worker::pipes::{Dropped, Heard};

impl Pool {
    /// Passes one part of an answer on. Returns why if it may belong to another call.
    pub(super) async fn take_part(
        self: &Rc<Self>,
        now: &mut Instant,
        link: &Link,
        heard: Heard,
    ) -> Option<String> {
        let Heard { call, answer, question, proven, share } = heard;
        if share == Share::Aside {
            self.pass_aside_on(*now, link, call, answer);
            return None;
        }
        let verdict = match share {
            Share::End => None,
            _ => Some(self.answers.judge(now, &question, &answer, proven).await),
        };
        let now = *now;
        let mut is_good = true;
        match verdict {
            None | Some(Verdict::Cancelled) => self.pass_on(now, link, call, None),
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

    /// Passes a part to the caller. For the first part, also gives the caller the outcome. If
    /// `part` is `None`, the answer ends here; an answer may have no part at all.
    pub(super) fn pass_on(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        call: CallId,
        part: Option<Reply>,
    ) {
        let begun = self.state.borrow_mut().has_begun(now, call);
        let state = self.state.borrow();
        let Some(entry) = state.payload(call) else { return self.drop_part() };
        self.open(now, Some(link), (call, entry), begun);
        let Some(part) = part else { return };
        if push(entry, part.body).is_none() {
            self.drop_part();
        }
    }

    /// Gives the caller the outcome that parts follow, unless the caller has one. `link` leads to the
    /// worker that waits for a caller who does not keep up. Returns the gate of the parts; `None`: they
    /// are not wanted.
    pub(super) fn open(
        self: &Rc<Self>,
        now: Instant,
        link: Option<&Link>,
        (call, entry): (CallId, &Entry),
        begun: Option<Timing>,
    ) -> Option<PartGate> {
        let mut progress = entry.progress.borrow_mut();
        if let (Delivery::Before, Some(timing)) = (&*progress, begun) {
            let (sender, reply) = self.answers.in_parts();
            if let Some(link) = link {
                link.held_back_by(sender.gate());
            }
            self.watch(now, call, timing.work, &sender);
            *progress = Delivery::Open(sender);
            self.tell_early(now, entry, Outcome { result: Ok(reply), timing });
        }
        match &*progress {
            Delivery::Open(sender) => Some(sender.gate()),
            Delivery::Before | Delivery::Failed(_) | Delivery::Unwanted => None,
        }
    }

    pub(super) fn drop_part(&self) {
        self.metrics.message_dropped(Dropping::Late, 1);
    }

    /// Fails the answer at this part. The rest of it is dropped.
    fn fail_part(self: &Rc<Self>, now: Instant, call: CallId, failure: &Failure) {
        self.break_off(now, call, failure, Delivery::Failed(failure.clone()));
        // The worker holds the call, so it stays in the books, abandoned.
        let left = self.state.borrow_mut().caller_left(now, call);
        debug_assert!(left.is_none(), "an answer comes from a worker that holds the call");
        self.cancel(now, call);
    }

    /// Tells the caller of a call that it failed. The call stays in the books.
    pub(super) fn break_off(&self, now: Instant, call: CallId, failure: &Failure, then: Delivery) {
        let timing = self.state.borrow_mut().has_begun(now, call).unwrap_or_default();
        let state = self.state.borrow();
        let Some(entry) = state.payload(call) else { return };
        let mut progress = entry.progress.borrow_mut();
        match &*progress {
            Delivery::Before => {
                self.tell_early(now, entry, Outcome { result: Err(failure.clone()), timing });
            }
            Delivery::Open(sender) => sender.finish(Err(failure.clone())),
            Delivery::Failed(_) | Delivery::Unwanted => return,
        }
        *progress = then;
    }

    /// Watches for the caller leaving in the middle of the answer. A caller that holds its worker
    /// back is cut off while the worker still has time to finish. Otherwise the worker would pass
    /// its timeout and be stopped because of a slow reader.
    fn watch(self: &Rc<Self>, now: Instant, call: CallId, worked: Duration, sender: &PartSender) {
        let (pool, gate) = (Rc::clone(self), sender.gate());
        let timeout = self.state.borrow().timeout_of(call);
        let spare = self.settings().rules.abandoned.min(timeout / 2);
        let patience = timeout.saturating_sub(worked + spare);
        self.lifecycle.stream_begins();
        self.services.tasks.spawn_local(async move {
            let over = || poll_fn(|context| gate.poll_over(context));
            let in_time = tokio::time::timeout_at((now + patience).into(), over()).await;
            let has_left = if let Ok(has_left) = in_time {
                has_left
            } else {
                gate.hurry(Failure::Timeout { after: worked + patience, conduct: None });
                over().await
            };
            pool.lifecycle.stream_ends();
            if has_left {
                pool.leave(call);
            }
        });
    }

    /// Waits until no answer is being passed on in parts.
    pub async fn wait_streams(&self) {
        self.lifecycle.wait_streams().await;
    }

    /// Counts the messages of a worker that answered no call.
    pub(super) fn count_dropped(&self, dropped: Dropped) {
        let Dropped { notifications, questions, late, strays, stray } = dropped;
        self.metrics.message_dropped(Dropping::Notification, notifications);
        self.metrics.message_dropped(Dropping::Question, questions);
        self.metrics.message_dropped(Dropping::Late, late);
        self.metrics.message_dropped(Dropping::Stray, strays);
        if let Some((said, why)) = stray
            && let Some(messages) = self.strays.borrow_mut().may_say(Instant::now(), strays)
        {
            let pool = self.name();
            tracing::warn!(
                pool,
                said,
                why,
                messages,
                "dropped what a worker wrote: it is no answer"
            );
        }
    }
}

/// Passes a part on. Returns whether there is room for more; `None`: it is not wanted.
pub(super) fn push(entry: &Entry, part: Bytes) -> Option<bool> {
    match &*entry.progress.borrow() {
        Delivery::Open(sender) => sender.push(part).then(|| sender.has_room()),
        Delivery::Before | Delivery::Failed(_) | Delivery::Unwanted => None,
    }
}
