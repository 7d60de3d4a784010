//! When refused callers should come back.
//!
//! Pure.
//!
//! `Retry-After` is a promise: a caller who comes back at that time gets in. Therefore each
//! refused caller is told a time of their own: when the queue will have been worked off and the
//! callers refused before have been let in. Times are told in whole seconds, so all callers told
//! the same second come back at once; there are never more of them than fit into the queue.

use std::time::{Duration, Instant};

/// A caller is told to come back at most this long after the queue will be empty, ...
const SPREAD_MOST: Duration = Duration::from_secs(30);
/// ... or, if this is longer, after the time that serving this many more calls would take. Most
/// callers of a flood never come back, and the others must not wait for them.
const SPREAD_CALLS: u32 = 100;

/// How far into the future the time of the workers is promised to refused callers.
#[derive(Debug, Default)]
pub(super) struct Promises {
    until: Option<Instant>,
}

impl Promises {
    /// Promises one caller a turn, and returns how long from now it is. A worker of the pool
    /// finishes one call per `turn`; `waiting` calls are in the queue; the queue and the workers
    /// hold at most `room` calls.
    pub(super) fn promise(
        &mut self,
        now: Instant,
        turn: Duration,
        waiting: u32,
        room: u32,
    ) -> Duration {
        let empty_after = turn.saturating_mul(waiting.saturating_add(1));
        let most = empty_after.saturating_add(SPREAD_MOST.max(turn.saturating_mul(SPREAD_CALLS)));
        let promised = self.until.unwrap_or(now).saturating_duration_since(now);
        let after = promised.max(empty_after).min(most);
        let share = turn.max(Duration::from_secs(1) / room);
        self.until = now.checked_add(after.saturating_add(share));
        after
    }
}
