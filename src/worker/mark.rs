//! A byte order mark at the very start of a program's output: some languages write one there.
//!
//! Pure.

use bytes::{Buf as _, BytesMut};

use crate::config::Framing;

/// The byte order mark of UTF-8.
const BYTES: &[u8] = b"\xef\xbb\xbf";

/// Whether what comes next may be a mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    may_come: bool,
}

impl Mark {
    /// Before the first byte of a worker that answers in this framing. Where messages begin with a
    /// length, or are all that it writes, they may begin with any bytes.
    pub(super) fn of(framing: &Framing) -> Self {
        Self {
            may_come: !matches!(
                framing,
                Framing::U16 | Framing::U32 | Framing::U32le | Framing::Eof
            ),
        }
    }

    /// Drops the mark from the start of what was read, if all of it is there.
    pub(super) fn drop_from(&mut self, incoming: &mut BytesMut) {
        if !self.may_come || incoming.is_empty() {
            return;
        }
        if incoming.starts_with(BYTES) {
            incoming.advance(BYTES.len());
            self.may_come = false;
        } else {
            self.may_come = BYTES.starts_with(incoming);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_of(framing: &Framing, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut mark, mut all) = (Mark::of(framing), BytesMut::new());
        for piece in pieces {
            all.extend_from_slice(piece);
            mark.drop_from(&mut all);
        }
        all.to_vec()
    }

    #[test]
    fn a_mark_is_dropped_once_however_it_comes_and_only_from_a_text() {
        let line = Framing::Line;
        assert_eq!(left_of(&line, &[b"\xef\xbb\xbfa", b"\xef\xbb\xbfb"]), b"a\xef\xbb\xbfb");
        assert_eq!(left_of(&line, &[b"\xef", b"\xbb", b"\xbfa"]), b"a");
        assert_eq!(left_of(&line, &[b"\xef\xbba"]), b"\xef\xbba");
        assert_eq!(left_of(&line, &[b"", b"a"]), b"a");
        assert_eq!(left_of(&Framing::U32le, &[b"\xef\xbb\xbf\0"]), b"\xef\xbb\xbf\0");
    }
}
