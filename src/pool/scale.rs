//! How many workers there are: kept ready, added under load, replaced, let go.
//!
//! Pure: the part of [`State`] that starts and stops workers.

use std::time::{Duration, Instant};

use super::actions::{Action, StopReason};
use super::crew::{Census, Phase, WorkerBook};
use super::state::State;
use crate::base::{Failure, WorkerId};

/// When no worker has been free for this long, one more is started; each call that has waited
/// longer gets a start of its own.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// Starts that take no longer than this are worth waiting for: of those that are added, no more run at
/// once than there are processors. One after the other, the first is ready sooner and the last no later.
pub(super) const QUICK_START: Duration = Duration::from_millis(200);
/// A start that has taken this long holds up no other.
const STARTS_LONG: Duration = Duration::from_secs(1);
/// A worker above the least leaves after it has been free for this long.
const IDLE_MOST: Duration = Duration::from_secs(30);

impl<P> State<P> {
    /// Compares the number of workers with what is wanted.
    pub(super) fn scale(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let census = self.crew.census();
        if census.counted > self.rules.most {
            return self.let_go(census.counted - self.rules.most);
        }
        let missing = self.rules.least.saturating_sub(census.counted);
        let room = self.rules.most - census.counted;
        let spares = self.spares(now, census).max(self.background_demand(now, census));
        let wanted = missing.max(spares).min(room);
        if wanted == 0 {
            return;
        }
        if let Some(until) = self.backoff.blocked_until(now) {
            return self.alarms.at(until);
        }
        let probing = self.backoff.is_failing() && census.serving == 0;
        let starts = match (probing, census.starting) {
            (false, _) => wanted,
            (true, 0) => 1,
            (true, _) => 0,
        };
        (0..starts).for_each(|_| self.start(now));
    }

    /// How many workers to add although the least are there.
    fn spares(&mut self, now: Instant, census: Census) -> usize {
        let Some(since) = self.crew.none_free_since() else { return 0 };
        if census.counted >= self.rules.most {
            return 0;
        }
        if now < since + PATIENCE {
            self.alarms.at(since + PATIENCE);
            return 0;
        }
        let (impatient, next) = self.impatient(now);
        if let Some(accepted) = next {
            self.alarms.at(accepted + PATIENCE);
        }
        let for_nobody = usize::from(census.starting == 0);
        impatient.saturating_sub(census.starting).max(for_nobody).min(self.starts_at_once(now))
    }

    /// Notes at the end of a settling whether workers are being added because calls wait. What gathers for
    /// groups, or may go to other servers, is given in its order in any case.
    pub(super) fn note_growth(&mut self) {
        let may_grow = self.rules.most > self.rules.least
            && self.rules.group.is_none()
            && self.spread.is_none();
        let grows = may_grow && self.adds_workers();
        let grew = std::mem::replace(&mut self.is_growing, grows);
        if grows && !grew {
            // The others are looked at sooner from now on.
            let looks = self.crew.iter().filter_map(|book| self.step_back_at(book));
            if let Some(first) = looks.min() {
                self.alarms.at(first);
            }
        }
    }

    /// Returns true while workers start that do not take the place of others, and a start is quick.
    fn adds_workers(&mut self) -> bool {
        let census = self.crew.census();
        census.starting > 0
            && census.counted > self.rules.least
            && census.counted < self.rules.most
            && !self.backoff.is_failing()
            && self.crew.start_time().is_some_and(|time| time <= QUICK_START)
    }

    /// How many more workers may start at the same time.
    fn starts_at_once(&mut self, now: Instant) -> usize {
        if self.crew.start_time().is_none_or(|time| time > QUICK_START) {
            return usize::MAX;
        }
        let starting = self.crew.iter().filter(|book| book.phase == Phase::Starting);
        let ends = starting.map(|book| book.started + STARTS_LONG);
        let ends: Vec<Instant> = ends.filter(|ends| *ends > now).collect();
        let room = self.rules.processors.saturating_sub(ends.len());
        if let Some(first) = ends.into_iter().min().filter(|_| room == 0) {
            self.alarms.at(first);
        }
        room
    }

    /// How many calls have waited for `PATIENCE`, counted up to the most workers, and when the
    /// oldest of the other calls was accepted.
    fn impatient(&self, now: Instant) -> (usize, Option<Instant>) {
        let mut impatient = 0;
        let mut next: Option<Instant> = None;
        for list in self.line.lists() {
            for call in list.iter().filter_map(|id| self.calls.get(*id)) {
                if call.waits_until.is_none() {
                    continue;
                }
                let is_impatient = now >= call.since + PATIENCE;
                if is_impatient {
                    impatient += 1;
                } else {
                    next = Some(next.map_or(call.since, |first| first.min(call.since)));
                }
                if impatient >= self.rules.most {
                    return (impatient, next);
                }
                // The calls of a tenant that no worker has had yet have the oldest first.
                let are_others_younger = !is_impatient && call.given.is_none();
                if are_others_younger {
                    break;
                }
            }
        }
        (impatient, next)
    }

    /// Stops a worker, unless it is leaving already.
    pub(super) fn stop_worker(&mut self, worker: WorkerId, reason: StopReason) {
        if self.crew.leave(worker) {
            self.push(Action::Stop(worker, reason));
        }
    }

    fn start(&mut self, now: Instant) {
        let worker = self.crew.start(now, &self.rules, &mut self.alarms);
        self.push(Action::Start(worker));
    }

    /// Parts with this many workers: at once with those that start or are free, with busy ones
    /// when they become free.
    fn let_go(&mut self, surplus: usize) {
        let mut kept: Vec<&WorkerBook> = self.crew.iter().filter(|book| book.counts()).collect();
        kept.sort_by_key(|book| (book.phase, book.held.len(), book.idle_since));
        let parting: Vec<WorkerId> = kept.iter().take(surplus).map(|book| book.id).collect();
        for id in parting {
            match self.crew.get(id) {
                Some(book) if !book.held.is_empty() => self.crew.make_due(id),
                _ => self.stop_worker(id, StopReason::ScaledDown),
            }
        }
        self.retire_due();
    }

    /// Stops workers above the least that have been free for `IDLE_MOST`.
    pub(super) fn check_idle(&mut self, now: Instant) {
        if self.may_grow_for_background() {
            return self.alarms.at(now + IDLE_MOST);
        }
        let mut surplus = self.crew.census().counted.saturating_sub(self.rules.least);
        for id in self.crew.free().to_vec() {
            let Some(book) = self.crew.get(id).filter(|book| book.counts()) else { continue };
            let leaves_at = book.idle_since + IDLE_MOST;
            if surplus == 0 {
                return;
            }
            if leaves_at > now {
                return self.alarms.at(leaves_at);
            }
            surplus -= 1;
            self.stop_worker(id, StopReason::ScaledDown);
        }
    }

    /// Sets the alarm at which a worker that became free may have to leave.
    pub(super) fn note_idle(&mut self, now: Instant) {
        if self.rules.most > self.rules.least {
            self.alarms.at(now + IDLE_MOST);
        }
    }

    /// Marks a worker to be replaced if it has reached its age.
    pub(super) fn check_age(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let Some(due_at) = book.due_at.filter(|_| book.counts()) else { return };
        if due_at > now {
            return self.alarms.at(due_at);
        }
        self.recycle(worker);
        if self.crew.get(worker).is_some_and(WorkerBook::counts) {
            self.alarms.at(now + Duration::from_secs(1));
        }
    }

    /// Marks a worker to be replaced, for a reason found outside the books, such as its memory.
    /// Does nothing while another is being replaced, so that a pool whose workers all grew is
    /// not renewed at once.
    pub fn recycle(&mut self, worker: WorkerId) {
        if self.crew.iter().any(|book| book.is_due() && book.phase != Phase::Leaving) {
            return;
        }
        self.crew.make_due(worker);
        self.retire_due();
    }

    /// Replaces a worker because an operator wants it, whatever else is being replaced. Returns false
    /// if there is no such worker.
    pub fn renew(&mut self, worker: WorkerId) -> bool {
        let is_there = self.crew.get(worker).is_some();
        self.crew.make_due(worker);
        self.retire_due();
        is_there
    }

    /// Replaces all workers because an operator wants it. As many new ones as the pool keeps must
    /// serve before the first old one leaves. Returns how many are replaced.
    pub fn renew_all(&mut self) -> usize {
        let here = self.crew.iter().filter(|book| book.phase != Phase::Leaving);
        let here: Vec<WorkerId> = here.map(|book| book.id).collect();
        for worker in &here {
            self.crew.make_due(*worker);
        }
        self.retire_due();
        here.len()
    }

    /// Kills a worker because an operator wants it. It gets no more calls; those it holds are lost
    /// when its process has ended. Returns false if there is no such worker.
    pub fn kill(&mut self, worker: WorkerId) -> bool {
        let Some(book) = self.crew.get(worker) else { return false };
        if book.held.is_empty() {
            self.crew.leave(worker);
        } else {
            self.crew.part_with(worker);
        }
        self.push(Action::Kill(worker));
        true
    }

    /// A worker must not be given another call: it leaves when it holds nothing.
    pub fn part_with(&mut self, worker: WorkerId) {
        self.crew.part_with(worker);
    }

    /// Parts with the workers that are to be replaced, if enough others serve: at once with those
    /// that hold nothing, with busy ones when they become free.
    pub(super) fn retire_due(&mut self) {
        let is_fresh = |book: &&WorkerBook| book.phase == Phase::Serving && !book.is_due();
        if self.crew.iter().filter(is_fresh).count() < self.rules.least {
            return;
        }
        for id in self.crew.part_with_due() {
            self.stop_worker(id, StopReason::Recycled);
        }
    }

    /// Fails all calls that wait if no worker will serve them soon.
    pub(super) fn refuse_if_hopeless(&mut self, now: Instant) {
        if !self.has_no_prospect() || self.stopping {
            return;
        }
        for id in self.line.drain() {
            if self.calls.waits(id) {
                let failure = self.no_worker(now);
                self.fail(now, id, failure);
            }
        }
    }

    /// Returns true if no worker serves and the last starts failed.
    pub(super) fn has_no_prospect(&self) -> bool {
        self.backoff.is_tripped() && !self.crew.serves()
    }

    /// The failure of a call that finds no worker.
    pub(super) fn no_worker(&self, now: Instant) -> Failure {
        let until = self.backoff.blocked_until(now).unwrap_or(now);
        let why = match &self.in_vain {
            Some(why) => format!("and none can be started now: {why}").into(),
            None => "and none has been yet".into(),
        };
        Failure::NoWorker { why, retry_after: until - now }
    }
}
