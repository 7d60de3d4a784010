//! The caller's side of a call: one place where its one outcome is put and picked up.
//!
//! A call and its caller live on the same thread, so this needs neither lock nor channel.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Pool;
use crate::base::{CallId, Outcome};

/// Where the outcome of one call is put.
#[derive(Debug, Default)]
pub(super) struct Slot {
    outcome: RefCell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    /// Puts the outcome there, unless the caller got one already (its own deadline had passed).
    pub(super) fn put(&self, outcome: Outcome) {
        self.outcome.borrow_mut().get_or_insert(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A call under way. Gives its outcome; dropped before that, the caller has left.
#[derive(Debug)]
pub struct Pending {
    pool: Rc<Pool>,
    id: Option<CallId>,
    slot: Rc<Slot>,
}

impl Pending {
    pub(super) fn new(pool: Rc<Pool>, id: Option<CallId>, slot: Rc<Slot>) -> Self {
        Self { pool, id, slot }
    }

    /// Nobody waits any more, but whoever holds this still wants the outcome if there is one:
    /// a call that no worker has yet ends here, one that a worker has may run on for a while.
    pub fn abandon(&mut self) {
        if let Some(id) = self.id.take() {
            self.pool.leave(id);
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.slot.outcome.borrow_mut().take();
        if let Some(outcome) = outcome {
            self.id = None;
            return Poll::Ready(outcome);
        }
        match &mut *self.slot.waker.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.abandon();
        // An answer that nobody picked up holds its worker back no longer.
        self.slot.outcome.borrow_mut().take();
    }
}
