//! What a background call needs to begin, and where it is; and whose call one of another server is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::backlog::BacklogId;
use crate::base::{CallId, Class, NodeId, RunId};

/// What else a background call needs to begin, also for the second time.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) class: Class,
    pub(super) idempotent: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) ticket: Rc<WorkTicket>,
    /// Whose call it is, and which attempt, if it comes from another server.
    pub(super) guest: Cell<Option<(NodeId, RunId)>>,
}

impl Terms {
    /// Returns true if another call may run together with one that has these terms, in a group.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let are_items = [self, other].iter().all(|it| matches!(it.class, Class::Batch(_)));
        are_items && self.idempotent == other.idempotent && self.timeout == other.timeout
    }
}

/// Where a background call is.
#[derive(Debug)]
pub(super) struct WorkTicket {
    pub(super) at: Cell<Whereabouts>,
    pub(super) since: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Whereabouts {
    Nowhere,
    Backlog(BacklogId),
    Books(CallId),
}
