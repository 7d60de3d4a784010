//! The rings against a reference that keeps everything and computes each number from all of it.

use proptest::prelude::*;

use super::*;

/// Something that happens in a pool, and how long after the last such thing, in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ended { wait: Duration, work: Duration, failed: Option<Code> },
    Refused(Code),
    Load(Load),
    Hits(u64),
    Look,
}

fn event() -> impl Strategy<Value = Event> {
    let time = || prop_oneof![0..2_000_u64, 0..2_000_000_u64].prop_map(Duration::from_micros);
    let code = || prop_oneof![Just(Code::Timeout), Just(Code::QueueFull), Just(Code::WorkerLost)];
    prop_oneof![
        6 => (time(), time(), prop::option::weighted(0.2, code()))
            .prop_map(|(wait, work, failed)| Event::Ended { wait, work, failed }),
        1 => code().prop_map(Event::Refused),
        3 => (0..50_u32, 0..8_u32, 0..8_u32).prop_map(|(queue, busy, workers)| {
            Event::Load(Load { queue, busy, workers })
        }),
        2 => (1..100_u64).prop_map(Event::Hits),
        1 => Just(Event::Look),
    ]
}

fn story() -> impl Strategy<Value = Vec<(u64, Event)>> {
    // Mostly much in a second, sometimes a pause, seldom a long one.
    let gap = prop_oneof![8 => 0..300_u64, 3 => 900..4_000_u64, 1 => 10_000..900_000_u64];
    prop::collection::vec((gap, event()), 1..120)
}

/// Everything that happened, with the second in which it did.
#[derive(Default)]
struct Reference {
    ended: Vec<(u64, Duration, Duration, Option<Code>)>,
    refused: Vec<(u64, Code)>,
    /// From each second on; the first holds from the begin.
    loads: Vec<(u64, Load)>,
    hits: u64,
}

impl Reference {
    fn sample(&self, at: u64) -> SecondSample {
        let ended: Vec<_> = self.ended.iter().filter(|call| call.0 == at).collect();
        let refused = self.refused.iter().filter(|call| call.0 == at).count() as u64;
        let failed = ended.iter().filter(|call| call.3.is_some()).count() as u64;
        // The load that held when the second began, and each that came in it.
        let before = self.loads.iter().rev().find(|load| load.0 < at).map(|load| load.1);
        let inside = self.loads.iter().filter(|load| load.0 == at).map(|load| load.1);
        let loads: Vec<Load> = before.into_iter().chain(inside).collect();
        let most = |of: fn(&Load) -> u32| u64::from(loads.iter().map(of).max().unwrap_or(0));
        SecondSample {
            at,
            calls: ended.len() as u64 + refused,
            failures: failed + refused,
            queue: most(|load| load.queue),
            busy: most(|load| load.busy),
            workers: loads.last().map_or(0, |load| load.workers.into()),
            wait_p50_us: exact(ended.iter().map(|call| call.1), 0.5),
            wait_p99_us: exact(ended.iter().map(|call| call.1), 0.99),
            work_p50_us: exact(ended.iter().map(|call| call.2), 0.5),
            work_p99_us: exact(ended.iter().map(|call| call.2), 0.99),
            hits: 0,
        }
    }

    /// Returns how many calls ended or were refused in these seconds.
    fn calls_since(&self, first: u64, last: u64) -> u64 {
        let seconds =
            self.ended.iter().map(|call| call.0).chain(self.refused.iter().map(|it| it.0));
        seconds.filter(|second| (first..=last).contains(second)).count() as u64
    }
}

/// Returns a percentile of times in microseconds.
fn exact(times: impl Iterator<Item = Duration>, share: f64) -> u64 {
    let mut times: Vec<Duration> = times.filter(|time| !time.is_zero()).collect();
    times.sort_unstable();
    let rank = ((times.len() as f64 * share).ceil() as usize).max(1);
    times.get(rank - 1).map_or(0, |time| time.as_micros() as u64)
}

/// Tells both the same story. Returns the time at its end.
fn tell(story: &[(u64, Event)], begin: Instant, rings: &mut Rings) -> (Reference, Instant) {
    let (mut now, mut reference) = (begin, Reference::default());
    for (gap, event) in story {
        now += Duration::from_millis(*gap);
        let second = rings.clock.second_of(now);
        match event {
            Event::Hits(more) => {
                reference.hits += more;
                continue;
            }
            Event::Look => rings.roll(now, reference.hits),
            _ if rings.is_over(now) => rings.roll(now, reference.hits),
            _ => {}
        }
        match *event {
            Event::Ended { wait, work, failed } => {
                // A wait of nothing at all is one, and work of nothing is none.
                let wait = wait.max(Duration::from_nanos(1));
                rings.ended(wait, work, failed);
                reference.ended.push((second, wait, work, failed));
            }
            Event::Refused(code) => {
                rings.refused(code);
                reference.refused.push((second, code));
            }
            Event::Load(load) => {
                rings.note_load(load);
                reference.loads.push((second, load));
            }
            Event::Hits(_) | Event::Look => {}
        }
    }
    now += Duration::from_secs(1);
    rings.roll(now, reference.hits);
    (reference, now)
}

fn is_near(found: u64, exact: u64) -> bool {
    found.abs_diff(exact) <= exact / 8 + 2
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_second_is_as_if_all_calls_were_kept(story in story(), inside in 0..1_000_u64) {
        let begin = Instant::now();
        let clock = SecondClock::new(begin, Duration::from_millis(50_000 + inside));
        let mut rings = Rings::new(clock, begin);
        let (reference, now) = tell(&story, begin, &mut rings);
        let history = rings.history();
        prop_assert_eq!(history.end, clock.second_of(now) - 1);
        let length = history.calls.len() as u64;
        prop_assert_eq!(length, (history.end + 1 - 50).min(600));
        let mut hits = 0;
        for (place, at) in (history.end + 1 - length..=history.end).enumerate() {
            let wanted = reference.sample(at);
            hits += history.hits[place];
            let counts = [history.calls[place], history.failures[place], history.queue[place]];
            prop_assert_eq!(counts, [wanted.calls, wanted.failures, wanted.queue], "{}", at);
            let workers = (history.busy[place], history.workers[place]);
            prop_assert_eq!(workers, (wanted.busy, wanted.workers), "{}", at);
            for (found, exact) in [
                (history.wait_p50_us[place], wanted.wait_p50_us),
                (history.wait_p99_us[place], wanted.wait_p99_us),
                (history.work_p50_us[place], wanted.work_p50_us),
                (history.work_p99_us[place], wanted.work_p99_us),
            ] {
                prop_assert!(is_near(found, exact), "{} for {} in {}", found, exact, at);
            }
        }
        if length < 600 {
            prop_assert_eq!(hits, reference.hits);
        }
        prop_assert_eq!(rings.sample().at, history.end);
    }

    #[test]
    fn the_last_minute_and_the_failures_are_those_of_the_calls(story in story()) {
        let begin = Instant::now();
        let clock = SecondClock::new(begin, Duration::from_secs(100));
        let mut rings = Rings::new(clock, begin);
        let (reference, now) = tell(&story, begin, &mut rings);
        let last = clock.second_of(now) - 1;
        let recent = rings.recent();
        prop_assert!(recent.seconds <= 70 && recent.seconds >= (last + 1 - 100).min(60));
        let first = last + 1 - recent.seconds;
        prop_assert_eq!(recent.calls, reference.calls_since(first, last));
        let inside = || reference.ended.iter().filter(|call| (first..=last).contains(&call.0));
        let p99 = exact(inside().map(|call| call.1), 0.99);
        let found = recent.wait_seconds.map_or(0, |wait| (wait.p99 * 1e6) as u64);
        prop_assert!(is_near(found, p99), "{} for {}", found, p99);
        let failures = rings.failures();
        prop_assert!(failures.seconds <= 600 && failures.seconds >= (last + 1 - 100).min(590));
        let first = last + 1 - failures.seconds;
        prop_assert_eq!(failures.calls, reference.calls_since(first, last));
        let refused = reference.refused.iter().map(|call| (call.0, Some(call.1)));
        let ended = reference.ended.iter().map(|call| (call.0, call.3));
        let failed = refused.chain(ended).filter(|call| (first..=last).contains(&call.0));
        let mut by_code = BTreeMap::new();
        for code in failed.filter_map(|call| call.1) {
            *by_code.entry(code.as_str().to_owned()).or_insert(0) += 1;
        }
        prop_assert_eq!(failures.by_code, by_code);
    }
}

#[test]
fn a_pool_that_slept_for_a_day_shows_ten_idle_minutes() {
    let begin = Instant::now();
    let mut rings = Rings::new(SecondClock::new(begin, Duration::from_secs(100)), begin);
    rings.note_load(Load { queue: 0, busy: 1, workers: 2 });
    rings.ended(Duration::from_millis(1), Duration::from_millis(2), Some(Code::Timeout));
    rings.note_load(Load { queue: 0, busy: 0, workers: 2 });
    rings.roll(begin + Duration::from_hours(24), 600);
    let history = rings.history();
    assert_eq!(history.end, 100 + 86_400 - 1);
    assert_eq!((history.calls, history.busy), (vec![0; 600], vec![0; 600]));
    assert_eq!((history.workers, history.hits), (vec![2; 600], vec![1; 600]));
    let (recent, failures) = (rings.recent(), rings.failures());
    assert_eq!((recent.calls, recent.wait_seconds), (0, None));
    assert_eq!((failures.calls, failures.by_code.len()), (0, 0));
}

#[test]
fn an_event_that_was_late_is_counted_in_the_open_second() {
    let begin = Instant::now();
    let mut rings = Rings::new(SecondClock::new(begin, Duration::from_secs(100)), begin);
    rings.roll(begin + Duration::from_secs(5), 0);
    let late = begin + Duration::from_secs(2);
    assert!(!rings.is_over(late));
    rings.roll(late, 0);
    rings.refused(Code::QueueFull);
    rings.roll(begin + Duration::from_secs(6), 0);
    assert_eq!((rings.sample().at, rings.sample().calls), (105, 1));
}
