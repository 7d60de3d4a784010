//! Who may ask, and how often: the gate before everything that callers reach.
//!
//! It knows keys, rates and addresses, and nothing of HTTP: `front` finds the key in a request and
//! makes a response of a refusal. What is counted lives as long as the server, whatever is loaded
//! again meanwhile.

pub mod forwarded;
pub mod key;

mod holders;
mod strangers;
mod used_rate;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use self::holders::Holder;
use self::holders::{Certified, Holders, KeyLedger};
use self::strangers::Strangers;
pub use self::used_rate::RateLeft;
use self::used_rate::{Pace, UsedUp};
use crate::base::{Failure, Rate, Tenant};
use crate::config::{CallersSettings, KeyList, Trust, WhoMayAsk};
use crate::sync::at_once::Claim;
use crate::sync::memory::Memory;

/// How many wrong keys an address may send at once, and then in a minute. After them nothing that it
/// sends is looked at, except keys that were good before.
const GUESSES: Rate =
    Rate { count: NonZeroU32::new(10).expect("it is not zero"), period: Duration::from_mins(1) };
/// How many keys are remembered as good before at most.
const REGULARS: usize = 1 << 17;

/// The gate of one configuration.
#[derive(Debug)]
pub struct KeyGate {
    wants_keys: bool,
    /// What each address may do that shows no key.
    strangers: Allowed,
    /// Who shows no key may ask.
    lets_strangers_in: bool,
    guesses: Pace,
    trust: Trust,
    counts: Arc<GateCounts>,
}

/// What each address may do.
#[derive(Debug)]
struct Allowed {
    pace: Option<Pace>,
    calls: Option<NonZeroU32>,
}

/// What is counted as long as the server runs, and the keys that are good now.
#[derive(Debug)]
pub struct GateCounts {
    start: Instant,
    holders: RwLock<Arc<Holders>>,
    ledger: Mutex<KeyLedger>,
    strangers: Strangers,
    /// The share of the memory that all have together who show no key, where there are keys.
    strangers_memory: Arc<Memory>,
    guessers: Strangers,
    /// Hashes of keys that were good, by a hash that costs less than theirs.
    regulars: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

/// What a request shows of who sends it.
#[derive(Clone, Copy, Debug)]
pub enum ShownKey<'a> {
    /// Nothing.
    Nothing,
    /// What may be a key.
    Key {
        /// Whose it is said to be.
        name: Option<&'a [u8]>,
        /// The key.
        text: &'a [u8],
    },
    /// Two keys at once, or what is none.
    Wrong,
}

/// Who sends a request, as far as that is known.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The address; `None`: they connect by a socket file.
    pub address: Option<IpAddr>,
    /// `None`: they show no key.
    pub holder: Option<Arc<Holder>>,
    /// The right to one more call; `None`: as many as they like.
    pub claim: Option<Claim>,
}

impl Visitor {
    /// As whom the pools know them.
    pub fn tenant(&self) -> Tenant {
        self.holder.as_ref().map_or(Tenant::ANONYMOUS, |holder| holder.tenant)
    }

    /// What they are called; `None`: they show no key.
    pub fn name(&self) -> Option<&str> {
        self.holder.as_ref().map(|holder| &*holder.name)
    }

    /// Returns true if they may use this route, which is named by method and path; `None`: what no
    /// route takes.
    pub fn may_use(&self, route: Option<&str>) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.may_use(route))
    }
}

impl GateCounts {
    /// Nothing was counted before `start`. Bodies and answers are counted in `memory`.
    pub fn new(start: Instant, memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            start,
            holders: RwLock::default(),
            ledger: Mutex::new(KeyLedger::new(memory)),
            strangers: Strangers::default(),
            strangers_memory: memory.quarter(),
            guessers: Strangers::default(),
            regulars: Mutex::default(),
            hasher: RandomState::new(),
        })
    }

    /// Makes these keys the good ones, and no others. Calls of others go on.
    pub fn post(&self, keys: &KeyList) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = Arc::new(ledger.holders(keys));
        *self.holders.write().unwrap_or_else(PoisonError::into_inner) = holders;
    }

    fn holders(&self) -> Arc<Holders> {
        Arc::clone(&self.holders.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the holder of a key that is good.
    fn holder(&self, name: Option<&[u8]>, text: &[u8]) -> Option<Arc<Holder>> {
        let hash = key::hash_of(text)?;
        let holders = self.holders();
        let (holder, is_first) = holders.of(&hash)?;
        if name.is_some_and(|name| name != holder.name.as_bytes()) {
            return None;
        }
        if is_first {
            let mut regulars = self.regulars.lock().unwrap_or_else(PoisonError::into_inner);
            if regulars.len() >= REGULARS {
                regulars.clear();
            }
            regulars.insert(self.hasher.hash_one(text));
        }
        Some(Arc::clone(holder))
    }

    /// Returns whom a certificate with these DNS names names.
    fn certified(&self, names: &[Box<str>]) -> Certified {
        if names.is_empty() { Certified::Nobody } else { self.holders().certified(names) }
    }

    fn is_regular(&self, text: &[u8]) -> bool {
        let regulars = self.regulars.lock().unwrap_or_else(PoisonError::into_inner);
        regulars.contains(&self.hasher.hash_one(text))
    }

    fn since_start(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}

impl KeyGate {
    /// The gate of these settings; `None` if everybody may do everything and nobody wants to know
    /// who it was.
    pub fn new(settings: &CallersSettings, counts: &Arc<GateCounts>) -> Option<Self> {
        let CallersSettings { who, anonymous, trust } = settings;
        let wants_keys = matches!(who, WhoMayAsk::Keys(_));
        if !wants_keys && anonymous.is_none() && trust.is_empty() {
            return None;
        }
        Some(Self {
            wants_keys,
            lets_strangers_in: !wants_keys || anonymous.is_some(),
            strangers: Allowed {
                pace: anonymous.and_then(|it| it.rate).map(Pace::new),
                calls: anonymous.and_then(|it| it.calls),
            },
            guesses: Pace::new(GUESSES),
            trust: trust.clone(),
            counts: Arc::clone(counts),
        })
    }

    /// Decides about a request that came at `now`. `peer` is who connects, `None` by a socket file;
    /// `forwarded` are the values of `X-Forwarded-For` in their order; `names` are the DNS names of
    /// the certificate that the caller has shown.
    pub fn admit<'a>(
        &self,
        peer: Option<IpAddr>,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
        (shown, names): (ShownKey<'_>, &[Box<str>]),
        now: Instant,
    ) -> (Visitor, Result<(), Failure>) {
        let address = forwarded::caller(&self.trust, peer.map(|it| it.to_canonical()), forwarded);
        let mut visitor = Visitor { address, holder: None, claim: None };
        let now = self.counts.since_start(now);
        let decided = match shown {
            _ if !self.wants_keys => self.stranger(&mut visitor, now),
            ShownKey::Nothing => match self.counts.certified(names) {
                Certified::One(holder) => welcome(&mut visitor, holder, now),
                Certified::Nobody if self.lets_strangers_in => self.stranger(&mut visitor, now),
                Certified::Nobody | Certified::Several => Err(Failure::Unauthorized),
            },
            ShownKey::Wrong => Err(Failure::Unauthorized),
            ShownKey::Key { name, text } => self.key_holder(&mut visitor, (name, text), names, now),
        };
        (visitor, decided)
    }

    /// Takes `count` more requests out of a visitor's rate.
    ///
    /// # Errors
    ///
    /// It is used up.
    pub fn charge(&self, visitor: &Visitor, now: Instant, count: u32) -> Result<(), Failure> {
        let now = self.counts.since_start(now);
        let charged = match &visitor.holder {
            Some(holder) => holder.ask(now, count),
            None => self.strangers.pace.as_ref().map_or(Ok(()), |pace| {
                let take = |it: &strangers::Stranger| it.used.take(pace, now, count);
                self.counts.strangers.count(visitor.address, now, take)
            }),
        };
        charged.map_err(too_often)
    }

    /// Returns what is left of a visitor's rate; `None`: they ask as often as they like.
    pub fn left(&self, visitor: &Visitor, now: Instant) -> Option<RateLeft> {
        let now = self.counts.since_start(now);
        if let Some(holder) = &visitor.holder {
            return holder.left(now);
        }
        if !self.lets_strangers_in {
            return None;
        }
        let pace = self.strangers.pace.as_ref()?;
        self.counts.strangers.known(visitor.address, |it| it.used.left(pace, now))
    }

    /// Returns the share that a visitor has of the memory for bodies and answers; `None`: all of it.
    pub fn memory<'a>(&'a self, visitor: &'a Visitor) -> Option<&'a Arc<Memory>> {
        match &visitor.holder {
            Some(holder) => Some(holder.memory()),
            None => self.wants_keys.then_some(&self.counts.strangers_memory),
        }
    }

    fn stranger(&self, visitor: &mut Visitor, now: u64) -> Result<(), Failure> {
        let Allowed { pace, calls } = &self.strangers;
        if pace.is_none() && calls.is_none() {
            return Ok(());
        }
        let (asked, claim) = self.counts.strangers.count(visitor.address, now, |stranger| {
            let asked = pace.as_ref().map_or(Ok(()), |pace| stranger.used.take(pace, now, 1));
            (asked, calls.map(|most| Claim::new(&stranger.calls, most.get())))
        });
        visitor.claim = claim;
        asked.map_err(too_often)
    }

    fn key_holder(
        &self,
        visitor: &mut Visitor,
        (name, text): (Option<&[u8]>, &[u8]),
        names: &[Box<str>],
        now: u64,
    ) -> Result<(), Failure> {
        let counts = &self.counts;
        let look = |it: &strangers::Stranger| it.used.look(&self.guesses, now);
        if let Some(Err(UsedUp { retry_after, .. })) = counts.guessers.known(visitor.address, look)
            && !counts.is_regular(text)
        {
            return Err(Failure::RateLimited { rate: None, retry_after });
        }
        let Some(holder) = counts.holder(name, text) else {
            counts.guessers.count(visitor.address, now, |it| {
                // Whether it was the last guess is seen at the next one.
                it.used.take(&self.guesses, now, 1).ok();
            });
            return Err(Failure::Unauthorized);
        };
        // Who shows two things that name two holders is not taken for either.
        match counts.certified(names) {
            Certified::Nobody => welcome(visitor, holder, now),
            Certified::One(same) if same.name == holder.name => welcome(visitor, holder, now),
            Certified::One(_) | Certified::Several => Err(Failure::Unauthorized),
        }
    }
}

/// Lets a holder in, within their rate.
fn welcome(visitor: &mut Visitor, holder: Arc<Holder>, now: u64) -> Result<(), Failure> {
    let asked = holder.ask(now, 1);
    visitor.claim = holder.claim().cloned();
    visitor.holder = Some(holder);
    asked.map_err(too_often)
}

fn too_often(UsedUp { rate, retry_after }: UsedUp) -> Failure {
    Failure::RateLimited { rate: Some(rate), retry_after }
}

#[cfg(test)]
mod tests;
