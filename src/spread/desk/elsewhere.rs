//! What a pool tells the desk that speaks for it.

use std::rc::Rc;
use std::time::Instant;

use super::super::host::{EndSize, GuestEnd, Seating};
use super::PoolDesk;
use super::parts::{Forward, told};
use crate::base::{NodeId, Parts, RunId, WorkerId};
use crate::observe::metrics::AwayEnd;
use crate::pool::away::{AwayLoss, Hunger};
use crate::pool::{Forwarding, GuestName, GuestOutcome, OtherServers};

impl OtherServers for PoolDesk {
    fn wants(&self) -> (Option<Instant>, usize) {
        self.host.borrow().wants()
    }

    fn reserved(&self, now: Instant, worker: WorkerId) -> bool {
        self.host.borrow_mut().reserved(now, worker);
        self.carry_out(now)
    }

    fn called_back(&self, host: NodeId, run: RunId, is_over: bool) {
        if is_over {
            self.counts.ended(AwayEnd::GivenUp);
        }
        self.owner.borrow_mut().called_back(host, run, is_over);
        self.carry_out(Instant::now());
    }

    fn guest_ended(&self, now: Instant, guest: GuestName, end: GuestOutcome) {
        if let Some(forward) = self.forwards.borrow_mut().get_mut(&guest) {
            // Its parts go first.
            return forward.note_end(end);
        }
        let (end, size) = told(end);
        self.host.borrow_mut().ended(now, guest, end, size);
    }

    fn guest_begun(self: Rc<Self>, guest: GuestName, parts: Parts) -> Forwarding {
        self.forwards.borrow_mut().insert(guest, Forward::default());
        Box::pin(self.forward(guest, parts))
    }

    fn guest_not_begun(&self, now: Instant, guest: GuestName) {
        self.host.borrow_mut().ended(now, guest, GuestEnd::NotBegun, EndSize::default());
    }

    fn settled(&self, now: Instant, hunger: Option<Hunger>, free: usize, busy: usize) -> bool {
        self.owner.borrow_mut().hunger(now, hunger);
        // A pool that gets its first workers by a reload has nothing that listens for it.
        if free > 0 && !self.hosts.get() && !self.has_told.replace(true) {
            let (pool, hint) = (self.name.as_str(), "a restart lends them to other servers");
            tracing::warn!(pool, hint, "its workers answer the calls of this server only");
        }
        let free = if self.hosts.get() { free } else { 0 };
        self.host.borrow_mut().settled(now, Seating { free, busy });
        let has_changed = self.carry_out(now);
        self.note_deadline();
        has_changed
    }
}

/// Returns how an attempt is counted that has ended without an answer.
pub(super) fn end_of(loss: &AwayLoss) -> AwayEnd {
    match loss {
        AwayLoss::NotBegun => AwayEnd::NotBegun,
        AwayLoss::Unknown => AwayEnd::Unknown,
        AwayLoss::Worker { .. } => AwayEnd::WorkerLost,
        AwayLoss::Host { .. } => AwayEnd::HostLost,
    }
}
