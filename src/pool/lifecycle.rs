//! The life of a pool: who uses it, whether it ends, and who waits for which moment of it.

use std::cell::Cell;

use tokio::sync::Notify;

use crate::base::ExitReason;

/// The life of one pool. Each moment that somebody can wait for has its own [`Notify`].
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    /// Set once the pool ends: the reason that each stop of a worker is counted as.
    ending: Cell<Option<ExitReason>>,
    /// How many may submit calls.
    users: Cell<usize>,
    /// Answers whose parts are being passed on.
    streams: Cell<usize>,
    /// A worker has become ready or ended.
    worker_moved: Notify,
    /// The last user or the last call has gone.
    became_unused: Notify,
    /// How many wait for that, or have given up waiting.
    waiting: Cell<usize>,
    streams_over: Notify,
    /// The settings have changed, or the pool ends.
    adjusted: Notify,
}

impl Lifecycle {
    pub(super) fn end(&self, reason: ExitReason) {
        self.ending.set(Some(reason));
        self.adjusted.notify_one();
        self.worker_moved.notify_waiters();
    }

    /// Returns the reason if the pool ends.
    pub(super) fn ending(&self) -> Option<ExitReason> {
        self.ending.get()
    }

    pub(super) fn attach(&self) {
        self.users.update(|users| users + 1);
    }

    pub(super) fn detach(&self) {
        self.users.update(|users| users - 1);
        self.became_unused.notify_waiters();
    }

    /// Wakes those who wait for the end of the last call. Mostly there are none.
    #[inline]
    pub(super) fn note_no_calls(&self) {
        if self.waiting.get() > 0 {
            self.became_unused.notify_waiters();
        }
    }

    /// Waits until no user is left and `has_calls` is false.
    pub(super) async fn wait_unused(&self, has_calls: impl Fn() -> bool) {
        self.wait_calls(|| self.users.get() > 0 || has_calls()).await;
    }

    /// Waits until `has_calls` is false.
    pub(super) async fn wait_calls(&self, has_calls: impl Fn() -> bool) {
        self.waiting.update(|waiting| waiting + 1);
        wait(&self.became_unused, || !has_calls()).await;
        self.waiting.update(|waiting| waiting - 1);
    }

    pub(super) fn stream_begins(&self) {
        self.streams.update(|streams| streams + 1);
    }

    pub(super) fn stream_ends(&self) {
        self.streams.update(|streams| streams - 1);
        self.streams_over.notify_waiters();
    }

    /// Waits until no answer is being passed on in parts.
    pub(super) async fn wait_streams(&self) {
        wait(&self.streams_over, || self.streams.get() == 0).await;
    }

    /// Wakes those who wait for what becomes of new workers: one became ready or has ended.
    pub(super) fn note_moved(&self) {
        self.worker_moved.notify_waiters();
    }

    /// Waits until `is_so`, looking again whenever a worker becomes ready or ends.
    pub(super) async fn wait_moved(&self, is_so: impl Fn() -> bool) {
        wait(&self.worker_moved, is_so).await;
    }

    pub(super) fn note_adjusted(&self) {
        self.adjusted.notify_one();
    }

    /// Waits until the settings have changed or the pool ends. One task waits.
    pub(super) async fn wait_adjusted(&self) {
        self.adjusted.notified().await;
    }
}

/// Waits until `is_so`, looking again after each notification.
pub(super) async fn wait(notify: &Notify, is_so: impl Fn() -> bool) {
    loop {
        // Made before the look, so that no notification after it is missed.
        let notified = notify.notified();
        if is_so() {
            return;
        }
        notified.await;
    }
}
