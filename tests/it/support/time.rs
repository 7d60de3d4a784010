//! Upper bounds of time that hold on a busy machine too: what the machine kept from this process
//! while it was measured is taken into account.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::sleep;

/// How often the gauge looks.
const TICK: Duration = Duration::from_millis(2);
/// How late a thread wakes up on an idle machine.
const USUAL: Duration = Duration::from_micros(300);
/// An answer passes through so many threads and processes, and each may have to wait for its turn.
const TURNS: u32 = 4;

/// Time that passes from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    late: Duration,
}

/// Time that has passed, and how much of it a thread that was due had to wait for the machine.
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
    /// Returns true if it took less than this on a machine that is free, and on a busy one so much
    /// more at most as its threads had to wait.
    pub(crate) fn is_below(self, limit: Duration) -> bool {
        self.time < limit + self.late * TURNS
    }
}

struct Gauge {
    late: Duration,
    due: Instant,
}

/// How much too late, in all, a thread of this process woke up so far.
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
