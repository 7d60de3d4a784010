//! What becomes of calls and workers as time passes.
//!
//! Pure: the part of [`State`] that [`State::tick`] calls.

use std::time::Instant;

use super::actions::{Action, StopReason};
use super::books::{CallBook, Held, WorkerBook};
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};
use crate::config::InFlight;

impl<P> State<P> {
    pub(super) fn expire_waits(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.line.first_deadline(|id| self.calls.deadline(id)) {
            if deadline > now {
                return self.note(deadline);
            }
            if self.calls.get(id).is_some_and(|call| call.holders > 0) {
                // A worker still holds it: it only gives up its place for a second one.
                self.leave_line(id);
                continue;
            }
            let retry_after = self.retry_after(now);
            let waited = self.rules.queue_wait;
            self.fail(now, id, Failure::QueueTimeout { waited, retry_after });
        }
    }

    pub(super) fn expire_callers(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.caller_deadlines.first().copied() {
            if deadline > now {
                return self.note(deadline);
            }
            self.caller_deadlines.pop_first();
            if self.fail_if_late(now, id) {
                continue;
            }
            let Some(call) = self.calls.get(id) else { continue };
            if call.abandoned.is_none() {
                let after = now.saturating_duration_since(call.accepted);
                self.push(Action::Expire { call: id, failure: Failure::Timeout { after } });
                self.caller_left(now, id);
            }
        }
    }

    /// Ends a call that no worker holds and whose caller has stopped waiting: it is not handed
    /// over any more, though no tick may have found it yet. Says whether it was so.
    pub(super) fn fail_if_late(&mut self, now: Instant, id: CallId) -> bool {
        let Some(call) = self.calls.get(id) else { return false };
        if call.holders > 0 || call.caller_deadline.is_none_or(|deadline| deadline > now) {
            return false;
        }
        let after = now.saturating_duration_since(call.accepted);
        self.fail(now, id, Failure::Timeout { after });
        true
    }

    /// Stops a worker in which a call has run out of time.
    pub(super) fn check_times(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get(&worker) else { return };
        let deadlines = self.run_deadlines(book);
        let Some((first, _)) = deadlines.clone().min() else { return };
        let is_late = |(deadline, _): &(Instant, CallId)| *deadline <= now;
        let late: Vec<CallId> = deadlines.filter(is_late).map(|(_, id)| id).collect();
        if late.is_empty() {
            return self.note(first);
        }
        let failure = Failure::Timeout { after: self.rules.timeout };
        // No back-off, even where the worker gave no good answer yet: a pool of workers that all
        // hang starts each of them once in a `timeout`, and that is no storm.
        self.stop_worker(worker, StopReason::Timeout);
        self.blame_for_time(now, worker, &late);
        let lost = Failure::WorkerLost { exit: "stopped for a call that ran over".into() };
        let suspect = |_, id| late.contains(&id).then(|| failure.clone());
        self.clear(now, worker, 0, &lost, suspect);
    }

    /// Another call came to be the one that runs: nobody may be waiting for it, and its time be
    /// short.
    pub(super) fn note_run_deadline(&mut self, worker: WorkerId) {
        let Some(book) = self.workers.get(&worker) else { return };
        if let Some((first, _)) = self.run_deadlines(book).min() {
            self.note(first);
        }
    }

    /// Until when the calls in a worker may run, of those that it can be working on.
    fn run_deadlines<'a>(
        &'a self,
        book: &'a WorkerBook,
    ) -> impl Iterator<Item = (Instant, CallId)> + Clone + 'a {
        let running = if self.rules.in_order { 1 } else { book.held.len() };
        book.held.iter().take(running).map(|held| {
            let since = if self.rules.in_order { book.head_since } else { held.given };
            (self.run_deadline(held, since), held.id)
        })
    }

    /// Until when a call may run that has run since then: nobody's call not as long as
    /// somebody's.
    fn run_deadline(&self, held: &Held, since: Instant) -> Instant {
        let whole = since + self.rules.timeout;
        let abandoned = self.calls.get(held.id).and_then(|call| call.abandoned);
        let alone_since = abandoned.or(held.orphaned);
        alone_since.map_or(whole, |alone| whole.min(alone.max(since) + self.rules.abandoned))
    }

    /// Gives what waits behind a head that runs over to another worker too. Only where the
    /// answers prove their calls are calls sent ahead, so whichever answer comes first counts.
    pub(super) fn check_head(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        if self.rules.in_flight != InFlight::Auto || book.held.len() < 2 || book.overdue {
            return;
        }
        let overdue_at = book.head_since + book.patience;
        if overdue_at > now {
            return self.note(overdue_at);
        }
        book.overdue = true;
        self.estimate.ran_over();
        let behind: Vec<CallId> = book.held.iter().skip(1).map(|held| held.id).collect();
        for id in behind.into_iter().rev() {
            let may_move = |call: &CallBook<P>| {
                call.idempotent && call.holders == 1 && call.abandoned.is_none()
            };
            if self.calls.get(id).is_some_and(may_move) {
                self.rejoin(now, id);
            }
        }
    }

    /// The head that ran over is done: what was behind it is being worked on here now, and
    /// gives up its place in the queue if nobody has taken it yet.
    pub(super) fn end_rescue(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get(&worker) else { return };
        let overdue_at = now + book.patience;
        let held: Vec<CallId> = book.held.iter().map(|held| held.id).collect();
        for id in held {
            self.leave_line(id);
        }
        self.note(overdue_at);
    }

    /// A call was answered by one of its workers: what others make of it is for nobody.
    pub(super) fn orphan(&mut self, now: Instant, id: CallId) {
        let since = self.calls.get(id).and_then(|call| call.abandoned).unwrap_or(now);
        let held = self.workers.values_mut().flat_map(|book| book.held.iter_mut());
        held.filter(|held| held.id == id).for_each(|held| held.orphaned = Some(since));
        self.note(now + self.rules.abandoned);
    }
}
