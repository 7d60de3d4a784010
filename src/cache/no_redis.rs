//! What stands for the shared cache in a build without the feature `redis`: there is none.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::shared::{SharedFound, SharedKey};
use super::{SharedState, SharedTrial};
use crate::base::{Failure, Reply};
use crate::config::SharedCacheSettings;
use crate::observe::metrics::SharedMetrics;

/// Tries nothing.
pub async fn try_shared(_: &SharedCacheSettings) -> SharedTrial {
    SharedTrial::default()
}

/// A cache that no build without Redis has.
#[derive(Debug)]
pub struct SharedCache(Infallible);

/// What no search ends with.
#[derive(Debug)]
pub enum Searched {
    /// An answer that another server has.
    #[expect(dead_code, reason = "its twin makes it")]
    Found(SharedFound),
    /// This server is to run the question.
    #[expect(dead_code, reason = "its twin makes it")]
    Runs(SharedRun),
}

/// A run that no other server waits for.
#[derive(Debug)]
pub struct SharedRun(Infallible);

#[expect(clippy::unused_async, reason = "its twin waits")]
impl SharedCache {
    /// Returns `None`.
    pub fn start(
        _: &Arc<SharedCacheSettings>,
        _: Arc<SharedMetrics>,
        _: &TaskTracker,
    ) -> Option<Rc<Self>> {
        None
    }

    /// Is never called.
    pub async fn search(
        self: &Rc<Self>,
        _: SharedKey,
        _: Duration,
        _: bool,
        _: impl Future<Output = ()>,
    ) -> Option<Searched> {
        match self.0 {}
    }

    /// Is never called.
    pub fn close(&self) {
        match self.0 {}
    }

    /// Is never called.
    pub fn place(&self) -> String {
        match self.0 {}
    }

    /// Is never called.
    pub fn state(&self) -> SharedState {
        match self.0 {}
    }
}

#[expect(clippy::unused_async, reason = "its twin waits")]
impl SharedRun {
    /// Is never called.
    pub async fn goes_on(&self) {
        match self.0 {}
    }

    /// Is never called.
    pub async fn end(self, _: &Result<Reply, Failure>, _: Duration) {
        match self.0 {}
    }
}
