//! How many connections one address may have open at once.
//!
//! The table has an entry for each address with an open connection and no other, so the limit of all
//! connections bounds it.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::Neighbourhood;

/// How long the log says nothing of other refusals after one.
const QUIET: Duration = Duration::from_mins(1);

/// Limits how many connections each address has open.
#[derive(Clone)]
pub struct AddressLimit(Rc<AddressRules>);

struct AddressRules {
    most: usize,
    is_limited: Box<dyn Fn(IpAddr) -> bool>,
    refused: Box<dyn Fn()>,
    open: Arc<OpenByAddress>,
    /// When the log last had a line, and how many were refused since.
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

/// How many connections each address has open.
#[derive(Debug, Default)]
struct OpenByAddress(Mutex<HashMap<Neighbourhood, usize>>);

/// The place of a connection among those of its address. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct AddressPlace {
    /// `None`: its address has no limit.
    counted: Option<(Neighbourhood, Arc<OpenByAddress>)>,
}

impl AddressLimit {
    /// Allows at most `most` connections for each address if `is_limited` returns true for it. Calls
    /// `refused` for each connection beyond them.
    pub fn new(
        most: usize,
        is_limited: impl Fn(IpAddr) -> bool + 'static,
        refused: impl Fn() + 'static,
    ) -> Self {
        Self(Rc::new(AddressRules {
            most,
            is_limited: Box::new(is_limited),
            refused: Box::new(refused),
            open: Arc::default(),
            told: Cell::default(),
            untold: Cell::default(),
        }))
    }

    /// Takes a place for a connection from `address`; `None`: the address has too many. An address
    /// that is `None` is that of a socket file, which has no limit.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Option<AddressPlace> {
        let limited = address.map(|it| it.to_canonical()).filter(|it| (self.0.is_limited)(*it));
        let Some(address) = limited else { return Some(AddressPlace { counted: None }) };
        let neighbourhood = Neighbourhood::of(address);
        let mut open = self.0.open.lock();
        let count = open.get(&neighbourhood).copied().unwrap_or(0);
        if count >= self.0.most {
            drop(open);
            self.refuse(address);
            return None;
        }
        open.insert(neighbourhood, count + 1);
        let counted = Some((neighbourhood, Arc::clone(&self.0.open)));
        Some(AddressPlace { counted })
    }

    /// Counts a refusal. Only one a minute is a line of the log, so that a flood does not fill it.
    fn refuse(&self, address: IpAddr) {
        (self.0.refused)();
        let untold = self.0.untold.get() + 1;
        self.0.untold.set(untold);
        let now = Instant::now();
        if self.0.told.get().is_some_and(|told| now < told + QUIET) {
            return;
        }
        self.0.told.set(Some(now));
        self.0.untold.set(0);
        tracing::warn!(
            %address,
            refused = untold,
            most = self.0.most,
            hint = "if it is a proxy, name it in `trust`; or raise `limits.per_address`",
            "an address has too many connections open; no more are accepted from it"
        );
    }
}

impl OpenByAddress {
    fn lock(&self) -> MutexGuard<'_, HashMap<Neighbourhood, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let Some((neighbourhood, open)) = &self.counted else { return };
        let mut open = open.lock();
        match open.get_mut(neighbourhood) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(neighbourhood)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn take(limit: &AddressLimit, address: &str) -> Option<AddressPlace> {
        limit.take(Some(address.parse().expect("an address")))
    }

    #[test]
    fn each_address_has_its_places_and_gets_them_back() {
        let refused = Rc::new(RefCell::new(0));
        let count = Rc::clone(&refused);
        let limit = AddressLimit::new(2, |_| true, move || *count.borrow_mut() += 1);
        let first = take(&limit, "192.0.2.1");
        let second = take(&limit, "::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(take(&limit, "192.0.2.1").is_none(), "one more than there may be");
        assert!(take(&limit, "192.0.2.2").is_some(), "another address");
        assert_eq!(*refused.borrow(), 1);
        drop(second);
        assert!(take(&limit, "192.0.2.1").is_some(), "one has gone");
        drop(first);
        assert_eq!(limit.0.open.lock().len(), 0, "nothing is kept of who has gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limit = AddressLimit::new(1, |_| true, || {});
        let first = take(&limit, "2001:db8::1");
        assert!(first.is_some());
        assert!(take(&limit, "2001:db8::ffff:ffff:ffff:ffff").is_none());
        assert!(take(&limit, "2001:db8:0:1::1").is_some());
        drop(first);
        assert!(take(&limit, "2001:db8::2").is_some());
    }

    #[test]
    fn who_has_no_limit_is_not_counted() {
        let limit = AddressLimit::new(1, |address| !address.is_loopback(), || {});
        let places: Vec<_> = (0..9).map(|_| (limit.take(None), take(&limit, "::1"))).collect();
        assert!(places.iter().all(|(unix, loopback)| unix.is_some() && loopback.is_some()));
        assert_eq!(limit.0.open.lock().len(), 0);
    }
}
