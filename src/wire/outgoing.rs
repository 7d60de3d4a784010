//! What waits to be written to a worker. Small texts are joined; a large one is written from where it
//! was read.
//!
//! Pure: bytes only.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// A longer text is not copied.
const SHORT: usize = 64 << 10;

/// Where questions are put.
pub trait QuestionSink {
    /// Returns what texts are appended to.
    fn joined(&mut self) -> &mut BytesMut;

    /// Returns true if this text is put without a copy.
    fn is_apart(&self, _text: &Bytes) -> bool {
        false
    }

    /// Puts a text behind what was put before, without a copy if that is possible.
    fn put_apart(&mut self, text: &Bytes) {
        self.joined().extend_from_slice(text);
    }
}

impl QuestionSink for BytesMut {
    fn joined(&mut self) -> &mut BytesMut {
        self
    }
}

/// Bytes that wait to be written to a worker.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// What goes first: large texts, and what stands before each.
    pieces: VecDeque<Bytes>,
    /// How many bytes `pieces` have.
    in_pieces: usize,
    /// What follows them.
    joined: BytesMut,
    /// Nothing becomes a piece.
    joins_all: bool,
}

impl Outgoing {
    /// Joins large texts, too: all that waits is in one place.
    pub fn in_one_place() -> Self {
        Self { joins_all: true, ..Self::default() }
    }

    /// Returns how many bytes wait.
    pub fn len(&self) -> usize {
        self.in_pieces + self.joined.len()
    }

    /// Returns true if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.pieces.is_empty()
    }

    /// Returns what waits, if it is in one place: always so for [`Outgoing::in_one_place`].
    #[inline]
    pub fn whole(&self) -> Option<&[u8]> {
        self.pieces.is_empty().then_some(&self.joined)
    }

    /// Returns the pieces of what waits, in their order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &piece[..]).chain([&self.joined[..]])
    }

    /// Returns a copy of the first `count` bytes.
    pub fn first(&self, count: usize) -> Vec<u8> {
        let mut first = Vec::with_capacity(count);
        for piece in self.pieces() {
            let left = count - first.len();
            first.extend_from_slice(&piece[..left.min(piece.len())]);
        }
        first
    }

    /// Drops the first `count` bytes, which were written.
    #[inline]
    pub fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let here = count.min(piece.len());
            (count, self.in_pieces) = (count - here, self.in_pieces - here);
            piece.advance(here);
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.joined.advance(count);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.in_pieces = 0;
        self.pieces.clear();
        self.joined.clear();
    }

    /// Gives back the memory that small texts were joined in. None of them may wait to be written.
    pub fn release(&mut self) {
        debug_assert!(self.joined.is_empty());
        self.joined = BytesMut::new();
    }
}

impl QuestionSink for Outgoing {
    fn joined(&mut self) -> &mut BytesMut {
        &mut self.joined
    }

    fn is_apart(&self, text: &Bytes) -> bool {
        text.len() > SHORT && !self.joins_all
    }

    fn put_apart(&mut self, text: &Bytes) {
        if !self.joined.is_empty() {
            let before = self.joined.split().freeze();
            self.in_pieces += before.len();
            self.pieces.push_back(before);
        }
        self.in_pieces += text.len();
        self.pieces.push_back(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Framing;
    use crate::wire::Encoder;

    fn shown(outgoing: &Outgoing) -> String {
        String::from_utf8(outgoing.pieces().collect::<Vec<_>>().concat()).expect("text")
    }

    #[test]
    fn a_large_text_stays_where_it_is_and_small_ones_are_joined() {
        let (small, large) = (Bytes::from_static(b"ab"), Bytes::from("x".repeat(SHORT + 1)));
        let encoder = Encoder::new(&Framing::Netstring, 1 << 20);
        let mut outgoing = Outgoing::default();
        encoder.put(b"1 ", &small, None, &mut outgoing).expect("short");
        assert_eq!(outgoing.whole(), Some(&b"4:1 ab,"[..]));
        encoder.put(b"2 ", &large, None, &mut outgoing).expect("short");
        encoder.put(b"3 ", &small, None, &mut outgoing).expect("short");
        assert_eq!(outgoing.whole(), None);
        assert_eq!(outgoing.pieces().nth(1).expect("a piece").as_ptr(), large.as_ptr());
        let mut all = BytesMut::new();
        for (tag, text) in [(b"1 ", &small), (b"2 ", &large), (b"3 ", &small)] {
            encoder.put(tag, text, None, &mut all).expect("short");
        }
        let all = String::from_utf8(all.to_vec()).expect("text");
        for written in [0, 1, 12, 1000, SHORT - 999, 3] {
            let before = outgoing.len();
            outgoing.advance(written);
            assert_eq!(
                (outgoing.len(), shown(&outgoing).len()),
                (before - written, before - written)
            );
            assert!(all.ends_with(&shown(&outgoing)));
            let begin = outgoing.first(outgoing.len() - 1);
            assert_eq!(begin, shown(&outgoing).as_bytes()[..outgoing.len() - 1]);
        }
        outgoing.put_apart(&large);
        outgoing.clear();
        assert!(outgoing.is_empty() && shown(&outgoing).is_empty());
        assert_eq!(outgoing.pieces().map(<[u8]>::len).sum::<usize>(), 0);
    }

    #[test]
    fn all_is_in_one_place_where_that_is_wanted() {
        let (large, mut outgoing) = (Bytes::from(vec![b'x'; 3 * SHORT]), Outgoing::in_one_place());
        let encoder = Encoder::new(&Framing::Line, 1 << 20);
        encoder.put(b"", &large, None, &mut outgoing).expect("short");
        assert_eq!(outgoing.whole().map(<[u8]>::len), Some(3 * SHORT + 1));
    }

    #[test]
    fn what_is_too_long_is_not_put() {
        let mut outgoing = Outgoing::default();
        let large = Bytes::from(vec![b'x'; SHORT + 1]);
        let encoder = Encoder::new(&Framing::Line, SHORT + 1);
        assert!(encoder.put(b"1", &large, None, &mut outgoing).is_err() && outgoing.is_empty());
        assert!(encoder.put(b"", &large, None, &mut outgoing).is_ok());
    }
}
