//! The numbers behind the metrics: atomics that are counted without a look-up or a lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::callers::CallerMetrics;
use super::counters::{Counter, StatusCounters};
use super::groups::GroupSizes;
use super::labels::{
    AgentResult, AwayEnd, CacheResult, CallOutcome, ClaimEnd, Denial, Dropping, Handshake,
    OperatorAction, SharedResult,
};
use crate::base::{Conduct, ExitReason, WorkerCounts};

/// Upper bounds of the histograms' buckets, in nanoseconds, and in seconds as the text format
/// writes them. They tell calls of microseconds apart as well as calls of minutes.
pub(crate) const BOUNDS: [(u64, &str); 20] = [
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
    (300_000_000_000, "300"),
];

/// A number that is set.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicI64);

impl Level {
    pub(super) fn change(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    pub(super) fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How often each duration was seen. The count is the sum of the buckets, so that one scrape
/// never shows a count that contradicts its buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One for each bound and a last one for what is above; not cumulated.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// 584 years fit.
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// How many observations were at most each bound, `+Inf` last.
    pub(super) fn cumulated(&self) -> [u64; BOUNDS.len() + 1] {
        let mut below = 0;
        std::array::from_fn(|bucket| {
            below += self.buckets[bucket].load(Relaxed);
            below
        })
    }

    pub(super) fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Relaxed))
    }
}

/// What is counted of the shared cache.
#[derive(Debug, Default)]
pub struct SharedMetrics {
    /// In the order of [`SharedResult::ALL`].
    searches: [Counter; SharedResult::ALL.len()],
    pub(super) looks: Histogram,
    pub(super) connected: Gauge,
}

#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "nothing is counted"))]
impl SharedMetrics {
    /// Counts a search by how it ended.
    pub fn searched(&self, result: SharedResult) {
        self.searches[result as usize].add(1);
    }

    /// Counts a look by the time that it took.
    pub fn looked(&self, time: Duration) {
        self.looks.observe(time);
    }

    /// Sets whether it can be asked.
    pub fn connected(&self, is_connected: bool) {
        self.connected.set(u64::from(is_connected));
    }

    /// Returns how many searches ended so.
    pub fn count(&self, result: SharedResult) -> u64 {
        self.searches[result as usize].value()
    }
}

/// What is counted of the servers that share calls.
#[derive(Debug, Default)]
pub struct SpreadMetrics {
    pub(super) connected: Gauge,
    pools: Mutex<Vec<Arc<SharedPoolMetrics>>>,
}

/// What is counted of one pool that servers share.
#[derive(Debug, Default)]
pub struct SharedPoolMetrics {
    pub(super) pool: String,
    pub(super) hosts: Gauge,
    pub(super) away: Gauge,
    /// In the order of [`AwayEnd::ALL`].
    pub(super) calls: [Counter; AwayEnd::ALL.len()],
    /// In the order of [`ClaimEnd::ALL`].
    pub(super) claims: [Counter; ClaimEnd::ALL.len()],
    pub(super) hosts_lost: Counter,
    pub(super) late: Counter,
    pub(super) strange: Counter,
    pub(super) way: Histogram,
}

#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing is counted"))]
impl SpreadMetrics {
    /// Sets whether there is a connection.
    pub fn connected(&self, is_connected: bool) {
        self.connected.set(u64::from(is_connected));
    }

    /// Returns the handle of the pool with this name. The same name gives the same counters.
    pub fn pool(&self, name: &str) -> Arc<SharedPoolMetrics> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pools.iter().find(|pool| pool.pool == name).cloned();
        known.unwrap_or_else(|| {
            let pool = SharedPoolMetrics { pool: name.to_owned(), ..SharedPoolMetrics::default() };
            pools.push(Arc::new(pool));
            Arc::clone(&pools[pools.len() - 1])
        })
    }

    pub(super) fn all(&self) -> Vec<Arc<SharedPoolMetrics>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing is counted"))]
impl SharedPoolMetrics {
    /// Sets how many other servers share its calls.
    pub fn hosts(&self, hosts: usize) {
        self.hosts.set(hosts as u64);
    }

    /// Sets how many calls other servers have.
    pub fn away(&self, calls: usize) {
        self.away.set(calls as u64);
    }

    /// Counts an attempt on another server that ended.
    pub fn ended(&self, end: AwayEnd) {
        self.calls[end as usize].add(1);
    }

    /// Counts what an answer of another server took beyond the work.
    pub fn way(&self, time: Duration) {
        self.way.observe(time);
    }

    /// Counts a claim.
    pub fn claimed(&self, end: ClaimEnd) {
        self.claims[end as usize].add(1);
    }

    /// Counts a server that was lost while it had calls.
    pub fn host_lost(&self) {
        self.hosts_lost.add(1);
    }

    /// Counts an answer that nobody waited for.
    pub fn late_answer(&self) {
        self.late.add(1);
    }

    /// Counts a message that cannot be understood.
    pub fn strange(&self) {
        self.strange.add(1);
    }
}

/// What is counted of jobs.
#[derive(Debug, Default)]
pub struct JobMetrics {
    pub(super) commits: Histogram,
    pub(super) failing: Gauge,
    pub(super) unreadable: Counter,
    pub(super) ended: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    shown: Mutex<Vec<PoolJobs>>,
}

/// The jobs of one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolJobs {
    /// The name of the pool.
    pub pool: Arc<str>,
    /// How many jobs are in each state, by its word.
    pub states: Vec<(&'static str, u64)>,
    /// How long the job has waited that goes next.
    pub oldest: Option<Duration>,
}

impl JobMetrics {
    /// Counts a transaction of the file by the time that it took.
    pub fn committed(&self, time: Duration) {
        self.commits.observe(time);
    }

    /// Counts a job whose row in the file cannot be read.
    pub fn unreadable(&self) {
        self.unreadable.add(1);
    }

    /// Returns how many could not be read.
    #[cfg(test)]
    pub fn unreadable_count(&self) -> u64 {
        self.unreadable.value()
    }

    /// Counts a job of a route that ended so: `ok`, or a failure code.
    pub fn ended(&self, route: &Arc<str>, outcome: &'static str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry((Arc::clone(route), outcome)).or_default() += 1;
    }

    /// Sets what there is of jobs, and whether their file cannot be written.
    pub fn show(&self, pools: Vec<PoolJobs>, failing: bool) {
        self.failing.set(u64::from(failing));
        *self.shown() = pools;
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Vec<PoolJobs>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counter for each outcome of a call.
#[derive(Debug)]
pub(super) struct OutcomeCounters([Counter; CallOutcome::COUNT]);

impl Default for OutcomeCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl OutcomeCounters {
    pub(super) fn count(&self, outcome: CallOutcome) {
        self.0[outcome.index()].add(1);
    }

    /// `ok`, and every other outcome that was seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = CallOutcome::all().map(|outcome| (outcome, self.0[outcome.index()].value()));
        all.filter(|(outcome, count)| *outcome == CallOutcome::Ok || *count > 0)
            .map(|(outcome, count)| (outcome.label(), count))
    }
}

/// The numbers of the whole server.
#[derive(Debug, Default)]
pub(super) struct ServerSeries {
    pub(super) connections: Level,
    pub(super) connections_refused: Counter,
    pub(super) cache_bytes: Gauge,
    pub(super) held_bytes: Gauge,
    pub(super) taps: Gauge,
    pub(super) log_dropped: Counter,
    pub(super) access_log_dropped: Counter,
    pub(super) callers: Arc<CallerMetrics>,
    /// Seconds until the certificate ends.
    pub(super) tls_expires: Gauge,
    /// In the order of [`Handshake::ALL`].
    pub(super) handshakes: [Counter; Handshake::ALL.len()],
    /// Empty: there are no jobs.
    pub(super) jobs: OnceLock<Arc<JobMetrics>>,
    /// Empty: there is no shared cache.
    pub(super) shared: OnceLock<Arc<SharedMetrics>>,
    /// Empty: no calls are shared.
    pub(super) spread: OnceLock<Arc<SpreadMetrics>>,
    /// In the order of [`Denial::ALL`].
    pub(super) admin_denied: [Counter; Denial::ALL.len()],
    /// In the order of [`AgentResult::ALL`].
    pub(super) agent_asked: [Counter; AgentResult::ALL.len()],
    /// In the order of [`OperatorAction::ALL`].
    pub(super) admin_actions: [Counter; OperatorAction::ALL.len()],
}

/// Every series with labels, in the order in which they were first asked for.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) pools: Vec<Arc<PoolSeries>>,
    pub(super) routes: Vec<Arc<RouteSeries>>,
    pub(super) calls: Vec<Arc<CallSeries>>,
    /// By the label of a route: its place in `routes`, and those of its calls in `calls`.
    pub(super) by_label: HashMap<String, (usize, Vec<usize>)>,
}

/// All the numbers there are, for the metrics that are made of them.
pub(super) struct Numbers<'a> {
    pub(super) server: &'a ServerSeries,
    pub(super) series: &'a Series,
}

/// The numbers of one pool.
#[derive(Debug, Default)]
pub(super) struct PoolSeries {
    pub(super) name: String,
    pub(super) queue: Histogram,
    pub(super) work: Histogram,
    pub(super) queue_length: Gauge,
    /// In the order of [`WorkerCounts::by_state`].
    pub(super) workers: [Gauge; 4],
    pub(super) starts: Counter,
    pub(super) forks: Counter,
    pub(super) fork_servers_lost: Counter,
    /// In the order of [`ExitReason::ALL`].
    pub(super) exits: [Counter; ExitReason::ALL.len()],
    /// In the order of [`Dropping::ALL`].
    pub(super) dropped: [Counter; Dropping::ALL.len()],
    pub(super) slots: Gauge,
    pub(super) workers_most: Gauge,
    pub(super) poisonous: Gauge,
    pub(super) record_bytes: Gauge,
    /// CPU time of workers that have ended, in nanoseconds.
    pub(super) cpu_ended: Counter,
    /// CPU time of all workers, in nanoseconds, as last looked at.
    pub(super) cpu: Counter,
    /// Resident memory of the workers that live, as last looked at.
    pub(super) memory: Gauge,
    /// Requests that the cache has answered.
    pub(super) hits: Counter,
    pub(super) groups: GroupSizes,
    /// In the order of [`Conduct::ALL`].
    pub(super) diagnoses: [Counter; Conduct::ALL.len()],
}

impl PoolSeries {
    pub(super) fn worker_counts(&self) -> WorkerCounts {
        let [starting, ready, busy, leaving] =
            self.workers.each_ref().map(|gauge| usize::try_from(gauge.value()).unwrap_or(0));
        WorkerCounts { starting, ready, busy, leaving }
    }
}

/// The numbers of one route that do not depend on its pool.
#[derive(Debug, Default)]
pub(super) struct RouteSeries {
    pub(super) label: String,
    pub(super) statuses: StatusCounters,
    pub(super) seconds: Histogram,
    /// In the order of [`CacheResult::ALL`].
    pub(super) cache: [Counter; CacheResult::ALL.len()],
}

/// The calls of one route in one pool. Not part of [`RouteSeries`], because a reload may give
/// the route another pool while its requests are still counted in one series.
#[derive(Debug, Default)]
pub(super) struct CallSeries {
    pub(super) pool: String,
    pub(super) route: String,
    pub(super) outcomes: OutcomeCounters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_in_the_bucket_whose_bound_it_does_not_pass() {
        let at = |bound: usize| BOUNDS[bound].0;
        for (nanos, bucket) in
            [(0, 0), (at(0), 0), (at(0) + 1, 1), (at(19), 19), (at(19) + 1, 20), (u64::MAX, 20)]
        {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanos));
            let first = histogram.cumulated().iter().position(|count| *count == 1);
            assert_eq!(first, Some(bucket), "{nanos} ns");
            assert_eq!(histogram.sum(), Duration::from_nanos(nanos));
        }
    }

    #[test]
    fn bounds_grow_and_their_texts_say_the_same() {
        assert!(BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
        for (nanos, text) in BOUNDS {
            let seconds: f64 = text.parse().expect("a number");
            assert_eq!(Duration::from_nanos(nanos), Duration::from_secs_f64(seconds), "{text}");
        }
        assert_eq!((BOUNDS[0].1, BOUNDS[19].1), ("0.00005", "300"));
    }

    #[test]
    fn a_status_beyond_the_range_counts_as_the_nearest() {
        let statuses = StatusCounters::default();
        for status in [0, 100, 200, 200, 599, 999] {
            statuses.count(status);
        }
        assert_eq!(statuses.seen().collect::<Vec<_>>(), [(100, 2), (200, 2), (599, 2)]);
    }

    #[test]
    fn outcomes_are_told_apart() {
        let outcomes = OutcomeCounters::default();
        assert_eq!(outcomes.seen().collect::<Vec<_>>(), [("ok", 0)]);
        for (times, outcome) in CallOutcome::all().enumerate() {
            (0..times).for_each(|_| outcomes.count(outcome));
        }
        let labels = CallOutcome::all().map(CallOutcome::label);
        let expected: Vec<_> = labels.zip(0..).collect();
        assert_eq!(outcomes.seen().collect::<Vec<_>>(), expected);
        assert_eq!(expected.len(), CallOutcome::COUNT);
    }
}
