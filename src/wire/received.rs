//! What a message of a worker is, and why a question was not asked.
//!
//! Pure: data only.

use bytes::Bytes;

use super::encode::TooLong;
use crate::base::Progress;

/// Why a question was not asked. Nothing was written, and the books are unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than `message_max` or the framing allows: `body_too_large`.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The question has no place for an `id` (`json-id`): `bad_request`, with the reason.
    #[error("{0}")]
    Unfit(&'static str),
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The answer to this call, or a share of it.
    Answer {
        /// The call.
        token: T,
        /// The answer, without its tag or with the caller's own `id`.
        text: Bytes,
        /// The caller's question.
        question: Bytes,
        /// The message itself shows which call it answers (always, except with `order`).
        proven: bool,
        /// How much of the answer it is. The call leaves the books with the last share.
        share: Share,
    },
    /// A message about a call that was cancelled or given up.
    Late {
        /// The call that was given up, if this ends its answer. It leaves the books.
        ended: Option<T>,
    },
    /// A message that cannot be an answer; the text tells the operator why.
    Stray(&'static str),
    /// What the worker says to the caller of this call before its answer (`json-id`).
    Aside {
        /// The call.
        token: T,
        /// The message as the caller may see it.
        text: Bytes,
    },
    /// How far this call is.
    Progress {
        /// The call.
        token: T,
        /// What the worker says of it.
        progress: Progress,
    },
    /// A message that belongs to no call whose caller listens, and asks for nothing (`json-id`).
    Notification,
    /// A question of the worker's own that no caller can be asked (`json-id`).
    WorkerAsks {
        /// The answer to write back, not yet framed: "method not found".
        reply: Bytes,
    },
    /// The worker is out of step and must be stopped; the text tells the operator why.
    Mismatch(String),
}

/// How much of an answer one message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    Whole,
    /// A part, with more to follow.
    Part,
    /// The last part.
    Last,
    /// Not a part: says that the part before was the last.
    End,
    /// Not a part: what the worker says to the caller before the end.
    Aside,
}

impl Share {
    /// Returns true if nothing of the answer comes after this.
    pub fn is_last(self) -> bool {
        !matches!(self, Self::Part | Self::Aside)
    }
}
