//! HTTP/2 on a connection, as hyper serves it.
//!
//! All streams of a connection run in its task, so that they end with it. hyper ends a stream that
//! its caller resets; what is decided here is what hyper does not limit:
//! - A body is handed over in pieces, each when its caller has room for it. One that has not taken any
//!   for `write_timeout` is reset. The last piece is with hyper then, at most [`PIECE`].
//! - A connection without a stream is idle, and has the limits of one that speaks HTTP/1.
//! - Frames that cost work and carry nothing are counted ([`Calm`]).

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::stream::{FuturesUnordered, Stream as _};
use http::header::{COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::arrival::Arrival;
use super::calm::Calm;
use super::conduit::Conduit;
use super::request_body::{RequestBody, UnreadBody};
use super::resting::{Serving, Unserved};
use super::watch::Watch;
use super::{RequestHead, now};
use crate::config::LimitSettings;

/// Most streams of a connection at once.
const STREAMS_MOST: u32 = 100;
/// How much of a body a caller may send before the service asks for more.
const STREAM_WINDOW: u32 = 256 << 10;
/// How much a caller may send before the service asks for more, of all bodies of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How much of a body that nobody wants is read, in bytes, and for how long: what was under way when its
/// caller was answered.
const UNREAD_MOST: usize = STREAM_WINDOW as usize;
const UNREAD_FOR: Duration = Duration::from_secs(1);
/// How often a connection is asked whether it still lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How much of an answer hyper gets at once, and how much of it hyper keeps.
const PIECE: usize = 16 << 10;
const SEND_BUFFER: usize = 64 << 10;

/// The frame that ends a connection whose caller sent too much: GOAWAY with `ENHANCE_YOUR_CALM`, which
/// says of no stream whether it was served.
pub(super) const CALM_DOWN: &[u8] =
    &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// The frame that ends a connection without a stream: GOAWAY with `NO_ERROR`.
pub(super) const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A future of one stream. It is in a box because hyper does not let its type be named.
type StreamFuture<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What the streams of one connection share.
pub(super) struct H2Streams<'a> {
    /// Those that hyper began, and that are not polled yet.
    begun: RefCell<Vec<StreamTask<'a>>>,
    /// The reading of the body that belongs to the stream that begins next.
    next: RefCell<Option<Rc<ReadState>>>,
    readings: RefCell<Vec<Weak<ReadState>>>,
    open: Cell<usize>,
    watch: Rc<Watch>,
    calm: RefCell<Calm>,
    /// Its caller sent too much that carries nothing.
    is_flooded: Cell<bool>,
}

/// Whether the caller of a stream reads its answer.
#[derive(Debug, Default)]
struct ReadState {
    /// Since when a piece of the answer waits for its caller.
    waits_since: Cell<Option<Instant>>,
    is_over: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

struct StreamTask<'a> {
    future: StreamFuture<'a>,
    reading: Option<Rc<ReadState>>,
    streams: Rc<H2Streams<'a>>,
}

impl Future for StreamTask<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(reading) = &self.reading {
            if reading.is_over.get() {
                // Dropping the future resets the stream.
                return Poll::Ready(());
            }
            reading.task.borrow_mut().get_or_insert_with(|| context.waker().clone());
        }
        self.future.as_mut().poll(context)
    }
}

impl Drop for StreamTask<'_> {
    fn drop(&mut self) {
        self.streams.ended();
    }
}

impl H2Streams<'_> {
    pub(super) fn new(watch: Rc<Watch>) -> Rc<Self> {
        Rc::new(Self {
            begun: RefCell::default(),
            next: RefCell::default(),
            readings: RefCell::default(),
            open: Cell::new(0),
            watch,
            calm: RefCell::new(Calm::new(now())),
            is_flooded: Cell::new(false),
        })
    }

    /// Notes a request, and returns since when it is here.
    fn called(&self) -> (Instant, Rc<ReadState>) {
        let received = now();
        self.watch.called(|| received);
        let reading = Rc::new(ReadState::default());
        *self.next.borrow_mut() = Some(Rc::clone(&reading));
        let mut readings = self.readings.borrow_mut();
        readings.retain(|it| it.strong_count() > 0);
        readings.push(Rc::downgrade(&reading));
        (received, reading)
    }

    fn ended(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            // Nothing else reads the clock for the time since which the connection is idle.
            self.watch.takes_time();
            self.watch.answered();
            self.watch.flushed(now);
        }
    }

    /// Reads what a caller still sends although the request is answered. Without this, hyper would reset
    /// the stream with the answer, and curl 7.88 shows such an answer to nobody.
    fn read_on(self: &Rc<Self>, body: Incoming) {
        self.open.set(self.open.get() + 1);
        let future = Box::pin(async move {
            tokio::time::timeout(UNREAD_FOR, read_off(body)).await.ok();
        });
        let task = StreamTask { future, reading: None, streams: Rc::clone(self) };
        self.begun.borrow_mut().push(task);
    }

    /// Resets the streams whose callers have not read for `patience`. Returns when the next one may
    /// be.
    fn reset_unread(&self, now: Instant, patience: Duration) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for reading in self.readings.borrow().iter().filter_map(Weak::upgrade) {
            let Some(since) = reading.waits_since.get() else { continue };
            let end = since + patience;
            if end <= now {
                reading.is_over.set(true);
                if let Some(task) = reading.task.borrow_mut().take() {
                    task.wake();
                }
            } else {
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
        next
    }

    /// Returns true if the caller sent too much that carries nothing.
    pub(super) fn are_flooded(&self) -> bool {
        self.is_flooded.get()
    }

    /// Resets streams that are not read, as long as the connection lives.
    pub(super) async fn keep_reading(&self, patience: Duration) -> Infallible {
        loop {
            let now = now();
            let next = self.reset_unread(now, patience).unwrap_or(now + patience);
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

/// Reads a body to its end, or to [`UNREAD_MOST`] bytes.
async fn read_off(mut body: Incoming) {
    let mut left = UNREAD_MOST;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length >= left {
            return;
        }
        left -= length;
    }
}

/// The bytes of HTTP/2.
pub(super) struct FramedStream<'a, C> {
    pub(super) conduit: C,
    pub(super) streams: Rc<H2Streams<'a>>,
}

impl<C: Conduit + Unpin> AsyncRead for FramedStream<'_, C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.conduit.poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled {
            let bytes = &buffer.filled()[before..];
            if bytes.is_empty() {
                self.streams.watch.received_end();
            } else if !self.streams.calm.borrow_mut().read(bytes, now()) {
                self.streams.is_flooded.set(true);
                return Poll::Ready(Err(io::Error::other("a flood of empty frames")));
            }
        }
        polled
    }
}

impl<C: Conduit + Unpin> AsyncWrite for FramedStream<'_, C> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.conduit.poll_write(context, &[IoSlice::new(bytes)], &self.streams.watch)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.conduit.poll_write(context, parts, &self.streams.watch)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conduit.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conduit.poll_end(context)
    }
}

/// Runs streams in the task of their connection.
#[derive(Clone)]
struct InTask<'a>(Rc<H2Streams<'a>>);

impl<'a, F: Future<Output = ()> + 'a> Executor<F> for InTask<'a> {
    fn execute(&self, future: F) {
        let streams = Rc::clone(&self.0);
        streams.open.set(streams.open.get() + 1);
        let reading = streams.next.borrow_mut().take();
        let task = StreamTask { future: Box::pin(future), reading, streams };
        self.0.begun.borrow_mut().push(task);
    }
}

/// A connection with its streams.
struct Multiplexed<'a, C> {
    connection: Pin<Box<C>>,
    running: FuturesUnordered<StreamTask<'a>>,
    streams: Rc<H2Streams<'a>>,
}

impl<C> Drop for Multiplexed<'_, C> {
    /// Drops the streams that have not run. Each holds what all share, which holds them.
    fn drop(&mut self) {
        let begun = std::mem::take(&mut *self.streams.begun.borrow_mut());
        drop(begun);
    }
}

impl<C: Future<Output = hyper::Result<()>>> Future for Multiplexed<'_, C> {
    type Output = Result<(), Unserved>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Unserved>> {
        loop {
            if let Poll::Ready(served) = self.connection.as_mut().poll(context) {
                return Poll::Ready(served.map_err(Unserved::from));
            }
            let begun = std::mem::take(&mut *self.streams.begun.borrow_mut());
            self.running.extend(begun);
            match Pin::new(&mut self.running).poll_next(context) {
                // What it has said is with the connection now.
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<I, S, B, E> Serving for Multiplexed<'_, http2::Connection<I, S, E>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn close_when_idle(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }
}

/// Serves HTTP/2 over these bytes. `service` is called with each request and its arrival.
pub(super) fn serve<'a, I, S, B>(
    io: I,
    limits: &LimitSettings,
    streams: &Rc<H2Streams<'a>>,
    service: &'a S,
) -> impl Serving + use<'a, I, S, B>
where
    I: AsyncRead + AsyncWrite + Unpin + 'a,
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let shared = Rc::clone(streams);
    let answer = move |request: Request<Incoming>| {
        let (received, reading) = shared.called();
        let streams = Rc::clone(&shared);
        async move {
            let unread = Rc::new(UnreadBody::default());
            let (head, body) = as_http1(request).into_parts();
            let body = RequestBody::kept(body, &unread);
            let response = service(&head, body, Arrival::at(received)).await;
            if let Some(body) = unread.take() {
                streams.read_on(body);
            }
            reading.waits_since.set(Some(now()));
            Ok::<_, Infallible>(response.map(|body| BodyPieces {
                body,
                rest: Bytes::new(),
                reading,
            }))
        }
    };
    let io = TokioIo::new(io);
    let connection =
        builder(InTask(Rc::clone(streams)), limits).serve_connection(io, service_fn(answer));
    Multiplexed {
        connection: Box::pin(connection),
        running: FuturesUnordered::new(),
        streams: Rc::clone(streams),
    }
}

fn builder<E: Clone>(executor: E, limits: &LimitSettings) -> http2::Builder<E> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MOST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.header.0).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Gives a request the form that it has in HTTP/1: its authority is `Host`, its target a path.
fn as_http1(mut request: Request<Incoming>) -> Request<Incoming> {
    let authority = request.uri().authority().map(|it| HeaderValue::from_str(it.as_str()));
    if let Some(Ok(authority)) = authority {
        let headers = request.headers_mut();
        // Two that differ are two hosts, which is refused as in HTTP/1.
        if headers.get(HOST) != Some(&authority) {
            headers.append(HOST, authority);
        }
    }
    let target = request.uri().path_and_query().cloned();
    if request.method() != http::Method::CONNECT {
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
    }
    // RFC 9113, section 8.2.3.
    let mut crumbs = request.headers().get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let all = [first, second].into_iter().chain(crumbs);
        let joined = all.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            request.headers_mut().insert(COOKIE, joined);
        }
    }
    request
}

/// The body of an answer, in pieces.
struct BodyPieces<B> {
    body: B,
    /// What is left of what the body gave last.
    rest: Bytes,
    reading: Rc<ReadState>,
}

impl<B> BodyPieces<B> {
    fn piece(&mut self) -> Frame<Bytes> {
        // hyper asks for the next one when the caller has room for more.
        self.reading.waits_since.set(Some(now()));
        let length = self.rest.remaining().min(PIECE);
        Frame::data(self.rest.split_to(length))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for BodyPieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // The caller has read what came before.
        self.reading.waits_since.set(None);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.piece()
            }
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
