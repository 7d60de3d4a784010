//! A connection over HTTP/1 that needs little memory while it rests: before its first request, and once
//! it has been idle for long. hyper has two buffers of 8 KiB for each of its connections, so it is let
//! go, and made anew when the caller sends something.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::conduit::Conduit;
use super::watch::Watch;
use super::watched::WatchedStream;

/// Why a connection could not be served to its end; with what hyper says, if it was hyper's.
#[derive(Debug)]
pub(super) struct Unserved(pub(super) Option<hyper::Error>);

impl From<hyper::Error> for Unserved {
    fn from(error: hyper::Error) -> Self {
        Self(Some(error))
    }
}

/// A connection that is served, without its many type parameters.
pub(super) trait Serving: Future<Output = Result<(), Unserved>> {
    /// Ends the connection now if it is idle, else after the current response.
    fn close_when_idle(self: Pin<&mut Self>);

    /// Gives back what memory it can: it has been idle for long.
    fn rest(self: Pin<&mut Self>) {}
}

/// What serves a connection that does not rest.
pub(super) trait Awake: Serving + Unpin {
    /// Ends it, and returns what it has read and not served.
    fn into_unread(self) -> Bytes;
}

/// A connection. `make` makes what serves it.
pub(super) struct Http1<C, M, K> {
    conduit: C,
    watch: Rc<Watch>,
    make: M,
    /// `None`: it rests.
    awake: Option<Box<K>>,
    is_closing: bool,
}

impl<C: Conduit, M: Fn(WatchedStream<C>) -> K, K: Awake> Http1<C, M, K> {
    pub(super) fn new(conduit: C, watch: Rc<Watch>, make: M) -> Self {
        Self { conduit, watch, make, awake: None, is_closing: false }
    }

    /// Serves it from now on. `unread` was read before.
    fn awake(&self, unread: Bytes) -> K {
        let (conduit, watch) = (self.conduit.clone(), Rc::clone(&self.watch));
        (self.make)(WatchedStream { conduit, watch, unread })
    }
}

impl<C, M, K> Future for Http1<C, M, K>
where
    C: Conduit + Unpin,
    M: Fn(WatchedStream<C>) -> K + Unpin,
    K: Awake,
{
    type Output = Result<(), Unserved>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Unserved>> {
        if let Some(awake) = &mut self.awake {
            return Pin::new(&mut **awake).poll(context);
        }
        if self.is_closing {
            return Poll::Ready(Ok(()));
        }
        ready!(self.conduit.poll_readable(context));
        let awake = Box::new(self.awake(Bytes::new()));
        Pin::new(&mut **self.awake.insert(awake)).poll(context)
    }
}

impl<C, M, K> Serving for Http1<C, M, K>
where
    C: Conduit + Unpin,
    M: Fn(WatchedStream<C>) -> K + Unpin,
    K: Awake,
{
    fn close_when_idle(mut self: Pin<&mut Self>) {
        self.is_closing = true;
        if let Some(awake) = &mut self.awake {
            Pin::new(&mut **awake).close_when_idle();
        }
    }

    fn rest(mut self: Pin<&mut Self>) {
        if !C::CAN_REST {
            return;
        }
        let Some(awake) = self.awake.take() else { return };
        let unread = awake.into_unread();
        if !unread.is_empty() {
            self.awake = Some(Box::new(self.awake(unread)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Instant;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::super::Stream;
    use super::super::conduit::PlainConduit;
    use super::super::seats::Seats;
    use super::*;

    /// Serves nobody, and has read this.
    struct Played(Bytes);

    impl Future for Played {
        type Output = Result<(), Unserved>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Unserved>> {
            Poll::Pending
        }
    }

    impl Serving for Played {
        fn close_when_idle(self: Pin<&mut Self>) {}
    }

    impl Awake for Played {
        fn into_unread(self) -> Bytes {
            self.0
        }
    }

    #[tokio::test]
    async fn it_is_served_from_the_first_byte_until_it_rests_and_again_from_the_next() {
        let (mut caller, stream) = UnixStream::pair().expect("sockets");
        let now = Instant::now();
        let watch = Rc::new(Watch::new(now, Seats::default().add(now).1));
        let (begun, leaves) = (RefCell::new(Vec::new()), RefCell::new(Bytes::new()));
        let make = |io: WatchedStream<PlainConduit>| {
            begun.borrow_mut().push(io.unread.clone());
            Played(leaves.take())
        };
        let connection = Http1::new(PlainConduit::new(Stream::Unix(stream)), watch, &make);
        let mut connection = pin!(connection);
        let mut polled = async || {
            poll_fn(|context| Poll::Ready(connection.as_mut().poll(context).is_ready())).await
        };
        assert!(!polled().await && begun.borrow().is_empty(), "it rests from the start");
        caller.write_all(b"GET").await.expect("it is open");
        while begun.borrow().is_empty() {
            assert!(!polled().await);
            tokio::task::yield_now().await;
        }
        connection.as_mut().rest();
        assert!(connection.awake.is_none());
        connection.awake = Some(Box::new(Played(Bytes::from_static(b"GE"))));
        connection.as_mut().rest();
        assert_eq!(*begun.borrow(), [&b""[..], b"GE"], "what was read is not lost");
        connection.awake = None;
        connection.as_mut().close_when_idle();
        let ended = poll_fn(|context| connection.as_mut().poll(context)).await;
        assert!(ended.is_ok(), "there is nobody to wait for");
    }
}
