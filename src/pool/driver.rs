//! Carries out what the books decide, and tells them what happened.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actions::{Action, Ended, Loss, StopReason};
use super::attend::{Link, attend};
use super::{Pool, Ticket};
use crate::base::{CallId, Failure, Outcome, Reply, Timing, WorkerId};
use crate::config::{Matching, PoolSettings, ReplyShape};
use crate::observe::metrics::ExitReason;
use crate::wire::{Refused, Verdict};
use crate::worker::pipes::{Fault, Heard, OutOfStep, Silence};
use crate::worker::usage;

/// How often memory is looked at; the kernel tells nobody when it grows.
const MEMORY_LOOK: Duration = Duration::from_secs(1);

/// Does an answer of this pool show by itself which call it is for?
pub(super) fn proves(settings: &PoolSettings) -> bool {
    let echoes = matches!(&settings.reply, ReplyShape::Pattern(pattern) if pattern.has_input());
    echoes || settings.matching != Matching::Order
}

/// A call that never got into the books.
pub(super) fn refuse(ticket: &Ticket, failure: Failure) {
    ticket.route.call(failure.code());
    ticket.slot.put(Outcome { result: Err(failure), timing: Timing::default() });
}

/// Looks, now and then, for workers that have grown beyond `recycle.memory`.
pub(super) async fn watch_memory(pool: Rc<Pool>) {
    while pool.ending.get().is_none() {
        let adjusted = pool.adjusted.notified();
        let Some(limit) = pool.settings().recycle.memory else {
            adjusted.await;
            continue;
        };
        tokio::time::timeout(MEMORY_LOOK, adjusted).await.ok();
        let now = Instant::now();
        let links: Vec<Rc<Link>> = pool.links.borrow().values().cloned().collect();
        for link in links {
            let memory = link.process().and_then(|id| usage::of(id).ok()).map(|used| used.memory);
            if memory.is_some_and(|memory| memory > limit) {
                pool.state.borrow_mut().recycle(now, link.worker);
            }
        }
        pool.settle(now);
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
    /// Lets the books draw their consequences, and carries them out.
    pub(super) fn settle(self: &Rc<Self>, now: Instant) {
        loop {
            let actions = {
                let mut state = self.state.borrow_mut();
                state.settle(now);
                state.take_actions()
            };
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(now, action);
            }
        }
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

    fn act(self: &Rc<Self>, now: Instant, action: Action<Ticket>) {
        match action {
            Action::Give { worker, call } => self.give(now, worker, call),
            Action::Fail(ended, failure) => self.finish(ended, Err(failure)),
            Action::Expire { call, failure } => {
                let state = self.state.borrow();
                if let Some(ticket) = state.payload(call) {
                    let outcome = Outcome { result: Err(failure), timing: Timing::default() };
                    ticket.slot.put(outcome);
                }
            }
            Action::Start(worker) => {
                let link = Rc::new(Link::new(worker));
                self.links.borrow_mut().insert(worker, Rc::clone(&link));
                self.metrics.worker_started();
                self.surroundings.tasks.spawn_local(attend(Rc::clone(self), link));
            }
            Action::Stop(worker, reason) => self.order(worker, self.exit_reason(reason)),
        }
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

    /// Asks a worker. One that was idle must have kept silent until this moment.
    fn give(&self, now: Instant, worker: WorkerId, call: CallId) {
        let Some(link) = self.links.borrow().get(&worker).cloned() else { return };
        let mut state = self.state.borrow_mut();
        let Some(question) = state.payload(call).map(|ticket| ticket.question.clone()) else {
            return;
        };
        let mut pipes = link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return };
        let silence = if pipes.is_idle() { pipes.silence() } else { Silence::Kept };
        match silence {
            Silence::Kept => {}
            Silence::Broken(said) => {
                link.note_out_of_step(OutOfStep::unasked(&said));
                state.lose(now, worker, &Loss::UnaskedOutput, 1);
                return link.order(ExitReason::UnaskedOutput);
            }
            Silence::Closed => {
                state.lose(now, worker, &Loss::UnaskedOutput, 1);
                return link.order(ExitReason::Crash);
            }
        }
        match pipes.ask(call, &question) {
            Ok(()) => link.wake(),
            Err(refused) => {
                let ended = state.answered(now, worker, call, false);
                drop(state);
                if let Some(ended) = ended {
                    self.finish(ended, Err(refusal(&refused)));
                }
            }
        }
    }

    /// A caller left.
    pub(super) fn leave(self: &Rc<Self>, call: CallId) {
        let now = Instant::now();
        let left = self.state.borrow_mut().caller_left(now, call);
        if let Some(ended) = left {
            let after = ended.timing.queue;
            self.finish(ended, Err(Failure::Timeout { after }));
        }
        self.settle(now);
    }

    /// What a worker said, in one read. `Some`: the worker must be stopped for it.
    pub(super) fn heard(self: &Rc<Self>, link: &Link) -> Option<ExitReason> {
        let now = Instant::now();
        let mut heard = Vec::new();
        let step = link.pipes.borrow_mut().as_mut().map_or(Ok(()), |pipes| pipes.hear(&mut heard));
        let verdict = match step {
            // Which of these answers is the one too many cannot be told, so none is given out.
            Err(out) if !self.proves => Some(self.out_of_step(now, link, out, heard.len())),
            step => match self.judge_all(now, link.worker, heard) {
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
    fn judge_all(&self, now: Instant, worker: WorkerId, heard: Vec<Heard>) -> Option<String> {
        for Heard { call, answer, question, proven } in heard {
            let (good, result) = match self.judge.judge(&question, answer, proven) {
                Verdict::Good(reply) => (true, Ok(reply)),
                Verdict::ProgramError(failure) => (true, Err(failure)),
                Verdict::Unfit { detail } => {
                    (false, Err(Failure::BadAnswer { detail: detail.into() }))
                }
                Verdict::Doubtful { detail } => return Some(detail),
            };
            let ended = self.state.borrow_mut().answered(now, worker, call, good);
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
        let code = match &result {
            _ if abandoned => "abandoned",
            Ok(_) => "ok",
            Err(failure) => failure.code(),
        };
        ticket.route.call(code);
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

fn refusal(refused: &Refused) -> Failure {
    match refused {
        Refused::TooLong(too_long) => Failure::BodyTooLarge { limit: too_long.limit as u64 },
        Refused::Unfit(detail) => Failure::BadRequest { detail: (*detail).into() },
    }
}
