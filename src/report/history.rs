//! The last ten minutes of a pool, a number a second.
//!
//! Pure.

use serde::{Deserialize, Serialize};

/// What one second of a pool was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondSample {
    /// Which second, counted from 1970. Without a call to end it, a second ends when somebody looks.
    pub at: u64,
    /// Calls that ended in it: answered, failed or abandoned. Answers from the cache are not calls.
    pub calls: u64,
    /// Those of them that failed. A call that was refused on arrival counts, too.
    pub failures: u64,
    /// Requests that were answered from the cache.
    pub hits: u64,
    /// The most calls that waited at one time.
    pub queue: u64,
    /// The most workers that held a call at one time.
    pub busy: u64,
    /// Workers that were ready for calls, or held some, at its end.
    pub workers: u64,
    /// The median of how long its calls waited, in microseconds; 0 if there were none.
    pub wait_p50_us: u64,
    /// How long 99 % of its calls waited at most, in microseconds.
    pub wait_p99_us: u64,
    /// The median of how long its calls were in a worker, in microseconds.
    pub work_p50_us: u64,
    /// How long 99 % of its calls were in a worker at most, in microseconds.
    pub work_p99_us: u64,
}

/// The samples of the last seconds, as columns of whole numbers: all of one length, the oldest
/// second first, no second left out. Each is the field of [`SecondSample`] with its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// [`SecondSample::at`] of the last sample.
    pub end: u64,
    /// Calls that ended.
    pub calls: Vec<u64>,
    /// Calls that failed.
    pub failures: Vec<u64>,
    /// Answers from the cache.
    pub hits: Vec<u64>,
    /// The most calls that waited.
    pub queue: Vec<u64>,
    /// The most workers that held a call.
    pub busy: Vec<u64>,
    /// Workers that served.
    pub workers: Vec<u64>,
    /// The median wait, in microseconds.
    pub wait_p50_us: Vec<u64>,
    /// The 99th percentile of the waits, in microseconds.
    pub wait_p99_us: Vec<u64>,
    /// The median work, in microseconds.
    pub work_p50_us: Vec<u64>,
    /// The 99th percentile of the work, in microseconds.
    pub work_p99_us: Vec<u64>,
}

impl History {
    /// Returns the columns of samples that follow each other, the oldest first.
    pub fn of(samples: impl IntoIterator<Item = SecondSample>) -> Self {
        let mut columns = Self::default();
        for sample in samples {
            columns.push(sample);
        }
        columns
    }

    fn push(&mut self, sample: SecondSample) {
        self.end = sample.at;
        self.calls.push(sample.calls);
        self.failures.push(sample.failures);
        self.hits.push(sample.hits);
        self.queue.push(sample.queue);
        self.busy.push(sample.busy);
        self.workers.push(sample.workers);
        self.wait_p50_us.push(sample.wait_p50_us);
        self.wait_p99_us.push(sample.wait_p99_us);
        self.work_p50_us.push(sample.work_p50_us);
        self.work_p99_us.push(sample.work_p99_us);
    }
}
