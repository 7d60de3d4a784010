//! Which questions are suspected, and the fingerprints that tell questions apart.
//!
//! Pure: `policy::poison` decides; here its rules meet the calls of a pool.

use std::fmt;
use std::time::Instant;

use super::calls::CallBook;
use crate::base::CallId;
use crate::policy::{Fingerprint, Poison};

/// What a pool holds against questions. While it suspects none, it makes no fingerprints.
pub(super) struct Suspects<P> {
    poison: Poison,
    fingerprint: Box<dyn Fn(&P) -> Fingerprint>,
}

impl<P> fmt::Debug for Suspects<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Suspects").field("poison", &self.poison).finish_non_exhaustive()
    }
}

impl<P> Suspects<P> {
    /// No question is suspected yet; `fingerprint` reads the question out of a payload.
    pub(super) fn new(fingerprint: impl Fn(&P) -> Fingerprint + 'static) -> Self {
        Self { poison: Poison::default(), fingerprint: Box::new(fingerprint) }
    }

    /// The fingerprint of a call that arrives; `None` while no question is suspected.
    pub(super) fn arrives(&mut self, now: Instant, payload: &P) -> Option<Fingerprint> {
        if !self.poison.is_wary() {
            return None;
        }
        self.poison.forget_old(now);
        Some((self.fingerprint)(payload))
    }

    /// Returns true if this question is refused now.
    pub(super) fn refuses(&self, now: Instant, question: Fingerprint) -> bool {
        self.poison.refuses(now, question)
    }

    /// Returns true if the question of a call that is not in the books has cost a worker before.
    pub(super) fn suspects_new(&self, payload: &P) -> bool {
        self.poison.is_wary() && self.poison.suspects((self.fingerprint)(payload))
    }

    /// Returns true if the question of this call has cost a worker before.
    pub(super) fn suspects(&self, call: &mut CallBook<P>) -> bool {
        self.poison.is_wary() && self.poison.suspects(self.question(call))
    }

    /// A call was accepted. Returns true if it is the trial of its question.
    pub(super) fn begin_trial(&mut self, now: Instant, question: Fingerprint, id: CallId) -> bool {
        self.poison.begin_trial(now, question, id)
    }

    /// Returns true if the question of this call was refused after the call was accepted.
    pub(super) fn refuses_waiting(&self, now: Instant, call: Option<&mut CallBook<P>>) -> bool {
        if !self.poison.is_wary() {
            return false;
        }
        let Some(call) = call.filter(|call| !call.is_trial) else { return false };
        self.poison.refuses(now, self.question(call))
    }

    /// The program gave a good answer to this call, if it is still in the books.
    pub(super) fn acquit(&mut self, call: Option<&mut CallBook<P>>) {
        self.poison.answered();
        if self.poison.is_wary()
            && let Some(call) = call
        {
            let question = self.question(call);
            self.poison.acquit(question);
        }
    }

    /// A call has left the books.
    pub(super) fn ended(&mut self, call: &CallBook<P>) {
        if call.is_trial
            && let Some(question) = call.question
        {
            self.poison.end_trial(question, call.id);
        }
    }

    /// A worker was lost, and this call was the cause. Returns its question if the question is
    /// refused from now on and was not before.
    pub(super) fn blame(&mut self, now: Instant, call: &mut CallBook<P>) -> Option<Fingerprint> {
        let question = self.question(call);
        call.is_trial = false;
        self.poison.blame(now, question, call.id).then_some(question)
    }

    /// A worker was stopped because this call ran for the whole `timeout`. Returns the same as
    /// [`Suspects::blame`].
    pub(super) fn ran_over(&mut self, now: Instant, call: &mut CallBook<P>) -> Option<Fingerprint> {
        let question = self.question(call);
        call.is_trial = false;
        self.poison.ran_over(now, question, call.id).then_some(question)
    }

    /// Returns true if the program has ever given a good answer.
    pub(super) fn has_worked(&self) -> bool {
        self.poison.has_worked()
    }

    /// The questions that are refused, or would be without a trial.
    pub(super) fn refused(&self) -> Vec<Fingerprint> {
        self.poison.refused()
    }

    /// Forgets all suspicion; returns how many questions were refused.
    pub(super) fn forgive(&mut self) -> usize {
        self.poison.forgive()
    }

    /// The fingerprint of a call's question, made now if it was not needed before.
    pub(super) fn question(&self, call: &mut CallBook<P>) -> Fingerprint {
        let CallBook { question, payload, .. } = call;
        *question.get_or_insert_with(|| (self.fingerprint)(payload))
    }
}
