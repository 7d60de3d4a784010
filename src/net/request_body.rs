//! The body of a request, as it is read by who answers.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// The body of a request. What nobody has read of it may be kept for its connection.
#[derive(Debug)]
pub struct RequestBody {
    body: Option<Incoming>,
    unread: Option<Rc<UnreadBody>>,
}

/// A body that was not read to its end.
#[derive(Debug, Default)]
pub(super) struct UnreadBody(RefCell<Option<Incoming>>);

impl UnreadBody {
    /// Takes the body, if there is one that was not read to its end.
    #[cfg(feature = "tls")]
    pub(super) fn take(&self) -> Option<Incoming> {
        self.0.take()
    }
}

impl RequestBody {
    /// No body.
    pub(super) fn none() -> Self {
        Self { body: None, unread: None }
    }

    /// A body whose unread rest is dropped.
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body), unread: None }
    }

    /// A body that goes to `unread` if it is not read to its end.
    #[cfg(feature = "tls")]
    pub(super) fn kept(body: Incoming, unread: &Rc<UnreadBody>) -> Self {
        Self { body: Some(body), unread: Some(Rc::clone(unread)) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(unread) = &self.unread {
            *unread.0.borrow_mut() = self.body.take().filter(|body| !body.is_end_stream());
        }
    }
}
