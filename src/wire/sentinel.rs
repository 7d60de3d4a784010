//! The text that ends a message of an `until:` framing.
//!
//! Pure: written after a question, searched for in an answer.

use bytes::BytesMut;
use memchr::memmem::Finder;

use super::cut::{Broken, Cut, SearchState, fits, may_still_fit};

/// A text with places for a nonce.
#[derive(Clone, Debug)]
pub(super) struct Sentinel {
    /// What stands around each `{nonce}`.
    pieces: Vec<Vec<u8>>,
    /// Built once if there is no `{nonce}`.
    finder: Option<Box<Finder<'static>>>,
}

impl Sentinel {
    pub(super) fn new(text: &str) -> Self {
        let pieces: Vec<_> = text.split("{nonce}").map(|piece| piece.as_bytes().to_vec()).collect();
        let finder = match pieces.as_slice() {
            [whole] => Some(Box::new(Finder::new(whole).into_owned())),
            _ => None,
        };
        Self { pieces, finder }
    }

    /// Writes the text with this nonce.
    pub(super) fn write(&self, nonce: &[u8], out: &mut BytesMut) {
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(nonce);
            }
            out.extend_from_slice(piece);
        }
    }

    /// Finds the message that ends with this text. A text with `{nonce}` is not found without
    /// a nonce.
    pub(super) fn find(
        &self,
        buffer: &[u8],
        nonce: Option<&[u8]>,
        progress: &mut SearchState,
        limit: usize,
    ) -> Result<Option<Cut>, Broken> {
        if let Some(finder) = &self.finder {
            return find_text(finder, buffer, progress, limit);
        }
        let Some(nonce) = nonce else { return may_still_fit(buffer, 1, limit) };
        let mut text = BytesMut::new();
        self.write(nonce, &mut text);
        find_text(&Finder::new(&text), buffer, progress, limit)
    }
}

fn find_text(
    finder: &Finder<'_>,
    buffer: &[u8],
    progress: &mut SearchState,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    let length = finder.needle().len();
    if let Some(found) = finder.find(&buffer[progress.searched..]) {
        let end = progress.searched + found;
        fits(end, limit)?;
        return Ok(Some(Cut { start: 0, end, next: end + length, has_returns: false }));
    }
    // The text may have begun in the last bytes.
    progress.searched = (buffer.len() + 1).saturating_sub(length);
    may_still_fit(buffer, length, limit)
}
