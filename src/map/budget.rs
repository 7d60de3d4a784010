//! How many items are under way at once, and how many bytes of them.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Lets the reader wait until there is room for one more item.
#[derive(Debug)]
pub(super) struct Budget {
    items_most: usize,
    bytes_most: usize,
    held: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    items: usize,
    bytes: usize,
    is_closed: bool,
}

impl Budget {
    /// Room for this many items and bytes. One item has room in any case.
    pub(super) fn new(items_most: usize, bytes_most: usize) -> Self {
        Self { items_most, bytes_most, held: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits for room, and takes it. Returns false if no more items are wanted.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let is_full = |held: &mut Taken| {
            let has_room =
                held.items < self.items_most && held.bytes.saturating_add(bytes) <= self.bytes_most;
            !held.is_closed && held.items > 0 && !has_room
        };
        let waited = self.freed.wait_while(self.held(), is_full);
        let mut held = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        held.items += 1;
        held.bytes += bytes;
        !held.is_closed
    }

    /// Counts the answer of an item. It may be more than there is room for; then no further item is
    /// taken until enough is free.
    pub(super) fn grow(&self, bytes: usize) {
        self.held().bytes += bytes;
    }

    /// Gives back the room of an item and its answer.
    pub(super) fn free(&self, bytes: usize) {
        let mut held = self.held();
        held.items -= 1;
        held.bytes -= bytes;
        drop(held);
        self.freed.notify_one();
    }

    /// Takes no more items.
    pub(super) fn close(&self) {
        self.held().is_closed = true;
        self.freed.notify_all();
    }

    fn held(&self) -> MutexGuard<'_, Taken> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Returns what tells that another thread has got room for one more item of this size.
    fn taking(budget: &Arc<Budget>, bytes: usize) -> mpsc::Receiver<bool> {
        let (send, receive) = mpsc::channel();
        let budget = Arc::clone(budget);
        thread::spawn(move || send.send(budget.take(bytes)));
        receive
    }

    #[test]
    fn an_item_waits_until_another_is_written() {
        for (bytes_most, bytes) in [(100, 1), (10, 9)] {
            let budget = Arc::new(Budget::new(2, bytes_most));
            assert!(budget.take(1));
            if bytes == 1 {
                assert!(budget.take(1));
            }
            budget.grow(1);
            let taken = taking(&budget, bytes);
            assert!(taken.try_recv().is_err());
            budget.free(2);
            assert_eq!(taken.recv(), Ok(true));
        }
    }

    #[test]
    fn one_item_is_taken_however_large_and_none_after_the_end() {
        let budget = Arc::new(Budget::new(2, 10));
        assert!(budget.take(1000));
        let taken = taking(&budget, 1);
        budget.close();
        assert_eq!(taken.recv(), Ok(false));
    }
}
