//! Cuts bytes that come in pieces into items: a JSON document a line, or the elements of an array. So
//! come the items of a batch request, and the answers of a program to several calls.
//!
//! Pure: the same bytes give the same items, however they are cut. What an item says is not looked at.

use bytes::{Bytes, BytesMut};

/// How items stand in what is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// Each on a line of its own. Empty lines count for nothing.
    Lines,
    /// In one array.
    Array,
}

/// What was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CutItem {
    /// One item, without the white space around it.
    Item(Bytes),
    /// One item that is longer than it may be.
    TooLong,
    /// Nothing more can be cut, for this reason.
    Broken(&'static str),
}

/// Cuts items.
#[derive(Debug)]
pub struct ItemCutter {
    form: BatchForm,
    most: usize,
    /// What has come and is not looked at.
    rest: Bytes,
    /// The beginning of an item whose end has not come.
    begun: BytesMut,
    /// The item is longer than it may be, and is not kept.
    is_too_long: bool,
    place: ArrayPlace,
}

/// Where in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArrayPlace {
    Before,
    /// In an element, or before the first.
    Inside {
        depth: usize,
        string: InString,
        is_first: bool,
    },
    After,
    /// It is broken: nothing more is cut.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

impl ItemCutter {
    /// A cutter of items of at most so many bytes, with the white space around them.
    pub fn new(form: BatchForm, most: usize) -> Self {
        let (rest, begun) = (Bytes::new(), BytesMut::new());
        Self { form, most, rest, begun, is_too_long: false, place: ArrayPlace::Before }
    }

    /// Takes the next piece of the body. All items of the last one must have been cut.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty(), "items of the last piece are left");
        self.rest = piece;
    }

    /// Returns how many bytes are kept of an item whose end has not come.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Returns the next item; `None` if more must come first.
    pub fn cut(&mut self) -> Option<CutItem> {
        loop {
            let cut = match self.form {
                BatchForm::Lines => self.next_line()?,
                BatchForm::Array => self.next_element()?,
            };
            let is_blank_line = self.form == BatchForm::Lines
                && matches!(&cut, CutItem::Item(item) if item.is_empty());
            if !is_blank_line {
                return Some(cut);
            }
        }
    }

    /// The body has ended. Returns what is left of it.
    pub fn end(&mut self) -> Option<CutItem> {
        match (self.form, self.place) {
            (BatchForm::Lines, _) => {
                let last = self.item(0);
                (last != CutItem::Item(Bytes::new())).then_some(last)
            }
            (BatchForm::Array, ArrayPlace::After | ArrayPlace::Lost) => None,
            (BatchForm::Array, _) => Some(CutItem::Broken("the array has no end")),
        }
    }

    fn next_line(&mut self) -> Option<CutItem> {
        let Some(end) = memchr::memchr(b'\n', &self.rest) else {
            self.keep(self.rest.len());
            return None;
        };
        let line = self.item(end);
        self.skip(1);
        Some(line)
    }

    fn next_element(&mut self) -> Option<CutItem> {
        let mut at = 0;
        while let Some(byte) = self.rest.get(at).copied() {
            match self.place {
                ArrayPlace::Before | ArrayPlace::After if byte.is_ascii_whitespace() => at += 1,
                ArrayPlace::Before if byte == b'[' => {
                    self.skip(at + 1);
                    at = 0;
                    self.place = inside(true);
                }
                ArrayPlace::Lost => at += 1,
                ArrayPlace::Before => return Some(self.broken("the body is not an array")),
                ArrayPlace::After => {
                    return Some(self.broken("the body goes on behind the array"));
                }
                ArrayPlace::Inside { depth: 0, string: InString::No, is_first }
                    if matches!(byte, b',' | b']') =>
                {
                    let element = self.item(at);
                    self.skip(1);
                    let is_last = byte == b']';
                    self.place = if is_last { ArrayPlace::After } else { inside(false) };
                    let is_none = is_last && is_first && element == CutItem::Item(Bytes::new());
                    if !is_none {
                        return Some(element);
                    }
                    at = 0;
                }
                ArrayPlace::Inside { depth, string, is_first } => {
                    let (depth, string) = step(depth, string, byte);
                    self.place = ArrayPlace::Inside { depth, string, is_first };
                    at += 1;
                }
            }
        }
        match self.place {
            ArrayPlace::Inside { .. } => self.keep(at),
            ArrayPlace::Before | ArrayPlace::After | ArrayPlace::Lost => self.skip(at),
        }
        None
    }

    /// Returns the item that ends before this place in the rest.
    fn item(&mut self, end: usize) -> CutItem {
        if self.begun.is_empty() && !self.is_too_long {
            let item = self.rest.split_to(end);
            if item.len() > self.most {
                return CutItem::TooLong;
            }
            return CutItem::Item(item.slice_ref(item.trim_ascii()));
        }
        self.keep(end);
        let item = self.begun.split().freeze();
        if std::mem::take(&mut self.is_too_long) {
            return CutItem::TooLong;
        }
        CutItem::Item(item.slice_ref(item.trim_ascii()))
    }

    /// Keeps the next bytes as the beginning of an item.
    fn keep(&mut self, count: usize) {
        let piece = self.rest.split_to(count);
        self.is_too_long |= self.begun.len() + piece.len() > self.most;
        if self.is_too_long {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(&piece);
        }
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.slice(count..);
    }

    fn broken(&mut self, why: &'static str) -> CutItem {
        self.rest = Bytes::new();
        self.place = ArrayPlace::Lost;
        CutItem::Broken(why)
    }
}

fn inside(is_first: bool) -> ArrayPlace {
    ArrayPlace::Inside { depth: 0, string: InString::No, is_first }
}

/// Where one is after this byte of an element.
fn step(depth: usize, string: InString, byte: u8) -> (usize, InString) {
    match (string, byte) {
        (InString::No, b'[' | b'{') => (depth + 1, InString::No),
        // One too many is an error of the element, which its call finds.
        (InString::No, b']' | b'}') => (depth.saturating_sub(1), InString::No),
        (InString::Yes, b'"') => (depth, InString::No),
        (InString::Yes, b'\\') => (depth, InString::Escaped),
        (InString::No, b'"') | (InString::Escaped, _) => (depth, InString::Yes),
        (string, _) => (depth, string),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut_in(form: BatchForm, most: usize, pieces: &[&[u8]]) -> Vec<String> {
        let mut cutter = ItemCutter::new(form, most);
        let mut cuts = Vec::new();
        for piece in pieces {
            cutter.push(Bytes::copy_from_slice(piece));
            while let Some(cut) = cutter.cut() {
                cuts.push(cut);
            }
        }
        cuts.extend(cutter.end());
        let words = |cut: CutItem| match cut {
            CutItem::Item(item) => String::from_utf8(item.to_vec()).expect("text"),
            CutItem::TooLong => "(too long)".to_owned(),
            CutItem::Broken(why) => format!("({why})"),
        };
        cuts.into_iter().map(words).collect()
    }

    fn lines(text: &str) -> Vec<String> {
        cut_in(BatchForm::Lines, 10, &[text.as_bytes()])
    }

    fn elements(text: &str) -> Vec<String> {
        cut_in(BatchForm::Array, 20, &[text.as_bytes()])
    }

    #[test]
    fn each_line_that_says_something_is_an_item() {
        assert_eq!(lines("1\r\n\n {} \n3"), ["1", "{}", "3"]);
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n \n"), [""; 0]);
        assert_eq!(lines("12345678901\n2\n"), ["(too long)", "2"]);
    }

    #[test]
    fn each_element_of_an_array_is_an_item() {
        assert_eq!(
            elements(" [1, {\"a\": [2, 3]} , \"],\\\"\"] "),
            ["1", "{\"a\": [2, 3]}", "\"],\\\"\""]
        );
        assert_eq!(elements("[ ]"), [""; 0]);
        assert_eq!(elements("[1,]"), ["1", ""], "what is empty is an item of its own, and wrong");
        assert_eq!(elements("[1] 2"), ["1", "(the body goes on behind the array)"]);
        assert_eq!(elements("[1"), ["(the array has no end)"]);
        assert_eq!(elements("{}"), ["(the body is not an array)"]);
        assert_eq!(elements("[\"123456789012345678901\", 2]"), ["(too long)", "2"]);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            text in "[\\[\\]{},\"\\\\ \n1a]{0,40}",
            places in prop::collection::vec(0_usize..40, 0..4),
            is_array: bool,
        ) {
            let form = if is_array { BatchForm::Array } else { BatchForm::Lines };
            let mut places: Vec<usize> = places.into_iter().map(|at| at.min(text.len())).collect();
            places.push(text.len());
            places.sort_unstable();
            let mut start = 0;
            let pieces: Vec<&[u8]> = places
                .iter()
                .map(|end| &text.as_bytes()[std::mem::replace(&mut start, *end)..*end])
                .collect();
            prop_assert_eq!(cut_in(form, 12, &pieces), cut_in(form, 12, &[text.as_bytes()]));
        }
    }
}
