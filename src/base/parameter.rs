//! Declared parameters of a route: their types, their bounds, and what a value must be.
//!
//! Pure. Where a value comes from (path, query, form, JSON) is `front`'s business; here it is
//! a text that either is of its type or is refused with words for the caller.

use std::sync::Arc;

use regex::Regex;

/// One declared parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in the match text.
    pub name: Arc<str>,
    /// The key it is read from in a query, form or JSON body: `x` in `?x={num:int}`. The same
    /// as `name` for a path segment.
    pub key: Arc<str>,
    /// It is a segment of the path.
    pub in_path: bool,
    /// What its values are.
    pub kind: ParameterKind,
    /// Taken where the request does not have it; `None`: it must.
    pub default: Option<String>,
    /// The configured sentence for a caller who left it out.
    pub missing: Option<Arc<str>>,
}

/// The type of a parameter with its bounds.
#[derive(Clone, Debug)]
pub enum ParameterKind {
    /// Any text.
    Text {
        /// Most characters.
        max_length: usize,
        /// What the whole text must match (anchored when compiled).
        pattern: Option<Regex>,
        /// The only values allowed; empty: any.
        one_of: Vec<String>,
    },
    /// `-?[0-9]+`, any number of digits, never through a float.
    Int {
        /// Least value, in canonical form (see [`ParameterKind::read`]).
        min: Option<String>,
        /// Greatest value, in canonical form.
        max: Option<String>,
    },
    /// JSON's number grammar, sent as written.
    Float {
        /// Least value.
        min: Option<f64>,
        /// Greatest value.
        max: Option<f64>,
    },
    /// `true` or `false`.
    Bool,
    /// Any JSON text, sent compact, its digits untouched.
    Json,
}

impl ParameterKind {
    /// The value as it is sent and cached: an `int` without leading zeros, `json` compact,
    /// everything else as it came.
    ///
    /// # Errors
    ///
    /// What was expected, in words for the caller; never repeats the value.
    pub fn read(&self, _value: &str) -> Result<String, String> {
        todo!()
    }
}
