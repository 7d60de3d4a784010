//! Answers operators: status, reload, and poisonous questions to forgive.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::app::Server;
use crate::admin::status::{
    CacheStatus, ExitStatus, PoisonousStatus, PoolStatus, QueueStatus, Status, VERSION,
    WorkerState, WorkerStatus,
};
use crate::admin::{Operator, Replace};
use crate::config::Hosts;
use crate::pool::crew::Phase;
use crate::pool::{Pool, Report};

/// The desk of the admin listener.
#[derive(Debug)]
pub(super) struct AdminDesk {
    server: Rc<Server>,
    listen: Vec<String>,
    started: Instant,
}

impl AdminDesk {
    /// Creates the desk of this server, whose callers connect at `listen`.
    pub(super) fn new(server: Rc<Server>, listen: Vec<String>) -> Self {
        Self { server, listen, started: Instant::now() }
    }
}

impl Operator for AdminDesk {
    fn status(&self) -> Status {
        let app = self.server.current();
        let cache = self.server.cache();
        let metrics = self.server.metrics();
        Status {
            version: VERSION,
            uptime: self.started.elapsed(),
            draining: self.server.is_draining(),
            listen: self.listen.clone(),
            connections: metrics.connections_now(),
            pools: app.pools().iter().map(pool_status).collect(),
            cache: CacheStatus { bytes: cache.bytes(), entries: cache.entries() },
        }
    }

    fn hosts(&self) -> Arc<Hosts> {
        self.server.current().hosts()
    }

    fn refresh_gauges(&self) {
        self.server.current().pools().iter().for_each(|pool| pool.refresh_gauges());
        self.server.metrics().cache_bytes(self.server.cache().bytes());
        self.server.metrics().held_bytes(self.server.memory().used());
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
}

fn pool_status(pool: &Rc<Pool>) -> PoolStatus {
    let Report { name, summary, processes, counts, exits } = pool.report();
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
    });
    let last_exits = exits.into_iter().rev().map(|exit| ExitStatus {
        worker: exit.worker.0,
        reason: exit.reason.label(),
        exit: exit.how,
        ago: now.saturating_duration_since(exit.at),
    });
    PoolStatus {
        name,
        states: counts,
        workers: workers.collect(),
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
    }
}
