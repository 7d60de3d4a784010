//! What a service is told of a request besides its head and body, and where it may write the beginning
//! of its response.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use super::head;

/// A longer text is not kept for the next response.
const KEPT_MOST: usize = 32 << 10;

thread_local! {
    /// Where responses are written before they are sent; empty while one is.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// When and how a request came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// When the last byte of its head came.
    pub at: Instant,
    /// Where the beginning of its response may be written; `None`: nowhere.
    pub written: Option<&'a WrittenHead>,
}

/// The beginning of a response as HTTP/1.1 has it. To write fields that are mostly the same each time
/// costs a fraction of putting them into a map from which they are written then.
#[derive(Debug, Default)]
pub struct WrittenHead {
    text: RefCell<Vec<u8>>,
    made_at: Cell<Option<Instant>>,
}

impl Arrival<'_> {
    /// At this time; its response is not written.
    pub fn at(at: Instant) -> Self {
        Self { at, written: None }
    }
}

impl WrittenHead {
    /// Begins a response, which must be given with status 200. `write` writes fields, each with its line
    /// end; those that are given with the response come behind them. None of both are the same, and
    /// none that it writes is of those that end a body or a connection.
    pub fn begin(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = room();
        text.extend_from_slice(head::STATUS_OK);
        write(&mut text);
        self.text.replace(text);
    }

    /// Writes more fields behind those that it began with. Returns false if it has not begun: then the response
    /// must have them.
    pub fn extend(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut text = self.text.borrow_mut();
        let has_begun = !text.is_empty();
        if has_begun {
            write(&mut text);
        }
        has_begun
    }

    /// Notes that the response was made at this time.
    pub fn note_made(&self, at: Instant) {
        self.made_at.set(Some(at));
    }

    /// Returns when the response was made; `None`: nobody knows.
    pub(super) fn made_at(&self) -> Option<Instant> {
        self.made_at.get()
    }

    /// Returns what was written; nothing if nothing was.
    pub fn into_text(self) -> Vec<u8> {
        let text = self.text.into_inner();
        if text.is_empty() { room() } else { text }
    }
}

/// Returns room for a text.
pub(super) fn room() -> Vec<u8> {
    let text = DRAFT.take();
    debug_assert!(text.is_empty(), "nobody gets what was meant for another");
    text
}

/// Keeps the room of a text for the next one, unless there is more already.
pub(super) fn give_back(mut text: Vec<u8>) {
    let kept = DRAFT.take();
    text.clear();
    DRAFT.set(if (kept.capacity()..=KEPT_MOST).contains(&text.capacity()) { text } else { kept });
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::super::head::BodyLength;
    use super::*;

    fn whole(text: Vec<u8>) -> String {
        let (mut text, mut headers) = (text, HeaderMap::new());
        headers.insert("x-b", http::HeaderValue::from_static("2"));
        let lines = (StatusCode::OK, &headers);
        let write_date = |to: &mut Vec<u8>| to.extend_from_slice(b"now");
        head::write(&mut text, lines, BodyLength::Known(3), false, false, write_date);
        let whole = String::from_utf8(text.clone()).expect("text");
        give_back(text);
        whole
    }

    #[test]
    fn a_head_that_has_begun_is_ended_as_another_is() {
        let rest = "x-b: 2\r\ncontent-length: 3\r\ndate: now\r\n\r\n";
        for _ in 0..2 {
            let written = WrittenHead::default();
            written.begin(|to| to.extend_from_slice(b"x-a: 1\r\n"));
            let expected = format!("HTTP/1.1 200 OK\r\nx-a: 1\r\n{rest}");
            assert_eq!(whole(written.into_text()), expected);
            let nothing = WrittenHead::default();
            assert_eq!(whole(nothing.into_text()), format!("HTTP/1.1 200 OK\r\n{rest}"));
        }
    }

    #[test]
    fn only_what_has_begun_is_extended() {
        let written = WrittenHead::default();
        let extend = || written.extend(|to| to.extend_from_slice(b"x-b: 2\r\n"));
        assert!(!extend());
        written.begin(|to| to.extend_from_slice(b"x-a: 1\r\n"));
        assert!(extend());
        assert_eq!(written.into_text(), b"HTTP/1.1 200 OK\r\nx-a: 1\r\nx-b: 2\r\n");
    }

    #[test]
    fn what_was_written_twice_is_there_once() {
        let written = WrittenHead::default();
        written.begin(|to| to.extend_from_slice(b"x-a: 1\r\n"));
        written.begin(|to| to.extend_from_slice(b"x-a: 2\r\n"));
        assert_eq!(written.into_text(), b"HTTP/1.1 200 OK\r\nx-a: 2\r\n");
    }
}
