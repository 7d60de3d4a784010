//! What a pool knows of its calls.
//!
//! Pure: data and the smallest steps on it; `state` decides.

use std::time::{Duration, Instant};

use slab::Slab;

use super::grouping::HalfId;
use super::line::TenantSlot;
use crate::base::{AwayTime, CallId, Conduct, HostTag, Timing, WorkerId};
use crate::policy::Fingerprint;

/// One accepted call that is not answered yet.
#[derive(Debug)]
pub(super) struct CallBook<P> {
    pub(super) id: CallId,
    /// What the shell needs to ask and to answer.
    pub(super) payload: P,
    /// Its tenant; `None`: it is background work, which takes no turns with the calls of callers.
    pub(super) seat: Option<TenantSlot>,
    pub(super) bytes: usize,
    pub(super) idempotent: bool,
    pub(super) accepted: Instant,
    /// When it joined the calls of its tenant that wait.
    pub(super) since: Instant,
    /// When its wait in the queue ends; `None` while it is not in the queue.
    pub(super) waits_until: Option<Instant>,
    /// After this time it is no longer put back into the queue.
    pub(super) latest: Instant,
    pub(super) caller_deadline: Option<Instant>,
    /// When a worker was last given it; `None` before the first time.
    pub(super) given: Option<Instant>,
    /// That worker; `None` if it went to another server.
    pub(super) worker: Option<WorkerId>,
    /// The other server that was given it last.
    pub(super) host: Option<HostTag>,
    /// Workers that hold it. More than one only after a rescue.
    pub(super) holders: u32,
    pub(super) retries: u32,
    /// When its caller left.
    pub(super) abandoned: Option<Instant>,
    /// The fingerprint of its question; `None` until it is needed.
    pub(super) question: Option<Fingerprint>,
    /// What its worker was found to do with it.
    pub(super) conduct: Option<Conduct>,
    /// It is let through to see whether a question that was refused still costs a worker.
    pub(super) is_trial: bool,
    /// How long it may take in a worker; `None`: the `timeout` of the pool.
    pub(super) own_timeout: Option<Duration>,
    /// Which half of a lost group it belongs to.
    pub(super) half: HalfId,
    pub(super) origin: CallOrigin,
}

/// Where the caller of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallOrigin {
    /// At this server.
    Here,
    /// At another server, which decides what becomes of the call.
    Elsewhere {
        /// Its question can be the only reason why its worker was lost.
        blamed: bool,
    },
}

impl<P> CallBook<P> {
    /// Returns true for work that never waits in the queue.
    pub(super) fn is_background(&self) -> bool {
        self.seat.is_none()
    }

    /// Returns true for the call of a caller of another server.
    pub(super) fn is_guest(&self) -> bool {
        self.origin != CallOrigin::Here
    }

    /// Returns how long it has waited and worked until now.
    pub(super) fn timing(&self, now: Instant) -> Timing {
        let given = self.given.unwrap_or(now);
        // Most calls do not wait, and to see that costs less than to take the times from each other.
        let queue = if given == self.accepted {
            Duration::ZERO
        } else {
            given.saturating_duration_since(self.accepted)
        };
        Timing {
            queue,
            work: now.saturating_duration_since(given),
            call: Some(self.id),
            worker: self.worker,
            away: match self.worker {
                None => self.host.map(|host| AwayTime { host, way_us: 0 }),
                Some(_) => None,
            },
        }
    }
}

/// The calls of one pool, by id.
#[derive(Debug)]
pub(super) struct CallBooks<P> {
    slots: Slab<CallBook<P>>,
    serial: u64,
}

impl<P> CallBooks<P> {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), serial: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the call that `make` returns for its new id.
    pub(super) fn insert(&mut self, make: impl FnOnce(CallId) -> CallBook<P>) -> CallId {
        self.serial += 1;
        let slot = self.slots.vacant_entry();
        let id = CallId(self.serial << CallId::PLACE_BITS | slot.key() as u64);
        slot.insert(make(id));
        id
    }

    pub(super) fn get(&self, id: CallId) -> Option<&CallBook<P>> {
        self.slots.get(slot_of(id)).filter(|call| call.id == id)
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut CallBook<P>> {
        self.slots.get_mut(slot_of(id)).filter(|call| call.id == id)
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<CallBook<P>> {
        self.get(id)?;
        self.slots.try_remove(slot_of(id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CallBook<P>> {
        self.slots.iter().map(|(_, call)| call)
    }

    /// When this call began to wait; `None` if it is not in the queue.
    pub(super) fn since(&self, id: CallId) -> Option<Instant> {
        self.get(id).filter(|call| call.waits_until.is_some()).map(|call| call.since)
    }

    /// Returns true if this call is in the queue.
    pub(super) fn waits(&self, id: CallId) -> bool {
        self.deadline(id).is_some()
    }

    /// When the wait of this call ends; `None` if it is not in the queue.
    pub(super) fn deadline(&self, id: CallId) -> Option<Instant> {
        self.get(id)?.waits_until
    }
}

fn slot_of(id: CallId) -> usize {
    (id.0 & ((1 << CallId::PLACE_BITS) - 1)) as usize
}
