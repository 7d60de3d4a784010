//! What the books know of other servers: which calls they have, and how many of theirs wait.
//!
//! Pure: data; `away` and `guests` decide.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Charge;
use crate::base::{CallId, NodeId, RunId};

/// How much longer than its time a call is waited for: its host ends it, and tells.
pub const GRACE: Duration = Duration::from_secs(3);

/// What a pool knows of other servers.
pub(super) struct Spread<P> {
    pub(super) may_go: fn(&P) -> bool,
    pub(super) away: BTreeMap<CallId, AwayBook>,
    /// How many attempts there were.
    pub(super) attempts: u32,
    /// How many calls other servers can take.
    pub(super) slots: usize,
    pub(super) wanted: Wanted,
}

impl<P> fmt::Debug for Spread<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Spread").field("away", &self.away).finish_non_exhaustive()
    }
}

/// One call that is away.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwayBook {
    pub(super) host: NodeId,
    pub(super) run: RunId,
    pub(super) given: Instant,
    /// When it is no longer waited for.
    pub(super) until: Instant,
    /// A part of its answer was seen.
    pub(super) has_begun: bool,
    pub(super) charge: Option<Charge>,
}

/// A call that a host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The call; its payload is in the books.
    pub call: CallId,
    /// What the answer must show.
    pub run: RunId,
    /// How long it may take.
    pub left: Duration,
}

/// How an attempt on another server ended without an answer.
#[derive(Clone, Debug)]
pub enum AwayLoss {
    /// The host refused the call.
    NotBegun,
    /// The host does not have the call, and never will.
    Unknown,
    /// The worker was lost.
    Worker {
        /// How it ended, in words.
        exit: Arc<str>,
        /// The question can be the only reason.
        blamed: bool,
    },
    /// Nothing is heard of the host any longer. It had no other call than this one if `alone`.
    Host {
        /// Nothing else ran there.
        alone: bool,
    },
}

/// Calls of this server wait that others may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunger {
    /// Since when the oldest waits.
    pub since: Instant,
    /// How many wait.
    pub calls: usize,
}

/// The calls of other servers for which workers may be reserved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// Since when the oldest waits.
    pub(super) since: Option<Instant>,
    pub(super) calls: usize,
}
