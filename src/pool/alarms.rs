//! When the pool has to look at its books again.
//!
//! Pure.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::base::CallId;

/// The earliest deadline in a pool's books, and the deadlines that callers brought along.
///
/// An alarm may ring when nothing is due, for example because the call was answered; it must not
/// ring late. `State::check` compares the alarms with the deadlines in the books, so the
/// simulation finds an alarm that was not set.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    earliest: Option<Instant>,
    callers: BTreeSet<(Instant, CallId)>,
}

impl Alarms {
    /// When the next alarm rings.
    pub(super) fn next(&self) -> Option<Instant> {
        self.earliest
    }

    /// Sets an alarm.
    pub(super) fn at(&mut self, deadline: Instant) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// The alarm rang: all deadlines are looked at, and those still to come set it again.
    pub(super) fn ring(&mut self) {
        self.earliest = None;
    }

    /// Sets the alarm at which the caller of a call stops waiting.
    pub(super) fn at_caller_deadline(&mut self, deadline: Instant, id: CallId) {
        self.callers.insert((deadline, id));
        self.at(deadline);
    }

    /// Removes the deadline of a caller: the call has ended.
    pub(super) fn drop_caller_deadline(&mut self, deadline: Instant, id: CallId) {
        self.callers.remove(&(deadline, id));
    }

    /// Removes and returns the next call whose caller has stopped waiting. Sets an alarm for the
    /// next one if there is none.
    pub(super) fn next_late_caller(&mut self, now: Instant) -> Option<CallId> {
        let (deadline, id) = self.callers.first().copied()?;
        if deadline > now {
            self.at(deadline);
            return None;
        }
        self.callers.pop_first();
        Some(id)
    }

    /// The earliest deadline of a caller.
    pub(super) fn first_caller_deadline(&self) -> Option<Instant> {
        self.callers.first().map(|(deadline, _)| *deadline)
    }
}
