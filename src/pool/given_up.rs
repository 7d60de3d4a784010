//! Calls that took too long and are given up alone, and the workers that still owe their answers.
//!
//! Pure: the part of [`State`] that keeps one call's fate from the others in its worker. It is for
//! pools whose answers prove which call they are for: there a late answer is known as such, and is
//! dropped. The worker goes on, and each call that was given up takes the room of one.
//!
//! A worker is useless once such calls take all its room, or once it has given no answer for two
//! `timeout`s since it got the oldest of them. It is then stopped. If it still holds calls that
//! may not run twice, it is kept until they have ended; meanwhile it takes no others, and another
//! worker is started in its place.

use std::time::Instant;

use super::actions::{Action, StopReason};
use super::crew::{Phase, WorkerBook};
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

/// For how many `timeout`s a worker may give no answer: one for the call that was given up, and
/// another one for the calls beside it.
const SILENT_TIMEOUTS: u32 = 2;

impl<P> State<P> {
    /// A worker answered some call, or a part of one: it works.
    pub fn heard(&mut self, now: Instant, worker: WorkerId) {
        self.crew.heard(now, worker);
    }

    /// A worker answered a call that was given up. It has room for one more.
    pub fn answered_late(&mut self, now: Instant, worker: WorkerId, id: CallId) {
        self.crew.heard(now, worker);
        if self.crew.answered_late(worker, id) {
            self.push(Action::ComeForward(worker));
        }
    }

    /// Returns true if a worker whose calls in `late` have run out of time is useless, and no other
    /// call would fail if it were stopped.
    pub(super) fn may_stop_for(&self, now: Instant, worker: WorkerId, late: &[CallId]) -> bool {
        let Some(book) = self.crew.get(worker) else { return false };
        let is_full = book.given_up.len() + late.len() >= self.rules.given_up_most();
        let is_silent = self.silent_until(book).is_some_and(|until| until <= now);
        (is_full || is_silent) && self.costs_nobody(now, book, late)
    }

    /// Gives up these calls, which a worker holds. Their callers are told, unless another worker
    /// may answer them yet.
    pub(super) fn give_up(&mut self, now: Instant, worker: WorkerId, late: &[CallId]) {
        for id in late {
            let Some(released) = self.crew.give_up(now, worker, *id) else { continue };
            self.push(Action::GiveUp { worker, call: *id });
            if released.charge.is_some() {
                self.estimate.finished(released.busy.time());
            }
            let after = self.timeout_of(*id);
            self.settle_charge(&released);
            if let Some(stay) = released.freed {
                self.freed(now, worker, stay);
            }
            let Some(call) = self.calls.get_mut(*id) else { continue };
            call.holders -= 1;
            let conduct = call.conduct;
            if call.holders == 0 && call.waits_until.is_none() {
                self.fail(now, *id, Failure::Timeout { after, conduct });
            }
        }
        self.note_run_deadline(worker);
        self.stop_if_useless(worker);
        let Some(book) = self.crew.get(worker).filter(|book| book.phase == Phase::Serving) else {
            return;
        };
        if book.is_mute && self.costs_nobody(now, book, &[]) {
            return self.stop_mute(now, worker);
        }
        if book.counts() && self.is_full(book) {
            self.crew.make_due(worker);
            self.retire_due();
        }
    }

    /// Stops a worker that holds nothing and can take nothing.
    pub(super) fn stop_if_useless(&mut self, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let is_idle = book.phase == Phase::Serving && book.held.is_empty();
        if is_idle && (self.is_full(book) || book.is_mute) {
            self.stop_worker(worker, StopReason::Timeout);
        }
    }

    /// Checks whether a worker has given no answer for too long.
    pub(super) fn check_silence(&mut self, now: Instant, worker: WorkerId) {
        let Some(book) = self.crew.get(worker) else { return };
        let Some(until) = self.silent_until(book) else { return };
        if until > now {
            return self.alarms.at(until);
        }
        if self.costs_nobody(now, book, &[]) {
            return self.stop_mute(now, worker);
        }
        self.crew.mute(worker);
        self.retire_due();
    }

    fn stop_mute(&mut self, now: Instant, worker: WorkerId) {
        self.stop_worker(worker, StopReason::Timeout);
        let lost = Failure::WorkerLost { exit: "stopped because it gave no answers".into() };
        self.clear(now, worker, 0, &lost, |_, _| None);
    }

    /// Returns until when a worker may give no answer; `None` if there is no such limit now.
    pub(super) fn silent_until(&self, book: &WorkerBook) -> Option<Instant> {
        if book.phase != Phase::Serving || book.is_mute {
            return None;
        }
        Some(book.silent_since()? + self.rules.timeout * SILENT_TIMEOUTS)
    }

    /// Returns true if calls that were given up take all the room of a worker.
    pub(super) fn is_full(&self, book: &WorkerBook) -> bool {
        book.given_up.len() >= self.rules.given_up_most()
    }

    /// Returns true if stopping a worker fails no calls except those in `late`.
    fn costs_nobody(&self, now: Instant, book: &WorkerBook, late: &[CallId]) -> bool {
        book.held.iter().filter(|held| !late.contains(&held.id)).all(|held| {
            let Some(call) = self.calls.get(held.id) else { return true };
            let is_elsewhere = call.holders > 1;
            let is_put_back = call.idempotent && now < call.latest;
            is_elsewhere || call.abandoned.is_some() || is_put_back
        })
    }
}
