//! The other servers that share calls with this one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::pool::{Pool, Services};
use crate::report::spread::{HostPoolStatus, HostStatus, SpreadStatus};
use crate::spread::cluster::{Cluster, OtherHostPool};

/// The other servers that share calls with this one.
#[derive(Clone, Debug)]
pub(super) struct Sharing(Rc<Cluster>);

impl Sharing {
    /// Begins to share calls; `has_callers`: calls may come to this server itself. `None` if the configuration says nothing of it.
    pub(super) fn start(config: &Config, has_callers: bool, services: &Services) -> Option<Self> {
        let settings = config.spread.as_ref()?;
        let metrics = Arc::clone(&services.metrics);
        Some(Self(Cluster::start(settings, has_callers, metrics)))
    }

    /// Shares the calls of a pool, if its settings say so.
    pub(super) fn join(&self, pool: &Rc<Pool>) {
        self.0.join(pool);
    }

    /// A pool that a reload has replaced takes no more calls of others.
    pub(super) fn leave(&self, pool: &Rc<Pool>) {
        self.0.leave(pool);
    }

    /// Waits until others know how their calls in such a pool have ended.
    pub(super) async fn has_left(&self, pool: &Pool) {
        self.0.has_left(pool).await;
    }

    /// Takes no further calls of others.
    pub(super) fn drain(&self) {
        self.0.drain();
    }

    /// Waits until no call of another server is here.
    pub(super) async fn becomes_empty(&self) {
        self.0.becomes_empty().await;
    }

    /// Brings the gauges of the shared pools up to date.
    pub(super) fn refresh_gauges(&self) {
        self.0.refresh_gauges();
    }

    /// Returns what operators are told.
    pub(super) fn status(&self) -> SpreadStatus {
        let link = self.0.report();
        let hosts = self.0.others().into_iter().map(|host| HostStatus {
            node: host.node.to_string(),
            machine: host.machine,
            draining: host.draining,
            heard: host.heard,
            pools: host.pools.into_iter().map(pool_status).collect(),
        });
        SpreadStatus {
            connected: link.connected,
            server: link.server,
            since: link.since.map(|at| SystemTime::now().duration_since(at).unwrap_or_default()),
            last_error: link.last_error,
            hosts: hosts.collect(),
        }
    }
}

fn pool_status(pool: OtherHostPool) -> HostPoolStatus {
    let OtherHostPool { name, workers, busy, shares, differs } = pool;
    HostPoolStatus { name, workers, busy, shares, differs }
}
