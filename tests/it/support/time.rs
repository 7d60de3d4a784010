//! Upper bounds of time that hold on a busy machine too: they grow by the time for which threads
//! of this process had to wait for a processor.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::sleep;

/// How often the lateness of a thread is measured.
const TICK: Duration = Duration::from_millis(2);
/// How late a thread wakes up on an idle machine.
const USUAL: Duration = Duration::from_micros(300);
/// How many threads and processes an answer passes through. Each may have to wait for a processor.
const TURNS: u32 = 4;

/// Measures the time from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    late: Duration,
}

/// A time that has passed, and for how much of it a thread had to wait for a processor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    late: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { late: lateness(), started: Instant::now() }
    }

    pub(crate) fn took(self) -> Took {
        Took { time: self.started.elapsed(), late: lateness().saturating_sub(self.late) }
    }
}

impl Took {
    /// Returns true if it took less than `limit`, plus the time for which threads had to wait.
    pub(crate) fn is_below(self, limit: Duration) -> bool {
        self.time < limit + self.late * TURNS
    }
}

struct Gauge {
    late: Duration,
    due: Instant,
}

/// Returns how much too late, in total, a thread of this process has woken up so far.
fn lateness() -> Duration {
    static GAUGE: OnceLock<&'static Mutex<Gauge>> = OnceLock::new();
    let gauge = GAUGE.get_or_init(|| {
        let fresh = Gauge { late: Duration::ZERO, due: Instant::now() + TICK };
        let gauge: &'static Mutex<Gauge> = Box::leak(Box::new(Mutex::new(fresh)));
        std::thread::spawn(move || watch(gauge));
        gauge
    });
    gauge.lock().unwrap_or_else(PoisonError::into_inner).now()
}

fn watch(gauge: &Mutex<Gauge>) {
    loop {
        sleep(TICK);
        let mut gauge = gauge.lock().unwrap_or_else(PoisonError::into_inner);
        gauge.late = gauge.now();
        gauge.due = Instant::now() + TICK;
    }
}

impl Gauge {
    fn now(&self) -> Duration {
        self.late + Instant::now().saturating_duration_since(self.due + USUAL)
    }
}

#[test]
fn a_bound_gives_way_by_what_the_machine_took() {
    let took =
        |time, late| Took { time: Duration::from_millis(time), late: Duration::from_millis(late) };
    let limit = Duration::from_millis(100);
    assert!(took(99, 0).is_below(limit));
    assert!(!took(100, 0).is_below(limit));
    assert!(took(139, 10).is_below(limit) && !took(140, 10).is_below(limit));
    let watch = Stopwatch::start();
    sleep(Duration::from_millis(20));
    assert!(watch.took().time >= Duration::from_millis(20));
}
