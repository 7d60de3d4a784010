//! The stream of one tap.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use crate::observe::tap::TapReader;

/// The longest time of one tap.
const TAP_LONGEST: Duration = Duration::from_mins(10);

/// The stream of one tap.
#[derive(Debug)]
pub struct TapStream {
    reader: TapReader,
    end: Pin<Box<Sleep>>,
}

impl TapStream {
    /// A stream that ends by itself after a while.
    pub(super) fn new(reader: TapReader) -> Self {
        Self { reader, end: Box::pin(sleep(TAP_LONGEST)) }
    }

    /// Returns the next event as it is written; `None` when its time is over.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.reader.poll_next(context).map(|event| {
            let json = serde_json::to_string(&event).expect("numbers and texts are JSON");
            Some(Bytes::from(format!("event: piece\ndata: {json}\n\n")))
        })
    }
}
