//! A future that costs nothing while other futures of its task are busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only after it was woken itself, not at every wake-up of its task.
///
/// The task of a connection or a worker is woken for each call. The limits of the connection and
/// the end of the worker's process happen rarely: polling their timers, tokens and descriptors
/// at each wake-up would take locks for nothing.
#[derive(Debug)]
pub struct Seldom<F> {
    inner: F,
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl<F: Future + Unpin> Seldom<F> {
    /// Wraps a future for one task: the task that polls it first is the one it wakes.
    pub fn new(inner: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&bell));
        Self { inner, bell, waker }
    }

    /// Makes the next [`Seldom::poll`] poll the future even if nothing woke it.
    pub fn ring(&self) {
        self.bell.rung.store(true, Ordering::Release);
    }

    /// Polls the future if it was woken since the last poll; otherwise it is still pending.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let mut task = self.bell.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            *task = Some(context.waker().clone());
        }
        drop(task);
        // Cleared before the poll, so that a wake-up during the poll is not lost.
        self.bell.rung.store(false, Ordering::Release);
        Pin::new(&mut self.inner).poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn only_its_own_wakes_count() {
        let polls = Cell::new(0);
        let inside: RefCell<Option<Waker>> = RefCell::new(None);
        let mut seldom = Seldom::new(poll_fn(|context| {
            polls.set(polls.get() + 1);
            *inside.borrow_mut() = Some(context.waker().clone());
            if polls.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        let mut outer = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            assert!(seldom.poll(&mut outer).is_pending());
        }
        assert_eq!(polls.get(), 1);
        inside.borrow().as_ref().unwrap().wake_by_ref();
        assert!(seldom.poll(&mut outer).is_pending());
        assert_eq!(polls.get(), 2);
        inside.borrow().as_ref().unwrap().wake_by_ref();
        assert!(seldom.poll(&mut outer).is_ready());
    }
}
