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
    /// A declared parameter.
    Parameter {
        /// The index in the route's parameters.
        index: usize,
        /// How its value is written.
        form: Form,
    },
    /// The request's body, less one final line end.
    Body(Form),
    /// A fresh unguessable text for each call.
    Nonce,
    /// The value of this header (lower case); empty if the request does not have it.
    Header(Arc<str>),
    /// The request's method.
    Method,
    /// The request's path, as it came.
    Path,
    /// The name of the caller's key; empty if there is none.
    Caller,
    /// The kept answers of the route, as a JSON object.
    Kept,
}

/// How a value is written into a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{name}`: as it is.
    AsIs,
    /// `{name:json}`: a text as a JSON string; what is JSON already stays.
    Json,
    /// `{body:line}`: a JSON document, on one line.
    Line,
    /// `{name:base64}`.
    Base64,
}

/// Why a text is not a template, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateProblem(pub String);

/// Names that are filled from the request itself, so parameters may not be called so; neither
/// may they begin with `header.`.
pub const RESERVED: [&str; 6] = ["body", "nonce", "method", "path", "caller", "kept"];

/// Types that belong in `match`; of them only `json` has a meaning in a template.
const MATCH_TYPES: [&str; 5] = ["text", "int", "float", "bool", "file"];

impl Template {
    /// Compiles a template; `parameters` are the names of the route's declared parameters, by
    /// whose index slots refer to them.
    ///
    /// A run of braces before what looks like a slot is read in pairs from the left, each pair
    /// one brace; one that is left over begins the slot. All other braces are themselves.
    ///
    /// # Errors
    ///
    /// What looks like a slot and is none, or a form that has no meaning here.
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
            let slot = closed.map_or(Ok(None), |inside| read_slot(inside, parameters));
            let (Some(closed), false) = (closed, matches!(slot, Ok(None))) else {
                literal.push_str(&rest[..braces]);
                rest = inside;
                continue;
            };
            literal.push_str(&rest[..braces / 2]);
            rest = inside;
            // In pairs only, the braces stand for the letters themselves, whatever they are.
            if braces % 2 == 1
                && let Some(slot) = slot?
            {
                flush(&mut literal, &mut segments);
                segments.push(Segment::Slot(slot));
                rest = &inside[closed.len() + 1..];
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut segments);
        Ok(Self { segments })
    }

    /// Returns true if it has a slot for the kept answers.
    pub fn has_kept(&self) -> bool {
        self.segments.iter().any(|segment| *segment == Segment::Slot(Slot::Kept))
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

/// The slot that the text between two braces names, if it looks like one.
fn read_slot(inside: &str, parameters: &[Arc<str>]) -> Result<Option<Slot>, TemplateProblem> {
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (inside, None),
    };
    let index = parameters.iter().position(|known| **known == *name);
    let form = match kind {
        None => Form::AsIs,
        Some("json") => Form::Json,
        Some("line") => Form::Line,
        Some("base64") => Form::Base64,
        Some(kind) => {
            let is_known = index.is_some() || RESERVED.contains(&name);
            return if is_known { Err(no_such_form(inside, name, kind)) } else { Ok(None) };
        }
    };
    let slot = match name {
        _ if index.is_some() => Slot::Parameter { index: index.expect("checked just above"), form },
        "body" => Slot::Body(form),
        "nonce" => Slot::Nonce,
        "method" => Slot::Method,
        "path" => Slot::Path,
        "caller" => Slot::Caller,
        "kept" => return kept(inside, form),
        _ => match name.strip_prefix("header.") {
            Some(header) if is_header_name(header) => Slot::Header(header.to_lowercase().into()),
            _ if looks_like_slot(inside) => return Err(no_such_slot(inside, name, parameters)),
            _ => return Ok(None),
        },
    };
    match (form, &slot) {
        (Form::AsIs, _)
        | (_, Slot::Body(_))
        | (Form::Json | Form::Base64, Slot::Parameter { .. }) => Ok(Some(slot)),
        (Form::Line, Slot::Parameter { .. }) => Err(TemplateProblem(format!(
            "`{{{inside}}}`: only `body` can be put on one line; a parameter that `match` declares \
             as `{{{name}:json}}` is on one line already, and `{{{name}:json}}` here writes a text \
             as a JSON string"
        ))),
        (_, _) => Err(TemplateProblem(format!(
            "`{{{inside}}}`: only parameters and `body` can be written in another form; \
             write `{{{name}}}`, or `send = \"http\"` for the whole request as JSON"
        ))),
    }
}

/// The slot of the kept answers, which are JSON in any case.
fn kept(inside: &str, form: Form) -> Result<Option<Slot>, TemplateProblem> {
    match form {
        Form::Json => Ok(Some(Slot::Kept)),
        Form::AsIs | Form::Line | Form::Base64 => Err(TemplateProblem(format!(
            "`{{{inside}}}`: kept answers are written as a JSON object; write `{{kept:json}}`"
        ))),
    }
}

/// Returns true for what is written like a slot, such as `bdoy` or `z:json`; not for what other
/// languages have between braces, such as `"a": 1` or `print $1`.
fn looks_like_slot(inside: &str) -> bool {
    let name = inside.split_once(':').map_or(inside, |(name, _)| name);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(is_part)
}

fn no_such_slot(inside: &str, name: &str, parameters: &[Arc<str>]) -> TemplateProblem {
    let known = || parameters.iter().map(|known| &**known).chain(RESERVED);
    let near = known().min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let near = near.filter(|near| strsim::damerau_levenshtein(name, near) <= 1 + near.len() / 3);
    let advice = if let Some(near) = near {
        format!("did you mean `{{{near}}}`?")
    } else {
        let all: Vec<String> = known().map(|known| format!("`{{{known}}}`")).collect();
        format!("slots are {}, `{{header.NAME}}`", all.join(", "))
    };
    TemplateProblem(format!(
        "`{{{inside}}}` is no slot: {advice}; `{{{{{inside}}}` stands for these letters themselves"
    ))
}

fn no_such_form(inside: &str, name: &str, kind: &str) -> TemplateProblem {
    let why = if MATCH_TYPES.contains(&kind) {
        "the type of a parameter is said in `match`"
    } else {
        "a value can be written as `json`, `line` or `base64`"
    };
    TemplateProblem(format!(
        "`{{{inside}}}`: {why}; write `{{{name}}}` here, or `{{{{{inside}}}` for these letters \
         themselves"
    ))
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

    fn parameter(index: usize, form: Form) -> Segment {
        Segment::Slot(Slot::Parameter { index, form })
    }

    #[test]
    fn slots_are_told_from_text() {
        assert_eq!(
            parse("solve {num} {header.X-Mode}{path}"),
            [
                text("solve "),
                parameter(0, Form::AsIs),
                text(" "),
                Segment::Slot(Slot::Header("x-mode".into())),
                Segment::Slot(Slot::Path),
            ]
        );
        assert_eq!(parse(""), []);
        assert_eq!(parse("{kept:json}"), [Segment::Slot(Slot::Kept)]);
    }

    #[test]
    fn json_around_a_slot_needs_no_escapes() {
        assert_eq!(
            parse(r#"{"q": {q:json}, "o": {}}"#),
            [text(r#"{"q": "#), parameter(1, Form::Json), text(r#", "o": {}}"#)]
        );
    }

    #[test]
    fn a_brace_that_begins_no_slot_is_itself() {
        for literal in
            ["{", "}", "{num", "{ num}", "{{", "{print $1}", "{\"a\": 1}", "{1}", "{}", "{{ x }}"]
        {
            assert_eq!(parse(literal), [text(literal)], "{literal}");
        }
    }

    #[test]
    fn a_pair_of_braces_before_a_slot_is_one_brace() {
        assert_eq!(parse("{{num}"), [text("{num}")]);
        assert_eq!(parse("{{{num}}"), [text("{"), parameter(0, Form::AsIs), text("}")]);
        assert_eq!(parse("{{{{num}"), [text("{{num}")]);
    }

    #[test]
    fn a_type_that_says_nothing_is_refused_with_what_to_write() {
        let names = [Arc::from("num")];
        let said = Template::parse("{num:int}", &names).expect_err("a type").to_string();
        assert!(said.contains("write `{num}` here, or `{{num:int}`"), "{said}");
        assert!(Template::parse("{path:json}", &names).is_err());
        assert!(Template::parse("{num:1}", &names).is_err());
        let said = Template::parse("{num:line}", &names).expect_err("a form").to_string();
        assert!(said.contains("`{num:json}`"), "{said}");
    }

    #[test]
    fn what_looks_like_a_slot_and_is_none_is_refused_with_the_nearest() {
        let names = [Arc::from("num")];
        for (text, advice) in [
            ("{bdoy}", "did you mean `{body}`?"),
            ("{nmu}", "did you mean `{num}`?"),
            ("{z}", "slots are `{num}`, `{body}`"),
            ("{z:json}", "`{{z:json}`"),
            ("{kept}", "write `{kept:json}`"),
            ("{heder.x}", "is no slot"),
            ("{header.}", "is no slot"),
        ] {
            let said = Template::parse(text, &names).expect_err(text).to_string();
            assert!(said.contains(advice), "{text}: {said}");
        }
        assert_eq!(parse("{{z} {{{{z}"), [text("{z} {{z}")]);
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
            proptest::prop_assert!(parsed.is_ok() || value.contains(char::is_alphabetic));
        }
    }
}
