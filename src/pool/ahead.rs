//! Calls that are sent to a worker ahead of its work, and taken back if they would wait too long.
//!
//! Pure: a part of [`State`]. Where calls cost microseconds, a worker gets further ones before it
//! has answered the first, so that it need not fall asleep between them. A call behind one that
//! turns out to be slow must not wait for it:
//! - An idempotent call is given to another worker too, and the first answer counts (a rescue).
//! - Where workers read one question at a time, what a worker has not read is taken out of its pipe
//!   again. Such a call has not begun, so it may run elsewhere, whether it may run twice or not.

use std::time::Instant;

use super::calls::CallBook;
use super::rules::TAKEN_BACK_MOST;
use super::state::State;
use crate::base::{CallId, Failure, WorkerId};

/// The most calls in a worker. All but the first can be taken back, because a pipe has as many pages.
const WINDOW_MOST: u32 = 16;

impl<P> State<P> {
    /// Returns true if a worker may be given this call while it has another one.
    pub(super) fn may_follow(&self, call: &CallBook<P>) -> bool {
        if self.rules.takes_back { call.bytes <= TAKEN_BACK_MOST } else { call.idempotent }
    }

    /// How many calls one worker may hold at once, where that is for the pool to decide.
    pub(super) fn window(&self) -> u32 {
        let window = self.estimate.window();
        if self.rules.takes_back { window.min(WINDOW_MOST) } else { window }
    }

    /// These calls were taken out of the pipe of a worker, oldest first. It has not read them.
    pub fn taken_back(&mut self, now: Instant, worker: WorkerId, ids: &[CallId]) {
        for id in ids.iter().rev() {
            let Some(taken) = self.crew.take_back(now, worker, *id) else { continue };
            if let Some(charge) = taken.charge {
                self.line.settle(charge, None, self.usual());
            }
            if let Some(stay) = taken.freed {
                self.freed(now, worker, stay);
            }
            let Some(call) = self.calls.get_mut(*id) else { continue };
            call.holders -= 1;
            if call.abandoned.is_some() {
                self.fail(now, *id, Failure::Cancelled);
            } else if call.holders == 0 {
                self.put_back(now, *id);
            }
        }
        self.stop_if_useless(worker);
    }
}
