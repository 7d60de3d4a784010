//! What is built from a load of the configuration, and how the next one takes its place.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

use super::job_runner::JobRunner;
use super::prepared::{Common, Prepared, front_jobs};
use super::secure;
use super::sharing::Sharing;
use super::taps::OpenTaps;
use crate::base::ExitReason;
use crate::cache::Cache;
use crate::cache::redis::SharedCache;
use crate::call::{Desk, Elsewhere, Gateway, RemoteGateway};
use crate::config::{
    CallersSettings, Config, ConfigSource, Hosts, LimitSettings, PoolSettings, Secret, WhoMayAsk,
};
use crate::front::Front;
use crate::front::docs::DocsSource;
use crate::gate::GateCounts;
use crate::jobs::JobDesk;
use crate::net::Entrance;
use crate::observe::log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::observe::rings::SecondClock;
use crate::pool::{Pool, Services};
use crate::sync::memory::Memory;
use crate::systemd::ServiceManager;
use crate::worker::guard::Guard;

/// What is built from one load of the configuration. Each request is answered by one.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) front: Arc<Front>,
    pub(super) gateway: Gateway,
    pools: Vec<Rc<Pool>>,
    /// For each pool how many times its workers were replaced although nothing was seen to change.
    /// Answers kept from before are not given then.
    editions: Vec<u64>,
    pub(super) config: Arc<Config>,
    /// When the configuration was loaded.
    pub(super) loaded: Instant,
    pub(super) described: Arc<DocsSource>,
}

/// A [`Generation`] as other threads reach it.
#[derive(Clone, Debug)]
pub(super) struct RemoteGeneration {
    pub(super) front: Arc<Front>,
    pub(super) gateway: RemoteGateway,
}

/// The running server.
#[derive(Debug)]
pub(super) struct Server {
    current: RefCell<Rc<Generation>>,
    remote: watch::Sender<RemoteGeneration>,
    services: Services,
    cache: Arc<Cache>,
    shared: Option<Rc<SharedCache>>,
    memory: Arc<Memory>,
    gate: Arc<GateCounts>,
    entrance: Entrance,
    pub(super) access: AccessLog,
    pub(super) source: ConfigSource,
    pub(super) manager: Rc<ServiceManager>,
    draining: Cell<bool>,
    /// The last token of operators that was configured.
    admin_token: RefCell<Option<Secret>>,
    /// The limits of the start, which hold until the end.
    limits: LimitSettings,
    /// Only this machine can reach the callers' listeners.
    is_private: bool,
    /// Where jobs are kept; `None`: there are none.
    desk: Option<JobDesk>,
    /// What runs them; empty until the start is over.
    jobs: OnceCell<Rc<dyn JobRunner>>,
    /// The other servers that share calls; empty if there are none.
    sharing: OnceCell<Sharing>,
    /// Every pool ever started that still exists.
    pools: RefCell<Vec<Weak<Pool>>>,
    taps: OpenTaps,
    /// Held during a reload, so that there is one at a time.
    pub(super) reloading: Mutex<()>,
}

impl Server {
    /// Starts the pools of a configuration. `is_private`: only this machine can reach the callers'
    /// listeners.
    pub(super) fn start(
        config: Config,
        source: ConfigSource,
        services: Services,
        access: AccessLog,
        manager: Rc<ServiceManager>,
        is_private: bool,
        jobs: Option<JobDesk>,
    ) -> Rc<Self> {
        let cache = Arc::new(Cache::new(&config.cache));
        let shared = config.cache.shared.as_ref().and_then(|settings| {
            SharedCache::start(settings, services.metrics.shared_cache(), &services.tasks)
        });
        let memory = Memory::new(config.limits.memory.0);
        let gate = GateCounts::new(Instant::now(), &memory);
        post(&gate, &config.callers);
        let entrance = secure::entrance(&config, &services.metrics);
        let (admin_token, limits) = (config.admin.token.clone(), config.limits.clone());
        let start =
            |settings: &Arc<PoolSettings>| Pool::start(Arc::clone(settings), services.clone());
        let pools: Vec<Rc<Pool>> = config.pools.iter().map(start).collect();
        let living = pools.iter().map(Rc::downgrade).collect();
        let editions = vec![0; pools.len()];
        let common = Common {
            metrics: Arc::clone(&services.metrics),
            access: access.clone(),
            memory: Arc::clone(&memory),
            gate: Arc::clone(&gate),
            limits: limits.clone(),
            is_private,
            jobs: front_jobs(jobs.as_ref(), &services.tasks),
        };
        let prepared = common.prepare(Arc::new(config), editions);
        let new = Generation::new(prepared, pools, (&cache, shared.as_ref()), &services.tasks);
        let remote = new.remote(&services.tasks);
        let taps = OpenTaps::new(Arc::clone(&services.metrics));
        Rc::new(Self {
            current: RefCell::new(Rc::new(new)),
            remote: watch::Sender::new(remote),
            services,
            cache,
            shared,
            memory,
            gate,
            entrance,
            access,
            source,
            manager,
            draining: Cell::new(false),
            admin_token: RefCell::new(admin_token),
            limits,
            is_private,
            desk: jobs,
            jobs: OnceCell::new(),
            sharing: OnceCell::new(),
            pools: RefCell::new(living),
            taps,
            reloading: Mutex::new(()),
        })
    }

    /// Lets jobs run by this from now on.
    pub(super) fn run_jobs(&self, runner: Rc<dyn JobRunner>) {
        for pool in self.current().pools() {
            runner.feed(pool, &self.current().config);
        }
        runner.adopt(&self.current().config);
        self.jobs.get_or_init(|| runner);
    }

    /// Where jobs are kept, if any are.
    pub(super) fn desk(&self) -> Option<&JobDesk> {
        self.desk.as_ref()
    }

    /// What runs jobs, if there are any.
    pub(super) fn jobs(&self) -> Option<&Rc<dyn JobRunner>> {
        self.jobs.get()
    }

    /// The generation that new requests meet.
    pub(super) fn current(&self) -> Rc<Generation> {
        Rc::clone(&self.current.borrow())
    }

    /// The current generation for other threads; each reload sends the next one.
    pub(super) fn remote_generations(&self) -> watch::Receiver<RemoteGeneration> {
        self.remote.subscribe()
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.services.tasks
    }

    /// The guard of all processes.
    pub(super) fn guard(&self) -> &Guard {
        &self.services.guard
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.services.metrics
    }

    /// Which second it is, for the samples of all pools.
    pub(super) fn seconds(&self) -> SecondClock {
        self.services.seconds
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The cache that several servers share, if there is one.
    pub(super) fn shared(&self) -> Option<&SharedCache> {
        self.shared.as_deref()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The taps that are open.
    pub(super) fn taps(&self) -> &OpenTaps {
        &self.taps
    }

    /// Returns true if only this machine can reach the callers' listeners.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    /// What the gate counts, and the keys that are good.
    pub(super) fn gate(&self) -> &GateCounts {
        &self.gate
    }

    /// What operators show. A token that a reload removes holds until a restart: the listener may be
    /// open to others.
    pub(super) fn admin_token(&self) -> Option<Secret> {
        self.admin_token.borrow().clone()
    }

    /// What connections pass through.
    pub(super) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Is no longer ready: no more callers are to be sent here. Those that come are served.
    pub(super) fn become_unready(&self) {
        self.draining.set(true);
    }

    /// Lets each connection ask once more from now on.
    pub(super) fn part(&self) {
        self.draining.set(true);
        self.current().front.ending.part();
    }

    /// Refuses new requests, and begins no background work, from now on.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.current().front.ending.drain();
        for pool in self.living() {
            pool.close_background();
        }
        if let Some(jobs) = self.jobs() {
            jobs.drain();
        }
        self.sharing().into_iter().for_each(Sharing::drain);
    }

    /// How long accepted calls may take to finish once the server stops.
    pub(super) fn drain_time(&self) -> Duration {
        self.current().config.drain
    }

    /// Stops all pools. Calls that are still open are refused.
    pub(super) async fn stop(&self, reason: ExitReason) {
        if let Some(shared) = &self.shared {
            // Calls that wait for other servers are refused like all others.
            shared.close();
        }
        let stops = self
            .living()
            .into_iter()
            .map(|pool| self.tasks().spawn_local(async move { pool.stop(reason).await }));
        for stop in stops.collect::<Vec<_>>() {
            stop.await.ok();
        }
    }

    /// Starts nothing and hands nothing over from now on: the process is about to end.
    pub(super) fn cease(&self) {
        self.living().iter().for_each(|pool| pool.halt());
    }

    /// Every pool that still exists: those of the current generation, those that a reload has
    /// just started, and those of earlier generations that still have calls.
    pub(super) fn living(&self) -> Vec<Rc<Pool>> {
        self.pools.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Shares calls with other servers from now on.
    pub(super) fn share(&self, sharing: Sharing) {
        self.current().pools().iter().for_each(|pool| sharing.join(pool));
        self.sharing.get_or_init(|| sharing);
    }

    /// The other servers that share calls, if any may.
    pub(super) fn sharing(&self) -> Option<&Sharing> {
        self.sharing.get()
    }

    pub(super) fn start_pool(&self, settings: &Arc<PoolSettings>) -> Rc<Pool> {
        let pool = Pool::start(Arc::clone(settings), self.services.clone());
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Rc::downgrade(&pool));
        self.taps.hear(&pool);
        pool
    }

    /// Returns what prepares the next generation, on any thread.
    pub(super) fn preparing(&self) -> Common {
        Common {
            metrics: Arc::clone(&self.services.metrics),
            access: self.access.clone(),
            memory: Arc::clone(&self.memory),
            gate: Arc::clone(&self.gate),
            limits: self.limits.clone(),
            is_private: self.is_private,
            jobs: front_jobs(self.desk.as_ref(), self.tasks()),
        }
    }

    /// Replaces the current generation. `pools` are those of its configuration.
    pub(super) fn put_in_place(&self, next: Prepared, pools: Vec<Rc<Pool>>, old: &Generation) {
        self.cache.remember_only(&next.scopes);
        let caches = (&self.cache, self.shared.as_ref());
        let new = Generation::new(next, pools, caches, self.tasks());
        post(&self.gate, &new.config.callers);
        let is_new = |pool: &&Rc<Pool>| !old.pools.iter().any(|other| Rc::ptr_eq(other, pool));
        for pool in new.pools.iter().filter(is_new) {
            // Not before: it may have come up for a reload that was refused, and goes at once then.
            self.sharing().into_iter().for_each(|sharing| sharing.join(pool));
        }
        self.entrance.trust(&new.config.callers.trust);
        if let Some(token) = &new.config.admin.token {
            *self.admin_token.borrow_mut() = Some(token.clone());
        }
        if let Some(tls) = &new.config.tls {
            self.entrance.renew(tls);
        }
        self.remote.send_replace(new.remote(self.tasks()));
        let new = Rc::new(new);
        *self.current.borrow_mut() = Rc::clone(&new);
        if let Some(jobs) = self.jobs() {
            for pool in &new.pools {
                jobs.feed(pool, &new.config);
            }
            jobs.adopt(&new.config);
        }
        let has_gone = |pool: &&Rc<Pool>| !new.pools.iter().any(|other| Rc::ptr_eq(other, pool));
        for pool in old.pools.iter().filter(has_gone) {
            if self.jobs().is_some() {
                pool.feed_from(None);
            }
            self.sharing().into_iter().for_each(|sharing| sharing.leave(pool));
            self.tasks().spawn_local(let_go(Rc::clone(pool), self.sharing().cloned()));
        }
    }
}

impl Generation {
    fn new(
        prepared: Prepared,
        pools: Vec<Rc<Pool>>,
        (cache, shared): (&Arc<Cache>, Option<&Rc<SharedCache>>),
        tasks: &TaskTracker,
    ) -> Self {
        let Prepared { config, editions, front, scopes, shared_scopes, routes, described } =
            prepared;
        let elsewhere =
            shared.map(|shared| Elsewhere { cache: Rc::clone(shared), scopes: shared_scopes });
        let desk = Desk::new(&pools, routes, elsewhere, tasks.clone());
        let gateway = Gateway::local(desk, Arc::clone(cache), scopes);
        let loaded = Instant::now();
        Self { front, gateway, pools, editions, config, loaded, described }
    }

    fn remote(&self, tasks: &TaskTracker) -> RemoteGeneration {
        let (gateway, serve) = self.gateway.for_other_threads();
        tasks.spawn_local(serve);
        RemoteGeneration { front: Arc::clone(&self.front), gateway }
    }

    pub(super) fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// The names by which this server may be asked.
    pub(super) fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.config.hosts)
    }

    /// Returns the pool of this name with its edition.
    pub(super) fn pool(&self, name: &str) -> Option<(Rc<Pool>, u64)> {
        let place = self.config.pools.iter().position(|settings| settings.name == name)?;
        Some((Rc::clone(&self.pools[place]), self.editions[place]))
    }
}

/// Makes the keys of these settings the good ones.
fn post(gate: &GateCounts, callers: &CallersSettings) {
    if let WhoMayAsk::Keys(settings) = &callers.who {
        gate.post(&settings.keys);
    }
}

/// Stops a pool of an earlier generation when its last call is answered, calls of requests that
/// are still being read included. The wait needs no limit: each call and each request has its
/// own, and `drain` is for a server that stops.
async fn let_go(pool: Rc<Pool>, sharing: Option<Sharing>) {
    pool.wait_unused().await;
    if let Some(sharing) = sharing {
        // A call of another server leaves the books here before its answer has arrived there.
        sharing.has_left(&pool).await;
    }
    pool.stop(ExitReason::Reloaded).await;
    // If no other pool has its name, nothing updates its gauges after this.
    pool.refresh_gauges();
}
