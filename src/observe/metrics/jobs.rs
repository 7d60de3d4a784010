//! The numbers of jobs: some are counted as they happen, the others are set when the page is asked
//! for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::names::{Metric, MetricKind};
use super::series::{Gauge, Histogram};

/// What is counted of jobs.
#[derive(Debug, Default)]
pub struct JobMetrics {
    commits: Histogram,
    failing: Gauge,
    ended: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
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

    fn shown(&self) -> MutexGuard<'_, Vec<PoolJobs>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics of jobs. A server without jobs has no samples of them.
pub(super) const JOBS: [Metric; 5] = [
    Metric {
        name: "httpipe_jobs",
        kind: MetricKind::Gauge,
        unit: "jobs",
        labels: &["pool", "state"],
        help: "Jobs that are kept, by state: `queued`, `running`, `succeeded`, `failed` or `canceled`",
        samples: |numbers, to| {
            let Some(jobs) = numbers.server.jobs.get() else { return };
            for pool in &*jobs.shown() {
                for (state, count) in &pool.states {
                    to.number(&[&pool.pool, state], *count);
                }
            }
        },
    },
    Metric {
        name: "httpipe_jobs_total",
        kind: MetricKind::Counter,
        unit: "jobs",
        labels: &["route", "outcome"],
        help: "Jobs that workers ended, by outcome: `ok` or a failure code",
        samples: |numbers, to| {
            let Some(jobs) = numbers.server.jobs.get() else { return };
            let ended = jobs.ended.lock().unwrap_or_else(PoisonError::into_inner);
            for ((route, outcome), count) in &*ended {
                to.number(&[route, outcome], *count);
            }
        },
    },
    Metric {
        name: "httpipe_jobs_oldest_seconds",
        kind: MetricKind::Gauge,
        unit: "seconds",
        labels: &["pool"],
        help: "How long the job has waited that goes next in its pool; 0 if none waits",
        samples: |numbers, to| {
            let Some(jobs) = numbers.server.jobs.get() else { return };
            for pool in &*jobs.shown() {
                to.number(&[&pool.pool], pool.oldest.unwrap_or_default().as_secs());
            }
        },
    },
    Metric {
        name: "httpipe_jobs_store_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &[],
        help: "Time of a transaction of the file of the jobs, with the wait for the disk",
        samples: |numbers, to| {
            if let Some(jobs) = numbers.server.jobs.get() {
                to.histogram(&[], &jobs.commits);
            }
        },
    },
    Metric {
        name: "httpipe_jobs_store_failing",
        kind: MetricKind::Gauge,
        unit: "boolean",
        labels: &[],
        help: "1 while the file of the jobs cannot be written, and new jobs are refused",
        samples: |numbers, to| {
            if let Some(jobs) = numbers.server.jobs.get() {
                to.number(&[], jobs.failing.value());
            }
        },
    },
];
