//! A summary of the books for operators, and a check of their invariants.
//!
//! Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::crew::{Phase, WorkerBook};
use super::state::State;
use crate::base::{CallId, Conduct, WorkerId};
use crate::observe::rings::Load;
use crate::policy::Fingerprint;

/// A summary of the books at one moment.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Calls that wait.
    pub queue_length: usize,
    /// Bytes of the questions of the calls that wait.
    pub queue_bytes: u64,
    /// How long the oldest of the calls that wait has waited.
    pub oldest_wait: Duration,
    /// The average service time; `None` before the first answer.
    pub service: Option<Duration>,
    /// The last starts failed. Calls are refused while no worker serves.
    pub is_tripped: bool,
    /// The queue stands, so the newest call is served first.
    pub is_overloaded: bool,
    /// The questions that are refused because they cost several workers.
    pub poisonous: Vec<Fingerprint>,
    /// How many calls can be in workers at once.
    pub slots: usize,
    /// The workers.
    pub workers: Vec<WorkerSummary>,
}

/// A summary of one worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSummary {
    /// Its name.
    pub id: WorkerId,
    /// Where it is in its life.
    pub phase: Phase,
    /// Calls it holds.
    pub holds: usize,
    /// How many calls it was ever given.
    pub calls: u64,
    /// How long ago it was started.
    pub age: Duration,
    /// The oldest call that it holds.
    pub head: Option<HeadSummary>,
    /// What it was seen to do with that call, if it runs long.
    pub conduct: Option<Conduct>,
}

/// The call on which a worker works.
#[derive(Clone, Copy, Debug)]
pub struct HeadSummary {
    /// The call.
    pub call: CallId,
    /// How long it has been the oldest of the worker.
    pub since: Duration,
    /// Bytes of its question.
    pub bytes: usize,
    /// How many workers it has cost.
    pub retries: u32,
    /// Its caller has left, or another worker has answered it.
    pub abandoned: bool,
}

impl<P> State<P> {
    /// Summarises the books.
    pub fn summary(&self, now: Instant) -> Summary {
        let waiting = self.calls.iter().filter(|call| call.waits_until.is_some());
        let oldest = waiting.map(|call| call.accepted).min();
        let worker = |book: &WorkerBook| WorkerSummary {
            id: book.id,
            phase: book.phase,
            holds: book.held.len(),
            calls: book.given,
            age: now.saturating_duration_since(book.started),
            head: self.head(now, book),
            conduct: book.conduct,
        };
        Summary {
            queue_length: self.line.len(),
            queue_bytes: self.line.bytes(),
            oldest_wait: oldest.map(|at| now.saturating_duration_since(at)).unwrap_or_default(),
            service: self.estimate.service(),
            is_tripped: self.backoff.is_tripped(),
            is_overloaded: self.line.is_overloaded(),
            poisonous: self.suspects.refused(),
            slots: self.slots(),
            workers: self.crew.iter().map(worker).collect(),
        }
    }

    fn head(&self, now: Instant, book: &WorkerBook) -> Option<HeadSummary> {
        let held = book.held.front()?;
        let call = self.calls.get(held.id);
        Some(HeadSummary {
            call: held.id,
            since: now.saturating_duration_since(book.head_since),
            bytes: call.map_or(0, |call| call.bytes),
            retries: call.map_or(0, |call| call.retries),
            abandoned: call.is_none_or(|call| call.abandoned.is_some()),
        })
    }

    /// How busy the pool is.
    pub fn load(&mut self) -> Load {
        let serving = self.crew.census().serving;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Load {
            queue: number(self.line.len()),
            busy: number(serving.saturating_sub(self.crew.free().len())),
            workers: number(serving),
        }
    }

    /// Questions that are refused.
    pub fn poisonous(&self) -> usize {
        self.suspects.refused().len()
    }

    /// The workers that hold calls.
    pub fn busy_workers(&self) -> Vec<WorkerId> {
        self.crew.busy().workers().to_vec()
    }

    /// Calls in the books.
    pub fn calls_open(&self) -> usize {
        self.calls.len()
    }

    /// Calls that wait.
    pub fn queue_length(&self) -> usize {
        self.line.len()
    }

    /// Checks the invariants that the top of `state` lists. Call it after [`State::settle`].
    ///
    /// # Errors
    ///
    /// Returns the invariant that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut holders: HashMap<CallId, u32> = HashMap::new();
        for held in self.crew.iter().flat_map(|book| &book.held) {
            *holders.entry(held.id).or_default() += 1;
        }
        for id in self.all_away() {
            if holders.insert(id, 1).is_some() {
                return Err(format!("call {id} is away and in a worker"));
            }
            if self.calls.waits(id) {
                return Err(format!("call {id} is away and in the queue"));
            }
        }
        self.crew.check()?;
        self.check_workers()?;
        self.check_alarms()?;
        self.check_calls(&holders)
    }

    fn check_workers(&self) -> Result<(), String> {
        let counted = self.crew.iter().filter(|book| book.counts()).count();
        if counted > self.rules.most && !self.stopping {
            return Err(format!("{counted} workers count and the most is {}", self.rules.most));
        }
        Ok(())
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
        let held = self.crew.iter().flat_map(|book| &book.held);
        let paid = held.filter_map(|held| held.charge.as_ref()).chain(self.away_charges());
        self.line.check(self.calls.iter(), paid)?;
        if waiting != self.line.len() {
            return Err(format!("{waiting} calls wait, the queue says {}", self.line.len()));
        }
        if let Some(book) = self.crew.iter().find(|book| {
            book.phase == Phase::Serving
                && book.held.is_empty()
                && (self.is_full(book) || book.is_mute)
        }) {
            return Err(format!("worker {} holds nothing and has no room", book.id));
        }
        let is_kept = |worker: &&WorkerId| self.background.kept == Some(**worker);
        let free = self.crew.free().iter().filter(|worker| !is_kept(worker)).count();
        let gathers = self.groups.gathers_until.is_some();
        if waiting > 0 && free > 0 && !self.are_enough_running() && !gathers {
            return Err(format!("{waiting} calls wait while {free} workers are free"));
        }
        Ok(())
    }

    /// Checks that an alarm is set for every deadline. The ages of workers are left out: they are
    /// deadlines only while no worker is being replaced. The oracle of the simulation checks them.
    fn check_alarms(&self) -> Result<(), String> {
        let next = self.alarms.next();
        let is_set = |deadline: Instant| next.is_some_and(|next| next <= deadline);
        let wait = self.calls.iter().filter_map(|call| call.waits_until).min();
        let run = self.crew.iter().flat_map(|book| self.run_deadlines(book)).map(|(at, _)| at);
        let overdue = self.crew.iter().filter_map(|book| self.overdue_at(book));
        let look = self.crew.iter().filter_map(|book| self.look_at(book));
        let sight = self.crew.iter().filter_map(|book| self.step_back_at(book));
        let silent = self.crew.iter().filter_map(|book| self.silent_until(book));
        let deadlines = [
            ("wait in the queue", wait),
            ("caller's deadline", self.alarms.first_caller_deadline()),
            ("time to run", run.min()),
            ("time until a rescue", overdue.min()),
            ("look at a call that runs long", look.min()),
            ("look at a worker that computes", sight.min()),
            ("time to answer anybody", silent.min()),
            ("answer from elsewhere", self.first_away_deadline()),
            ("end of gathering", self.groups.gathers_until),
        ];
        for (what, deadline) in deadlines {
            if deadline.is_some_and(|deadline| !is_set(deadline)) {
                return Err(format!("no alarm is set for the {what}"));
            }
        }
        Ok(())
    }
}
