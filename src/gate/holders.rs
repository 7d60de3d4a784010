//! Who holds the keys, and what each of them may do.
//!
//! Pure. What is counted for a holder stays when the keys file is read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::used_rate::{Pace, RateLeft, UsedRate, UsedUp};
use crate::base::{Tenant, TenantId};
use crate::config::{KeyEntry, KeyHash, KeyList};
use crate::sync::at_once::{AtOnce, Claim};
use crate::sync::memory::Memory;

/// The keys that are good now.
#[derive(Debug, Default)]
pub struct Holders {
    by_hash: HashMap<KeyHash, KnownKey>,
    by_certificate: HashMap<Box<str>, Arc<Holder>>,
}

/// Whom a certificate names.
#[derive(Debug)]
pub enum Certified {
    /// Nobody that has an entry.
    Nobody,
    /// One holder.
    One(Arc<Holder>),
    /// Holders of several entries: which of them is meant is not guessed.
    Several,
}

/// A good key.
#[derive(Debug)]
struct KnownKey {
    holder: Arc<Holder>,
    /// It has come.
    came: AtomicBool,
}

/// Who holds a key.
#[derive(Debug)]
pub struct Holder {
    /// What they are called.
    pub name: Arc<str>,
    /// As whom the pools know them.
    pub tenant: Tenant,
    pace: Option<Pace>,
    calls: Option<Claim>,
    routes: Option<HashSet<Box<str>>>,
    counts: Arc<Counts>,
}

/// What is counted for a holder, as long as the server runs.
#[derive(Debug)]
struct Counts {
    id: TenantId,
    used: UsedRate,
    calls: Arc<AtOnce>,
    memory: Arc<Memory>,
}

/// The counts of all holders, by their names.
#[derive(Debug)]
pub struct KeyLedger {
    counts: HashMap<Arc<str>, Arc<Counts>>,
    last: u32,
    memory: Arc<Memory>,
}

impl KeyLedger {
    /// Nobody has a key yet. Each holder gets a quarter of `memory`.
    pub fn new(memory: &Arc<Memory>) -> Self {
        Self { counts: HashMap::new(), last: 0, memory: Arc::clone(memory) }
    }

    /// Makes the holders of these keys. Who has no key any longer is forgotten, once their calls
    /// have ended.
    pub fn holders(&mut self, keys: &KeyList) -> Holders {
        let names: HashSet<&Arc<str>> = keys.0.iter().map(|entry| &entry.name).collect();
        self.counts
            .retain(|name, counts| names.contains(name) || Arc::strong_count(&counts.calls) > 1);
        let (mut by_hash, mut by_certificate) = (HashMap::new(), HashMap::new());
        for entry in &keys.0 {
            let holder = Arc::new(Holder::new(entry, self.counts(&entry.name)));
            by_hash.extend(entry.hashes.iter().map(|hash| {
                let holder = Arc::clone(&holder);
                (*hash, KnownKey { holder, came: AtomicBool::default() })
            }));
            let names = entry.certificates.iter();
            by_certificate.extend(names.map(|name| (name.clone(), Arc::clone(&holder))));
        }
        Holders { by_hash, by_certificate }
    }

    fn counts(&mut self, name: &Arc<str>) -> Arc<Counts> {
        let (last, memory) = (&mut self.last, &self.memory);
        let counts = self.counts.entry(Arc::clone(name)).or_insert_with(|| {
            // The first number stands for all who have no key.
            *last += 1;
            let id = TenantId(*last);
            let (used, calls, memory) = (UsedRate::default(), Arc::default(), memory.quarter());
            Arc::new(Counts { id, used, calls, memory })
        });
        Arc::clone(counts)
    }
}

impl Holders {
    /// Returns who holds the key with this hash, and whether it comes for the first time.
    pub fn of(&self, hash: &KeyHash) -> Option<(&Arc<Holder>, bool)> {
        let known = self.by_hash.get(hash)?;
        let came = known.came.load(Ordering::Relaxed) || known.came.swap(true, Ordering::Relaxed);
        Some((&known.holder, !came))
    }

    /// Returns whom a certificate with these DNS names names.
    pub fn certified(&self, names: &[Box<str>]) -> Certified {
        let mut found = Certified::Nobody;
        for holder in names.iter().filter_map(|name| self.by_certificate.get(name)) {
            match &found {
                Certified::Nobody => found = Certified::One(Arc::clone(holder)),
                Certified::One(before) if Arc::ptr_eq(before, holder) => {}
                _ => return Certified::Several,
            }
        }
        found
    }
}

impl Holder {
    fn new(entry: &KeyEntry, counts: Arc<Counts>) -> Self {
        Self {
            name: Arc::clone(&entry.name),
            tenant: Tenant { id: counts.id, weight: entry.weight },
            pace: entry.rate.map(Pace::new),
            calls: entry.calls.map(|most| Claim::new(&counts.calls, most.get())),
            routes: entry.routes.clone(),
            counts,
        }
    }

    /// Takes `count` requests out of the holder's rate.
    ///
    /// # Errors
    ///
    /// It is used up.
    pub fn ask(&self, now: u64, count: u32) -> Result<(), UsedUp> {
        self.pace.as_ref().map_or(Ok(()), |pace| self.counts.used.take(pace, now, count))
    }

    /// Returns what is left of the holder's rate; `None`: they ask as often as they like.
    pub fn left(&self, now: u64) -> Option<RateLeft> {
        self.pace.as_ref().map(|pace| self.counts.used.left(pace, now))
    }

    /// Returns the right to one more call; `None`: as many as they like.
    pub fn claim(&self) -> Option<&Claim> {
        self.calls.as_ref()
    }

    /// Their share of the memory for bodies and answers.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.counts.memory
    }

    /// Returns true if the key is for this route, which is named by method and path; `None`: for
    /// what no route takes.
    pub fn may_use(&self, route: Option<&str>) -> bool {
        let Some(routes) = &self.routes else { return true };
        route.is_some_and(|route| routes.contains(route))
    }
}
