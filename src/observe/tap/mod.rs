//! One tap: what goes through the pipes of workers, for somebody who looks.
//!
//! What goes through is copied into a ring of 1 MiB, and nobody waits for the reader: when the ring
//! is full, the oldest goes, and is counted. Contents are masked before they are kept, unless the
//! reader may see them.

mod mask;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use self::mask::{masked, shown};
use crate::report::{TapEvent, TapKind};

/// Most bytes of one piece that are kept.
pub const PIECE_MOST: usize = 4 << 10;
/// Most bytes that wait for the reader.
const RING_MOST: usize = 1 << 20;
/// What an event takes beside its text, about.
const EVENT_OWN: usize = 256;
/// Most events of one worker that wait for how their call ends.
const HELD_MOST: usize = 16;

/// What is tapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapWish {
    /// Only this pool.
    pub pool: Option<String>,
    /// Only this worker.
    pub worker: Option<u64>,
    /// Only calls of the route with this match text, and what belongs to no call.
    pub route: Option<String>,
    /// Only what belongs to calls that failed.
    pub failed: bool,
    /// The reader may see contents.
    pub contents: bool,
}

/// One tap, as workers fill it.
#[derive(Debug)]
pub struct Tap {
    wish: TapWish,
    events: RefCell<VecDeque<TapEvent>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    /// By worker, what waits for how its call ends.
    held: RefCell<HashMap<Option<u64>, VecDeque<TapEvent>>>,
    waker: RefCell<Option<Waker>>,
    is_over: Cell<bool>,
    at_end: RefCell<Vec<AtEnd>>,
}

/// What is done when the reader leaves.
struct AtEnd(Box<dyn FnOnce()>);

impl fmt::Debug for AtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtEnd")
    }
}

/// The reader of a tap. The tap ends when it is dropped.
#[derive(Debug)]
pub struct TapReader(Rc<Tap>);

impl Tap {
    /// A tap and its reader.
    pub fn new(wish: TapWish) -> (Rc<Self>, TapReader) {
        let tap = Rc::new(Self {
            wish,
            events: RefCell::default(),
            bytes: Cell::new(0),
            dropped: Cell::new(0),
            held: RefCell::default(),
            waker: RefCell::default(),
            is_over: Cell::new(false),
            at_end: RefCell::default(),
        });
        (Rc::clone(&tap), TapReader(tap))
    }

    /// Returns what is tapped.
    pub fn wish(&self) -> &TapWish {
        &self.wish
    }

    /// Returns true if the reader has left.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Does this when the reader leaves.
    pub fn at_end(&self, act: impl FnOnce() + 'static) {
        self.at_end.borrow_mut().push(AtEnd(Box::new(act)));
    }

    /// Shows a piece as the reader may see it.
    pub fn text(&self, bytes: &[u8]) -> String {
        let piece = &bytes[..bytes.len().min(PIECE_MOST)];
        if self.wish.contents { shown(piece) } else { masked(piece) }
    }

    /// Takes an event in, if it is wanted.
    pub fn push(&self, event: TapEvent) {
        let wish = &self.wish;
        let is_other =
            |wished: &Option<String>, is: &str| wished.as_ref().is_some_and(|it| it != is);
        let is_unwanted = is_other(&wish.pool, &event.pool)
            || wish.worker.is_some_and(|worker| event.worker != Some(worker))
            || event.route.as_ref().is_some_and(|route| is_other(&wish.route, route));
        if is_unwanted {
            return;
        }
        if !wish.failed || event.kind == TapKind::Stray {
            return self.keep(event);
        }
        let mut held = self.held.borrow_mut();
        if event.kind == TapKind::Exit {
            held.remove(&event.worker);
            drop(held);
            return self.keep(event);
        }
        let of_worker = held.entry(event.worker).or_default();
        if event.kind != TapKind::End {
            if of_worker.len() == HELD_MOST {
                of_worker.pop_front();
            }
            of_worker.push_back(event);
            return;
        }
        let before = std::mem::take(of_worker);
        drop(held);
        if event.outcome.as_ref().is_some_and(|outcome| outcome != "ok") {
            before.into_iter().chain([event]).for_each(|event| self.keep(event));
        }
    }

    fn keep(&self, event: TapEvent) {
        let mut events = self.events.borrow_mut();
        let mut bytes = self.bytes.get() + size_of_event(&event);
        events.push_back(event);
        while bytes > RING_MOST
            && let Some(oldest) = events.pop_front()
        {
            bytes -= size_of_event(&oldest);
            self.dropped.set(self.dropped.get() + 1 + oldest.dropped);
        }
        self.bytes.set(bytes);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn size_of_event(event: &TapEvent) -> usize {
    EVENT_OWN + event.text.len()
}

impl TapReader {
    /// Returns the next event.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<TapEvent> {
        let Some(mut event) = self.0.events.borrow_mut().pop_front() else {
            *self.0.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        };
        self.0.bytes.set(self.0.bytes.get() - size_of_event(&event));
        event.dropped += self.0.dropped.take();
        Poll::Ready(event)
    }
}

impl Drop for TapReader {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        for AtEnd(act) in self.0.at_end.take() {
            act();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: TapKind, text: &str) -> TapEvent {
        TapEvent {
            at: 1.0,
            kind,
            pool: "fib".into(),
            worker: Some(3),
            call: Some("a".to_owned()),
            route: Some("GET /fib".into()),
            bytes: text.len(),
            text: text.to_owned(),
            outcome: None,
            work: None,
            dropped: 0,
        }
    }

    fn end(outcome: &'static str) -> TapEvent {
        TapEvent { outcome: Some(outcome.into()), ..event(TapKind::End, "") }
    }

    /// Returns the texts of all events that wait, and how many were dropped.
    fn all(reader: &TapReader) -> (Vec<String>, u64) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut texts, mut dropped) = (vec![], 0);
        while let Poll::Ready(event) = reader.poll_next(&mut context) {
            dropped += event.dropped;
            texts.push(event.text);
        }
        (texts, dropped)
    }

    #[test]
    fn a_reader_that_does_not_keep_up_loses_the_oldest_and_is_told_how_many() {
        let (tap, reader) = Tap::new(TapWish::default());
        let text = "x".repeat(PIECE_MOST);
        for _ in 0..1_000 {
            tap.push(event(TapKind::Read, &text));
        }
        assert!(tap.bytes.get() <= RING_MOST, "{}", tap.bytes.get());
        let (texts, dropped) = all(&reader);
        assert_eq!(texts.len() as u64 + dropped, 1_000);
        assert_eq!((texts.len(), tap.bytes.get()), (RING_MOST / (PIECE_MOST + EVENT_OWN), 0));
    }

    #[test]
    fn only_what_was_wished_for_is_kept() {
        let keeps = |wish: TapWish| {
            let (tap, reader) = Tap::new(wish);
            tap.push(event(TapKind::Read, "x"));
            all(&reader).0.len() == 1
        };
        let some = |text: &str| Some(text.to_owned());
        for (wish, is_kept) in [
            (TapWish::default(), true),
            (TapWish { pool: some("fib"), ..TapWish::default() }, true),
            (TapWish { pool: some("other"), ..TapWish::default() }, false),
            (TapWish { worker: Some(3), ..TapWish::default() }, true),
            (TapWish { worker: Some(4), ..TapWish::default() }, false),
            (TapWish { route: some("GET /fib"), ..TapWish::default() }, true),
            (TapWish { route: some("GET /"), ..TapWish::default() }, false),
        ] {
            assert_eq!(keeps(wish.clone()), is_kept, "{wish:?}");
        }
    }

    #[test]
    fn what_belongs_to_calls_that_went_well_is_left_out_if_only_failures_are_wanted() {
        let (tap, reader) = Tap::new(TapWish { failed: true, ..TapWish::default() });
        tap.push(event(TapKind::Write, "good"));
        tap.push(end("ok"));
        tap.push(event(TapKind::Write, "bad"));
        assert_eq!(all(&reader).0.len(), 0);
        tap.push(end("timeout"));
        assert_eq!(all(&reader).0, ["bad", ""]);
    }

    #[test]
    fn a_tap_is_over_when_its_reader_leaves() {
        let (tap, reader) = Tap::new(TapWish::default());
        let ended = Rc::new(Cell::new(false));
        tap.at_end({
            let ended = Rc::clone(&ended);
            move || ended.set(true)
        });
        drop(reader);
        assert!(tap.is_over() && ended.get());
    }
}
