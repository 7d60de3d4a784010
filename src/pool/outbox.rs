//! Where the pool puts the one outcome of a call, for its caller to pick up.

use std::cell::RefCell;
use std::task::Waker;

use crate::base::Outcome;

/// Holds the outcome of one call until the caller takes it. It is a part of what the pool keeps with
/// the call.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) outcome: RefCell<Option<Outcome>>,
    pub(super) waker: RefCell<Option<Waker>>,
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
