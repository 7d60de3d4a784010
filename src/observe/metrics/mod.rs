//! Every metric once, and cheap handles for the places that count.
//!
//! A handle is asked for once, when a pool or route is made, and holds the counters
//! themselves: counting is a few atomic additions, without a look-up or a lock. Series live as
//! long as the server, through reloads too, as counters must.

mod handles;
pub mod names;
pub mod text;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::handles::{CallSeries, Counter, PoolSeries, RouteSeries};
use self::text::Page;
use crate::base::{Code, ExitReason, WorkerCounts};

/// All metrics of one server. Two servers in one process share nothing.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Mutex<Series>,
    connections: AtomicI64,
    cache_bytes: AtomicU64,
    log_dropped: Counter,
}

/// Every series with labels, in the order in which they were first asked for.
#[derive(Debug, Default)]
struct Series {
    pools: Vec<Arc<PoolSeries>>,
    routes: Vec<Arc<RouteSeries>>,
    calls: Vec<Arc<CallSeries>>,
}

/// What one pool counts.
#[derive(Clone, Debug)]
pub struct PoolMetrics(Arc<PoolSeries>);

/// What one route counts.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    route: Arc<RouteSeries>,
    /// `None`: the route makes no calls.
    calls: Option<Arc<CallSeries>>,
}

/// Why a worker's message was nobody's answer (`httpipe_messages_dropped_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropping {
    /// It asks for nothing.
    Notification,
    /// The worker's own question.
    Question,
    /// Nobody waits for it any more.
    Late,
}

impl Dropping {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Notification, Self::Question, Self::Late];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Question => "question",
            Self::Late => "late",
        }
    }
}

/// How a cached route was served (`httpipe_cache_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// From what was kept.
    Hit,
    /// By a run of its own.
    Miss,
    /// By the run of another caller.
    Collapsed,
}

impl CacheResult {
    /// Every result, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Collapsed];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
        }
    }
}

/// How a call ended (`httpipe_calls_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// With an answer.
    Ok,
    /// Its caller left before the answer.
    Abandoned,
    /// With a failure of this code.
    Failed(Code),
}

impl CallOutcome {
    /// How many outcomes there are.
    const COUNT: usize = 2 + Code::ALL.len();

    /// Returns every outcome, in the order of [`Self::index`].
    fn all() -> impl Iterator<Item = Self> {
        [Self::Ok, Self::Abandoned].into_iter().chain(Code::ALL.map(Self::Failed))
    }

    /// Returns the place of the outcome among all of them.
    fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Abandoned => 1,
            Self::Failed(code) => 2 + code as usize,
        }
    }

    /// Returns the label value.
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Abandoned => "abandoned",
            Self::Failed(code) => code.as_str(),
        }
    }
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The handles of the pool of this name; the same counters when asked again.
    pub fn pool(&self, name: &str) -> PoolMetrics {
        let pools = &mut self.series().pools;
        PoolMetrics(find_or_add(
            pools,
            |pool| pool.name == name,
            || PoolSeries { name: name.to_owned(), ..PoolSeries::default() },
        ))
    }

    /// The handles of the route with this label; `none` for requests without a route. A route
    /// that makes calls names its pool.
    pub fn route(&self, label: &str, pool: Option<&str>) -> RouteMetrics {
        let mut series = self.series();
        let route = find_or_add(
            &mut series.routes,
            |route| route.label == label,
            || RouteSeries { label: label.to_owned(), ..RouteSeries::default() },
        );
        let calls = pool.map(|pool| {
            let is_it = |calls: &CallSeries| calls.pool == pool && calls.route == label;
            find_or_add(&mut series.calls, is_it, || CallSeries {
                pool: pool.to_owned(),
                route: label.to_owned(),
                ..CallSeries::default()
            })
        });
        RouteMetrics { route, calls }
    }

    /// One more connection (+1) or one less (-1).
    pub fn connections(&self, change: i64) {
        self.connections.fetch_add(change, Relaxed);
    }

    /// Connections of callers now.
    pub fn connections_now(&self) -> i64 {
        self.connections.load(Relaxed)
    }

    /// Bytes the cache holds now.
    pub fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.store(bytes, Relaxed);
    }

    /// Log lines lost because the sink did not take them.
    pub fn log_dropped(&self, lines: u64) {
        self.log_dropped.add(lines);
    }

    /// Log lines lost so far.
    pub fn log_dropped_so_far(&self) -> u64 {
        self.log_dropped.value()
    }

    /// All of it in Prometheus' text format, to be served as [`text::CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let series = self.series();
        let mut page = Page::default();
        series.write_requests(&mut page);
        series.write_pools(&mut page);
        series.write_cache(&mut page);
        page.metric(&names::CACHE_BYTES);
        page.sample(&names::CACHE_BYTES, &[], self.cache_bytes.load(Relaxed));
        page.metric(&names::CONNECTIONS);
        page.sample(&names::CONNECTIONS, &[], self.connections_now());
        page.metric(&names::LOG_DROPPED);
        page.sample(&names::LOG_DROPPED, &[], self.log_dropped.value());
        page.finish()
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        // Counters stay right whatever panicked while they were held.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn write_requests(&self, page: &mut Page) {
        page.metric(&names::REQUESTS);
        for route in &self.routes {
            for (status, count) in route.statuses.seen() {
                let status = itoa::Buffer::new().format(status).to_owned();
                page.sample(&names::REQUESTS, &[&route.label, &status], count);
            }
        }
        page.metric(&names::CALLS);
        for calls in &self.calls {
            for (outcome, count) in calls.outcomes.seen() {
                page.sample(&names::CALLS, &[&calls.pool, &calls.route, outcome], count);
            }
        }
        page.metric(&names::REQUEST_SECONDS);
        for route in &self.routes {
            page.histogram(&names::REQUEST_SECONDS, &[&route.label], &route.seconds);
        }
    }

    fn write_pools(&self, page: &mut Page) {
        page.metric(&names::QUEUE_SECONDS);
        for pool in &self.pools {
            page.histogram(&names::QUEUE_SECONDS, &[&pool.name], &pool.queue);
        }
        page.metric(&names::WORK_SECONDS);
        for pool in &self.pools {
            page.histogram(&names::WORK_SECONDS, &[&pool.name], &pool.work);
        }
        page.metric(&names::QUEUE_LENGTH);
        for pool in &self.pools {
            page.sample(&names::QUEUE_LENGTH, &[&pool.name], pool.queue_length.value());
        }
        page.metric(&names::WORKERS);
        for pool in &self.pools {
            for (state, count) in pool.worker_counts().by_state() {
                page.sample(&names::WORKERS, &[&pool.name, state], count);
            }
        }
        page.metric(&names::WORKER_STARTS);
        for pool in &self.pools {
            page.sample(&names::WORKER_STARTS, &[&pool.name], pool.starts.value());
        }
        page.metric(&names::WORKER_EXITS);
        for pool in &self.pools {
            for (reason, count) in ExitReason::ALL.iter().zip(&pool.exits) {
                page.sample(&names::WORKER_EXITS, &[&pool.name, reason.label()], count.value());
            }
        }
        page.metric(&names::MESSAGES_DROPPED);
        for pool in &self.pools {
            for (reason, count) in Dropping::ALL.iter().zip(&pool.dropped) {
                let labels = [&*pool.name, reason.label()];
                page.sample(&names::MESSAGES_DROPPED, &labels, count.value());
            }
        }
    }

    /// Only routes that asked the cache at least once: others have nothing to say about it.
    fn write_cache(&self, page: &mut Page) {
        page.metric(&names::CACHE);
        for route in &self.routes {
            if route.cache.iter().all(|count| count.value() == 0) {
                continue;
            }
            for (result, count) in CacheResult::ALL.iter().zip(&route.cache) {
                page.sample(&names::CACHE, &[&route.label, result.label()], count.value());
            }
        }
    }
}

fn find_or_add<T>(
    all: &mut Vec<Arc<T>>,
    is_it: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(found) = all.iter().find(|one| is_it(one)) {
        return Arc::clone(found);
    }
    let new = Arc::new(make());
    all.push(Arc::clone(&new));
    new
}

impl PoolMetrics {
    /// A call was handed over for the first time after waiting this long.
    pub fn queued_for(&self, time: Duration) {
        self.0.queue.observe(time);
    }

    /// A call was answered, or failed inside a worker, after this long there.
    pub fn worked_for(&self, time: Duration) {
        self.0.work.observe(time);
    }

    /// Calls that wait now.
    pub fn queue_length(&self, calls: usize) {
        self.0.queue_length.set(calls);
    }

    /// What [`PoolMetrics::queue_length`] was last told.
    pub fn queue_length_now(&self) -> u64 {
        self.0.queue_length.value()
    }

    /// Workers by state now.
    pub fn workers(&self, counts: WorkerCounts) {
        for (gauge, (_, count)) in self.0.workers.iter().zip(counts.by_state()) {
            gauge.set(count);
        }
    }

    /// What [`PoolMetrics::workers`] was last told.
    pub fn workers_now(&self) -> WorkerCounts {
        self.0.worker_counts()
    }

    /// A worker was started.
    pub fn worker_started(&self) {
        self.0.starts.add(1);
    }

    /// How many workers were started so far.
    pub fn starts_so_far(&self) -> u64 {
        self.0.starts.value()
    }

    /// A worker ended.
    pub fn worker_ended(&self, reason: ExitReason) {
        self.0.exits[reason as usize].add(1);
    }

    /// A worker said so many things that nobody waited for.
    pub fn message_dropped(&self, reason: Dropping, messages: u64) {
        if messages > 0 {
            self.0.dropped[reason as usize].add(messages);
        }
    }

    /// How many workers ended so far for this reason.
    pub fn exits_so_far(&self, reason: ExitReason) -> u64 {
        self.0.exits[reason as usize].value()
    }
}

impl RouteMetrics {
    /// A request was answered with this status (100 to 599) after this long.
    pub fn request(&self, status: u16, time: Duration) {
        self.route.statuses.count(status);
        self.route.seconds.observe(time);
    }

    /// Counts a call of this route that ended. The route must have named its pool.
    pub fn call(&self, outcome: CallOutcome) {
        debug_assert!(self.calls.is_some(), "a route without a pool makes no calls");
        if let Some(calls) = &self.calls {
            calls.outcomes.count(outcome);
        }
    }

    /// How the cache served a request.
    pub fn cache(&self, result: CacheResult) {
        self.route.cache[result as usize].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(page: &str, name: &str) -> Option<String> {
        let line = page.lines().find(|line| line.starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    }

    #[test]
    fn everything_counted_is_shown_under_its_name() {
        let metrics = Metrics::new();
        let (pool, route) = (metrics.pool("fib"), metrics.route("GET /fib", Some("fib")));
        route.request(200, Duration::from_millis(3));
        route.call(CallOutcome::Ok);
        route.call(CallOutcome::Failed(Code::Timeout));
        route.cache(CacheResult::Collapsed);
        pool.queued_for(Duration::from_micros(70));
        pool.worked_for(Duration::from_millis(2));
        pool.queue_length(5);
        pool.workers(WorkerCounts { starting: 1, ready: 2, busy: 3, leaving: 4 });
        pool.worker_started();
        pool.worker_ended(ExitReason::TooBig);
        pool.message_dropped(Dropping::Late, 2);
        metrics.connections(3);
        metrics.connections(-1);
        metrics.cache_bytes(77);
        metrics.log_dropped(9);
        let page = metrics.render();
        for (name, number) in [
            ("httpipe_requests_total{route=\"GET /fib\",status=\"200\"}", "1"),
            ("httpipe_calls_total{pool=\"fib\",route=\"GET /fib\",outcome=\"ok\"}", "1"),
            ("httpipe_calls_total{pool=\"fib\",route=\"GET /fib\",outcome=\"timeout\"}", "1"),
            ("httpipe_request_seconds_count{route=\"GET /fib\"}", "1"),
            ("httpipe_queue_seconds_sum{pool=\"fib\"}", "0.000070000"),
            ("httpipe_work_seconds_bucket{pool=\"fib\",le=\"0.0025\"}", "1"),
            ("httpipe_queue_length{pool=\"fib\"}", "5"),
            ("httpipe_workers{pool=\"fib\",state=\"starting\"}", "1"),
            ("httpipe_workers{pool=\"fib\",state=\"leaving\"}", "4"),
            ("httpipe_worker_starts_total{pool=\"fib\"}", "1"),
            ("httpipe_worker_exits_total{pool=\"fib\",reason=\"too_big\"}", "1"),
            ("httpipe_worker_exits_total{pool=\"fib\",reason=\"stopped\"}", "0"),
            ("httpipe_messages_dropped_total{pool=\"fib\",reason=\"late\"}", "2"),
            ("httpipe_cache_total{route=\"GET /fib\",result=\"collapsed\"}", "1"),
            ("httpipe_cache_bytes ", "77"),
            ("httpipe_connections ", "2"),
            ("httpipe_log_dropped_total ", "9"),
        ] {
            assert_eq!(sample(&page, name).as_deref(), Some(number), "{name}\n{page}");
        }
    }

    #[test]
    fn every_name_is_on_the_page_once_and_in_order() {
        let page = Metrics::new().render();
        let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let expected =
            names::ALL.iter().map(|metric| format!("{} {}", metric.name, metric.kind.word()));
        assert_eq!(typed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn no_sample_is_written_twice_when_a_route_moves_to_another_pool() {
        let metrics = Metrics::new();
        for pool in ["old", "new"] {
            metrics.pool(pool);
            let route = metrics.route("GET /", Some(pool));
            route.request(200, Duration::ZERO);
            route.call(CallOutcome::Ok);
        }
        let page = metrics.render();
        let mut series: Vec<&str> =
            page.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all);
        assert!(page.contains("httpipe_requests_total{route=\"GET /\",status=\"200\"} 2\n"));
    }

    #[test]
    fn a_handle_asked_for_again_is_the_same() {
        let metrics = Metrics::new();
        metrics.pool("a").worker_started();
        metrics.pool("a").worker_started();
        metrics.pool("b").worker_started();
        assert_eq!(metrics.pool("a").starts_so_far(), 2);
        metrics.pool("a").queue_length(4);
        assert_eq!(metrics.pool("a").queue_length_now(), 4);
    }

    #[test]
    fn reasons_and_results_are_listed_in_the_order_of_their_places() {
        assert!(
            ExitReason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place)
        );
        assert!(
            CacheResult::ALL.iter().enumerate().all(|(place, result)| *result as usize == place)
        );
        assert!(Dropping::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
        for reason in Dropping::ALL {
            assert!(names::MESSAGES_DROPPED.help.contains(&format!("`{}`", reason.label())));
        }
        for reason in ExitReason::ALL {
            assert!(names::WORKER_EXITS.help.contains(&format!("`{}`", reason.label())));
        }
    }

    #[test]
    fn counts_of_many_threads_add_up() {
        let metrics = Metrics::new();
        let outcomes =
            [CallOutcome::Ok, CallOutcome::Failed(Code::Timeout), CallOutcome::Abandoned];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let route = metrics.route("GET /", Some("p"));
                    for round in 0..10_000_u32 {
                        route.request(200, Duration::from_micros(u64::from(round)));
                        route.call(outcomes[round as usize % 3]);
                    }
                });
            }
        });
        let page = metrics.render();
        let calls = |outcome| {
            let name =
                format!("httpipe_calls_total{{pool=\"p\",route=\"GET /\",outcome=\"{outcome}\"}}");
            sample(&page, &name).and_then(|number| number.parse::<u32>().ok())
        };
        assert_eq!(
            [calls("ok"), calls("timeout"), calls("abandoned")],
            [Some(13_336), Some(13_332), Some(13_332)]
        );
        assert!(page.contains("httpipe_request_seconds_count{route=\"GET /\"} 40000\n"));
    }
}
