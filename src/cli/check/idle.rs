//! How long a worker under trial has been idle.

use std::time::{Duration, Instant};

use super::activity::{Activity, Snapshot};

/// Tracks how long a worker has been idle.
#[derive(Default)]
pub(super) struct IdleWatch {
    last: Option<Snapshot>,
    /// When it began to wait for input without using any CPU.
    pub(super) waiting_since: Option<Instant>,
    /// When it began to sleep, for whatever reason, without using any CPU.
    pub(super) sleeping_since: Option<Instant>,
    /// The snapshots of the last `RECENT`, oldest first.
    recent: Vec<(Instant, Snapshot)>,
}

impl IdleWatch {
    /// How far back `recent_cpu` and `was_always_running` look.
    const RECENT: Duration = Duration::from_secs(1);

    /// Starts over, because the worker has read or written something.
    pub(super) fn reset(&mut self) {
        self.waiting_since = None;
        self.sleeping_since = None;
    }

    /// Takes note of what the worker is doing now.
    pub(super) fn observe(&mut self, snapshot: Snapshot) {
        let now = Instant::now();
        let used_no_cpu = self.last.is_none_or(|last| last.cpu == snapshot.cpu);
        let since = |most: Activity, since: Option<Instant>| {
            (used_no_cpu && snapshot.activity <= most).then(|| since.unwrap_or(now))
        };
        self.waiting_since = since(Activity::Waits, self.waiting_since);
        self.sleeping_since = since(Activity::Sleeps, self.sleeping_since);
        self.last = Some(snapshot);
        self.recent.retain(|(at, _)| now.duration_since(*at) <= Self::RECENT);
        self.recent.push((now, snapshot));
    }

    /// Returns how long it has waited for input.
    pub(super) fn waiting_for(&self, now: Instant) -> Duration {
        self.waiting_since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    /// Returns how long it has slept.
    pub(super) fn sleeping_for(&self, now: Instant) -> Duration {
        self.sleeping_since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    /// Returns the CPU time that it used in the last `RECENT`.
    pub(super) fn recent_cpu(&self) -> Duration {
        match (self.recent.first(), self.recent.last()) {
            (Some((_, before)), Some((_, after))) => after.cpu.saturating_sub(before.cpu),
            _ => Duration::ZERO,
        }
    }

    /// Returns true if every recent snapshot found it runnable. A busy machine may have given it
    /// no CPU all the same.
    pub(super) fn was_always_running(&self) -> bool {
        let runs = |(_, snapshot): &(Instant, Snapshot)| snapshot.activity == Activity::Runs;
        !self.recent.is_empty() && self.recent.iter().all(runs)
    }
}
