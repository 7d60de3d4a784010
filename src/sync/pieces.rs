//! Small pieces of bytes that share allocations: of what one request needs, most is a few bytes long,
//! and is dropped soon.

use std::cell::{Cell, RefCell};

use bytes::{Bytes, BytesMut};

/// How many bytes of pieces share one allocation, which lives as long as any of them.
const BLOCK: usize = 4 << 10;
/// A longer piece has an allocation of its own.
const PIECE_MOST: usize = 512;

thread_local! {
    /// The block of the next pieces.
    static ROOM: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(BLOCK));
    /// Where a piece is written before its length is known; empty while one is.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns a copy of these bytes.
pub fn copied(bytes: &[u8]) -> Bytes {
    if bytes.len() > PIECE_MOST {
        return Bytes::copy_from_slice(bytes);
    }
    ROOM.with_borrow_mut(|room| {
        room.extend_from_slice(bytes);
        room.split().freeze()
    })
}

/// Returns the bytes that `write` writes, and what it returns.
pub fn written<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
    let mut draft = DRAFT.take();
    let returned = write(&mut draft);
    if draft.len() > PIECE_MOST {
        return (draft.into(), returned);
    }
    let piece = copied(&draft);
    if draft.capacity() <= BLOCK {
        draft.clear();
        DRAFT.set(draft);
    }
    (piece, returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_what_was_written_and_stays_so() {
        let pieces: Vec<_> = (0..5000).map(|number: u32| copied(&number.to_le_bytes())).collect();
        for (piece, number) in pieces.iter().zip(0_u32..) {
            assert_eq!(piece[..], number.to_le_bytes());
        }
    }

    #[test]
    fn pieces_lie_side_by_side_and_large_ones_do_not() {
        let (one, other) = (copied(b"one"), copied(b"other"));
        assert_eq!(other.as_ptr() as usize - one.as_ptr() as usize, 3);
        let (large, ()) = written(|to| to.resize(PIECE_MOST + 1, b'x'));
        assert_eq!(large.len(), PIECE_MOST + 1);
        assert!(large.is_unique() && copied(&large).is_unique());
    }

    #[test]
    fn one_can_be_written_while_another_is() {
        let (outer, inner) = written(|to| {
            to.push(b'a');
            let (inner, ()) = written(|to| to.push(b'b'));
            to.push(b'c');
            inner
        });
        assert_eq!((&outer[..], &inner[..]), (&b"ac"[..], &b"b"[..]));
    }
}
