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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::observe::tap::{Tap, TapWish};

    #[tokio::test(start_paused = true)]
    async fn a_tap_of_which_nothing_comes_ends_after_ten_minutes() {
        let (tap, reader) = Tap::new(TapWish::default());
        let mut stream = TapStream::new(reader);
        let begun = tokio::time::Instant::now();
        assert_eq!(poll_fn(|context| stream.poll_next(context)).await, None);
        assert_eq!(begun.elapsed().as_secs(), 600);
        drop(stream);
        assert!(tap.is_over());
    }
}
