//! How the bytes of a connection reach its socket: as they are, or within TLS.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::stream::{Reader, Writer};
use super::watch::Watch;
use super::{Stream, now};

/// One connection. Its clones are the same connection, so that who ends it has one, too.
pub(super) trait Conduit: Clone {
    /// Only a read finds out that the caller has left. Else the socket tells without one.
    const LEAVING_IS_READ: bool;
    /// It can tell that the caller has sent something before that is read.
    const CAN_REST: bool;

    /// Returns the side of the socket that is written to.
    fn writer(&self) -> &Rc<Writer>;

    /// Waits until the caller has sent something, or has left, as far as that is known without reading.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;

    /// Reads what the caller sends.
    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// Writes as much as there is room for, and notes in `watch` whether the caller takes it.
    fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        watch: &Watch,
    ) -> Poll<io::Result<usize>>;

    /// Hands what was written to the kernel.
    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that no more will be written.
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes the last words, and says that they are the last, as far as the kernel takes that now.
    fn say_last(&self, words: &[u8]);

    /// Ends the direction to the caller, and returns the other one; `None` if somebody else has a
    /// clone.
    fn into_reader(self) -> Option<Reader>;
}

/// A connection whose bytes are not changed.
#[derive(Clone, Debug)]
pub(super) struct PlainConduit {
    reader: Rc<RefCell<Reader>>,
    writer: Rc<Writer>,
}

impl PlainConduit {
    /// Takes a connection.
    pub(super) fn new(stream: Stream) -> Self {
        let (reader, writer) = stream.split();
        Self::of(reader, writer)
    }

    /// Takes both directions of a connection.
    pub(super) fn of(reader: Rc<RefCell<Reader>>, writer: Rc<Writer>) -> Self {
        Self { reader, writer }
    }
}

impl Conduit for PlainConduit {
    const LEAVING_IS_READ: bool = false;
    const CAN_REST: bool = true;

    fn writer(&self) -> &Rc<Writer> {
        &self.writer
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.reader.borrow_mut().poll_readable(context)
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.reader.borrow_mut()).poll_read(context, buffer)
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        let polled = self.writer.poll_write(context, parts);
        watch.note(&polled);
        polled
    }

    fn poll_flush(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_end(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Dropping the writer shuts the connection down.
        Poll::Ready(Ok(()))
    }

    fn say_last(&self, words: &[u8]) {
        if !words.is_empty()
            && let Err(error) = self.writer.try_write(&[IoSlice::new(words)])
        {
            tracing::trace!(%error, "a caller did not take its last response");
        }
    }

    fn into_reader(self) -> Option<Reader> {
        let Self { reader, writer } = self;
        drop(writer);
        Rc::into_inner(reader).map(RefCell::into_inner)
    }
}

impl Watch {
    /// Notes what became of a write.
    pub(super) fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        match polled {
            Poll::Ready(Ok(_)) => self.wrote(),
            Poll::Pending => self.blocked(now),
            Poll::Ready(Err(_)) => {}
        }
    }
}
