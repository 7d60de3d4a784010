//! The settings by which a pool decides.
//!
//! Pure: data only. The settings that only the shell needs are left out.

use std::time::{Duration, Instant};

use super::estimate::Estimate;
use super::grouping::GroupRules;
use super::line::Nanos;
use crate::config::{GroupShape, InFlight, Matching, PoolSettings};
use crate::wire::Encoder;

/// Most bytes of a question that can be taken back: with its length and its tag, it is one page of
/// a pipe.
pub(super) const TAKEN_BACK_MOST: usize = 4000;

/// A time that never passes.
const CENTURY: Duration = Duration::from_hours(24 * 36_525);

/// The rules of a pool. A reload may replace them while calls run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Processors of the machine, or of what it may use.
    pub processors: usize,
    /// Workers kept ready.
    pub least: usize,
    /// Most workers under load.
    pub most: usize,
    /// Calls in one worker at once.
    pub in_flight: InFlight,
    /// What a worker has not read can be taken back from it.
    pub takes_back: bool,
    /// Answers come in the order of the questions.
    pub in_order: bool,
    /// Longest time of one call inside a worker.
    pub timeout: Duration,
    /// How long a call may run on after its caller left.
    pub abandoned: Duration,
    /// Most calls that wait.
    pub queue_length: usize,
    /// Most bytes of questions that wait.
    pub queue_bytes: u64,
    /// Longest wait in the queue.
    pub queue_wait: Duration,
    /// Longest time until the first worker is ready. Only then `queue_wait` begins.
    pub start_timeout: Duration,
    /// How often a call is tried again after its worker was lost.
    pub retries: u32,
    /// A worker is replaced after this many calls.
    pub recycle_calls: Option<u64>,
    /// A worker is replaced at this age.
    pub recycle_age: Option<Duration>,
    /// The part of the places in workers that background work may hold, in thousandths.
    pub share: u32,
    /// Workers get several calls together; `None`: one after the other.
    pub group: Option<GroupRules>,
}

impl Rules {
    /// Returns true if a worker works on one call at a time, even if it holds more.
    pub(super) fn takes_one(&self) -> bool {
        self.in_order || self.in_flight == InFlight::Auto
    }

    /// How much of a worker's time a call takes up on average, see [`Rules::took`].
    pub(super) fn usual(&self, estimate: &Estimate) -> Nanos {
        if self.takes_one() { estimate.pace_nanos() } else { estimate.service_nanos() }
    }

    /// How much of a worker's time a call took up that leaves it now. `given` is when the worker got
    /// it, `busy_since` when the worker had last finished another one. Where a worker has several
    /// calls at work, each takes up one of its places.
    pub(super) fn took(&self, now: Instant, given: Instant, busy_since: Instant) -> Duration {
        now.saturating_duration_since(self.took_since(given, busy_since))
    }

    /// Since when a call has taken up a worker's time, see [`Rules::took`].
    pub(super) fn took_since(&self, given: Instant, busy_since: Instant) -> Instant {
        if self.takes_one() { given.max(busy_since) } else { given }
    }

    /// A worker with this many calls that were given up takes no more.
    pub(super) fn given_up_most(&self) -> usize {
        match self.in_flight {
            InFlight::Fixed(calls) => calls as usize,
            InFlight::Auto => 1,
        }
    }

    /// How long after its arrival a call is no longer put back into the queue: one wait, and one
    /// `timeout` per try. Each time that its group can be halved, a worker more may start, and take as
    /// long. Without this limit a call that stands behind one hanging call after the other would be put
    /// back for ever.
    pub(super) fn latest_after(&self) -> Duration {
        let tries = self.retries.saturating_add(1);
        let halves = self.group.map_or(0, |group| group.most.max(1).ilog2() + 1);
        let halving = self.timeout.saturating_add(self.start_timeout).saturating_mul(halves);
        let most = self.queue_wait.saturating_add(self.timeout.saturating_mul(tries));
        most.saturating_add(halving).min(CENTURY)
    }

    /// A time that never comes.
    pub(super) fn never(now: Instant) -> Instant {
        now + CENTURY
    }
}

/// The longest beginning of a group, and the lengths of its questions, as far as they take more than a
/// byte each.
fn beside(shape: Option<GroupShape>, most: usize) -> usize {
    if shape == Some(GroupShape::Frames) { 32 + 3 * most } else { 0 }
}

impl From<&PoolSettings> for Rules {
    fn from(settings: &PoolSettings) -> Self {
        let rules = &settings.rules;
        Self {
            processors: rules.processors,
            least: rules.workers_least,
            most: rules.workers_most,
            in_flight: rules.in_flight,
            takes_back: settings.program.wire.takes_back,
            // A worker has one group, whatever proves its answer.
            in_order: settings.program.wire.matching == Matching::Order || rules.group.is_some(),
            timeout: rules.timeout,
            abandoned: rules.abandoned,
            queue_length: rules.queue.length,
            queue_bytes: rules.queue.bytes.0,
            queue_wait: rules.queue.wait,
            start_timeout: rules.start_timeout,
            retries: rules.retries,
            recycle_calls: rules.recycle.calls,
            recycle_age: rules.recycle.age,
            share: rules.share,
            group: rules.group.map(|group| {
                let wire = &settings.program.wire;
                let bytes = Encoder::new(&wire.framing.send, wire.message_max).limit();
                let bytes = bytes.saturating_sub(beside(wire.group, group.most));
                GroupRules { most: group.most, wait: group.wait, bytes, mixes_all: group.mixes_all }
            }),
        }
    }
}
