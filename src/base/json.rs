//! Checks that a text is JSON, and finds members of its outermost object.
//!
//! Pure. Reads the text once and builds nothing from it. It keeps one bit for each open array or
//! object and does not recurse, so a deep text costs at most an eighth of its length in memory.
//! Accepts what RFC 8259 does, including lone surrogates in `\u` escapes.
//!
//! `serde_json` with `RawValue` is not used here: callers need the bytes that a member occupies
//! with its comma, to cut it out or to replace it, and must know whether it occurs twice.

use std::ops::Range;

/// Why a text cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not JSON, or not UTF-8.
    NotJson,
    /// It is JSON, but not an object.
    NotObject,
    /// One of the members occurs twice.
    Twice,
}

/// What was found in an object.
#[derive(Debug)]
pub struct Object<const N: usize> {
    /// The position of its `{`.
    pub open: usize,
    /// Whether it has no members.
    pub is_empty: bool,
    /// The members that were asked for, in that order.
    pub members: [Option<Member>; N],
}

/// The position of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its value.
    pub value: Range<usize>,
    /// The bytes to remove to leave an object without this member.
    pub with_comma: Range<usize>,
}

/// Returns true if this is one JSON text and nothing else.
pub fn is_json(text: &[u8]) -> bool {
    let Some(mut scan) = Scan::new(text) else { return false };
    scan.document().is_some()
}

/// Finds members of the outermost object by their names.
pub fn members<const N: usize>(text: &[u8], names: [&str; N]) -> Result<Object<N>, Flaw> {
    let mut scan = Scan::new(text).ok_or(Flaw::NotJson)?;
    scan.space();
    let open = scan.at;
    if scan.peek() != Some(b'{') {
        return Err(if is_json(text) { Flaw::NotObject } else { Flaw::NotJson });
    }
    let mut object = Object { open, is_empty: true, members: [const { None }; N] };
    let twice = scan.outermost(&names, &mut object).ok_or(Flaw::NotJson)?;
    if twice { Err(Flaw::Twice) } else { Ok(object) }
}

/// Returns true if the text is an object with an `id` and this `method`: a call of JSON-RPC.
pub fn calls(text: &[u8], wanted: &str) -> bool {
    let Ok(object) = members(text, ["method", "id"]) else { return false };
    let [Some(method), Some(_)] = object.members else { return false };
    serde_json::from_slice::<String>(&text[method.value]).is_ok_and(|method| method == wanted)
}

/// Returns the positions of the elements of an array, or `None` if the text is not an array.
pub fn elements(text: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut scan = Scan::new(text)?;
    let mut elements = Vec::new();
    scan.past(b'[')?;
    if scan.past(b']').is_none() {
        loop {
            scan.space();
            let start = scan.at;
            scan.value()?;
            elements.push(start..scan.at);
            if scan.past(b']').is_some() {
                break;
            }
            scan.past(b',')?;
        }
    }
    scan.at_end()?;
    Some(elements)
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

    /// Reads an object up to the end of the text. Returns true if a wanted member occurs twice.
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

    /// Skips one value.
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

    /// Closes what ends after a value. Returns true if another value follows.
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
            // Most bytes are neither quotes nor escapes; look for control characters in between.
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

/// Returns true if this key, with its quotes and escapes, is the name (plain ASCII).
fn is_key(key: &[u8], name: &str) -> bool {
    let inner = &key[1..key.len() - 1];
    if !inner.contains(&b'\\') {
        return inner == name.as_bytes();
    }
    // Each character takes at most six bytes, as in `\u0069`.
    inner.len() <= name.len() * 6
        && serde_json::from_slice::<String>(key).is_ok_and(|decoded| decoded == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        let [member] = members(text.as_bytes(), [name]).expect("an object").members;
        Some(&text[member?.value])
    }

    #[test]
    fn only_members_of_the_outermost_object_are_found() {
        let text = r#" { "a" : {"id":1} , "b":["id",{"id":2}], "s":"\"id\":3" , "id" : 4 }"#;
        assert_eq!(value_of(text, "id"), Some("4"));
        assert_eq!(value_of(r#"{"a":{"id":1}}"#, "id"), None);
        assert_eq!(value_of("{}", "id"), None);
    }

    #[test]
    fn the_elements_of_an_array_are_told_apart() {
        let split = |text: &'static str| {
            let elements = elements(text.as_bytes())?;
            Some(elements.into_iter().map(|range| &text[range]).collect::<Vec<_>>())
        };
        assert_eq!(split(" [ ] "), Some(vec![]));
        assert_eq!(split(r#"[1, "a,]" ,{"a":[1,2]},[3]]"#).expect("an array").len(), 4);
        assert_eq!(split(r#" [ {"a" : 1} ]"#), Some(vec![r#"{"a" : 1}"#]));
        for text in ["", "1", "{}", "[1", "[1,]", "[,1]", "[1 2]", "[1] 2", "[1}", "[[1]"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_found_byte_for_byte() {
        for value in ["null", "1e3", "\"1\"", "-0.0E+7", "[1, 2 ]", "{\"id\": 1}", "\"\\u0031\""] {
            let text = format!("{{\"id\":{value}\t,\"b\":1}}");
            assert_eq!(value_of(&text, "id"), Some(value));
        }
    }

    #[test]
    fn a_key_with_escapes_is_the_key_it_means() {
        assert_eq!(value_of(r#"{"\u0069\u0064":1}"#, "id"), Some("1"));
        assert_eq!(value_of(r#"{"\\id":1}"#, "id"), None);
        let twice = members(br#"{"id":1,"i\u0064":2}"#, ["id"]);
        assert_eq!(twice.err(), Some(Flaw::Twice));
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        for text in ["[]", "1", "\"id\"", " null ", "[{\"id\":1}]"] {
            assert_eq!(members(text.as_bytes(), ["id"]).err(), Some(Flaw::NotObject), "{text}");
        }
        for text in
            ["", "{", "[", "{\"id\":1", "{\"id\":1}x", "{\"id\":1,}", "{\"id\" 1}", "{id:1}"]
        {
            assert_eq!(members(text.as_bytes(), ["id"]).err(), Some(Flaw::NotJson), "{text}");
        }
    }

    #[test]
    fn a_call_has_its_method_and_an_id() {
        assert!(calls(br#"{"id":0,"m\u0065thod":"init"}"#, "init"));
        for other in ["{}", "[]", r#"{"method":"init"}"#, r#"{"method":"inits","id":1}"#] {
            assert!(!calls(other.as_bytes(), "init"), "{other}");
        }
    }

    #[test]
    fn depth_overflows_no_stack() {
        let depth = 100_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_json(deep.as_bytes()));
        assert!(!is_json(&deep.as_bytes()[..2 * depth - 1]));
        let mixed = format!("{}1{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));
        assert!(is_json(mixed.as_bytes()));
        let inside = format!("{{\"a\":{deep},\"id\":7}}");
        assert_eq!(value_of(&inside, "id"), Some("7"));
    }

    #[test]
    fn brackets_close_what_they_opened() {
        for text in ["[}", "{]", "[{\"a\":1]}", "{\"a\":[1}]", "[1]]", "[,]", "[1,]", "{,}"] {
            assert!(!is_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_no_json() {
        assert!(!is_json(b"\"\xff\""));
        assert_eq!(members(b"{\"id\":\"\xff\"}", ["id"]).err(), Some(Flaw::NotJson));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "(id|[a\"\\\\\u{0}é\u{1f600}]{0,4})".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("id|method|[a-z\"]{0,2}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn agrees(text: &[u8]) -> Result<(), TestCaseError> {
        let theirs = std::str::from_utf8(text)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        prop_assert_eq!(is_json(text), theirs);
        // `members` accepts the same texts.
        let refused = matches!(members(text, ["id"]), Err(Flaw::NotJson));
        prop_assert_eq!(refused, !theirs);
        Ok(())
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json_about_json(
            json in any_json(), pretty: bool, at: prop::sample::Index, byte: u8, how in 0..3,
        ) {
            let to_text = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let mut text = to_text(&json).expect("a value is JSON");
            agrees(&text)?;
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, b"{}[],:\"\\0e-.tn u"[usize::from(byte) % 16]),
                _ => drop(text.remove(at)),
            }
            agrees(&text)?;
        }

        #[test]
        fn it_agrees_with_serde_json_about_noise(text in "[\\[\\]{}\",:0-9eE+.\\\\u a\n-]{0,12}") {
            agrees(text.as_bytes())?;
        }

        #[test]
        fn it_finds_the_elements_that_serde_json_finds(
            json in any_json(), pretty: bool, noise in "[\\[\\]{},:1\" ]{0,10}",
        ) {
            let to_text = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            for text in [to_text(&json).expect("a value is JSON"), noise] {
                let ours = elements(text.as_bytes()).map(|elements| {
                    let value = |place| serde_json::from_str::<Value>(&text[place]).expect("JSON");
                    elements.into_iter().map(value).collect::<Vec<_>>()
                });
                prop_assert_eq!(ours, serde_json::from_str::<Vec<Value>>(&text).ok());
            }
        }

        #[test]
        fn it_finds_the_members_that_serde_json_finds(json in any_json(), pretty: bool) {
            let to_text = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = to_text(&json).expect("a value is JSON");
            let Value::Object(theirs) = json else { return Ok(()) };
            let ours = members(text.as_bytes(), ["id", "method"]).expect("an object");
            prop_assert_eq!(ours.is_empty, theirs.is_empty());
            for (member, name) in ours.members.iter().zip(["id", "method"]) {
                let ours = member.as_ref().map(|member| {
                    serde_json::from_str::<Value>(&text[member.value.clone()]).expect("a value")
                });
                prop_assert_eq!(ours.as_ref(), theirs.get(name));
            }
            if let [Some(id), _] = &ours.members {
                let mut without = text.clone();
                without.replace_range(id.with_comma.clone(), "");
                let mut expected = theirs.clone();
                expected.shift_remove("id");
                prop_assert_eq!(
                    serde_json::from_str::<Value>(&without).ok(), Some(Value::Object(expected)));
            }
        }
    }
}
