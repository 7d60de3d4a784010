//! Carries out what the books decide, and tells them what happened.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::actions::{Action, Ended, Loss, StopReason};
use super::attend::{Link, attend};
use super::streams::Stream;
use super::{Pool, Ticket};
use crate::base::{CallId, ExitReason, Failure, Outcome, Question, Reply, Timing, WorkerId};
use crate::observe::metrics::CallOutcome;
use crate::policy::Fingerprint;
use crate::wire::{Refused, Share, Verdict};
use crate::worker::pipes::{Fault, Heard, OutOfStep, Silence};
use crate::worker::usage;

/// How often memory is looked at; the kernel tells nobody when it grows.
const MEMORY_LOOK: Duration = Duration::from_secs(1);
/// Of the calls in a worker that owes no answer it has read none, however many it is to be given.
const ALL: usize = usize::MAX;

/// Tells questions apart by a hash with a key of its own, drawn at random: nobody can make a
/// question that is taken for another, nor learn one from its fingerprint. The nonce, different
/// in each call, is not part of what was asked; what stands around it is hashed piece by piece,
/// each after its length, so that no text can pass for a nonce.
pub(super) fn fingerprints() -> impl Fn(&Ticket) -> Fingerprint {
    let key = RandomState::new();
    move |ticket| fingerprint(&key, &ticket.question)
}

fn fingerprint(key: &RandomState, question: &Question) -> Fingerprint {
    let mut hasher = key.build_hasher();
    let mut piece = |text: &[u8]| {
        hasher.write_usize(text.len());
        hasher.write(text);
    };
    let mut rest = &question.text[..];
    if let Some(nonce) = question.nonce.as_ref().filter(|nonce| !nonce.is_empty()) {
        while let Some(place) = memmem::find(rest, nonce) {
            piece(&rest[..place]);
            rest = &rest[place + nonce.len()..];
        }
    }
    piece(rest);
    Fingerprint(hasher.finish())
}

/// A call that never got into the books.
pub(super) fn refuse(ticket: &Ticket, failure: Failure) {
    ticket.route.call(CallOutcome::Failed(failure.code()));
    ticket.slot.put(Outcome { result: Err(failure), timing: Timing::default() });
}

/// Looks, now and then, for workers that have grown beyond `recycle.memory`.
pub(super) async fn watch_memory(pool: Rc<Pool>) {
    while pool.ending.get().is_none() {
        let adjusted = pool.adjusted.notified();
        let Some(limit) = pool.settings().rules.recycle.memory else {
            adjusted.await;
            continue;
        };
        tokio::time::timeout(MEMORY_LOOK, adjusted).await.ok();
        let links: Vec<Rc<Link>> = pool.links.borrow().values().cloned().collect();
        for link in links {
            let memory = link.process().and_then(|id| usage::of(id).ok()).map(|used| used.memory);
            if memory.is_some_and(|memory| memory > limit) {
                pool.state.borrow_mut().recycle(link.worker);
            }
        }
        pool.settle(Instant::now());
    }
}

/// Ticks the books whenever a deadline in them has come.
pub(super) async fn keep_time(pool: Rc<Pool>) {
    loop {
        let next = pool.state.borrow().next_deadline();
        pool.armed.set(next);
        let earlier = pool.timer.notified();
        if pool.ending.get().is_some() {
            return;
        }
        match next {
            Some(next) => {
                // An earlier deadline ends the wait, and the loop arms the timer anew.
                tokio::time::timeout_at(next.into(), earlier).await.ok();
            }
            None => earlier.await,
        }
        let now = Instant::now();
        if next.is_some_and(|next| next <= now) {
            pool.state.borrow_mut().tick(now);
            pool.settle(now);
        }
    }
}

impl Pool {
    /// Lets the books draw their consequences, and carries them out, until nothing follows any
    /// more.
    pub(super) fn settle(self: &Rc<Self>, now: Instant) {
        let mut actions = self.actions.take();
        loop {
            {
                let mut state = self.state.borrow_mut();
                state.settle(now);
                state.move_actions(&mut actions);
            }
            let mut is_settled = true;
            for action in actions.drain(..) {
                is_settled &= !self.act(now, action);
            }
            if is_settled {
                break;
            }
        }
        self.actions.replace(actions);
        let next = self.state.borrow().next_deadline();
        let is_earlier = match (next, self.armed.get()) {
            (Some(next), Some(armed)) => next < armed,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        if is_earlier {
            self.armed.set(next);
            self.timer.notify_one();
        }
    }

    /// Says whether the books may have changed by it.
    fn act(self: &Rc<Self>, now: Instant, action: Action<Ticket>) -> bool {
        match action {
            Action::Give { worker, call } => return !self.give(now, worker, call),
            Action::Fail(ended, failure) => self.finish(ended, Err(failure)),
            Action::Expire { call, failure } => {
                self.break_off(now, call, &failure, Stream::Unwanted);
                self.cancel(now, call);
                return true;
            }
            Action::Start(worker) => {
                let link = Rc::new(Link::new(worker));
                self.links.borrow_mut().insert(worker, Rc::clone(&link));
                self.metrics.worker_started();
                self.surroundings.tasks.spawn_local(attend(Rc::clone(self), link));
            }
            Action::Refuse(question) => {
                let pool = self.settings.borrow().name.clone();
                tracing::warn!(pool, question = %question,
                    "a question that has cost several workers is refused for a while");
            }
            Action::Stop(worker, reason) => self.order(worker, self.exit_reason(reason)),
        }
        false
    }

    fn exit_reason(&self, reason: StopReason) -> ExitReason {
        match reason {
            StopReason::Timeout => ExitReason::Timeout,
            StopReason::Recycled => ExitReason::Recycled,
            StopReason::ScaledDown => ExitReason::ScaledDown,
            StopReason::Stopped => self.ending.get().unwrap_or(ExitReason::Stopped),
        }
    }

    fn order(&self, worker: WorkerId, reason: ExitReason) {
        if let Some(link) = self.links.borrow().get(&worker) {
            link.order(reason);
        }
    }

    /// Asks a worker, and says whether it was asked. One that was idle must have kept silent
    /// until this moment.
    fn give(&self, now: Instant, worker: WorkerId, call: CallId) -> bool {
        let Some(link) = self.links.borrow().get(&worker).cloned() else { return false };
        let mut state = self.state.borrow_mut();
        let Some(ticket) = state.payload(call) else { return false };
        if ticket.has_begun() {
            // The worker that was lost had not read all of the question, and answered already.
            let exit = "in the middle of its answer".into();
            let ended = state.answered(now, worker, call, false);
            drop(state);
            self.refuse_given(ended, Failure::WorkerLost { exit });
            return false;
        }
        let mut pipes = link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return false };
        let silence = if pipes.is_idle() { pipes.silence() } else { Silence::Kept };
        match silence {
            Silence::Kept => {}
            Silence::Broken(said) => {
                link.note_out_of_step(OutOfStep::unasked(&said));
                state.lose(now, worker, &Loss::UnaskedOutput, ALL);
                link.order(ExitReason::UnaskedOutput);
                return false;
            }
            Silence::Closed => {
                state.lose(now, worker, &Loss::UnaskedOutput, ALL);
                link.order(ExitReason::Crash);
                return false;
            }
        }
        match pipes.ask(call, &ticket.question) {
            Ok(()) => {
                link.wake();
                true
            }
            Err(refused) => {
                let ended = state.answered(now, worker, call, false);
                drop(state);
                self.refuse_given(ended, refusal(&refused));
                false
            }
        }
    }

    /// Ends a call that its worker could not be asked.
    fn refuse_given(&self, ended: Option<Ended<Ticket>>, failure: Failure) {
        if let Some(ended) = ended {
            self.finish(ended, Err(failure));
        }
    }

    /// A caller left.
    pub(super) fn leave(self: &Rc<Self>, call: CallId) {
        let now = Instant::now();
        let left = self.state.borrow_mut().caller_left(now, call);
        match left {
            Some(ended) => {
                let after = ended.timing.queue;
                self.finish(ended, Err(Failure::Timeout { after }));
            }
            None => self.cancel(now, call),
        }
        // When the process ends, callers go with their tasks, and nothing may be started for it.
        if self.ending.get().is_none() {
            self.settle(now);
        }
    }

    /// What a worker said, in one read. `Some`: the worker must be stopped for it.
    pub(super) fn heard(self: &Rc<Self>, link: &Link) -> Option<ExitReason> {
        let now = Instant::now();
        let mut heard = Vec::new();
        let step = match link.pipes.borrow_mut().as_mut() {
            Some(pipes) => {
                let step = pipes.hear(&mut heard);
                self.count_dropped(pipes.take_dropped());
                step
            }
            None => Ok(()),
        };
        let verdict = match step {
            // Which of these answers is the one too many cannot be told, so none is given out.
            Err(out) if !self.proves => {
                heard.dedup_by_key(|heard| heard.call);
                Some(self.out_of_step(now, link, out, heard.len()))
            }
            step => match self.judge_all(now, link, heard) {
                Some(detail) => {
                    let out = OutOfStep { fault: Fault::Mismatch, detail, said: None };
                    Some(self.out_of_step(now, link, out, 1))
                }
                None => step.err().map(|out| self.out_of_step(now, link, out, 1)),
            },
        };
        self.settle(now);
        verdict
    }

    /// Hands answers out; stops at the first that is in doubt, and says why.
    fn judge_all(self: &Rc<Self>, now: Instant, link: &Link, heard: Vec<Heard>) -> Option<String> {
        for heard in heard {
            if heard.share != Share::Whole {
                if let Some(detail) = self.take_part(now, link, heard) {
                    return Some(detail);
                }
                continue;
            }
            let Heard { call, answer, question, proven, .. } = heard;
            let (good, result) = match self.judge.judge(&question, answer, proven) {
                Verdict::Good(reply) => (true, Ok(reply)),
                Verdict::ProgramError(failure) => (true, Err(failure)),
                Verdict::Unfit { detail } => {
                    (false, Err(Failure::BadAnswer { detail: detail.into() }))
                }
                Verdict::Doubtful { detail } => return Some(detail),
            };
            let ended = self.state.borrow_mut().answered(now, link.worker, call, good);
            if let Some(ended) = ended {
                self.finish(ended, result);
            }
        }
        None
    }

    fn out_of_step(
        &self,
        now: Instant,
        link: &Link,
        out: OutOfStep,
        doubtful: usize,
    ) -> ExitReason {
        let reason = match out.fault {
            Fault::Unasked => ExitReason::UnaskedOutput,
            Fault::Mismatch => ExitReason::BadAnswer,
            Fault::TooBig => ExitReason::TooBig,
        };
        let told: Arc<str> = match out.fault {
            Fault::Unasked => "the program wrote more than was asked for".into(),
            Fault::Mismatch | Fault::TooBig => out.detail.as_str().into(),
        };
        link.note_out_of_step(out);
        let unwritten = link.unwritten();
        let loss = Loss::BadAnswer { detail: told, calls: doubtful.max(1) };
        self.state.borrow_mut().lose(now, link.worker, &loss, unwritten);
        reason
    }

    /// Gives a call its one outcome, and counts it.
    pub(super) fn finish(&self, ended: Ended<Ticket>, result: Result<Reply, Failure>) {
        let Ended { payload: ticket, timing, abandoned } = ended;
        let told = ticket.close(&result);
        let outcome = match &result {
            _ if let Some(failure) = &told => CallOutcome::Failed(failure.code()),
            _ if abandoned => CallOutcome::Abandoned,
            Ok(_) => CallOutcome::Ok,
            Err(failure) => CallOutcome::Failed(failure.code()),
        };
        ticket.route.call(outcome);
        self.metrics.queued_for(timing.queue);
        if timing.work > Duration::ZERO {
            self.metrics.worked_for(timing.work);
        }
        ticket.slot.put(Outcome { result, timing });
        if self.state.try_borrow().is_ok_and(|state| state.calls_open() == 0) {
            self.emptied.notify_waiters();
        }
    }
}

pub(super) fn refusal(refused: &Refused) -> Failure {
    match refused {
        Refused::TooLong(too_long) => Failure::BodyTooLarge { limit: too_long.limit as u64 },
        Refused::Unfit(detail) => Failure::BadRequest { detail: (*detail).into() },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_fingerprint_leaves_out_the_nonce_and_shows_where_it_stood() {
        let key = RandomState::new();
        let of = |text: &'static [u8], nonce: &'static [u8]| {
            let nonce = Some(nonce.into()).filter(|nonce: &Bytes| !nonce.is_empty());
            fingerprint(&key, &Question { text: Bytes::from_static(text), nonce })
        };
        assert_eq!(of(b"N1 a N1 b", b"N1"), of(b"N22 a N22 b", b"N22"));
        assert_ne!(of(b"N1 a N1 b", b"N1"), of(b"N1 a b N1", b"N1"));
        for other in [&b"\xff a N1 b"[..], b"N1 a \xff b", b"N1 a  b", b" a N1 b"] {
            assert_ne!(of(b"N1 a N1 b", b"N1"), of(other, b"N1"));
        }
        assert_ne!(of(b"\xff", b""), of(b"N1", b"N1"));
    }
}
