//! The body of a page: known as a whole, or a stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::audience::Viewer;
use super::tap_stream::TapStream;

/// The body of a response to an operator.
#[derive(Debug)]
pub enum PageBody {
    /// All of it; `None` when it was taken.
    Whole(Option<Bytes>),
    /// Events, until the operator leaves.
    Events(Viewer),
    /// What workers are asked and answer.
    Tap(TapStream),
}

impl From<Bytes> for PageBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(viewer) => {
                Pin::new(viewer).poll_next(context).map(|event| Some(Ok(Frame::data(event))))
            }
            Self::Tap(tap) => {
                tap.poll_next(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) | Self::Tap(_) => SizeHint::default(),
        }
    }
}
