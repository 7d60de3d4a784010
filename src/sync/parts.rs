//! A channel for the parts of one answer, bounded in bytes.
//!
//! Pure: no clock and no runtime, only wakers. The two ends may be on different threads. The
//! sender never waits: it asks [`Gate::poll_room`] before it reads more from its source, so the
//! channel holds at most its limit and what one read brings.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::memory::{Exhausted, Reservation, SMALL};

/// Added to the size of each part, because many small parts are not free.
const PART_OVERHEAD: usize = 64;
/// Shorter parts are copied: a slice of a read buffer would keep the whole buffer alive.
const COPIED_BELOW: usize = 4 << 10;

/// The receiving end. Once its last clone is dropped, the receiver has left.
#[derive(Debug)]
pub struct Parts<E>(Arc<Receiver<E>>);

/// The sending end. If it is dropped before [`Sender::finish`], the answer ends with the error
/// that was given to [`channel`].
#[derive(Debug)]
pub struct Sender<E> {
    channel: Arc<Channel<E>>,
    /// Taken by the drop.
    dropped: Option<E>,
}

/// Tells the source of the parts whether the receiver keeps up, and whether it is still there.
#[derive(Debug)]
pub struct Gate<E>(Arc<Channel<E>>);

/// Shared by the clones of [`Parts`]; its drop is how the channel learns that all are gone.
#[derive(Debug)]
struct Receiver<E>(Arc<Channel<E>>);

#[derive(Debug)]
struct Channel<E> {
    limit: usize,
    contents: Mutex<Contents<E>>,
}

#[derive(Debug)]
struct Contents<E> {
    parts: VecDeque<Bytes>,
    /// The size of `parts`, with [`PART_OVERHEAD`] for each.
    bytes: usize,
    /// The length of the part that was read last, which the receiver may still have.
    taken: usize,
    /// Where both are counted.
    counted: Option<Reservation>,
    /// There is no memory for all of `parts`.
    is_tight: bool,
    /// What the receiver is told beside the parts, and has not read.
    remark: Option<Bytes>,
    /// How the answer ended. The parts before the end are still to be read.
    end: Option<Result<(), E>>,
    /// The receiver has left.
    left: bool,
    /// If set, a receiver that falls behind is cut off with this error.
    hurry: Option<E>,
    /// The receiver fell behind while there was a hurry.
    cut_off: bool,
    /// Waits for a part or the end.
    reader: Option<Waker>,
    /// Waits for room.
    room: Option<Waker>,
    /// Waits for the end, or for the receiver to leave.
    over: Option<Waker>,
}

/// Makes a channel whose gate is shut while it holds `limit` bytes or more. `dropped` is how the
/// answer ends if the sender is dropped without a word.
pub fn channel<E>(limit: usize, dropped: E) -> (Sender<E>, Parts<E>) {
    let contents = Contents {
        parts: VecDeque::new(),
        bytes: 0,
        taken: 0,
        counted: None,
        is_tight: false,
        remark: None,
        end: None,
        left: false,
        hurry: None,
        cut_off: false,
        reader: None,
        room: None,
        over: None,
    };
    let channel = Arc::new(Channel { limit, contents: Mutex::new(contents) });
    let parts = Parts(Arc::new(Receiver(Arc::clone(&channel))));
    (Sender { channel, dropped: Some(dropped) }, parts)
}

impl<E> Channel<E> {
    fn lock(&self) -> MutexGuard<'_, Contents<E>> {
        // Nothing panics while the lock is held.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, end: Result<(), E>) {
        let wakers = {
            let mut contents = self.lock();
            contents.end.get_or_insert(end);
            [contents.reader.take(), contents.room.take(), contents.over.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl<E> Contents<E> {
    /// Counts what is held now.
    fn count(&mut self) {
        if let Some(counted) = &mut self.counted {
            self.is_tight = counted.resize(self.bytes + self.taken).is_err();
        }
    }

    /// Takes the next part out. A receiver that asks for it no longer has the last one.
    fn take_next(&mut self) -> Option<Bytes> {
        let part = self.parts.pop_front();
        self.taken = part.as_ref().map_or(0, Bytes::len);
        self.bytes -= part.as_ref().map_or(0, |part| part.len() + PART_OVERHEAD);
        self.count();
        part
    }

    /// Returns true if there is room for more parts.
    fn has_room(&self, limit: usize) -> bool {
        self.bytes < limit && !self.is_tight
    }

    /// Returns true if parts are wanted, and there is no room for more.
    fn is_shut(&self, limit: usize) -> bool {
        !self.has_room(limit) && !self.left && self.end.is_none()
    }

    /// Cuts off a receiver that has fallen behind while there is a hurry. Returns the tasks to
    /// wake.
    fn cut_off(&mut self, limit: usize) -> [Option<Waker>; 2] {
        if !self.is_shut(limit) {
            return [None, None];
        }
        let Some(error) = self.hurry.take() else { return [None, None] };
        self.cut_off = true;
        self.end = Some(Err(error));
        [self.room.take(), self.over.take()]
    }
}

impl<E> Sender<E> {
    /// Adds one part. Returns false if it is not wanted: the answer has ended, or the receiver
    /// has left.
    pub fn push(&self, part: Bytes) -> bool {
        let (reader, others) = {
            let mut contents = self.channel.lock();
            if contents.left || contents.end.is_some() {
                return false;
            }
            let is_small = part.len() < COPIED_BELOW;
            let part = if is_small { Bytes::copy_from_slice(&part) } else { part };
            contents.bytes += part.len() + PART_OVERHEAD;
            contents.parts.push_back(part);
            contents.count();
            (contents.reader.take(), contents.cut_off(self.channel.limit))
        };
        reader.into_iter().chain(others.into_iter().flatten()).for_each(Waker::wake);
        true
    }

    /// Returns true if the channel holds less than its limit, and there is memory for more.
    pub fn has_room(&self) -> bool {
        self.channel.lock().has_room(self.channel.limit)
    }

    /// Ends the answer, well or with an error. Only the first end counts.
    pub fn finish(&self, end: Result<(), E>) {
        self.channel.finish(end);
    }

    /// A gate for the source of the parts.
    pub fn gate(&self) -> Gate<E> {
        Gate(Arc::clone(&self.channel))
    }
}

impl<E> Drop for Sender<E> {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.take() {
            self.channel.finish(Err(dropped));
        }
    }
}

impl<E> Gate<E> {
    /// Ready once there is room for more parts, or once parts are no longer wanted. One task
    /// waits at a time.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut contents = self.0.lock();
        if !contents.is_shut(self.0.limit) {
            return Poll::Ready(());
        }
        contents.room = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready with false once the answer has ended, with true once the receiver has left or was
    /// cut off before the end. One task waits at a time.
    pub fn poll_over(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut contents = self.0.lock();
        if contents.left || contents.end.is_some() {
            return Poll::Ready(contents.cut_off || contents.end.is_none());
        }
        contents.over = Some(context.waker().clone());
        Poll::Pending
    }

    /// Tells the receiver something that is no part. A remark that was not read is forgotten. Returns
    /// false if none is wanted: the answer has ended, or the receiver has left.
    pub fn remark(&self, text: Bytes) -> bool {
        let reader = {
            let mut contents = self.0.lock();
            if contents.left || contents.end.is_some() {
                return false;
            }
            contents.remark = Some(text);
            contents.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        true
    }

    /// From now on, cuts off a receiver that falls behind by the limit: the answer ends with
    /// this error, and the sender is told what it would be told had the receiver left.
    pub fn hurry(&self, error: E) {
        let others = {
            let mut contents = self.0.lock();
            contents.hurry = Some(error);
            contents.cut_off(self.0.limit)
        };
        others.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns true if no more parts will come, or none are wanted.
    pub fn is_over(&self) -> bool {
        let contents = self.0.lock();
        contents.left || contents.end.is_some()
    }
}

impl<E> Parts<E> {
    /// Counts the parts that wait for this receiver, and the one that it has read last. While there is
    /// no memory for them, the gate is shut, which only the receiver opens again: it need not wait for
    /// others.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if a large part is there for which there is no memory.
    pub fn count_in(&self, reservation: Reservation) -> Result<(), Exhausted> {
        let mut contents = self.0.0.lock();
        contents.counted = Some(reservation);
        contents.count();
        let has_large = contents.parts.iter().any(|part| part.len() > SMALL);
        if contents.is_tight && has_large { Err(Exhausted) } else { Ok(()) }
    }
}

impl<E> Parts<E> {
    /// Takes the last remark, if it was not taken before. A receiver that waits for the next part is
    /// woken by a remark, too.
    pub fn take_remark(&self) -> Option<Bytes> {
        self.0.0.lock().remark.take()
    }
}

impl<E: Clone> Parts<E> {
    /// The next part; `None` after the last.
    ///
    /// # Errors
    ///
    /// Why the answer broke off, after all the parts before.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, E>>> {
        let channel = &self.0.0;
        let (next, room) = {
            let mut contents = channel.lock();
            let next = match (contents.take_next(), &contents.end) {
                (Some(part), _) => Poll::Ready(Some(Ok(part))),
                (None, Some(Ok(()))) => Poll::Ready(None),
                (None, Some(Err(error))) => Poll::Ready(Some(Err(error.clone()))),
                (None, None) => {
                    contents.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
            let has_room = contents.has_room(channel.limit);
            (next, if has_room { contents.room.take() } else { None })
        };
        room.into_iter().for_each(Waker::wake);
        next
    }
}

impl<E> Clone for Parts<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> PartialEq for Parts<E> {
    /// Returns true if both are the receiving end of the same channel.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E> Eq for Parts<E> {}

impl<E> Drop for Receiver<E> {
    fn drop(&mut self) {
        let wakers = {
            let mut contents = self.0.lock();
            contents.left = true;
            contents.parts.clear();
            (contents.bytes, contents.taken) = (0, 0);
            contents.counted = None;
            contents.is_tight = false;
            [contents.room.take(), contents.over.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::sync::memory::Memory;

    const DROPPED: &str = "the sender is gone";
    const LATE: &str = "no time left";

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bell() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    fn rang(bell: &Bell) -> bool {
        bell.0.swap(0, Ordering::SeqCst) > 0
    }

    fn part(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn next(parts: &Parts<&'static str>) -> Poll<Option<Result<Bytes, &'static str>>> {
        parts.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn parts_come_out_as_they_went_in_and_then_the_end() {
        let (sender, parts) = channel(1000, DROPPED);
        assert!(sender.push(part("a")) && sender.push(part("")));
        sender.finish(Ok(()));
        assert!(!sender.push(part("late")));
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("")))));
        assert_eq!(next(&parts), Poll::Ready(None));
        assert_eq!(next(&parts), Poll::Ready(None));
    }

    #[test]
    fn an_error_comes_after_the_parts_before_it_and_stays() {
        let (sender, parts) = channel(1000, DROPPED);
        sender.push(part("a"));
        sender.finish(Err(LATE));
        drop(sender);
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
        assert_eq!(next(&parts), Poll::Ready(Some(Err(LATE))));
    }

    #[test]
    fn a_sender_that_is_dropped_breaks_the_answer_off() {
        let (sender, parts) = channel(1000, DROPPED);
        drop(sender);
        assert_eq!(next(&parts), Poll::Ready(Some(Err(DROPPED))));
    }

    #[test]
    fn a_part_or_the_end_wakes_the_reader() {
        let (sender, parts) = channel(1000, DROPPED);
        let (bell, waker) = bell();
        assert!(parts.poll_next(&mut Context::from_waker(&waker)).is_pending());
        sender.push(part("a"));
        assert!(rang(&bell));
        assert!(parts.poll_next(&mut Context::from_waker(&waker)).is_ready());
        assert!(parts.poll_next(&mut Context::from_waker(&waker)).is_pending());
        sender.finish(Ok(()));
        assert!(rang(&bell));
    }

    #[test]
    fn the_gate_is_shut_while_the_limit_is_reached() {
        let (sender, parts) = channel(2 * PART_OVERHEAD, DROPPED);
        let gate = sender.gate();
        let (bell, waker) = bell();
        let poll = || gate.poll_room(&mut Context::from_waker(&waker));
        sender.push(part("a"));
        assert!(poll().is_ready() && sender.has_room());
        // Empty parts count too.
        sender.push(part(""));
        assert!(poll().is_pending() && !sender.has_room());
        sender.push(part("b"));
        assert!(next(&parts).is_ready());
        assert!(!rang(&bell), "there is no room yet");
        assert!(next(&parts).is_ready());
        assert!(rang(&bell));
        assert!(poll().is_ready());
    }

    #[test]
    fn the_gate_is_shut_while_there_is_no_memory_for_the_parts() {
        let memory = Memory::new(60 << 10);
        let (sender, parts) = channel(1 << 20, DROPPED);
        let gate = sender.gate();
        let (bell, waker) = bell();
        let poll = || gate.poll_room(&mut Context::from_waker(&waker));
        let large = || Bytes::from(vec![b'a'; 30 << 10]);
        sender.push(large());
        assert_eq!(parts.count_in(memory.reservation()), Ok(()));
        assert_eq!(memory.used(), (30 << 10) + PART_OVERHEAD as u64, "what was there counts too");
        assert!(poll().is_ready() && sender.has_room());
        sender.push(large());
        assert!(poll().is_pending() && !sender.has_room());
        sender.push(part("a"));
        assert!(next(&parts).is_ready());
        assert!(!rang(&bell), "its reader may still have the part");
        assert!(next(&parts).is_ready());
        assert!(rang(&bell), "its own reader makes room");
        assert!(poll().is_ready());
        assert!(memory.used() > 30 << 10 && memory.used() < 31 << 10);
        assert!(next(&parts).is_ready() && next(&parts).is_pending());
        assert_eq!(memory.used(), 0, "a reader that waits for more has got rid of all");
        sender.push(large());
        assert!(next(&parts).is_ready());
        sender.push(large());
        gate.hurry(LATE);
        assert!(gate.is_over(), "a reader that holds the memory up has fallen behind");
        drop(parts);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_receiver_has_left_when_its_last_clone_is_dropped() {
        let (sender, parts) = channel(1, DROPPED);
        let gate = sender.gate();
        let (bell, waker) = bell();
        let context = &mut Context::from_waker(&waker);
        sender.push(part("a"));
        assert!(gate.poll_room(context).is_pending() && gate.poll_over(context).is_pending());
        let other = parts.clone();
        drop(parts);
        assert!(!rang(&bell));
        drop(other);
        assert!(rang(&bell));
        assert_eq!(gate.poll_over(context), Poll::Ready(true));
        assert!(gate.poll_room(context).is_ready(), "unwanted parts are read and dropped");
        assert!(!sender.push(part("b")));
    }

    #[test]
    fn in_a_hurry_a_slow_receiver_is_cut_off_after_the_parts_it_was_sent() {
        for full_before in [true, false] {
            let (sender, parts) = channel(2 * PART_OVERHEAD, DROPPED);
            let gate = sender.gate();
            sender.push(part("a"));
            if full_before {
                sender.push(part("b"));
                gate.hurry(LATE);
            } else {
                gate.hurry(LATE);
                assert!(!gate.is_over(), "it still keeps up");
                sender.push(part("b"));
            }
            let context = &mut Context::from_waker(Waker::noop());
            assert_eq!(gate.poll_over(context), Poll::Ready(true));
            assert!(gate.poll_room(context).is_ready());
            assert!(!sender.push(part("c")));
            assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
            assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("b")))));
            assert_eq!(next(&parts), Poll::Ready(Some(Err(LATE))));
        }
    }

    #[test]
    fn leaving_after_the_end_is_not_leaving_early() {
        let (sender, parts) = channel(1, DROPPED);
        let gate = sender.gate();
        sender.finish(Ok(()));
        drop(parts);
        assert_eq!(gate.poll_over(&mut Context::from_waker(Waker::noop())), Poll::Ready(false));
    }
}
