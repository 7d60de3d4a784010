//! How calls of other servers have ended, kept until their owners have heard it.
//!
//! Pure: data and the smallest steps on it; `host` decides.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::base::{NodeId, RunId};

/// How long an end is kept.
pub(super) const KEPT_FOR: Duration = Duration::from_mins(1);
/// Most bytes of answers that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// A call of another server.
pub type GuestId = (NodeId, RunId);

/// How a call of another server has ended.
#[derive(Clone, Debug)]
pub enum GuestEnd<T> {
    /// With an answer or a failure.
    Answer(T),
    /// No worker has seen it.
    NotBegun,
}

/// One end that is kept.
#[derive(Debug)]
pub(super) struct KeptEnd<T> {
    pub(super) end: GuestEnd<T>,
    bytes: usize,
    /// How many parts the answer had before.
    pub(super) parts: u64,
    /// The last ping of the owner before it granted the call.
    pub(super) ping: u64,
    /// When it was last told.
    pub(super) told: Instant,
    /// The claim that was told with it.
    pub(super) claim: Option<u64>,
}

/// All ends that are kept.
#[derive(Debug)]
pub(super) struct KeptEnds<T> {
    ends: BTreeMap<GuestId, KeptEnd<T>>,
    /// The oldest first. Some are kept no longer.
    order: VecDeque<(Instant, GuestId)>,
    bytes: usize,
    by_claim: BTreeMap<u64, GuestId>,
}

impl<T> KeptEnds<T> {
    pub(super) fn new() -> Self {
        let (ends, by_claim) = (BTreeMap::new(), BTreeMap::new());
        Self { ends, order: VecDeque::new(), bytes: 0, by_claim }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn has(&self, guest: &GuestId) -> bool {
        self.ends.contains_key(guest)
    }

    pub(super) fn get(&self, guest: &GuestId) -> Option<&KeptEnd<T>> {
        self.ends.get(guest)
    }

    /// What is kept for this owner.
    pub(super) fn of(&self, owner: NodeId) -> impl Iterator<Item = (&GuestId, &KeptEnd<T>)> {
        of_owner(owner, &self.ends)
    }

    /// Keeps an end. Where there is no room, the oldest are forgotten.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        guest: GuestId,
        (end, bytes): (GuestEnd<T>, usize),
        (ping, parts): (u64, u64),
    ) {
        let kept = KeptEnd { end, bytes, parts, ping, told: now, claim: None };
        self.ends.insert(guest, kept);
        self.order.push_back((now, guest));
        self.bytes += bytes;
        while self.bytes > KEPT_BYTES
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// An end is told now. Returns it.
    pub(super) fn tell(&mut self, now: Instant, guest: GuestId) -> Option<&KeptEnd<T>> {
        let kept = self.ends.get_mut(&guest)?;
        kept.told = now;
        Some(kept)
    }

    /// A claim is told with an answer. Returns false if another one is, or it is no answer.
    pub(super) fn claim_with(&mut self, guest: GuestId, claim: u64) -> bool {
        let is_free = |kept: &&mut KeptEnd<T>| {
            kept.claim.is_none() && matches!(kept.end, GuestEnd::Answer(_))
        };
        let Some(kept) = self.ends.get_mut(&guest).filter(is_free) else { return false };
        kept.claim = Some(claim);
        self.by_claim.insert(claim, guest);
        true
    }

    /// An owner has heard what was told with this claim.
    pub(super) fn acknowledge(&mut self, owner: NodeId, claim: u64) {
        let told = self.by_claim.get(&claim).filter(|guest| guest.0 == owner).copied();
        if let Some(guest) = told {
            self.forget(guest);
        }
    }

    pub(super) fn forget(&mut self, guest: GuestId) {
        if let Some(kept) = self.ends.remove(&guest) {
            self.bytes -= kept.bytes;
            if let Some(claim) = kept.claim {
                self.by_claim.remove(&claim);
            }
        }
        while self.order.front().is_some_and(|(_, guest)| !self.ends.contains_key(guest)) {
            self.order.pop_front();
        }
    }

    /// When the oldest is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at + KEPT_FOR)
    }

    /// Forgets what was kept long enough.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while let Some((_, guest)) = self.order.front().copied().filter(|it| it.0 + KEPT_FOR <= now)
        {
            self.forget(guest);
        }
    }
}

/// What there is of this owner.
pub(super) fn of_owner<V>(
    owner: NodeId,
    all: &BTreeMap<GuestId, V>,
) -> impl Iterator<Item = (&GuestId, &V)> {
    let lowest = RunId { call: 0, attempt: 0, key: 0 };
    all.range((owner, lowest)..).take_while(move |(guest, _)| guest.0 == owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(call: u64) -> GuestId {
        (NodeId(1), RunId { call, attempt: 1, key: 1 })
    }

    #[test]
    fn the_oldest_answers_go_where_there_is_no_room() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        for call in 1..=3 {
            kept.keep(now, guest(call), (GuestEnd::Answer(()), KEPT_BYTES / 2), (0, 0));
        }
        assert!(!kept.has(&guest(1)) && kept.has(&guest(2)) && kept.has(&guest(3)));
        kept.forget_old(now + KEPT_FOR);
        assert!(kept.is_empty() && kept.bytes == 0 && kept.next_deadline().is_none());
    }

    #[test]
    fn only_the_owner_acknowledges_what_it_was_told() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        kept.keep(now, guest(1), (GuestEnd::Answer(()), 1), (0, 0));
        assert!(kept.claim_with(guest(1), 7) && !kept.claim_with(guest(1), 8));
        kept.acknowledge(NodeId(2), 7);
        assert!(kept.has(&guest(1)));
        kept.acknowledge(NodeId(1), 7);
        assert!(kept.is_empty());
    }
}
