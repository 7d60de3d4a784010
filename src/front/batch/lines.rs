//! The body of the response to a batch.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::base::Failure;

/// The outcomes of a batch, as they are written.
pub struct BatchBody {
    /// Reads items, asks them, and leaves lines in `told`.
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    told: Rc<RefCell<Told>>,
    /// They stand in the order of their ends.
    pub(in crate::front) is_unordered: bool,
}

/// What has become of the items so far.
#[derive(Default)]
pub(super) struct Told {
    /// Lines that are not written yet.
    pub(super) lines: BytesMut,
    pub(super) bytes: u64,
    pub(super) items: u64,
    pub(super) failed: u64,
    /// Why the batch ended before its time.
    pub(super) failure: Option<Failure>,
}

impl BatchBody {
    /// The lines that `work` leaves in `told`.
    pub(super) fn new(
        work: Pin<Box<dyn Future<Output = ()>>>,
        told: Rc<RefCell<Told>>,
        is_unordered: bool,
    ) -> Self {
        Self { work: Some(work), told, is_unordered }
    }

    /// Returns the next lines.
    pub(in crate::front) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(lines) = self.take() {
            return Poll::Ready(Some(lines));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let is_over = work.as_mut().poll(context).is_ready();
        let lines = self.take();
        if is_over {
            self.work = None;
        }
        match lines {
            Some(lines) => Poll::Ready(Some(lines)),
            None if is_over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let mut told = self.told.borrow_mut();
        let lines = told.lines.split().freeze();
        told.bytes += lines.len() as u64;
        (!lines.is_empty()).then_some(lines)
    }
}

impl fmt::Debug for BatchBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BatchBody").finish_non_exhaustive()
    }
}
