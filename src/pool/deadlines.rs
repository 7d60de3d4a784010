//! What becomes of calls and workers as time passes.
//!
//! Pure: the part of [`State`] that [`State::tick`] calls.

use std::time::Instant;

use super::actions::{Action, StopReason};
use super::books::CallBook;
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
            let retry_after = self.retry_after();
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
            let Some(call) = self.calls.get(id) else { continue };
            let after = now.saturating_duration_since(call.accepted);
            let failure = Failure::Timeout { after };
            if call.holders == 0 {
                self.fail(now, id, failure);
            } else if call.abandoned.is_none() {
                self.push(Action::Expire { call: id, failure });
                self.caller_left(now, id);
            }
        }
    }

    /// Stops a worker in which a call has run out of time.
    pub(super) fn check_times(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get(&worker) else { return };
        let running = if self.rules.in_order { 1 } else { book.held.len() };
        let mut first: Option<(Instant, CallId)> = None;
        for (place, held) in book.held.iter().take(running).enumerate() {
            let since =
                if place == 0 && self.rules.in_order { book.head_since } else { held.given };
            let deadline = self.run_deadline(held.id, since);
            if first.is_none_or(|(earliest, _)| deadline < earliest) {
                first = Some((deadline, held.id));
            }
        }
        match first {
            Some((deadline, late)) if deadline <= now => {
                let failure = Failure::Timeout { after: self.rules.timeout };
                self.stop_worker(now, worker, StopReason::Timeout);
                let lost = Failure::WorkerLost { exit: "stopped for a call that ran over".into() };
                let suspect = |_, id| (id == late).then(|| failure.clone());
                self.clear(now, worker, 0, &lost, suspect);
            }
            Some((deadline, _)) => self.note(deadline),
            None => {}
        }
    }

    /// Until when a call may run that has run since then: nobody's call not as long as
    /// somebody's.
    fn run_deadline(&self, id: CallId, since: Instant) -> Instant {
        let whole = since + self.rules.timeout;
        let alone_since = match self.calls.get(id) {
            Some(call) => call.abandoned.map(|left| left.max(since)),
            None => Some(since),
        };
        alone_since.map_or(whole, |alone| whole.min(alone + self.rules.abandoned))
    }

    /// Gives what waits behind a head that runs over to another worker too. Only where the
    /// answers prove their calls are calls sent ahead, so whichever answer comes first counts.
    pub(super) fn check_head(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        if self.rules.in_flight != InFlight::Auto || book.held.len() < 2 || book.overdue {
            return;
        }
        let overdue_at = book.head_since + self.estimate.overdue_after();
        if overdue_at > now {
            return self.note(overdue_at);
        }
        book.overdue = true;
        let behind: Vec<CallId> = book.held.iter().skip(1).map(|held| held.id).collect();
        for id in behind.into_iter().rev() {
            let alone = |call: &CallBook<P>| call.holders == 1 && call.abandoned.is_none();
            if self.calls.get(id).is_some_and(alone) {
                self.rejoin(now, id);
            }
        }
    }
}
