//! For how long a program on trial has done nothing.

use std::time::{Duration, Instant};

use super::look::{Activity, Look};

/// For how long nothing has happened.
#[derive(Default)]
pub(super) struct Quiet {
    last: Option<Look>,
    /// Since when it is blocked on its input, and since when it sleeps at least.
    pub(super) waits_since: Option<Instant>,
    pub(super) sleeps_since: Option<Instant>,
    /// What was seen at some moments, to know what it did lately.
    lately: Vec<(Instant, Look)>,
}

impl Quiet {
    /// "Lately" is so long.
    const LATELY: Duration = Duration::from_secs(1);

    /// Something came or went.
    pub(super) fn broken(&mut self) {
        self.waits_since = None;
        self.sleeps_since = None;
    }

    pub(super) fn looked(&mut self, look: Look) {
        let now = Instant::now();
        let is_still = self.last.is_none_or(|last| last.cpu == look.cpu);
        let since = |most: Activity, since: Option<Instant>| {
            (is_still && look.activity <= most).then(|| since.unwrap_or(now))
        };
        self.waits_since = since(Activity::Waits, self.waits_since);
        self.sleeps_since = since(Activity::Sleeps, self.sleeps_since);
        self.last = Some(look);
        self.lately.retain(|(at, _)| now.duration_since(*at) <= Self::LATELY);
        self.lately.push((now, look));
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.waits_since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    pub(super) fn slept(&self, now: Instant) -> Duration {
        self.sleeps_since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    pub(super) fn cpu_lately(&self) -> Duration {
        match (self.lately.first(), self.lately.last()) {
            (Some((_, before)), Some((_, after))) => after.cpu.saturating_sub(before.cpu),
            _ => Duration::ZERO,
        }
    }

    /// Did it want to run whenever it was looked at? On a busy machine it may have got no CPU for
    /// it.
    pub(super) fn wanted_to_run(&self) -> bool {
        let runs = |(_, look): &(Instant, Look)| look.activity == Activity::Runs;
        !self.lately.is_empty() && self.lately.iter().all(runs)
    }
}
