//! Decides which connection is closed when there is no place for a new one.
//!
//! Each connection notes since when the server waits for its caller: to send a request, or to read
//! an answer. The connection on which the server has waited longest is closed. No request is lost,
//! because the connection checks once more, on its own thread, that it is still idle.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Stands for a connection that does not wait for its caller.
const BUSY: u64 = u64::MAX;
/// How many candidates one look over all connections finds. A look costs time for every connection,
/// so a flood of new ones must not cause a look each.
const CANDIDATES_MOST: usize = 64;

/// One connection, as the others that want its place see it.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when the server waits for the caller, or [`BUSY`].
    waits_since: AtomicU64,
    wanted: Notify,
}

/// All connections that share a limit.
#[derive(Debug, Default)]
pub(super) struct Seats {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    taken: HashMap<u64, Arc<Seat>>,
    /// Connections that waited at the last look over all, the longest wait first.
    candidates: VecDeque<(u64, u64)>,
}

impl Seat {
    fn new(now: Instant) -> Self {
        Self { waits_since: AtomicU64::new(stamp(now)), wanted: Notify::new() }
    }

    /// Notes that the server waits for the caller.
    pub(super) fn waits(&self, now: Instant) {
        self.waits_since.store(stamp(now), Ordering::Relaxed);
    }

    /// Notes that the server works for the caller.
    pub(super) fn works(&self) {
        self.waits_since.store(BUSY, Ordering::Relaxed);
    }

    /// Waits until a new connection wants this place.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Seats {
    pub(super) fn add(&self, now: Instant) -> (u64, Arc<Seat>) {
        let seat = Arc::new(Seat::new(now));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next += 1;
        let number = inner.next;
        inner.taken.insert(number, Arc::clone(&seat));
        (number, seat)
    }

    pub(super) fn remove(&self, number: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.taken.remove(&number);
    }

    /// Asks the connection whose caller let the server wait longest to leave. Returns false if
    /// the server waits for none.
    pub(super) fn make_room(&self) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ask_next() || {
            inner.look();
            inner.ask_next()
        }
    }
}

impl Inner {
    /// Asks the first candidate that has waited since the look.
    fn ask_next(&mut self) -> bool {
        while let Some((since, number)) = self.candidates.pop_front() {
            let Some(seat) = self.taken.get(&number) else { continue };
            let order = Ordering::Relaxed;
            // A connection is asked once. If it has received a request, it is idle again later.
            if seat.waits_since.compare_exchange(since, BUSY, order, order).is_ok() {
                seat.wanted.notify_one();
                return true;
            }
        }
        false
    }

    fn look(&mut self) {
        let since = |seat: &Seat| seat.waits_since.load(Ordering::Relaxed);
        let all = self.taken.iter().map(|(number, seat)| (since(seat), *number));
        let mut waiting: Vec<_> = all.filter(|(since, _)| *since != BUSY).collect();
        // A number tells which of two came first.
        waiting.sort_unstable();
        waiting.truncate(CANDIDATES_MOST);
        self.candidates = waiting.into();
    }
}

/// Microseconds since the first stamp.
fn stamp(now: Instant) -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*FIRST).as_micros()).unwrap_or(BUSY - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns true if the place is wanted, and takes note of it.
    fn is_asked(seat: &Seat) -> bool {
        let mut asked = std::pin::pin!(seat.wanted());
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        asked.as_mut().poll(context).is_ready()
    }

    #[test]
    fn the_longest_wait_leaves_first_and_who_works_stays() {
        let seats = Seats::default();
        let now = Instant::now();
        let all: Vec<_> = (0..4).map(|_| seats.add(now).1).collect();
        all[0].works();
        for (seat, second) in all[1..].iter().zip([3, 1, 2]) {
            seat.waits(now + Duration::from_secs(second));
        }
        for expected in [2, 3, 1] {
            assert!(seats.make_room());
            let asked: Vec<_> = (0..4).filter(|index| is_asked(&all[*index])).collect();
            assert_eq!(asked, [expected]);
        }
        assert!(!seats.make_room());
        all[0].waits(now + Duration::from_secs(9));
        assert!(seats.make_room() && is_asked(&all[0]));
    }

    #[test]
    fn a_candidate_that_got_a_request_or_has_gone_is_passed_over() {
        let seats = Seats::default();
        let now = Instant::now();
        let all: Vec<_> = (0..4).map(|_| seats.add(now)).collect();
        for ((_, seat), second) in all.iter().zip(1..) {
            seat.waits(now + Duration::from_secs(second));
        }
        assert!(seats.make_room() && is_asked(&all[0].1));
        all[1].1.works();
        seats.remove(all[2].0);
        assert!(seats.make_room() && is_asked(&all[3].1));
        assert!(!is_asked(&all[1].1) && !is_asked(&all[2].1));
    }
}
