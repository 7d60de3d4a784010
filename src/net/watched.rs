//! The bytes of a connection, and what they say about its phase.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conduit::Conduit;
use super::now;
use super::watch::Watch;

/// The bytes of HTTP/1; every read and write is reported to the watch.
#[derive(Debug)]
pub(super) struct WatchedStream<C: Conduit> {
    pub(super) conduit: C,
    pub(super) watch: Rc<Watch>,
    /// What was read before, and is to be read again first.
    pub(super) unread: Bytes,
}

impl<C: Conduit> Drop for WatchedStream<C> {
    fn drop(&mut self) {
        // However it came to its end: a failure, a caller that left, a stop of the server.
        if self.watch.is_cut_short() {
            self.conduit.writer().reset();
        }
    }
}

impl<C: Conduit + Unpin> AsyncRead for WatchedStream<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = self.conduit.poll_read(context, buffer);
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

impl<C: Conduit + Unpin> AsyncWrite for WatchedStream<C> {
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
        self.conduit.poll_write(context, parts, &self.watch)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here only with nothing left to write.
        ready!(self.conduit.poll_flush(context))?;
        if self.watch.flushed(now) {
            self.conduit.writer().reset_by_kernel(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conduit.poll_end(context)
    }
}
