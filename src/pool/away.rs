//! Calls that run on other servers.
//!
//! Pure: the part of [`State`] that gives calls away and takes them back. These books are the only
//! truth about a call, wherever it runs: a host that has a free worker claims one, and what it then
//! tells counts only if it fits the host and the [`RunId`].
//!
//! ```text
//! waiting ──claim──▶ away ──┬ answered          ▶ answered, once; any other answer is late
//!                           ├ not begun         ▶ front of the line, always
//!                           ├ worker, host lost ▶ may run twice and has tries left ? front : failed
//!                           ├ unknown there     ▶ may run twice ? front, not counted : failed
//!                           ├ a part was seen   ▶ from then on any loss cuts the answer off
//!                           ├ caller left       ▶ called back, abandoned
//!                           └ time and GRACE over ▶ timeout, called back
//! ```
//!
//! A call that may not run twice is given away again only if its host says that it was not begun.
//! Nothing here exists before [`State::spread`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actions::{Action, Ended};
use super::line::Charge;
use super::sharing::{AwayBook, Spread, Wanted};
pub use super::sharing::{AwayLoss, GRACE, Granted, Hunger};
use super::state::State;
use crate::base::{AwayTime, CallId, Failure, NodeId, RunId, Timing};

/// How long the oldest call waits for a worker of this server before others may have it. A pool
/// without workers of its own does not wait.
const SPILL_AFTER: Duration = Duration::from_millis(2);

impl<P> State<P> {
    /// From now on calls may run on other servers, and calls of others here. `may_go` says which
    /// calls may.
    pub fn spread(&mut self, now: Instant, may_go: fn(&P) -> bool) {
        self.spread = Some(Box::new(Spread {
            may_go,
            away: BTreeMap::new(),
            attempts: 0,
            slots: 0,
            wanted: Wanted::default(),
        }));
        if self.rules.most == 0 {
            // It has no start to wait for.
            self.first_ready.get_or_insert(now);
        }
    }

    /// Other servers have workers for this many calls.
    pub fn slots_elsewhere(&mut self, slots: usize) {
        if let Some(spread) = &mut self.spread {
            spread.slots = slots;
        }
    }

    /// How many calls can be on other servers at once.
    pub(super) fn slots_away(&self) -> usize {
        self.spread.as_ref().map_or(0, |spread| spread.slots.max(spread.away.len()))
    }

    /// Returns which calls other servers may have now; `None` if none waits for one. Call it after
    /// each [`State::settle`]; it sets the alarm for calls that have not waited long enough.
    pub fn hunger(&mut self, now: Instant) -> Option<Hunger> {
        let (_, since) = self.next_to_go(now)?;
        Some(Hunger { since, calls: self.line.len() })
    }

    /// A host with a free worker asks for a call. Returns the call whose turn it is, if it may go
    /// now. `key` is a random number.
    pub fn claim(&mut self, now: Instant, host: NodeId, key: u64) -> Option<Granted> {
        self.expire_waits(now);
        let (id, _) = self.next_to_go(now)?;
        let left = self.timeout_of(id);
        let seat = self.calls.get(id)?.seat?;
        self.line.taken(seat, id);
        self.leave_queue(id);
        let usual = self.usual();
        let charge = Some(self.line.charge(seat, usual));
        let (call, spread) = (self.calls.get_mut(id)?, self.spread.as_mut()?);
        (call.given, call.worker, call.conduct) = (Some(now), None, None);
        call.host = Some(host.tag());
        call.holders += 1;
        spread.attempts = spread.attempts.wrapping_add(1);
        let run = RunId { call: id.0, attempt: spread.attempts, key };
        let until = now + left + GRACE;
        spread.away.insert(id, AwayBook { host, run, given: now, until, has_begun: false, charge });
        self.alarms.at(until);
        Some(Granted { call: id, run, left })
    }

    /// A host answered a call, on which its worker worked this long. A good answer shows that the
    /// program works. Returns the call, for its caller to be told; `None` if the answer is late. What
    /// the call took beyond that work, it was on its way.
    pub fn away_answered(
        &mut self,
        now: Instant,
        (host, run): (NodeId, RunId),
        work: Duration,
        good: bool,
    ) -> Option<Ended<P>> {
        let (id, book) = self.comes_back(host, run)?;
        let took = now.saturating_duration_since(book.given);
        let work = work.min(took);
        self.estimate.finished(work);
        self.estimate.served(work);
        self.settle_away(book, Some(work));
        if good {
            self.suspects.acquit(self.calls.get_mut(id));
        }
        let mut ended = self.end(now, id, false)?;
        let way_us = u32::try_from((took.saturating_sub(work)).as_micros()).unwrap_or(u32::MAX);
        ended.timing.work = work;
        ended.timing.away = Some(AwayTime { host: host.tag(), way_us });
        Some(ended)
    }

    /// The first part of an answer has come, so the call must not run a second time. Returns how long
    /// it has waited and worked; `None` if the part is late, or its caller has left.
    pub fn away_begun(&mut self, now: Instant, host: NodeId, run: RunId) -> Option<Timing> {
        let id = self.away(host, run)?;
        if let Some(book) = self.spread.as_mut()?.away.get_mut(&id) {
            book.has_begun = true;
        }
        self.has_begun(now, id)
    }

    /// An attempt ended without an answer: the call is put back or fails. Returns false if that is
    /// told late.
    pub fn away_lost(
        &mut self,
        now: Instant,
        (host, run): (NodeId, RunId),
        loss: &AwayLoss,
    ) -> bool {
        let Some((id, book)) = self.comes_back(host, run) else { return false };
        let has_run = matches!(loss, AwayLoss::Worker { .. } | AwayLoss::Host { .. });
        let took = now.saturating_duration_since(book.given);
        self.settle_away(book, has_run.then_some(took));
        let exit: Arc<str> = match loss {
            AwayLoss::Worker { exit, .. } => Arc::clone(exit),
            AwayLoss::Host { .. } => "its host is gone".into(),
            AwayLoss::NotBegun | AwayLoss::Unknown => "its host does not know the call".into(),
        };
        let failure = Failure::WorkerLost { exit };
        let Some(call) = self.calls.get_mut(id) else { return true };
        if let AwayLoss::Worker { blamed: true, .. } | AwayLoss::Host { alone: true } = loss
            && let Some(question) = self.suspects.blame(now, call)
        {
            self.push(Action::Refuse(question));
        }
        let Some(call) = self.calls.get(id) else { return true };
        let goes_back = match loss {
            _ if call.abandoned.is_some() || book.has_begun => false,
            AwayLoss::NotBegun => true,
            AwayLoss::Unknown => call.idempotent && now < call.latest,
            AwayLoss::Worker { .. } | AwayLoss::Host { .. } => self.tries_again(now, id, &failure),
        };
        if goes_back {
            self.put_back(now, id);
        } else {
            self.fail(now, id, failure);
        }
        true
    }

    /// A host says that a call took all the time that it had, and that nothing suggests that the pool
    /// is slow.
    pub fn away_ran_over(&mut self, now: Instant, host: NodeId, run: RunId) {
        let Some(id) = self.away(host, run) else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some(question) = self.suspects.ran_over(now, call) {
            self.push(Action::Refuse(question));
        }
    }

    /// Returns true if this host still has the call.
    pub fn is_away(&self, host: NodeId, run: RunId) -> bool {
        self.away(host, run).is_some()
    }

    /// Returns true if some host has this call.
    pub(super) fn is_away_anywhere(&self, id: CallId) -> bool {
        self.spread.as_ref().is_some_and(|spread| spread.away.contains_key(&id))
    }

    /// Returns how many calls are away.
    pub fn calls_away(&self) -> usize {
        self.spread.as_ref().map_or(0, |spread| spread.away.len())
    }

    /// The call whose turn it is, if others may have it now, and since when the oldest call waits.
    fn next_to_go(&mut self, now: Instant) -> Option<(CallId, Instant)> {
        let may_go = self.spread.as_ref()?.may_go;
        if self.stopping {
            return None;
        }
        let id = self.next_call(now)?;
        let call = self.calls.get(id).filter(|call| call.holders == 0 && may_go(&call.payload))?;
        let since = self.waits_since(call.since);
        let spills_at = if self.rules.most == 0 { since } else { since + SPILL_AFTER };
        if spills_at > now {
            self.alarms.at(spills_at);
            return None;
        }
        Some((id, since))
    }

    /// Since when the oldest call waits, while the call whose turn it is waits since `next`.
    pub(super) fn waits_since(&mut self, next: Instant) -> Instant {
        if !self.line.is_overloaded() {
            return next;
        }
        // The newest call has its turn.
        let first = self.line.first_deadline(|id| self.calls.deadline(id));
        let since = first.and_then(|(deadline, _)| deadline.checked_sub(self.rules.queue_wait));
        since.map_or(next, |since| since.min(next))
    }

    /// The call of this attempt, if this host still has it.
    fn away(&self, host: NodeId, run: RunId) -> Option<CallId> {
        let id = CallId(run.call);
        let book = self.spread.as_ref()?.away.get(&id)?;
        (book.host == host && book.run == run).then_some(id)
    }

    /// A call is away no longer.
    fn comes_back(&mut self, host: NodeId, run: RunId) -> Option<(CallId, AwayBook)> {
        let id = self.away(host, run)?;
        let book = self.spread.as_mut()?.away.remove(&id)?;
        if let Some(call) = self.calls.get_mut(id) {
            call.holders -= 1;
        }
        Some((id, book))
    }

    fn settle_away(&mut self, book: AwayBook, took: Option<Duration>) {
        if let Some(charge) = book.charge {
            self.line.settle(charge, took, self.usual());
        }
    }

    /// Nobody waits for this call any longer: its host is told, if it is away.
    pub(super) fn call_back(&mut self, now: Instant, id: CallId) {
        let until = now + self.rules.abandoned + GRACE;
        let Some(spread) = &mut self.spread else { return };
        let Some(book) = spread.away.get_mut(&id) else { return };
        book.until = book.until.min(until);
        let (until, host, run) = (book.until, book.host, book.run);
        self.alarms.at(until);
        self.push(Action::CallBack { host, run });
    }

    /// The pool ends: no call stays away.
    pub(super) fn call_all_back(&mut self, now: Instant) {
        for id in self.all_away().collect::<Vec<_>>() {
            self.give_away_up(now, id, Failure::Draining);
        }
    }

    /// Fails the calls whose hosts have not told in time what became of them.
    pub(super) fn check_away(&mut self, now: Instant) {
        let Some(spread) = &self.spread else { return };
        let late = |book: &&AwayBook| book.until <= now;
        let late: Vec<AwayBook> = spread.away.values().filter(late).copied().collect();
        for AwayBook { run, .. } in late {
            let id = CallId(run.call);
            let failure = Failure::Timeout { after: self.timeout_of(id), conduct: None };
            self.give_away_up(now, id, failure);
        }
        if let Some(next) = self.first_away_deadline() {
            self.alarms.at(next);
        }
    }

    fn give_away_up(&mut self, now: Instant, id: CallId, failure: Failure) {
        let book = self.spread.as_ref().and_then(|spread| spread.away.get(&id).copied());
        let Some(AwayBook { host, run, given, .. }) = book else { return };
        let Some((_, book)) = self.comes_back(host, run) else { return };
        self.settle_away(book, Some(now.saturating_duration_since(given)));
        self.push(Action::CallBack { host, run });
        self.fail(now, id, failure);
    }

    // For `check`.

    pub(super) fn all_away(&self) -> impl Iterator<Item = CallId> {
        self.spread.iter().flat_map(|spread| spread.away.keys().copied())
    }

    pub(super) fn away_charges(&self) -> impl Iterator<Item = &Charge> {
        let books = self.spread.iter().flat_map(|spread| spread.away.values());
        books.filter_map(|book| book.charge.as_ref())
    }

    pub(super) fn first_away_deadline(&self) -> Option<Instant> {
        self.spread.as_ref()?.away.values().map(|book| book.until).min()
    }
}
