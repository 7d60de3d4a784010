//! The metrics of the cache that several servers share. A server without it has no samples of them.

use super::labels::SharedResult;
use super::names::{Metric, MetricKind};

/// The metrics of the shared cache.
pub(super) const SHARED: [Metric; 3] = [
    Metric {
        name: "httpipe_shared_cache_total",
        kind: MetricKind::Counter,
        unit: "searches",
        labels: &["outcome"],
        help: "Searches in the shared cache, by outcome: `hit`, `followed` (another server ran the question), \
               `miss`, `alone` (the answer is not shared), `unusable` (a value that is no answer to the \
               question), `refused` (nothing can be written), `late`, `failed` or `away` (no connection)",
        samples: |numbers, to| {
            let Some(shared) = numbers.server.shared.get() else { return };
            for result in SharedResult::ALL {
                to.number(&[result.label()], shared.count(result));
            }
        },
    },
    Metric {
        name: "httpipe_shared_cache_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &[],
        help: "How long looks into the shared cache take",
        samples: |numbers, to| {
            let Some(shared) = numbers.server.shared.get() else { return };
            to.histogram(&[], &shared.looks);
        },
    },
    Metric {
        name: "httpipe_shared_cache_connected",
        kind: MetricKind::Gauge,
        unit: "boolean",
        labels: &[],
        help: "1 while the shared cache can be asked, else 0",
        samples: |numbers, to| {
            let Some(shared) = numbers.server.shared.get() else { return };
            to.number(&[], shared.connected.value());
        },
    },
];
