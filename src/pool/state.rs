//! What the pool decides: who gets the next call, when a call has waited or run long enough,
//! what becomes of the calls of a worker that is lost.
//!
//! Pure: events come in with the time at which they happened, [`Action`]s come out. The shell
//! (`driver`) carries the actions out and reports back. Because nothing here reads a clock or
//! touches a process, `tests/sim` can run days of crashes and bursts in a second and replay
//! any of it from its seed.
//!
//! An event first changes the books; [`State::settle`] then draws the consequences, in this
//! order: free workers are given calls, oldest call first; the number of workers is compared
//! with what is wanted; a pool that cannot get a worker refuses those who wait.
//!
//! Invariants, checked by [`State::check`] after every event of the simulation
//! - A call is answered exactly once: it is in the books until then and not after.
//! - A call is in the queue, or held by a worker, or (after a rescue) both; never neither.
//! - A worker that leaves holds nothing; one that starts holds nothing.
//! - No worker is given a call beyond its window; the workers that count are at most `most`.
//! - While a worker is free, nothing waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actions::{Action, Ended, Loss, NewCall, StopReason};
use super::books::{CallBook, Calls, Held, Phase, WorkerBook};
use super::estimate::Estimate;
use super::queue::Line;
use super::rules::Rules;
use super::scale::Census;
use crate::base::{CallId, Failure, Timing, WorkerId};
use crate::config::InFlight;
use crate::guard::Backoff;

/// The books of one pool. `P` is what the shell keeps with each call.
#[derive(Debug)]
pub struct State<P> {
    pub(super) rules: Rules,
    pub(super) calls: Calls<P>,
    pub(super) line: Line,
    pub(super) workers: BTreeMap<WorkerId, WorkerBook>,
    /// Workers that serve and hold nothing; the last is the one used last.
    pub(super) free: Vec<WorkerId>,
    /// Since when `free` is empty after each settling: a worker that gets its next call at
    /// once was not free.
    pub(super) no_free_since: Option<Instant>,
    /// What was counted last, until a worker changes.
    pub(super) census: Option<Census>,
    pub(super) backoff: Backoff,
    pub(super) estimate: Estimate,
    pub(super) seed: u64,
    pub(super) worker_serial: u64,
    pub(super) stopping: bool,
    pub(super) caller_deadlines: BTreeSet<(Instant, CallId)>,
    /// No deadline is before this; it may be that none is at it.
    earliest: Option<Instant>,
    actions: Vec<Action<P>>,
}

impl<P> State<P> {
    /// The books of a pool that has no worker yet; [`State::settle`] starts the first ones.
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            calls: Calls::new(),
            line: Line::default(),
            workers: BTreeMap::new(),
            free: Vec::new(),
            no_free_since: None,
            census: None,
            backoff: Backoff::new(seed),
            estimate: Estimate::default(),
            seed: !seed,
            worker_serial: 0,
            stopping: false,
            caller_deadlines: BTreeSet::new(),
            earliest: None,
            actions: Vec::new(),
        }
    }

    /// What is to be done, oldest first; empty afterwards.
    pub fn take_actions(&mut self) -> Vec<Action<P>> {
        std::mem::take(&mut self.actions)
    }

    /// When [`State::tick`] should be called at the latest; it may find nothing to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// What the shell kept with a call that is still in the books.
    pub fn payload(&self, id: CallId) -> Option<&P> {
        self.calls.get(id).map(|call| &call.payload)
    }

    /// A call arrives. It is in the books from here on, or it is refused.
    ///
    /// # Errors
    ///
    /// The payload comes back with `queue_full`, `no_worker` or `draining`.
    pub fn arrive(&mut self, now: Instant, call: NewCall<P>) -> Result<CallId, (P, Failure)> {
        if let Some(refusal) = self.refusal(now, call.bytes, call.idempotent) {
            return Err((call.payload, refusal));
        }
        let deadline = now + self.rules.queue_wait;
        let id = self.calls.insert(|id| CallBook {
            id,
            payload: call.payload,
            bytes: call.bytes,
            idempotent: call.idempotent,
            accepted: now,
            waits_until: Some(deadline),
            caller_deadline: call.caller_deadline,
            given: None,
            holders: 0,
            retries: 0,
            abandoned: None,
        });
        self.line.push_back(id, call.bytes, deadline);
        self.note(deadline);
        if let Some(deadline) = call.caller_deadline {
            self.caller_deadlines.insert((deadline, id));
            self.note(deadline);
        }
        Ok(id)
    }

    fn refusal(&self, now: Instant, bytes: usize, idempotent: bool) -> Option<Failure> {
        if self.stopping {
            return Some(Failure::Draining);
        }
        if self.has_no_prospect() {
            return Some(self.no_worker(now));
        }
        if self.line.len() == 0 && self.pick(now, idempotent).is_some() {
            return None;
        }
        let detail = if self.line.len() >= self.rules.queue_length {
            let limit = self.rules.queue_length;
            format!("{} calls are waiting and the limit is {limit}", self.line.len())
        } else if self.line.bytes() + bytes as u64 > self.rules.queue_bytes {
            let limit = self.rules.queue_bytes;
            format!("{} bytes are waiting and the limit is {limit}", self.line.bytes())
        } else {
            return None;
        };
        Some(Failure::QueueFull { detail: detail.into(), retry_after: self.retry_after() })
    }

    /// Nobody waits for this call any more. A call that only waited leaves the books and its
    /// payload comes back; one that a worker holds runs on, abandoned.
    pub fn caller_left(&mut self, now: Instant, id: CallId) -> Option<Ended<P>> {
        self.leave_line(id);
        let call = self.calls.get_mut(id)?;
        if call.holders == 0 {
            return self.end(now, id, true);
        }
        if call.abandoned.is_none() {
            call.abandoned = Some(now);
            self.note(now + self.rules.abandoned);
        }
        None
    }

    /// A worker can take calls.
    pub fn ready(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        if book.phase != Phase::Starting {
            return;
        }
        book.phase = Phase::Serving;
        self.census = None;
        self.becomes_free(now, worker);
        self.retire_due();
    }

    /// A worker answered a call it held. A good answer shows that the program works. Gives the
    /// call back to be answered, unless it was answered elsewhere already.
    pub fn answered(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
        good: bool,
    ) -> Option<Ended<P>> {
        let book = self.workers.get_mut(&worker)?;
        let was_overdue = book.overdue;
        let released = book.release(id, now)?;
        book.proven |= good;
        let is_free = book.held.is_empty();
        if good {
            self.backoff.forget();
        }
        if released.was_head || !self.rules.in_order {
            self.estimate.took(now.saturating_duration_since(released.ran_since));
        }
        if is_free {
            self.becomes_free(now, worker);
        } else {
            self.note_run_deadline(worker);
        }
        if !is_free && was_overdue && released.was_head {
            self.end_rescue(now, worker);
        }
        let call = self.calls.get_mut(id)?;
        call.holders -= 1;
        if call.holders > 0 {
            self.orphan(now, id);
        }
        self.leave_line(id);
        self.end(now, id, false)
    }

    /// A worker is no use any more, for a reason found outside the books. Its calls are
    /// answered, tried again or failed; of the newest `unwritten` ones it has read nothing.
    pub fn lose(&mut self, now: Instant, worker: WorkerId, loss: &Loss, unwritten: usize) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        if !book.proven && book.phase != Phase::Leaving {
            self.backoff.failed(now);
        }
        let suspects = match loss {
            Loss::BadAnswer { calls, .. } => *calls,
            Loss::Ended(_) => 1,
            Loss::UnaskedOutput | Loss::StartFailed => 0,
        };
        let ended = match loss {
            Loss::Ended(exit) => Failure::WorkerLost { exit: Arc::clone(exit) },
            _ => Failure::WorkerLost { exit: "stopped for what it wrote".into() },
        };
        let failure = match loss {
            Loss::BadAnswer { detail, .. } => Failure::BadAnswer { detail: Arc::clone(detail) },
            _ => ended.clone(),
        };
        let suspect = |place, _| (place < suspects).then(|| failure.clone());
        self.clear(now, worker, unwritten, &ended, suspect);
    }

    /// The process of a worker has been reaped; its name is not used again.
    pub fn gone(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
        self.census = None;
        self.free.retain(|free| *free != worker);
    }

    /// Other rules hold from now on; nobody is restarted for it.
    pub fn set_rules(&mut self, now: Instant, rules: Rules) {
        self.rules = rules;
        self.retire_due();
        self.note(now);
    }

    /// The pool ends: whatever is in the books fails as `draining`, all workers stop.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            self.stop_worker(worker, StopReason::Stopped);
            self.clear(now, worker, 0, &Failure::Draining, |_, _| Some(Failure::Draining));
        }
        for id in self.line.drain() {
            if self.calls.waits(id) {
                self.fail(now, id, Failure::Draining);
            }
        }
    }

    /// Draws the consequences of what happened; see the module's head.
    pub fn settle(&mut self, now: Instant) {
        self.dispatch(now);
        let none_since = self.no_free_since.unwrap_or(now);
        self.no_free_since = self.free.is_empty().then_some(none_since);
        self.scale(now);
        self.refuse_if_hopeless(now);
    }

    /// Time has passed: whatever is due is done. Followed by [`State::settle`].
    pub fn tick(&mut self, now: Instant) {
        self.earliest = None;
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in workers {
            self.check_times(now, worker);
            self.check_age(now, worker);
            self.check_head(now, worker);
        }
        self.check_idle(now);
        self.expire_waits(now);
        // After the workers: a call whose caller is told by `Action::Expire` is in the books yet.
        self.expire_callers(now);
    }

    fn dispatch(&mut self, now: Instant) {
        while let Some(id) = self.line.front(|id| self.calls.waits(id)) {
            let idempotent = self.calls.get(id).is_some_and(|call| call.idempotent);
            let Some(worker) = self.pick(now, idempotent) else { break };
            self.give(now, id, worker);
        }
    }

    /// Who takes the next call: the free worker used last, else the one that holds least and
    /// may hold more. Nothing is sent after a head that runs longer than foreseen already.
    fn pick(&self, now: Instant, idempotent: bool) -> Option<WorkerId> {
        if let Some(worker) = self.free.last() {
            return Some(*worker);
        }
        let window = match self.rules.in_flight {
            InFlight::Fixed(calls) => calls,
            InFlight::Auto if idempotent => self.estimate.window(),
            InFlight::Auto => 1,
        };
        if window == 1 {
            return None;
        }
        let patience = match self.rules.in_flight {
            InFlight::Fixed(_) => Duration::MAX,
            InFlight::Auto => self.estimate.overdue_after(),
        };
        let roomy = |book: &&WorkerBook| {
            let is_overdue = book.overdue || now.duration_since(book.head_since) >= patience;
            book.takes_calls() && !is_overdue && book.held.len() < window as usize
        };
        let books = self.workers.values().filter(roomy);
        books.min_by_key(|book| book.held.len()).map(|book| book.id)
    }

    fn give(&mut self, now: Instant, id: CallId, worker: WorkerId) {
        self.leave_line(id);
        let (Some(call), Some(book)) = (self.calls.get_mut(id), self.workers.get_mut(&worker))
        else {
            return;
        };
        call.given = Some(now);
        call.holders += 1;
        let was_free = book.held.is_empty();
        if was_free {
            book.head_since = now;
        }
        book.held.push_back(Held { id, given: now, orphaned: None });
        book.given += 1;
        if book.given >= book.calls_due && !book.is_due {
            book.is_due = true;
            self.census = None;
        }
        book.patience = self.estimate.overdue_after();
        let overdue_at = book.head_since + book.patience;
        let abandoned = call.abandoned.map(|since| since + self.rules.abandoned);
        self.note(abandoned.unwrap_or(now + self.rules.timeout).min(now + self.rules.timeout));
        if was_free {
            self.not_free(worker);
        } else if self.rules.in_flight == InFlight::Auto {
            self.note(overdue_at);
        }
        self.actions.push(Action::Give { worker, call: id });
    }

    fn not_free(&mut self, worker: WorkerId) {
        if self.free.last() == Some(&worker) {
            self.free.pop();
        } else {
            self.free.retain(|free| *free != worker);
        }
    }

    pub(super) fn becomes_free(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        book.idle_since = now;
        if book.phase != Phase::Serving {
            return;
        }
        if !book.takes_calls() {
            self.stop_worker(worker, StopReason::Recycled);
            return;
        }
        let is_due = book.is_due;
        self.free.push(worker);
        self.note_idle(now);
        if is_due {
            self.retire_due();
        }
    }

    /// Takes a call that waits out of the queue's count; it stays in the books.
    pub(super) fn leave_line(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.waits_until.take().is_some() {
            let bytes = call.bytes;
            self.line.left(bytes, |id| self.calls.waits(id));
        }
    }

    /// Puts a call back, ahead of all that wait; the clock of its wait starts again.
    pub(super) fn rejoin(&mut self, now: Instant, id: CallId) {
        let deadline = now + self.rules.queue_wait;
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.waits_until.is_none() {
            call.waits_until = Some(deadline);
            self.line.push_front(id, call.bytes, deadline);
            self.note(deadline);
        }
    }

    /// Takes all calls out of a worker that is no use any more. `suspect` says which of them
    /// fails and how, by its place and id; of the rest, those that may run twice, or were not
    /// read, are put back in their order, the others are lost.
    pub(super) fn clear(
        &mut self,
        now: Instant,
        worker: WorkerId,
        unwritten: usize,
        lost: &Failure,
        suspect: impl Fn(usize, CallId) -> Option<Failure>,
    ) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        book.phase = Phase::Leaving;
        let held = std::mem::take(&mut book.held);
        self.census = None;
        self.not_free(worker);
        let read = held.len() - unwritten.min(held.len());
        let mut again = Vec::new();
        for (place, Held { id, .. }) in held.into_iter().enumerate() {
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.holders -= 1;
            if call.holders > 0 || call.waits_until.is_some() {
                continue;
            }
            let is_abandoned = call.abandoned.is_some();
            let goes_back = call.idempotent || place >= read;
            let failure = suspect(place, id).filter(|_| place < read);
            let again_anyway = failure.is_none() && goes_back;
            let failure = failure.unwrap_or_else(|| lost.clone());
            if !is_abandoned && (again_anyway || self.tries_again(id, &failure)) {
                again.push(id);
            } else {
                self.fail(now, id, failure);
            }
        }
        again.into_iter().rev().for_each(|id| self.rejoin(now, id));
    }

    /// Only a lost worker is a reason to try again, only for a call that may run twice, and
    /// only so often.
    fn tries_again(&mut self, id: CallId, failure: &Failure) -> bool {
        let retries = self.rules.retries;
        let Some(call) = self.calls.get_mut(id) else { return false };
        let again = matches!(failure, Failure::WorkerLost { .. })
            && call.idempotent
            && call.retries < retries;
        call.retries += u32::from(again);
        again
    }

    pub(super) fn fail(&mut self, now: Instant, id: CallId, failure: Failure) {
        self.leave_line(id);
        if let Some(ended) = self.end(now, id, false) {
            self.actions.push(Action::Fail(ended, failure));
        }
    }

    pub(super) fn end(&mut self, now: Instant, id: CallId, left: bool) -> Option<Ended<P>> {
        let call = self.calls.remove(id)?;
        if let Some(deadline) = call.caller_deadline {
            self.caller_deadlines.remove(&(deadline, id));
        }
        let given = call.given.unwrap_or(now);
        let timing = Timing {
            queue: given.saturating_duration_since(call.accepted),
            work: now.saturating_duration_since(given),
        };
        Some(Ended { payload: call.payload, timing, abandoned: left || call.abandoned.is_some() })
    }

    pub(super) fn stop_worker(&mut self, worker: WorkerId, reason: StopReason) {
        let Some(book) = self.workers.get_mut(&worker) else { return };
        if book.phase == Phase::Leaving {
            return;
        }
        book.phase = Phase::Leaving;
        self.census = None;
        self.not_free(worker);
        self.actions.push(Action::Stop(worker, reason));
    }

    pub(super) fn push(&mut self, action: Action<P>) {
        self.actions.push(action);
    }

    /// A deadline was made: [`State::next_deadline`] is not after it.
    pub(super) fn note(&mut self, deadline: Instant) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }
}
