//! How calls of other servers have ended, kept until their owners have heard it.
//!
//! Pure: data and the smallest steps on it; `host` decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::said::SentBefore;
use super::transfer::{Shipment, Sizes};
use crate::base::{NodeId, RunId};

/// How long an end is kept.
pub(super) const KEPT_FOR: Duration = Duration::from_mins(1);
/// Once so many bytes are kept, no further calls are claimed.
const KEPT_BYTES: usize = 64 << 20;
/// What the entry of an end takes at least, so its bytes bound the number of ends as well.
const ENTRY_BYTES: usize = 1 << 10;
/// Of how many owners it is known that an end was forgotten.
const FORGOTTEN_MOST: usize = 4096;

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

/// How much memory an end takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndSize {
    /// The body of its answer.
    pub body: usize,
    /// All that it has besides.
    pub rest: usize,
}

/// One end that is kept.
#[derive(Debug)]
pub(super) struct KeptEnd<T> {
    pub(super) end: GuestEnd<T>,
    bytes: usize,
    size: EndSize,
    /// Its place among those that are kept.
    serial: u64,
    since: Instant,
    /// What of the answer went before it ended.
    pub(super) before: SentBefore,
    /// How far its body is, if that goes in parts.
    pub(super) shipment: Option<Shipment>,
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
    /// The oldest first.
    order: BTreeMap<u64, GuestId>,
    last_serial: u64,
    bytes: usize,
    by_claim: BTreeMap<u64, GuestId>,
    /// For these owners an end was forgotten that they may not have heard.
    forgotten: BTreeSet<NodeId>,
    /// And for others, too many to name.
    has_forgotten_more: bool,
}

impl<T> KeptEnds<T> {
    pub(super) fn new() -> Self {
        let (ends, by_claim) = (BTreeMap::new(), BTreeMap::new());
        let (order, forgotten) = (BTreeMap::new(), BTreeSet::new());
        Self {
            ends,
            order,
            last_serial: 0,
            bytes: 0,
            by_claim,
            forgotten,
            has_forgotten_more: false,
        }
    }

    /// Returns true if no further calls are to be claimed until owners have heard how theirs have ended.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes > KEPT_BYTES
    }

    /// Returns true if an end may have been forgotten that this owner has not heard. A server that
    /// starts again is another owner.
    pub(super) fn has_forgotten(&self, owner: NodeId) -> bool {
        self.has_forgotten_more || self.forgotten.contains(&owner)
    }

    fn note_forgotten(&mut self, owner: NodeId) {
        if self.forgotten.len() < FORGOTTEN_MOST {
            self.forgotten.insert(owner);
        } else if !self.forgotten.contains(&owner) {
            self.has_forgotten_more = true;
        }
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

    pub(super) fn get_mut(&mut self, guest: &GuestId) -> Option<&mut KeptEnd<T>> {
        self.ends.get_mut(guest)
    }

    /// What is kept for this owner.
    pub(super) fn of(&self, owner: NodeId) -> impl Iterator<Item = (&GuestId, &KeptEnd<T>)> {
        of_owner(owner, &self.ends)
    }

    /// Keeps an end, however large it is.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        guest: GuestId,
        (end, size): (GuestEnd<T>, EndSize),
        (ping, before): (u64, SentBefore),
        sizes: Sizes,
    ) {
        self.forget(guest);
        let bytes = size.body.saturating_add(size.rest).saturating_add(ENTRY_BYTES);
        self.last_serial += 1;
        let serial = self.last_serial;
        let shipment = goes_in_parts(size, sizes).then(|| Shipment::new(now, size.body));
        let kept = KeptEnd {
            end,
            bytes,
            size,
            serial,
            since: now,
            before,
            shipment,
            ping,
            told: now,
            claim: None,
        };
        self.ends.insert(guest, kept);
        self.order.insert(serial, guest);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Answers that no longer fit into one message go in parts. An answer to the claim that went with
    /// such a one does not say that all parts have arrived, so it acknowledges nothing any longer.
    pub(super) fn cut(&mut self, now: Instant, sizes: Sizes) {
        let whole = self.ends.values_mut().filter(|kept| kept.shipment.is_none());
        for kept in whole.filter(|kept| goes_in_parts(kept.size, sizes)) {
            kept.shipment = Some(Shipment::new(now, kept.size.body));
            if let Some(claim) = kept.claim.take() {
                self.by_claim.remove(&claim);
            }
        }
    }

    /// An end is told now. Returns it.
    pub(super) fn tell(&mut self, now: Instant, guest: GuestId) -> Option<&mut KeptEnd<T>> {
        let kept = self.ends.get_mut(&guest)?;
        kept.told = now;
        Some(kept)
    }

    /// A claim is told with an answer. Returns false if another one is, if the answer takes its time
    /// because it goes in parts, or if it is no answer.
    pub(super) fn claim_with(&mut self, guest: GuestId, claim: u64) -> bool {
        let is_free = |kept: &&mut KeptEnd<T>| {
            let is_answer = matches!(kept.end, GuestEnd::Answer(_));
            kept.claim.is_none() && kept.shipment.is_none() && is_answer
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
            self.order.remove(&kept.serial);
            if let Some(claim) = kept.claim {
                self.by_claim.remove(&claim);
            }
        }
    }

    /// The one that is kept for the longest time.
    fn oldest(&self) -> Option<(GuestId, Instant)> {
        let guest = *self.order.values().next()?;
        Some((guest, self.ends.get(&guest)?.since))
    }

    /// When the oldest is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.oldest().map(|(_, since)| since + KEPT_FOR)
    }

    /// Forgets what was kept long enough.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while let Some((guest, _)) = self.oldest().filter(|it| it.1 + KEPT_FOR <= now) {
            self.note_forgotten(guest.0);
            self.forget(guest);
        }
    }

    /// Forgets what is kept for an owner that has gone.
    pub(super) fn forget_owner(&mut self, owner: NodeId) {
        let all: Vec<GuestId> = self.of(owner).map(|(guest, _)| *guest).collect();
        if !all.is_empty() {
            self.note_forgotten(owner);
        }
        for guest in all {
            self.forget(guest);
        }
    }
}

/// Returns true if an answer of this size does not fit into one message. Its headers are part of the
/// line, where each byte may take two.
const fn goes_in_parts(size: EndSize, sizes: Sizes) -> bool {
    size.body > 0 && size.body.saturating_add(size.rest.saturating_mul(2)) > sizes.whole
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

    fn keep(kept: &mut KeptEnds<()>, now: Instant, call: u64, size: EndSize) {
        kept.keep(
            now,
            guest(call),
            (GuestEnd::Answer(()), size),
            (0, SentBefore::Nothing),
            Sizes::default(),
        );
    }

    #[test]
    fn what_is_kept_is_counted_until_it_is_heard_or_old_and_nothing_stays_of_it() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        let most = (KEPT_BYTES / ENTRY_BYTES) as u64;
        for call in 0..=most {
            assert!(!kept.is_full(), "{call}");
            keep(&mut kept, now, call, EndSize::default());
        }
        assert!(kept.is_full(), "ends without a body count, too");
        for call in 1..=most {
            kept.forget(guest(call));
        }
        assert!(!kept.is_full() && !kept.has_forgotten(NodeId(1)));
        assert_eq!((kept.ends.len(), kept.order.len()), (1, 1));
        for size in [EndSize { body: KEPT_BYTES, rest: 0 }, EndSize { body: 0, rest: KEPT_BYTES }] {
            keep(&mut kept, now, 7, size);
            assert!(kept.is_full() && kept.has(&guest(7)), "it is heard of, however large it is");
        }
        kept.forget_old(now + KEPT_FOR);
        assert!(kept.is_empty() && kept.bytes == 0 && kept.next_deadline().is_none());
        assert!(kept.has_forgotten(NodeId(1)));
    }

    #[test]
    fn only_the_owner_acknowledges_what_it_was_told() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        keep(&mut kept, now, 1, EndSize::default());
        assert!(kept.claim_with(guest(1), 7) && !kept.claim_with(guest(1), 8));
        kept.acknowledge(NodeId(2), 7);
        assert!(kept.has(&guest(1)));
        kept.acknowledge(NodeId(1), 7);
        assert!(kept.is_empty() && !kept.has_forgotten(NodeId(1)));
    }

    #[test]
    fn what_one_owner_was_not_told_says_nothing_of_the_calls_of_others() {
        let (mut kept, now) = (KeptEnds::<()>::new(), Instant::now());
        let end = || (GuestEnd::NotBegun, EndSize::default());
        let run = guest(1).1;
        kept.keep(now, (NodeId(1), run), end(), (0, SentBefore::Nothing), Sizes::default());
        kept.forget_old(now + KEPT_FOR);
        assert!(kept.has_forgotten(NodeId(1)) && !kept.has_forgotten(NodeId(2)));
        for owner in 3..3 + FORGOTTEN_MOST as u128 {
            kept.keep(now, (NodeId(owner), run), end(), (0, SentBefore::Nothing), Sizes::default());
            kept.forget_owner(NodeId(owner));
        }
        assert!(kept.has_forgotten(NodeId(2)), "it can no longer tell");
        assert_eq!(kept.forgotten.len(), FORGOTTEN_MOST);
    }

    #[test]
    fn an_answer_goes_in_parts_where_its_headers_leave_too_little_room() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        let whole = Sizes::default().whole;
        for (call, body, rest, expected) in [
            (1, whole, 0, false),
            (2, whole + 1, 0, true),
            (3, whole - 20_000, 10_000, false),
            (4, whole - 20_000, 10_001, true),
            (5, 0, whole, false),
        ] {
            keep(&mut kept, now, call, EndSize { body, rest });
            let end = kept.get(&guest(call)).expect("it is kept");
            assert_eq!(end.shipment.is_some(), expected, "{body} {rest}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_later_is_no_longer_acknowledged_by_its_claim() {
        let (mut kept, now) = (KeptEnds::new(), Instant::now());
        keep(&mut kept, now, 1, EndSize { body: 9, rest: 0 });
        assert!(kept.claim_with(guest(1), 7));
        kept.cut(now, Sizes { whole: 8, ..Sizes::default() });
        kept.acknowledge(NodeId(1), 7);
        assert!(kept.has(&guest(1)), "its owner may have some of it only");
        assert_eq!(kept.get(&guest(1)).and_then(|kept| kept.claim), None);
    }
}
