//! HTTP/1 on a connection, as hyper serves it.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::conduit::Conduit;
use super::now;
use super::request_body::RequestBody;
use super::resting::{Awake, Http1, Serving};
use super::watch::Watch;
use super::watched::WatchedStream;
use crate::config::LimitSettings;

/// Least room for reads and writes: what hyper reads of a large body at once.
const BUFFER_LEAST: usize = 64 << 10;

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

impl<I, S, B> Awake for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn into_unread(self) -> Bytes {
        self.into_parts().read_buf
    }
}

/// Serves HTTP/1 over a connection. `service` is called with each request and the time of its
/// head's last byte.
pub(super) fn serve<'a, C, S, B>(
    conduit: C,
    watch: Rc<Watch>,
    limits: &LimitSettings,
    service: &'a S,
) -> impl Serving + use<'a, C, S, B>
where
    C: Conduit + Unpin + 'a,
    S: AsyncFn(Request<RequestBody>, Instant) -> Response<B>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let builder = builder(limits, C::LEAVING_IS_READ);
    Http1::new(conduit, watch, move |io: WatchedStream<C>| {
        let (watch, writer) = (Rc::clone(&io.watch), Rc::clone(io.conduit.writer()));
        let answer = move |request: Request<Incoming>| {
            let (watch, writer) = (Rc::clone(&watch), Rc::clone(&writer));
            let since = watch.called(now);
            let is_old = request.version() == Version::HTTP_10 && request.method() != Method::HEAD;
            async move {
                let response = {
                    let mut answering = pin!(service(request.map(RequestBody::new), since));
                    poll_fn(|context| {
                        let polled = answering.as_mut().poll(context);
                        if polled.is_pending() {
                            watch.takes_time();
                        }
                        polled
                    })
                    .await
                };
                if is_old && response.body().size_hint().exact().is_none() {
                    watch.ends_by_close();
                    writer.reset_by_kernel(true);
                }
                let is_whole = false;
                Ok::<_, Infallible>(response.map(|body| WatchedBody { body, is_whole, watch }))
            }
        };
        builder.serve_connection(TokioIo::new(io), service_fn(answer))
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
