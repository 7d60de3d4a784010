//! Answer patterns: literal text with captures, as in `{input}|{result:int}`.
//!
//! Pure. `{input}` is the question without its framing and must be equal byte for byte. Other
//! captures are shortest, the last takes the rest. The whole message must be matched.

use bytes::Bytes;

/// A compiled `reply` or `error` pattern.
#[derive(Clone, Debug)]
pub struct Pattern {}

/// What a pattern makes of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It fits. The captures other than `{input}` as a JSON object, in the order of the
    /// pattern; the whole answer where the pattern has none.
    Fits(Bytes),
    /// The answer does not fit, and nothing shows that it belongs to this question: pairing is
    /// in doubt.
    Doubtful,
    /// `{input}` and all text up to it were as they must be, so the answer belongs to this
    /// question, but the rest does not fit; says why, in words that do not repeat the answer.
    ProvenButUnfit(String),
}

/// Why a text is no pattern; says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternProblem(pub String);

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(_text: &str) -> Result<Self, PatternProblem> {
        todo!()
    }

    /// Does it hold `{input}`, so that an answer proves its question?
    pub fn has_input(&self) -> bool {
        todo!()
    }

    /// Does it capture anything besides `{input}`, so that a fit is a JSON object?
    pub fn has_fields(&self) -> bool {
        todo!()
    }

    /// Holds one answer against the question it should belong to.
    pub fn fit(&self, _question: &[u8], _answer: &Bytes) -> Match {
        todo!()
    }

    /// The text of one capture by its name (`message` of an `error` pattern), where the answer
    /// fits and the text is UTF-8.
    pub fn capture(&self, _name: &str, _question: &[u8], _answer: &[u8]) -> Option<String> {
        todo!()
    }

    /// Could this answer be for the question, by its echo alone? For `matching = "echo"`: the
    /// part of the answer that `{input}` stands for, where text around it allows one reading.
    pub fn echoed<'a>(&self, _answer: &'a [u8]) -> Option<&'a [u8]> {
        todo!()
    }
}
