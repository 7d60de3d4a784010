//! The metrics of the servers that share calls. A server that shares none has no samples of them.

use std::sync::Arc;

use super::labels::{AwayEnd, ClaimEnd};
use super::metric::{Metric, MetricKind};
use super::series::{Numbers, SharedPoolMetrics};

fn pools(numbers: &Numbers<'_>) -> Vec<Arc<SharedPoolMetrics>> {
    numbers.server.spread.get().map(|spread| spread.all()).unwrap_or_default()
}

/// The metrics of the servers that share calls.
pub(super) const SPREAD: [Metric; 9] = [
    Metric {
        name: "httpipe_spread_connected",
        kind: MetricKind::Gauge,
        unit: "boolean",
        labels: &[],
        help: "1 while there is a connection to NATS, else 0",
        samples: |numbers, to| {
            if let Some(spread) = numbers.server.spread.get() {
                to.number(&[], spread.connected.value());
            }
        },
    },
    Metric {
        name: "httpipe_spread_hosts",
        kind: MetricKind::Gauge,
        unit: "servers",
        labels: &["pool"],
        help: "Other servers whose workers answer the calls of the pool",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.number(&[&pool.pool], pool.hosts.value());
            }
        },
    },
    Metric {
        name: "httpipe_spread_away",
        kind: MetricKind::Gauge,
        unit: "calls",
        labels: &["pool"],
        help: "Calls that other servers have now",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.number(&[&pool.pool], pool.away.value());
            }
        },
    },
    Metric {
        name: "httpipe_spread_calls_total",
        kind: MetricKind::Counter,
        unit: "attempts",
        labels: &["pool", "result"],
        help: "Attempts at calls on other servers, by how they ended: `answered` (a failure of the program is \
               an answer), `not_begun` (no worker has seen it), `unknown` (the message was lost, or the server \
               has started again), `worker_lost`, `host_lost` or `given_up` (nobody waited any longer)",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                for (end, count) in AwayEnd::ALL.iter().zip(&pool.calls) {
                    to.number(&[&pool.pool, end.label()], count.value());
                }
            }
        },
    },
    Metric {
        name: "httpipe_spread_claims_total",
        kind: MetricKind::Counter,
        unit: "claims",
        labels: &["pool", "result"],
        help: "Claims of free workers to calls that wait elsewhere: `sent` by this server; those of others here: \
               `granted`, or `empty` (no call waited any longer)",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                for (end, count) in ClaimEnd::ALL.iter().zip(&pool.claims) {
                    to.number(&[&pool.pool, end.label()], count.value());
                }
            }
        },
    },
    Metric {
        name: "httpipe_spread_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &["pool"],
        help: "What calls that another server has answered took beyond their work: the way there and back",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.histogram(&[&pool.pool], &pool.way);
            }
        },
    },
    Metric {
        name: "httpipe_spread_hosts_lost_total",
        kind: MetricKind::Counter,
        unit: "servers",
        labels: &["pool"],
        help: "Other servers that fell silent while they had calls",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.number(&[&pool.pool], pool.hosts_lost.value());
            }
        },
    },
    Metric {
        name: "httpipe_spread_late_answers_total",
        kind: MetricKind::Counter,
        unit: "answers",
        labels: &["pool"],
        help: "Answers of other servers that came twice or too late, and were dropped",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.number(&[&pool.pool], pool.late.value());
            }
        },
    },
    Metric {
        name: "httpipe_spread_strange_total",
        kind: MetricKind::Counter,
        unit: "messages",
        labels: &["pool"],
        help: "Messages that cannot be understood: of a later version, or of somebody who is no httpipe",
        samples: |numbers, to| {
            for pool in pools(numbers) {
                to.number(&[&pool.pool], pool.strange.value());
            }
        },
    },
];
