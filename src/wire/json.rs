//! Is a text JSON, and where do some members of its outermost object stand?
//!
//! Pure. Reads the whole text once without building anything from it: one bit for each open
//! array or object is all it keeps, so depth costs nothing but memory that is an eighth of the
//! text, and nothing recurses. Accepts what RFC 8259 does; lone surrogates in `\u` escapes pass.

use std::ops::Range;

/// Why a text is not what was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not JSON, or not UTF-8.
    NotJson,
    /// It is JSON, but not an object.
    NotObject,
    /// One of the members stands in the object twice.
    Twice,
}

/// An object, as far as it matters.
#[derive(Debug)]
pub(super) struct Object<const N: usize> {
    /// Where its `{` stands.
    pub(super) open: usize,
    /// It has no member at all.
    pub(super) is_empty: bool,
    /// The members that were asked for, in that order.
    pub(super) members: [Option<Member>; N],
}

/// Where one member stands.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its value.
    pub(super) value: Range<usize>,
    /// All that must go so that the object is as if it had never been there.
    pub(super) with_comma: Range<usize>,
}

/// Is this one JSON text and nothing else?
pub(super) fn is_json(text: &[u8]) -> bool {
    let Some(mut scan) = Scan::new(text) else { return false };
    scan.document().is_some()
}

/// Finds members of the outermost object by their names.
pub(super) fn members<const N: usize>(text: &[u8], names: [&str; N]) -> Result<Object<N>, Fault> {
    let mut scan = Scan::new(text).ok_or(Fault::NotJson)?;
    scan.space();
    let open = scan.at;
    if scan.peek() != Some(b'{') {
        return Err(if is_json(text) { Fault::NotObject } else { Fault::NotJson });
    }
    let mut object = Object { open, is_empty: true, members: [const { None }; N] };
    let twice = scan.outermost(&names, &mut object).ok_or(Fault::NotJson)?;
    if twice { Err(Fault::Twice) } else { Ok(object) }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

/// The open arrays (0) and objects (1), innermost last.
#[derive(Default)]
struct Nesting {
    words: Vec<u64>,
    depth: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        Some(Self { text, at: 0 })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes past this byte, after any space.
    fn past(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn at_end(&mut self) -> Option<()> {
        self.space();
        (self.at == self.text.len()).then_some(())
    }

    fn document(&mut self) -> Option<()> {
        self.value()?;
        self.at_end()
    }

    /// Reads an object to the end of the text; was a wanted member there twice?
    fn outermost<const N: usize>(
        &mut self,
        names: &[&str; N],
        object: &mut Object<N>,
    ) -> Option<bool> {
        let mut twice = false;
        let mut begin = self.at + 1;
        self.past(b'{')?;
        if self.past(b'}').is_some() {
            self.at_end()?;
            return Some(false);
        }
        loop {
            let is_first = std::mem::replace(&mut object.is_empty, false);
            self.space();
            let key_start = self.at;
            self.string()?;
            let key = &self.text[key_start..self.at];
            self.past(b':')?;
            self.space();
            let start = self.at;
            self.value()?;
            let value = start..self.at;
            self.space();
            let is_last = self.peek()? == b'}';
            if let Some(place) = names.iter().position(|name| is_key(key, name)) {
                // Without it, one comma must go too: the one before, or else the one after.
                let end = if is_first && !is_last { self.at + 1 } else { value.end };
                let begin = if is_first { key_start } else { begin };
                let member = Member { value, with_comma: begin..end };
                twice |= object.members[place].replace(member).is_some();
            }
            begin = self.at;
            self.at += 1;
            match self.text[begin] {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.at_end()?;
        Some(twice)
    }

    /// Goes past one value.
    fn value(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        loop {
            self.space();
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    open.push(true);
                    if self.past(b'}').is_none() {
                        self.key()?;
                        continue;
                    }
                    open.pop();
                }
                b'[' => {
                    self.at += 1;
                    open.push(false);
                    if self.past(b']').is_none() {
                        continue;
                    }
                    open.pop();
                }
                _ => self.scalar()?,
            }
            if !self.after_value(&mut open)? {
                return Some(());
            }
        }
    }

    /// Goes on after a value, closing what ends there; is there another value to read?
    fn after_value(&mut self, open: &mut Nesting) -> Option<bool> {
        while let Some(in_object) = open.innermost() {
            self.space();
            let byte = self.peek()?;
            self.at += 1;
            match (byte, in_object) {
                (b',', true) => {
                    self.key()?;
                    return Some(true);
                }
                (b',', false) => return Some(true),
                (b'}', true) | (b']', false) => open.pop(),
                _ => return None,
            }
        }
        Some(false)
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.past(b':')
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn string(&mut self) -> Option<()> {
        (self.peek()? == b'"').then(|| self.at += 1)?;
        loop {
            let rest = &self.text[self.at..];
            // Most bytes of a string are neither; a control character is looked for in between.
            let stop = memchr::memchr2(b'"', b'\\', rest)?;
            if rest[..stop].iter().any(|byte| *byte < 0x20) {
                return None;
            }
            self.at += stop + 1;
            if rest[stop] == b'"' {
                return Some(());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Option<()> {
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.words.len() {
            self.words.push(0);
        }
        self.words[word] = self.words[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.words[last / 64] >> (last % 64) & 1 == 1)
    }
}

/// Is this key, with its quotes and escapes, that name? Names are ASCII without escapes.
fn is_key(key: &[u8], name: &str) -> bool {
    let inner = &key[1..key.len() - 1];
    if !inner.contains(&b'\\') {
        return inner == name.as_bytes();
    }
    // Each character takes at most six bytes, as in `\u0069`.
    inner.len() <= name.len() * 6
        && serde_json::from_slice::<String>(key).is_ok_and(|decoded| decoded == name)
}
