//! Where the pool puts the one outcome of a call, for its caller to pick up.

use std::cell::RefCell;
use std::task::{Context, Waker};

use crate::base::Outcome;

/// Holds the outcome of one call until the caller takes it. It is a part of what the pool keeps with
/// the call.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outcome: RefCell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

impl Outbox {
    /// Puts the outcome in, unless the caller was told another one before (at its own deadline).
    pub(super) fn put(&self, outcome: Outcome) {
        let mut place = self.outcome.borrow_mut();
        // An outcome is long: it is moved once, and not before it is known that it is wanted.
        if place.is_none() {
            *place = Some(outcome);
        }
        drop(place);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Takes the outcome out; `None` if there is none yet, or it was taken.
    pub(super) fn take(&self) -> Option<Outcome> {
        let mut outcome = self.outcome.borrow_mut();
        // An outcome is long, and to take one that is not there would move as much.
        if outcome.is_none() { None } else { outcome.take() }
    }

    /// Makes [`Outbox::put`] wake this task.
    pub(super) fn wakes(&self, context: &Context<'_>) {
        match &mut *self.waker.borrow_mut() {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
    }
}
