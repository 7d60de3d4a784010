//! Which calls are not let into the queue.
//!
//! Pure: the part of [`State`] that refuses calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::{Phase, WorkerBook};
use super::line::{Room, TenantSlot};
use super::state::State;
use crate::base::Failure;
use crate::policy::Fingerprint;

impl<P> State<P> {
    /// Why a call that arrives now is refused; `None` if it is let in. Calls of other tenants may
    /// fail in its place.
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        question: Option<Fingerprint>,
        seat: TenantSlot,
        bytes: usize,
        idempotent: bool,
    ) -> Option<Failure> {
        if self.stopping {
            return Some(Failure::Draining);
        }
        if question.is_some_and(|question| self.suspects.refuses(now, question)) {
            return Some(Failure::Poisonous);
        }
        if self.has_no_prospect() {
            return Some(self.no_worker(now));
        }
        if self.line.len() < self.gather_most() && self.pick(now, idempotent).is_some() {
            return None;
        }
        let detail = if self.line.len() >= self.rules.queue_length {
            match self.rules.queue_length {
                0 => "no worker has room, and no call may wait (`queue.length`)".to_owned(),
                limit => format!("{} calls are waiting and the limit is {limit}", self.line.len()),
            }
        } else if self.line.bytes() + bytes as u64 > self.rules.queue_bytes {
            let limit = self.rules.queue_bytes;
            format!("{} bytes are waiting and the limit is {limit}", self.line.bytes())
        } else {
            return None;
        };
        let detail: Arc<str> = detail.into();
        let room = Room { calls: self.rules.queue_length, bytes: self.rules.queue_bytes };
        let bytes_of = |id| self.calls.get(id).filter(|call| call.waits_until.is_some());
        let bytes_of = |id| bytes_of(id).map(|call| call.bytes);
        let Some(leaving) = self.line.make_room(seat, bytes, room, bytes_of) else {
            return Some(Failure::QueueFull { detail, retry_after: self.retry_after(now) });
        };
        for id in leaving {
            let retry_after = self.retry_after(now);
            self.fail(now, id, Failure::QueueFull { detail: Arc::clone(&detail), retry_after });
        }
        None
    }

    /// When a caller who cannot be served now should come back. Each call of this method promises
    /// some of the workers' time; see `promises`.
    pub(super) fn retry_after(&mut self, now: Instant) -> Duration {
        let (workers, pace) = self.pace(now);
        let waiting = u32::try_from(self.line.len()).unwrap_or(u32::MAX);
        let room = u32::try_from(self.rules.queue_length).unwrap_or(u32::MAX);
        self.promises.promise(now, pace / workers, waiting, room.saturating_add(workers))
    }

    /// How many workers serve, at least one, and how much of a worker's time a call takes up. A
    /// call that already runs longer is expected to take as long as it has taken so far.
    fn pace(&self, now: Instant) -> (u32, Duration) {
        let usual = self.estimate.pace().unwrap_or_default();
        // Background work is no measure of the time after which a caller is served.
        let is_open =
            |book: &&WorkerBook| book.phase == Phase::Serving && !self.is_in_background(book);
        let serving = || self.crew.iter().filter(is_open);
        let expected = |book: &WorkerBook| {
            if book.held.is_empty() {
                return usual;
            }
            let so_far = now.saturating_duration_since(book.busy_since).min(self.rules.timeout);
            usual.max(self.part_of(book, so_far))
        };
        match u32::try_from(serving().count()).unwrap_or(u32::MAX) {
            0 => (1, usual),
            workers => (workers, serving().map(expected).sum::<Duration>() / workers),
        }
    }
}
