//! What owners and hosts tell each other, without what only their callers and workers need.
//!
//! Pure: data only. `message` is the same as bytes.

use std::time::Duration;

use crate::base::RunId;

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
        /// How many parts the answer had before.
        parts: u64,
        /// The worker is free again and reserved, and asks for the next call.
        claim: Option<u64>,
    },
    /// It refuses a call: no worker has seen it.
    NotBegun {
        /// The attempt.
        run: RunId,
    },
    /// One part of an answer that comes in parts.
    Part {
        /// The attempt.
        run: RunId,
        /// Its number, counted from 0.
        seq: u64,
    },
    /// It says what became of calls.
    Pong {
        /// The ping that is answered.
        ping: u64,
        /// The calls that it knows nothing of.
        unknown: Vec<RunId>,
        /// It works on one call, and nothing else.
        alone: bool,
    },
}
