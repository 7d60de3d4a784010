//! Bodies that go in parts: what may be on its way, what is missing, and what is put together.
//!
//! Pure. Where a part belongs is told in bytes: its sender says how many went before. The receiver
//! says how many it has taken, and the sender is never further ahead of that than the window. So
//! what is on its way is bounded at both ends, and messages of other calls fit in between.
//!
//! - A *body* is a question or a whole answer. What is missing of it is sent again, for its sender
//!   keeps it until the receiver has all ([`Shipment`], [`Gathering`]).
//! - A *stream* is an answer whose parts reach the caller as they come. Nobody keeps them, so an
//!   answer with a gap ends there ([`OutFlow`], [`InFlow`]).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// What is left of the largest message for the line before a body.
const LINE_ROOM: usize = 4 << 10;
/// Most bytes of a part.
const PIECE_MOST: usize = 256 << 10;
/// Most calls that one message lists.
const NAMED_MOST: usize = 512;
/// What a call takes in a list, with how far its answer is.
const LISTED_BYTES: usize = 192;
/// A part that was not taken for this long is sent again when its receiver asks.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How bodies are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Most bytes of a body that goes in one message.
    pub whole: usize,
    /// Most bytes of a part.
    pub piece: usize,
    /// Most bytes on their way. All nodes have the same.
    pub window: u64,
    /// Most calls that one message lists.
    pub named: usize,
    /// Added to the size of each part of a stream, because many small parts are not free. All nodes
    /// have the same.
    pub cost: u64,
}

impl Sizes {
    /// The sizes where a message has at most this many bytes.
    pub const fn of(max_payload: usize) -> Self {
        let room = max_payload.saturating_sub(LINE_ROOM);
        let half = max_payload / 2;
        let whole = if room > half { room } else { half };
        let piece = if whole < PIECE_MOST { whole } else { PIECE_MOST };
        let piece = if piece == 0 { 1 } else { piece };
        let named = whole / LISTED_BYTES;
        let named = if named > NAMED_MOST { NAMED_MOST } else { named };
        let named = if named == 0 { 1 } else { named };
        Self { whole, piece, window: 1 << 20, named, cost: 64 }
    }
}

impl Default for Sizes {
    /// Those of a NATS server that was told nothing.
    fn default() -> Self {
        Self::of(1 << 20)
    }
}

/// What its sender knows of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutFlow {
    sent: u64,
    taken: u64,
}

impl OutFlow {
    /// How much was sent.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes the next part may have; `None`: nothing may be sent now.
    pub fn room(&self, sizes: Sizes) -> Option<usize> {
        let room = sizes.window.checked_sub(self.sent - self.taken)?.checked_sub(sizes.cost)?;
        (room >= sizes.piece as u64).then_some(sizes.piece)
    }

    /// A part is sent. Returns where it begins.
    pub fn send(&mut self, bytes: usize, sizes: Sizes) -> u64 {
        let at = self.sent;
        self.sent += bytes as u64 + sizes.cost;
        at
    }

    /// The receiver has taken this much. Returns true if that is news.
    pub fn take(&mut self, taken: u64) -> bool {
        let is_news = taken > self.taken && taken <= self.sent;
        if is_news {
            self.taken = taken;
        }
        is_news
    }
}

/// What its sender knows of a body.
#[derive(Clone, Copy, Debug)]
pub struct Shipment {
    len: u64,
    sent: u64,
    taken: u64,
    /// The most that was ever sent.
    farthest: u64,
    /// When something was last sent or taken.
    moved: Instant,
}

impl Shipment {
    /// A body of which nothing is sent.
    pub const fn new(now: Instant, len: usize) -> Self {
        Self { len: len as u64, sent: 0, taken: 0, farthest: 0, moved: now }
    }

    /// How many bytes it has.
    pub const fn size(&self) -> u64 {
        self.len
    }

    /// Returns true if all is sent.
    pub const fn is_sent(&self) -> bool {
        self.sent == self.len
    }

    /// Returns from where to where the part goes that is sent now; `None`: none is.
    pub fn next(&mut self, now: Instant, sizes: Sizes) -> Option<(usize, usize)> {
        let piece = (self.len - self.sent).min(sizes.piece as u64);
        if piece == 0 || self.sent - self.taken + piece > sizes.window {
            return None;
        }
        let at = self.sent;
        self.sent += piece;
        self.farthest = self.farthest.max(self.sent);
        self.moved = now;
        // Both lie within a body that is in memory.
        Some((at as usize, self.sent as usize))
    }

    /// The receiver has taken this much, and says it once more if it lacks some. Where nothing was
    /// sent or taken for a while, the rest is sent again.
    pub fn take(&mut self, now: Instant, taken: u64) {
        if taken > self.taken && taken <= self.farthest {
            self.taken = taken;
            self.sent = self.sent.max(taken);
            self.moved = now;
        } else {
            self.again(now);
        }
    }

    /// The receiver lacks some. Sends the rest again, unless it may be on its way.
    pub fn again(&mut self, now: Instant) {
        if self.moved + AGAIN_AFTER <= now {
            self.sent = self.taken;
        }
    }
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeardPart {
    /// The next part.
    Next,
    /// One that was heard before.
    Again,
    /// A later one: the one before it is missing.
    Gap,
    /// More than the sender may send.
    TooMuch,
}

/// What its receiver knows of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct InFlow {
    heard: u64,
    taken: u64,
    told: u64,
}

impl InFlow {
    /// How much was heard.
    pub const fn heard(&self) -> u64 {
        self.heard
    }

    /// A part of this size comes from this place.
    pub fn hear(&mut self, at: u64, size: u64, sizes: Sizes) -> HeardPart {
        if at < self.heard {
            return HeardPart::Again;
        }
        if at > self.heard {
            return HeardPart::Gap;
        }
        match at.checked_add(size) {
            Some(end) if end <= self.told.saturating_add(sizes.window) => {
                self.heard = end;
                HeardPart::Next
            }
            _ => HeardPart::TooMuch,
        }
    }

    /// All that was heard is taken. Returns what the sender is told of it; `None`: that can wait.
    pub fn take(&mut self, sizes: Sizes) -> Option<u64> {
        self.taken = self.heard;
        (self.taken - self.told >= sizes.window / 4).then(|| self.tell())
    }

    /// Returns what the sender is told, which may have been told in vain before.
    pub const fn tell(&mut self) -> u64 {
        self.told = self.taken;
        self.taken
    }
}

/// A body that is put together.
#[derive(Debug)]
pub struct Gathering {
    flow: InFlow,
    len: u64,
    bytes: BytesMut,
}

impl Gathering {
    /// A body of this length of which nothing was heard. Its memory is taken as it comes.
    pub fn new(len: u64) -> Self {
        Self { flow: InFlow::default(), len, bytes: BytesMut::new() }
    }

    /// How many bytes it has.
    pub const fn size(&self) -> u64 {
        self.len
    }

    /// Returns true if all is there.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.len
    }

    /// A part comes from this place. Returns what its sender is told; `None`: nothing.
    ///
    /// # Errors
    ///
    /// If it is none of this body. Nothing is kept of it.
    pub fn hear(&mut self, at: u64, body: &[u8], sizes: Sizes) -> Result<Option<u64>, NoPart> {
        let end = at.checked_add(body.len() as u64).ok_or(NoPart)?;
        if end > self.len || body.is_empty() {
            return Err(NoPart);
        }
        match self.flow.hear(at, body.len() as u64, sizes) {
            HeardPart::Next => {
                self.bytes.extend_from_slice(body);
                Ok(self.flow.take(sizes).filter(|_| !self.is_whole()))
            }
            // What is missing is sent again.
            HeardPart::Again | HeardPart::Gap => Ok(None),
            HeardPart::TooMuch => Err(NoPart),
        }
    }

    /// Returns what its sender is told once more.
    pub const fn tell(&mut self) -> u64 {
        self.flow.tell()
    }

    /// Returns the body.
    pub fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }
}

/// A part that belongs to nothing that was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPart;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZES: Sizes = Sizes { whole: 10, piece: 4, window: 16, named: 2, cost: 1 };

    #[test]
    fn the_sizes_leave_room_for_the_line() {
        assert_eq!(Sizes::of(1 << 20).piece, 256 << 10);
        assert_eq!(Sizes::of(1 << 20).whole, (1 << 20) - (4 << 10));
        assert_eq!((Sizes::of(64 << 10).piece, Sizes::of(64 << 10).whole), (60 << 10, 60 << 10));
        assert_eq!((Sizes::of(2048).piece, Sizes::of(0).piece), (1024, 1));
        assert_eq!([0, 2048, 1 << 20].map(|most| Sizes::of(most).named), [1, 5, 512]);
    }

    #[test]
    fn a_stream_is_never_further_ahead_than_the_window() {
        let (mut out, mut heard) = (OutFlow::default(), InFlow::default());
        let mut parts = 0;
        while out.room(SIZES).is_some() {
            let at = out.send(4, SIZES);
            assert_eq!(heard.hear(at, 5, SIZES), HeardPart::Next);
            parts += 1;
        }
        assert_eq!(parts, 3, "a part costs five of sixteen");
        assert_eq!(heard.hear(15, 5, SIZES), HeardPart::TooMuch);
        assert!(!out.take(100) && !out.take(0), "more than was sent, and nothing new");
        let told = heard.take(SIZES).expect("a quarter of the window is taken");
        assert!(out.take(told) && out.room(SIZES) == Some(4));
    }

    #[test]
    fn a_gap_and_a_copy_are_told_apart() {
        let mut heard = InFlow::default();
        assert_eq!(heard.hear(3, 2, SIZES), HeardPart::Gap);
        assert_eq!(heard.hear(0, 3, SIZES), HeardPart::Next);
        assert_eq!(heard.hear(0, 3, SIZES), HeardPart::Again);
        assert_eq!(heard.hear(u64::MAX, 3, SIZES), HeardPart::Gap);
        assert_eq!(heard.hear(3, u64::MAX, SIZES), HeardPart::TooMuch);
    }

    #[test]
    fn what_is_no_part_of_a_body_is_not_kept() {
        let mut body = Gathering::new(6);
        for (at, bytes) in [(0, &b""[..]), (0, b"1234567"), (u64::MAX, b"1"), (5, b"12")] {
            assert_eq!(body.hear(at, bytes, SIZES), Err(NoPart), "{at}");
        }
        assert_eq!(body.hear(0, b"123456", SIZES), Ok(None));
        assert!(body.is_whole());
    }

    /// What becomes of each message, and of each word about what was taken.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Arrives,
        IsLost,
        Twice,
        AfterTheNext,
    }

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let fate = prop_oneof![
            3 => Just(Fate::Arrives),
            1 => Just(Fate::IsLost),
            1 => Just(Fate::Twice),
            1 => Just(Fate::AfterTheNext),
        ];
        proptest::collection::vec(fate, 0..60)
    }

    proptest! {
        /// The receiver is asked now and then, as pings do it.
        #[test]
        fn a_body_arrives_whole_whatever_is_lost(
            text in proptest::collection::vec(any::<u8>(), 1..200),
            fates in fates(),
        ) {
            let mut now = Instant::now();
            let mut fates = fates.into_iter();
            let (mut out, mut body) = (Shipment::new(now, text.len()), Gathering::new(text.len() as u64));
            let mut late: Option<(usize, usize)> = None;
            for _ in 0..1000 {
                let mut on_the_way = Vec::new();
                while let Some(part) = out.next(now, SIZES) {
                    match fates.next().unwrap_or(Fate::Arrives) {
                        Fate::Arrives => on_the_way.push(part),
                        Fate::IsLost => {}
                        Fate::Twice => on_the_way.extend([part, part]),
                        Fate::AfterTheNext => {
                            on_the_way.extend(late.replace(part));
                        }
                    }
                }
                for (from, to) in on_the_way {
                    let told = body.hear(from as u64, &text[from..to], SIZES);
                    prop_assert!(told.is_ok());
                    if let Ok(Some(taken)) = told
                        && !matches!(fates.next(), Some(Fate::IsLost))
                    {
                        out.take(now, taken);
                    }
                }
                if body.is_whole() {
                    break;
                }
                now += AGAIN_AFTER;
                out.take(now, body.tell());
            }
            prop_assert_eq!(&body.into_bytes()[..], &text[..]);
        }

        #[test]
        fn no_numbers_are_too_strange(
            parts in proptest::collection::vec((any::<u64>(), 0_usize..20), 0..40),
        ) {
            let (mut body, mut flow) = (Gathering::new(40), InFlow::default());
            let (mut out, mut kept) = (OutFlow::default(), Shipment::new(Instant::now(), 40));
            for (at, len) in parts {
                body.hear(at % 64, &vec![7; len], SIZES).ok();
                body.hear(at, &vec![7; len], SIZES).ok();
                flow.hear(at, len as u64, SIZES);
                flow.take(SIZES);
                out.take(at);
                kept.next(Instant::now(), SIZES);
                kept.take(Instant::now(), at);
                prop_assert!(body.bytes.len() <= 40);
                prop_assert!(kept.taken <= kept.sent && kept.sent <= kept.len);
            }
        }
    }
}
