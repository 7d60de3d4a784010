//! What the world of groups knows of each call.

use std::time::Instant;

use httpipe::testing::base::Tenant;

/// What a worker does with a group that has this call in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// An error of its own: no fault of the worker.
    Error,
    Crash,
    Hang,
    Miscount,
}

impl Nature {
    pub(super) fn is_bad(self) -> bool {
        !matches!(self, Self::Good | Self::Error)
    }
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known for itself")]
pub(super) struct GroupedCall {
    pub(super) nature: Nature,
    pub(super) idempotent: bool,
    pub(super) is_work: bool,
    pub(super) tenant: Tenant,
    pub(super) arrived: Instant,
    pub(super) has_left: bool,
    pub(super) ended: u32,
    /// Most calls that its next group may have.
    pub(super) most: usize,
    /// The lost group that it was in last.
    pub(super) lost_with: u32,
    pub(super) lost: u32,
    pub(super) was_read: bool,
}

/// The first call with the question of this one: each question is asked twice.
pub(super) fn question_of(serial: usize) -> usize {
    serial - serial % 2
}
