//! A limited number of places, and who leaves theirs when all are taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::now;
use super::seats::{Seat, Seats};

/// How long to wait for an idle connection to close before asking another one to.
const LEAVING: Duration = Duration::from_millis(50);

/// A limited number of places. Clones share them.
///
/// While all are taken, the connection that has been idle longest makes room for a new one, so idle
/// strangers cannot shut others out.
#[derive(Clone)]
pub(super) struct PlaceLimit {
    pub(super) free: Arc<Semaphore>,
    seats: Arc<Seats>,
}

/// One place. Dropping it frees it.
pub(super) struct TakenPlace {
    _acquired: OwnedSemaphorePermit,
    number: u64,
    /// Where its owner notes since when they are idle.
    pub(super) seat: Arc<Seat>,
    seats: Arc<Seats>,
}

impl PlaceLimit {
    pub(super) fn new(most: usize) -> Self {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { free, seats: Arc::default() }
    }

    /// Waits for a free place. If there is none, asks the connection that has been idle longest to
    /// close.
    pub(super) async fn take(&self) -> TakenPlace {
        let acquired = loop {
            if let Ok(acquired) = Arc::clone(&self.free).try_acquire_owned() {
                break acquired;
            }
            self.seats.make_room();
            // That connection stays if it has just received a request: then ask another one.
            let acquire = Arc::clone(&self.free).acquire_owned();
            if let Ok(acquired) = tokio::time::timeout(LEAVING, acquire).await {
                break acquired.expect("the semaphore is never closed");
            }
        };
        self.place(acquired)
    }

    /// Returns the place that was acquired.
    pub(super) fn place(&self, acquired: OwnedSemaphorePermit) -> TakenPlace {
        let (number, seat) = self.seats.add(now());
        TakenPlace { _acquired: acquired, number, seat, seats: Arc::clone(&self.seats) }
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        self.seats.remove(self.number);
    }
}
