//! Values of header fields that are made of short texts and numbers.

use std::time::Duration;

use http::HeaderValue;

use crate::base::units::in_millis;
use crate::base::{AwayTime, Timing};
use crate::sync::pieces;

/// What the header of a response without a call says of its time.
pub(super) const NO_TIME: &str = "queue;dur=0.000, work;dur=0.000";

/// A header value made of short texts and numbers, without the cost of formatting.
pub(super) struct HeaderText<'a>(pub(super) &'a mut Vec<u8>);

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
        // Most calls do not wait.
        if time.is_zero() {
            return self.text("0.000");
        }
        let (whole, behind) = in_millis(time);
        self.number(whole);
        self.bytes(&behind);
    }

    /// Adds the value of `Server-Timing`.
    pub(super) fn timing(&mut self, timing: Timing) {
        self.text("queue;dur=");
        self.millis(timing.queue);
        if let Some(AwayTime { way_us: way @ 1.., .. }) = timing.away {
            self.text(", spread;dur=");
            self.millis(Duration::from_micros(way.into()));
        }
        self.text(", work;dur=");
        self.millis(timing.work);
    }
}
