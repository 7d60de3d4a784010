//! Serves one connection within its limits: requests in, responses out, and a good end.
//!
//! What is decided here:
//! - A caller that closes its side is gone, even if it could still read (a half-close): its work
//!   is dropped at once, as nginx does. There is no other way to learn that a caller left.
//! - Responses are written as they are ready. hyper's `pipeline_flush` would hold one back while
//!   a later request is already here, whose call may take long.
//! - A connection that never sends a byte has `header_timeout`, not `idle_timeout`: it has not
//!   yet shown that it speaks HTTP.
//! - hyper's own header timer is off, because it counts idle time too. Each connection has one
//!   timer, which looks at the [`Watch`] from time to time; a request sets no timer.
//! - Where only the end of the connection ends a response (HTTP/1.0 without a length), one that
//!   is not whole ends with a reset, because an orderly end would say that it is whole.
//! - When the server ends a connection, it goes on reading for a short time. Otherwise unread
//!   bytes would make the kernel discard the last response.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::Response;
use hyper::body::Body;

use super::arrival::Arrival;
use super::conduit::{Conduit, PlainConduit};
use super::entrance::Entered;
#[cfg(feature = "tls")]
use super::handshake::SecureStream;
use super::http1;
#[cfg(feature = "tls")]
use super::http2::{self, CALM_DOWN, FramedStream, GO_AWAY, H2Streams};
use super::refusal::{Refusal, last_words};
use super::request_body::RequestBody;
use super::resting::{Serving, Unserved};
use super::waits::{linger, makes_room, overdue};
use super::watch::{Overdue, Patience, Watch};
use super::{Drain, Permit, RequestHead, now};
use crate::config::LimitSettings;
use crate::sync::seldom::Seldom;

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// It was served to its end. An error is the caller's fault.
    Served(Result<(), Unserved>),
    /// The caller closed its side while a request was still being served.
    Left,
    /// A limit was passed.
    Overdue(Overdue),
    /// It was idle when the server stopped.
    Idle,
    /// It was idle, and a new connection needed its place.
    MadeRoom,
}

/// Serves one connection to its end.
///
/// `service` is called with each request and the time of its head's last byte; for a pipelined
/// request, the time when the request before it was answered. It may write the beginning of a response
/// where that is possible. Its future is dropped as soon as
/// the caller leaves. It reads the body itself, within limits of its own; what it leaves unread
/// ends the connection after the response. Requests that it gets are well-formed, but must still
/// pass [`conformance::check`](super::conformance::check).
///
/// `refuse` makes the response to a head that never became a request.
pub async fn serve<S, B>(
    entered: Entered,
    permit: &Permit,
    limits: &LimitSettings,
    service: S,
    refuse: impl Fn(Refusal) -> Response<Bytes>,
    drain: Drain,
) where
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match entered {
        Entered::Plain(stream) => {
            let watch = Rc::new(Watch::new(now(), permit.seat()));
            let conduit = PlainConduit::new(stream);
            serve_http1(conduit, watch, permit, limits, service, refuse, drain).await;
        }
        // In a box, so that plain connections need no memory for what they are not.
        #[cfg(feature = "tls")]
        Entered::Secure(SecureStream { conduit, watch, is_http2: true }) => {
            Box::pin(serve_http2(conduit, watch, permit, limits, service, drain)).await;
        }
        #[cfg(feature = "tls")]
        Entered::Secure(SecureStream { conduit, watch, is_http2: false }) => {
            let serve = serve_http1(conduit, watch, permit, limits, service, refuse, drain);
            Box::pin(serve).await;
        }
        #[cfg(not(feature = "tls"))]
        Entered::Secure(never) => match never {},
    }
}

/// Serves one connection over HTTP/1.
async fn serve_http1<C, S, B>(
    conduit: C,
    watch: Rc<Watch>,
    permit: &Permit,
    limits: &LimitSettings,
    service: S,
    refuse: impl Fn(Refusal) -> Response<Bytes>,
    drain: Drain,
) where
    C: Conduit + Unpin,
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let patience = Patience::of(limits);
    let end = {
        let served = http1::serve(conduit.clone(), Rc::clone(&watch), limits, &service);
        let connection = pin!(served);
        let overdue = pin!(overdue(&watch, patience));
        let left = pin!(conduit.writer().peer_left());
        let closing = pin!(drain.closing());
        let seat = permit.seat();
        let makes_room = pin!(makes_room(&seat, &watch));
        attend(connection, &watch, overdue, left, closing, makes_room).await
    };
    tracing::trace!(?end, "a connection ended");
    if let Some(refusal) = refusal(&end, &watch) {
        let words = if watch.owes_a_word() { last_words(&refuse(refusal)) } else { Vec::new() };
        conduit.say_last(&words);
        linger(conduit).await;
        return;
    }
    conclude(end, conduit, &watch).await;
}

/// Serves one connection over HTTP/2.
#[cfg(feature = "tls")]
async fn serve_http2<C, S, B>(
    conduit: C,
    watch: Rc<Watch>,
    permit: &Permit,
    limits: &LimitSettings,
    service: S,
    drain: Drain,
) where
    C: Conduit + Unpin,
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let patience = Patience::of(limits);
    let streams = H2Streams::new(Rc::clone(&watch));
    let io = FramedStream { conduit: conduit.clone(), streams: Rc::clone(&streams) };
    let end = {
        let connection = pin!(http2::serve(io, limits, &streams, &service));
        let overdue = pin!(async {
            tokio::select! {
                overdue = overdue(&watch, patience) => overdue,
                never = streams.keep_reading(limits.write_timeout) => match never {},
            }
        });
        let left = pin!(conduit.writer().peer_left());
        // Its caller is told to take another connection, and what has begun ends well.
        let closing = pin!(async {
            tokio::select! {
                () = drain.begun() => {}
                () = drain.closing() => {}
            }
        });
        let seat = permit.seat();
        let makes_room = pin!(makes_room(&seat, &watch));
        attend(connection, &watch, overdue, left, closing, makes_room).await
    };
    tracing::trace!(?end, "a connection ended");
    // hyper says itself why it ends a connection, but not why it could not read on.
    let is_refused = matches!(end, End::Served(Err(_))) && !watch.has_ended();
    if is_refused {
        conduit.say_last(if streams.are_flooded() { CALM_DOWN } else { &[] });
        linger(conduit).await;
        return;
    }
    if matches!(end, End::Overdue(Overdue::Idle | Overdue::Head) | End::MadeRoom) {
        conduit.say_last(GO_AWAY);
    }
    conclude(end, conduit, &watch).await;
}

/// Ends a connection in the way that fits how it came to its end.
async fn conclude(end: End, conduit: impl Conduit, watch: &Watch) {
    match end {
        End::Overdue(Overdue::Write) => return conduit.writer().reset(),
        End::MadeRoom if watch.is_blocked() => return conduit.writer().reset(),
        // An orderly end would make what was sent look whole.
        _ if watch.is_cut_short() => return,
        _ => conduit.say_last(&[]),
    }
    match end {
        End::Served(Ok(())) if !watch.has_ended() => linger(conduit).await,
        End::Overdue(Overdue::Head) => linger(conduit).await,
        End::Served(_) | End::Overdue(_) | End::Left | End::Idle | End::MadeRoom => {}
    }
}

/// Returns why a connection ended with a head that never became a request, if that is how it
/// ended. A connection that never sent a byte has no head.
fn refusal(end: &End, watch: &Watch) -> Option<Refusal> {
    match end {
        End::Served(Err(Unserved(Some(error)))) => {
            // hyper says nothing to an HTTP/2 preface, so nothing was withheld then.
            let refusal = Refusal::of_error(error)?;
            Some(watch.withheld().unwrap_or(refusal))
        }
        End::Overdue(Overdue::Head) if watch.owes_a_word() => Some(Refusal::Late),
        _ => None,
    }
}

/// Polls a connection. Its timer, its caller and the stop of the server are polled only when
/// they wake it.
async fn attend<C: Serving>(
    mut connection: Pin<&mut C>,
    watch: &Watch,
    mut overdue: Pin<&mut impl Future<Output = Overdue>>,
    mut left: Pin<&mut impl Future<Output = ()>>,
    mut closing: Pin<&mut impl Future<Output = ()>>,
    mut makes_room: Pin<&mut impl Future<Output = ()>>,
) -> End {
    let mut told = false;
    let mut aside = Seldom::new(poll_fn(|context| {
        if left.as_mut().poll(context).is_ready() {
            return Poll::Ready(Aside::End(End::Left));
        }
        if let Poll::Ready(overdue) = overdue.as_mut().poll(context) {
            return Poll::Ready(Aside::End(End::Overdue(overdue)));
        }
        if makes_room.as_mut().poll(context).is_ready() {
            return Poll::Ready(Aside::End(End::MadeRoom));
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
            // Bytes that are here come first: a caller that sent garbage and left still gets a 400.
            if let Poll::Ready(result) = connection.as_mut().poll(context) {
                return Poll::Ready(if closes { End::Idle } else { End::Served(result) });
            }
            closes = false;
            match aside.poll(context) {
                Poll::Pending if watch.takes_rest() => connection.as_mut().rest(),
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

/// What happened to a connection besides its requests.
enum Aside {
    End(End),
    Close,
}

#[cfg(test)]
mod tests;
