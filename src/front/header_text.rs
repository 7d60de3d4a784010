//! Values of header fields that are made of short texts and numbers.

use std::time::Duration;

use http::HeaderValue;

use crate::base::units::in_millis;
use crate::sync::pieces;

/// A header value made of short texts and numbers, without the cost of formatting.
pub(super) struct HeaderText<'a>(&'a mut Vec<u8>);

impl HeaderText<'_> {
    /// Makes the value that `write` writes.
    pub(super) fn value(write: impl FnOnce(&mut HeaderText<'_>)) -> HeaderValue {
        let (text, ()) = pieces::written(|text| write(&mut HeaderText(text)));
        HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
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
