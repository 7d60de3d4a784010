//! The books looked at from outside: their invariants, and a summary for people.
//!
//! Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::books::Phase;
use super::state::State;
use crate::base::{CallId, WorkerId};
use crate::policy::Fingerprint;

/// What the books say at one moment.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Calls that wait.
    pub queue_length: usize,
    /// Bytes of their questions.
    pub queue_bytes: u64,
    /// The longest that one of them has waited.
    pub oldest_wait: Duration,
    /// Calls in the books, waiting or held.
    pub calls: usize,
    /// What a call costs a worker, once it was measured.
    pub service: Option<Duration>,
    /// The last starts came to nothing, and calls are refused until one does not.
    pub is_tripped: bool,
    /// The queue stands, and the newest call is served first.
    pub is_overloaded: bool,
    /// The questions that are refused for the workers they cost.
    pub poisonous: Vec<Fingerprint>,
    /// The workers.
    pub workers: Vec<WorkerSummary>,
}

/// What the books say of one worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSummary {
    /// Its name.
    pub id: WorkerId,
    /// Where it is in its life.
    pub phase: Phase,
    /// Calls it holds.
    pub holds: usize,
    /// Calls it was ever given.
    pub calls: u64,
    /// Since its start.
    pub age: Duration,
}

impl<P> State<P> {
    /// What the books say now.
    pub fn summary(&self, now: Instant) -> Summary {
        let waiting = self.calls.iter().filter(|call| call.waits_until.is_some());
        let oldest = waiting.map(|call| call.accepted).min();
        let worker = |book: &super::books::WorkerBook| WorkerSummary {
            id: book.id,
            phase: book.phase,
            holds: book.held.len(),
            calls: book.given,
            age: now.saturating_duration_since(book.started),
        };
        Summary {
            queue_length: self.line.len(),
            queue_bytes: self.line.bytes(),
            oldest_wait: oldest.map(|at| now.saturating_duration_since(at)).unwrap_or_default(),
            calls: self.calls.len(),
            service: self.estimate.service(),
            is_tripped: self.backoff.is_tripped(),
            is_overloaded: self.overload.is_on(),
            poisonous: self.poison.refused(),
            workers: self.workers.values().map(worker).collect(),
        }
    }

    /// Calls in the books.
    pub fn calls_open(&self) -> usize {
        self.calls.len()
    }

    /// Calls that wait.
    pub fn queue_length(&self) -> usize {
        self.line.len()
    }

    /// Checks the invariants in the head of `state`, after [`State::settle`].
    ///
    /// # Errors
    ///
    /// Says which one does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut holders: HashMap<CallId, u32> = HashMap::new();
        for book in self.workers.values() {
            let id = book.id;
            if book.phase != Phase::Serving && !book.held.is_empty() {
                return Err(format!("worker {id} holds calls while {:?}", book.phase));
            }
            if book.held.is_empty() == self.is_missing_from_free(book.id, book.phase) {
                return Err(format!("worker {id} holds nothing and is not free, or the reverse"));
            }
            for held in &book.held {
                *holders.entry(held.id).or_default() += 1;
                let twice = book.held.iter().filter(|other| other.id == held.id).count() > 1;
                if twice {
                    return Err(format!("worker {id} holds call {} twice", held.id));
                }
            }
        }
        self.check_calls(&holders)
    }

    fn is_missing_from_free(&self, id: WorkerId, phase: Phase) -> bool {
        phase == Phase::Serving && !self.free.contains(&id)
    }

    fn check_calls(&self, holders: &HashMap<CallId, u32>) -> Result<(), String> {
        let mut waiting = 0;
        for call in self.calls.iter() {
            let id = call.id;
            let held = holders.get(&id).copied().unwrap_or(0);
            if held != call.holders {
                return Err(format!("call {id} is held by {held}, the books say {}", call.holders));
            }
            if held == 0 && call.waits_until.is_none() {
                return Err(format!("call {id} is nowhere"));
            }
            waiting += usize::from(call.waits_until.is_some());
        }
        if waiting != self.line.len() {
            return Err(format!("{waiting} calls wait, the queue says {}", self.line.len()));
        }
        if waiting > 0 && !self.free.is_empty() {
            return Err(format!("{waiting} calls wait while {} workers are free", self.free.len()));
        }
        if self.no_free_since.is_some() && !self.free.is_empty() {
            return Err("a worker is free and the books say none is".to_owned());
        }
        let census = self.count_workers();
        let counted = census.counted;
        if self.census.is_some_and(|known| known != census) {
            return Err(format!("{:?} workers are known and are {census:?}", self.census));
        }
        if counted > self.rules.most && !self.stopping {
            return Err(format!("{counted} workers count and the most is {}", self.rules.most));
        }
        Ok(())
    }
}
