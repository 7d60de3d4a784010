//! The bytes of a connection, and what they say about its phase.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Reader, Writer};
use super::watch::Watch;

/// The time on the runtime's clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Both directions of a connection; every read and write is reported to its watch.
#[derive(Debug)]
pub(super) struct WatchedStream {
    pub(super) reader: Rc<RefCell<Reader>>,
    pub(super) writer: Rc<Writer>,
    pub(super) watch: Rc<Watch>,
}

impl Drop for WatchedStream {
    fn drop(&mut self) {
        // However it came to its end: a failure, a caller that left, a stop of the server.
        if self.watch.is_cut_short() {
            self.writer.reset();
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *self.reader.borrow_mut()).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled {
            if buffer.filled().len() > before {
                self.watch.received(now);
            } else {
                self.watch.received_end();
            }
        }
        polled
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.watch.withholds(parts.first().map_or(&[], |first| first)) {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let polled = self.writer.poll_write(context, parts);
        match polled {
            Poll::Ready(Ok(_)) => self.watch.wrote(),
            Poll::Pending => self.watch.blocked(now),
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here only with nothing left to write.
        if self.watch.flushed(now) {
            self.writer.reset_by_kernel(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Dropping the writer shuts the connection down.
        Poll::Ready(Ok(()))
    }
}
