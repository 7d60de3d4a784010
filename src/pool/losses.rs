//! What becomes of the calls of a worker that is lost.
//!
//! Pure: the part of [`State`] that takes calls out of workers and puts them back.

use std::sync::Arc;
use std::time::Instant;

use super::actions::Loss;
use super::crew::{Held, Phase};
use super::grouping::HalfId;
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

impl<P> State<P> {
    /// A worker is lost for a reason found outside the books. Its calls are put back or failed.
    /// It has read nothing of the newest `unwritten` ones.
    pub fn lose(&mut self, now: Instant, worker: WorkerId, loss: &Loss, unwritten: usize) {
        let Some(book) = self.crew.get(worker) else { return };
        // A group tells nothing of the program: a call that is alone in it will.
        let is_in_doubt =
            self.rules.group.is_some() && self.read_of(book.held.len(), unwritten) > 1;
        let tells = !matches!(loss, Loss::Killed) && !is_in_doubt;
        if tells && !book.proven && book.phase != Phase::Leaving {
            self.backoff.failed(now);
            self.in_vain = Some(loss.in_vain());
        }
        self.blame_for(now, worker, loss, unwritten);
        let suspects = match loss {
            Loss::BadAnswer { calls, .. } => *calls,
            Loss::Ended(_) | Loss::Killed => 1,
            Loss::UnaskedOutput | Loss::StartFailed { .. } => 0,
        };
        let ended = match loss {
            Loss::Ended(exit) => Failure::WorkerLost { exit: Arc::clone(exit) },
            Loss::Killed => Failure::WorkerLost { exit: "killed by an operator".into() },
            _ => Failure::WorkerLost { exit: "stopped for what it wrote".into() },
        };
        let failure = match loss {
            Loss::BadAnswer { detail, .. } => Failure::BadAnswer { detail: Arc::clone(detail) },
            _ => ended.clone(),
        };
        let suspect = |place, _| (place < suspects).then(|| failure.clone());
        self.clear(now, worker, unwritten, &ended, suspect);
    }

    /// Puts a call back to where it waited.
    pub(super) fn put_back(&mut self, now: Instant, id: CallId) {
        if self.calls.get(id).is_some_and(|call| call.is_background() || call.is_guest()) {
            self.give_back(now, id);
        } else {
            self.rejoin(now, id);
        }
    }

    /// Puts a call back, ahead of all that wait. Its wait starts again, but ends at the latest
    /// at `latest`, which was fixed when the call was accepted.
    pub(super) fn rejoin(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let deadline = if call.half == HalfId::NONE {
            (now + self.rules.queue_wait).min(call.latest).max(now)
        } else {
            // The other half goes first, and may cost several workers.
            call.latest.max(now)
        };
        if call.waits_until.is_none() {
            call.waits_until = Some(deadline);
            self.line.push_front(id, call.bytes, deadline, &mut self.alarms);
        }
    }

    /// Takes all calls out of a worker that is lost. `suspect` returns the failure of a call, by
    /// its place and id, if the call is a reason for the loss. Of the others, those that may run
    /// twice or were not read are put back in their order, and the rest fail as `lost`. Nothing
    /// is put back after its `latest`.
    pub(super) fn clear(
        &mut self,
        now: Instant,
        worker: WorkerId,
        unwritten: usize,
        lost: &Failure,
        suspect: impl Fn(usize, CallId) -> Option<Failure>,
    ) {
        let Some(held) = self.crew.empty(worker) else { return };
        let busy_since = self.crew.get(worker).map_or(now, |book| book.busy_since);
        let read = self.read_of(held.len(), unwritten);
        self.note_inside(now, worker, &held, read);
        if self.rules.group.is_some() && read > 1 {
            let failure = |place, id| suspect(place, id).unwrap_or_else(|| lost.clone());
            return self.break_up(now, held, busy_since, failure);
        }
        let mut again = Vec::new();
        for (place, Held { id, given, charge, .. }) in held.into_iter().enumerate() {
            let has_begun = place < read && (place == 0 || !self.rules.takes_one());
            let took = has_begun.then(|| self.rules.took(now, given, busy_since));
            if let Some(charge) = charge {
                self.line.settle(charge, took, self.usual());
            }
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.holders -= 1;
            if call.holders > 0 || call.waits_until.is_some() {
                continue;
            }
            let is_abandoned = call.abandoned.is_some();
            let goes_back = call.idempotent || place >= read;
            let failure = suspect(place, id).filter(|_| place < read);
            let again_anyway = failure.is_none() && goes_back && now < call.latest;
            let failure = failure.unwrap_or_else(|| lost.clone());
            if !is_abandoned && (again_anyway || self.tries_again(now, id, &failure)) {
                again.push(id);
            } else {
                self.fail_lost(now, id, failure);
            }
        }
        again.into_iter().rev().for_each(|id| self.put_back(now, id));
    }

    /// Counts one more try of a call, and returns true if it may have it: its worker was lost,
    /// it may run twice, and it has tries left.
    pub(super) fn tries_again(&mut self, now: Instant, id: CallId, failure: &Failure) -> bool {
        let retries = self.rules.retries;
        let Some(call) = self.calls.get_mut(id) else { return false };
        let again = matches!(failure, Failure::WorkerLost { .. })
            && call.idempotent
            && now < call.latest
            && call.retries < retries;
        call.retries += u32::from(again);
        again
    }
}
