//! What a pool tells the desk that speaks for it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::host::{GuestEnd, Seating};
use super::super::told::{HostTold, ToldAnswer, out_of};
use super::PoolDesk;
use crate::base::{NodeId, RunId, WorkerId};
use crate::observe::metrics::AwayEnd;
use crate::pool::away::{AwayLoss, Hunger};
use crate::pool::{GuestName, GuestOutcome, OtherServers};

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
        let GuestOutcome { result, timing, blamed } = end;
        let (out, body) = out_of(result);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (queue_us, work_us) = (micros(timing.queue), micros(timing.work));
        let bytes = body.len();
        let told = HostTold(Rc::new(ToldAnswer { out, body, queue_us, work_us, blamed }));
        self.host.borrow_mut().ended(now, guest, GuestEnd::Answer(told), bytes);
    }

    fn guest_not_begun(&self, now: Instant, guest: GuestName) {
        self.host.borrow_mut().ended(now, guest, GuestEnd::NotBegun, 0);
    }

    fn settled(&self, now: Instant, hunger: Option<Hunger>, free: usize, busy: usize) -> bool {
        self.owner.borrow_mut().hunger(now, hunger);
        // A pool that gets its first workers by a reload has nothing that listens for it.
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
