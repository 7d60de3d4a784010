//! Every metric once, and cheap handles for the places that count.

use std::sync::Arc;
use std::time::Duration;

/// All metrics of one server. Two servers in one process share nothing.
#[derive(Debug)]
pub struct Metrics {}

/// What one pool counts.
#[derive(Clone, Debug)]
pub struct PoolMetrics {}

/// What one route counts.
#[derive(Clone, Debug)]
pub struct RouteMetrics {}

/// How many workers of a pool are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Not yet ready.
    pub starting: usize,
    /// Free.
    pub ready: usize,
    /// With at least one call.
    pub busy: usize,
    /// Told to stop.
    pub leaving: usize,
}

/// Why a worker ended (`httpipe_worker_exits_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// It ended by itself.
    Crash,
    /// A call took longer than allowed.
    Timeout,
    /// What it wrote matches no call, or is no message.
    BadAnswer,
    /// It wrote while nothing was asked.
    UnaskedOutput,
    /// A message was longer than `message_max`.
    TooBig,
    /// It did not become ready.
    StartFailed,
    /// Replaced for its calls, memory or age.
    Recycled,
    /// Not needed any more.
    ScaledDown,
    /// Its configuration was replaced.
    Reloaded,
    /// The server stops.
    Stopped,
}

impl ExitReason {
    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
            Self::UnaskedOutput => "unasked_output",
            Self::TooBig => "too_big",
            Self::StartFailed => "start_failed",
            Self::Recycled => "recycled",
            Self::ScaledDown => "scaled_down",
            Self::Reloaded => "reloaded",
            Self::Stopped => "stopped",
        }
    }
}

/// How a cached route was served (`httpipe_cache_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// From what was kept.
    Hit,
    /// By a run of its own.
    Miss,
    /// By the run of another caller.
    Collapsed,
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    pub fn new() -> Arc<Self> {
        todo!()
    }

    /// The handles of the pool of this name; the same counters when asked again.
    pub fn pool(&self, _name: &str) -> PoolMetrics {
        todo!()
    }

    /// The handles of the route with this label; `none` for requests without a route. A route
    /// that makes calls names its pool.
    pub fn route(&self, _label: &str, _pool: Option<&str>) -> RouteMetrics {
        todo!()
    }

    /// One more connection (+1) or one less (-1).
    pub fn connections(&self, _change: i64) {
        todo!()
    }

    /// Bytes the cache holds now.
    pub fn cache_bytes(&self, _bytes: u64) {
        todo!()
    }

    /// Log lines lost because the sink did not take them.
    pub fn log_dropped(&self, _lines: u64) {
        todo!()
    }

    /// All of it in Prometheus' text format.
    pub fn render(&self) -> String {
        todo!()
    }
}

impl PoolMetrics {
    /// A call was handed over for the first time after waiting this long.
    pub fn queued_for(&self, _time: Duration) {
        todo!()
    }

    /// A call was answered, or failed inside a worker, after this long there.
    pub fn worked_for(&self, _time: Duration) {
        todo!()
    }

    /// Calls that wait now.
    pub fn queue_length(&self, _calls: usize) {
        todo!()
    }

    /// Workers by state now.
    pub fn workers(&self, _counts: WorkerCounts) {
        todo!()
    }

    /// A worker was started.
    pub fn worker_started(&self) {
        todo!()
    }

    /// A worker ended.
    pub fn worker_ended(&self, _reason: ExitReason) {
        todo!()
    }
}

impl RouteMetrics {
    /// A request was answered with this status after this long.
    pub fn request(&self, _status: u16, _time: Duration) {
        todo!()
    }

    /// A call of this route ended: `ok`, a failure code, or `abandoned`.
    pub fn call(&self, _outcome: &'static str) {
        todo!()
    }

    /// How the cache served a request.
    pub fn cache(&self, _result: CacheResult) {
        todo!()
    }
}
