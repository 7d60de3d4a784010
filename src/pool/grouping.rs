//! How calls are put together, and what the books know of it.
//!
//! Pure: data; `groups` decides.

use std::time::{Duration, Instant};

/// How calls are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// Most calls in a group; 1 or more.
    pub most: usize,
    /// How long a call may wait for others although a worker is free.
    pub wait: Duration,
    /// Most bytes of the questions of a group, with some bytes for each question beside its own.
    pub bytes: usize,
    /// Calls that may not run twice go together as well.
    pub mixes_all: bool,
}

impl GroupRules {
    /// Returns true if a question of so many bytes has room beside so many that are there.
    pub(super) fn has_room(&self, there: usize, bytes: usize) -> bool {
        there.saturating_add(bytes).saturating_add(1) <= self.bytes
    }
}

/// Which half of a lost group a call belongs to. Calls of two halves are never in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfId(u64);

impl HalfId {
    /// Of no lost group.
    pub const NONE: Self = Self(0);
}

/// What the books know of groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    halves: u64,
    /// Until when calls wait for others although a worker is free.
    pub(super) gathers_until: Option<Instant>,
}

impl Groups {
    pub(super) fn new_half(&mut self) -> HalfId {
        self.halves += 1;
        HalfId(self.halves)
    }
}
