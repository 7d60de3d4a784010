//! Who is not let into the queue, and when to come back.
//!
//! Pure: the part of [`State`] that refuses calls.
//!
//! `Retry-After` is a promise: who comes back then gets in. So it is not the same for everyone:
//! each refused caller is told a time of its own, when the queue will have been worked off and
//! those who were told before it have been let in again. Times are told in whole seconds, so all
//! who are told the same second come back at once, and there are never more of them than fit
//! into the queue.

use std::time::{Duration, Instant};

use super::books::{Phase, WorkerBook};
use super::state::State;
use crate::base::Failure;
use crate::policy::Fingerprint;

/// Refused callers are told to come back at most so long after the queue will be empty, or after
/// it would take to serve so many more. Most who flood a server never come back, and those who
/// do must not wait for them.
const SPREAD_MOST: Duration = Duration::from_secs(30);
const SPREAD_CALLS: u32 = 100;

/// Until when the time of the workers is promised to callers who were refused.
#[derive(Debug, Default)]
pub(super) struct Promises {
    until: Option<Instant>,
}

impl<P> State<P> {
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        question: Option<Fingerprint>,
        bytes: usize,
        idempotent: bool,
    ) -> Option<Failure> {
        if self.stopping {
            return Some(Failure::Draining);
        }
        if question.is_some_and(|question| self.poison.refuses(now, question)) {
            return Some(Failure::Poisonous);
        }
        if self.has_no_prospect() {
            return Some(self.no_worker(now));
        }
        if self.line.len() == 0 && self.pick(now, idempotent).is_some() {
            return None;
        }
        let detail = if self.line.len() >= self.rules.queue_length {
            let limit = self.rules.queue_length;
            format!("{} calls are waiting and the limit is {limit}", self.line.len())
        } else if self.line.bytes() + bytes as u64 > self.rules.queue_bytes {
            let limit = self.rules.queue_bytes;
            format!("{} bytes are waiting and the limit is {limit}", self.line.bytes())
        } else {
            return None;
        };
        Some(Failure::QueueFull { detail: detail.into(), retry_after: self.retry_after(now) })
    }

    /// When a caller who cannot be served now should come back. Each call of this promises some
    /// of the workers' time.
    pub(super) fn retry_after(&mut self, now: Instant) -> Duration {
        let (workers, pace) = self.pace(now);
        let turn = pace / workers;
        let waiting = u32::try_from(self.line.len()).unwrap_or(u32::MAX);
        let room = u32::try_from(self.rules.queue_length).unwrap_or(u32::MAX);
        let room = room.saturating_add(workers);
        let empty_after = turn.saturating_mul(waiting.saturating_add(1));
        let most = empty_after.saturating_add(SPREAD_MOST.max(turn.saturating_mul(SPREAD_CALLS)));
        let promised = self.promises.until.unwrap_or(now).saturating_duration_since(now);
        let after = promised.max(empty_after).min(most);
        let share = turn.max(Duration::from_secs(1) / room);
        self.promises.until = now.checked_add(after.saturating_add(share));
        after
    }

    /// How many workers serve, at least one, and how much of a worker's time a call takes up. A
    /// call that runs longer than that already is expected to take as long as it took so far.
    fn pace(&self, now: Instant) -> (u32, Duration) {
        let usual = self.estimate.pace().unwrap_or_default();
        let serving = || self.workers.values().filter(|book| book.phase == Phase::Serving);
        let expected = |book: &WorkerBook| match book.held.len() {
            0 => usual,
            _ => usual.max(now.saturating_duration_since(book.busy_since).min(self.rules.timeout)),
        };
        match u32::try_from(serving().count()).unwrap_or(u32::MAX) {
            0 => (1, usual),
            workers => (workers, serving().map(expected).sum::<Duration>() / workers),
        }
    }
}
