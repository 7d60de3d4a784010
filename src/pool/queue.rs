//! The calls that wait for a worker: those that were put back first, then the oldest or, where
//! that helps more, the newest.
//!
//! Pure. A call that leaves from the middle stays in the line as a mark that is passed over
//! when it is reached; marks are swept before they outnumber the calls that still wait.

use std::collections::VecDeque;
use std::time::Instant;

use crate::base::CallId;

/// The marks that may stand in line before a sweep, whatever the length.
const MARKS_FREE: usize = 64;

/// The waiting line of one pool. The caller says which ids still wait; see [`Line::next`].
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Had a worker already.
    again: VecDeque<CallId>,
    /// Had none yet, in the order of their acceptance.
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
        self.again.push_front(id);
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
        for line in [&mut self.again, &mut self.order] {
            if line.len() > 2 * self.waiting + MARKS_FREE {
                line.retain(|id| waits(*id));
            }
        }
        if self.deadlines.len() > 2 * self.waiting + MARKS_FREE {
            self.deadlines.retain(|(_, id)| waits(*id));
        }
    }

    /// Whose turn it is; `waits` tells calls from marks.
    pub(super) fn next(
        &mut self,
        newest_first: bool,
        waits: impl Fn(CallId) -> bool,
    ) -> Option<CallId> {
        let again = front(&mut self.again, &waits);
        if again.is_some() || !newest_first {
            return again.or_else(|| front(&mut self.order, &waits));
        }
        while let Some(id) = self.order.back() {
            if waits(*id) {
                return Some(*id);
            }
            self.order.pop_back();
        }
        None
    }

    /// The call that [`Line::next`] named is on its way to a worker: it leaves no mark, for it
    /// may come back and must then not stand in two places.
    pub(super) fn taken(&mut self, id: CallId) {
        if self.again.front() == Some(&id) {
            self.again.pop_front();
        } else if self.order.front() == Some(&id) {
            self.order.pop_front();
        } else if self.order.back() == Some(&id) {
            self.order.pop_back();
        }
    }

    /// The call that has waited longest of those that had no worker yet.
    pub(super) fn oldest(&mut self, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
        front(&mut self.order, &waits)
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

    /// All that stands in line, marks included: what was put back, then the rest, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = CallId> {
        self.again.iter().chain(&self.order).copied()
    }

    /// All that stands in line, marks included, for a sweep at the end.
    pub(super) fn drain(&mut self) -> VecDeque<CallId> {
        let mut all = std::mem::take(&mut self.again);
        all.append(&mut self.order);
        all
    }
}

fn front(line: &mut VecDeque<CallId>, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
    while let Some(id) = line.front() {
        if waits(*id) {
            return Some(*id);
        }
        line.pop_front();
    }
    None
}
