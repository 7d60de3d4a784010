//! Questions to bytes.
//!
//! Pure. What may stand in a question was checked before (`Framing::unsendable`); here only the
//! length can still be wrong.

use bytes::{BufMut, BytesMut};

use super::decode::Sentinel;
use crate::config::Framing;

/// Frames questions for one pool.
#[derive(Clone, Debug)]
pub struct Encoder {
    frame: Frame,
    limit: usize,
}

/// A question is longer than the framing or `message_max` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the question is longer than {limit} bytes")]
pub struct TooLong {
    /// Most bytes of a question, its tag or id included.
    pub limit: usize,
}

#[derive(Clone, Debug)]
enum Frame {
    /// The question, then these bytes.
    Ended(&'static [u8]),
    /// The question's lines, then an empty one.
    Block,
    /// The question, then the sentinel.
    Until(Sentinel),
    U16,
    U32,
    U32le,
    Netstring,
    ContentLength,
}

impl Encoder {
    /// An encoder for `framing.send` of a pool with this `message_max`, in bytes.
    pub fn new(framing: &Framing, message_max: usize) -> Self {
        let (frame, most) = match framing {
            Framing::Line | Framing::Lines(_) | Framing::LastLine(_) => {
                (Frame::Ended(b"\n"), usize::MAX)
            }
            Framing::Nul => (Frame::Ended(b"\0"), usize::MAX),
            Framing::Block => (Frame::Block, usize::MAX),
            Framing::Until(text) => (Frame::Until(Sentinel::new(text)), usize::MAX),
            Framing::U16 => (Frame::U16, usize::from(u16::MAX)),
            Framing::U32 => (Frame::U32, u32::MAX as usize),
            Framing::U32le => (Frame::U32le, u32::MAX as usize),
            Framing::Netstring => (Frame::Netstring, usize::MAX),
            Framing::ContentLength => (Frame::ContentLength, usize::MAX),
        };
        Self { frame, limit: message_max.min(most) }
    }

    /// Most bytes of one question, tag or id included.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Writes one question, `prefix` and then `text`, to the end of `out`. `nonce` is what
    /// `{nonce}` in an `until:` sentinel stands for.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; nothing was written.
    pub fn encode(
        &self,
        prefix: &[u8],
        text: &[u8],
        nonce: Option<&[u8]>,
        out: &mut BytesMut,
    ) -> Result<(), TooLong> {
        let length = prefix.len() + text.len();
        if length > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        out.reserve(length + 32);
        self.begin(length, out);
        out.extend_from_slice(prefix);
        out.extend_from_slice(text);
        match &self.frame {
            Frame::Ended(end) => out.extend_from_slice(end),
            Frame::Block => out.extend_from_slice(if length == 0 { b"\n" } else { b"\n\n" }),
            Frame::Until(sentinel) => sentinel.write(nonce.unwrap_or_default(), out),
            Frame::Netstring => out.put_u8(b','),
            Frame::U16 | Frame::U32 | Frame::U32le | Frame::ContentLength => {}
        }
        Ok(())
    }

    fn begin(&self, length: usize, out: &mut BytesMut) {
        const CHECKED: &str = "the limit is no more than the prefix can say";
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
}
