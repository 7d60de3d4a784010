//! HTTP/1 on a connection: requests without a body as `bodiless` serves them, and whatever else comes as
//! hyper does.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::arrival::Arrival;
use super::bodiless::{self, BodilessEnd};
use super::conduit::Conduit;
use super::request_body::RequestBody;
use super::resting::{Awake, Http1, Serving, Unserved};
use super::watch::Watch;
use super::watched::WatchedStream;
use super::{RequestHead, now};
use crate::config::LimitSettings;

/// Least room for reads and writes: what hyper reads of a large body at once.
const BUFFER_LEAST: usize = 64 << 10;

/// A connection that hyper serves, without its many type parameters.
trait HyperServed: Future<Output = hyper::Result<()>> + Unpin {
    fn close_when_idle(&mut self);

    /// Ends it, and returns what it has read and not served.
    fn into_unread(self) -> Bytes;
}

impl<I, S, B> HyperServed for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn close_when_idle(&mut self) {
        Pin::new(self).graceful_shutdown();
    }

    fn into_unread(self) -> Bytes {
        self.into_parts().read_buf
    }
}

/// Serves a connection without hyper until something comes that is for hyper. `make` makes what serves
/// it then.
struct Http1Server<'a, C, H, M> {
    conduit: C,
    watch: Rc<Watch>,
    make: Rc<M>,
    /// It is to end once it is idle.
    closing: Rc<Cell<bool>>,
    by: ServedBy<'a, H>,
}

enum ServedBy<'a, H> {
    Us(Pin<Box<dyn Future<Output = BodilessEnd> + 'a>>),
    Hyper(Box<H>),
}

impl<C, H, M> Future for Http1Server<'_, C, H, M>
where
    C: Conduit + Unpin,
    H: HyperServed,
    M: Fn(WatchedStream<C>) -> H,
{
    type Output = Result<(), Unserved>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.by {
                ServedBy::Hyper(connection) => {
                    return Pin::new(connection).poll(context).map_err(Unserved::from);
                }
                ServedBy::Us(served) => match ready!(served.as_mut().poll(context)) {
                    BodilessEnd::Over(served) => return Poll::Ready(served),
                    BodilessEnd::Other(unread) => {
                        let (conduit, watch) = (self.conduit.clone(), Rc::clone(&self.watch));
                        let connection = (self.make)(WatchedStream { conduit, watch, unread });
                        self.by = ServedBy::Hyper(Box::new(connection));
                    }
                },
            }
        }
    }
}

impl<C, H, M> Serving for Http1Server<'_, C, H, M>
where
    C: Conduit + Unpin,
    H: HyperServed,
    M: Fn(WatchedStream<C>) -> H,
{
    fn close_when_idle(mut self: Pin<&mut Self>) {
        self.closing.set(true);
        if let ServedBy::Hyper(connection) = &mut self.by {
            connection.close_when_idle();
        }
    }
}

impl<C, H, M> Awake for Http1Server<'_, C, H, M>
where
    C: Conduit + Unpin,
    H: HyperServed,
    M: Fn(WatchedStream<C>) -> H,
{
    fn into_unread(self) -> Bytes {
        match self.by {
            // It leaves nothing unserved that it has read.
            ServedBy::Us(_) => Bytes::new(),
            ServedBy::Hyper(connection) => connection.into_unread(),
        }
    }
}

/// Serves HTTP/1 over a connection. `service` is called with each request and its arrival.
pub(super) fn serve<'a, C, S, B>(
    conduit: C,
    watch: Rc<Watch>,
    limits: &LimitSettings,
    service: &'a S,
) -> impl Serving + use<'a, C, S, B>
where
    C: Conduit + Unpin + 'a,
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let header_most = usize::try_from(limits.header.0).unwrap_or(usize::MAX);
    let builder = builder(limits, C::LEAVING_IS_READ);
    let by_hyper = Rc::new(move |io: WatchedStream<C>| {
        let (watch, writer) = (Rc::clone(&io.watch), Rc::clone(io.conduit.writer()));
        let answer = move |request: Request<Incoming>| {
            let (watch, writer) = (Rc::clone(&watch), Rc::clone(&writer));
            let arrival = Arrival::at(watch.called(now));
            let is_old = request.version() == Version::HTTP_10 && request.method() != Method::HEAD;
            async move {
                let (head, body) = request.into_parts();
                let answering = pin!(service(&head, RequestBody::new(body), arrival));
                let response = watch.answering(answering).await;
                if is_old && response.body().size_hint().exact().is_none() {
                    watch.ends_by_close();
                    writer.reset_by_kernel(true);
                }
                let is_whole = false;
                Ok::<_, Infallible>(response.map(|body| WatchedBody { body, is_whole, watch }))
            }
        };
        builder.serve_connection(TokioIo::new(io), service_fn(answer))
    });
    Http1::new(conduit, watch, move |io: WatchedStream<C>| {
        let (conduit, watch) = (io.conduit.clone(), Rc::clone(&io.watch));
        let (closing, make) = (Rc::default(), Rc::clone(&by_hyper));
        let by = if C::CAN_REST && io.unread.is_empty() {
            let (conduit, watch) = (conduit.clone(), Rc::clone(&watch));
            let closing = Rc::clone(&closing);
            ServedBy::Us(Box::pin(bodiless::serve(conduit, watch, header_most, closing, service)))
        } else {
            ServedBy::Hyper(Box::new(by_hyper(io)))
        };
        Http1Server { conduit, watch, make, closing, by }
    })
}

fn builder(limits: &LimitSettings, leaving_is_read: bool) -> http1::Builder {
    let header = usize::try_from(limits.header.0).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        // Without it, hyper reads for the end of the connection while a request is being answered,
        // into a buffer of its own. Where the socket tells of the end, `connection` hears it.
        .half_close(!leaving_is_read)
        .keep_alive(true)
        .header_read_timeout(None)
        .max_header_size(header)
        .max_buf_size(header.max(BUFFER_LEAST));
    builder
}

/// The body of a response. hyper drops it once it has taken all of it, or when it breaks off, which
/// tells the watch whether the response is complete.
#[derive(Debug)]
struct WatchedBody<B> {
    body: B,
    /// It said that nothing more comes.
    is_whole: bool,
    watch: Rc<Watch>,
}

impl<B> Drop for WatchedBody<B> {
    fn drop(&mut self) {
        if self.is_whole {
            self.watch.answered();
        } else {
            self.watch.broke_off();
        }
    }
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match polled {
            Poll::Ready(None) => self.is_whole = true,
            Poll::Ready(Some(_)) => {}
            Poll::Pending => self.watch.takes_time(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
