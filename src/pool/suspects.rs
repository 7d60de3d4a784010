//! Which question is blamed for the loss of a worker, and what becomes of one that is refused.
//!
//! Pure: the part of [`State`] around `policy::poison`.

use std::fmt;
use std::time::Instant;

use super::actions::{Action, Loss};
use super::books::CallBook;
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};
use crate::policy::Fingerprint;

/// Where the usual call takes more of `timeout` than this part of it, one that took all of it may
/// have done no wrong: the pool is slow.
const USUAL_MOST: u32 = 4;

/// Makes fingerprints of what the shell keeps with calls.
pub(super) struct Fingerprints<P>(Box<dyn Fn(&P) -> Fingerprint>);

impl<P> Fingerprints<P> {
    pub(super) fn new(of: impl Fn(&P) -> Fingerprint + 'static) -> Self {
        Self(Box::new(of))
    }
}

impl<P> fmt::Debug for Fingerprints<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fingerprints")
    }
}

impl<P> State<P> {
    /// Forgets which questions are poisonous; says how many were refused.
    pub fn forgive_poisonous(&mut self) -> usize {
        self.poison.forgive()
    }

    /// What a question is known by, where any question is suspected.
    pub(super) fn question_of(&mut self, now: Instant, payload: &P) -> Option<Fingerprint> {
        if !self.poison.is_wary() {
            return None;
        }
        self.poison.forget_old(now);
        Some((self.fingerprints.0)(payload))
    }

    pub(super) fn begin_trial(&mut self, now: Instant, question: Fingerprint, id: CallId) {
        let is_trial = self.poison.begin_trial(now, question, id);
        if let Some(call) = self.calls.get_mut(id) {
            call.is_trial = is_trial;
        }
    }

    /// A call that got into the queue before its question was refused goes no further, retries
    /// included. Says whether it was so.
    pub(super) fn refuse_waiting(&mut self, now: Instant, id: CallId) -> bool {
        if !self.poison.is_wary() || self.calls.get(id).is_some_and(|call| call.is_trial) {
            return false;
        }
        let Some(question) = self.known(id) else { return false };
        if !self.poison.refuses(now, question) {
            return false;
        }
        if self.calls.get(id).is_some_and(|call| call.holders > 0) {
            // A worker is at it already; only the second one is spared.
            self.leave_line(id);
        } else {
            self.fail(now, id, Failure::Poisonous);
        }
        true
    }

    /// The program answered this call well.
    pub(super) fn acquit(&mut self, id: CallId) {
        self.poison.answered();
        if self.poison.is_wary()
            && let Some(question) = self.known(id)
        {
            self.poison.acquit(question);
        }
    }

    /// A worker is about to be lost: blames the one question that can have been the cause. Where
    /// the answer of more than one call is in doubt, or several were being worked on at once,
    /// there is none; nor where it was not read.
    pub(super) fn blame_for(
        &mut self,
        now: Instant,
        worker: WorkerId,
        loss: &Loss,
        unwritten: usize,
    ) {
        let is_certain = match loss {
            Loss::Ended(_) => true,
            Loss::BadAnswer { calls, .. } => *calls == 1 && self.poison.has_worked(),
            Loss::UnaskedOutput | Loss::StartFailed { .. } => false,
        };
        let Some(book) = self.workers.get(&worker).filter(|_| is_certain) else { return };
        let read = book.held.len().saturating_sub(unwritten);
        let is_alone = read == 1 || (read > 1 && self.rules.in_order);
        if let Some(head) = book.held.front().filter(|_| is_alone) {
            let id = head.id;
            self.blame(id, |state, question| state.poison.blame(now, question, id));
        }
    }

    /// A worker is about to be stopped for these calls, which ran too long. Blames the question
    /// of the first it holds if that alone ran over, for the whole `timeout`, and nothing speaks
    /// for overload: the queue did not stand when it was handed over (what it did afterwards may
    /// be this call's own doing), and other calls take a small part of `timeout`.
    pub(super) fn blame_for_time(&mut self, now: Instant, worker: WorkerId, late: &[CallId]) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        self.estimate.finished(now.saturating_duration_since(book.busy_since));
        let Some(head) = book.held.front().filter(|head| *late == [head.id]) else { return };
        let since = if self.rules.in_order { book.head_since } else { head.given };
        let is_whole = now >= since + self.rules.timeout;
        let usual = self.estimate.service().unwrap_or_default();
        let is_slow = usual > self.rules.timeout / USUAL_MOST;
        if is_whole && head.in_peace && !is_slow {
            let id = head.id;
            self.blame(id, |state, question| state.poison.ran_over(now, question, id));
        }
    }

    fn blame(&mut self, id: CallId, so: impl FnOnce(&mut Self, Fingerprint) -> bool) {
        let Some(question) = self.known(id) else { return };
        if let Some(call) = self.calls.get_mut(id) {
            call.is_trial = false;
        }
        if so(self, question) {
            self.push(Action::Refuse(question));
        }
    }

    /// What the question of a call is known by, made now if it was not needed yet.
    fn known(&mut self, id: CallId) -> Option<Fingerprint> {
        let fingerprints = &self.fingerprints;
        let CallBook { question, payload, .. } = self.calls.get_mut(id)?;
        Some(*question.get_or_insert_with(|| (fingerprints.0)(payload)))
    }
}
