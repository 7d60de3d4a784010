//! Messages that are not answered, and calls that are cancelled.
//!
//! A caller's message that cancels a call names it as the caller knows it. The worker is told the
//! id that it knows. A message that names no live call of its own caller is dropped: under the same
//! id there may be a call of somebody else.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Pool;
use super::entry::{Delivery, unsendable};
use crate::base::{CallId, Cancels, Errand, Failure, Question, Word};
use crate::config::Matching;
use crate::observe::metrics::Dropping;

/// When to try again after no worker could be told something.
const TELL_AGAIN: Duration = Duration::from_secs(1);

impl Pool {
    /// Passes a message on that is not answered. One that cancels a call goes to the workers that
    /// hold the call, and what is said to a question of a worker goes to that worker. Others go to
    /// one worker: the free worker used last, else the one that holds
    /// the fewest calls. The message is no call: it neither waits nor occupies the worker.
    ///
    /// # Errors
    ///
    /// `no_worker` if no worker is ready, `queue_full` if the worker does not read, `draining` if
    /// the pool ends, `bad_request` for an answer that nobody waits for, and the failure of a message
    /// that the framing refuses.
    pub fn tell(self: &Rc<Self>, word: &Word) -> Result<(), Failure> {
        if self.lifecycle.ending().is_some() {
            return Err(Failure::Draining);
        }
        match &word.errand {
            Errand::Cancel(cancels) => return self.pass_cancel_on(&word.text, cancels),
            Errand::Answer(place) => {
                return self.say_to_question(&word.text, place, true);
            }
            Errand::Progress(place) => {
                let nowhere = 0..0;
                let place = place.as_ref().unwrap_or(&nowhere);
                return self.say_to_question(&word.text, place, false);
            }
            // `hello` has greeted the workers, and they are greeted once.
            Errand::Greeted if self.answers.initialized.borrow().is_some() => return Ok(()),
            Errand::Greeted | Errand::Tell => {}
        }
        let listener = self.state.borrow().listener();
        let link = listener.and_then(|worker| self.links.get(worker));
        let Some(link) = link else { return Err(none_to_tell()) };
        let told = link.pipes.borrow_mut().as_mut().map(|pipes| pipes.tell(&word.text));
        match told {
            Some(Ok(true)) => {
                link.wake();
                Ok(())
            }
            Some(Ok(false)) => Err(not_reading()),
            Some(Err(refused)) => Err(unsendable(&refused)),
            None => Err(none_to_tell()),
        }
    }

    fn pass_cancel_on(self: &Rc<Self>, text: &Question, cancels: &Cancels) -> Result<(), Failure> {
        let is_it = |name: &_| cancels.call.as_ref().is_some_and(|wanted| wanted.is(name));
        let call = self.state.borrow().newest(|entry| entry.own_name.as_deref().is_some_and(is_it));
        let Some(call) = call else {
            self.metrics.message_dropped(Dropping::Cancel, 1);
            return Ok(());
        };
        let now = Instant::now();
        let waited = self.state.borrow_mut().caller_left(now, call);
        let has_ended = if let Some(ended) = waited {
            self.finish(ended, Err(Failure::Cancelled));
            true
        } else if self.state.borrow().is_away_anywhere(call) {
            // Its host is told that the caller has left.
            self.break_off(now, call, &Failure::Cancelled, Delivery::Unwanted);
            true
        } else {
            let (before, rest) = text.text.split_at(cancels.place.start);
            let after = &rest[cancels.place.len()..];
            let words = |id: u64| [before, id.to_string().as_bytes(), after].concat().into();
            self.withdraw(now, call, words, |_| Failure::Cancelled)
        };
        self.settle(now);
        if has_ended { Ok(()) } else { Err(not_reading()) }
    }

    /// Tells the workers that hold this call that it is cancelled, if the pool has words for that.
    /// Then the call has ended. Without words, they learn at least that its caller answers nothing.
    pub(super) fn cancel(self: &Rc<Self>, now: Instant, call: CallId) {
        let settings = self.settings();
        let wire = &settings.program.wire;
        let Some(words) = &wire.cancel else {
            return self.stop_listening(call);
        };
        if wire.matching == Matching::Tag {
            // The worker still answers, so the call stays in the books until then.
            for link in self.links.all() {
                let mut pipes = link.pipes.borrow_mut();
                if pipes.as_mut().is_some_and(|pipes| pipes.tell_cancelled(call, words)) {
                    link.wake();
                }
            }
            return;
        }
        let words = |id: u64| words.replace("{id}", &id.to_string()).into();
        self.withdraw(now, call, words, |after| Failure::Timeout { after, conduct: None });
    }

    /// Takes a call out of the workers that hold it, and tells each so. `words` makes the message
    /// of the id that the worker knows. Returns true if the call has ended.
    fn withdraw(
        self: &Rc<Self>,
        now: Instant,
        call: CallId,
        words: impl Fn(u64) -> Bytes,
        failure: impl Fn(Duration) -> Failure,
    ) -> bool {
        let mut has_ended = false;
        for link in self.links.all() {
            let was_told =
                link.pipes.borrow_mut().as_mut().is_some_and(|it| it.cancel(call, &words));
            if !was_told {
                continue;
            }
            link.wake();
            let ended = self.state.borrow_mut().withdrawn(now, link.worker, call);
            if let Some(ended) = ended {
                has_ended = true;
                let after = ended.timing.queue + ended.timing.work;
                self.finish(ended, Err(failure(after)));
            }
        }
        has_ended
    }
}

fn none_to_tell() -> Failure {
    Failure::NoWorker { why: "so the message was not sent".into(), retry_after: TELL_AGAIN }
}

pub(super) fn not_reading() -> Failure {
    Failure::QueueFull {
        detail: "the program has not read the messages before".into(),
        retry_after: TELL_AGAIN,
    }
}
