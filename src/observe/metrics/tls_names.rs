//! The metrics of TLS, as `names` has those of everything else.
//!
//! Pure.

use super::labels::Handshake;
use super::metric::{Metric, MetricKind};

/// How handshakes ended.
pub(super) const HANDSHAKES: Metric = Metric {
    name: "httpipe_tls_handshakes_total",
    kind: MetricKind::Counter,
    unit: "handshakes",
    labels: &["result"],
    help: "TLS handshakes with callers that ended, by result: `done`, `failed`, `late` (longer \
           than `limits.header_timeout`), `left` (the caller) or `crowded` (too many at once)",
    samples: |numbers, to| {
        for (result, count) in Handshake::ALL.iter().zip(&numbers.server.handshakes) {
            to.number(&[result.label()], count.value());
        }
    },
};

/// When the certificate ends.
pub(super) const EXPIRES: Metric = Metric {
    name: "httpipe_tls_expires_seconds",
    kind: MetricKind::Gauge,
    unit: "seconds",
    labels: &[],
    help: "Time until the certificate ends; 0 after its end, and without `tls`",
    samples: |numbers, to| to.number(&[], numbers.server.tls_expires.value()),
};
