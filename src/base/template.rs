//! Templates of questions: literal text with slots, as in `solve {num} {header.x-mode}`.
//!
//! Pure. Slots are filled once and what was put in is never read again as a template. A brace
//! that begins no known slot is itself; `{{` writes one that would begin a slot.

use std::sync::Arc;

use bytes::Bytes;

/// A compiled `send` template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What it is made of, in order.
    pub segments: Vec<Segment>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The operator's own text.
    Literal(Bytes),
    /// Filled from the request.
    Slot(Slot),
}

/// Where a slot's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The declared parameter at this index; `as_json` writes a text value as a JSON string
    /// (`{name:json}` of a parameter that is not itself `json`).
    Parameter {
        /// The index in the route's parameters.
        index: usize,
        /// Written as JSON.
        as_json: bool,
    },
    /// The request's body, less one final line end; `{body:json}` writes it as a JSON string.
    Body {
        /// Written as JSON.
        as_json: bool,
    },
    /// A fresh unguessable text for each call.
    Nonce,
    /// The value of this header (lower case), empty where absent.
    Header(Arc<str>),
    /// The request's method.
    Method,
    /// The request's path, as it came.
    Path,
}

/// Why a text is no template; says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateProblem(pub String);

impl Template {
    /// Compiles a template; `parameters` are the names of the route's declared parameters, by
    /// whose index slots refer to them.
    pub fn parse(_text: &str, _parameters: &[Arc<str>]) -> Result<Self, TemplateProblem> {
        todo!()
    }

    /// Does it use `{nonce}`?
    pub fn has_nonce(&self) -> bool {
        self.segments.iter().any(|segment| *segment == Segment::Slot(Slot::Nonce))
    }
}
