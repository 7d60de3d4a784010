//! How bytes are cut into messages and how answers find their calls, as the operator names them.
//!
//! Pure. `wire` makes codecs of these; `front` asks here which values may not be sent.

use std::fmt;

use crate::base::ByteRegex;

const NAMES: [&str; 13] = [
    "line",
    "nul",
    "lines:N",
    "block",
    "until:TEXT",
    "last-line:REGEX",
    "u16",
    "u32",
    "u32le",
    "netstring",
    "content-length",
    "turn",
    "eof",
];

/// How bytes are cut into messages, in one direction.
#[derive(Clone, Debug, PartialEq)]
pub enum Framing {
    /// Bytes up to LF; a CR before it is dropped.
    Line,
    /// Bytes up to NUL.
    Nul,
    /// Exactly this many lines; 1 or more.
    Lines(usize),
    /// Lines up to an empty line.
    Block,
    /// Bytes up to this text, in which `{nonce}` stands for the nonce of the call.
    Until(String),
    /// Lines up to and including the first that matches.
    LastLine(ByteRegex),
    /// A length of two bytes, big-endian, then that many bytes.
    U16,
    /// A length of four bytes, big-endian.
    U32,
    /// A length of four bytes, little-endian.
    U32le,
    /// `3:abc,`.
    Netstring,
    /// Header lines with `Content-Length`, an empty line, that many bytes.
    ContentLength,
    /// An answer is all bytes until the program waits for its input again; a question is a line.
    Turn,
    /// Bytes up to the end: the program's input ends after one question, and its answer with its own
    /// end.
    Eof,
}

/// The framing of questions and of answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Framings {
    /// How questions are framed.
    pub send: Framing,
    /// How answers are framed.
    pub reply: Framing,
}

/// How an answer finds its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The oldest call in that worker.
    Order,
    /// The call whose question it repeats.
    Echo,
    /// The call whose tag it begins with.
    Tag,
    /// The call with the same JSON `id`.
    JsonId,
}

/// The members of a JSON object that hold the id of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdNames {
    /// In a question.
    pub send: String,
    /// In an answer.
    pub reply: String,
}

impl Default for IdNames {
    /// As JSON-RPC names them.
    fn default() -> Self {
        Self { send: "id".to_owned(), reply: "id".to_owned() }
    }
}

impl IdNames {
    /// Returns true if the id has the name that JSON-RPC gives it.
    pub fn are_of_json_rpc(&self) -> bool {
        self.send == "id" && self.reply == "id"
    }
}

impl fmt::Display for Framing {
    /// As an operator writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("line"),
            Self::Nul => f.write_str("nul"),
            Self::Lines(count) => write!(f, "lines:{count}"),
            Self::Block => f.write_str("block"),
            Self::Until(end) => write!(f, "until:{end}"),
            Self::LastLine(pattern) => write!(f, "last-line:{pattern}"),
            Self::U16 => f.write_str("u16"),
            Self::U32 => f.write_str("u32"),
            Self::U32le => f.write_str("u32le"),
            Self::Netstring => f.write_str("netstring"),
            Self::ContentLength => f.write_str("content-length"),
            Self::Turn => f.write_str("turn"),
            Self::Eof => f.write_str("eof"),
        }
    }
}

impl fmt::Display for Framings {
    /// One word where both are the same, else `line → block`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.send == self.reply {
            return self.send.fmt(f);
        }
        write!(f, "{} → {}", self.send, self.reply)
    }
}

impl fmt::Display for Matching {
    /// As an operator writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "order",
            Self::Echo => "echo",
            Self::Tag => "tag",
            Self::JsonId => "json-id",
        })
    }
}

/// Up to this length in bytes, a plain loop is faster than `memchr`.
const SHORT: usize = 32;

impl Framing {
    /// Reads a framing as an operator writes it: `line`, `lines:3`, `until:> `.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let framing = match (name, argument) {
            ("line", None) => Self::Line,
            ("nul", None) => Self::Nul,
            ("block", None) => Self::Block,
            ("u16", None) => Self::U16,
            ("u32", None) => Self::U32,
            ("u32le", None) => Self::U32le,
            ("netstring", None) => Self::Netstring,
            ("content-length", None) => Self::ContentLength,
            ("turn", None) => Self::Turn,
            ("eof", None) => Self::Eof,
            ("lines", argument) => match argument.and_then(|number| number.parse().ok()) {
                Some(count @ 1..=1_000_000) => Self::Lines(count),
                _ => return refuse(text, "say how many lines, as in \"lines:2\""),
            },
            ("until", Some(end)) if !end.is_empty() => Self::Until(end.to_owned()),
            ("until", _) => return refuse(text, "say until what, as in \"until:> \""),
            ("last-line", Some(pattern)) if !pattern.is_empty() => match ByteRegex::new(pattern) {
                Ok(regex) => Self::LastLine(regex),
                Err(hint) => return refuse(text, &hint),
            },
            ("last-line", _) => {
                return refuse(text, "say what that line matches, as in \"last-line:^EOS$\"");
            }
            (name, _) => {
                let near = super::shape::nearest(name, NAMES.iter().copied());
                let all = || format!("write one of {}", NAMES.join(", "));
                return refuse(
                    text,
                    &near.map_or_else(all, |near| format!("did you mean \"{near}\"?")),
                );
            }
        };
        Ok(framing)
    }

    /// Returns true if a question may hold nearly any bytes, those of a picture too. Only the text of
    /// `until` is left out, if no nonce guards it.
    pub fn carries_files(&self) -> bool {
        match self {
            Self::Until(_)
            | Self::U16
            | Self::U32
            | Self::U32le
            | Self::Netstring
            | Self::ContentLength
            | Self::Eof => true,
            Self::Line
            | Self::Nul
            | Self::Lines(_)
            | Self::Block
            | Self::LastLine(_)
            | Self::Turn => false,
        }
    }

    /// What in this value may not be part of a question in this framing; `None` if it may.
    ///
    /// Only values that callers choose are checked; the operator's own literals may hold
    /// anything. CR is refused in lines because several languages end a line there. Whether a line
    /// feed ends a block depends on the text around it, which the caller of this looks at.
    pub fn unsendable(&self, value: &[u8]) -> Option<&'static str> {
        match self {
            Self::Block => {
                if memchr::memmem::find(value, b"\n\n").is_some() {
                    return Some("an empty line");
                }
                let place = memchr::memchr2(b'\r', 0, value)?;
                Some(if value[place] == 0 { "a NUL byte" } else { "a carriage return" })
            }
            Self::Line | Self::Lines(_) | Self::LastLine(_) | Self::Turn => {
                let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
                let place = match value.len() {
                    ..=SHORT => value.iter().position(is_end),
                    _ => memchr::memchr3(b'\n', b'\r', 0, value),
                };
                Some(match value[place?] {
                    b'\n' => "a line feed",
                    b'\r' => "a carriage return",
                    _ => "a NUL byte",
                })
            }
            Self::Nul => memchr::memchr(0, value).map(|_| "a NUL byte"),
            Self::Until(sentinel) => {
                let nonce_guards = sentinel.contains("{nonce}");
                let forged =
                    !nonce_guards && memchr::memmem::find(value, sentinel.as_bytes()).is_some();
                forged.then_some("the text that ends a message")
            }
            Self::U16
            | Self::U32
            | Self::U32le
            | Self::Netstring
            | Self::ContentLength
            | Self::Eof => None,
        }
    }
}

fn refuse(text: &str, hint: &str) -> Result<Framing, (String, String)> {
    Err((format!("`{text}` is not a framing"), hint.to_owned()))
}

impl Framings {
    /// Returns true if answers end with the nonce of their question.
    pub fn reply_ends_with_nonce(&self) -> bool {
        matches!(&self.reply, Framing::Until(end) if end.contains("{nonce}"))
    }

    /// What in this value may not be part of a question. A value that the program repeats must
    /// not end its answer early either, so the framing of answers counts too.
    pub fn unsendable(&self, value: &[u8]) -> Option<&'static str> {
        let forges_answer = match (&self.send, &self.reply) {
            (_, until @ Framing::Until(_)) => until.unsendable(value),
            // A program that repeats a block in its answer cannot do so in one line.
            (
                Framing::Block,
                lines @ (Framing::Line | Framing::Lines(_) | Framing::LastLine(_)),
            ) => lines.unsendable(value),
            _ => None,
        };
        self.send.unsendable(value).or(forges_answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framings_are_read_as_operators_write_them() {
        let shown = |text: &str| format!("{:?}", Framing::parse(text).expect("a framing"));
        assert_eq!(shown("line"), "Line");
        assert_eq!(shown("lines:3"), "Lines(3)");
        assert_eq!(shown("until:a:b\n"), r#"Until("a:b\n")"#);
        assert_eq!(shown("last-line:^EOS$"), r#"LastLine(Regex("^EOS$"))"#);
        for wrong in ["", "lnie", "line:2", "lines", "lines:0", "until:", "last-line:("] {
            assert!(Framing::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn framings_are_shown_as_they_are_read() {
        for name in NAMES {
            let text = name.replace(":N", ":3").replace(":TEXT", ":> ").replace(":REGEX", ":^b$");
            assert_eq!(Framing::parse(&text).expect(name).to_string(), text);
        }
        let mixed = Framings { send: Framing::Line, reply: Framing::Block };
        assert_eq!(mixed.to_string(), "line → block");
        assert_eq!(Framings { reply: Framing::Line, ..mixed }.to_string(), "line");
    }

    #[test]
    fn what_would_end_a_line_is_not_sent_in_one() {
        for value in ["1\n2", "1\r2", "1\r\n2", "1\x002", "\n"] {
            assert!(Framing::Line.unsendable(value.as_bytes()).is_some(), "{value:?}");
        }
        assert_eq!(Framing::Line.unsendable("a b\u{2028}c".as_bytes()), None);
    }

    #[test]
    fn a_block_may_have_lines_but_no_empty_one() {
        assert_eq!(Framing::Block.unsendable(b"a\nb\nc"), None);
        for value in ["a\n\nb", "a\rb", "a\0b"] {
            assert!(Framing::Block.unsendable(value.as_bytes()).is_some(), "{value:?}");
        }
        let mixed = Framings { send: Framing::Block, reply: Framing::Line };
        assert_eq!(mixed.unsendable(b"a\nb"), Some("a line feed"), "an echo would be two answers");
    }

    #[test]
    fn a_sentinel_is_not_sent_unless_a_nonce_guards_it() {
        assert!(Framing::Until("> ".to_owned()).unsendable(b"a> b").is_some());
        assert_eq!(Framing::Until("{nonce}\n".to_owned()).unsendable(b"a\nb"), None);
    }

    #[test]
    fn length_prefixes_carry_anything() {
        assert_eq!(Framing::U32.unsendable(b"\0\n\r"), None);
    }
}
