//! The stream of one tap.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use crate::observe::tap::TapReader;

/// The longest time of one tap.
const TAP_LONGEST: Duration = Duration::from_mins(10);
/// How much is written before a pause. To write it costs more than to keep it, and nobody reads
/// thousands of lines a second: at a rush, the rest is left out, and the calls do not pay for it.
const BURST: usize = 128 << 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The stream of one tap.
#[derive(Debug)]
pub struct TapStream {
    reader: TapReader,
    end: Pin<Box<Sleep>>,
    /// How many bytes may still be written before a pause; 0: it pauses.
    left: usize,
    pause: Pin<Box<Sleep>>,
}

impl TapStream {
    /// A stream that ends by itself after a while.
    pub(super) fn new(reader: TapReader) -> Self {
        let (end, pause) = (Box::pin(sleep(TAP_LONGEST)), Box::pin(sleep(Duration::ZERO)));
        Self { reader, end, left: BURST, pause }
    }

    /// Returns the next event as it is written; `None` when its time is over.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if self.left == 0 {
            ready!(self.pause.as_mut().poll(context));
            self.left = BURST;
        }
        let event = ready!(self.reader.poll_next(context));
        let json = serde_json::to_string(&event).expect("numbers and texts are JSON");
        let text = format!("event: piece\ndata: {json}\n\n");
        self.left = self.left.saturating_sub(text.len());
        if self.left == 0 {
            self.pause.as_mut().reset(Instant::now() + PAUSE);
        }
        Poll::Ready(Some(Bytes::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;
    use crate::config::PoolSettings;
    use crate::observe::tap::{Piece, Tap, TapWish};
    use crate::report::TapKind;

    #[tokio::test(start_paused = true)]
    async fn a_tap_of_which_nothing_comes_ends_after_ten_minutes() {
        let (tap, reader) = Tap::new(TapWish::default());
        let mut stream = TapStream::new(reader);
        let begun = Instant::now();
        assert_eq!(poll_fn(|context| stream.poll_next(context)).await, None);
        assert_eq!(begun.elapsed().as_secs(), 600);
        drop(stream);
        assert!(tap.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn at_a_rush_it_pauses() {
        let (tap, reader) = Tap::new(TapWish::default());
        let mut stream = TapStream::new(reader);
        let pool = Arc::new(PoolSettings::for_tests());
        let (mut bursts, mut bytes) = (vec![], 0);
        for _ in 0..3_000 {
            tap.push(Piece::new(TapKind::Read, Arc::clone(&pool), None).with(b"hello"));
            let asked = Instant::now();
            let text = poll_fn(|context| stream.poll_next(context)).await.expect("not yet over");
            if asked.elapsed() >= PAUSE {
                bursts.push(std::mem::take(&mut bytes));
            }
            bytes += text.len();
        }
        assert!(bursts.len() >= 3, "{bursts:?}");
        assert!(bursts.iter().all(|bytes| (BURST..BURST + 500).contains(bytes)), "{bursts:?}");
    }
}
