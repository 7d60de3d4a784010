//! What the pool decides: who gets the next call, when a call has waited or run long enough,
//! what becomes of the calls of a worker that is lost.
//!
//! Pure: events come in with the time at which they happened, [`Action`]s come out. The shell
//! (`driver`) carries the actions out and reports back. Because nothing here reads a clock or
//! touches a process, `tests/sim` can run days of crashes and bursts in a second and replay
//! any of it from its seed.
//!
//! An event first changes the books; [`State::settle`] then draws the consequences, in this
//! order: calls that have waited too long are refused; free workers are given calls, those that
//! were put back first, then the oldest (the newest while the queue stands, see
//! `policy::overload`); the number of workers is compared with what is wanted; a pool that cannot
//! get a worker refuses those who wait.
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

use super::actions::{Action, Ended, NewCall, StopReason};
use super::books::{CallBook, Calls, Held, Phase, Stay, WorkerBook};
use super::estimate::Estimate;
use super::queue::Line;
use super::refusals::Promises;
use super::rules::Rules;
use super::scale::Census;
use super::suspects::Fingerprints;
use crate::base::{CallId, Failure, Timing, WorkerId};
use crate::config::InFlight;
use crate::policy::{Backoff, Fingerprint, Overload, Poison};

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
    /// What became of the last worker that was started in vain, for callers.
    pub(super) in_vain: Option<Arc<str>>,
    pub(super) estimate: Estimate,
    pub(super) overload: Overload,
    pub(super) promises: Promises,
    pub(super) poison: Poison,
    pub(super) fingerprints: Fingerprints<P>,
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
    /// `fingerprint` tells questions apart; it is asked only while some question is suspected.
    pub fn new(rules: Rules, seed: u64, fingerprint: impl Fn(&P) -> Fingerprint + 'static) -> Self {
        Self {
            rules,
            calls: Calls::new(),
            line: Line::default(),
            workers: BTreeMap::new(),
            free: Vec::new(),
            no_free_since: None,
            census: None,
            backoff: Backoff::new(seed),
            in_vain: None,
            estimate: Estimate::default(),
            overload: Overload::default(),
            promises: Promises::default(),
            poison: Poison::default(),
            fingerprints: Fingerprints::new(fingerprint),
            seed: !seed,
            worker_serial: 0,
            stopping: false,
            caller_deadlines: BTreeSet::new(),
            earliest: None,
            actions: Vec::new(),
        }
    }

    /// Moves what is to be done to the end of `to`, oldest first.
    pub fn move_actions(&mut self, to: &mut Vec<Action<P>>) {
        to.append(&mut self.actions);
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
    /// The payload comes back with `queue_full`, `no_worker`, `poisonous` or `draining`.
    pub fn arrive(&mut self, now: Instant, call: NewCall<P>) -> Result<CallId, (P, Failure)> {
        let question = self.question_of(now, &call.payload);
        if let Some(refusal) = self.refusal(now, question, call.bytes, call.idempotent) {
            return Err((call.payload, refusal));
        }
        let deadline = now + self.rules.queue_wait;
        let latest = self.rules.latest(now);
        let id = self.calls.insert(|id| CallBook {
            id,
            payload: call.payload,
            bytes: call.bytes,
            idempotent: call.idempotent,
            accepted: now,
            waits_until: Some(deadline),
            latest,
            caller_deadline: call.caller_deadline,
            given: None,
            holders: 0,
            retries: 0,
            abandoned: None,
            question,
            is_trial: false,
        });
        if let Some(question) = question {
            self.begin_trial(now, question, id);
        }
        self.line.push_back(id, call.bytes, deadline);
        self.note(deadline);
        if let Some(deadline) = call.caller_deadline {
            self.caller_deadlines.insert((deadline, id));
            self.note(deadline);
        }
        Ok(id)
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
        let busy_for = now.saturating_duration_since(released.busy_since);
        if good {
            self.backoff.forget();
            self.acquit(id);
        }
        self.estimate.finished(busy_for);
        if released.was_head || !self.rules.in_order {
            self.estimate.took(now.saturating_duration_since(released.ran_since));
            let since = if self.rules.in_order { released.ran_since } else { released.given };
            self.estimate.served(now.saturating_duration_since(since));
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
        // A tick may come late; a call that has waited too long is not handed over for that.
        self.expire_waits(now);
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
        loop {
            let oldest = self.line.oldest(|id| self.calls.waits(id));
            let accepted = oldest.and_then(|id| self.calls.get(id)).map(|call| call.accepted);
            self.overload.look(now, accepted, self.rules.queue_wait);
            let newest_first = self.overload.is_on();
            let Some(id) = self.line.next(newest_first, |id| self.calls.waits(id)) else { break };
            if self.refuse_waiting(now, id) || self.fail_if_late(now, id) {
                continue;
            }
            let idempotent = self.calls.get(id).is_some_and(|call| call.idempotent);
            let Some(worker) = self.pick(now, idempotent) else { break };
            self.line.taken(id);
            self.give(now, id, worker);
        }
    }

    /// Who takes the next call: the free worker used last, else the one that holds least and
    /// may hold more. Nothing is sent after a head that runs longer than foreseen already.
    pub(super) fn pick(&self, now: Instant, idempotent: bool) -> Option<WorkerId> {
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
        let mut is_newly_due = false;
        if was_free {
            book.head_since = now;
            book.busy_since = now;
        }
        let in_peace = !self.overload.is_on();
        book.held.push_back(Held { id, given: now, orphaned: None, in_peace });
        book.given += 1;
        if book.given >= book.calls_due {
            is_newly_due = !book.is_due();
            // Whoever wants a process for each call wants it more than no wait for the next.
            let at_once = self.rules.recycle_calls == Some(1);
            book.stay = book.stay.max(if at_once { Stay::Parting } else { Stay::Due });
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
        if is_newly_due {
            self.census = None;
            self.retire_due();
        }
        self.actions.push(Action::Give { worker, call: id });
    }

    pub(super) fn not_free(&mut self, worker: WorkerId) {
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
        let is_due = book.is_due();
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
        if call.is_trial
            && let Some(question) = call.question
        {
            self.poison.end_trial(question, id);
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
