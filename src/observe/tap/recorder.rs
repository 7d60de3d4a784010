//! The last exchanges with one worker, kept for when it is lost.
//!
//! An exchange begins with a write in which a question begins, and ends where the next one does. What
//! goes through is copied into 64 KiB; the oldest goes.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::piece::Piece;
use crate::report::{TapEvent, TapKind};

/// Most bytes that are kept of one worker.
pub const RECORDER_MOST: usize = 64 << 10;

/// The last exchanges with one worker.
#[derive(Debug, Default)]
pub struct Recorder(RefCell<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// Most exchanges.
    most: usize,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// How many of the pieces begin an exchange.
    exchanges: usize,
}

impl Recorder {
    /// Keeps no more than this many exchanges from now on.
    pub fn keep(&self, most: usize) {
        let mut recorded = self.0.borrow_mut();
        recorded.most = most;
        recorded.trim();
    }

    /// Returns how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.borrow().bytes
    }

    /// Keeps a piece. What was read before an answer has its text, so that is not kept twice.
    pub fn push(&self, mut piece: Piece) {
        if piece.kind == TapKind::Answer {
            piece.bytes = Box::default();
        }
        let mut recorded = self.0.borrow_mut();
        recorded.bytes += piece.size();
        recorded.exchanges += usize::from(begins_exchange(&piece));
        recorded.pieces.push_back(piece);
        recorded.trim();
    }

    /// Returns what is kept, oldest first, as a tap would have told it.
    pub fn events(&self) -> Vec<TapEvent> {
        self.0.borrow().pieces.iter().map(|piece| piece.event(true, 0)).collect()
    }
}

impl Recorded {
    fn trim(&mut self) {
        while self.bytes > RECORDER_MOST {
            self.drop_oldest();
        }
        if self.exchanges > self.most {
            while self.exchanges > self.most {
                self.drop_oldest();
            }
            // The rest of the last exchange that is dropped.
            while self.pieces.front().is_some_and(|piece| !begins_exchange(piece)) {
                self.drop_oldest();
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.size();
            self.exchanges -= usize::from(begins_exchange(&piece));
        }
    }
}

/// Returns true if a question begins in it.
fn begins_exchange(piece: &Piece) -> bool {
    piece.kind == TapKind::Write && piece.call.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{CallId, WorkerId};
    use crate::config::PoolSettings;
    use crate::observe::tap::piece::PIECE_MOST;

    fn piece(kind: TapKind, bytes: &[u8], call: Option<u64>) -> Piece {
        let call = call.map(|call| CallId(call << CallId::PLACE_BITS));
        let settings = Arc::new(PoolSettings::for_tests());
        Piece { call, ..Piece::new(kind, settings, Some(WorkerId(3))).with(bytes) }
    }

    fn exchange(recorder: &Recorder, call: u64, answer: &[u8]) {
        recorder.push(piece(TapKind::Write, b"question", Some(call)));
        recorder.push(piece(TapKind::Read, answer, None));
        recorder.push(piece(TapKind::Answer, answer, Some(call)));
    }

    fn texts(recorder: &Recorder) -> Vec<String> {
        let events = recorder.events();
        events.iter().map(|it| format!("{:?} {} {}", it.kind, it.bytes, it.text)).collect()
    }

    #[test]
    fn only_the_last_exchanges_are_kept_and_each_is_whole() {
        let recorder = Recorder::default();
        recorder.keep(2);
        recorder.push(piece(TapKind::Read, b"banner", None));
        for call in 1..=5 {
            exchange(&recorder, call, format!("{call}ÿ").as_bytes());
        }
        let kept = ["Write 8 question", "Read 3 4ÿ", "Answer 3 "];
        assert_eq!(texts(&recorder)[..3], kept);
        assert_eq!(texts(&recorder).len(), 6);
        assert_eq!(recorder.events()[0].call.as_deref(), Some("4"));
        recorder.keep(1);
        assert_eq!(texts(&recorder), ["Write 8 question", "Read 3 5ÿ", "Answer 3 "]);
        recorder.keep(0);
        assert_eq!((texts(&recorder).len(), recorder.bytes()), (0, 0));
    }

    #[test]
    fn no_worker_takes_more_than_its_share_of_memory() {
        let recorder = Recorder::default();
        recorder.keep(1_000_000);
        for call in 1..=10_000 {
            exchange(&recorder, call, &[b'x'; 10]);
            assert!(recorder.bytes() <= RECORDER_MOST);
        }
        let last = recorder.events().pop().expect("some are kept");
        assert_eq!(last.call.as_deref(), Some("2710"), "it is the newest that is kept");
        exchange(&recorder, 1, &vec![0xff; 1 << 20]);
        assert!(recorder.bytes() <= RECORDER_MOST, "{}", recorder.bytes());
        let events = recorder.events();
        let read = &events[events.len() - 2];
        assert_eq!((read.bytes, read.text.len()), (1 << 20, 4 * PIECE_MOST));
    }
}
