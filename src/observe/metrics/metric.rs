//! What there is to know of one metric.
//!
//! Pure.

use super::series::Numbers;
use super::text::Samples;

/// How the numbers of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, from 0 at the start of the server.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size, and sums them up.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name as scraped. Histograms add `_bucket`, `_sum` and `_count` to it.
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: MetricKind,
    /// What it counts.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence without a full stop.
    pub help: &'static str,
    /// Writes its samples.
    pub(super) samples: fn(&Numbers<'_>, &mut Samples<'_>),
}

impl MetricKind {
    /// The word of the text format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}
