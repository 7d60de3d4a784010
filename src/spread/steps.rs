//! What the desks of owners and hosts decide.
//!
//! Pure: data only. The shell carries the steps out in their order.

use std::time::Duration;

use bytes::Bytes;

use super::kept::GuestId;
use super::said::{SentBefore, ToHost, ToOwner};
use crate::base::{CallId, NodeId, Question, RunId, WorkerId};
use crate::pool::away::AwayLoss;

/// What the shell must do for an owner.
#[derive(Clone, Debug)]
pub enum OwnerStep {
    /// Tell one idle host that calls wait here.
    Demand {
        /// How many.
        calls: usize,
    },
    /// Tell all hosts how long the oldest call has waited.
    Hungry {
        /// How long.
        age: Duration,
    },
    /// A host asks for a call: ask the books, and tell `OwnerDesk::granted`.
    Ask {
        /// The host.
        host: NodeId,
        /// Its claim.
        claim: u64,
    },
    /// Tell a host something.
    Tell {
        /// The host.
        host: NodeId,
        /// What it is told.
        what: ToHost,
    },
    /// The answer that was just heard counts: tell the books, and then the caller.
    Take {
        /// The host.
        host: NodeId,
        /// The attempt.
        run: RunId,
        /// What came of it before, in parts.
        before: Bytes,
    },
    /// The caller gets this part of an answer. Then call `OwnerDesk::took` once there is room for
    /// more.
    TakePart {
        /// The host.
        host: NodeId,
        /// The attempt.
        run: RunId,
        /// The part.
        part: Bytes,
    },
    /// The answer is larger than the pool takes: the call has ended.
    TooLarge {
        /// The host.
        host: NodeId,
        /// The attempt.
        run: RunId,
    },
    /// An attempt has ended without an answer: tell the books.
    Lost {
        /// The host.
        host: NodeId,
        /// The attempt.
        run: RunId,
        /// Why.
        loss: AwayLoss,
    },
    /// What was just heard came too late, or is from somebody who has no part in the call.
    Late,
    /// A host is lost.
    HostLost(NodeId),
}

/// What the shell must do for a host.
#[derive(Clone, Debug)]
pub enum HostStep<T> {
    /// Tell an owner something.
    Tell {
        /// The owner.
        owner: NodeId,
        /// What it is told.
        what: ToOwner,
    },
    /// Tell an owner how a call has ended, as [`ToOwner::Answer`].
    Answer {
        /// The call.
        guest: GuestId,
        /// What of the answer went before, in parts.
        before: SentBefore,
        /// The next claim, for the worker that is free again.
        claim: Option<u64>,
        /// How it has ended.
        answer: T,
    },
    /// Tell an owner a part of an answer that has ended.
    Part {
        /// The call.
        guest: GuestId,
        /// From where to where it goes.
        range: (usize, usize),
        /// How it has ended.
        answer: T,
    },
    /// More of the answer to this call may be sent, or nobody wants it any longer.
    Room(GuestId),
    /// Pass a demand of an owner on to another host.
    PassOn {
        /// The owner.
        owner: NodeId,
        /// How many of its calls wait.
        calls: usize,
        /// How often it was passed on.
        hops: u32,
    },
    /// Give a reserved worker the call that was just granted. Then call `HostDesk::begun` or
    /// `HostDesk::refused`.
    Give {
        /// The worker.
        worker: WorkerId,
        /// The call.
        guest: GuestId,
        /// How long it may take.
        left: Duration,
        /// Its question; `None` if it is longer than the pool takes.
        question: Option<Question>,
    },
    /// This worker gets no call of another server.
    Release(WorkerId),
    /// The caller of this call has left.
    Leave(CallId),
    /// Listen to demands from now on, or no longer.
    Listen(bool),
}

/// How many workers are free after the books were settled, and how many have calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seating {
    /// Free, and not reserved.
    pub free: usize,
    /// With calls, whoever asked.
    pub busy: usize,
}
