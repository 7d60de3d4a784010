//! Makes the question of a request.
//!
//! Pure. A template is filled in one pass, and what was put in is never read again as a
//! template. Every value that a caller chose is checked against the framing of the pool before a
//! worker sees it. The operator's own text is not checked.

mod function;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use serde_json::Map;

use super::parameters::{self, Sources, without_mark};
use crate::base::parameter::{ParameterKind, Value, compact_json};
use crate::base::places::IdPlaces;
use crate::base::template::{Form, Segment, Slot, Template};
use crate::base::{Failure, Question};
use crate::config::{CallSettings, Framing, Matching, RouteSettings, SendShape, WireSettings};
use crate::sync::bulk::LARGE;
use crate::sync::pieces;
use crate::wire::group;

/// The parts of a request from which a question is made.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The route that the request takes.
    pub route: &'a RouteSettings,
    /// The method, as the caller wrote it.
    pub method: &'a str,
    /// Path, query and body, as far as they may hold parameters.
    pub sources: Sources<'a>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a Bytes,
    /// The name of the caller's key; `None` if there is none.
    pub caller: Option<&'a str>,
}

/// A question and its cache key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The question itself.
    pub question: Question,
    /// What distinguishes the question from others of its route: its values, each after its length.
    /// `None` if the question has neither a nonce nor kept answers: then its own bytes distinguish it.
    pub key: Option<Bytes>,
}

/// A text that is at most this long is worth a copy, which needs no allocation.
const SHORT: usize = 256;
/// The object of a route that has kept no answer.
const NONE_KEPT: &[u8] = b"{}";

/// Returns true if the body itself is part of the question. Then it holds no parameters.
pub fn uses_body(send: &SendShape) -> bool {
    match send {
        SendShape::Template(template) => {
            let is_body = |segment: &Segment| matches!(segment, Segment::Slot(Slot::Body(_)));
            template.segments.iter().any(is_body)
        }
        SendShape::Json => false,
        SendShape::Http | SendShape::Function(_) => true,
    }
}

/// Returns true if the body is part of the question, or may hold parameters.
pub(super) fn may_use_body(route: &RouteSettings, call: &CallSettings) -> bool {
    uses_body(&call.send)
        || matches!(call.send, SendShape::Json)
        || route.parameters.iter().any(|it| !it.in_path)
}

/// Returns true if a question needs a nonce.
pub fn uses_nonce(send: &SendShape) -> bool {
    matches!(send, SendShape::Template(template) if template.has_nonce())
}

/// Makes the question of a request. `nonce` is empty if `uses_nonce` returns false.
///
/// # Errors
///
/// What is wrong with the request: a parameter, a value that cannot be sent, or the size.
pub fn ask(
    call: &CallSettings,
    wire: &WireSettings,
    material: Material<'_>,
    nonce: &str,
) -> Result<Asked, Failure> {
    let asked = render(call, wire, material, nonce)?;
    match wire.group.and_then(|shape| group::unfit(shape, &asked.question.text)) {
        Some(why) => Err(bad_request(why)),
        None => Ok(asked),
    }
}

fn render(
    call: &CallSettings,
    wire: &WireSettings,
    material: Material<'_>,
    nonce: &str,
) -> Result<Asked, Failure> {
    if let SendShape::Function(function) = &call.send {
        let Material { route, sources, headers, body, .. } = material;
        let text = function::question(function, route, sources, headers, body)?;
        let text = limited(wire, text)?;
        return Ok(Asked { question: Question::plain(text), key: None });
    }
    let mut values = parameters::declared(material.route, material.sources)?;
    if let SendShape::Template(template) = &call.send
        && let Some((name, value)) = whole_value(wire, template, material, &mut values)
    {
        return pass_on(wire, name, value);
    }
    let has_own_key = !nonce.is_empty() || call.kept.is_some();
    let mut rendering = Rendering::new(wire, has_own_key);
    match &call.send {
        SendShape::Template(template) => rendering.fill(template, material, &values, nonce)?,
        SendShape::Json => rendering.object(material, &values)?,
        SendShape::Function(_) => unreachable!("asked above"),
        SendShape::Http => {
            rendering.value("request", whole_request(material).to_string().as_bytes())?;
        }
    }
    let key = rendering.key.take().map(Bytes::from);
    let nonce = (!nonce.is_empty()).then(|| Bytes::copy_from_slice(nonce.as_bytes()));
    let kept = rendering.kept.take();
    let question = Question { nonce, kept, ..Question::plain(rendering.finish()?) };
    Ok(Asked { question: with_places(question, wire)?, key })
}

/// Notes in a large question where the worker gets something of ours in it.
fn with_places(question: Question, wire: &WireSettings) -> Result<Question, Failure> {
    if question.text.len() <= LARGE || wire.matching != Matching::JsonId {
        return Ok(question);
    }
    let places = IdPlaces::of(&question.text, &wire.id.send, wire.has_asides());
    Ok(Question { places: Some(Arc::new(places.map_err(bad_request)?)), ..question })
}

/// Returns the only value of a question that has nothing else, with the name of the value. It is
/// the body without its last line end, or a parameter, and need not be copied.
/// A program that reads to the end of its input gets every byte of the body.
fn whole_value<'a>(
    wire: &WireSettings,
    template: &Template,
    material: Material<'a>,
    values: &mut [Value<'_>],
) -> Option<(&'a str, Bytes)> {
    match template.segments[..] {
        [Segment::Slot(Slot::Body(Form::AsIs))] => {
            let length = plain_body(wire, material.body).len();
            Some(("body", material.body.slice(..length)))
        }
        [Segment::Slot(Slot::Parameter { index, form: Form::AsIs })] => {
            let value = match &mut values[index] {
                Value::Text(Cow::Owned(text)) => std::mem::take(text).into(),
                Value::Text(Cow::Borrowed(text)) => pieces::copied(text.as_bytes()),
                Value::File(bytes) => uncopied(bytes, material.body),
            };
            Some((&material.route.parameters[index].name, value))
        }
        _ => None,
    }
}

/// Returns the bytes of a file, which as a rule are a part of the body.
fn uncopied(bytes: &[u8], body: &Bytes) -> Bytes {
    if is_part(bytes, body) { body.slice_ref(bytes) } else { Bytes::copy_from_slice(bytes) }
}

/// Returns true if these bytes lie in the body itself.
pub(super) fn is_part(bytes: &[u8], body: &Bytes) -> bool {
    let (inner, outer) = (bytes.as_ptr_range(), body.as_ptr_range());
    outer.start <= inner.start && inner.end <= outer.end
}

/// The body as a question has it: without its last line end, unless a question may be of any bytes
/// up to the end.
fn plain_body<'a>(wire: &WireSettings, body: &'a [u8]) -> &'a [u8] {
    if wire.ends_with_answer() { body } else { without_line_end(body) }
}

fn without_line_end(body: &[u8]) -> &[u8] {
    let text = body.strip_suffix(b"\n").unwrap_or(body);
    if text.len() < body.len() { text.strip_suffix(b"\r").unwrap_or(text) } else { text }
}

/// Makes a question that is one value and nothing else.
fn pass_on(wire: &WireSettings, name: &str, value: Bytes) -> Result<Asked, Failure> {
    let text = if is_forgeable(wire) {
        let mut rendering = Rendering::new(wire, false);
        rendering.value(name, &value)?;
        rendering.finish()?
    } else {
        check(wire, name, &value)?;
        limited(wire, value)?
    };
    Ok(Asked { question: with_places(Question::plain(text), wire)?, key: None })
}

/// Returns true if a value together with the text around it could form the end of a message.
fn is_forgeable(wire: &WireSettings) -> bool {
    match &wire.framing.send {
        Framing::Until(sentinel) => !sentinel.contains("{nonce}"),
        Framing::Block => true,
        _ => false,
    }
}

fn check(wire: &WireSettings, name: &str, value: &[u8]) -> Result<(), Failure> {
    match wire.framing.unsendable(value) {
        Some(what) => Err(unsendable(name, what)),
        None => Ok(()),
    }
}

fn limited(wire: &WireSettings, text: Bytes) -> Result<Bytes, Failure> {
    let limit = wire.message_max;
    if text.len() > limit {
        return Err(Failure::BodyTooLarge { limit: limit as u64 });
    }
    Ok(text)
}

/// A question that is being written.
struct Rendering<'a> {
    wire: &'a WireSettings,
    text: Vec<u8>,
    /// The range and the name of each value, in framings where a value together with the text
    /// around it could form the end of a message.
    values: Option<Vec<(Range<usize>, String)>>,
    /// Becomes [`Asked::key`]. The text of the question is not enough: the nonce differs in each
    /// call, and without the nonce the text does not show where one value ends and the next begins.
    key: Option<Vec<u8>>,
    /// Where the kept answers stand.
    kept: Option<Box<Range<usize>>>,
}

impl<'a> Rendering<'a> {
    fn new(wire: &'a WireSettings, has_own_key: bool) -> Self {
        Self {
            wire,
            text: Vec::new(),
            values: is_forgeable(wire).then(Vec::new),
            key: has_own_key.then(Vec::new),
            kept: None,
        }
    }

    fn literal(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Leaves room for the kept answers. None are known until a worker is to be asked.
    fn kept_answers(&mut self) {
        let start = self.text.len();
        self.literal(NONE_KEPT);
        self.kept = Some(Box::new(start..self.text.len()));
    }

    fn value(&mut self, name: &str, value: &[u8]) -> Result<(), Failure> {
        check(self.wire, name, value)?;
        let start = self.text.len();
        self.text.extend_from_slice(value);
        if let Some(values) = &mut self.values {
            values.push((start..self.text.len(), name.to_owned()));
        }
        if let Some(key) = &mut self.key {
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(value);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        template: &Template,
        material: Material<'_>,
        values: &[Value<'_>],
        nonce: &str,
    ) -> Result<(), Failure> {
        for segment in &template.segments {
            let slot = match segment {
                Segment::Literal(text) => {
                    self.literal(text);
                    continue;
                }
                Segment::Slot(slot) => slot,
            };
            match slot {
                Slot::Parameter { index, form } => {
                    let parameter = &material.route.parameters[*index];
                    let value = &values[*index];
                    let bytes = match value {
                        Value::Text(text) => text.as_bytes(),
                        Value::File(bytes) => bytes,
                    };
                    let written = match form {
                        Form::AsIs | Form::Line => Cow::Borrowed(bytes),
                        Form::Json => Cow::Owned(
                            as_json_value(&parameter.kind, value).into_owned().into_bytes(),
                        ),
                        Form::Base64 => Cow::Owned(BASE64.encode(bytes).into_bytes()),
                    };
                    self.value(&parameter.name, &written)?;
                }
                Slot::Body(Form::AsIs) => {
                    self.value("body", plain_body(self.wire, material.body))?;
                }
                Slot::Body(form) => {
                    let value = body_in(*form, material.body)?;
                    self.value("body", &value)?;
                }
                Slot::Nonce => self.literal(nonce.as_bytes()),
                Slot::Kept => self.kept_answers(),
                Slot::Header(name) => {
                    let value = header_value(material.headers, name);
                    self.value(&format!("header.{name}"), &value)?;
                }
                Slot::Method => self.value("method", material.method.as_bytes())?,
                Slot::Path => self.value("path", material.sources.path.as_bytes())?,
                Slot::Caller => {
                    self.value("caller", material.caller.unwrap_or_default().as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Writes the parameters as a JSON object.
    fn object(&mut self, material: Material<'_>, values: &[Value<'_>]) -> Result<(), Failure> {
        let declared = &material.route.parameters;
        let members = if declared.is_empty() {
            parameters::undeclared(material.sources)?
        } else {
            declared
                .iter()
                .zip(values)
                .map(|(it, value)| (it.name.to_string(), as_json_value(&it.kind, value).into()))
                .collect()
        };
        self.literal(b"{");
        for (index, (name, json)) in members.iter().enumerate() {
            self.literal(if index == 0 { b"" } else { b"," });
            self.value(name, json_string(name).as_bytes())?;
            self.literal(b":");
            self.value(name, json.as_bytes())?;
        }
        self.literal(b"}");
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Failure> {
        if let Some(name) = self.forger() {
            return Err(unsendable(&name, "a text that would end the question early"));
        }
        let text = std::mem::take(&mut self.text);
        limited(self.wire, if text.len() <= SHORT { pieces::copied(&text) } else { text.into() })
    }

    /// Returns the name of a value that, with the text around it, would end the message early.
    fn forger(&mut self) -> Option<String> {
        let values = self.values.take()?;
        let touched = |found: Range<usize>| {
            values.iter().find(|(value, _)| value.start < found.end && found.start < value.end)
        };
        let forger = match &self.wire.framing.send {
            Framing::Until(sentinel) => {
                // What the framing adds may complete what a value begins.
                let message = [&self.text[..], sentinel.as_bytes()].concat();
                let own_end = self.text.len();
                let mut begins = all_starts(&message, sentinel.as_bytes());
                begins
                    .by_ref()
                    .take_while(|start| *start < own_end)
                    .find_map(|start| touched(start..start + sentinel.len()))
            }
            Framing::Block if !self.text.is_empty() => empty_lines(&self.text).find_map(|at| {
                // The line end before it and its own one make it an empty line; either may come
                // from a value, and so may nothing at all.
                let ends = at.saturating_sub(1)..(at + 1).min(self.text.len());
                let is_here =
                    |(value, _): &&(Range<usize>, String)| value.is_empty() && value.start == at;
                touched(ends).or_else(|| values.iter().find(is_here))
            }),
            _ => None,
        };
        forger.map(|(_, name)| name.clone())
    }
}

/// The places of all empty lines of a text, also of one that a final line end leaves open: the end
/// of the message would follow it.
fn empty_lines(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text).map(|at| at + 1));
    starts.filter(|at| text.get(*at).is_none_or(|byte| *byte == b'\n'))
}

/// The body, less one final line end, in this form.
fn body_in(form: Form, body: &[u8]) -> Result<Cow<'_, [u8]>, Failure> {
    let bytes = without_line_end(body);
    let text = || str::from_utf8(bytes).map_err(|_| bad_request("the body is not UTF-8"));
    Ok(match form {
        Form::AsIs => Cow::Borrowed(bytes),
        Form::Json => Cow::Owned(json_string(text()?).into_bytes()),
        Form::Line => {
            let json = without_mark(text()?)?;
            let line = compact_json(json).map_err(|_| bad_request("the body is not JSON"))?;
            Cow::Owned(line.into_bytes())
        }
        // All of it: it may be no text.
        Form::Base64 => Cow::Owned(BASE64.encode(body).into_bytes()),
    })
}

/// Returns every place where the needle begins, including those that overlap.
fn all_starts<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + memchr::memmem::find(text.get(from..)?, needle)?;
        from = start + 1;
        Some(start)
    })
}

/// A value as JSON: what is JSON already stays, a file is a text of base64.
fn as_json_value<'a>(kind: &ParameterKind, value: &'a Value<'_>) -> Cow<'a, str> {
    match value {
        Value::Text(text) if matches!(kind, ParameterKind::Text { .. }) => json_string(text).into(),
        Value::Text(text) => Cow::Borrowed(text),
        Value::File(bytes) => format!("\"{}\"", BASE64.encode(bytes)).into(),
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// Returns the whole request as one JSON object on one line.
fn whole_request(material: Material<'_>) -> serde_json::Value {
    let mut headers = Map::new();
    for name in material.headers.keys() {
        // No program needs the key of a caller.
        if material.caller.is_some()
            && [AUTHORIZATION.as_str(), "x-api-key"].contains(&name.as_str())
        {
            continue;
        }
        let value = header_value(material.headers, name.as_str());
        headers.insert(name.as_str().to_owned(), String::from_utf8_lossy(&value).into());
    }
    let (body_name, body) = match str::from_utf8(material.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", BASE64.encode(material.body)),
    };
    let members = [
        ("method", material.method.into()),
        ("path", material.sources.path.into()),
        ("query", material.sources.query.into()),
        ("headers", headers.into()),
        (body_name, body.into()),
    ];
    let caller = material.caller.map(|name| ("caller", name.into()));
    members
        .into_iter()
        .chain(caller)
        .map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value))
        .collect()
}

/// Returns the value of a header: several are joined as HTTP defines it, none is empty.
fn header_value<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map_or(&b""[..], |value| value.as_bytes());
    let separator: &[u8] = if name == COOKIE.as_str() { b"; " } else { b", " };
    values.fold(Cow::Borrowed(first), |joined, value| {
        Cow::Owned([&joined, separator, value.as_bytes()].concat())
    })
}

fn bad_request(detail: &'static str) -> Failure {
    Failure::BadRequest { detail: detail.into() }
}

fn unsendable(name: &str, what: &'static str) -> Failure {
    Failure::Unsendable { parameter: Arc::from(name), detail: what.into() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::parameters::Body;
    use super::super::parameters::tests::{int, route, text};
    use super::super::testing::{call, pool};
    use super::*;

    struct Try<'a> {
        framing: Framing,
        parameters: &'a [(&'a str, ParameterKind)],
        send: &'a str,
        query: &'a str,
        body: &'a [u8],
        caller: Option<&'a str>,
    }

    const LINE: Try<'static> = Try {
        framing: Framing::Line,
        parameters: &[],
        send: "",
        query: "",
        body: b"",
        caller: None,
    };

    fn ask_for(it: &Try<'_>, nonce: &str) -> Result<Asked, Failure> {
        let route = route("GET /f", it.parameters);
        let mut headers = HeaderMap::new();
        for value in ["a", "b"] {
            headers.append("x-mode", HeaderValue::from_static(value));
            headers.append("cookie", HeaderValue::from_static(value));
        }
        let body = Bytes::copy_from_slice(it.body);
        let sources = Sources { path: "/f%20", query: it.query, body: Body::Nothing };
        let material = Material {
            route: &route,
            method: "GET",
            sources,
            headers: &headers,
            body: &body,
            caller: it.caller,
        };
        ask(&call(it.send, &route), &pool(it.framing.clone()).program.wire, material, nonce)
    }

    fn rendered(it: &Try<'_>) -> String {
        let asked = ask_for(it, "").expect("a question");
        String::from_utf8(asked.question.text.to_vec()).expect("UTF-8")
    }

    fn refused(it: &Try<'_>) -> String {
        match ask_for(it, "").expect_err("a failure") {
            Failure::Unsendable { parameter, .. } => parameter.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_slot_is_filled_from_its_place() {
        let send =
            "{method} {path} {header.x-mode} {header.cookie} {header.none}|{body}|{n}{q:json}";
        let parameters = [("n", int()), ("q", text())];
        let query = "n=007&q=%22%0A";
        let it = Try { parameters: &parameters, send, query, body: b"x\r\n", ..LINE };
        assert_eq!(rendered(&it), "GET /f%20 a, b a; b |x|7\"\\\"\\n\"");
    }

    #[test]
    fn declared_parameters_become_an_object_by_their_types() {
        let parameters = [
            ("n", int()),
            ("f", ParameterKind::Float { min: None, max: None }),
            ("t", text()),
            ("b", ParameterKind::Bool),
            ("j", ParameterKind::Json),
        ];
        let query = "t=1%0A&n=-0&f=1.50&b=true&j=[1,+%22%5Cn%22]";
        let it = Try { parameters: &parameters, send: "json", query, ..LINE };
        assert_eq!(rendered(&it), r#"{"n":0,"f":1.50,"t":"1\n","b":true,"j":[1,"\n"]}"#);
        assert_eq!(
            rendered(&Try { send: "json", query: "b=%22&a=1", ..LINE }),
            r#"{"b":"\"","a":"1"}"#
        );
        assert_eq!(rendered(&Try { send: "json", ..LINE }), "{}");
    }

    #[test]
    fn a_whole_request_is_one_line_of_json() {
        let it = Try { send: "http", query: "a=%0A", body: b"1\n2\n", ..LINE };
        assert_eq!(
            rendered(&it),
            concat!(
                r#"{"method":"GET","path":"/f%20","query":"a=%0A","#,
                r#""headers":{"x-mode":"a, b","cookie":"a; b"},"body":"1\n2\n"}"#
            )
        );
        let it = Try { body: b"\xff", ..it };
        assert!(rendered(&it).ends_with(r#""body_base64":"/w=="}"#));
    }

    #[test]
    fn a_program_gets_the_name_of_a_caller_and_never_the_key() {
        let it = Try { send: "{caller}|{body}", body: b"a", ..LINE };
        assert_eq!(rendered(&it), "|a");
        let it = Try { caller: Some("alice"), ..it };
        assert_eq!(rendered(&it), "alice|a");
        let route = route("GET /f", &[]);
        let headers = ["authorization", "x-api-key", "x-mode"]
            .map(|name| (name.parse().expect("a name"), HeaderValue::from_static("hp_secret")));
        let (headers, body) = (HeaderMap::from_iter(headers), Bytes::new());
        let sources = Sources { path: "/f", query: "", body: Body::Nothing };
        let material = Material {
            route: &route,
            method: "GET",
            sources,
            headers: &headers,
            body: &body,
            caller: it.caller,
        };
        let whole = whole_request(material);
        assert_eq!(whole["headers"].as_object().map(Map::len), Some(1), "{whole}");
        assert_eq!(whole["caller"], "alice");
        let whole = whole_request(Material { caller: None, ..material });
        assert_eq!(whole["headers"].as_object().map(Map::len), Some(3), "{whole}");
        assert!(whole.get("caller").is_none());
    }

    #[test]
    fn a_nonce_is_in_the_question_and_not_in_its_key() {
        let send = "{body} {nonce}";
        let framing = Framing::Until("{nonce}\n".to_owned());
        let asked = ask_for(&Try { send, framing, body: b"a\nb\n", ..LINE }, "c0ffee");
        let asked = asked.expect("a question");
        assert_eq!(asked.question.text, "a\nb c0ffee");
        assert_eq!(asked.question.nonce, Some(Bytes::from_static(b"c0ffee")));
        assert_eq!(asked.key.as_deref(), Some(&b"\x03\0\0\0\0\0\0\0a\nb"[..]));
    }

    #[test]
    fn kept_answers_have_a_place_in_the_question_and_none_in_its_key() {
        let it = Try { send: "{body} {kept:json}.", body: b"a", ..LINE };
        let asked = ask_for(&it, "").expect("a question");
        assert_eq!(asked.question.text, "a {}.");
        assert_eq!((asked.question.nonce, asked.question.kept), (None, Some(Box::new(2..4))));
        assert_eq!(asked.key.as_deref(), Some(&b"\x01\0\0\0\0\0\0\0a"[..]));
    }

    #[test]
    fn a_value_cannot_end_its_message_alone_or_with_the_text_around_it() {
        let two = [("a", text()), ("b", text())];
        let until = |sentinel: &str| Framing::Until(sentinel.to_owned());
        for (framing, send, query, name) in [
            (until("> "), "{a}", "a=1%3E%20&b", "a"),
            (until("> "), "{a}{b}", "a=1%3E&b=%20", "a"),
            (until("> "), "{a} {b}", "a=1%3E&b=x", "a"),
            (until("\n.\n"), "{a}", "a=x%0A.&b", "a"),
            (until("abab"), "{a}", "a=xab&b", "a"),
            (Framing::Block, "{a}\n{b}", "a=x&b=", "b"),
            (Framing::Block, "{a}\n{b}", "a=&b=x", "a"),
            (Framing::Block, "x\n{a}\ny", "a=&b", "a"),
        ] {
            let it = Try { framing, parameters: &two, send, query, ..LINE };
            assert_eq!(refused(&it), name, "{send} {query}");
        }
        for (framing, send, query) in [
            (until("> "), "a> b {a}", "a=x&b"),
            (until("> "), "{a}", "a=x%3E&b"),
            (until("abab"), "{a}", "a=xba&b"),
            (Framing::Block, "x {a}\n{b}", "a=&b=1"),
            (Framing::Block, "{a}", "a=&b"),
            (Framing::Block, "{a}\n\n{b}", "a=1&b=2"),
        ] {
            let it = Try { framing, parameters: &two, send, query, ..LINE };
            assert!(ask_for(&it, "").is_ok(), "{send} {query}");
        }
    }

    #[test]
    fn a_body_alone_is_held_against_the_framing_too() {
        let it = Try { send: "{body}", framing: Framing::Until("EOF\n".to_owned()), ..LINE };
        assert_eq!(refused(&Try { body: b"xEOF\nEOF", ..it }), "body");
    }

    #[test]
    fn a_question_longer_than_a_message_is_refused() {
        let long = &[b'a'; 1025];
        for send in ["{body}", "{body}{body}"] {
            let asked = ask_for(&Try { send, body: long, ..LINE }, "");
            assert_eq!(asked, Err(Failure::BodyTooLarge { limit: 1024 }), "{send}");
        }
        assert!(ask_for(&Try { send: "{body}", body: &long[1..], ..LINE }, "").is_ok());
    }

    /// Returns true if the two questions have different keys. If they had the same one, the kept
    /// answer to one would answer the other.
    fn have_different_keys(send: &str, one: [&str; 2], other: [&str; 2]) -> bool {
        let parameters = [("a", text()), ("b", text())];
        let key = |[a, b]: [&str; 2]| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("a", a).append_pair("b", b).finish();
            let it = Try { parameters: &parameters, send, query: &query, ..LINE };
            ask_for(&it, "c0ffee").expect("a question").key.expect("it has a nonce")
        };
        key(one) != key(other)
    }

    #[test]
    fn values_around_a_nonce_have_a_key_of_their_own() {
        let (one, other) = (["alice", "my  secret"], ["alice  my", "secret"]);
        assert!(have_different_keys("{nonce} {a} {nonce} {b}", one, other));
        assert!(have_different_keys("{nonce}|{a}|{nonce}{b}", ["alice", "b|c"], ["alice|b", "c"]));
        assert!(have_different_keys("{nonce}{a}{nonce}{b}", ["ab", "c"], ["a", "bc"]));
    }

    proptest::proptest! {
        #[test]
        fn different_values_never_have_the_same_key(
            send in "\\{nonce\\}[ |]?\\{a\\}([ |]?\\{nonce\\}){0,2}[ |]?\\{b\\}",
            all in "[ |a\u{ff}]{0,6}",
            one in 0..6_usize,
            other in 0..6_usize,
        ) {
            // Two ways to cut the same text, the likeliest to be taken for each other.
            let cut = |at: usize| {
                let (a, b) = all.split_at(all.floor_char_boundary(at));
                [a, b]
            };
            let (one, other) = (cut(one), cut(other));
            proptest::prop_assert_eq!(have_different_keys(&send, one, other), one != other);
        }

        #[test]
        fn a_line_is_always_one_line(value in "[\\x00-\\x20a{}\u{85}\u{2028}]{0,8}", body in "[\\x00-\\x20a]{0,8}") {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", &value).finish();
            let parameters = [("q", text())];
            let body = body.as_bytes();
            let it = Try { parameters: &parameters, send: "{q} {body}", query: &query, body, ..LINE };
            if let Ok(asked) = ask_for(&it, "") {
                let text = &asked.question.text;
                proptest::prop_assert!(!text.iter().any(|byte| b"\n\r\0".contains(byte)));
            }
        }
    }
}
