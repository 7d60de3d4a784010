//! The metrics of a server, and the handles through which pools, routes and the server count.
//!
//! A pool or route gets its handle once, when it is made. The handle holds the counters
//! themselves, so counting is a few atomic additions, without a look-up or a lock. Series live as
//! long as the server, through reloads too: a counter must never start again.

mod callers;
mod counters;
mod groups;
mod jobs;
mod labels;
mod metric;
pub mod names;
mod series;
mod shared;
mod spread;
pub mod text;
mod tls_names;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::callers::CallerMetrics;
pub use self::labels::{
    AgentResult, CacheResult, CallOutcome, Denial, Dropping, Handshake, OperatorAction,
    SharedResult, Turned,
};
#[cfg(feature = "nats")]
pub use self::labels::{AwayEnd, ClaimEnd};
#[cfg(feature = "nats")]
pub use self::series::SharedPoolMetrics;
use self::series::{CallSeries, Numbers, PoolSeries, RouteSeries, Series, ServerSeries};
pub use self::series::{JobMetrics, PoolJobs, SharedMetrics, SpreadMetrics};
use self::text::MetricsPage;
use crate::base::{Conduct, ExitReason, WorkerCounts};
use crate::report::GroupStatus;

/// All metrics of one server. Two servers in one process share nothing.
#[derive(Debug, Default)]
pub struct Metrics {
    server: ServerSeries,
    series: Mutex<Series>,
}

/// What one pool counts.
#[derive(Clone, Debug)]
pub struct PoolMetrics(Arc<PoolSeries>);

/// What one route counts.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    route: Arc<RouteSeries>,
    /// `None` if the route makes no calls.
    calls: Option<Arc<CallSeries>>,
    pool: Option<PoolMetrics>,
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the handle of the pool with this name. The same name gives the same counters.
    pub fn pool(&self, name: &str) -> PoolMetrics {
        let pools = &mut self.series().pools;
        let known = pools.iter().find(|pool| pool.name == name);
        PoolMetrics(known.cloned().unwrap_or_else(|| {
            let new = Arc::new(PoolSeries { name: name.to_owned(), ..PoolSeries::default() });
            pools.push(Arc::clone(&new));
            new
        }))
    }

    /// Returns the handle of the route with this label (`none` for requests without a route).
    /// A route that makes calls names its pool.
    pub fn route(&self, label: &str, pool: Option<&str>) -> RouteMetrics {
        let (label, pool) = (label.to_owned(), pool.map(str::to_owned));
        let counters = pool.as_deref().map(|pool| self.pool(pool));
        let mut series = self.series();
        let Series { routes, calls, by_label, .. } = &mut *series;
        // There may be thousands, all asked for again at each reload.
        let places = by_label.entry(label.clone()).or_insert_with(|| {
            routes.push(Arc::new(RouteSeries { label: label.clone(), ..RouteSeries::default() }));
            (routes.len() - 1, Vec::new())
        });
        let route = Arc::clone(&routes[places.0]);
        let calls = pool.map(|pool| {
            let known = places.1.iter().find(|place| calls[**place].pool == pool);
            let place = known.copied().unwrap_or_else(|| {
                let new = CallSeries { pool, route: label, ..CallSeries::default() };
                calls.push(Arc::new(new));
                places.1.push(calls.len() - 1);
                calls.len() - 1
            });
            Arc::clone(&calls[place])
        });
        RouteMetrics { route, calls, pool: counters }
    }

    /// Returns what is counted of callers.
    pub fn callers(&self) -> Arc<CallerMetrics> {
        Arc::clone(&self.server.callers)
    }

    /// Counts a connection that opened (+1) or closed (-1).
    pub fn connections(&self, change: i64) {
        self.server.connections.change(change);
    }

    /// Counts a connection that was closed because its address had too many.
    pub fn connection_refused(&self) {
        self.server.connections_refused.add(1);
    }

    /// Returns how many connections of callers are open.
    pub fn connections_now(&self) -> i64 {
        self.server.connections.value()
    }

    /// Counts a TLS handshake that ended.
    pub fn handshake(&self, result: Handshake) {
        self.server.handshakes[result as usize].add(1);
    }

    /// Sets how many seconds are left until the certificate ends.
    pub fn tls_expires(&self, seconds: u64) {
        self.server.tls_expires.set(seconds);
    }

    /// Sets how many bytes the cache holds.
    pub fn cache_bytes(&self, bytes: u64) {
        self.server.cache_bytes.set(bytes);
    }

    /// Sets how many bytes of bodies and answers connections hold.
    pub fn held_bytes(&self, bytes: u64) {
        self.server.held_bytes.set(bytes);
    }

    /// Counts a request to the admin listener that was turned away.
    pub fn admin_denied(&self, reason: Denial) {
        self.server.admin_denied[reason as usize].add(1);
    }

    /// Counts what an operator made the server do.
    pub fn admin_action(&self, action: OperatorAction) {
        self.server.admin_actions[action as usize].add(1);
    }

    /// Counts a connection to the agent port.
    pub fn agent_asked(&self, result: AgentResult) {
        self.server.agent_asked[result as usize].add(1);
    }

    /// Sets how many taps are open.
    pub fn taps(&self, taps: usize) {
        self.server.taps.set(taps as u64);
    }

    /// What is counted of jobs. A server that never asks for it has no samples of them.
    pub fn jobs(&self) -> Arc<JobMetrics> {
        Arc::clone(self.server.jobs.get_or_init(Arc::default))
    }

    /// What is counted of the shared cache. A server that never asks for it has no samples of it.
    pub fn shared_cache(&self) -> Arc<SharedMetrics> {
        Arc::clone(self.server.shared.get_or_init(Arc::default))
    }

    /// What is counted of the servers that share calls. A server that never asks for it has no samples
    /// of them.
    #[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing is counted"))]
    pub fn spread(&self) -> Arc<SpreadMetrics> {
        Arc::clone(self.server.spread.get_or_init(Arc::default))
    }

    /// Counts log lines that were lost.
    pub fn log_dropped(&self, lines: u64) {
        self.server.log_dropped.add(lines);
    }

    /// Counts lines that were lost of a log of requests in a file of its own.
    pub fn access_log_dropped(&self, lines: u64) {
        self.server.access_log_dropped.add(lines);
    }

    /// Returns how many log lines were lost so far.
    pub fn log_dropped_so_far(&self) -> u64 {
        self.server.log_dropped.value()
    }

    /// Writes every metric in Prometheus' text format, to be served as [`text::CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let numbers = Numbers { server: &self.server, series: &self.series() };
        let mut page = MetricsPage::default();
        for metric in names::ALL {
            page.metric(metric.name, metric.kind.word(), metric.help);
            (metric.samples)(&numbers, &mut page.samples(metric.name, metric.labels));
        }
        page.finish()
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        // Counters are right at any moment, so a panic while they were held does no harm.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolMetrics {
    /// Counts how long a call waited in the queue, once the call has ended.
    pub fn queued_for(&self, time: Duration) {
        self.0.queue.observe(time);
    }

    /// Counts how long a call was in its last worker, once the call has ended.
    pub fn worked_for(&self, time: Duration) {
        self.0.work.observe(time);
    }

    /// Counts a group of so many calls that a worker was given.
    pub fn gave_together(&self, calls: usize) {
        self.0.groups.observe(calls);
    }

    /// Returns how many calls workers were given together.
    pub fn groups(&self) -> GroupStatus {
        self.0.groups.status()
    }

    /// Returns how many requests the cache has answered for this pool.
    pub fn hits(&self) -> u64 {
        self.0.hits.value()
    }

    /// Sets how many calls wait.
    pub fn queue_length(&self, calls: usize) {
        self.0.queue_length.set(calls as u64);
    }

    /// Sets how many calls can be in workers at once.
    pub fn slots(&self, slots: usize) {
        self.0.slots.set(slots as u64);
    }

    /// Sets how many workers there may be.
    pub fn workers_most(&self, most: usize) {
        self.0.workers_most.set(most as u64);
    }

    /// Sets how many questions are refused because they cost several workers.
    pub fn poisonous(&self, questions: usize) {
        self.0.poisonous.set(questions as u64);
    }

    /// Sets how many bytes of exchanges are kept for records of workers.
    pub fn record_bytes(&self, bytes: u64) {
        self.0.record_bytes.set(bytes);
    }

    /// Sets what the workers that live use: their CPU time so far, and their memory in bytes.
    pub fn workers_use(&self, cpu: Duration, memory: u64) {
        let living = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.0.cpu.raise_to(self.0.cpu_ended.value().saturating_add(living));
        self.0.memory.set(memory);
    }

    /// Sets how many workers are in each state.
    pub fn workers(&self, counts: WorkerCounts) {
        for (gauge, (_, count)) in self.0.workers.iter().zip(counts.by_state()) {
            gauge.set(count as u64);
        }
    }

    /// Counts a worker that is started.
    pub fn worker_started(&self) {
        self.0.starts.add(1);
    }

    /// Counts a worker that a fork server made.
    pub fn worker_forked(&self) {
        self.0.forks.add(1);
    }

    /// Counts a fork server that ended by itself or could not load its program.
    pub fn fork_server_lost(&self) {
        self.0.fork_servers_lost.add(1);
    }

    /// Counts a worker that ended, and the CPU time that it had used.
    pub fn worker_ended(&self, reason: ExitReason, cpu: Duration) {
        self.0.exits[reason as usize].add(1);
        self.0.cpu_ended.add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a call whose worker was found to do this.
    pub fn diagnosed(&self, conduct: Conduct) {
        self.0.diagnoses[conduct as usize].add(1);
    }

    /// Counts messages of workers that were dropped.
    pub fn message_dropped(&self, reason: Dropping, messages: u64) {
        if messages > 0 {
            self.0.dropped[reason as usize].add(messages);
        }
    }
}

impl RouteMetrics {
    /// Returns the match text of the route.
    pub fn label(&self) -> &str {
        &self.route.label
    }

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
        if let (CacheResult::Hit, Some(PoolMetrics(pool))) = (result, &self.pool) {
            pool.hits.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Code;

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
        pool.worker_ended(ExitReason::TooBig, Duration::from_millis(1_500));
        pool.workers_use(Duration::from_millis(500), 4_096);
        pool.slots(11);
        pool.workers_most(9);
        pool.poisonous(8);
        pool.record_bytes(66);
        pool.message_dropped(Dropping::Late, 2);
        pool.diagnosed(Conduct::Silent);
        metrics.connections(3);
        metrics.connections(-1);
        metrics.connection_refused();
        metrics.cache_bytes(77);
        metrics.held_bytes(88);
        metrics.admin_denied(Denial::Foreign);
        metrics.admin_action(OperatorAction::KillWorker);
        metrics.agent_asked(AgentResult::Refused);
        metrics.log_dropped(9);
        metrics.access_log_dropped(10);
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
            ("httpipe_diagnoses_total{pool=\"fib\",verdict=\"silent\"}", "1"),
            ("httpipe_cache_total{route=\"GET /fib\",result=\"collapsed\"}", "1"),
            ("httpipe_slots{pool=\"fib\"}", "11"),
            ("httpipe_workers_most{pool=\"fib\"}", "9"),
            ("httpipe_poisonous{pool=\"fib\"}", "8"),
            ("httpipe_record_bytes{pool=\"fib\"}", "66"),
            ("httpipe_worker_cpu_seconds_total{pool=\"fib\"}", "2.000000000"),
            ("httpipe_worker_memory_bytes{pool=\"fib\"}", "4096"),
            ("httpipe_cache_bytes ", "77"),
            ("httpipe_held_bytes ", "88"),
            ("httpipe_connections ", "2"),
            ("httpipe_connections_refused_total ", "1"),
            ("httpipe_admin_denied_total{reason=\"foreign\"}", "1"),
            ("httpipe_admin_actions_total{action=\"kill_worker\"}", "1"),
            ("httpipe_agent_total{result=\"refused\"}", "1"),
            ("httpipe_log_dropped_total ", "9"),
            ("httpipe_access_log_dropped_total ", "10"),
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
        let page = metrics.render();
        let starts =
            |pool| sample(&page, &format!("httpipe_worker_starts_total{{pool=\"{pool}\"}}"));
        assert_eq!([starts("a"), starts("b")], [Some("2".to_owned()), Some("1".to_owned())]);
    }

    fn help(name: &str) -> &'static str {
        names::ALL.iter().find(|metric| metric.name == name).expect("it is a metric").help
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
        assert!(Denial::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
        assert!(
            OperatorAction::ALL.iter().enumerate().all(|(place, action)| *action as usize == place)
        );
        for reason in Denial::ALL {
            let label = format!("`{}`", reason.label());
            assert!(help("httpipe_admin_denied_total").contains(&label));
        }
        for action in OperatorAction::ALL {
            let label = format!("`{}`", action.label());
            assert!(help("httpipe_admin_actions_total").contains(&label));
        }
        for reason in Dropping::ALL {
            assert!(
                help("httpipe_messages_dropped_total").contains(&format!("`{}`", reason.label()))
            );
        }
        for conduct in Conduct::ALL {
            assert!(help("httpipe_diagnoses_total").contains(&format!("`{}`", conduct.label())));
        }
        for reason in ExitReason::ALL {
            assert!(help("httpipe_worker_exits_total").contains(&format!("`{}`", reason.label())));
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
