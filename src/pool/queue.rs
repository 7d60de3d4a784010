//! The calls that wait for a worker: bounded, oldest first.
//!
//! Pure. A call that leaves from the middle stays in the line as a mark that is passed over
//! when it is reached; marks are swept before they outnumber the calls that still wait.

use std::collections::VecDeque;
use std::time::Instant;

use crate::base::CallId;

/// The marks that may stand in line before a sweep, whatever the length.
const MARKS_FREE: usize = 64;

/// The waiting line of one pool. The caller says which ids still wait; see [`Line::front`].
#[derive(Debug, Default)]
pub(super) struct Line {
    order: VecDeque<CallId>,
    deadlines: VecDeque<(Instant, CallId)>,
    waiting: usize,
    bytes: u64,
}

impl Line {
    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Bytes of the questions that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A call joins at the end.
    pub(super) fn push_back(&mut self, id: CallId, bytes: usize, deadline: Instant) {
        self.order.push_back(id);
        self.joined(id, bytes, deadline);
    }

    /// A call that had a worker already comes back, ahead of all others.
    pub(super) fn push_front(&mut self, id: CallId, bytes: usize, deadline: Instant) {
        self.order.push_front(id);
        self.joined(id, bytes, deadline);
    }

    fn joined(&mut self, id: CallId, bytes: usize, deadline: Instant) {
        // The last as a rule; not after other rules have made waits shorter.
        let place = match self.deadlines.back() {
            Some((last, _)) if *last > deadline => {
                self.deadlines.partition_point(|(other, _)| *other <= deadline)
            }
            _ => self.deadlines.len(),
        };
        self.deadlines.insert(place, (deadline, id));
        self.waiting += 1;
        self.bytes += bytes as u64;
    }

    /// A call that waited does so no more; it may still stand in line as a mark.
    pub(super) fn left(&mut self, bytes: usize, waits: impl Fn(CallId) -> bool) {
        self.waiting -= 1;
        self.bytes -= bytes as u64;
        if self.order.len() > 2 * self.waiting + MARKS_FREE {
            self.order.retain(|id| waits(*id));
        }
        if self.deadlines.len() > 2 * self.waiting + MARKS_FREE {
            self.deadlines.retain(|(_, id)| waits(*id));
        }
    }

    /// The oldest call that waits; `waits` tells calls from marks.
    pub(super) fn front(&mut self, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
        while let Some(id) = self.order.front() {
            if waits(*id) {
                return Some(*id);
            }
            self.order.pop_front();
        }
        None
    }

    /// The first deadline among those that wait, with its call. `deadline_of` gives the
    /// deadline of a call that waits, `None` for a mark; an id whose deadline is another by now
    /// has joined again and stands elsewhere.
    pub(super) fn first_deadline(
        &mut self,
        deadline_of: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<(Instant, CallId)> {
        while let Some((deadline, id)) = self.deadlines.front() {
            if deadline_of(*id) == Some(*deadline) {
                return Some((*deadline, *id));
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// All that stands in line, marks included, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = CallId> {
        self.order.iter().copied()
    }

    /// All that stands in line, marks included, for a sweep at the end.
    pub(super) fn drain(&mut self) -> VecDeque<CallId> {
        std::mem::take(&mut self.order)
    }
}
