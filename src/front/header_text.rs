//! Values of header fields that are made of short texts and numbers.

use std::time::Duration;

use http::HeaderValue;

use crate::base::units::in_millis;

/// A header value made of short texts and numbers, without the cost of formatting.
pub(super) struct HeaderText {
    bytes: [u8; WRITTEN_MOST],
    length: usize,
}

/// Room for two numbers of twenty digits and the words around them.
const WRITTEN_MOST: usize = 96;

impl HeaderText {
    /// Makes the value that `write` writes.
    pub(super) fn value(write: impl FnOnce(&mut Self)) -> HeaderValue {
        let mut text = Self { bytes: [0; WRITTEN_MOST], length: 0 };
        write(&mut text);
        HeaderValue::from_bytes(&text.bytes[..text.length])
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    pub(super) fn number(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number));
    }

    /// Adds a time in milliseconds, with three decimals.
    pub(super) fn millis(&mut self, time: Duration) {
        let (whole, behind) = in_millis(time);
        self.number(whole);
        self.bytes(&behind);
    }
}
