//! What follows from the pings of owners, and from their silence.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{AGAIN_AFTER, GuestId, HostDesk, OwnerBook, SILENT_MOST, of_owner};
use crate::base::{NodeId, RunId};
use crate::spread::said::ToOwner;

impl<T: Clone> HostDesk<T> {
    pub(super) fn pinged(
        &mut self,
        now: Instant,
        owner: NodeId,
        ping: u64,
        holds: &[RunId],
        is_whole: bool,
    ) {
        let knows = |run: &&RunId| {
            let guest = (owner, **run);
            self.guests.contains_key(&guest) || self.kept.has(&guest)
        };
        let unknown = holds.iter().filter(|run| !knows(run)).copied().collect();
        for run in holds {
            let kept = self.kept.get(&(owner, *run));
            if kept.is_some_and(|kept| kept.told + AGAIN_AFTER <= now) {
                self.tell_again(now, (owner, *run));
            }
        }
        self.tell_taken(owner);
        if is_whole {
            let holds: BTreeSet<RunId> = holds.iter().copied().collect();
            let is_out = |guest: &GuestId, before| before < ping && !holds.contains(&guest.1);
            let kept = self.kept.of(owner).filter(|(guest, kept)| is_out(guest, kept.ping));
            let kept: Vec<GuestId> = kept.map(|(guest, _)| *guest).collect();
            for guest in kept {
                self.kept.forget(guest);
            }
            let left =
                of_owner(owner, &self.guests).filter(|(guest, book)| is_out(guest, book.ping));
            let left: Vec<GuestId> = left.map(|(guest, _)| *guest).collect();
            for guest in left {
                self.left(now, guest);
            }
        }
        let alone = self.guests.len() == 1 && self.places.busy <= 1;
        let sent = self.sent_to(owner);
        let sure = !self.kept.has_forgotten(owner);
        self.tell(owner, ToOwner::Pong { ping, unknown, sure, alone, sent });
    }

    /// Returns true if it matters whether this owner is still there.
    pub(super) fn is_needed_by(&self, owner: NodeId) -> bool {
        let has_ends = || self.kept.of(owner).next().is_some();
        of_owner(owner, &self.guests).next().is_some()
            || ((self.is_draining || self.kept.is_full()) && has_ends())
    }

    pub(super) fn leave_silent(&mut self, now: Instant) {
        if !self.is_connected {
            return;
        }
        let silent = |owner: &OwnerBook| !owner.has_left && owner.heard + SILENT_MOST <= now;
        for (_, owner) in self.owners.iter_mut().filter(|(_, owner)| silent(owner)) {
            owner.has_left = true;
        }
        let has_left = |id: &NodeId| self.owners.get(id).is_some_and(|owner| owner.has_left);
        let all = self.guests.iter().filter(|(guest, book)| has_left(&guest.0) && !book.has_left);
        let all: Vec<GuestId> = all.map(|(guest, _)| *guest).collect();
        for guest in all {
            self.left(now, guest);
        }
        if self.is_draining || self.kept.is_full() {
            let gone = self.owners.iter().filter(|(_, owner)| owner.has_left);
            gone.for_each(|(id, _)| self.kept.forget_owner(*id));
        }
        let (guests, kept) = (&self.guests, &self.kept);
        let is_here = |id| of_owner(id, guests).next().is_some() || kept.of(id).next().is_some();
        self.owners.retain(|id, owner| !owner.has_left || owner.calls > 0 || is_here(*id));
    }
}
