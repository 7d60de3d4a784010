//! Carries out what the books decide, and tells them what happened.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use super::actions::{Action, Ended, Loss, StopReason};
use super::attend::attend;
use super::entry::{Delivery, Payload, unsendable};
use super::links::Link;
use crate::base::{CallId, ExitReason, Failure, Outcome, Reply, WorkerId};
use crate::observe::metrics::CallOutcome;
use crate::sync::bulk::apart;
use crate::wire::Share;
use crate::worker::pipes::{Fault, Heard, OutOfStep, Pipes, Silence};
use crate::worker::usage;

/// How often to look at the memory of workers, because the kernel does not tell when it grows.
const MEMORY_LOOK: Duration = Duration::from_secs(1);
/// A worker that owes no answer has read none of its calls, however many it was just given.
const ALL: usize = usize::MAX;

/// Looks every second for workers that have grown beyond `recycle.memory`.
pub(super) async fn watch_memory(pool: Rc<Pool>) {
    while pool.lifecycle.ending().is_none() {
        let Some(limit) = pool.settings().rules.recycle.memory else {
            pool.lifecycle.wait_adjusted().await;
            continue;
        };
        tokio::time::timeout(MEMORY_LOOK, pool.lifecycle.wait_adjusted()).await.ok();
        for link in pool.links.all() {
            let memory = link.process().and_then(|id| usage::of(id).ok()).map(|used| used.memory);
            if memory.is_some_and(|memory| memory > limit) {
                pool.state.borrow_mut().recycle(link.worker);
            }
        }
        pool.settle(Instant::now());
    }
}

/// Ticks the books at each deadline in them.
pub(super) async fn keep_time(pool: Rc<Pool>) {
    while pool.lifecycle.ending().is_none() {
        let next = pool.state.borrow().next_deadline();
        pool.timer.wait(next).await;
        let now = Instant::now();
        if next.is_some_and(|next| next <= now) {
            pool.state.borrow_mut().tick(now);
            pool.settle(now);
        }
    }
}

impl Pool {
    /// Lets the books decide what follows from the last event, and does it, until nothing more
    /// follows.
    pub(super) fn settle(self: &Rc<Self>, now: Instant) {
        while self.settle_once(now) || self.feed(now) {}
        let mut state = self.state.borrow_mut();
        self.note_load(now, state.load());
        self.timer.bring_forward(state.next_deadline());
        if state.calls_open() == 0 {
            self.lifecycle.note_no_calls();
        }
    }

    /// Lets the books decide once, and does what they want. Returns true if that may have changed the
    /// books.
    fn settle_once(self: &Rc<Self>, now: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        state.settle(now);
        if !state.wants_something() {
            return false;
        }
        let mut actions = self.actions.take();
        state.move_actions(&mut actions);
        drop(state);
        let mut has_changed = false;
        for action in actions.drain(..) {
            has_changed |= self.act(now, action);
        }
        self.actions.replace(actions);
        has_changed
    }

    /// Settles the books in a moment, and not in the middle of what is done now.
    pub(super) fn settle_soon(&self) {
        let now = Instant::now();
        self.state.borrow_mut().wake(now);
        self.timer.bring_forward(Some(now));
    }

    /// Carries one action out. Returns true if that may have changed the books.
    fn act(self: &Rc<Self>, now: Instant, action: Action<Payload>) -> bool {
        match action {
            Action::Give { worker, call } => return !self.give(now, worker, call),
            Action::GiveGroup { worker, calls } => return !self.give_group(now, worker, calls),
            Action::Fail(ended, failure) => self.finish(*ended, Err(failure)),
            Action::Expire { call, failure } => {
                self.break_off(now, call, &failure, Delivery::Unwanted);
                self.cancel(now, call);
                return true;
            }
            Action::GoesBack { payload, retries, half } => {
                self.take_back_in(now, *payload, retries, half);
                return true;
            }
            Action::Claim(worker) => return self.claim_for(now, worker),
            Action::GuestLost { ended, failure, blamed } => {
                self.lose_guest(*ended, failure, blamed);
            }
            Action::CallBack { host, run } => self.call_host_back(host, run),
            Action::GiveUp { worker, call } => {
                if let Some(link) = self.links.get(worker) {
                    let settings = self.settings();
                    let words = settings.program.wire.cancel.as_deref();
                    let mut pipes = link.pipes.borrow_mut();
                    pipes.iter_mut().for_each(|pipes| pipes.give_up(call, words));
                    link.wake();
                }
            }
            Action::Examine { worker, call } => self.diagnose(now, worker, call),
            Action::Sight(worker) => return self.sight(worker),
            Action::StepBack { worker, by } => self.step_back(worker, by),
            Action::ComeForward(worker) => return self.come_forward(worker),
            Action::TakeBack(worker) => {
                let Some(link) = self.links.get(worker) else { return false };
                let taken = link.pipes.borrow_mut().as_mut().map(Pipes::take_back);
                link.wake();
                self.state.borrow_mut().taken_back(now, worker, &taken.unwrap_or_default());
                return true;
            }
            Action::Start(worker) => {
                let link = self.links.add(worker);
                self.metrics.worker_started();
                self.services.tasks.spawn_local(attend(Rc::clone(self), link));
            }
            Action::Refuse(question) => {
                let pool = self.settings.borrow().name.clone();
                tracing::warn!(pool, question = %question,
                    "a question that has cost several workers is refused for a while");
            }
            Action::Kill(worker) => self.links.kill(worker),
            Action::Stop(worker, reason) => self.links.order(worker, self.exit_reason(reason)),
        }
        false
    }

    fn exit_reason(&self, reason: StopReason) -> ExitReason {
        match reason {
            StopReason::Timeout => ExitReason::Timeout,
            StopReason::Recycled => ExitReason::Recycled,
            StopReason::ScaledDown => ExitReason::ScaledDown,
            StopReason::Stopped => self.lifecycle.ending().unwrap_or(ExitReason::Stopped),
        }
    }

    /// Gives a call to a worker. Returns false if that failed, and the books may have changed. A
    /// worker that was idle must not have written anything until this moment.
    fn give(&self, now: Instant, worker: WorkerId, call: CallId) -> bool {
        let Some(link) = self.links.get(worker) else { return false };
        if self.greet(now, worker, call) {
            return false;
        }
        let mut state = self.state.borrow_mut();
        let Some(entry) = state.payload(call) else { return false };
        if entry.has_begun() {
            // The lost worker had answered before it had read all of the question.
            let exit = "in the middle of its answer".into();
            let ended = state.withdrawn(now, worker, call);
            drop(state);
            self.refuse_given(ended, Failure::WorkerLost { exit });
            return false;
        }
        let mut pipes = link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return false };
        let waits = link.turns.get().is_some_and(|turns| turns.is_seen_waiting(now));
        let is_idle = pipes.is_idle();
        let silence = if is_idle && !waits { pipes.silence() } else { Silence::Kept };
        if silence != Silence::Kept {
            drop(state);
            self.unasked_before(now, &link, pipes, silence);
            return false;
        }
        let asked = match link.turns.get() {
            Some(turns) => turns.ask(now, pipes, call, &entry.question),
            None => pipes.ask(call, &entry.question),
        };
        match asked {
            Ok(()) => {
                let is_alone = is_idle && state.calls_open() == 1;
                drop(state);
                // Where other calls are open, more questions may come for the same write. The task of
                // the worker waits for them, and times the looks of one that takes turns.
                if !(is_alone && link.turns.get().is_none() && pipes.send_now()) {
                    link.wake();
                }
                true
            }
            Err(refused) => {
                let ended = state.withdrawn(now, worker, call);
                drop(state);
                self.refuse_given(ended, unsendable(&refused));
                false
            }
        }
    }

    /// Deals with a worker that wrote something, or closed its output, before its next question: the
    /// calls that it was to get go back.
    pub(super) fn unasked_before(
        &self,
        now: Instant,
        link: &Link,
        pipes: &Pipes,
        silence: Silence,
    ) {
        match silence {
            Silence::Kept => {}
            Silence::Broken(said) => link.order(self.unasked(now, link, pipes.unasked(&said))),
            Silence::Closed => {
                self.state.borrow_mut().lose(now, link.worker, &Loss::UnaskedOutput, ALL);
                link.order(ExitReason::Crash);
            }
        }
    }

    /// Deals with a worker that wrote something before it read the question it was just given: the
    /// call goes back. Returns the reason why the worker must be stopped.
    pub(super) fn unasked(&self, now: Instant, link: &Link, out: OutOfStep) -> ExitReason {
        link.note_out_of_step(out);
        self.state.borrow_mut().lose(now, link.worker, &Loss::UnaskedOutput, ALL);
        ExitReason::UnaskedOutput
    }

    /// Answers a call that is a greeting with what the worker answered to `hello`. Returns false if
    /// it is none.
    fn greet(&self, now: Instant, worker: WorkerId, call: CallId) -> bool {
        let mut state = self.state.borrow_mut();
        let greeting = state.payload(call).and_then(|entry| self.answers.greeting(entry));
        let Some(reply) = greeting else { return false };
        let ended = state.withdrawn(now, worker, call);
        drop(state);
        if let Some(ended) = ended {
            self.finish(ended, Ok(reply));
        }
        true
    }

    /// Ends a call that could not be given to its worker.
    pub(super) fn refuse_given(&self, ended: Option<Ended<Payload>>, failure: Failure) {
        if let Some(ended) = ended {
            self.finish(ended, Err(failure));
        }
    }

    /// Notes that the caller of this call has left.
    pub(super) fn leave(self: &Rc<Self>, call: CallId) {
        let now = Instant::now();
        let left = self.state.borrow_mut().caller_left(now, call);
        match left {
            Some(ended) => {
                let after = ended.timing.queue;
                self.finish(ended, Err(Failure::Timeout { after, conduct: None }));
            }
            None => self.cancel(now, call),
        }
        // When the process ends, callers leave because their tasks end. Nothing may be started then.
        if self.lifecycle.ending().is_none() {
            self.settle(now);
        }
    }

    /// Handles what a worker wrote, from one read. Returns a reason if the worker must be stopped.
    pub(super) async fn heard(self: &Rc<Self>, link: &Link) -> Option<ExitReason> {
        if let Some(turns) = link.turns.get() {
            return self.heard_in_turn(Instant::now(), link, turns).await;
        }
        let mut heard = link.heard.take();
        let reason = self.hear_all(link, &mut heard).await;
        link.heard.replace(heard);
        reason
    }

    /// As [`Pool::heard`]; `heard` is empty before and after.
    async fn hear_all(self: &Rc<Self>, link: &Link, heard: &mut Vec<Heard>) -> Option<ExitReason> {
        loop {
            let step = match link.pipes.borrow_mut().as_mut() {
                Some(pipes) => pipes.hear(heard),
                None => Ok(None),
            };
            let (step, large) = match step {
                Ok(large) => (Ok(()), large),
                Err(out) => (Err(out), None),
            };
            let reason = self.take_heard(link, heard, step).await;
            let Some(large) = large.filter(|_| reason.is_none()) else { return reason };
            let read = apart(move || large.read()).await;
            let step = match link.pipes.borrow_mut().as_mut() {
                Some(pipes) => pipes.hear_read(read, heard),
                None => Ok(()),
            };
            let reason = self.take_heard(link, heard, step).await;
            if reason.is_some() {
                return reason;
            }
        }
    }

    /// Handles these answers of a worker, and what was wrong after them. Returns a reason if the
    /// worker must be stopped.
    async fn take_heard(
        self: &Rc<Self>,
        link: &Link,
        heard: &mut Vec<Heard>,
        step: Result<(), OutOfStep>,
    ) -> Option<ExitReason> {
        let mut now = Instant::now();
        if let Some(pipes) = link.pipes.borrow_mut().as_mut() {
            if let Some(dropped) = pipes.take_dropped() {
                self.count_dropped(dropped);
            }
            self.note_heard(now, link, !heard.is_empty(), &pipes.take_ended());
        }
        self.pass_progress_on(now, link);
        let verdict = match step {
            // Any of these answers may be the one too many, so none is handed out.
            Err(out) if !self.answers.are_proven => {
                heard.dedup_by_key(|heard| heard.call);
                let doubtful = heard.drain(..).len();
                Some(self.out_of_step(now, link, out, doubtful))
            }
            step => match self.judge_all(&mut now, link, heard).await {
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

    /// Notes that a worker answered: calls that somebody waits for, or these, which were given up.
    fn note_heard(&self, now: Instant, link: &Link, answered: bool, late: &[CallId]) {
        if answered || !late.is_empty() {
            let mut state = self.state.borrow_mut();
            state.heard(now, link.worker);
            for call in late {
                state.answered_late(now, link.worker, *call);
            }
        }
    }

    /// Hands answers out. Stops at the first that may belong to another call, and returns why.
    async fn judge_all(
        self: &Rc<Self>,
        now: &mut Instant,
        link: &Link,
        heard: &mut Vec<Heard>,
    ) -> Option<String> {
        for heard in heard.drain(..) {
            if heard.share != Share::Whole {
                if let Some(detail) = self.take_part(now, link, heard).await {
                    return Some(detail);
                }
                continue;
            }
            if self.answers.group.is_some() {
                if let Err(detail) = self.answer_group(now, link, heard).await {
                    return Some(detail);
                }
                continue;
            }
            let call = heard.call;
            // Most answers are not large, and no future is made for them.
            let judged = match self.judge_small(link, &heard) {
                Some(judged) => judged,
                None => self.judge(now, link, heard).await,
            };
            let (good, result) = match judged {
                Ok(judged) => judged,
                Err(detail) => return Some(detail),
            };
            let ended = self.state.borrow_mut().answered(*now, link.worker, call, good);
            if let Some(ended) = ended {
                self.finish(ended, result);
            }
        }
        None
    }

    pub(super) fn out_of_step(
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
        let calls = doubtful.max(link.group_size()).max(1);
        let loss = Loss::BadAnswer { detail: told, calls };
        self.state.borrow_mut().lose(now, link.worker, &loss, unwritten);
        reason
    }

    /// Hands a call its one outcome, and counts it.
    pub(super) fn finish(&self, ended: Ended<Payload>, result: Result<Reply, Failure>) {
        let told = ended.payload.close(&result);
        let outcome = match &result {
            _ if let Some(failure) = &told => CallOutcome::Failed(failure.code()),
            _ if ended.abandoned => CallOutcome::Abandoned,
            Ok(_) => CallOutcome::Ok,
            Err(failure) => CallOutcome::Failed(failure.code()),
        };
        self.note_ended(&ended, outcome);
        let Ended { payload: entry, timing, at: ended_at, .. } = ended;
        entry.has_left();
        if let Some(terms) = &entry.terms {
            self.lifecycle.note_no_calls();
            if let Some(guest) = terms.guest.get() {
                let told = told.map_or_else(|| result.clone(), Err);
                self.end_guest(ended_at, guest, (told, timing), false);
            }
        }
        entry.route.call(outcome);
        self.metrics.queued_for(timing.queue);
        if timing.work > Duration::ZERO {
            self.metrics.worked_for(timing.work);
        }
        entry.outbox.put(Outcome { result, timing });
    }
}
