//! What the pool decides: which worker gets which call, when a call has waited or run long
//! enough, and what becomes of the calls of a lost worker.
//!
//! Pure: events come in with the time at which they happened, [`Action`]s come out. The shell
//! (`driver`) carries the actions out and reports back. Because nothing here reads a clock or
//! touches a process, `tests/sim` can run days of crashes and bursts in a second and replay
//! any of it from its seed.
//!
//! An event first changes the books. [`State::settle`] then draws the consequences, in this
//! order: calls that have waited too long fail; free workers are given calls, first those that
//! were put back, then those of the tenant whose turn it is (see `line`), the oldest or, while its
//! queue stands, the newest (see `policy::overload`); workers are started or stopped; and if no
//! worker can be had, all calls that wait fail.
//!
//! The books are made of parts that own their data: [`CallBooks`], [`Line`], [`Crew`] (the workers),
//! [`Alarms`] (the deadlines), [`Suspects`]. The rules that need several parts are methods of
//! [`State`]; they stand here and, by subject, in the files beside this one.
//!
//! Invariants, which [`State::check`] checks after every event of the simulation:
//! - A call is in the books from its acceptance to its one answer.
//! - A call is in the queue, or held by a worker, or (during a rescue) both; never neither.
//! - A worker that starts or leaves holds nothing.
//! - At most `most` workers count.
//! - While a worker is free, no call waits, unless the most workers run that take one call each, or calls
//!   gather for a group.
//! - A worker that serves has room for a call, or holds one.
//! - An alarm is set for every deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actions::{Action, Ended, NewCall, StopReason};
use super::alarms::Alarms;
use super::background::Background;
use super::calls::{CallBook, CallBooks, CallOrigin};
use super::crew::{Crew, Held, Stay};
use super::estimate::Estimate;
use super::grouping::{Groups, HalfId};
use super::inside::Insides;
use super::line::{Line, TenantSlot, WaitRule};
use super::promises::Promises;
use super::rules::{Rules, TAKEN_BACK_MOST};
use super::sharing::Spread;
use super::sight::Rising;
use super::suspects::Suspects;
use crate::base::{CallId, Failure, WorkerCount, WorkerId};
use crate::config::InFlight;
use crate::policy::{Backoff, Fingerprint};

/// The books of one pool. `P` is what the shell keeps with each call.
#[derive(Debug)]
pub struct State<P> {
    pub(super) rules: Rules,
    /// How long the oldest call of a worker may run until the first look at it.
    pub(super) first_look: Duration,
    /// How long after its arrival a call is no longer put back.
    pub(super) latest_after: Duration,
    pub(super) calls: CallBooks<P>,
    pub(super) line: Line,
    pub(super) crew: Crew,
    pub(super) alarms: Alarms,
    pub(super) backoff: Backoff,
    /// Why the last worker that failed before its first good answer did, in words for callers.
    pub(super) in_vain: Option<Arc<str>>,
    pub(super) estimate: Estimate,
    pub(super) promises: Promises,
    pub(super) rising: Rising,
    pub(super) suspects: Suspects<P>,
    /// What workers held that were lost and are not gone yet.
    pub(super) insides: HashMap<WorkerId, Insides>,
    /// The match text of the route of a call.
    pub(super) route_of: fn(&P) -> String,
    /// When a worker became ready for the first time.
    pub(super) first_ready: Option<Instant>,
    pub(super) stopping: bool,
    /// Workers are added because calls wait.
    pub(super) is_growing: bool,
    pub(super) background: Background,
    /// What is shared with other servers; `None`: nothing is.
    pub(super) spread: Option<Box<Spread<P>>>,
    pub(super) groups: Groups,
    actions: Vec<Action<P>>,
    /// Workers that give unread calls back, once the other actions are carried out.
    take_backs: Vec<WorkerId>,
}

impl<P> State<P> {
    /// The books of a pool that has no workers yet; [`State::settle`] starts the first ones.
    /// `fingerprint` tells questions apart. It is called only while a question is suspected.
    pub fn new(rules: Rules, seed: u64, fingerprint: impl Fn(&P) -> Fingerprint + 'static) -> Self {
        Self {
            first_look: rules.first_look(),
            latest_after: rules.latest_after(),
            rules,
            calls: CallBooks::new(),
            line: Line::default(),
            crew: Crew::new(!seed),
            alarms: Alarms::default(),
            backoff: Backoff::new(seed),
            in_vain: None,
            estimate: Estimate::default(),
            promises: Promises::default(),
            rising: Rising::default(),
            suspects: Suspects::new(fingerprint),
            insides: HashMap::new(),
            route_of: |_| String::new(),
            first_ready: None,
            stopping: false,
            is_growing: false,
            background: Background::default(),
            spread: None,
            groups: Groups::default(),
            actions: Vec::new(),
            take_backs: Vec::new(),
        }
    }

    /// Numbers its workers together with those of other pools.
    #[must_use]
    pub fn counting_with(mut self, others: WorkerCount) -> Self {
        self.crew.count_with(others);
        self
    }

    /// Names the route of a call with this function.
    #[must_use]
    pub fn naming_routes_with(mut self, route_of: fn(&P) -> String) -> Self {
        self.route_of = route_of;
        self
    }

    /// Returns true if there are actions.
    pub fn wants_something(&self) -> bool {
        !(self.actions.is_empty() && self.take_backs.is_empty())
    }

    /// Moves the actions to the end of `to`, oldest first.
    pub fn move_actions(&mut self, to: &mut Vec<Action<P>>) {
        to.append(&mut self.actions);
        // The other actions were decided without the calls that come back.
        to.extend(self.take_backs.drain(..).map(Action::TakeBack));
    }

    /// Removes and returns the actions, oldest first.
    pub fn take_actions(&mut self) -> Vec<Action<P>> {
        let mut actions = Vec::new();
        self.move_actions(&mut actions);
        actions
    }

    /// When [`State::tick`] must be called. It may then find nothing to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// What the shell keeps with a call; `None` if the call is not in the books.
    pub fn payload(&self, id: CallId) -> Option<&P> {
        self.calls.get(id).map(|call| &call.payload)
    }

    /// Returns true if the caller of this call still waits for its answer.
    pub fn is_awaited(&self, id: CallId) -> bool {
        self.calls.get(id).is_some_and(|call| call.abandoned.is_none())
    }

    /// The newest call that the shell knows by this; `None` if there is none.
    pub fn newest(&self, is_it: impl Fn(&P) -> bool) -> Option<CallId> {
        self.calls.iter().filter(|call| is_it(&call.payload)).map(|call| call.id).max()
    }

    /// A call arrives and enters the books.
    ///
    /// # Errors
    ///
    /// If the call is refused, its payload comes back with `queue_full`, `no_worker`, `poisonous`
    /// or `draining`.
    pub fn arrive(&mut self, now: Instant, call: NewCall<P>) -> Result<CallId, (P, Failure)> {
        let question = self.suspects.arrives(now, &call.payload);
        let seat = self.line.enter(call.tenant);
        if question.is_none()
            && let Some(worker) = self.worker_at_once(now, &call, seat)
        {
            let id = self.enter(now, call, None, (Some(seat), None, now + self.latest_after));
            self.give(now, id, worker);
            return Ok(id);
        }
        let refusal = self.refusal(now, question, seat, call.bytes, call.idempotent);
        if let Some(refusal) = refusal {
            self.line.ended(seat);
            return Err((call.payload, refusal));
        }
        let start = self.first_ready.map_or(self.rules.start_timeout, |_| Duration::ZERO);
        let deadline = now + start + self.rules.queue_wait;
        let latest = now + start + self.latest_after;
        let bytes = call.bytes;
        let id = self.enter(now, call, question, (Some(seat), Some(deadline), latest));
        self.line.push_back(seat, id, bytes, deadline, &mut self.alarms);
        Ok(id)
    }

    /// The worker that gets a call which arrives while no other waits, if that is as plain as it mostly
    /// is. Else the call joins the queue, and [`State::settle`] finds the worker.
    fn worker_at_once(
        &mut self,
        now: Instant,
        call: &NewCall<P>,
        seat: TenantSlot,
    ) -> Option<WorkerId> {
        let is_plain = !self.stopping
            && self.rules.group.is_none()
            && !self.rules.takes_back
            && call.caller_deadline.is_none()
            && self.spread.is_none()
            && !self.background.waits()
            // Where nobody may wait at all, a call has waited too long before it is given.
            && !self.rules.queue_wait.is_zero()
            && self.line.len() == 0;
        if !is_plain || self.has_no_prospect() {
            return None;
        }
        self.pick(now, call.idempotent).filter(|_| self.line.passes(seat))
    }

    /// A call enters the books: with its tenant, until when it waits in the queue, and the time after
    /// which it is no longer put back.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        call: NewCall<P>,
        question: Option<Fingerprint>,
        (seat, waits_until, latest): (Option<TenantSlot>, Option<Instant>, Instant),
    ) -> CallId {
        let caller_deadline = call.caller_deadline;
        let id = self.calls.insert(|id| CallBook {
            id,
            payload: call.payload,
            seat,
            bytes: call.bytes,
            idempotent: call.idempotent,
            accepted: now,
            since: now,
            waits_until,
            latest,
            caller_deadline,
            given: None,
            worker: None,
            host: None,
            holders: 0,
            retries: 0,
            abandoned: None,
            question,
            conduct: None,
            is_trial: question.is_some_and(|question| self.suspects.begin_trial(now, question, id)),
            own_timeout: call.timeout,
            origin: CallOrigin::Here,
            half: HalfId::NONE,
        });
        if let Some(deadline) = caller_deadline {
            self.alarms.at_caller_deadline(deadline, id);
        }
        id
    }

    /// The caller of this call left. A call that only waited leaves the books and is returned; a
    /// call that a worker holds runs on, abandoned.
    pub fn caller_left(&mut self, now: Instant, id: CallId) -> Option<Ended<P>> {
        self.leave_queue(id);
        let call = self.calls.get_mut(id)?;
        if call.holders == 0 {
            return self.end(now, id, true);
        }
        if call.abandoned.is_none() {
            call.abandoned = Some(now);
            self.alarms.at(now + self.rules.abandoned);
            self.call_back(now, id);
        }
        None
    }

    /// A worker that started can take calls.
    pub fn ready(&mut self, now: Instant, worker: WorkerId) {
        if let Some(stay) = self.crew.ready(now, worker) {
            self.first_ready.get_or_insert(now);
            self.freed(now, worker, stay);
            self.retire_due();
        }
    }

    /// A worker answered a call that it held. A good answer shows that the program works. Returns
    /// the call, for its caller to be told; `None` if another worker has answered it before.
    pub fn answered(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
        good: bool,
    ) -> Option<Ended<P>> {
        self.heard(now, worker);
        self.released(now, worker, id, good)
    }

    /// A call is taken out of a worker without an answer: the worker could not be asked, or was
    /// told that the call is cancelled. Returns the call, as [`State::answered`] does.
    pub fn withdrawn(&mut self, now: Instant, worker: WorkerId, id: CallId) -> Option<Ended<P>> {
        self.released(now, worker, id, false)
    }

    fn released(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
        good: bool,
    ) -> Option<Ended<P>> {
        let released = self.crew.release(now, worker, id, good, self.rules.group.is_some())?;
        if good {
            self.backoff.forget();
            self.suspects.acquit(self.calls.get_mut(id));
        }
        if released.charge.is_some() {
            self.learn(now, &released);
        }
        if released.had_stepped_back {
            self.actions.push(Action::ComeForward(worker));
        }
        self.settle_charge(&released);
        match released.freed {
            Some(stay) => self.freed(now, worker, stay),
            None => self.note_run_deadline(worker),
        }
        self.stop_if_useless(worker);
        if released.freed.is_none() && released.was_overdue {
            self.end_rescue(now, worker);
        }
        let call = self.calls.get_mut(id)?;
        call.holders -= 1;
        if call.holders > 0 {
            self.orphan(now, id);
        }
        self.leave_queue(id);
        self.end(now, id, false)
    }

    /// The process of a worker that was lost or stopped is gone. No other worker gets its name.
    pub fn gone(&mut self, worker: WorkerId) {
        self.crew.remove(worker);
        self.insides.remove(&worker);
    }

    /// Replaces the rules. No worker is restarted for it.
    pub fn set_rules(&mut self, now: Instant, rules: Rules) {
        self.line.change_rule(|id| self.calls.since(id));
        self.first_look = rules.first_look();
        self.latest_after = rules.latest_after();
        self.rules = rules;
        self.crew.ids().into_iter().for_each(|worker| self.stop_if_useless(worker));
        self.retire_due();
        self.alarms.at(now);
    }

    /// Ends the pool: every call in the books fails as `draining`, all workers stop.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        for worker in self.crew.ids() {
            self.stop_worker(worker, StopReason::Stopped);
            self.clear(now, worker, 0, &Failure::Draining, |_, _| Some(Failure::Draining));
        }
        self.call_all_back(now);
        for id in self.line.drain() {
            if self.calls.waits(id) {
                self.fail(now, id, Failure::Draining);
            }
        }
    }

    /// Draws the consequences of the last events; see the top of this file.
    pub fn settle(&mut self, now: Instant) {
        if self.is_calm() {
            return self.crew.look(now);
        }
        // A tick may come late. Even then no worker gets a call that has waited too long.
        self.expire_waits(now);
        if self.background.waits() {
            self.keep_for_background(now);
        }
        if self.spread.is_some() {
            self.reserve_for_others(now);
        }
        self.dispatch(now);
        self.crew.look(now);
        self.scale(now);
        self.note_growth();
        self.refuse_if_hopeless(now);
    }

    /// Does what is due at this time. The caller then calls [`State::settle`].
    pub fn tick(&mut self, now: Instant) {
        self.alarms.ring();
        for worker in self.crew.ids() {
            self.check_times(now, worker);
            self.check_age(now, worker);
            self.check_head(now, worker);
            self.check_long_run(now, worker);
            self.check_step_back(now, worker);
        }
        self.check_idle(now);
        self.note_background(now);
        self.check_away(now);
        self.expire_waits(now);
        // Last, because a call named by `Action::Expire` must still be in the books.
        self.expire_callers(now);
    }

    fn dispatch(&mut self, now: Instant) {
        if let Some(rules) = self.rules.group {
            return self.dispatch_groups(now, rules);
        }
        while let Some(id) = self.next_call(now) {
            let Some(call) = self.calls.get(id) else { break };
            let (Some(seat), may_follow) = (call.seat, self.may_follow(call)) else { break };
            let Some(worker) = self.pick(now, may_follow) else { break };
            self.line.taken(seat, id);
            self.give(now, id, worker);
        }
    }

    /// The call whose turn it is. Those that may not be given any longer fail.
    pub(super) fn next_call(&mut self, now: Instant) -> Option<CallId> {
        let rule = self.wait_rule(now);
        while let Some(id) = self.line.next(rule, |id| self.calls.since(id)) {
            if !self.refuse_waiting(now, id) && !self.fail_if_late(now, id) {
                return Some(id);
            }
        }
        None
    }

    /// By what queues are found to stand.
    pub(super) fn wait_rule(&self, now: Instant) -> WaitRule {
        let (first_ready, wait) = (self.first_ready, self.rules.queue_wait);
        WaitRule { at: now, first_ready, wait, grows: self.is_growing }
    }

    pub(super) fn give(&mut self, now: Instant, id: CallId, worker: WorkerId) {
        self.hand_over(now, id, worker);
        self.actions.push(match self.rules.group {
            None => Action::Give { worker, call: id },
            Some(_) => Action::GiveGroup { worker, calls: vec![id] },
        });
    }

    /// A worker holds this call from now on.
    pub(super) fn hand_over(&mut self, now: Instant, id: CallId, worker: WorkerId) {
        self.leave_queue(id);
        let Some(call) = self.calls.get_mut(id) else { return };
        let in_peace = !self.line.is_overloaded();
        let is_large = self.rules.takes_back && call.bytes > TAKEN_BACK_MOST;
        let usual = self.rules.usual(&self.estimate);
        let charge = call.seat.map(|seat| self.line.charge(seat, usual));
        let held = Held { id, given: now, orphaned: None, in_peace, is_large, charge };
        let patience = self.estimate.overdue_after();
        let Some(given) = self.crew.give(now, worker, held, patience, &self.rules) else { return };
        call.given = Some(now);
        call.conduct = None;
        call.worker = Some(worker);
        call.holders += 1;
        self.alarms.at(now + call.own_timeout.unwrap_or(self.rules.timeout));
        if given.was_free {
            self.alarms.at(now + self.first_look);
            self.note_sight(now);
        }
        if !given.was_free && self.rules.in_flight == InFlight::Auto {
            self.alarms.at(given.overdue_at);
        }
        if given.is_newly_due {
            self.retire_due();
        }
    }

    /// A worker holds nothing now: it leaves if it is to, else it is free.
    pub(super) fn freed(&mut self, now: Instant, worker: WorkerId, stay: Stay) {
        match stay {
            Stay::Parting => self.stop_worker(worker, StopReason::Recycled),
            Stay::Due => {
                self.note_idle(now);
                self.retire_due();
            }
            Stay::Kept => self.note_idle(now),
        }
    }

    pub(super) fn push(&mut self, action: Action<P>) {
        self.actions.push(action);
    }

    pub(super) fn take_back(&mut self, worker: WorkerId) {
        self.take_backs.push(worker);
    }
}
