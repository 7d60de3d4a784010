//! The parts of one answer on their way from a worker to its caller, bounded in bytes.
//!
//! Pure: no clock and no runtime, only wakers. Both ends may be on different threads. The side
//! of the worker never waits to put a part in: it is asked beforehand, by [`Gate::poll_room`],
//! whether more may be read, so what is held here is at most the limit and what one read brings.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Failure;

/// What each part is counted as beside its bytes: many small ones are not free.
const PART_OVERHEAD: usize = 64;
/// Shorter parts are copied: they would keep alive all of the buffer that they were read into.
const COPIED_BELOW: usize = 4 << 10;

/// What the parts of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartForm {
    /// Bytes as the program wrote them; the route says their content type.
    Plain,
    /// Each is a JSON document.
    Json,
}

/// The caller's end. Dropping the last clone of it means that the caller has left.
#[derive(Clone, Debug)]
pub struct Parts {
    reader: Arc<Reader>,
    form: PartForm,
}

/// The worker's end. Dropped before [`Sender::finish`], the answer counts as broken off.
#[derive(Debug)]
pub struct Sender(Arc<Shared>);

/// Says whether the caller keeps up.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// How the answer ended; the parts before it are still to be read.
    end: Option<Result<(), Failure>>,
    /// The caller has left.
    left: bool,
    /// There is no time left to wait for the caller: he is cut off so when he falls behind.
    hurry: Option<Failure>,
    cut_off: bool,
    reader: Option<Waker>,
    /// Waits for room.
    room: Option<Waker>,
    /// Waits for the end, or for the caller to leave.
    over: Option<Waker>,
}

/// A way for parts of this form that holds back its worker beyond so many bytes.
pub fn channel(form: PartForm, limit: usize) -> (Sender, Parts) {
    let shared = Arc::new(Shared { limit, inner: Mutex::default() });
    let reader = Arc::new(Reader(Arc::clone(&shared)));
    (Sender(shared), Parts { reader, form })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, end: Result<(), Failure>) {
        let wakers = {
            let mut inner = self.lock();
            inner.end.get_or_insert(end);
            [inner.reader.take(), inner.room.take(), inner.over.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Inner {
    /// Cuts off a caller who has fallen behind when there is no time for that; who is to be
    /// told of it.
    fn cut_off(&mut self, limit: usize) -> [Option<Waker>; 2] {
        if self.bytes < limit || self.end.is_some() || self.left {
            return [None, None];
        }
        let Some(failure) = self.hurry.take() else { return [None, None] };
        self.cut_off = true;
        self.end = Some(Err(failure));
        [self.room.take(), self.over.take()]
    }
}

impl Sender {
    /// Puts one part in. Says whether anybody still wants it.
    pub fn push(&self, part: Bytes) -> bool {
        let (reader, others) = {
            let mut inner = self.0.lock();
            if inner.left || inner.end.is_some() {
                return false;
            }
            let is_small = part.len() < COPIED_BELOW;
            let part = if is_small { Bytes::copy_from_slice(&part) } else { part };
            inner.bytes += part.len() + PART_OVERHEAD;
            inner.parts.push_back(part);
            (inner.reader.take(), inner.cut_off(self.0.limit))
        };
        reader.into_iter().chain(others.into_iter().flatten()).for_each(Waker::wake);
        true
    }

    /// The answer has ended, or failed. The first end stands.
    pub fn finish(&self, end: Result<(), Failure>) {
        self.0.finish(end);
    }

    /// What the worker's pipes are held back by.
    pub fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.0))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.finish(Err(Failure::Internal));
    }
}

impl Gate {
    /// Ready once there is room for more, or no more is wanted. One task waits at a time.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        if inner.bytes < self.0.limit || inner.left || inner.end.is_some() {
            return Poll::Ready(());
        }
        inner.room = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready once the answer has ended (`false`), or its caller has left or was cut off before
    /// (`true`). One task waits at a time.
    pub fn poll_over(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.0.lock();
        if inner.left || inner.end.is_some() {
            return Poll::Ready(inner.cut_off || inner.end.is_none());
        }
        inner.over = Some(context.waker().clone());
        Poll::Pending
    }

    /// From now on, a caller who falls behind by the limit is cut off with this failure, as if
    /// he had left.
    pub fn hurry(&self, failure: Failure) {
        let others = {
            let mut inner = self.0.lock();
            inner.hurry = Some(failure);
            inner.cut_off(self.0.limit)
        };
        others.into_iter().flatten().for_each(Waker::wake);
    }

    /// Is no part expected any more, or none wanted?
    pub fn is_over(&self) -> bool {
        let inner = self.0.lock();
        inner.left || inner.end.is_some()
    }
}

impl Parts {
    /// What its parts are.
    pub fn form(&self) -> PartForm {
        self.form
    }

    /// The next part; `None` after the last.
    ///
    /// # Errors
    ///
    /// Why the answer broke off, after all parts before.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let (next, room) = {
            let mut inner = self.reader.0.lock();
            let Some(part) = inner.parts.pop_front() else {
                return match &inner.end {
                    Some(Ok(())) => Poll::Ready(None),
                    Some(Err(failure)) => Poll::Ready(Some(Err(failure.clone()))),
                    None => {
                        inner.reader = Some(context.waker().clone());
                        Poll::Pending
                    }
                };
            };
            inner.bytes -= part.len() + PART_OVERHEAD;
            let has_room = inner.bytes < self.reader.0.limit;
            (part, if has_room { inner.room.take() } else { None })
        };
        room.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(Ok(next)))
    }
}

impl PartialEq for Parts {
    /// Are both the same end of the same way?
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.reader, &other.reader)
    }
}

impl Eq for Parts {}

impl Drop for Reader {
    fn drop(&mut self) {
        let wakers = {
            let mut inner = self.0.lock();
            inner.left = true;
            inner.parts.clear();
            inner.bytes = 0;
            [inner.room.take(), inner.over.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

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

    fn next(parts: &Parts) -> Poll<Option<Result<Bytes, Failure>>> {
        parts.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn parts_come_out_as_they_went_in_and_then_the_end() {
        let (sender, parts) = channel(PartForm::Plain, 1000);
        assert!(sender.push(part("a")) && sender.push(part("")));
        sender.finish(Ok(()));
        assert!(!sender.push(part("late")));
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("")))));
        assert_eq!(next(&parts), Poll::Ready(None));
        assert_eq!(next(&parts), Poll::Ready(None));
    }

    #[test]
    fn a_failure_comes_after_the_parts_before_it_and_stands() {
        let (sender, parts) = channel(PartForm::Plain, 1000);
        sender.push(part("a"));
        sender.finish(Err(Failure::Draining));
        drop(sender);
        assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
        assert_eq!(next(&parts), Poll::Ready(Some(Err(Failure::Draining))));
    }

    #[test]
    fn a_worker_that_vanishes_without_a_word_broke_the_answer_off() {
        let (sender, parts) = channel(PartForm::Plain, 1000);
        drop(sender);
        assert_eq!(next(&parts), Poll::Ready(Some(Err(Failure::Internal))));
    }

    #[test]
    fn who_waits_for_a_part_is_woken_by_it() {
        let (sender, parts) = channel(PartForm::Plain, 1000);
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
    fn the_gate_is_shut_while_more_than_the_limit_is_held() {
        let (sender, parts) = channel(PartForm::Plain, 2 * PART_OVERHEAD);
        let gate = sender.gate();
        let (bell, waker) = bell();
        let poll = || gate.poll_room(&mut Context::from_waker(&waker));
        sender.push(part("a"));
        assert!(poll().is_ready());
        // Even empty parts fill it.
        sender.push(part(""));
        assert!(poll().is_pending());
        sender.push(part("b"));
        assert!(next(&parts).is_ready());
        assert!(!rang(&bell), "there is no room yet");
        assert!(next(&parts).is_ready());
        assert!(rang(&bell));
        assert!(poll().is_ready());
    }

    #[test]
    fn the_last_clone_that_goes_is_the_caller_who_leaves() {
        let (sender, parts) = channel(PartForm::Json, 1);
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
        assert!(gate.poll_room(context).is_ready(), "what nobody wants is read and dropped");
        assert!(!sender.push(part("b")));
    }

    #[test]
    fn in_a_hurry_who_falls_behind_is_cut_off_after_what_he_was_sent() {
        for full_before in [true, false] {
            let (sender, parts) = channel(PartForm::Plain, 2 * PART_OVERHEAD);
            let gate = sender.gate();
            sender.push(part("a"));
            if full_before {
                sender.push(part("b"));
                gate.hurry(Failure::Draining);
            } else {
                gate.hurry(Failure::Draining);
                assert!(!gate.is_over(), "he keeps up yet");
                sender.push(part("b"));
            }
            let context = &mut Context::from_waker(Waker::noop());
            assert_eq!(gate.poll_over(context), Poll::Ready(true));
            assert!(gate.poll_room(context).is_ready());
            assert!(!sender.push(part("c")));
            assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("a")))));
            assert_eq!(next(&parts), Poll::Ready(Some(Ok(part("b")))));
            assert_eq!(next(&parts), Poll::Ready(Some(Err(Failure::Draining))));
        }
    }

    #[test]
    fn an_answer_that_ended_is_not_left() {
        let (sender, parts) = channel(PartForm::Plain, 1);
        let gate = sender.gate();
        sender.finish(Ok(()));
        drop(parts);
        assert_eq!(gate.poll_over(&mut Context::from_waker(Waker::noop())), Poll::Ready(false));
    }
}
