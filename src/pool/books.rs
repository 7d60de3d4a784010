//! What a pool knows of its calls and its workers.
//!
//! Pure: data and the smallest steps on it; `state` decides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::base::{CallId, WorkerId};
use crate::policy::Fingerprint;

/// Bits of a [`CallId`] that are the slot; the others count calls, so no id is given twice.
const SLOT_BITS: u32 = 24;

/// One accepted call that is not answered yet.
#[derive(Debug)]
pub(super) struct CallBook<P> {
    pub(super) id: CallId,
    /// What the shell needs to ask and to answer.
    pub(super) payload: P,
    pub(super) bytes: usize,
    pub(super) idempotent: bool,
    pub(super) accepted: Instant,
    /// It stands in the queue until then at the latest; `None`: it is not in the queue.
    pub(super) waits_until: Option<Instant>,
    /// It is not put back into the queue after this.
    pub(super) latest: Instant,
    pub(super) caller_deadline: Option<Instant>,
    /// The last hand-over; `None` before the first.
    pub(super) given: Option<Instant>,
    /// Workers that hold it. More than one only after a rescue.
    pub(super) holders: u32,
    pub(super) retries: u32,
    /// Nobody waits for it since then.
    pub(super) abandoned: Option<Instant>,
    /// What its question is known by; `None`: it was not needed yet.
    pub(super) question: Option<Fingerprint>,
    /// It shows whether a question that was refused still costs a worker.
    pub(super) is_trial: bool,
}

/// The calls of one pool, by id.
#[derive(Debug)]
pub(super) struct Calls<P> {
    slots: Slab<CallBook<P>>,
    serial: u64,
}

impl<P> Calls<P> {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), serial: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Makes room for one call; the maker is told its id.
    pub(super) fn insert(&mut self, make: impl FnOnce(CallId) -> CallBook<P>) -> CallId {
        self.serial += 1;
        let slot = self.slots.vacant_entry();
        let id = CallId(self.serial << SLOT_BITS | slot.key() as u64);
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

    /// Does this call stand in the queue?
    pub(super) fn waits(&self, id: CallId) -> bool {
        self.deadline(id).is_some()
    }

    /// Until when this call may stand in the queue, if it does.
    pub(super) fn deadline(&self, id: CallId) -> Option<Instant> {
        self.get(id)?.waits_until
    }
}

fn slot_of(id: CallId) -> usize {
    (id.0 & ((1 << SLOT_BITS) - 1)) as usize
}

/// Where a worker is in its life. Legal steps: down this list, any number at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not yet ready for calls.
    Starting,
    /// Takes calls.
    Serving,
    /// Told to stop, or seen to have ended; holds no calls.
    Leaving,
}

/// Whether a worker is to be replaced. Legal steps: down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stay {
    /// It stays.
    Kept,
    /// It serves until enough others do, and does not count among those kept any more.
    Due,
    /// It takes no more calls.
    Parting,
}

/// One call inside a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) id: CallId,
    pub(super) given: Instant,
    /// Another worker answered it, and nobody waits for this one since then.
    pub(super) orphaned: Option<Instant>,
    /// The queue did not stand when it was handed over.
    pub(super) in_peace: bool,
}

/// One worker.
#[derive(Debug)]
pub(super) struct WorkerBook {
    pub(super) id: WorkerId,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    /// What it holds, in the order of hand-over. Ids of calls that were answered elsewhere or
    /// abandoned stay until the worker has answered them too.
    pub(super) held: VecDeque<Held>,
    /// Since when the first of `held` is the first.
    pub(super) head_since: Instant,
    /// Since when it works without having finished a call.
    pub(super) busy_since: Instant,
    /// Since when it holds nothing.
    pub(super) idle_since: Instant,
    /// Calls it was ever given.
    pub(super) given: u64,
    /// It is to be replaced from this number of calls on, ...
    pub(super) calls_due: u64,
    /// ... and from this time on.
    pub(super) due_at: Option<Instant>,
    /// Whether it is to be replaced.
    pub(super) stay: Stay,
    /// It gave a good answer once.
    pub(super) proven: bool,
    /// How long a head may run here before it is overdue, foreseen when a call was given last.
    pub(super) patience: Duration,
    /// Its head runs longer than foreseen: nothing is sent after it.
    pub(super) overdue: bool,
}

impl WorkerBook {
    /// Is it to be replaced?
    pub(super) fn is_due(&self) -> bool {
        self.stay != Stay::Kept
    }

    /// Does it count towards the workers that a pool wants?
    pub(super) fn counts(&self) -> bool {
        self.phase != Phase::Leaving && !self.is_due()
    }

    /// May it be given a call when it has room?
    pub(super) fn takes_calls(&self) -> bool {
        self.phase == Phase::Serving && self.stay != Stay::Parting
    }

    /// Takes a call out of what it holds; says whether it was the first.
    pub(super) fn release(&mut self, id: CallId, now: Instant) -> Option<Released> {
        let place = self.held.iter().position(|held| held.id == id)?;
        let held = self.held.remove(place)?;
        let since = if place == 0 { self.head_since } else { held.given };
        let busy_since = std::mem::replace(&mut self.busy_since, now);
        if place == 0 {
            self.head_since = now;
            self.overdue = false;
        }
        let given = held.given;
        Some(Released { was_head: place == 0, ran_since: since, given, busy_since })
    }
}

/// What [`WorkerBook::release`] found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Released {
    pub(super) was_head: bool,
    /// Since when the worker can have worked on it.
    pub(super) ran_since: Instant,
    /// When the worker was given it.
    pub(super) given: Instant,
    /// Since when the worker had finished nothing else.
    pub(super) busy_since: Instant,
}
