//! Which load balancers ask, how often, and which of them know that the server is about to stop.
//!
//! Pure: time comes in as an argument. A balancer sends calls until it is told `drain`, so a server
//! that stops goes on serving until those that ask it have asked once more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses that are remembered.
const ADDRESSES_MOST: usize = 64;
/// How long after its last question a balancer is forgotten.
const LATELY: Duration = Duration::from_mins(1);
/// The longest time between two questions of one that has asked once: twice HAProxy's default.
const PERIOD: Duration = Duration::from_secs(4);
/// Longest wait for a balancer to ask once more.
const WAIT_MOST: Duration = Duration::from_secs(5);

/// The balancers that ask. Those behind one address count as one.
#[derive(Debug, Default)]
pub(super) struct Balancers {
    /// `None` is the address of those who connect by a socket file.
    by_address: HashMap<Option<IpAddr>, Balancer>,
    /// When the server began to stop.
    stopping_since: Option<Instant>,
}

#[derive(Debug)]
struct Balancer {
    asked: Instant,
    /// The time between its questions. Several balancers may be behind one address, so the longest
    /// of the last ones counts.
    period: Duration,
    /// It was told to send nothing, after the server began to stop.
    knows: bool,
}

impl Balancers {
    /// One of them was answered; `drain`: it was told to send nothing.
    pub(super) fn answered(&mut self, now: Instant, address: Option<IpAddr>, drain: bool) {
        let knows = drain && self.stopping_since.is_some();
        if let Some(known) = self.by_address.get_mut(&address) {
            let period = now.saturating_duration_since(known.asked).max(known.period * 3 / 4);
            *known = Balancer { asked: now, period, knows };
            return;
        }
        self.forget(now);
        if self.by_address.len() < ADDRESSES_MOST {
            self.by_address.insert(address, Balancer { asked: now, period: PERIOD, knows });
        }
    }

    /// Returns how many have asked lately.
    pub(super) fn len(&mut self, now: Instant) -> usize {
        self.forget(now);
        self.by_address.len()
    }

    fn forget(&mut self, now: Instant) {
        self.by_address.retain(|_, it| now.saturating_duration_since(it.asked) < LATELY);
    }

    /// The server begins to stop.
    pub(super) fn stop(&mut self, now: Instant) {
        self.stopping_since.get_or_insert(now);
    }

    /// Returns until when the server that stops is to wait for those that do not know it yet; `None`
    /// if there are none.
    pub(super) fn awaited_until(&self, now: Instant) -> Option<Instant> {
        let latest = self.stopping_since? + WAIT_MOST;
        let ignorant = self.by_address.values().filter(|balancer| !balancer.knows);
        let ends = ignorant.map(|it| (it.asked + it.period * 3 / 2).min(latest));
        ends.max().filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_server_that_stops_waits_until_each_that_asks_knows_it() {
        let now = Instant::now();
        let mut balancers = Balancers::default();
        assert_eq!(balancers.awaited_until(now), None);
        for second in 0..30 {
            balancers.answered(now + seconds(second), Some(at(1)), false);
            balancers.answered(now + seconds(second), None, false);
        }
        let end = now + seconds(29);
        assert_eq!(balancers.awaited_until(end), None, "it does not stop");
        balancers.stop(end);
        let until = end + Duration::from_millis(1_500);
        assert_eq!(balancers.awaited_until(end), Some(until));
        balancers.answered(end, Some(at(1)), true);
        assert_eq!(balancers.awaited_until(end), Some(until), "the other one does not know");
        // Its answer was made before the server began to stop.
        balancers.answered(end, None, false);
        assert!(balancers.awaited_until(end).is_some());
        balancers.answered(end + seconds(1), None, true);
        assert_eq!(balancers.awaited_until(end), None);
    }

    #[test]
    fn one_that_no_longer_asks_is_not_waited_for() {
        let now = Instant::now();
        let mut balancers = Balancers::default();
        balancers.answered(now, Some(at(1)), false);
        balancers.answered(now + seconds(1), Some(at(1)), false);
        balancers.stop(now + seconds(6));
        assert_eq!(balancers.awaited_until(now + seconds(6)), None);
    }

    #[test]
    fn two_behind_one_address_that_ask_together_do_not_shorten_the_wait() {
        let now = Instant::now();
        let mut balancers = Balancers::default();
        for second in 0..30 {
            balancers.answered(now + seconds(second), Some(at(1)), false);
            balancers.answered(now + seconds(second), Some(at(1)), false);
        }
        let end = now + seconds(29);
        balancers.stop(end);
        let until = balancers.awaited_until(end).expect("they do not know");
        assert!(until >= end + seconds(1), "{:?}", until - end);
    }

    #[test]
    fn the_wait_has_a_limit() {
        let now = Instant::now();
        let mut balancers = Balancers::default();
        balancers.answered(now, Some(at(1)), false);
        balancers.answered(now + seconds(50), Some(at(1)), false);
        balancers.stop(now + seconds(50));
        let limit = now + seconds(50) + WAIT_MOST;
        assert_eq!(balancers.awaited_until(now + seconds(50)), Some(limit));
        assert_eq!(balancers.awaited_until(limit), None);
    }

    #[test]
    fn no_more_addresses_are_kept_than_there_is_room_for() {
        let now = Instant::now();
        let mut balancers = Balancers::default();
        for last in 0..=255 {
            balancers.answered(now, Some(at(last)), false);
        }
        assert_eq!(balancers.len(now), ADDRESSES_MOST);
        assert_eq!(balancers.len(now + LATELY), 0);
    }
}
