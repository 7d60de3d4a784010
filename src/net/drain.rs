//! How connections end when the server stops: no new ones, then no idle ones, then none.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The stop of one server, shared by all its threads and connections.
///
/// It has two steps. After [`begin`](Self::begin) no connection is accepted, and open ones are
/// still served. [`finish`](Self::finish) closes the idle ones, lets the others finish their
/// current response, and waits for them.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    closing: CancellationToken,
    connections: TaskTracker,
}

impl Drain {
    /// A server that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the accept loops. Connections stay open; the service refuses new requests on them.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Waits until the server is told to stop.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Closes idle connections from now on; the others after their current response.
    pub fn close_idle(&self) {
        self.closing.cancel();
    }

    /// Waits until no connection is open.
    pub async fn become_none(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Counts a connection as open before it runs, until the result is dropped.
    pub fn expect_connection(&self) -> TaskTrackerToken {
        self.connections.token()
    }

    /// Runs a connection on the current thread's local runtime, and waits for it in
    /// [`finish`](Self::finish).
    pub fn spawn_local<F>(&self, connection: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + 'static,
    {
        self.connections.spawn_local(connection)
    }

    /// Closes idle connections and waits until all have ended, at most for `patience`.
    /// Returns how many are left then; they end with their runtimes.
    pub async fn finish(&self, patience: Duration) -> usize {
        self.begun.cancel();
        self.close_idle();
        self.connections.close();
        match tokio::time::timeout(patience, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        }
    }

    /// Waits until [`finish`](Self::finish) asks connections to end.
    pub(super) fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closing.clone().cancelled_owned()
    }
}
