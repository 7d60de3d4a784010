//! Serves one connection: requests in, responses out, within its limits.
//!
//! What is decided here:
//! - A caller that closes its side is gone, also when it could still read (a half-close): its
//!   work is dropped at once, as nginx does. There is no other way to learn that a caller left.
//! - Responses are written as they are ready. hyper's `pipeline_flush` would hold one back
//!   while a later request is already here, and that one's call may take long.
//! - A connection that never sends a byte has `header_timeout`, not `idle_timeout`: it has not
//!   yet shown that it speaks HTTP.
//! - hyper's own header timer is off: it counts idle time too. One timer a connection looks at
//!   a watch of our own instead; a request sets no timer.
//! - An end that the caller did not ask for is followed by a short time of reading, or the
//!   kernel would throw away the last response together with what was left unread.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::stream::{Reader, Writer};
use super::watch::{Overdue, Patience, Verdict, Watch};
use super::{Drain, Stream};
use crate::config::LimitSettings;
use crate::sync::seldom::Seldom;

/// Least room for reads and writes: what hyper reads of a large body at once.
const BUFFER_LEAST: usize = 64 << 10;

/// How long, and for how many bytes, what a caller still sends is read after the last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// It was served; an error is the caller's fault.
    Served(hyper::Result<()>),
    /// The caller closed its side while something was still to be done for it.
    Left,
    /// A limit was passed.
    Overdue(Overdue),
    /// It was idle when the server ended.
    Idle,
}

/// Serves one connection to its end.
///
/// `service` is called with each request and the time of its head's last byte (of a pipelined
/// one: when the request before it was answered). Its future is dropped as soon as the caller
/// leaves. It reads the body itself, within limits of its own; what it leaves unread ends the
/// connection after the response. Requests that it gets are well-formed, but must still pass
/// [`conformance::check`](super::conformance::check).
pub async fn serve<S, B>(stream: Stream, limits: &LimitSettings, service: S, drain: Drain)
where
    S: AsyncFn(Request<Incoming>, Instant) -> Response<B>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let patience = Patience::of(limits);
    let watch = Rc::new(Watch::new(now()));
    let (reader, writer) = stream.split();
    let io = Watched {
        reader: Rc::clone(&reader),
        writer: Rc::clone(&writer),
        watch: Rc::clone(&watch),
    };
    let answer = |request| {
        let (service, watch) = (&service, Rc::clone(&watch));
        async move {
            let since = watch.called(now);
            let response = service(request, since).await;
            Ok::<_, Infallible>(response.map(|body| Answer { body, watch }))
        }
    };
    let end = {
        let connection =
            pin!(builder(limits).serve_connection(TokioIo::new(io), service_fn(answer)));
        let overdue = pin!(overdue(&watch, patience));
        let left = pin!(writer.peer_left());
        let closing = pin!(drain.closing());
        attend(connection, overdue, left, closing).await
    };
    tracing::trace!(?end, "a connection ended");
    match end {
        End::Served(Err(error)) if error.is_parse() => {
            // Of an HTTP/2 preface hyper says nothing itself.
            last_words(&watch, &writer, BAD_REQUEST);
            linger(reader, writer).await;
        }
        End::Overdue(Overdue::Head) => {
            last_words(&watch, &writer, REQUEST_TIMEOUT);
            linger(reader, writer).await;
        }
        End::Served(Ok(())) if !watch.has_ended() => linger(reader, writer).await,
        End::Overdue(Overdue::Write) => writer.give_up(),
        End::Served(_) | End::Overdue(Overdue::Idle) | End::Left | End::Idle => {}
    }
}

fn builder(limits: &LimitSettings) -> http1::Builder {
    let header = usize::try_from(limits.header.0).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .keep_alive(true)
        .header_read_timeout(None)
        .max_header_size(header)
        .max_buf_size(header.max(BUFFER_LEAST));
    builder
}

/// Polls a connection, and beside it, only when they have something to say, its timer, its
/// caller and the end of the server.
async fn attend<C: Serving>(
    mut connection: Pin<&mut C>,
    mut overdue: Pin<&mut impl Future<Output = Overdue>>,
    mut left: Pin<&mut impl Future<Output = ()>>,
    mut closing: Pin<&mut impl Future<Output = ()>>,
) -> End {
    let mut told = false;
    let mut aside = Seldom::new(poll_fn(|context| {
        if left.as_mut().poll(context).is_ready() {
            return Poll::Ready(Aside::End(End::Left));
        }
        if let Poll::Ready(overdue) = overdue.as_mut().poll(context) {
            return Poll::Ready(Aside::End(End::Overdue(overdue)));
        }
        if !told && closing.as_mut().poll(context).is_ready() {
            told = true;
            return Poll::Ready(Aside::Close);
        }
        Poll::Pending
    }));
    let mut closes = false;
    poll_fn(|context| {
        loop {
            // First what is here: a caller that sent nonsense and left still gets its 400.
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                return Poll::Ready(if closes { End::Idle } else { End::Served(result) });
            }
            closes = false;
            match aside.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Aside::End(end)) => return Poll::Ready(end),
                Poll::Ready(Aside::Close) => {
                    connection.as_mut().close_when_idle();
                    aside.ring();
                    closes = true;
                }
            }
        }
    })
    .await
}

/// What is seen beside the requests of a connection.
enum Aside {
    End(End),
    Close,
}

/// hyper's connection, without its many type parameters.
trait Serving: Future<Output = hyper::Result<()>> {
    /// Ends it now if it is idle, else with the response it is at.
    fn close_when_idle(self: Pin<&mut Self>);
}

impl<I, S, B> Serving for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn close_when_idle(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Waits until a limit is passed.
async fn overdue(watch: &Watch, patience: Patience) -> Overdue {
    loop {
        match watch.verdict(now(), patience) {
            Verdict::End(overdue) => return overdue,
            Verdict::Look(at) => tokio::time::sleep_until(at.into()).await,
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Says why a connection ends to a caller that has begun a request and heard nothing yet.
fn last_words(watch: &Watch, writer: &Writer, words: &[u8]) {
    if watch.owes_a_word()
        && let Err(error) = writer.try_write(&[IoSlice::new(words)])
    {
        tracing::trace!(%error, "a caller did not take its last response");
    }
}

/// Ends our side and reads on for a short while, so that the caller gets to read the last
/// response: unread bytes would make the kernel break the connection instead of ending it.
async fn linger(reader: Rc<RefCell<Reader>>, writer: Rc<Writer>) {
    drop(writer);
    let Some(reader) = Rc::into_inner(reader) else {
        return;
    };
    let mut rest = reader.into_inner().take(LINGER_BYTES as u64);
    let mut nowhere = tokio::io::sink();
    let swallow = tokio::io::copy(&mut rest, &mut nowhere);
    match tokio::time::timeout(LINGER, swallow).await {
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a caller broke its connection"),
    }
}

/// The bytes of a connection, with what they say about its phase.
#[derive(Debug)]
struct Watched {
    reader: Rc<RefCell<Reader>>,
    writer: Rc<Writer>,
    watch: Rc<Watch>,
}

impl AsyncRead for Watched {
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

impl AsyncWrite for Watched {
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
        self.watch.flushed(now);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Done by dropping the writer.
        Poll::Ready(Ok(()))
    }
}

/// A response's body; hyper drops it when it has taken all of it.
#[derive(Debug)]
struct Answer<B> {
    body: B,
    watch: Rc<Watch>,
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
