//! What an answer is worth.
//!
//! Pure: data only.

use crate::base::{Failure, Reply};

/// What is wrong with [`Verdict::Cancelled`] where somebody waits.
pub const CANCELLED_UNASKED: &str = "the worker ended the call as one that was cancelled";

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A successful answer.
    Good(Reply),
    /// The program says that it cannot answer: a [`Failure::ProgramError`], or a
    /// [`Failure::BadParameter`] or [`Failure::BadRequest`] where its answers say what they are. The worker is kept.
    ProgramError(Failure),
    /// The worker ended the call without a result, as it does when it is told that nobody waits for
    /// it. Where somebody waits, this is `bad_answer`. The worker is kept.
    Cancelled,
    /// The answer is for this question, but does not have the agreed shape: `bad_answer`. The
    /// worker is kept.
    Unfit {
        /// What is wrong, without repeating the answer.
        detail: String,
    },
    /// Nothing shows that the answer is for this question: `bad_answer`. The worker must be
    /// stopped.
    Doubtful {
        /// What is wrong, without repeating the answer.
        detail: String,
    },
}
