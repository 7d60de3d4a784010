//! The metrics of jobs: some are counted as they happen, the others are set when the page is asked
//! for.

use std::sync::PoisonError;

use super::names::{Metric, MetricKind};

/// The metrics of jobs. A server without jobs has no samples of them.
pub(super) const JOBS: [Metric; 6] = [
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
        name: "httpipe_jobs_unreadable_total",
        kind: MetricKind::Counter,
        unit: "jobs",
        labels: &[],
        help: "Jobs that failed because the file is damaged where they are kept",
        samples: |numbers, to| {
            if let Some(jobs) = numbers.server.jobs.get() {
                to.number(&[], jobs.unreadable.value());
            }
        },
    },
    Metric {
        name: "httpipe_jobs_oldest_seconds",
        kind: MetricKind::Gauge,
        unit: "seconds",
        labels: &["pool"],
        help: "How long the oldest waiting job of a pool has waited; 0 if none waits",
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
