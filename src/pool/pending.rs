//! The caller's side of a call: where the pool puts its one outcome and the caller picks it up.
//!
//! Pool and caller live on the same thread, so this needs neither lock nor channel.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Pool;
use super::entry::Payload;
use super::terms::WorkTicket;
use crate::base::{CallId, Outcome};

/// A call under way. It resolves to the outcome. If it is dropped before, the caller has left.
#[derive(Debug)]
pub struct Pending {
    pool: Rc<Pool>,
    at: At,
    entry: Payload,
}

/// Where a call under way is found.
#[derive(Debug)]
enum At {
    /// It was refused, or has ended.
    Nowhere,
    /// In the books.
    Books(CallId),
    /// Where background work waits, or in the books.
    Background(Rc<WorkTicket>),
}

impl Pending {
    pub(super) fn new(pool: Rc<Pool>, id: Option<CallId>, entry: Payload) -> Self {
        Self { pool, at: id.map_or(At::Nowhere, At::Books), entry }
    }

    /// A call that waits until a worker may begin with background work.
    pub(super) fn background(pool: Rc<Pool>, ticket: Rc<WorkTicket>, entry: Payload) -> Self {
        Self { pool, at: At::Background(ticket), entry }
    }

    /// The call of a caller in the books of its pool; `None` if it was refused or has ended.
    pub fn call(&self) -> Option<CallId> {
        match self.at {
            At::Books(id) => Some(id),
            At::Nowhere | At::Background(_) => None,
        }
    }

    /// Notes that the caller has left. The holder of this still gets the outcome, if there is one.
    /// A call that no worker holds ends at once; another one may run on for a while.
    pub fn abandon(&mut self) {
        match std::mem::replace(&mut self.at, At::Nowhere) {
            At::Nowhere => {}
            At::Books(id) => self.pool.leave(id),
            At::Background(ticket) => self.pool.leave_background(&ticket),
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.entry.outbox.take() {
            self.at = At::Nowhere;
            return Poll::Ready(outcome);
        }
        self.entry.outbox.wakes(context);
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.abandon();
        // An answer in parts that was not picked up must not hold its worker back.
        drop(self.entry.outbox.take());
    }
}
