//! The caller's side of a call: where the pool puts its one outcome and the caller picks it up.
//!
//! Pool and caller live on the same thread, so this needs neither lock nor channel.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Pool;
use crate::base::{CallId, Outcome};

/// Holds the outcome of one call until the caller takes it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outcome: RefCell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

impl Outbox {
    /// Puts the outcome in, unless the caller was told another one before (at its own deadline).
    pub(super) fn put(&self, outcome: Outcome) {
        self.outcome.borrow_mut().get_or_insert(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A call under way. It resolves to the outcome. If it is dropped before, the caller has left.
#[derive(Debug)]
pub struct Pending {
    pool: Rc<Pool>,
    id: Option<CallId>,
    outbox: Rc<Outbox>,
}

impl Pending {
    pub(super) fn new(pool: Rc<Pool>, id: Option<CallId>, outbox: Rc<Outbox>) -> Self {
        Self { pool, id, outbox }
    }

    /// The call in the books of its pool; `None` if it was refused or has ended.
    pub fn call(&self) -> Option<CallId> {
        self.id
    }

    /// Notes that the caller has left. The holder of this still gets the outcome, if there is one.
    /// A call that no worker holds ends at once; another one may run on for a while.
    pub fn abandon(&mut self) {
        if let Some(id) = self.id.take() {
            self.pool.leave(id);
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.outbox.outcome.borrow_mut().take();
        if let Some(outcome) = outcome {
            self.id = None;
            return Poll::Ready(outcome);
        }
        match &mut *self.outbox.waker.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.abandon();
        // An answer in parts that was not picked up must not hold its worker back.
        self.outbox.outcome.borrow_mut().take();
    }
}
