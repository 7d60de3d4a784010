//! Which question is blamed for the loss of a worker.
//!
//! Pure: the part of [`State`] that accuses and acquits; `suspects` remembers.

use std::time::Instant;

use super::actions::{Action, Loss};
use super::calls::CallOrigin;
use super::crew::Held;
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

/// Where the average call takes more than this fraction of `timeout`, the pool is slow, and a
/// call that took all of it may not be at fault.
const USUAL_MOST: u32 = 4;

impl<P> State<P> {
    /// Forgets which questions are poisonous; returns how many were refused.
    pub fn forgive_poisonous(&mut self) -> usize {
        self.suspects.forgive()
    }

    /// Takes a call out of the queue if its question was refused after the call had entered. This
    /// includes calls that are tried again. Returns true if so.
    pub(super) fn refuse_waiting(&mut self, now: Instant, id: CallId) -> bool {
        if !self.suspects.refuses_waiting(now, self.calls.get_mut(id)) {
            return false;
        }
        if self.calls.get(id).is_some_and(|call| call.holders > 0) {
            // A worker runs it already; only a second one is spared.
            self.leave_queue(id);
        } else {
            self.fail(now, id, Failure::Poisonous);
        }
        true
    }

    /// A worker is about to be lost: blames the one question that can be the cause. There is none
    /// if the worker had not read it, if the answers of several calls are in doubt, or if the
    /// worker may have worked on several at once, such as one that was given up.
    pub(super) fn blame_for(
        &mut self,
        now: Instant,
        worker: WorkerId,
        loss: &Loss,
        unwritten: usize,
    ) {
        let is_certain = match loss {
            Loss::Ended(_) => true,
            Loss::BadAnswer { calls, .. } => *calls == 1 && self.suspects.has_worked(),
            Loss::Killed | Loss::UnaskedOutput | Loss::StartFailed { .. } => false,
        };
        let Some(book) = self.crew.get(worker).filter(|_| is_certain) else { return };
        if !book.given_up.is_empty() {
            return;
        }
        let read = self.read_of(book.held.len(), unwritten);
        let is_alone = read == 1 || (read > 1 && self.rules.in_order && self.rules.group.is_none());
        let Some(head) = book.held.front().filter(|_| is_alone) else { return };
        let Some(call) = self.calls.get_mut(head.id) else { return };
        if call.is_guest() {
            return call.origin = CallOrigin::Elsewhere { blamed: true };
        }
        if let Some(question) = self.suspects.blame(now, call) {
            self.push(Action::Refuse(question));
        }
    }

    /// A worker is about to be stopped because the calls in `late` ran too long. Blames the
    /// question of its oldest call if only that call ran over, for the whole `timeout`, and
    /// nothing suggests overload: the queue did not stand when the worker was given the call
    /// (this call itself may have made it stand later), and the average call takes a small
    /// fraction of `timeout`.
    pub(super) fn blame_for_time(&mut self, now: Instant, worker: WorkerId, late: &[CallId]) {
        let Some(book) = self.crew.get(worker) else { return };
        let head = book.held.front();
        if !head.is_some_and(Held::is_background) {
            let time = now.saturating_duration_since(book.busy_since);
            self.estimate.finished(self.part_of(book, time));
        }
        let Some(head) = head.filter(|head| *late == [head.id]) else { return };
        let since = if self.rules.in_order { book.head_since } else { head.given };
        let is_whole = now >= since + self.timeout_of(head.id);
        let usual = self.estimate.service().unwrap_or_default();
        let is_slow = usual > self.rules.timeout / USUAL_MOST;
        if !is_whole || !head.in_peace || is_slow || !book.given_up.is_empty() {
            return;
        }
        let Some(call) = self.calls.get_mut(head.id) else { return };
        if call.is_guest() {
            return call.origin = CallOrigin::Elsewhere { blamed: true };
        }
        if let Some(question) = self.suspects.ran_over(now, call) {
            self.push(Action::Refuse(question));
        }
    }
}
