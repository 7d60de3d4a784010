//! Questions that cost workers and are refused for a while.
//!
//! Pure: time comes in as an argument, questions as fingerprints.
//!
//! A question is *blamed* when a worker was lost and only this question can be the cause: the
//! worker worked on it when it died or answered out of step, or it ran for the whole `timeout`
//! and nothing else explains that. After two blames by different calls within `WINDOW` it is
//! *refused* for `REFUSED`. Then one call is let through as a trial, and one more blame refuses
//! it again. A call and its retries are one call, and so are all callers who share a run.
//!
//! A good answer to the same question acquits it. Otherwise a program that dies by chance would
//! make the questions poisonous that are asked most.
//!
//! An answer out of step counts only after the program has given a good answer: a program that
//! greets first, and is not configured so, is out of step with every question.
//!
//! A `timeout` is the weakest proof, because a slow or overloaded machine or a stalled disk looks
//! the same. It counts only if the pool saw no overload, and while no *other* question has timed
//! out since the last good answer: where everything hangs, no question is to blame.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::base::CallId;

/// Blames that lie further apart are accidents.
const WINDOW: Duration = Duration::from_mins(10);
/// How long a question is refused before its trial.
const REFUSED: Duration = Duration::from_mins(10);
/// How many questions are remembered. A new one replaces the one blamed longest ago.
const KEPT_MOST: usize = 1024;

/// A hash that identifies a question without revealing it; its key is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// The call that was blamed last, and when.
    call: CallId,
    at: Instant,
    is_refused: bool,
    /// The call that is let through to see whether the question still costs a worker.
    trial: Option<CallId>,
}

impl Suspect {
    fn forgotten_at(&self) -> Instant {
        self.at + if self.is_refused { REFUSED + WINDOW } else { WINDOW }
    }

    fn awaits_trial(&self, now: Instant) -> bool {
        self.is_refused && self.trial.is_none() && now >= self.at + REFUSED
    }
}

/// The questions that a pool suspects.
#[derive(Clone, Debug, Default)]
pub struct Poison {
    suspects: HashMap<Fingerprint, Suspect>,
    /// No suspect is forgotten before this.
    stale_at: Option<Instant>,
    /// The first question that timed out after the last good answer.
    ran_over: Option<Fingerprint>,
    /// Different questions have timed out since the last good answer.
    is_stuck: bool,
    /// The program has given a good answer.
    has_worked: bool,
}

impl Poison {
    /// Returns true if any question is suspected. While none is, no fingerprints are needed.
    pub fn is_wary(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Returns true if this question is refused now.
    pub fn refuses(&self, now: Instant, question: Fingerprint) -> bool {
        self.suspects
            .get(&question)
            .is_some_and(|suspect| suspect.is_refused && !suspect.awaits_trial(now))
    }

    /// Returns true if this question was blamed before, and not acquitted or forgotten since.
    pub fn suspects(&self, question: Fingerprint) -> bool {
        self.suspects.contains_key(&question)
    }

    /// A call was accepted. Returns true if it is the trial of its question; other calls with the
    /// same question are refused until [`Poison::end_trial`] or a good answer.
    pub fn begin_trial(&mut self, now: Instant, question: Fingerprint, call: CallId) -> bool {
        let suspect = self.suspects.get_mut(&question).filter(|suspect| suspect.awaits_trial(now));
        let Some(suspect) = suspect else { return false };
        suspect.trial = Some(call);
        true
    }

    /// A trial ended. If it ended without blame or a good answer, the next call is the trial.
    pub fn end_trial(&mut self, question: Fingerprint, call: CallId) {
        if let Some(suspect) = self.suspects.get_mut(&question) {
            suspect.trial = suspect.trial.filter(|trial| *trial != call);
        }
    }

    /// A worker died of this call, or answered it out of step. Returns true if its question is
    /// refused from now on and was not before.
    pub fn blame(&mut self, now: Instant, question: Fingerprint, call: CallId) -> bool {
        self.forget_old(now);
        self.make_room(question);
        let fresh = Suspect { call, at: now, is_refused: false, trial: None };
        let suspect = self.suspects.entry(question).or_insert(fresh);
        let was_refused = suspect.is_refused;
        if suspect.call != call || was_refused {
            *suspect = Suspect { call, at: now, is_refused: true, trial: None };
        }
        let forgotten_at = suspect.forgotten_at();
        let is_new = suspect.is_refused && !was_refused;
        self.stale_at = Some(self.stale_at.map_or(forgotten_at, |at| at.min(forgotten_at)));
        is_new
    }

    /// A worker worked on this call for the whole `timeout`, and the pool was not overloaded.
    /// Returns the same as [`Poison::blame`].
    pub fn ran_over(&mut self, now: Instant, question: Fingerprint, call: CallId) -> bool {
        let first = *self.ran_over.get_or_insert(question);
        self.is_stuck |= first != question;
        if self.is_stuck {
            self.end_trial(question, call);
            return false;
        }
        self.blame(now, question, call)
    }

    /// The program gave a good answer to some question.
    pub fn answered(&mut self) {
        self.ran_over = None;
        self.is_stuck = false;
        self.has_worked = true;
    }

    /// Returns true if the program has ever given a good answer. One that never has may be
    /// configured wrongly, and answer every question out of step.
    pub fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// The program gave a good answer to this question, which is no longer suspected.
    pub fn acquit(&mut self, question: Fingerprint) {
        self.suspects.remove(&question);
    }

    /// Forgets suspicions that are too old. Costs one comparison while there are none.
    pub fn forget_old(&mut self, now: Instant) {
        if self.stale_at.is_some_and(|at| now >= at) {
            self.suspects.retain(|_, suspect| now < suspect.forgotten_at());
            self.stale_at = self.suspects.values().map(Suspect::forgotten_at).min();
        }
    }

    /// The questions that are refused, or would be without a trial, in order.
    pub fn refused(&self) -> Vec<Fingerprint> {
        let refused = self.suspects.iter().filter(|(_, suspect)| suspect.is_refused);
        let mut questions: Vec<Fingerprint> = refused.map(|(question, _)| *question).collect();
        questions.sort_unstable();
        questions
    }

    /// Forgets all suspicions; returns how many questions were refused.
    pub fn forgive(&mut self) -> usize {
        let refused = self.refused().len();
        *self = Self { has_worked: self.has_worked, ..Self::default() };
        refused
    }

    fn make_room(&mut self, question: Fingerprint) {
        if self.suspects.len() < KEPT_MOST || self.suspects.contains_key(&question) {
            return;
        }
        let oldest = self.suspects.iter().min_by_key(|(_, suspect)| suspect.at);
        if let Some(oldest) = oldest.map(|(question, _)| *question) {
            self.suspects.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: Fingerprint = Fingerprint(7);
    const OTHER: Fingerprint = Fingerprint(8);

    fn minutes(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    fn refused_at(now: Instant) -> Poison {
        let mut poison = Poison::default();
        assert!(!poison.blame(now, Q, CallId(1)));
        assert!(poison.blame(now, Q, CallId(2)));
        poison
    }

    #[test]
    fn two_calls_make_a_question_poisonous_and_one_call_twice_does_not() {
        let now = Instant::now();
        let mut poison = Poison::default();
        assert!(!poison.blame(now, Q, CallId(1)));
        assert!(!poison.blame(now, Q, CallId(1)), "its retry");
        assert!(!poison.refuses(now, Q));
        assert!(poison.blame(now, Q, CallId(2)));
        assert!(poison.refuses(now, Q));
        assert!(!poison.refuses(now, OTHER));
        assert!(!poison.blame(now, Q, CallId(3)), "it is refused already");
    }

    #[test]
    fn blames_ten_minutes_apart_are_accidents() {
        let now = Instant::now();
        let mut poison = Poison::default();
        poison.blame(now, Q, CallId(1));
        assert!(!poison.blame(now + minutes(10), Q, CallId(2)));
        assert!(poison.blame(now + minutes(19), Q, CallId(3)));
    }

    #[test]
    fn after_ten_minutes_one_call_is_let_through() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        let later = now + minutes(10);
        assert!(poison.refuses(now + minutes(9), Q));
        assert!(!poison.begin_trial(now + minutes(9), Q, CallId(3)));
        assert!(!poison.refuses(later, Q));
        assert!(poison.begin_trial(later, Q, CallId(4)));
        assert!(poison.refuses(later, Q), "one, not all at once");
        poison.blame(later, Q, CallId(4));
        assert!(poison.refuses(later + minutes(9), Q), "one blame is enough now");
    }

    #[test]
    fn a_trial_without_a_verdict_makes_way_for_the_next() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        let later = now + minutes(10);
        poison.begin_trial(later, Q, CallId(3));
        poison.end_trial(Q, CallId(9));
        assert!(poison.refuses(later, Q), "that was another call");
        poison.end_trial(Q, CallId(3));
        assert!(!poison.refuses(later, Q));
    }

    #[test]
    fn a_good_answer_acquits() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        poison.acquit(Q);
        assert!(!poison.refuses(now, Q) && !poison.is_wary());
        assert!(!poison.blame(now, Q, CallId(3)));
    }

    #[test]
    fn a_timeout_counts_unless_another_question_timed_out_too() {
        let now = Instant::now();
        let mut poison = Poison::default();
        poison.ran_over(now, Q, CallId(1));
        assert!(poison.ran_over(now, Q, CallId(2)));
        let mut poison = Poison::default();
        poison.ran_over(now, Q, CallId(1));
        poison.ran_over(now, OTHER, CallId(2));
        assert!(!poison.ran_over(now, Q, CallId(3)), "everything hangs");
        assert!(!poison.ran_over(now, OTHER, CallId(4)));
        poison.answered();
        assert!(poison.ran_over(now, Q, CallId(5)));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        for number in 0..2000 {
            let at = now + Duration::from_millis(number);
            poison.blame(at, Fingerprint(number + 100), CallId(number + 100));
        }
        assert_eq!(poison.suspects.len(), KEPT_MOST);
        assert!(!poison.refuses(now, Q));
        poison.blame(now + Duration::from_secs(3), Fingerprint(2099), CallId(1));
        assert_eq!(poison.refused(), [Fingerprint(2099)]);
    }

    #[test]
    fn nothing_is_kept_for_ever() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        poison.blame(now, OTHER, CallId(3));
        poison.forget_old(now + minutes(10));
        assert_eq!(poison.suspects.len(), 1, "who is refused is watched for ten minutes more");
        poison.forget_old(now + minutes(20));
        assert!(!poison.is_wary());
    }

    #[test]
    fn forgiving_forgets_all_and_counts_what_was_refused() {
        let now = Instant::now();
        let mut poison = refused_at(now);
        poison.blame(now, OTHER, CallId(3));
        assert_eq!(poison.forgive(), 1);
        assert!(!poison.is_wary());
        assert!(!poison.blame(now, Q, CallId(4)), "from the beginning");
    }
}
