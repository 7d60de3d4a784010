//! What owners and hosts tell each other, without what only their callers and workers need.
//!
//! Pure: data only. `message` is the same as bytes.

use std::time::Duration;

use bytes::Bytes;

use crate::base::{Question, RunId};

/// What an owner tells a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHost {
    /// It gives a call.
    Grant {
        /// The claim that is answered.
        claim: u64,
        /// The attempt.
        run: RunId,
        /// How long the call may take.
        left: Duration,
        /// The last ping before.
        ping: u64,
        /// Its question. The text is empty if it comes in parts.
        question: Question,
        /// How many bytes the question has.
        len: u64,
    },
    /// A part of a question.
    Part {
        /// The attempt.
        run: RunId,
        /// How many bytes went before.
        at: u64,
        /// The part.
        body: Bytes,
    },
    /// It has taken this much of an answer.
    More {
        /// The attempt.
        run: RunId,
        /// How much.
        taken: u64,
    },
    /// It has no call for this claim.
    Nothing {
        /// The claim.
        claim: u64,
    },
    /// Nobody waits for this call any longer.
    Leave {
        /// The attempt.
        run: RunId,
    },
    /// It asks what became of its calls.
    Ping {
        /// Its number; each is greater than the one before.
        ping: u64,
        /// The calls that it has given to this host and waits for.
        holds: Vec<RunId>,
        /// These are all.
        is_whole: bool,
    },
}

/// What a host tells an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToOwner {
    /// It has a free worker, which is reserved, and asks for a call.
    Claim {
        /// The number of the claim.
        claim: u64,
    },
    /// A call has ended.
    Answer {
        /// The attempt.
        run: RunId,
        /// What of the answer went before, in parts.
        before: SentBefore,
        /// The worker is free again and reserved, and asks for the next call.
        claim: Option<u64>,
    },
    /// It refuses a call: no worker has seen it.
    NotBegun {
        /// The attempt.
        run: RunId,
    },
    /// A part of an answer.
    Part(PartOfAnswer),
    /// It has taken this much of a question.
    More {
        /// The attempt.
        run: RunId,
        /// How much.
        taken: u64,
    },
    /// It says what became of calls.
    Pong {
        /// The ping that is answered.
        ping: u64,
        /// The calls that it knows nothing of.
        unknown: Vec<RunId>,
        /// It forgot no end that was not heard: what it does not know was not begun.
        sure: bool,
        /// It works on one call, and nothing else.
        alone: bool,
        /// How much of each answer that comes in parts was sent before.
        sent: Vec<(RunId, u64)>,
    },
}

/// What of an answer went in parts before its call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBefore {
    /// Nothing.
    Nothing,
    /// Its body, which has this length.
    Body(u64),
    /// Parts that the caller gets as they come, and how much that was.
    Parts(u64),
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOfAnswer {
    /// The attempt.
    pub run: RunId,
    /// How much went before.
    pub at: u64,
    /// How long the whole answer is, if it counts only as a whole. Else the caller gets each part.
    pub len: Option<u64>,
    /// The program's part does not end here, but in a later one.
    pub cut: bool,
    /// The part.
    pub body: Bytes,
}
