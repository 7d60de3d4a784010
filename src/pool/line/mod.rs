//! The calls that wait for a worker: first those that were put back, then those of the tenant whose
//! turn it is, the oldest first or, while its queue stands, the newest.
//!
//! Pure. A call that leaves from the middle stays in its list as a mark, which is skipped when
//! it is reached. Marks are swept before they outnumber the calls that still wait.
//!
//! A call that was put back is ahead of all others, whoever asked: its tenant has had its turn.

mod check;
mod ring;
mod room;
mod tenant;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(super) use self::ring::Charge;
use self::ring::Ring;
pub(super) use self::room::Room;
pub(super) use self::tenant::{Nanos, TenantSlot};
use super::alarms::Alarms;
use crate::base::{CallId, Tenant};

/// How many marks a list may hold before a sweep, however few calls wait.
const MARKS_FREE: usize = 64;

/// The waiting line of one pool. It does not know which of its ids still wait; the caller says so,
/// see [`Line::next`].
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Calls that were put back, in the order in which they are given again.
    again: VecDeque<CallId>,
    /// The calls that no worker has had yet, by tenant.
    ring: Ring,
    deadlines: VecDeque<(Instant, CallId)>,
    waiting: usize,
    bytes: u64,
    /// The last look found that no call waits, and none has joined since.
    is_drained: bool,
}

/// By what a queue is found to stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitRule {
    pub(super) at: Instant,
    /// When the first worker was ready; `None` before that. No wait counts before.
    pub(super) first_ready: Option<Instant>,
    /// `queue.wait`.
    pub(super) wait: Duration,
    /// Workers are being added.
    pub(super) grows: bool,
}

impl Line {
    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Bytes of the questions that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns true if the last look found that no call waits, and none has joined since.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Returns true if the queue of any tenant stands.
    pub(super) fn is_overloaded(&self) -> bool {
        self.ring.overloaded() > 0
    }

    /// A call of this tenant comes into the books. Returns where the tenant is found from now on,
    /// until [`Line::ended`].
    pub(super) fn enter(&mut self, tenant: Tenant) -> TenantSlot {
        self.ring.enter(tenant)
    }

    /// A call of this tenant is no longer in the books.
    pub(super) fn ended(&mut self, seat: TenantSlot) {
        self.ring.untie(seat);
    }

    /// A call of this tenant goes to a worker at once, as if it had waited for no time. Returns false,
    /// and changes nothing, if another call waits or other tenants may have a turn.
    pub(super) fn passes(&mut self, seat: TenantSlot) -> bool {
        self.waiting == 0 && self.again.is_empty() && self.ring.passes(seat)
    }

    /// A call joins at the end of those of its tenant.
    pub(super) fn push_back(
        &mut self,
        seat: TenantSlot,
        id: CallId,
        bytes: usize,
        deadline: Instant,
        alarms: &mut Alarms,
    ) {
        self.ring.join(seat, id, bytes);
        self.joined(id, bytes, deadline, alarms);
    }

    /// A call that a worker has had is put back, ahead of all others.
    pub(super) fn push_front(
        &mut self,
        id: CallId,
        bytes: usize,
        deadline: Instant,
        alarms: &mut Alarms,
    ) {
        self.again.push_front(id);
        self.joined(id, bytes, deadline, alarms);
    }

    fn joined(&mut self, id: CallId, bytes: usize, deadline: Instant, alarms: &mut Alarms) {
        self.is_drained = false;
        alarms.at(deadline);
        // Usually the last, but not after new rules have made waits shorter.
        let place = match self.deadlines.back() {
            Some((last, _)) if *last > deadline => {
                self.deadlines.partition_point(|(other, _)| *other <= deadline)
            }
            _ => self.deadlines.len(),
        };
        self.deadlines.insert(place, (deadline, id));
        self.waiting += 1;
        self.bytes += bytes as u64;
    }

    /// Moves a call that waits, and that no worker has had yet, to another tenant if its turn comes
    /// sooner there. Returns true if so.
    pub(super) fn move_over(
        &mut self,
        call: (CallId, usize),
        slots: [TenantSlot; 2],
        usual: Nanos,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> bool {
        self.ring.move_over(call, slots, usual, since)
    }

    /// A call of this tenant that no worker has had yet is about to leave. `since` is that of
    /// [`Line::next`].
    pub(super) fn look_before(
        &mut self,
        seat: TenantSlot,
        since: impl Fn(CallId) -> Option<Instant>,
    ) {
        self.ring.look_before(seat, since);
    }

    /// A call no longer waits. It may stay in the line as a mark. `fresh` is the seat of its tenant
    /// if no worker has had it yet.
    pub(super) fn left(
        &mut self,
        fresh: Option<TenantSlot>,
        bytes: usize,
        waits: impl Fn(CallId) -> bool,
    ) {
        self.waiting -= 1;
        self.bytes -= bytes as u64;
        if let Some(seat) = fresh {
            self.ring.left(seat, bytes, &waits);
        }
        if self.again.len() > 2 * self.waiting + MARKS_FREE {
            self.again.retain(|id| waits(*id));
        }
        if self.deadlines.len() > 2 * self.waiting + MARKS_FREE {
            self.deadlines.retain(|(_, id)| waits(*id));
        }
    }

    /// The call whose turn it is. `since` returns when a call began to wait, and `None` for marks.
    pub(super) fn next(
        &mut self,
        rule: WaitRule,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<CallId> {
        if self.is_drained {
            return None;
        }
        let next = self.ring.next(rule, &since);
        let next = front(&mut self.again, |id| since(id).is_some()).or(next);
        self.is_drained = next.is_none() && self.waiting == 0;
        next
    }

    /// From the next look on another rule says which queues stand.
    pub(super) fn change_rule(&mut self, since: impl Fn(CallId) -> Option<Instant>) {
        self.is_drained = false;
        self.ring.change_rule(since);
    }

    /// Removes the call that [`Line::next`] returned, because a worker gets it. It leaves no
    /// mark: if it is put back it must not be in two places.
    pub(super) fn taken(&mut self, seat: TenantSlot, id: CallId) {
        if self.again.front() == Some(&id) {
            self.again.pop_front();
        } else {
            self.ring.taken(seat, id);
        }
    }

    /// A worker gets a call of this tenant, which pays what its calls usually cost. `usual` is the
    /// mean time of all calls.
    pub(super) fn charge(&mut self, seat: TenantSlot, usual: Nanos) -> Charge {
        self.ring.charge(seat, usual)
    }

    /// A call left its worker, and took up this much of its time; `None` if the worker did not begin
    /// with it.
    pub(super) fn settle(&mut self, charge: Charge, took: Option<Duration>, usual: Nanos) {
        self.ring.settle(charge, took, usual);
    }

    /// The earliest deadline of a call that waits, with its call. `deadline_of` returns the
    /// deadline of a call that waits and `None` for a mark. An id with a different deadline was
    /// put back later, and has another entry.
    pub(super) fn first_deadline(
        &mut self,
        deadline_of: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<(Instant, CallId)> {
        while let Some((deadline, id)) = self.deadlines.front() {
            if deadline_of(*id) == Some(*deadline) {
                return Some((*deadline, *id));
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// All lists, marks included: that of the calls put back, then one a tenant. All but the first
    /// have their oldest call first.
    pub(super) fn lists(&self) -> impl Iterator<Item = &VecDeque<CallId>> {
        std::iter::once(&self.again).chain(self.ring.lists())
    }

    /// Removes and returns all ids, marks included.
    pub(super) fn drain(&mut self) -> Vec<CallId> {
        let all = self.lists().flatten().copied().collect();
        self.again.clear();
        all
    }
}

/// Removes the marks at the front of a list. Returns the first call that waits.
fn front(list: &mut VecDeque<CallId>, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
    while let Some(id) = list.front() {
        if waits(*id) {
            return Some(*id);
        }
        list.pop_front();
    }
    None
}
