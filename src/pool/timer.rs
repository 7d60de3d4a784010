//! When the books must be looked at next because of a deadline in them.

use std::cell::Cell;
use std::time::Instant;

use tokio::sync::Notify;

/// Waits for the next deadline. One task waits; the others may bring the deadline forward.
#[derive(Debug, Default)]
pub(super) struct Timer {
    /// The deadline that the task waits for.
    armed: Cell<Option<Instant>>,
    brought_forward: Notify,
}

impl Timer {
    /// Waits until `deadline`. Returns earlier if an earlier deadline was made, or after
    /// [`Timer::wake`]. Without a deadline it waits only for these.
    pub(super) async fn wait(&self, deadline: Option<Instant>) {
        self.armed.set(deadline);
        let brought_forward = self.brought_forward.notified();
        match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), brought_forward).await.ok();
            }
            None => brought_forward.await,
        }
    }

    /// Ends the wait if `deadline` is earlier than the one that is waited for.
    pub(super) fn bring_forward(&self, deadline: Option<Instant>) {
        let is_earlier = match (deadline, self.armed.get()) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (deadline, None) => deadline.is_some(),
            (None, Some(_)) => false,
        };
        if is_earlier {
            self.armed.set(deadline);
            self.wake();
        }
    }

    /// Ends the wait.
    pub(super) fn wake(&self) {
        self.brought_forward.notify_one();
    }
}
