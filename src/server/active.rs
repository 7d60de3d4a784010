//! Counts the requests being answered, so that a stop can wait until there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The requests being answered on all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Active {
    count: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    requests: AtomicUsize,
    became_zero: Notify,
}

/// One request, counted until dropped.
pub(super) struct Counted {
    count: Arc<Count>,
}

impl Active {
    /// Counts one more request.
    pub(super) fn enter(&self) -> Counted {
        self.count.requests.fetch_add(1, Ordering::AcqRel);
        Counted { count: Arc::clone(&self.count) }
    }

    /// The number of requests being answered.
    pub(super) fn count(&self) -> usize {
        self.count.requests.load(Ordering::Acquire)
    }

    /// Waits until no request is being answered.
    pub(super) async fn becomes_idle(&self) {
        loop {
            let idle = self.count.became_zero.notified();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.count.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.count.became_zero.notify_waiters();
        }
    }
}
