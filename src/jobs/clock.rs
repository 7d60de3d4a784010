//! The clock of the jobs, which never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::job::WallTime;

/// A wall that is this far ahead may be wrong, ...
const FAR: Duration = Duration::from_hours(1);
/// ... unless it has been for this long. A machine that slept is far ahead as well, and stays so.
const BELIEVED: Duration = Duration::from_secs(30);

/// Tells the time of the wall's clock. If that is set back, this clock goes on from where it was: a job
/// that comes later never stands before one that came earlier. If it leaps ahead, this clock follows
/// after a while: one wrong reading would end all jobs, and could not be taken back.
#[derive(Debug)]
pub struct SteadyClock {
    last: WallTime,
    told: Instant,
    /// Since when the wall has been far ahead.
    far_since: Option<Instant>,
}

impl SteadyClock {
    /// A clock that has shown `last` before.
    pub fn new(last: WallTime) -> Self {
        Self { last: last.max(wall_now()), told: Instant::now(), far_since: None }
    }

    /// Tells the time.
    pub fn now(&mut self) -> WallTime {
        self.at(wall_now(), Instant::now())
    }

    /// Tells the time when the wall shows `wall`.
    fn at(&mut self, wall: WallTime, now: Instant) -> WallTime {
        let steady = self.last.after(now.saturating_duration_since(self.told));
        let is_far = wall > steady.after(FAR);
        self.far_since = is_far.then(|| self.far_since.unwrap_or(now));
        let is_doubted = self.far_since.is_some_and(|since| now < since + BELIEVED);
        let time = if is_doubted { steady } else { wall.max(steady) };
        // Less than a millisecond stays part of the next answer.
        if time > self.last {
            (self.last, self.told) = (time, now);
        }
        self.last
    }
}

/// Returns what the clock of the wall shows.
pub fn wall_now() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::default().after(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_when_the_wall_goes_back() {
        let (mut clock, at) = clock();
        assert_eq!(clock.at(WallTime(2000), at(1)), WallTime(2000));
        assert_eq!(clock.at(WallTime(5), at(1)), WallTime(2000));
        assert_eq!(clock.at(WallTime(10), at(8)), WallTime(2007));
        assert_eq!(clock.at(WallTime(3000), at(9)), WallTime(3000));
    }

    /// A clock that shows 1000, and the moment so many milliseconds later.
    fn clock() -> (SteadyClock, impl Fn(u64) -> Instant) {
        let told = Instant::now();
        let clock = SteadyClock { last: WallTime(1000), told, far_since: None };
        (clock, move |millis| told + Duration::from_millis(millis))
    }

    #[test]
    fn a_wall_that_leaps_ahead_is_believed_once_it_stays_there() {
        let far = WallTime(4_000_000_000_000);
        let (mut clock, at) = clock();
        assert_eq!(clock.at(far, at(10)), WallTime(1010));
        assert_eq!(clock.at(WallTime(1020), at(20)), WallTime(1020), "it was wrong");
        assert_eq!(clock.at(far, at(30)), WallTime(1030));
        assert_eq!(clock.at(far.after(BELIEVED), at(30_029)), WallTime(31_029));
        let later = far.after(BELIEVED);
        assert_eq!(clock.at(later, at(30_030)), later);
    }

    #[test]
    fn it_begins_no_earlier_than_it_ended() {
        let ahead = WallTime(i64::MAX / 2);
        assert!(SteadyClock::new(ahead).now() >= ahead);
        assert!(SteadyClock::new(WallTime(0)).now() > WallTime(1_700_000_000_000));
    }
}
