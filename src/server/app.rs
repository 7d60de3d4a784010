//! What is built from a load of the configuration, and how a reload replaces it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio_util::task::TaskTracker;

use crate::base::ExitReason;
use crate::cache::{Cache, Scope, fingerprint};
use crate::call::{Desk, Gateway, RemoteGateway};
use crate::config::{Config, ConfigSource, Hosts, PoolSettings, RouteAction};
use crate::front::Front;
use crate::observe::log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::pool::{Pool, Services};

/// How long a new worker without a probe must run before a reload relies on it.
const TRIAL: Duration = Duration::from_secs(1);

/// What is built from one load of the configuration. Each request is answered by one.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) front: Arc<Front>,
    pub(super) gateway: Gateway,
    pools: Vec<Rc<Pool>>,
    config: Config,
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
    access: AccessLog,
    source: ConfigSource,
    draining: Cell<bool>,
    /// Every pool ever started that still exists.
    pools: RefCell<Vec<Weak<Pool>>>,
    /// Held during a reload, so that there is one at a time.
    reloading: Mutex<()>,
}

impl Server {
    /// Starts the pools of a configuration.
    pub(super) fn start(
        config: Config,
        source: ConfigSource,
        services: Services,
        access: AccessLog,
    ) -> Rc<Self> {
        let cache = Arc::new(Cache::new(&config.cache));
        let start =
            |settings: &Arc<PoolSettings>| Pool::start(Arc::clone(settings), services.clone());
        let pools: Vec<Rc<Pool>> = config.pools.iter().map(start).collect();
        let living = pools.iter().map(Rc::downgrade).collect();
        let new = Generation::new(config, pools, &cache, &services, &access);
        let remote = new.remote(&services.tasks);
        Rc::new(Self {
            current: RefCell::new(Rc::new(new)),
            remote: watch::Sender::new(remote),
            services,
            cache,
            access,
            source,
            draining: Cell::new(false),
            pools: RefCell::new(living),
            reloading: Mutex::new(()),
        })
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

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.services.metrics
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Refuses new requests from now on.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.current().front.drain();
    }

    /// How long accepted calls may take to finish once the server stops.
    pub(super) fn drain_time(&self) -> Duration {
        self.current().config.drain
    }

    /// Stops all pools. Calls that are still open are refused.
    pub(super) async fn stop(&self, reason: ExitReason) {
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

    fn start_pool(&self, settings: &Arc<PoolSettings>) -> Rc<Pool> {
        let pool = Pool::start(Arc::clone(settings), self.services.clone());
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Rc::downgrade(&pool));
        pool
    }

    /// Loads the configuration again and replaces the current one. A pool keeps its workers if
    /// its program is unchanged. Otherwise new workers are started, and the old ones go only
    /// when the new ones are ready.
    ///
    /// # Errors
    ///
    /// The problems, in words. The current configuration stays.
    pub(super) async fn reload(&self) -> Result<(), String> {
        match self.reloading.try_lock() {
            Ok(one) => self.reload_alone(&one).await,
            Err(_) => Err("another reload is under way".to_owned()),
        }
    }

    /// Reloads after the reload that is under way, if there is one: that one may have read an
    /// older file. For SIGHUP, whose sender cannot be told to try again.
    pub(super) async fn reload_after_all(&self) -> Result<(), String> {
        self.reload_alone(&self.reloading.lock().await).await
    }

    async fn reload_alone(&self, _one: &MutexGuard<'_, ()>) -> Result<(), String> {
        if self.draining.get() {
            return Err("the server is stopping".to_owned());
        }
        let config = self.source.load().map_err(|problems| problems.to_string())?;
        let old = self.current();
        note_unchangeable(&old.config, &config);
        let mut pools = Vec::new();
        let mut fresh = Vec::new();
        for settings in &config.pools {
            let kept = old.pool_with_program(settings);
            if kept.is_none() {
                fresh.push(self.start_pool(settings));
            }
            pools.push(
                kept.or_else(|| fresh.last().cloned()).expect("a pool is either kept or started"),
            );
        }
        let mut ready = all_ready(&fresh).await;
        if self.draining.get() {
            // The new front would accept requests again.
            ready = Err("the server is stopping".to_owned());
        }
        if let Err(why) = ready {
            for pool in fresh {
                pool.stop(ExitReason::Reloaded).await;
            }
            return Err(why);
        }
        for (pool, settings) in pools.iter().zip(&config.pools) {
            pool.adjust(Arc::clone(settings));
        }
        self.put_in_place(config, pools, &old);
        tracing::info!(started = fresh.len(), "reloaded");
        Ok(())
    }

    fn put_in_place(&self, config: Config, pools: Vec<Rc<Pool>>, old: &Rc<Generation>) {
        let new = Generation::new(config, pools, &self.cache, &self.services, &self.access);
        self.remote.send_replace(new.remote(self.tasks()));
        let new = Rc::new(new);
        *self.current.borrow_mut() = Rc::clone(&new);
        for pool in &old.pools {
            if !new.pools.iter().any(|other| Rc::ptr_eq(other, pool)) {
                self.tasks().spawn_local(let_go(Rc::clone(pool)));
            }
        }
    }
}

impl Generation {
    fn new(
        config: Config,
        pools: Vec<Rc<Pool>>,
        cache: &Arc<Cache>,
        services: &Services,
        access: &AccessLog,
    ) -> Self {
        let metrics = &services.metrics;
        let routes = config.routes.iter().map(|route| {
            let pool = match &route.action {
                RouteAction::Text { .. } => None,
                RouteAction::Call(call) => Some(config.pools[call.pool].name.as_str()),
            };
            Arc::new(metrics.route(&route.label, pool))
        });
        let desk = Desk::new(&pools, routes.collect(), services.tasks.clone());
        let programs: Vec<u128> =
            config.pools.iter().map(|pool| fingerprint(&pool.program)).collect();
        let scopes = config.routes.iter().map(|route| {
            let program = match &route.action {
                RouteAction::Text { .. } => 0,
                RouteAction::Call(call) => programs[call.pool],
            };
            Scope::new(program, route)
        });
        Self {
            front: Arc::new(Front::new(&config, metrics, access.clone())),
            gateway: Gateway::local(desk, Arc::clone(cache), scopes.collect()),
            pools,
            config,
        }
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

    fn pool_with_program(&self, settings: &PoolSettings) -> Option<Rc<Pool>> {
        let same = |pool: &&Rc<Pool>| pool.settings().program == settings.program;
        self.pools.iter().find(same).cloned()
    }
}

/// Waits until each of these pools has a ready worker. A worker without a probe, banner or
/// greeting counts as ready as soon as it runs, so it must also keep running for a moment.
async fn all_ready(pools: &[Rc<Pool>]) -> Result<(), String> {
    for pool in pools {
        let settings = pool.settings();
        let patience = settings.rules.start_timeout + Duration::from_secs(1);
        let in_time = tokio::time::timeout(patience, pool.wait_ready()).await.is_ok();
        let is_asked = settings.program.start.probe.is_some()
            || settings.program.start.ready.is_some()
            || !settings.program.start.hello.is_empty();
        if in_time && !is_asked {
            tokio::time::sleep(TRIAL.min(patience)).await;
        }
        let exits = pool.report().exits;
        if !in_time || (!is_asked && !exits.is_empty()) {
            let how = exits.last().map(|exit| format!(" ({})", exit.how)).unwrap_or_default();
            let name = pool.name();
            return Err(format!(
                "no worker of the new pool `{name}` became ready{how}; the log has its last lines"
            ));
        }
    }
    Ok(())
}

/// Stops a pool of an earlier generation when its last call is answered, calls of requests that
/// are still being read included. The wait needs no limit: each call and each request has its
/// own, and `drain` is for a server that stops.
async fn let_go(pool: Rc<Pool>) {
    pool.wait_unused().await;
    pool.stop(ExitReason::Reloaded).await;
    // If no other pool has its name, nothing updates its gauges after this.
    pool.refresh_gauges();
}

/// Warns of changed keys that are read only at the start.
fn note_unchangeable(old: &Config, new: &Config) {
    let changed = [
        ("listen", old.listen != new.listen),
        ("admin", old.admin != new.admin),
        ("threads", old.threads != new.threads),
        ("log", old.log != new.log),
        ("limits", old.limits != new.limits),
        ("cache.memory", old.cache != new.cache),
    ];
    for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "changed; takes effect after a restart");
    }
}
