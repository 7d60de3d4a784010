//! The body of the response to a batch.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::base::Failure;
use crate::sync::memory::SMALL;

/// The outcomes of a batch, as they are written.
pub struct BatchBody {
    /// Reads items, asks them, and leaves lines in `told`.
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    told: Rc<RefCell<Told>>,
    /// They stand in the order of their ends.
    pub(in crate::front) is_unordered: bool,
}

/// What has become of the items so far. Small lines are written together. A large one is counted where
/// its caller's answers are, so it stays as it is.
#[derive(Default)]
pub(super) struct Told {
    lines: VecDeque<Bytes>,
    /// Small lines behind them.
    small: BytesMut,
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

    fn take(&self) -> Option<Bytes> {
        self.told.borrow_mut().take()
    }
}

impl Told {
    /// Leaves a line to be written.
    pub(super) fn put(&mut self, line: Bytes) {
        if line.len() <= SMALL {
            self.small.put_slice(&line);
            return;
        }
        if !self.small.is_empty() {
            self.lines.push_back(self.small.split().freeze());
        }
        self.lines.push_back(line);
    }

    /// Takes what is to be written next.
    fn take(&mut self) -> Option<Bytes> {
        let lines = self.lines.pop_front().unwrap_or_else(|| self.small.split().freeze());
        self.bytes += lines.len() as u64;
        (!lines.is_empty()).then_some(lines)
    }
}

impl fmt::Debug for BatchBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BatchBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::memory::Memory;

    #[test]
    fn a_large_line_is_counted_until_it_is_written_and_small_ones_go_together() {
        let memory = Memory::new(1 << 20);
        let large = |byte: u8| memory.hold(vec![byte; 100 << 10].into()).expect("there is room");
        let mut told = Told::default();
        for line in [b"1\n", b"2\n"] {
            told.put(Bytes::from_static(line));
        }
        told.put(large(b'3'));
        told.put(large(b'4'));
        told.put(Bytes::from_static(b"5\n"));
        assert_eq!(told.take().as_deref(), Some(&b"1\n2\n"[..]));
        for left in [200 << 10, 100 << 10] {
            let line = told.take().expect("a large line");
            assert_eq!((line.len(), memory.used()), (100 << 10, left));
        }
        assert_eq!((told.take().as_deref(), memory.used()), (Some(&b"5\n"[..]), 0));
        assert_eq!((told.take(), told.bytes), (None, (200 << 10) + 6));
    }
}
