//! What a generation has of its configuration alone, made on a thread that keeps no call waiting.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::cache::shared::SharedScope;
use crate::cache::{Scope, fingerprint};
use crate::config::{Config, LimitSettings, RouteAction};
use crate::front::Front;
use crate::front::docs::DocsSource;
use crate::front::jobs::FrontJobs;
use crate::gate::{GateCounts, KeyGate};
use crate::jobs::JobDesk;
use crate::observe::log::AccessLog;
use crate::observe::metrics::{Metrics, RouteMetrics};
use crate::sync::memory::Memory;

/// What a generation has of its configuration alone. For thousands of routes it takes long to make.
pub(super) struct Prepared {
    pub(super) config: Arc<Config>,
    pub(super) editions: Vec<u64>,
    pub(super) front: Arc<Front>,
    pub(super) scopes: Arc<[Scope]>,
    pub(super) shared_scopes: Arc<[Option<SharedScope>]>,
    pub(super) routes: Vec<Arc<RouteMetrics>>,
    pub(super) described: Arc<DocsSource>,
}

/// What all generations share and each is made with.
pub(super) struct Common {
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: AccessLog,
    pub(super) memory: Arc<Memory>,
    pub(super) gate: Arc<GateCounts>,
    pub(super) limits: LimitSettings,
    pub(super) is_private: bool,
    pub(super) jobs: Option<FrontJobs>,
}

/// What fronts need to know of the jobs.
pub(super) fn front_jobs(desk: Option<&JobDesk>, tasks: &TaskTracker) -> Option<FrontJobs> {
    desk.map(|desk| FrontJobs::new(desk.clone(), tasks.clone()))
}

impl Common {
    /// Prepares the generation of a configuration. `editions` are those of its pools.
    pub(super) fn prepare(self, config: Arc<Config>, editions: Vec<u64>) -> Prepared {
        let Self { metrics, access, memory, gate, limits, is_private, jobs } = self;
        let routes = route_metrics(&config, &metrics);
        let (scopes, shared_scopes) =
            (scopes(&config, &editions), shared_scopes(&config, &editions));
        let gate = KeyGate::new(&config.callers, &gate);
        let front = Front::new(&config, limits, &metrics, access, memory);
        let front = front.guarded(gate).with_jobs(jobs);
        let described = Arc::new(DocsSource::new(Arc::clone(&config)));
        let front = Arc::new(front.described(&config, Arc::clone(&described), is_private));
        Prepared { config, editions, front, scopes, shared_scopes, routes, described }
    }
}

/// The metrics of the routes.
pub(super) fn route_metrics(config: &Config, metrics: &Metrics) -> Vec<Arc<RouteMetrics>> {
    let routes = config.routes.iter().map(|route| {
        let pool = match &route.action {
            RouteAction::Text { .. } => None,
            RouteAction::Call(call) => Some(config.pools[call.pool].name.as_str()),
        };
        Arc::new(metrics.route(&route.label, pool))
    });
    routes.collect()
}

/// Where the answers of the routes are kept. `editions` are those of the pools.
pub(super) fn scopes(config: &Config, editions: &[u64]) -> Arc<[Scope]> {
    let programs = config.pools.iter().zip(editions);
    let programs: Vec<u128> = programs
        .map(|(pool, edition)| fingerprint(&(&pool.program, &pool.files, edition)))
        .collect();
    let scopes = config.routes.iter().map(|route| {
        let program = match &route.action {
            RouteAction::Text { .. } => 0,
            RouteAction::Call(call) => programs[call.pool],
        };
        Scope::new(program, route)
    });
    scopes.collect()
}

/// Where servers share the answers of the routes. `editions` are those of the pools.
fn shared_scopes(config: &Config, editions: &[u64]) -> Arc<[Option<SharedScope>]> {
    if config.cache.shared.is_none() {
        return Arc::default();
    }
    let scopes = config.routes.iter().map(|route| match &route.action {
        RouteAction::Text { .. } => None,
        RouteAction::Call(call) => {
            SharedScope::new(&config.pools[call.pool], editions[call.pool], route)
        }
    });
    scopes.collect()
}
