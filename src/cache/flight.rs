//! Which runs are under way, and who waits for each.
//!
//! Pure: a table only. `call` starts the runs and wakes those who wait. The table needs no limit
//! of its own: each waiter is a request of a connection, and connections are limited.

use std::collections::HashMap;
use std::hash::Hash;

/// The runs under way by key. `W` is what the table holds for a waiter, `R` for a run.
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
    /// By seat, in the order in which they joined.
    waiters: Vec<(u64, W)>,
}

/// One waiter's seat in one flight. Neither flights nor seats are numbered twice, so a ticket
/// means nothing in a later flight with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    flight: u64,
    seat: u64,
}

/// What a waiter that joined has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Start the run and see to it that it lands. The run belongs to the flight: its leader
    /// waits like all others, and may leave before them.
    Leads,
    /// Only wait.
    Follows,
}

impl<K, W, R> Default for Flights<K, W, R> {
    fn default() -> Self {
        Self { flights: HashMap::new(), last_flight: 0 }
    }
}

impl<K: Eq + Hash, W, R: Clone> Flights<K, W, R> {
    /// Waits for the run with this key. The first waiter leads, and the flight keeps its `run`
    /// for those who follow; theirs is dropped.
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

    /// Ends the flight that `leader` began and returns its waiters in the order in which they
    /// joined. Returns none if that flight ended before, when its last waiter left; a later
    /// flight with the same key goes on.
    pub fn land(&mut self, key: &K, leader: Ticket) -> Vec<W> {
        if !self.is_flight(key, leader) {
            return Vec::new();
        }
        let flight = self.flights.remove(key);
        flight.into_iter().flat_map(|flight| flight.waiters).map(|(_, waiter)| waiter).collect()
    }

    /// Takes a waiter out of its flight. Returns true if it was the last one, and so ended the
    /// flight; false also if the flight has landed or the waiter has left before.
    #[must_use]
    pub fn leave(&mut self, key: &K, ticket: Ticket) -> bool {
        if !self.is_flight(key, ticket) {
            return false;
        }
        let Some(flight) = self.flights.get_mut(key) else { return false };
        flight.waiters.retain(|(seat, _)| *seat != ticket.seat);
        let is_deserted = flight.waiters.is_empty();
        if is_deserted {
            self.flights.remove(key);
        }
        is_deserted
    }

    /// Returns how many wait for the run with this key.
    pub fn waiters(&self, key: &K) -> usize {
        self.flights.get(key).map_or(0, |flight| flight.waiters.len())
    }

    /// How many runs have waiters.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Returns true if no run has a waiter.
    #[cfg(test)]
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
        assert_eq!([flights.waiters(&"q"), flights.waiters(&"none")], [3, 0]);
        assert_eq!(flights.land(&"q", leader), [1, 2, 3]);
        assert_eq!(flights.len(), 1);
        assert_eq!(flights.join("q", 4, ()).0, Role::Leads, "what landed is over");
    }

    #[test]
    fn the_leader_may_leave_without_taking_the_answer_from_others() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        flights.join("q", 2, ());
        assert!(!flights.leave(&"q", leader));
        assert_eq!(flights.join("q", 3, ()).0, Role::Follows, "the run goes on");
        assert_eq!(flights.land(&"q", leader), [2, 3]);
    }

    #[test]
    fn the_last_to_leave_is_told_so_and_ends_the_flight() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        let (_, follower, ()) = flights.join("q", 2, ());
        assert!(!flights.leave(&"q", leader));
        assert!(!flights.leave(&"q", leader), "it left before");
        assert!(flights.leave(&"q", follower));
        assert!(flights.is_empty());
        assert!(!flights.leave(&"q", follower), "it left before");
        assert_eq!(flights.land(&"q", leader), [0; 0]);
    }

    #[test]
    fn a_seat_that_was_left_is_not_given_to_another() {
        let mut flights = Flights::default();
        let (_, first, ()) = flights.join("q", 1, ());
        flights.join("q", 2, ());
        assert!(!flights.leave(&"q", first));
        let (_, third, ()) = flights.join("q", 3, ());
        assert!(!flights.leave(&"q", third));
        assert_eq!(flights.land(&"q", first), [2], "it never left");
    }

    #[test]
    fn a_run_that_everybody_left_does_not_land_the_next_one() {
        let mut flights = Flights::default();
        let (_, first, ()) = flights.join("q", 1, ());
        assert!(flights.leave(&"q", first));
        let (role, second, ()) = flights.join("q", 2, ());
        assert_eq!(role, Role::Leads);
        assert!(!flights.leave(&"q", first));
        assert_eq!(flights.land(&"q", first), [0; 0]);
        assert_eq!(flights.land(&"q", second), [2]);
    }

    #[test]
    fn leaving_after_the_landing_changes_nothing() {
        let mut flights = Flights::default();
        let (_, leader, ()) = flights.join("q", 1, ());
        let (_, follower, ()) = flights.join("q", 2, ());
        flights.land(&"q", leader);
        assert!(!flights.leave(&"q", follower));
        assert!(flights.is_empty());
    }
}
