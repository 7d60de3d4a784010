//! One tenant in the books of a pool: its calls that no worker has had yet, what its calls cost, and
//! where it stands in the ring.
//!
//! Pure: data and the smallest steps on it; `ring` decides.

use std::collections::VecDeque;
use std::num::NonZeroU8;
use std::time::Instant;

use super::MARKS_FREE;
use crate::base::{CallId, Tenant, TenantId};
use crate::policy::Overload;

/// Worker time in nanoseconds, and the places in a ring, which are worker time as well.
pub(in crate::pool) type Nanos = u64;

/// Where a tenant is found as long as it has a call in the books or in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool) struct TenantSlot(pub(super) usize);

/// The weight of one new time in the mean of a tenant, as one part of this many.
const MEAN_PARTS: u64 = 16;

/// The longest debt, and the longest credit, in quanta.
const QUANTA_MOST: Nanos = 8;

/// A turn in the ring: first by place, then in the order in which the turns were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TenantTurn {
    pub(super) place: Nanos,
    pub(super) number: u64,
    pub(super) seat: TenantSlot,
}

/// One tenant, as long as it has calls in the books, or calls in workers, or a debt.
#[derive(Debug)]
pub(super) struct TenantBook {
    pub(super) id: TenantId,
    pub(super) weight: NonZeroU8,
    /// Its calls that no worker has had yet, oldest first, with marks between them.
    pub(super) order: VecDeque<CallId>,
    /// How many of these calls wait.
    pub(super) waiting: usize,
    /// Bytes of the questions of these calls.
    pub(super) bytes: u64,
    /// Its calls in the books, and those in workers once more.
    pub(super) ties: usize,
    /// How much worker time it has had, per weight and counted from the start of the ring.
    pub(super) place: Nanos,
    /// Its turn; `None` while it does not stand in the ring.
    pub(super) turn: Option<TenantTurn>,
    /// The mean time that a worker needs for one of its calls; `None` before the first answer.
    pub(super) mean: Option<Nanos>,
    pub(super) overload: Overload,
    /// Its calls have changed since the last look at their waits.
    pub(super) is_stirred: bool,
}

impl TenantBook {
    pub(super) fn new(tenant: Tenant, place: Nanos) -> Self {
        Self {
            id: tenant.id,
            weight: tenant.weight,
            order: VecDeque::new(),
            waiting: 0,
            bytes: 0,
            ties: 0,
            place,
            turn: None,
            mean: None,
            overload: Overload::default(),
            is_stirred: false,
        }
    }

    /// What one of its calls is expected to cost; `usual` is the mean of the whole pool.
    pub(super) fn cost(&self, usual: Nanos) -> Nanos {
        self.mean.unwrap_or(usual)
    }

    /// A worker needed this long for one of its calls.
    pub(super) fn learn(&mut self, took: Nanos) {
        self.mean = Some(match self.mean {
            None => took,
            Some(mean) => mean - mean / MEAN_PARTS + took / MEAN_PARTS,
        });
    }

    /// Moves it to another place, but not far from the hand.
    pub(super) fn go(&mut self, hand: Nanos, usual: Nanos, to: Nanos) {
        let far = self.cost(usual).max(usual).saturating_mul(QUANTA_MOST);
        let (least, most) = (hand.saturating_sub(far), hand.saturating_add(far));
        // A place that is farther away, because costs have changed, stays where it is.
        self.place = to.clamp(least.min(self.place), most.max(self.place));
        if let Some(turn) = &mut self.turn {
            turn.place = self.place;
        }
    }

    /// This much worker time as a way along the ring: the greater the weight, the shorter.
    pub(super) fn way(&self, time: Nanos) -> Nanos {
        // Most have a weight of one, and to divide takes as long as all the rest.
        if self.weight == NonZeroU8::MIN { time } else { time / u64::from(self.weight.get()) }
    }

    /// Its newest call.
    pub(super) fn newest(&mut self, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
        while let Some(id) = self.order.back() {
            if waits(*id) {
                return Some(*id);
            }
            self.order.pop_back();
        }
        None
    }

    /// Its oldest call, and when that began to wait.
    pub(super) fn oldest(
        &mut self,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<(CallId, Instant)> {
        while let Some(id) = self.order.front() {
            if let Some(since) = since(*id) {
                return Some((*id, since));
            }
            self.order.pop_front();
        }
        None
    }

    /// Removes a call from one of the two ends.
    pub(super) fn taken(&mut self, id: CallId) {
        if self.order.front() == Some(&id) {
            self.order.pop_front();
        } else if self.order.back() == Some(&id) {
            self.order.pop_back();
        }
    }

    /// One call no longer waits. It may stay as a mark.
    pub(super) fn left(&mut self, bytes: usize, waits: impl Fn(CallId) -> bool) {
        self.waiting -= 1;
        self.bytes -= bytes as u64;
        if self.waiting == 0 {
            self.order.clear();
        } else if self.order.len() > 2 * self.waiting + MARKS_FREE {
            self.order.retain(|id| waits(*id));
        }
    }
}
