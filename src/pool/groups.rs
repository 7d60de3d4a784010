//! Calls that one worker gets together and answers together (`batch`).
//!
//! Pure: a part of [`State`]. A worker holds one group at a time, so all that it holds is the group:
//! one question, one answer, one clock.
//!
//! - A worker that becomes free takes its part of the calls that wait: as many as each free worker
//!   would get, and at most [`GroupRules::most`]. Nothing waits for a group to become larger while a
//!   worker is free, unless [`GroupRules::wait`] says so.
//! - A call that may not run twice goes alone, except one of a function of Python
//!   ([`GroupRules::mixes_all`]). So does one whose question is suspected.
//! - If a worker is lost with a group, nobody knows which call was the cause. None is blamed: the calls
//!   come back as two halves, which run apart from each other and from all others. So the one bad call
//!   of a group of 16 is alone after four losses, and the fifth is its own.
//! - What the group took is shared among its calls in equal parts, for the estimates and for tenants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::actions::{Action, NewCall};
use super::calls::CallBook;
use super::crew::{Held, WorkerBook};
use super::grouping::{GroupRules, HalfId};
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

impl<P> State<P> {
    /// Gives free workers the calls that wait, in groups.
    pub(super) fn dispatch_groups(&mut self, now: Instant, rules: GroupRules) {
        self.groups.gathers_until = None;
        while let Some(first) = self.next_call(now) {
            let Some(worker) = self.pick(now, false) else { return };
            if let Some(until) = self.gathers_until(now, rules, first) {
                self.groups.gathers_until = Some(until);
                return self.alarms.at(until);
            }
            self.give_group(now, rules, worker);
        }
    }

    /// Gives a worker the calls whose turn it is, as many as are its part.
    fn give_group(&mut self, now: Instant, rules: GroupRules, worker: WorkerId) {
        let part = self.line.len().div_ceil(self.open_workers().max(1));
        let mut calls: Vec<CallId> = Vec::new();
        let (mut bytes, mut half) = (1, HalfId::NONE);
        while calls.len() < part.min(rules.most) {
            let Some(id) = self.next_call(now) else { break };
            let goes_alone = self.goes_alone(id);
            let Some(call) = self.calls.get(id) else { break };
            let joins = !goes_alone && call.half == half && rules.has_room(bytes, call.bytes);
            if !calls.is_empty() && !joins {
                break;
            }
            let Some(seat) = call.seat else { break };
            (bytes, half) = (bytes.saturating_add(call.bytes).saturating_add(1), call.half);
            self.line.taken(seat, id);
            self.hand_over(now, id, worker);
            calls.push(id);
            if goes_alone {
                break;
            }
        }
        if !calls.is_empty() {
            self.push(Action::GiveGroup { worker, calls });
        }
    }

    /// Pieces of background work begin together, in a place for one. Only where [`State::vacancy`] says
    /// that one may. With each stands how many workers it has cost already, and to which half of a lost
    /// group it belongs. Returns for each what [`State::begin`] returns.
    pub fn begin_group(
        &mut self,
        now: Instant,
        group: Vec<(NewCall<P>, u32, HalfId)>,
    ) -> Vec<Result<CallId, (P, Failure)>> {
        let worker = if self.stopping { None } else { self.background_place() };
        let Some(worker) = worker else {
            let failure = if self.stopping { Failure::Draining } else { self.no_worker(now) };
            return group
                .into_iter()
                .map(|(call, ..)| Err((call.payload, failure.clone())))
                .collect();
        };
        self.background.kept = None;
        let mut calls = Vec::new();
        let begun = group.into_iter().map(|(call, retries, half)| {
            let id = self.admit(now, call, retries)?;
            if let Some(call) = self.calls.get_mut(id) {
                call.half = half;
            }
            self.hand_over(now, id, worker);
            calls.push(id);
            Ok(id)
        });
        let begun = begun.collect();
        if !calls.is_empty() {
            self.push(Action::GiveGroup { worker, calls });
        }
        begun
    }

    /// How background work is put together; `None`: it begins piece by piece.
    pub fn group_rules(&self) -> Option<GroupRules> {
        self.rules.group
    }

    /// Returns true if a call must be the only one of its group: it may not run twice, or its question
    /// has cost a worker before.
    fn goes_alone(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return true };
        let mixes_all = self.rules.group.is_some_and(|rules| rules.mixes_all);
        !(call.idempotent || mixes_all) || call.is_trial || self.suspects.suspects(call)
    }

    /// Returns true if background work must be the only one of its group, because its question has cost a
    /// worker before. The caller knows the other reasons.
    pub fn is_suspected(&self, payload: &P) -> bool {
        self.suspects.suspects_new(payload)
    }

    /// Until when the calls that wait gather although a worker is free; `None` if they go now.
    fn gathers_until(&mut self, now: Instant, rules: GroupRules, first: CallId) -> Option<Instant> {
        let is_full = self.line.len() >= rules.most;
        if rules.wait.is_zero() || is_full || self.line.is_overloaded() || self.goes_alone(first) {
            return None;
        }
        let ends = |call: &CallBook<P>| {
            let end = call.since + rules.wait;
            let limits = call.waits_until.into_iter().chain(call.caller_deadline);
            let is_urgent = call.given.is_some() || limits.min().is_some_and(|limit| limit <= end);
            if is_urgent { now } else { end }
        };
        let waiting = self.line.lists().flatten().filter_map(|id| self.calls.get(*id));
        let until = waiting.filter(|call| call.waits_until.is_some()).map(ends).min();
        until.filter(|until| *until > now)
    }

    /// How many workers are free for calls of callers.
    fn open_workers(&self) -> usize {
        let kept = self.background.kept;
        self.crew.free().iter().filter(|worker| kept != Some(**worker)).count()
    }

    /// How many calls may wait while a worker is free: as many as gather for the free workers.
    pub(super) fn gather_most(&self) -> usize {
        match self.rules.group {
            Some(rules) if !rules.wait.is_zero() => {
                self.open_workers().saturating_mul(rules.most).max(1)
            }
            _ => 1,
        }
    }

    /// When the time of a group is over: when that of the last of its calls is. `None` where workers
    /// have no groups.
    pub(super) fn group_deadline(&self, book: &WorkerBook) -> Option<Instant> {
        self.rules.group?;
        book.held.iter().map(|held| self.run_deadline(held, book.head_since)).max()
    }

    /// How many of the calls of a worker it has begun to read. A group is one question.
    pub(super) fn read_of(&self, held: usize, unwritten: usize) -> usize {
        match self.rules.group {
            Some(_) if unwritten > 0 => 0,
            _ => held.saturating_sub(unwritten),
        }
    }

    /// The part that one call has in a time that a worker worked.
    pub(super) fn part_of(&self, book: &WorkerBook, time: Duration) -> Duration {
        let calls = u32::try_from(book.held.len().max(1)).unwrap_or(u32::MAX);
        if self.rules.group.is_some() { time / calls } else { time }
    }

    /// Takes the calls of a group out of a worker that was lost while it worked on them. Those that may
    /// run twice come back as two halves; the others fail.
    pub(super) fn break_up(
        &mut self,
        now: Instant,
        group: VecDeque<Held>,
        busy_since: Instant,
        failure: impl Fn(usize, CallId) -> Failure,
    ) {
        let calls = u32::try_from(group.len()).unwrap_or(u32::MAX);
        let mut again = Vec::new();
        for (place, Held { id, given, charge, .. }) in group.into_iter().enumerate() {
            let took = self.rules.took(now, given, busy_since) / calls;
            if let Some(charge) = charge {
                self.line.settle(charge, Some(took), self.usual());
            }
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.holders -= 1;
            let may_run = call.idempotent && call.abandoned.is_none() && now < call.latest;
            if may_run && !self.stopping {
                call.retries += 1;
                again.push(id);
            } else {
                self.fail(now, id, failure(place, id));
            }
        }
        let (first, second) = again.split_at(again.len().div_ceil(2));
        for half in [second, first] {
            let name = self.groups.new_half();
            for id in half.iter().rev() {
                if let Some(call) = self.calls.get_mut(*id) {
                    call.half = name;
                }
                self.put_back(now, *id);
            }
        }
    }
}
