//! The calls that wait for a worker: first those that were put back, then the oldest or, under
//! overload, the newest.
//!
//! Pure. A call that leaves from the middle stays in its list as a mark, which is skipped when
//! it is reached. Marks are swept before they outnumber the calls that still wait.

use std::collections::VecDeque;
use std::time::Instant;

use super::alarms::Alarms;
use crate::base::CallId;

/// How many marks a list may hold before a sweep, however few calls wait.
const MARKS_FREE: usize = 64;

/// The queue of one pool. It does not know which of its ids still wait; the caller says so, see
/// [`Queue::next`].
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Calls that were put back, in the order in which they are given again.
    again: VecDeque<CallId>,
    /// Calls that no worker has had yet, oldest first.
    order: VecDeque<CallId>,
    deadlines: VecDeque<(Instant, CallId)>,
    waiting: usize,
    bytes: u64,
}

impl Queue {
    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Bytes of the questions that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A call joins at the end.
    pub(super) fn push_back(
        &mut self,
        id: CallId,
        bytes: usize,
        deadline: Instant,
        alarms: &mut Alarms,
    ) {
        self.order.push_back(id);
        self.joined(id, bytes, deadline, alarms);
    }

    /// A call that a worker has had is put back, ahead of all others.
    pub(super) fn push_front(
        &mut self,
        id: CallId,
        bytes: usize,
        deadline: Instant,
        alarms: &mut Alarms,
    ) {
        self.again.push_front(id);
        self.joined(id, bytes, deadline, alarms);
    }

    fn joined(&mut self, id: CallId, bytes: usize, deadline: Instant, alarms: &mut Alarms) {
        alarms.at(deadline);
        // Usually the last, but not after new rules have made waits shorter.
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

    /// A call no longer waits. It may stay in the queue as a mark.
    pub(super) fn left(&mut self, bytes: usize, waits: impl Fn(CallId) -> bool) {
        self.waiting -= 1;
        self.bytes -= bytes as u64;
        for list in [&mut self.again, &mut self.order] {
            if list.len() > 2 * self.waiting + MARKS_FREE {
                list.retain(|id| waits(*id));
            }
        }
        if self.deadlines.len() > 2 * self.waiting + MARKS_FREE {
            self.deadlines.retain(|(_, id)| waits(*id));
        }
    }

    /// The call whose turn it is; `waits` returns false for marks.
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

    /// Removes the call that [`Queue::next`] returned, because a worker gets it. It leaves no
    /// mark: if it is put back it must not be in two places.
    pub(super) fn taken(&mut self, id: CallId) {
        if self.again.front() == Some(&id) {
            self.again.pop_front();
        } else if self.order.front() == Some(&id) {
            self.order.pop_front();
        } else if self.order.back() == Some(&id) {
            self.order.pop_back();
        }
    }

    /// The oldest call that no worker has had yet.
    pub(super) fn oldest(&mut self, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
        front(&mut self.order, &waits)
    }

    /// The earliest deadline of a call that waits, with its call. `deadline_of` returns the
    /// deadline of a call that waits and `None` for a mark. An id with a different deadline was
    /// put back later, and has another entry.
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

    /// All ids, marks included: those put back, then the others, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = CallId> {
        self.again.iter().chain(&self.order).copied()
    }

    /// Removes and returns all ids, marks included.
    pub(super) fn drain(&mut self) -> VecDeque<CallId> {
        let mut all = std::mem::take(&mut self.again);
        all.append(&mut self.order);
        all
    }
}

fn front(list: &mut VecDeque<CallId>, waits: impl Fn(CallId) -> bool) -> Option<CallId> {
    while let Some(id) = list.front() {
        if waits(*id) {
            return Some(*id);
        }
        list.pop_front();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_worker_gets_leaves_no_mark_wherever_it_stood() {
        let (mut queue, mut alarms) = (Queue::default(), Alarms::default());
        for id in 1..=4 {
            queue.push_back(CallId(id), 1, Instant::now(), &mut alarms);
        }
        queue.push_front(CallId(5), 1, Instant::now(), &mut alarms);
        for (newest_first, expected) in [(true, 5), (true, 4), (false, 1), (true, 3)] {
            let id = queue.next(newest_first, |_| true).expect("one waits");
            assert_eq!(id, CallId(expected));
            queue.taken(id);
        }
        assert_eq!(queue.ids().collect::<Vec<_>>(), [CallId(2)]);
    }
}
