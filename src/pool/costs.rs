//! What a call has cost when it leaves its worker: for the estimates, and for its tenant.
//!
//! Pure: a part of [`State`].

use std::time::Instant;

use super::crew::Released;
use super::line::Nanos;
use super::state::State;

impl<P> State<P> {
    /// The estimates learn from a call that a worker has answered.
    pub(super) fn learn(&mut self, now: Instant, released: &Released) {
        self.estimate.finished(released.busy.time());
        if released.was_head || !self.rules.in_order {
            let ran = released.busy.or(released.ran_since, now);
            self.estimate.took(ran);
            self.estimate.served(if self.rules.in_order {
                ran
            } else {
                released.busy.or(released.given, now)
            });
        }
    }

    /// The tenant of a call that left a worker pays for the time that the call took up.
    pub(super) fn settle_charge(&mut self, released: &Released) {
        let Some(charge) = released.charge else { return };
        let busy = released.busy;
        let since = self.rules.took_since(released.given, busy.since());
        let took = busy.or(since, busy.until());
        self.line.settle(charge, Some(took), self.usual());
    }

    /// How much of a worker's time a call takes up on average.
    pub(super) fn usual(&self) -> Nanos {
        self.rules.usual(&self.estimate)
    }
}
