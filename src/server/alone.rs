//! The pools of a configuration without listeners: for commands that ask them themselves.

use std::rc::Rc;
use std::sync::Arc;

use super::ServeError;
use super::begin::FirstStarts;
use super::ground::{self, Ground};
use super::prepared::{route_metrics, scopes};
use crate::base::ExitReason;
use crate::cache::Cache;
use crate::call::{Desk, Gateway};
use crate::config::{Config, ConfigSource};
use crate::pool::{Pool, Services};

/// Pools that nothing but their owner can ask.
pub struct PoolsAlone {
    /// The way from a request to its answer.
    pub gateway: Gateway,
    /// In the order of the configuration.
    pub pools: Vec<Rc<Pool>>,
}

/// Starts the pools of a configuration, does the work with them, and stops them. The work begins at
/// once: calls wait for the first worker.
///
/// # Errors
///
/// [`ServeError`], also if a pool does not start. Then the work is dropped.
pub fn run_alone<T>(
    config: &Config,
    source: &ConfigSource,
    work: impl AsyncFnOnce(&PoolsAlone) -> T,
) -> Result<T, ServeError> {
    ground::prepare(config)?;
    Ground::new(config, source)?.run(async |services, _| {
        let alone = PoolsAlone::start(config, &services);
        let starts = FirstStarts::follow(&alone.pools, true, &services.tasks);
        let result = tokio::select! {
            done = work(&alone) => Ok(done),
            not_started = starts.one_failed() => Err(not_started.into()),
        };
        for pool in &alone.pools {
            pool.stop(ExitReason::Stopped).await;
        }
        result
    })
}

impl PoolsAlone {
    fn start(config: &Config, services: &Services) -> Self {
        let start = |settings| Pool::start(Arc::clone(settings), services.clone());
        let pools: Vec<Rc<Pool>> = config.pools.iter().map(start).collect();
        let routes = route_metrics(config, &services.metrics);
        let desk = Desk::new(&pools, routes, None, services.tasks.clone());
        let cache = Arc::new(Cache::new(&config.cache));
        let gateway = Gateway::local(desk, cache, scopes(config, &vec![0; pools.len()]));
        Self { gateway, pools }
    }
}
