//! Answers operators: status, reload, and poisonous questions to forgive.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::about::{about, keeps_answers};
use super::agent_desk::AgentDesk;
use super::app::Server;
use super::background;
use super::diagnoses;
use super::job_desk;
use super::sharing::Sharing;
use crate::admin::{JobObstacle, JobRequest, Operator, Replace};
use crate::agent::Agent;
use crate::base::WorkerId;
use crate::cache::redis::SharedCache;
use crate::config::{Hosts, Secret};
use crate::observe::metrics::{Metrics, SharedResult};
use crate::observe::tap::Tap;
use crate::pool::crew::Phase;
use crate::pool::{Pool, Report};
use crate::report::spread::AwayStatus;
use crate::report::{
    CacheStatus, ExitStatus, Head, PoisonousStatus, PoolStatus, QueueStatus, ServerStatus,
    SharedCacheStatus, Status, VERSION, WorkerRecord, WorkerState, WorkerStatus,
};
use crate::worker::meter::Meter;

/// The desk of the admin listener.
#[derive(Debug)]
pub(super) struct AdminDesk {
    server: Rc<Server>,
    listen: Vec<String>,
    started: Instant,
    meter: Meter,
    agent: Option<Rc<Agent<AgentDesk>>>,
}

impl AdminDesk {
    /// Creates the desk of this server, whose callers connect at `listen`.
    pub(super) fn new(
        server: Rc<Server>,
        listen: Vec<String>,
        agent: Option<Rc<Agent<AgentDesk>>>,
    ) -> Self {
        Self { server, listen, started: Instant::now(), meter: Meter::default(), agent }
    }
}

impl AdminDesk {
    /// Puts in what workers use, as far as it was measured.
    fn fill_in_usage(&self, pool: &mut PoolStatus) {
        for worker in &mut pool.workers {
            let reading = self.meter.reading(worker.pid);
            worker.cpu = reading.and_then(|reading| reading.cores);
            worker.memory = reading.map(|reading| reading.memory.0);
        }
        pool.cpu = pool.workers.iter().filter_map(|worker| worker.cpu).reduce(|sum, it| sum + it);
        pool.memory =
            pool.workers.iter().filter_map(|worker| worker.memory).reduce(|sum, it| sum + it);
    }

    /// Sets the metrics of what workers use. A pool that a reload replaces has the name of its
    /// successor, and its workers count until they have ended.
    fn set_usage(&self) {
        let mut used: BTreeMap<String, (Duration, u64)> = BTreeMap::new();
        for pool in self.server.living() {
            let (cpu, memory) = used.entry(pool.name()).or_default();
            for process in pool.processes().into_values() {
                let Some(reading) = self.meter.reading(process) else { continue };
                *cpu += reading.cpu;
                *memory += reading.memory.0;
            }
        }
        for (name, (cpu, memory)) in used {
            self.server.metrics().pool(&name).workers_use(cpu, memory);
        }
    }
}

fn shared_status(shared: &SharedCache, metrics: &Metrics) -> SharedCacheStatus {
    let (state, counts) = (shared.state(), metrics.shared_cache());
    let total = SharedResult::ALL.iter().map(|result| counts.count(*result)).sum::<u64>();
    let [hits, followed, misses] =
        [SharedResult::Hit, SharedResult::Followed, SharedResult::Miss].map(|it| counts.count(it));
    SharedCacheStatus {
        server: shared.place(),
        connected: state.is_connected,
        since: state.since.elapsed(),
        error: state.error,
        hits,
        followed,
        misses,
        others: total.saturating_sub(hits + followed + misses),
    }
}

impl Operator for AdminDesk {
    fn status(&self, whole: bool) -> Status {
        let app = self.server.current();
        let cache = self.server.cache();
        let metrics = self.server.metrics();
        let config = &app.config;
        let pools = app.pools().iter().enumerate().map(|(place, pool)| {
            let mut status = pool_status(pool);
            self.fill_in_usage(&mut status);
            status.about = Some(about(&pool.settings(), place, &config.routes, whole));
            status.recent.hits.take_if(|_| !keeps_answers(place, &config.routes));
            status
        });
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut status = Status {
            version: VERSION,
            at: since_epoch.as_secs_f64(),
            uptime: self.started.elapsed(),
            draining: self.server.is_draining(),
            listen: self.listen.clone(),
            connections: metrics.connections_now(),
            server: ServerStatus {
                version: env!("CARGO_PKG_VERSION").into(),
                pid: std::process::id(),
                config: self.server.source.path.as_ref().map(|path| path.display().to_string()),
                loaded: app.loaded.elapsed(),
                threads: config.threads,
            },
            notices: app.pools().iter().flat_map(|pool| diagnoses::notices(pool)).collect(),
            pools: pools.collect(),
            agent: self.agent.as_ref().map(|agent| agent.status()),
            spread: self.server.sharing().map(Sharing::status),
            background: background::status(&self.server),
            cache: CacheStatus {
                bytes: cache.bytes(),
                limit: config.cache.memory.0,
                entries: cache.entries(),
                shared: self.server.shared().map(|shared| shared_status(shared, metrics)),
            },
            log_dropped: metrics.log_dropped_so_far(),
            viewers: 0,
            taps: 0,
        };
        if !whole {
            status.hide_contents();
        }
        status.take_notice();
        status
    }

    fn hello(&self, whole: bool) -> Status {
        let mut status = self.status(whole);
        let now = Instant::now();
        for (shown, pool) in status.pools.iter_mut().zip(self.server.current().pools()) {
            shown.history = Some(pool.history(now));
        }
        status
    }

    fn next_second(&self) -> Instant {
        let seconds = self.server.seconds();
        seconds.begin_of(seconds.second_of(Instant::now()) + 1)
    }

    fn hosts(&self) -> Arc<Hosts> {
        self.server.current().hosts()
    }

    fn token(&self) -> Option<Secret> {
        self.server.admin_token()
    }

    async fn document(&self) -> (Bytes, String) {
        let described = Arc::clone(&self.server.current().described);
        let document = described.document().await;
        (document.of_callers_at(&self.listen), document.etag().to_owned())
    }

    fn taps(&self) -> usize {
        self.server.taps().len()
    }

    fn attach_tap(&self, tap: &Rc<Tap>) -> bool {
        self.server.taps().open(tap, &self.server.living())
    }

    fn record(&self, worker: WorkerId) -> Option<WorkerRecord> {
        self.server.living().iter().find_map(|pool| pool.record(worker))
    }

    async fn measure(&self) {
        let all = || {
            let pools = self.server.living();
            pools.iter().flat_map(|pool| pool.processes().into_values()).collect()
        };
        self.meter.measure(all).await;
    }

    fn refresh_gauges(&self) {
        self.set_usage();
        self.server.current().pools().iter().for_each(|pool| pool.refresh_gauges());
        self.server.metrics().cache_bytes(self.server.cache().bytes());
        self.server.metrics().held_bytes(self.server.memory().used());
        if let Some(sharing) = self.server.sharing() {
            sharing.refresh_gauges();
        }
        if let Some(desk) = self.server.desk() {
            let failing = desk.board().is_failing();
            self.server.metrics().jobs().show(job_desk::numbers(desk), failing);
        }
    }

    async fn reload(&self, replace: Replace) -> Result<String, String> {
        let server = Rc::clone(&self.server);
        // A task of its own: the operator may leave, and a reload that stops half-way would
        // leave its new workers running.
        let reload = self.server.tasks().spawn_local(async move { server.reload(&replace).await });
        match reload.await {
            Ok(reloaded) => reloaded.map(|report| report.text()).map_err(|refused| refused.why),
            Err(_) => Err("the reload ended in a fault of the server".to_owned()),
        }
    }

    fn forgive_poisonous(&self) -> usize {
        self.server.current().pools().iter().map(|pool| pool.forgive_poisonous()).sum()
    }

    fn recycle_pool(&self, name: &str) -> Option<usize> {
        let app = self.server.current();
        let pool = app.pools().iter().find(|pool| pool.name() == name)?;
        Some(pool.renew())
    }

    fn recycle_worker(&self, worker: WorkerId) -> Option<String> {
        let living = self.server.living();
        living.iter().find(|pool| pool.renew_worker(worker)).map(|pool| pool.name())
    }

    async fn jobs(&self, request: JobRequest) -> Result<serde_json::Value, JobObstacle> {
        job_desk::answer(&self.server, request).await
    }

    fn kill_worker(&self, worker: WorkerId) -> Option<String> {
        let living = self.server.living();
        living.iter().find(|pool| pool.kill_worker(worker)).map(|pool| pool.name())
    }
}

fn pool_status(pool: &Rc<Pool>) -> PoolStatus {
    let Report { name, summary, processes, counts, exits, recorded, mut routes, lately } =
        pool.report();
    let now = Instant::now();
    let workers = summary.workers.iter().map(|worker| WorkerStatus {
        id: worker.id.0,
        pid: processes.get(&worker.id).copied().unwrap_or(0),
        state: match worker.phase {
            Phase::Starting => WorkerState::Starting,
            Phase::Serving if worker.holds == 0 => WorkerState::Ready,
            Phase::Serving => WorkerState::Busy,
            Phase::Leaving => WorkerState::Leaving,
        },
        calls: worker.calls - worker.holds as u64,
        in_flight: worker.holds,
        age: worker.age,
        cpu: None,
        memory: None,
        verdict: worker.conduct.map(|conduct| conduct.label().into()),
        head: worker.head.map(|head| Head {
            call: head.call.name(),
            route: routes.remove(&head.call).unwrap_or_default().into(),
            since: head.since,
            bytes: head.bytes,
            retries: head.retries,
            abandoned: head.abandoned,
        }),
    });
    let last_exits = exits.into_iter().rev().map(|exit| ExitStatus {
        worker: exit.worker.0,
        reason: exit.reason.label().into(),
        exit: exit.how,
        ago: now.saturating_duration_since(exit.at),
        record: recorded.contains(&exit.worker),
    });
    PoolStatus {
        name,
        about: None,
        states: counts,
        workers: workers.collect(),
        slots: summary.slots,
        away: pool.elsewhere_counts().map(|(slots, calls)| AwayStatus { slots, calls }),
        tripped: summary.is_tripped,
        queue: QueueStatus {
            length: summary.queue_length,
            bytes: summary.queue_bytes,
            oldest_wait: (summary.queue_length > 0).then_some(summary.oldest_wait),
            overloaded: summary.is_overloaded,
        },
        poisonous: PoisonousStatus {
            count: summary.poisonous.len(),
            fingerprints: summary.poisonous.iter().map(ToString::to_string).collect(),
        },
        service_time: summary.service,
        last_exits: last_exits.collect(),
        sample: lately.sample,
        recent: lately.recent,
        failures: lately.failures,
        slow: lately.slow,
        cpu: None,
        memory: None,
        history: None,
    }
}
