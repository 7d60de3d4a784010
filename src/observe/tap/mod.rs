//! One tap: what goes through the pipes of workers, for somebody who looks.
//!
//! What goes through is copied into a ring of 1 MiB, and nobody waits for the reader: when the ring
//! is full, the oldest goes, and is counted. Contents are masked when they are read, unless the
//! reader may see them.

mod mask;
mod piece;
mod recorder;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub use self::piece::Piece;
pub use self::recorder::Recorder;
use crate::base::WorkerId;
use crate::report::{TapEvent, TapKind};

/// Most bytes that wait for the reader.
const RING_MOST: usize = 1 << 20;
/// Most pieces of one worker that wait for how their call ends.
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
    pieces: RefCell<VecDeque<Piece>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    /// By worker, what waits for how its call ends.
    held: RefCell<HashMap<Option<WorkerId>, VecDeque<Piece>>>,
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
            pieces: RefCell::default(),
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

    /// Takes a piece in, if it is wanted.
    pub fn push(&self, piece: Piece) {
        let wish = &self.wish;
        let is_other =
            |wished: &Option<String>, is: &str| wished.as_ref().is_some_and(|it| it != is);
        let is_unwanted = is_other(&wish.pool, &piece.pool.name)
            || wish.worker.is_some_and(|worker| piece.worker != Some(WorkerId(worker)))
            || piece.route.as_ref().is_some_and(|route| is_other(&wish.route, route.label()));
        if is_unwanted {
            return;
        }
        if !wish.failed || piece.kind == TapKind::Stray {
            return self.keep(piece);
        }
        let mut held = self.held.borrow_mut();
        let before = match piece.kind {
            TapKind::End => held.get_mut(&piece.worker).map(std::mem::take).unwrap_or_default(),
            TapKind::Exit => {
                held.remove(&piece.worker);
                VecDeque::new()
            }
            _ => {
                let of_worker = held.entry(piece.worker).or_default();
                if of_worker.len() == HELD_MOST {
                    of_worker.pop_front();
                }
                of_worker.push_back(piece);
                return;
            }
        };
        drop(held);
        if piece.outcome.is_some_and(|outcome| outcome != "ok") {
            before.into_iter().chain([piece]).for_each(|piece| self.keep(piece));
        }
    }

    fn keep(&self, piece: Piece) {
        let mut pieces = self.pieces.borrow_mut();
        let mut bytes = self.bytes.get() + piece.size();
        pieces.push_back(piece);
        while bytes > RING_MOST
            && let Some(oldest) = pieces.pop_front()
        {
            bytes -= oldest.size();
            self.dropped.set(self.dropped.get() + 1);
        }
        self.bytes.set(bytes);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl TapReader {
    /// Returns the next event.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<TapEvent> {
        let Some(piece) = self.0.pieces.borrow_mut().pop_front() else {
            *self.0.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        };
        self.0.bytes.set(self.0.bytes.get() - piece.size());
        Poll::Ready(piece.event(self.0.wish.contents, self.0.dropped.take()))
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
    use std::sync::Arc;

    use super::piece::PIECE_MOST;
    use super::*;
    use crate::config::PoolSettings;
    use crate::observe::metrics::Metrics;

    fn piece(kind: TapKind, text: &str) -> Piece {
        let pool = PoolSettings { name: "fib".to_owned(), ..PoolSettings::for_tests() };
        let piece = Piece::new(kind, Arc::new(pool), Some(WorkerId(3))).with(text.as_bytes());
        let route = Some(Arc::new(Metrics::new().route("GET /fib", Some("fib"))));
        Piece { route, ..piece }
    }

    fn end(outcome: &'static str) -> Piece {
        Piece { outcome: Some(outcome), ..piece(TapKind::End, "") }
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
            tap.push(piece(TapKind::Read, &text));
        }
        assert!(tap.bytes.get() <= RING_MOST, "{}", tap.bytes.get());
        let (texts, dropped) = all(&reader);
        assert_eq!(texts.len() as u64 + dropped, 1_000);
        assert_eq!(
            (texts.len(), tap.bytes.get()),
            (RING_MOST / (PIECE_MOST + size_of::<Piece>()), 0)
        );
    }

    #[test]
    fn only_what_was_wished_for_is_kept() {
        let keeps = |wish: TapWish| {
            let (tap, reader) = Tap::new(wish);
            tap.push(piece(TapKind::Read, "x"));
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
        let wish = TapWish { failed: true, contents: true, ..TapWish::default() };
        let (tap, reader) = Tap::new(wish);
        tap.push(piece(TapKind::Write, "good"));
        tap.push(end("ok"));
        tap.push(piece(TapKind::Write, "bad"));
        assert_eq!(all(&reader).0.len(), 0);
        tap.push(end("timeout"));
        assert_eq!(all(&reader).0, ["bad", ""]);
        // What waits for a call that never ends goes with its worker.
        tap.push(piece(TapKind::Write, "lost"));
        tap.push(Piece { outcome: Some("crash"), ..piece(TapKind::Exit, "") });
        assert_eq!((all(&reader).0.len(), tap.held.borrow().len()), (1, 0));
    }

    #[test]
    fn a_reader_who_may_not_read_contents_sees_what_they_look_like() {
        let (tap, reader) = Tap::new(TapWish::default());
        tap.push(piece(TapKind::Read, "Grün 42"));
        assert_eq!(all(&reader).0, ["aaaa 99"]);
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
