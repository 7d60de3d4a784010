//! The clock of the jobs, which never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::job::WallTime;

/// Tells the time of the wall's clock. If that is set back, this clock goes on from where it was: a job
/// that comes later never stands before one that came earlier.
#[derive(Debug)]
pub struct SteadyClock {
    last: WallTime,
    told: Instant,
}

impl SteadyClock {
    /// A clock that has shown `last` before.
    pub fn new(last: WallTime) -> Self {
        let mut clock = Self { last, told: Instant::now() };
        clock.now();
        clock
    }

    /// Tells the time.
    pub fn now(&mut self) -> WallTime {
        self.at(wall_now(), self.told.elapsed())
    }

    /// Tells the time when the wall shows `wall`, `passed` after it was told last.
    fn at(&mut self, wall: WallTime, passed: Duration) -> WallTime {
        let steady = self.last.after(passed);
        // Less than a millisecond stays part of the next answer.
        if wall > self.last || steady > self.last {
            self.last = wall.max(steady);
            self.told = Instant::now();
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
        let mut clock = SteadyClock { last: WallTime(1000), told: Instant::now() };
        let millis = Duration::from_millis;
        assert_eq!(clock.at(WallTime(2000), millis(1)), WallTime(2000));
        assert_eq!(clock.at(WallTime(5), millis(0)), WallTime(2000));
        assert_eq!(clock.at(WallTime(10), millis(7)), WallTime(2007));
        assert_eq!(clock.at(WallTime(3000), millis(1)), WallTime(3000));
    }

    #[test]
    fn it_begins_no_earlier_than_it_ended() {
        let ahead = WallTime(i64::MAX / 2);
        assert!(SteadyClock::new(ahead).now() >= ahead);
        assert!(SteadyClock::new(WallTime(0)).now() > WallTime(1_700_000_000_000));
    }
}
