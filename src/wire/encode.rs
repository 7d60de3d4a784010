//! Questions to bytes.
//!
//! Pure: the bytes of a question were checked before (`Framing::unsendable`). Only its length can
//! still be wrong here.

use bytes::{BufMut, Bytes, BytesMut};

use super::outgoing::QuestionSink;
use super::sentinel::Sentinel;
use crate::config::Framing;

/// Writes the questions of one pool as its framing demands.
#[derive(Clone, Debug)]
pub struct Encoder {
    frame: Frame,
    limit: usize,
}

/// A question is longer than the framing or `message_max` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the question is longer than {limit} bytes")]
pub struct TooLong {
    /// The most bytes of a question, with its tag or `id`.
    pub limit: usize,
}

#[derive(Clone, Debug)]
enum Frame {
    /// The question, then these bytes.
    Ended(&'static [u8]),
    /// The question's lines, then an empty line.
    Block,
    /// The question, then the sentinel.
    Until(Sentinel),
    U16,
    U32,
    U32le,
    Netstring,
    ContentLength,
}

/// More than any frame takes, but for that of a sentinel.
const FRAME_MOST: usize = 32;
/// Room for this many bytes is made at once, so that it is not made for each question.
const ROOM: usize = 1 << 10;

impl Encoder {
    /// An encoder for `framing.send` of a pool with this `message_max`, in bytes.
    pub fn new(framing: &Framing, message_max: usize) -> Self {
        let (frame, framing_max) = match framing {
            Framing::Line | Framing::Lines(_) | Framing::LastLine(_) | Framing::Turn => {
                (Frame::Ended(b"\n"), usize::MAX)
            }
            Framing::Nul => (Frame::Ended(b"\0"), usize::MAX),
            Framing::Eof => (Frame::Ended(b""), usize::MAX),
            Framing::Block => (Frame::Block, usize::MAX),
            Framing::Until(text) => (Frame::Until(Sentinel::new(text)), usize::MAX),
            Framing::U16 => (Frame::U16, usize::from(u16::MAX)),
            Framing::U32 => (Frame::U32, u32::MAX as usize),
            Framing::U32le => (Frame::U32le, u32::MAX as usize),
            Framing::Netstring => (Frame::Netstring, usize::MAX),
            Framing::ContentLength => (Frame::ContentLength, usize::MAX),
        };
        Self { frame, limit: message_max.min(framing_max) }
    }

    /// Most bytes of a question.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Appends one question to `out`: `prefix`, then `text`, framed. `nonce` takes the place of
    /// `{nonce}` in the sentinel of an `until:` framing.
    ///
    /// # Errors
    ///
    /// `TooLong`; then nothing is written.
    pub fn encode(
        &self,
        prefix: &[u8],
        text: &[u8],
        nonce: Option<&[u8]>,
        out: &mut BytesMut,
    ) -> Result<(), TooLong> {
        self.encode_all(&[prefix, text], nonce, out)
    }

    /// Puts one question as [`Encoder::encode`] appends it.
    ///
    /// # Errors
    ///
    /// `TooLong`; then nothing is put.
    #[inline]
    pub fn put(
        &self,
        prefix: &[u8],
        text: &Bytes,
        nonce: Option<&[u8]>,
        out: &mut impl QuestionSink,
    ) -> Result<(), TooLong> {
        if !out.is_apart(text) {
            return self.encode(prefix, text, nonce, out.joined());
        }
        let length = self.checked_length(&[prefix, text])?;
        self.begin(length, out.joined());
        out.joined().extend_from_slice(prefix);
        out.put_apart(text);
        self.end(length, nonce, out.joined());
        Ok(())
    }

    /// Appends one question, given in pieces, as [`Encoder::encode`] does.
    ///
    /// # Errors
    ///
    /// `TooLong`; then nothing is written.
    pub fn encode_all(
        &self,
        pieces: &[&[u8]],
        nonce: Option<&[u8]>,
        out: &mut BytesMut,
    ) -> Result<(), TooLong> {
        let length = self.checked_length(pieces)?;
        let needed = length + FRAME_MOST;
        if out.capacity() - out.len() < needed {
            out.reserve(needed.max(ROOM));
        }
        self.begin(length, out);
        for piece in pieces {
            out.extend_from_slice(piece);
        }
        self.end(length, nonce, out);
        Ok(())
    }

    /// Returns the length of a question, unless it is too long.
    #[inline]
    fn checked_length(&self, pieces: &[&[u8]]) -> Result<usize, TooLong> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if length > self.limit { Err(TooLong { limit: self.limit }) } else { Ok(length) }
    }

    fn begin(&self, length: usize, out: &mut BytesMut) {
        const CHECKED: &str = "the limit is at most what the prefix can hold";
        match &self.frame {
            Frame::Ended(_) | Frame::Block | Frame::Until(_) => {}
            Frame::U16 => out.put_u16(u16::try_from(length).expect(CHECKED)),
            Frame::U32 => out.put_u32(u32::try_from(length).expect(CHECKED)),
            Frame::U32le => out.put_u32_le(u32::try_from(length).expect(CHECKED)),
            Frame::Netstring => {
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.put_u8(b':');
            }
            Frame::ContentLength => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
            }
        }
    }

    #[inline]
    fn end(&self, length: usize, nonce: Option<&[u8]>, out: &mut BytesMut) {
        match &self.frame {
            Frame::Ended(end) => out.extend_from_slice(end),
            Frame::Block => out.extend_from_slice(if length == 0 { b"\n" } else { b"\n\n" }),
            Frame::Until(sentinel) => sentinel.write(nonce.unwrap_or_default(), out),
            Frame::Netstring => out.put_u8(b','),
            Frame::U16 | Frame::U32 | Frame::U32le | Frame::ContentLength => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(framing: &Framing, prefix: &str, text: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        let encoder = Encoder::new(framing, 1000);
        encoder.encode(prefix.as_bytes(), text.as_bytes(), Some(b"n0"), &mut out).expect("short");
        out.to_vec()
    }

    #[test]
    fn questions_are_written_as_programs_read_them() {
        use Framing::{Block, ContentLength, Line, Lines, Netstring, Nul, U16, U32, U32le, Until};
        assert_eq!(encoded(&Line, "17 ", "a b"), b"17 a b\n");
        assert_eq!(encoded(&Lines(2), "", "10 km\nmiles"), b"10 km\nmiles\n");
        assert_eq!(encoded(&Nul, "", "a"), b"a\0");
        assert_eq!(encoded(&Block, "", "a\nb"), b"a\nb\n\n");
        assert_eq!(encoded(&Block, "", "a"), b"a\n\n");
        assert_eq!(encoded(&Block, "", ""), b"\n");
        assert_eq!(encoded(&Until("<{nonce}>\n".to_owned()), "", "a"), b"a<n0>\n");
        assert_eq!(encoded(&U16, "1 ", "ab"), b"\0\x041 ab");
        assert_eq!(encoded(&U32, "", "ab"), b"\0\0\0\x02ab");
        assert_eq!(encoded(&U32le, "", "ab"), b"\x02\0\0\0ab");
        assert_eq!(encoded(&Netstring, "7 ", "hello"), b"7:7 hello,");
        assert_eq!(encoded(&ContentLength, "", "{}"), b"Content-Length: 2\r\n\r\n{}");
    }

    #[test]
    fn a_question_that_is_too_long_writes_nothing() {
        let long = vec![b'a'; 65_536];
        let mut out = BytesMut::from(&b"before"[..]);
        let u16 = Encoder::new(&Framing::U16, 1 << 20);
        let refused = u16.encode(b"", &long, None, &mut out);
        assert_eq!(refused, Err(TooLong { limit: 65_535 }));
        assert_eq!(u16.encode(b"1", &long[1..], None, &mut out), refused);
        let line = Encoder::new(&Framing::Line, 3);
        assert_eq!(line.encode(b"1 ", b"ab", None, &mut out), Err(TooLong { limit: 3 }));
        assert_eq!(out, "before");
        assert_eq!(u16.encode(b"", &long[1..], None, &mut out), Ok(()));
    }
}
