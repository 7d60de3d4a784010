//! What becomes of calls and workers as time passes.
//!
//! Pure: the part of [`State`] that [`State::tick`] calls.

use std::time::{Duration, Instant};

use super::actions::{Action, StopReason};
use super::calls::CallBook;
use super::crew::{Held, WorkerBook};
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};
use crate::config::InFlight;

impl<P> State<P> {
    /// Fails the calls that have waited too long.
    pub(super) fn expire_waits(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.line.first_deadline(|id| self.calls.deadline(id)) {
            if deadline > now {
                return self.alarms.at(deadline);
            }
            if self.calls.get(id).is_some_and(|call| call.holders > 0) {
                // A worker still holds it; it only waited for a second one.
                self.leave_queue(id);
                continue;
            }
            let retry_after = self.retry_after(now);
            let accepted = self.calls.get(id).map_or(now, |call| call.accepted);
            let waited = now.saturating_duration_since(accepted);
            self.fail(now, id, Failure::QueueTimeout { waited, retry_after });
        }
    }

    /// Tells the callers whose own deadline has passed.
    pub(super) fn expire_callers(&mut self, now: Instant) {
        while let Some(id) = self.alarms.next_late_caller(now) {
            if self.fail_if_late(now, id) {
                continue;
            }
            let Some(call) = self.calls.get(id) else { continue };
            if call.abandoned.is_none() {
                let after = now.saturating_duration_since(call.accepted);
                let failure = Failure::Timeout { after, conduct: call.conduct };
                self.push(Action::Expire { call: id, failure });
                self.caller_left(now, id);
            }
        }
    }

    /// Fails a call that no worker holds if its caller has stopped waiting, even if no tick has
    /// noticed that yet. Returns true if so.
    pub(super) fn fail_if_late(&mut self, now: Instant, id: CallId) -> bool {
        let Some(call) = self.calls.get(id) else { return false };
        if call.holders > 0 || call.caller_deadline.is_none_or(|deadline| deadline > now) {
            return false;
        }
        let after = now.saturating_duration_since(call.accepted);
        self.fail(now, id, Failure::Timeout { after, conduct: None });
        true
    }

    /// Looks for calls in a worker that have run out of time. Where each answer proves which call it
    /// is for, only those calls are given up, as long as the worker is of use to others.
    pub(super) fn check_times(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let deadlines = self.run_deadlines(book);
        let first = deadlines.clone().map(|(deadline, _)| deadline).min();
        let is_late = |(deadline, _): &(Instant, CallId)| *deadline <= now;
        let late: Vec<CallId> = deadlines.filter(is_late).map(|(_, id)| id).collect();
        if !late.is_empty() && (self.rules.in_order || self.may_stop_for(now, worker, &late)) {
            return self.stop_for(now, worker, &late);
        }
        if !late.is_empty() {
            self.give_up(now, worker, &late);
        } else if let Some(first) = first {
            self.alarms.at(first);
        }
        self.check_silence(now, worker);
    }

    /// Stops a worker in which these calls have run out of time.
    fn stop_for(&mut self, now: Instant, worker: WorkerId, late: &[CallId]) {
        let conduct = |id| self.calls.get(id).and_then(|call| call.conduct);
        let told: Vec<_> =
            late.iter().map(|id| (*id, self.timeout_of(*id), conduct(*id))).collect();
        // No back-off, even for a worker without a good answer: a worker that hangs is started
        // again once per `timeout`, which is no storm.
        self.stop_worker(worker, StopReason::Timeout);
        self.blame_for_time(now, worker, late);
        let lost = Failure::WorkerLost { exit: "stopped for a call that ran over".into() };
        let suspect = |_, id| {
            let (_, after, conduct) = *told.iter().find(|(late, ..)| *late == id)?;
            Some(Failure::Timeout { after, conduct })
        };
        self.clear(now, worker, 0, &lost, suspect);
    }

    /// Sets the alarms for the calls that a worker runs now. One of them may be abandoned, and
    /// have little time; the oldest is looked at if it runs long.
    pub(super) fn note_run_deadline(&mut self, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        if let Some((first, _)) = self.run_deadlines(book).min() {
            self.alarms.at(first);
        }
        if let Some(look) = self.look_at(book) {
            self.alarms.at(look);
        }
        if let Some(sight) = self.step_back_at(book) {
            self.alarms.at(sight);
        }
    }

    /// Returns the deadlines of the calls that a worker can be working on.
    pub(super) fn run_deadlines<'a>(
        &'a self,
        book: &'a WorkerBook,
    ) -> impl Iterator<Item = (Instant, CallId)> + Clone + 'a {
        let common = self.group_deadline(book);
        let is_one = self.rules.in_order && common.is_none();
        let running = if is_one { 1 } else { book.held.len() };
        book.held.iter().take(running).map(move |held| {
            let since = if self.rules.in_order { book.head_since } else { held.given };
            (common.unwrap_or_else(|| self.run_deadline(held, since)), held.id)
        })
    }

    /// Returns the deadline of a call that began to run at `since`. An abandoned call gets less time.
    pub(super) fn run_deadline(&self, held: &Held, since: Instant) -> Instant {
        let call = self.calls.get(held.id);
        let own_timeout = call.and_then(|call| call.own_timeout);
        let whole = since + own_timeout.unwrap_or(self.rules.timeout);
        let abandoned = call.and_then(|call| call.abandoned);
        let alone_since = abandoned.or(held.orphaned);
        alone_since.map_or(whole, |alone| whole.min(alone.max(since) + self.rules.abandoned))
    }

    /// How long a call may take in a worker.
    pub(super) fn timeout_of(&self, id: CallId) -> Duration {
        let own_timeout = self.calls.get(id).and_then(|call| call.own_timeout);
        own_timeout.unwrap_or(self.rules.timeout)
    }

    /// When a rescue begins for the calls behind the head of a worker.
    pub(super) fn overdue_at(&self, book: &WorkerBook) -> Option<Instant> {
        let may_rescue = self.rules.in_flight == InFlight::Auto && !book.overdue;
        (may_rescue && book.held.len() >= 2).then(|| book.head_since + book.patience)
    }

    /// Takes the calls behind an overdue head back. Where that is not possible, begins a rescue: puts
    /// them back into the queue, so that another worker gets them too, and the first answer counts.
    /// Calls are only sent ahead where each answer proves which call it is for.
    pub(super) fn check_head(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let Some(overdue_at) = self.overdue_at(book) else { return };
        if overdue_at > now {
            return self.alarms.at(overdue_at);
        }
        let behind: Vec<CallId> = book.held.iter().skip(1).map(|held| held.id).collect();
        self.crew.runs_over(worker);
        self.estimate.ran_over();
        if self.rules.takes_back {
            return self.take_back(worker);
        }
        for id in behind.into_iter().rev() {
            let may_move = |call: &CallBook<P>| {
                call.idempotent && call.holders == 1 && call.abandoned.is_none()
            };
            if self.calls.get(id).is_some_and(may_move) {
                self.rejoin(now, id);
            }
        }
    }

    /// Ends a rescue: the overdue head is answered and the worker goes on to the calls behind it.
    /// Those that no other worker has taken leave the queue.
    pub(super) fn end_rescue(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let overdue_at = now + book.patience;
        let held: Vec<CallId> = book.held.iter().map(|held| held.id).collect();
        for id in held {
            self.leave_queue(id);
        }
        self.alarms.at(overdue_at);
    }

    /// A call was answered by one of its workers; its copies in other workers are orphans.
    pub(super) fn orphan(&mut self, now: Instant, id: CallId) {
        let since = self.calls.get(id).and_then(|call| call.abandoned).unwrap_or(now);
        self.crew.orphan(id, since);
        self.alarms.at(now + self.rules.abandoned);
    }
}
