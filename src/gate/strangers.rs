//! What is counted for addresses: a table of a fixed size, however many addresses there are.
//!
//! Pure: the time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::used_rate::UsedRate;
use crate::base::Neighbourhood;
use crate::sync::at_once::AtOnce;

/// How many addresses are counted one by one. Those that come while all of them are in use share
/// one count.
const MOST: usize = 65_536;
/// How many are looked at to find one that is not in use. A newcomer never costs more.
const LOOKS: usize = 8;

/// Those that share a count. `None`: all who connect by a socket file.
type Sharers = Option<Neighbourhood>;

/// What is counted for each address.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<StrangerTable>);

#[derive(Debug, Default)]
struct StrangerTable {
    places: HashMap<Sharers, usize>,
    counts: Vec<(Sharers, Stranger)>,
    /// Where the last look for one that is not in use ended.
    hand: usize,
    others: Stranger,
}

/// What is counted for one address.
#[derive(Debug, Default)]
pub struct Stranger {
    /// What it has used of its rate.
    pub used: UsedRate,
    /// Its calls.
    pub calls: Arc<AtOnce>,
}

impl Stranger {
    /// Returns true if nothing is lost when it is forgotten.
    fn is_idle(&self, now: u64) -> bool {
        self.used.is_whole(now) && Arc::strong_count(&self.calls) == 1
    }
}

impl Strangers {
    /// Counts something for an address. Not for addresses that were never counted: `None` then.
    pub fn known<T>(
        &self,
        address: Option<IpAddr>,
        count: impl FnOnce(&Stranger) -> T,
    ) -> Option<T> {
        let table = self.lock();
        let place = *table.places.get(&address.map(Neighbourhood::of))?;
        Some(count(&table.counts[place].1))
    }

    /// Counts something for an address.
    pub fn count<T>(
        &self,
        address: Option<IpAddr>,
        now: u64,
        count: impl FnOnce(&Stranger) -> T,
    ) -> T {
        let mut table = self.lock();
        let place = table.place(address.map(Neighbourhood::of), now);
        count(place.map_or(&table.others, |place| &table.counts[place].1))
    }

    fn lock(&self) -> MutexGuard<'_, StrangerTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StrangerTable {
    /// Returns where an address is counted; `None`: with all the others that have no place.
    fn place(&mut self, address: Sharers, now: u64) -> Option<usize> {
        if let Some(place) = self.places.get(&address) {
            return Some(*place);
        }
        if self.counts.len() < MOST {
            self.counts.push((address, Stranger::default()));
            self.places.insert(address, self.counts.len() - 1);
            return Some(self.counts.len() - 1);
        }
        for _ in 0..LOOKS {
            self.hand = (self.hand + 1) % MOST;
            let (before, stranger) = &mut self.counts[self.hand];
            if stranger.is_idle(now) {
                let before = std::mem::replace(before, address);
                *stranger = Stranger::default();
                self.places.remove(&before);
                self.places.insert(address, self.hand);
                return Some(self.hand);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::used_rate::Pace;
    use super::*;
    use crate::sync::at_once::Claim;

    const SECOND: u64 = 1_000_000_000;

    fn network(number: u64, rest: u64) -> IpAddr {
        let bits = (u128::from(number) << 64) | u128::from(rest);
        IpAddr::V6(bits.into())
    }

    #[test]
    fn a_network_of_ipv6_shares_one_count_and_addresses_of_ipv4_do_not() {
        let (strangers, pace) = (Strangers::default(), Pace::new("1/1s".parse().expect("a rate")));
        let may = |address| strangers.count(address, 0, |it| it.used.take(&pace, 0, 1)).is_ok();
        assert!(may(Some(network(1, 1))) && !may(Some(network(1, 2))) && may(Some(network(2, 1))));
        let ipv4 = |text: &str| Some(text.parse().expect("an address"));
        assert!(may(ipv4("192.0.2.1")) && !may(ipv4("192.0.2.1")) && may(ipv4("192.0.2.2")));
        assert!(may(None) && !may(None), "all of the socket file share one");
    }

    #[test]
    fn one_network_more_than_there_are_places_shares_a_count_and_forgets_nobody_in_use() {
        let (strangers, pace) = (Strangers::default(), Pace::new("1/9s".parse().expect("a rate")));
        let may = |number, now| {
            strangers.count(Some(network(number, 0)), now, |it| it.used.take(&pace, now, 1)).is_ok()
        };
        let most = MOST as u64;
        for number in 0..most {
            assert!(may(number, 0), "{number}");
        }
        // All are in use: strangers share one count, and those counted are still known.
        assert!(may(most, 0) && !may(most, 0) && !may(most + 1, 0));
        assert!(!may(0, 0) && !may(most - 1, 0));
        assert_eq!(strangers.lock().counts.len(), MOST);
        // When their time is over they make room, but not who has a call.
        let held =
            strangers.count(Some(network(1, 0)), 0, |it| Claim::new(&it.calls, 1).take().ok());
        let later = 10 * SECOND;
        for number in most..2 * most - 1 {
            assert!(may(number, later) && !may(number, later), "{number}");
        }
        let claims = |number| {
            strangers.known(Some(network(number, 0)), |it| Claim::new(&it.calls, 1).take().is_err())
        };
        assert_eq!(claims(1), Some(true));
        assert_eq!((claims(0), claims(2)), (None, None));
        drop(held);
        let table = strangers.lock();
        assert_eq!((table.counts.len(), table.places.len()), (MOST, MOST));
    }
}
