//! What the answer to a call is worth: the verdict on it, and what becomes of its call.

use std::time::Instant;

use super::Pool;
use super::links::Link;
use crate::base::{Failure, Reply};
use crate::wire::{CANCELLED_UNASKED, Verdict};
use crate::worker::pipes::{Heard, shown};

/// True for a good answer, and the result of its call.
type Judged = (bool, Result<Reply, Failure>);

impl Pool {
    /// Judges a whole answer. Returns true for a good one, and the result of its call.
    ///
    /// # Errors
    ///
    /// Why the answer may belong to another call.
    pub(super) async fn judge(
        &self,
        now: &mut Instant,
        link: &Link,
        heard: Heard,
    ) -> Result<Judged, String> {
        let Heard { answer, question, proven, .. } = &heard;
        let verdict = self.answers.judge(now, question, answer, *proven).await;
        self.weigh(link, &heard, verdict)
    }

    /// Judges a whole answer at once, as [`Pool::judge`] does; `None`: it is large.
    pub(super) fn judge_small(&self, link: &Link, heard: &Heard) -> Option<Result<Judged, String>> {
        let Heard { answer, question, proven, .. } = heard;
        let verdict = self.answers.judge_small(question, answer, *proven)?;
        Some(self.weigh(link, heard, verdict))
    }

    /// What a verdict on an answer means for its call.
    fn weigh(&self, link: &Link, heard: &Heard, verdict: Verdict) -> Result<Judged, String> {
        let Heard { call, answer, question, .. } = heard;
        let unfit = |detail: &str| {
            let why = format!("{detail}{}", self.answers.judge.patterns());
            self.report_bad_answer(link, &why, &shown(answer), question.len(), "");
            Ok((false, Err(Failure::BadAnswer { detail: detail.into() })))
        };
        match verdict {
            Verdict::Good(reply) => Ok((true, Ok(reply))),
            Verdict::ProgramError(failure) => Ok((true, Err(failure))),
            Verdict::Cancelled if !self.state.borrow().is_awaited(*call) => {
                Ok((true, Err(Failure::Cancelled)))
            }
            Verdict::Cancelled => unfit(CANCELLED_UNASKED),
            Verdict::Unfit { detail } => unfit(&detail),
            Verdict::Doubtful { detail } => {
                let (said, patterns) = (shown(answer), self.answers.judge.patterns());
                let bytes = question.len();
                link.note(format!("{detail}: {said}{patterns}; the question has {bytes} bytes"));
                Err(detail)
            }
        }
    }

    /// Logs why an answer was refused, with what the worker wrote.
    pub(super) fn report_bad_answer(
        &self,
        link: &Link,
        why: &str,
        said: &str,
        question_bytes: usize,
        hint: &str,
    ) {
        let (pool, worker) = (self.name(), link.worker.0);
        tracing::warn!(pool, worker, why, said, question_bytes, hint, "bad answer");
    }
}
