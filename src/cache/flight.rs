//! Callers with the same key share one run.
//!
//! Pure: a table of who waits for what. It neither runs a call nor wakes anybody; `call` does
//! both. Nothing here is limited by itself: each waiter is a request of a connection, and
//! connections are limited.

use std::collections::HashMap;
use std::hash::Hash;

/// The runs under way, each with those who wait for it.
#[derive(Debug)]
pub struct Flights<K, W, R> {
    flights: HashMap<K, Flight<W, R>>,
    last_flight: u64,
}

#[derive(Debug)]
struct Flight<W, R> {
    number: u64,
    run: R,
    last_seat: u64,
    /// By seat, in the order of their coming.
    waiters: Vec<(u64, W)>,
}

/// A place in one flight. A flight that is over never comes again: a ticket to it is worth
/// nothing in a later flight with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    flight: u64,
    seat: u64,
}

/// What one who joined has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Start the run, and see to it that it lands. The one who leads waits like all others and
    /// may leave like them: the run belongs to the flight.
    Leads,
    /// Only wait.
    Follows,
}

/// Was the one who left the last to wait? Then nobody wants the run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOne(pub bool);

impl<K, W, R> Default for Flights<K, W, R> {
    fn default() -> Self {
        Self { flights: HashMap::new(), last_flight: 0 }
    }
}

impl<K: Eq + Hash, W, R: Clone> Flights<K, W, R> {
    /// Waits for the run with this key, which the first to come has to start. `run` is what that
    /// run is known by; those who follow are given the one of the first.
    pub fn join(&mut self, key: K, waiter: W, run: R) -> (Role, Ticket, R) {
        let mut role = Role::Follows;
        let last_flight = &mut self.last_flight;
        let flight = self.flights.entry(key).or_insert_with(|| {
            role = Role::Leads;
            *last_flight += 1;
            Flight { number: *last_flight, run, last_seat: 0, waiters: Vec::new() }
        });
        flight.last_seat += 1;
        flight.waiters.push((flight.last_seat, waiter));
        let ticket = Ticket { flight: flight.number, seat: flight.last_seat };
        (role, ticket, flight.run.clone())
    }

    /// The run of the flight that `leader` began is over: all who wait for it, in the order of
    /// their coming. Nobody, if the last one left before; a later flight with the same key is
    /// not touched, for its own run will land.
    pub fn land(&mut self, key: &K, leader: Ticket) -> Vec<W> {
        if !self.is_flight(key, leader) {
            return Vec::new();
        }
        let flight = self.flights.remove(key);
        flight.into_iter().flat_map(|flight| flight.waiters).map(|(_, waiter)| waiter).collect()
    }

    /// One who waited does so no more. Says whether it was the last, with whom the flight ends;
    /// not so if the flight has landed, or the one has left, before.
    pub fn leave(&mut self, key: &K, ticket: Ticket) -> LastOne {
        if !self.is_flight(key, ticket) {
            return LastOne(false);
        }
        let Some(flight) = self.flights.get_mut(key) else { return LastOne(false) };
        flight.waiters.retain(|(seat, _)| *seat != ticket.seat);
        let last = flight.waiters.is_empty();
        if last {
            self.flights.remove(key);
        }
        LastOne(last)
    }

    #[cfg(test)]
    /// Runs under way that somebody waits for.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    #[cfg(test)]
    /// Does nobody wait for anything?
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    fn is_flight(&self, key: &K, ticket: Ticket) -> bool {
        self.flights.get(key).is_some_and(|flight| flight.number == ticket.flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_leads_and_all_land_together_in_order() {
        let mut flights = Flights::default();
        let (role, leader, ()) = flights.join("q", 1, ());
        assert_eq!(role, Role::Leads);
        assert_eq!(flights.join("q", 2, ()).0, Role::Follows);
        assert_eq!(flights.join("other", 9, ()).0, Role::Leads);
        assert_eq!(flights.join("q", 3, ()).0, Role::Follows);
        assert_eq!(flights.land(&"q", leader), [1, 2, 3]);
        assert_eq!(flights.len(), 1);
        assert_eq!(flights.join("q", 4, ()).0, Role::Leads, "what landed is over");
    }

    #[test]
    fn the_leader_may_leave_without_taking_the_answer_from_others() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        flights.join("q", 2, ());
        assert_eq!(flights.leave(&"q", leader), LastOne(false));
        assert_eq!(flights.join("q", 3, ()).0, Role::Follows, "the run goes on");
        assert_eq!(flights.land(&"q", leader), [2, 3]);
    }

    #[test]
    fn the_last_to_leave_is_told_so_and_ends_the_flight() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        let (_, follower, ()) = flights.join("q", 2, ());
        assert_eq!(flights.leave(&"q", leader), LastOne(false));
        assert_eq!(flights.leave(&"q", leader), LastOne(false), "it left before");
        assert_eq!(flights.leave(&"q", follower), LastOne(true));
        assert!(flights.is_empty());
        assert_eq!(flights.leave(&"q", follower), LastOne(false), "it left before");
        assert_eq!(flights.land(&"q", leader), [0; 0]);
    }

    #[test]
    fn a_run_that_everybody_left_does_not_land_the_next_one() {
        let mut flights = Flights::default();
        let (_, first, ()) = flights.join("q", 1, ());
        flights.leave(&"q", first);
        let (role, second, ()) = flights.join("q", 2, ());
        assert_eq!(role, Role::Leads);
        assert_eq!(flights.leave(&"q", first), LastOne(false));
        assert_eq!(flights.land(&"q", first), [0; 0]);
        assert_eq!(flights.land(&"q", second), [2]);
    }

    #[test]
    fn leaving_after_the_landing_changes_nothing() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        let (_, follower, ()) = flights.join("q", 2, ());
        flights.land(&"q", leader);
        assert_eq!(flights.leave(&"q", follower), LastOne(false));
        assert!(flights.is_empty());
    }
}
