//! How many requests are being answered, so that stopping can wait for none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The requests being answered on all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Active {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    none: Notify,
}

/// One request; counted until dropped.
pub(super) struct Counted {
    shared: Arc<Shared>,
}

impl Active {
    /// One more.
    pub(super) fn enter(&self) -> Counted {
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        Counted { shared: Arc::clone(&self.shared) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Waits until there is none.
    pub(super) async fn none(&self) {
        loop {
            let none = self.shared.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.shared.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.none.notify_waiters();
        }
    }
}
