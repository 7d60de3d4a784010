//! What an answer is worth: a reply, the program's own error, or a reason to distrust it.
//!
//! Pure. The order is that of the design: `error` is tried first, then `reply`.

use bytes::Bytes;

use super::http_reply;
use super::json;
use crate::base::pattern::{Match, Pattern};
use crate::base::{Failure, Reply, ReplyForm};
use crate::config::{PoolSettings, ReplyShape};

/// Judges the answers of one pool.
#[derive(Clone, Debug)]
pub struct Judge {
    reply: ReplyShape,
    error: Option<Pattern>,
    error_status: u16,
}

/// What one answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A successful answer.
    Good(Reply),
    /// The program says that it cannot answer; always [`Failure::ProgramError`]. The worker is
    /// fine.
    ProgramError(Failure),
    /// It is for this question but not of the agreed shape: `bad_answer`, the worker is kept.
    Unfit {
        /// What was wrong; does not repeat the answer.
        detail: String,
    },
    /// Nothing shows that it is for this question: `bad_answer`, and the worker must be stopped.
    Doubtful {
        /// What was wrong; does not repeat the answer.
        detail: String,
    },
}

impl Judge {
    /// A judge for this pool.
    pub fn new(pool: &PoolSettings) -> Self {
        Self {
            reply: pool.reply.clone(),
            error: pool.error.clone(),
            error_status: pool.error_status,
        }
    }

    /// Judges the answer to `question`. `proven`: the message itself showed that it is for this
    /// question, as [`super::Received::Answer`] says.
    pub fn judge(&self, question: &[u8], answer: Bytes, proven: bool) -> Verdict {
        let mut unfit = None;
        if let Some(error) = &self.error {
            match error.fit(question, &answer) {
                Match::Fits(_) => {
                    return Verdict::ProgramError(self.program_error(error, question, &answer));
                }
                Match::ProvenButUnfit(detail) => unfit = Some(detail),
                Match::Doubtful => {}
            }
        }
        let proven = proven || unfit.is_some();
        let (body, form) = match &self.reply {
            ReplyShape::Plain => (answer, ReplyForm::Plain),
            ReplyShape::Pattern(pattern) => match pattern.fit(question, &answer) {
                Match::Fits(body) if pattern.has_fields() => (body, ReplyForm::Json),
                Match::Fits(body) => (body, ReplyForm::Plain),
                Match::ProvenButUnfit(detail) => return Verdict::Unfit { detail },
                Match::Doubtful => {
                    let other = || "the answer does not have the shape of `reply`".to_owned();
                    return distrust(proven, unfit.unwrap_or_else(other));
                }
            },
            ReplyShape::Json if json::is_json(&answer) => (answer, ReplyForm::Json),
            ReplyShape::Json => return distrust(proven, "the answer is not JSON".to_owned()),
            ReplyShape::Http => match http_reply::read(&answer) {
                Ok(reply) => return Verdict::Good(reply),
                Err(detail) => return distrust(proven, detail),
            },
        };
        Verdict::Good(Reply { body, form })
    }

    fn program_error(&self, error: &Pattern, question: &[u8], answer: &Bytes) -> Failure {
        let message = error.capture("message", question, answer);
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned());
        Failure::ProgramError { status: self.error_status, message: message.into() }
    }
}

fn distrust(proven: bool, detail: String) -> Verdict {
    if proven { Verdict::Unfit { detail } } else { Verdict::Doubtful { detail } }
}
