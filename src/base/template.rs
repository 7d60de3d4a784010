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
    /// The value of this header (lower case); empty if the request does not have it.
    Header(Arc<str>),
    /// The request's method.
    Method,
    /// The request's path, as it came.
    Path,
}

/// Why a text is not a template, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateProblem(pub String);

/// Names that are filled from the request itself, so parameters may not be called so; neither
/// may they begin with `header.`.
pub const RESERVED: [&str; 4] = ["body", "nonce", "method", "path"];

/// Types that belong in `match`; in a template only `json` has a meaning.
const MATCH_TYPES: [&str; 4] = ["text", "int", "float", "bool"];

impl Template {
    /// Compiles a template; `parameters` are the names of the route's declared parameters, by
    /// whose index slots refer to them.
    ///
    /// A run of braces before what could be a slot is read in pairs from the left, each pair
    /// one brace; one that is left over begins the slot. All other braces are themselves.
    ///
    /// # Errors
    ///
    /// A known name with a type that has no meaning here.
    pub fn parse(text: &str, parameters: &[Arc<str>]) -> Result<Self, TemplateProblem> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            literal.push_str(&rest[..brace]);
            rest = &rest[brace..];
            let braces = rest.len() - rest.trim_start_matches('{').len();
            let inside = &rest[braces..];
            let closed = inside.find('}').map(|end| &inside[..end]);
            let slot = closed.map_or(Ok(None), |inside| read_slot(inside, parameters))?;
            let (Some(slot), Some(closed)) = (slot, closed) else {
                literal.push_str(&rest[..braces]);
                rest = inside;
                continue;
            };
            literal.push_str(&rest[..braces / 2]);
            rest = inside;
            if braces % 2 == 1 {
                flush(&mut literal, &mut segments);
                segments.push(Segment::Slot(slot));
                rest = &inside[closed.len() + 1..];
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut segments);
        Ok(Self { segments })
    }

    /// Returns true if it has a slot for the nonce.
    pub fn has_nonce(&self) -> bool {
        self.segments.iter().any(|segment| *segment == Segment::Slot(Slot::Nonce))
    }
}

fn flush(literal: &mut String, segments: &mut Vec<Segment>) {
    if !literal.is_empty() {
        segments.push(Segment::Literal(Bytes::from(std::mem::take(literal))));
    }
}

/// The slot that the text between two braces names, if it names one.
fn read_slot(inside: &str, parameters: &[Arc<str>]) -> Result<Option<Slot>, TemplateProblem> {
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (inside, None),
    };
    let as_json = kind == Some("json");
    let index = parameters.iter().position(|known| **known == *name);
    let slot = match name {
        _ if index.is_some() => {
            Slot::Parameter { index: index.expect("checked just above"), as_json }
        }
        "body" => Slot::Body { as_json },
        "nonce" => Slot::Nonce,
        "method" => Slot::Method,
        "path" => Slot::Path,
        _ => match name.strip_prefix("header.") {
            Some(header) if is_header_name(header) => Slot::Header(header.to_lowercase().into()),
            _ => return Ok(None),
        },
    };
    match kind {
        None => Ok(Some(slot)),
        Some("json") if matches!(slot, Slot::Parameter { .. } | Slot::Body { .. }) => {
            Ok(Some(slot))
        }
        Some("json") => Err(TemplateProblem(format!(
            "`{{{inside}}}`: only parameters and `body` can be written as JSON; \
             write `{{{name}}}`, or `send = \"http\"` for the whole request as JSON"
        ))),
        Some(kind) if MATCH_TYPES.contains(&kind) => Err(TemplateProblem(format!(
            "`{{{inside}}}`: the type of a parameter is said in `match`; write `{{{name}}}` here, \
             or `{{{{{inside}}}` for these letters themselves"
        ))),
        Some(_) => Ok(None),
    }
}

fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Segment> {
        let names = [Arc::from("num"), Arc::from("q")];
        Template::parse(text, &names).expect("a template").segments
    }

    fn text(text: &str) -> Segment {
        Segment::Literal(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn parameter(index: usize, as_json: bool) -> Segment {
        Segment::Slot(Slot::Parameter { index, as_json })
    }

    #[test]
    fn slots_are_told_from_text() {
        assert_eq!(
            parse("solve {num} {header.X-Mode}{path}"),
            [
                text("solve "),
                parameter(0, false),
                text(" "),
                Segment::Slot(Slot::Header("x-mode".into())),
                Segment::Slot(Slot::Path),
            ]
        );
        assert_eq!(parse(""), []);
    }

    #[test]
    fn json_around_a_slot_needs_no_escapes() {
        assert_eq!(
            parse(r#"{"q": {q:json}, "o": {}}"#),
            [text(r#"{"q": "#), parameter(1, true), text(r#", "o": {}}"#)]
        );
    }

    #[test]
    fn a_brace_that_begins_no_slot_is_itself() {
        for literal in
            ["{", "}", "{unknown}", "{num", "{ num}", "{{", "{{x}}", "{num:1}", "{header.}"]
        {
            assert_eq!(parse(literal), [text(literal)], "{literal}");
        }
    }

    #[test]
    fn a_pair_of_braces_before_a_slot_is_one_brace() {
        assert_eq!(parse("{{num}"), [text("{num}")]);
        assert_eq!(parse("{{{num}}"), [text("{"), parameter(0, false), text("}")]);
        assert_eq!(parse("{{{{num}"), [text("{{num}")]);
    }

    #[test]
    fn a_type_that_says_nothing_is_refused_with_what_to_write() {
        let names = [Arc::from("num")];
        let said = Template::parse("{num:int}", &names).expect_err("a type").to_string();
        assert!(said.contains("write `{num}` here, or `{{num:int}`"), "{said}");
        assert!(Template::parse("{path:json}", &names).is_err());
    }

    #[test]
    fn only_a_nonce_slot_is_a_nonce() {
        let nonce = |text| Template::parse(text, &[]).expect("a template").has_nonce();
        assert!(nonce("{body}{nonce}"));
        assert!(!nonce("{body}{{nonce}"));
    }

    proptest::proptest! {
        #[test]
        fn text_without_braces_is_one_literal(value in "[^{}]{1,40}") {
            proptest::prop_assert_eq!(parse(&value), [text(&value)]);
        }

        #[test]
        fn any_text_is_read_without_a_panic(value in "[{}:a-z.é]{0,40}") {
            let names = [Arc::from("a"), Arc::from("é")];
            let parsed = Template::parse(&value, &names);
            proptest::prop_assert!(parsed.is_ok() || value.contains(':'));
        }
    }
}
