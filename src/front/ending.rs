//! How far a front has come on its way to its end. Every thread that has connections asks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The end of a front, in two steps. Neither is taken back.
#[derive(Debug, Default)]
pub struct FrontEnding {
    parting: AtomicBool,
    draining: AtomicBool,
    /// Wakes those that wait until it drains.
    drains: Notify,
}

impl FrontEnding {
    /// Closes each connection with the next answer on it from now on.
    pub fn part(&self) {
        self.parting.store(true, Ordering::Release);
    }

    /// Refuses every new request as `draining` from now on, and closes its connection. Accepted
    /// calls go on.
    pub fn drain(&self) {
        self.part();
        self.draining.store(true, Ordering::Release);
        self.drains.notify_waiters();
    }

    /// Returns true if the next answer is the last of its connection.
    pub(super) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Acquire)
    }

    /// Returns true if new requests are refused.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until new requests are refused.
    pub(super) async fn drained(&self) {
        let mut drains = pin!(self.drains.notified());
        // From here on it hears of it, so none comes between the look and the wait.
        drains.as_mut().enable();
        if !self.is_draining() {
            drains.await;
        }
    }
}
