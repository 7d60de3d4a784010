//! What became of the calls of a pool in the last ten minutes, filled by the calls themselves.
//!
//! Pure: each event comes with its time. The first event of a new second closes the second before,
//! and fills the seconds in which nothing happened; so does each look. Between two events nothing
//! changes, so what is filled in is what was. Nothing needs a timer, and all has a fixed size, about
//! 30 KB a pool.
//!
//! | what | how much |
//! |---|---|
//! | samples of one second | 600 |
//! | waits and works of ten seconds | 7, the last one not full |
//! | failures of ten seconds by code | 60, the last one not full |

mod buckets;
mod clock;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::buckets::{Times, middle_of};
pub use self::clock::SecondClock;
use crate::base::Code;
use crate::report::{FailureStatus, History, Percentiles, Recent, SecondSample};

/// How many seconds have a sample.
const SECONDS: usize = 600;
/// How many seconds are taken together for percentiles and failures.
const TEN: u64 = 10;
/// How many times ten seconds percentiles are made of.
const TENS_TIMED: usize = 7;
/// How many times ten seconds failures are kept of.
const TENS_FAILED: usize = 60;
/// The bucket of a percentile of no times.
const NONE: u8 = u8::MAX;

/// How busy a pool is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls that wait.
    pub queue: u32,
    /// Workers that hold a call.
    pub busy: u32,
    /// Workers that hold a call or are ready for one.
    pub workers: u32,
}

/// The rings of one pool.
#[derive(Clone, Debug)]
pub struct Rings {
    clock: SecondClock,
    /// The second that is not over, and when it is.
    second: u64,
    ends: Instant,
    open: OpenSecond,
    load: Load,
    /// How many answers the cache had given when the second began.
    hits: u64,
    samples: VecDeque<ClosedSecond>,
    timed: VecDeque<TenSeconds>,
    failed: VecDeque<TenFailures>,
}

/// The second that is not over.
#[derive(Clone, Debug, Default)]
struct OpenSecond {
    calls: u32,
    queue: u32,
    busy: u32,
    wait: Times,
    work: Times,
    failures: u32,
    by_code: CodeCounts,
}

/// A second that is over. Percentiles are kept as the numbers of their buckets.
#[derive(Clone, Copy, Debug)]
struct ClosedSecond {
    calls: u32,
    failures: u32,
    hits: u32,
    queue: u32,
    busy: u32,
    workers: u32,
    wait_p50: u8,
    wait_p99: u8,
    work_p50: u8,
    work_p99: u8,
}

/// Ten seconds.
#[derive(Clone, Debug, Default)]
struct TenSeconds {
    seconds: u64,
    calls: u64,
    failed: u64,
    hits: u64,
    wait: Times,
    work: Times,
}

/// The failures of ten seconds.
#[derive(Clone, Debug, Default)]
struct TenFailures {
    seconds: u64,
    calls: u64,
    by_code: CodeCounts,
}

/// How many failures of each code there were.
#[derive(Clone, Copy, Debug)]
struct CodeCounts([u32; Code::ALL.len()]);

impl Default for CodeCounts {
    fn default() -> Self {
        Self([0; Code::ALL.len()])
    }
}

impl Rings {
    /// The rings of a pool that starts now.
    pub fn new(clock: SecondClock, now: Instant) -> Self {
        let second = clock.second_of(now);
        Self {
            clock,
            second,
            ends: clock.begin_of(second + 1),
            open: OpenSecond::default(),
            load: Load::default(),
            hits: 0,
            samples: VecDeque::with_capacity(SECONDS),
            timed: VecDeque::from([TenSeconds::default()]),
            failed: VecDeque::from([TenFailures::default()]),
        }
    }

    /// Returns true if the second that was open is over, so that [`Rings::roll`] is due.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.ends
    }

    /// Closes the seconds that are over. `hits` is how many answers the cache has given so far.
    pub fn roll(&mut self, now: Instant, hits: u64) {
        let current = self.clock.second_of(now);
        if current <= self.second {
            return;
        }
        if current - self.second > SECONDS as u64 {
            self.forget_all_before(current - SECONDS as u64);
        }
        // Hits alone close no second, so those of a gap are spread over it.
        let mut new = hits.saturating_sub(self.hits);
        self.hits = hits;
        for left in (1..=current - self.second).rev() {
            let share = new / left;
            new -= share;
            self.close(share);
        }
        self.ends = self.clock.begin_of(self.second + 1);
    }

    /// Begins anew with a second before which nothing is kept.
    fn forget_all_before(&mut self, second: u64) {
        self.second = second;
        self.samples.clear();
        self.timed = VecDeque::from([TenSeconds::default()]);
        self.failed = VecDeque::from([TenFailures::default()]);
        self.open =
            OpenSecond { queue: self.load.queue, busy: self.load.busy, ..OpenSecond::default() };
    }

    /// Closes one second.
    fn close(&mut self, hits: u64) {
        let OpenSecond { calls, queue, busy, wait, work, failures, by_code } =
            std::mem::take(&mut self.open);
        (self.open.queue, self.open.busy) = (self.load.queue, self.load.busy);
        if self.samples.len() == SECONDS {
            self.samples.pop_front();
        }
        let bucket = |times: &Times, share| times.percentile(share).unwrap_or(NONE);
        self.samples.push_back(ClosedSecond {
            calls,
            failures,
            hits: u32::try_from(hits).unwrap_or(u32::MAX),
            queue,
            busy,
            workers: self.load.workers,
            wait_p50: bucket(&wait, 0.5),
            wait_p99: bucket(&wait, 0.99),
            work_p50: bucket(&work, 0.5),
            work_p99: bucket(&work, 0.99),
        });
        let calls = u64::from(calls);
        let timed = self.timed.back_mut().expect("one is open");
        timed.seconds += 1;
        timed.calls += calls;
        timed.failed += u64::from(failures);
        timed.hits += hits;
        timed.wait.add(&wait);
        timed.work.add(&work);
        let failed = self.failed.back_mut().expect("one is open");
        failed.seconds += 1;
        failed.calls += calls;
        failed.by_code.0.iter_mut().zip(by_code.0).for_each(|(sum, count)| *sum += count);
        self.second += 1;
        if self.second.is_multiple_of(TEN) {
            self.begin_ten();
        }
    }

    fn begin_ten(&mut self) {
        if self.timed.len() == TENS_TIMED {
            self.timed.pop_front();
        }
        self.timed.push_back(TenSeconds::default());
        if self.failed.len() == TENS_FAILED {
            self.failed.pop_front();
        }
        self.failed.push_back(TenFailures::default());
    }

    /// Notes how busy the pool is from now on.
    pub fn note_load(&mut self, load: Load) {
        self.load = load;
        self.open.queue = self.open.queue.max(load.queue);
        self.open.busy = self.open.busy.max(load.busy);
    }

    /// Counts a call that ended.
    pub fn ended(&mut self, wait: Duration, work: Duration, failed: Option<Code>) {
        self.open.calls += 1;
        self.open.wait.count(wait);
        if work > Duration::ZERO {
            self.open.work.count(work);
        }
        if let Some(code) = failed {
            self.count_failure(code);
        }
    }

    /// Counts a call that was refused when it arrived.
    pub fn refused(&mut self, code: Code) {
        self.open.calls += 1;
        self.count_failure(code);
    }

    fn count_failure(&mut self, code: Code) {
        self.open.failures += 1;
        self.open.by_code.0[code as usize] += 1;
    }

    /// Returns the last second that is over.
    pub fn sample(&self) -> SecondSample {
        let at = self.second.saturating_sub(1);
        self.samples.back().map_or(SecondSample { at, ..SecondSample::default() }, |it| it.at(at))
    }

    /// Returns the seconds that are over.
    pub fn history(&self) -> History {
        let first = self.second - self.samples.len() as u64;
        History::of(self.samples.iter().zip(first..).map(|(sample, at)| sample.at(at)))
    }

    /// Returns what became of the calls of the last minute.
    pub fn recent(&self) -> Recent {
        let (mut wait, mut work) = (Times::default(), Times::default());
        for ten in &self.timed {
            wait.add(&ten.wait);
            work.add(&ten.work);
        }
        let sum = |of: fn(&TenSeconds) -> u64| self.timed.iter().map(of).sum();
        Recent {
            seconds: sum(|ten| ten.seconds),
            calls: sum(|ten| ten.calls),
            failed: sum(|ten| ten.failed),
            hits: Some(sum(|ten| ten.hits)),
            wait_seconds: percentiles(&wait),
            work_seconds: percentiles(&work),
        }
    }

    /// Returns what failed in the last ten minutes.
    pub fn failures(&self) -> FailureStatus {
        let mut by_code = BTreeMap::new();
        for code in Code::ALL {
            let count = self.failed.iter().map(|ten| u64::from(ten.by_code.0[code as usize])).sum();
            if count > 0 {
                by_code.insert(code.as_str().to_owned(), count);
            }
        }
        FailureStatus {
            seconds: self.failed.iter().map(|ten| ten.seconds).sum(),
            calls: self.failed.iter().map(|ten| ten.calls).sum(),
            by_code,
        }
    }
}

impl ClosedSecond {
    fn at(&self, at: u64) -> SecondSample {
        let micros = |bucket: u8| match bucket {
            NONE => 0,
            bucket => u64::try_from(middle_of(bucket).as_micros()).unwrap_or(u64::MAX),
        };
        SecondSample {
            at,
            calls: self.calls.into(),
            failures: self.failures.into(),
            hits: self.hits.into(),
            queue: self.queue.into(),
            busy: self.busy.into(),
            workers: self.workers.into(),
            wait_p50_us: micros(self.wait_p50),
            wait_p99_us: micros(self.wait_p99),
            work_p50_us: micros(self.work_p50),
            work_p99_us: micros(self.work_p99),
        }
    }
}

fn percentiles(times: &Times) -> Option<Percentiles> {
    let of = |share| Some(middle_of(times.percentile(share)?).as_secs_f64());
    Some(Percentiles { p50: of(0.5)?, p95: of(0.95)?, p99: of(0.99)? })
}
