//! The taps that are open: they hear the pools that are there, and those that a reload starts.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::observe::metrics::Metrics;
use crate::observe::tap::Tap;
use crate::pool::Pool;

/// The taps that are open.
#[derive(Debug)]
pub(super) struct OpenTaps {
    open: Rc<RefCell<Vec<Rc<Tap>>>>,
    metrics: Arc<Metrics>,
}

impl OpenTaps {
    /// Creates a list without a tap.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { open: Rc::default(), metrics }
    }

    /// Returns how many taps are open.
    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Lets a tap hear those of these pools that it wishes for, until its reader leaves. Returns
    /// false if there are none.
    pub(super) fn open(&self, tap: &Rc<Tap>, pools: &[Rc<Pool>]) -> bool {
        let wished: Vec<_> = pools.iter().filter(|pool| hears(tap, pool)).collect();
        if wished.is_empty() {
            return false;
        }
        for pool in wished {
            pool.attach_tap(tap);
        }
        self.open.borrow_mut().push(Rc::clone(tap));
        self.metrics.taps(self.len());
        let (open, metrics) = (Rc::clone(&self.open), Arc::clone(&self.metrics));
        tap.at_end(move || {
            open.borrow_mut().retain(|tap| !tap.is_over());
            metrics.taps(open.borrow().len());
        });
        true
    }

    /// Lets the open taps hear a pool that has just been started.
    pub(super) fn hear(&self, pool: &Rc<Pool>) {
        for tap in self.open.borrow().iter().filter(|tap| hears(tap, pool)) {
            pool.attach_tap(tap);
        }
    }
}

/// Returns true if a tap wishes for this pool.
fn hears(tap: &Tap, pool: &Pool) -> bool {
    tap.wish().pool.as_ref().is_none_or(|name| *name == pool.name())
}
