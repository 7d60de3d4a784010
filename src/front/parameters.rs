//! Reads the values of a route's parameters from path, query and body of a request.
//!
//! Pure. Each source is read once from start to end, and only declared names are kept. The number
//! of parameters is limited: a body of 16 MiB could have millions, and all other requests on the
//! thread would wait until they are read.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::multipart::{Part, parts};
use super::routes::path_values;
use super::short_list::ShortList;
use crate::base::Failure;
use crate::base::parameter::{Parameter, ParameterKind, Value, compact_value};
use crate::config::RouteSettings;

/// Most parameters that a query or a body may have.
pub const PARAMETERS_MAX: usize = 200_000;
/// Most parameters of a request whose route declares none and passes all of them on.
pub const UNDECLARED_MAX: usize = 10_000;

/// The parts of a request that may hold parameters.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The path, not decoded.
    pub path: &'a str,
    /// The query, not decoded; empty if there is none.
    pub query: &'a str,
    /// The body.
    pub body: Body<'a>,
}

/// A body, by the way in which parameters are read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// It is empty, or is not to be read for parameters.
    Nothing,
    /// `application/x-www-form-urlencoded`.
    Form(&'a [u8]),
    /// `application/json`.
    Json(&'a [u8]),
    /// `multipart/form-data`.
    Multipart {
        /// The whole content type, which has the boundary.
        content_type: &'a str,
        /// The body.
        bytes: &'a [u8],
    },
    /// Something else.
    Other,
}

impl<'a> Body<'a> {
    /// Sorts a body by its content type.
    pub fn of(content_type: Option<&'a str>, bytes: &'a [u8]) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        let content_type = content_type.unwrap_or_default();
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Self::Form(bytes),
            "application/json" => Self::Json(bytes),
            "multipart/form-data" => Self::Multipart { content_type, bytes },
            _ => Self::Other,
        }
    }

    /// Sorts a body for a function: without a content type it is JSON, and so is any type that is
    /// built on JSON.
    pub(in crate::front) fn of_function(content_type: Option<&'a str>, bytes: &'a [u8]) -> Self {
        match (Self::of(content_type, bytes), content_type) {
            (Self::Other, None) => Self::Json(bytes),
            (Self::Other, Some(kind)) => {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                let is_json = kind.is_empty() || kind.to_ascii_lowercase().ends_with("+json");
                if is_json { Self::Json(bytes) } else { Self::Other }
            }
            (known, _) => known,
        }
    }
}

/// Returns the values of all declared parameters in their order, checked and in the form in which
/// they are sent.
pub fn declared<'a>(
    route: &'a RouteSettings,
    sources: Sources<'a>,
) -> Result<ShortList<Value<'a>>, Failure> {
    let values = ShortList::of(None, route.parameters.len());
    let mut given = Gathered { parameters: &route.parameters, values };
    if route.parameters.iter().any(|parameter| parameter.in_path) {
        for (index, segment) in path_values(route, sources.path) {
            given.take(index, decode(segment, false).map(Found::Text))?;
        }
    }
    if !route.parameters.is_empty() {
        given.take_pairs(sources.query)?;
        match sources.body {
            Body::Form(bytes) => given.take_pairs(form_text(bytes)?)?,
            Body::Json(bytes) => given.take_members(bytes)?,
            Body::Multipart { content_type, bytes } => {
                given.take_parts(parts(content_type, bytes)?)?;
            }
            Body::Nothing | Body::Other => {}
        }
    }
    let missing = |parameter: &Parameter| match sources.body {
        Body::Other if !parameter.in_path => unsupported_body(),
        _ => missing(parameter),
    };
    given.values.try_map(|index, value| {
        let parameter = &route.parameters[index];
        match (value, &parameter.default) {
            (Some(found), _) => found
                .value(&parameter.kind)
                .map_err(|expected| bad(parameter, &format!("`{}` {expected}", parameter.key))),
            (None, Some(default)) if parameter.kind.is_file() => {
                Ok(Value::File(Cow::Owned(default.clone().into_bytes())))
            }
            (None, Some(default)) => Ok(Value::Text(default.into())),
            (None, None) => Err(missing(parameter)),
        }
    })
}

/// Returns all parameters of a request as members of a JSON object, in the order of the request:
/// those of query and form as strings, those of a JSON body as they are.
pub fn undeclared(sources: Sources<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut members = Vec::new();
    let mut names = HashSet::new();
    let mut add = |name: &str, json: String| {
        if !names.insert(name.to_owned()) {
            return Err(bad_request("a parameter is given twice"));
        }
        if names.len() > UNDECLARED_MAX {
            return Err(too_many());
        }
        members.push((name.to_owned(), json));
        Ok(())
    };
    let form = match sources.body {
        Body::Form(bytes) => form_text(bytes)?,
        _ => "",
    };
    for (name, value) in pairs(sources.query).chain(pairs(form)) {
        let name = decode(name, true).map_err(|_| unreadable_name())?;
        let value = decode(value, true)
            .map_err(|what| bad_request(format!("the value of a parameter {what}")))?;
        add(&name, serde_json::Value::from(&*value).to_string())?;
    }
    match sources.body {
        Body::Json(bytes) => for_each_member(bytes, |name, value| {
            let compact = compact_value(value);
            add(name, compact.map_err(|what| bad_request(format!("a value in the body {what}")))?)
        })?,
        Body::Multipart { content_type, bytes } => {
            for part in parts(content_type, bytes)?.into_iter().filter(|part| !part.is_left_out) {
                let value = undeclared_value(&part)?;
                add(&part.name, value.to_string())?;
            }
        }
        Body::Other => return Err(unsupported_body()),
        Body::Nothing | Body::Form(_) => {}
    }
    Ok(members)
}

/// Returns a part of a form that no parameter describes: a text, or a file as base64.
fn undeclared_value(part: &Part<'_>) -> Result<serde_json::Value, Failure> {
    if part.is_file {
        return Ok(BASE64.encode(part.bytes).into());
    }
    is_readable(part)?;
    let text = str::from_utf8(part.bytes);
    let text = text.map_err(|_| bad_request("the value of a parameter is not UTF-8"))?;
    Ok(text.into())
}

/// Refuses a text that is written in characters of another set.
fn is_readable(part: &Part<'_>) -> Result<(), Failure> {
    match &part.foreign_charset {
        None => Ok(()),
        Some(_) => Err(Failure::UnsupportedMediaType {
            detail: "the `charset` of a part of the form is not UTF-8".into(),
        }),
    }
}

/// What a source has for a parameter.
#[derive(Clone, Debug)]
enum Found<'a> {
    Text(Cow<'a, str>),
    /// For a parameter that is JSON.
    Json(&'a RawValue),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Found<'a> {
    fn value(self, kind: &ParameterKind) -> Result<Value<'a>, String> {
        match self {
            Self::Json(value) => {
                let text = compact_value(value).map_err(str::to_owned)?;
                Ok(Value::Text(text.into()))
            }
            Self::Text(text) if !kind.is_file() => kind.read_text(text).map(Value::Text),
            Self::Text(Cow::Borrowed(text)) => kind.read_bytes(Cow::Borrowed(text.as_bytes())),
            Self::Text(Cow::Owned(text)) => kind.read_bytes(Cow::Owned(text.into_bytes())),
            Self::Bytes(bytes) => kind.read_bytes(bytes),
        }
    }
}

/// The values found so far.
struct Gathered<'a> {
    parameters: &'a [Parameter],
    values: ShortList<Option<Found<'a>>>,
}

impl<'a> Gathered<'a> {
    fn take(
        &mut self,
        index: usize,
        value: Result<Found<'a>, &'static str>,
    ) -> Result<(), Failure> {
        let parameter = &self.parameters[index];
        let value = value.map_err(|what| bad(parameter, &format!("`{}` {what}", parameter.key)))?;
        match self.values[index].replace(value) {
            Some(_) => Err(bad(parameter, &format!("`{}` is given twice", parameter.key))),
            None => Ok(()),
        }
    }

    fn index_of(&self, key: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| *parameter.key == *key)
    }

    fn take_pairs(&mut self, text: &'a str) -> Result<(), Failure> {
        for (count, (key, value)) in pairs(text).enumerate() {
            if count == PARAMETERS_MAX {
                return Err(too_many());
            }
            let key = decode(key, true).map_err(|_| unreadable_name())?;
            if let Some(index) = self.index_of(&key) {
                let found = if self.parameters[index].kind.is_file() {
                    decode_bytes(value, true).map(Found::Bytes)
                } else {
                    decode(value, true).map(Found::Text)
                };
                self.take(index, found)?;
            }
        }
        Ok(())
    }

    fn take_parts(&mut self, parts: Vec<Part<'a>>) -> Result<(), Failure> {
        for part in parts.into_iter().filter(|part| !part.is_left_out) {
            if let Some(index) = self.index_of(&part.name) {
                if !self.parameters[index].kind.is_file() {
                    is_readable(&part)?;
                }
                self.take(index, Ok(Found::Bytes(Cow::Borrowed(part.bytes))))?;
            }
        }
        Ok(())
    }

    fn take_members(&mut self, body: &'a [u8]) -> Result<(), Failure> {
        for_each_member(body, |key, value| match self.index_of(key) {
            Some(index) => self.take(index, found_in(&self.parameters[index].kind, value)),
            None => Ok(()),
        })
    }
}

/// Reads the pairs of a query or a form, decoded: the name, and the value or what is wrong with it.
pub(in crate::front) fn for_each_pair<'a>(
    text: &'a str,
    mut take: impl FnMut(&str, Result<Cow<'a, str>, &'static str>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (count, (name, value)) in pairs(text).enumerate() {
        if count == PARAMETERS_MAX {
            return Err(too_many());
        }
        let name = decode(name, true).map_err(|_| unreadable_name())?;
        take(&name, decode(value, true))?;
    }
    Ok(())
}

/// Returns the pairs of a query or a form, not decoded. A name without `=` has an empty value.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('&');
        let (pair, others) = divide(rest, b'&');
        rest = others;
        (!pair.is_empty()).then(|| divide(pair, b'='))
    })
}

/// Splits a text at the first `sign`. Without one, the second half is empty.
#[inline]
fn divide(text: &str, sign: u8) -> (&str, &str) {
    let place = match text.len() {
        ..=SHORT => text.bytes().position(|byte| byte == sign),
        _ => memchr::memchr(sign, text.as_bytes()),
    };
    place.map_or((text, ""), |place| (&text[..place], &text[place + 1..]))
}

/// Up to this length in bytes, a plain loop is faster than `memchr`.
const SHORT: usize = 32;

/// Decodes percent signs (`%41`), and `+` if it stands for a space.
///
/// # Errors
///
/// What is wrong, as the end of a sentence about the value.
#[inline]
pub(in crate::front) fn decode(
    text: &str,
    plus_is_space: bool,
) -> Result<Cow<'_, str>, &'static str> {
    if has_no_signs(text) {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = decoded(text, plus_is_space)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| "is not UTF-8")
}

/// Decodes as [`decode`] does, to what may be no text.
fn decode_bytes(text: &str, plus_is_space: bool) -> Result<Cow<'_, [u8]>, &'static str> {
    if has_no_signs(text) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    decoded(text, plus_is_space).map(Cow::Owned)
}

/// Returns true if a text has nothing that is decoded.
#[inline]
fn has_no_signs(text: &str) -> bool {
    match text.len() {
        ..=SHORT => !text.bytes().any(|byte| matches!(byte, b'%' | b'+')),
        _ => memchr::memchr2(b'%', b'+', text.as_bytes()).is_none(),
    }
}

/// Decodes a text that has something to be decoded.
fn decoded(text: &str, plus_is_space: bool) -> Result<Vec<u8>, &'static str> {
    let has_spaces = plus_is_space && text.contains('+');
    let spaced = if has_spaces { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    let mut after_each = spaced.split('%').skip(1);
    let is_hex =
        |after: &str| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !after_each.all(is_hex) {
        return Err("holds a `%` without two hexadecimal digits");
    }
    Ok(percent_decode_str(&spaced).collect())
}

fn form_text(bytes: &[u8]) -> Result<&str, Failure> {
    str::from_utf8(bytes).map_err(|_| bad_request("the body is not UTF-8"))
}

/// Returns a value of a JSON body as a parameter of this kind is read from it.
fn found_in<'a>(kind: &ParameterKind, value: &'a RawValue) -> Result<Found<'a>, &'static str> {
    let text = value.get();
    if matches!(kind, ParameterKind::Json) {
        return Ok(Found::Json(value));
    }
    match text.as_bytes()[0] {
        b'"' => serde_json::from_str(text)
            .map(|text| Found::Text(Cow::Owned(text)))
            .map_err(|_| "holds half of a surrogate pair, which is no character"),
        b'[' | b'{' | b'n' => Err("must be a string, a number, `true` or `false`"),
        _ => Ok(Found::Text(Cow::Borrowed(text))),
    }
}

/// Reads a JSON object member by member. Checks the grammar of values without building them.
pub(in crate::front) fn for_each_member<'a>(
    body: &'a [u8],
    take: impl FnMut(&str, &'a RawValue) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let text = str::from_utf8(body).map_err(|_| bad_request("the body is not UTF-8"))?;
    let text = without_mark(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let are_too_many = Cell::new(false);
    let members = MemberVisitor { take, are_too_many: &are_too_many };
    let read = reader.deserialize_map(members).and_then(|taken| {
        reader.end()?;
        Ok(taken)
    });
    match read {
        Ok(taken) => taken,
        Err(_) if are_too_many.get() => Err(too_many()),
        Err(_) => Err(bad_request("the body is not a JSON object")),
    }
}

/// Refuses JSON that begins with a byte order mark, by name: nobody can see it.
pub(super) fn without_mark(text: &str) -> Result<&str, Failure> {
    match text.strip_prefix('\u{feff}') {
        None => Ok(text),
        Some(_) => Err(bad_request(
            "the body begins with a byte order mark (EF BB BF), which JSON may not have",
        )),
    }
}

struct MemberVisitor<'a, F> {
    take: F,
    are_too_many: &'a Cell<bool>,
}

impl<'de, F: FnMut(&str, &'de RawValue) -> Result<(), Failure>> Visitor<'de>
    for MemberVisitor<'_, F>
{
    type Value = Result<(), Failure>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut taken = Ok(());
        let mut count = 0;
        // Reads on after a failure: if the body is not JSON, that is what the caller is told.
        while let Some((name, value)) = members.next_entry::<String, &RawValue>()? {
            if taken.is_ok() {
                taken = (self.take)(&name, value);
            }
            count += 1;
            if count > PARAMETERS_MAX {
                self.are_too_many.set(true);
                return Err(M::Error::custom("too many members"));
            }
        }
        Ok(taken)
    }
}

fn missing(parameter: &Parameter) -> Failure {
    let detail = match &parameter.missing {
        Some(detail) => detail.clone(),
        None => format!("`{}` is missing", parameter.key).into(),
    };
    Failure::BadParameter { parameter: parameter.name.clone(), detail }
}

fn bad(parameter: &Parameter, detail: &str) -> Failure {
    Failure::BadParameter { parameter: parameter.name.clone(), detail: detail.into() }
}

fn bad_request(detail: impl Into<Cow<'static, str>>) -> Failure {
    Failure::BadRequest { detail: detail.into() }
}

fn too_many() -> Failure {
    bad_request("the request has too many parameters")
}

fn unreadable_name() -> Failure {
    bad_request("the name of a parameter is not percent-encoded UTF-8")
}

fn unsupported_body() -> Failure {
    let detail = "parameters are read from `application/x-www-form-urlencoded`, \
                  `multipart/form-data` and `application/json`, and the body is none of these";
    Failure::UnsupportedMediaType { detail: detail.into() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::front::routes::tests::fixed;

    /// The kind of a parameter that may be any text.
    pub(crate) fn text() -> ParameterKind {
        ParameterKind::Text { max_length: 4096, pattern: None, one_of: vec![] }
    }

    /// The kind of a parameter that may be any whole number.
    pub(crate) fn int() -> ParameterKind {
        ParameterKind::Int { min: None, max: None }
    }

    /// A route with these parameters; the first ones are those of its path.
    pub(crate) fn route(path: &str, parameters: &[(&str, ParameterKind)]) -> RouteSettings {
        let mut route = fixed(path);
        let in_path = route.path.iter().filter(|part| **part != literal_like(part)).count();
        let declared = parameters.iter().enumerate().map(|(index, (name, kind))| Parameter {
            name: (*name).into(),
            key: (*name).into(),
            in_path: index < in_path,
            kind: kind.clone(),
            default: None,
            missing: None,
        });
        route.parameters = declared.collect();
        route
    }

    fn literal_like(part: &crate::config::PathPart) -> crate::config::PathPart {
        match part {
            crate::config::PathPart::Literal(_) => part.clone(),
            crate::config::PathPart::Parameter(_) => {
                crate::config::PathPart::Literal(String::new())
            }
        }
    }

    fn sources(query: &'static str) -> Sources<'static> {
        Sources { path: "/f", query, body: Body::Nothing }
    }

    fn read(
        parameters: &[(&str, ParameterKind)],
        sources: Sources<'_>,
    ) -> Result<Vec<String>, Failure> {
        texts(&route("GET /f", parameters), sources)
    }

    /// The values of the parameters. None of them is a file.
    fn texts(route: &RouteSettings, sources: Sources<'_>) -> Result<Vec<String>, Failure> {
        let text = |value| match value {
            Value::Text(text) => text.into_owned(),
            Value::File(bytes) => panic!("{bytes:?} is a file"),
        };
        declared(route, sources).map(|values| values.iter().cloned().map(text).collect())
    }

    fn code<T: fmt::Debug>(result: Result<T, Failure>) -> &'static str {
        result.expect_err("a failure").code().as_str()
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is compared with it is a result")]
    fn values(texts: &[&str]) -> Result<Vec<String>, Failure> {
        Ok(texts.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn values_come_from_path_query_form_and_json() {
        let route = route("POST /f/{a}", &[("a", text()), ("b", text()), ("c", int())]);
        for body in [
            Body::Form(b"c=007&d=1"),
            Body::Json(br#"{"c": 7, "d": null}"#),
            Body::Json(br#"{"c": "007"}"#),
        ] {
            let sources = Sources { path: "/f/x%20+", query: "b=%C3%A9+1&z", body };
            assert_eq!(texts(&route, sources), values(&["x +", "é 1", "7"]), "{body:?}");
        }
    }

    #[test]
    fn a_name_given_twice_is_refused_in_every_source() {
        let num = [("num", int())];
        let both = |query, body| read(&num, Sources { path: "/f", query, body });
        assert_eq!(code(read(&num, sources("num=1&num=1"))), "bad_parameter");
        assert_eq!(code(read(&num, sources("num=1&%6eum=2"))), "bad_parameter");
        assert_eq!(code(both("num=1", Body::Form(b"num=1"))), "bad_parameter");
        assert_eq!(code(both("num=1", Body::Json(br#"{"num":1}"#))), "bad_parameter");
        assert_eq!(code(both("", Body::Json(br#"{"num":1,"num":1}"#))), "bad_parameter");
        let in_path = Sources { path: "/f/1", query: "num=1", body: Body::Nothing };
        assert_eq!(code(declared(&route("GET /f/{num}", &num), in_path)), "bad_parameter");
        assert_eq!(read(&num, sources("x=1&num=5&x=2")), values(&["5"]));
    }

    #[test]
    fn what_is_not_percent_encoded_utf8_is_refused() {
        for query in ["q=%zz", "q=%", "q=%4", "q=a%", "q=%ff", "q=%C0%AF", "q=%ED%A0%80", "q=%€€"]
        {
            assert_eq!(code(read(&[("q", text())], sources(query))), "bad_parameter", "{query}");
        }
        assert_eq!(code(read(&[("q", text())], sources("%zz=1&q=1"))), "bad_request");
        assert_eq!(read(&[("q", text())], sources("other=%zz&q=%25+%2B")), values(&["% +"]));
    }

    #[test]
    fn an_empty_text_is_a_value_and_an_absent_one_is_not() {
        assert_eq!(read(&[("q", text())], sources("q=")), values(&[""]));
        assert_eq!(read(&[("q", text())], sources("q")), values(&[""]));
        assert_eq!(read(&[("q", text())], sources("q=a=b")), values(&["a=b"]));
        assert_eq!(code(read(&[("q", int())], sources("q="))), "bad_parameter");
        assert_eq!(code(read(&[("q", text())], sources("Q=1"))), "bad_parameter");
    }

    #[test]
    fn a_missing_parameter_is_reported_in_the_words_of_the_operator() {
        let mut route = route("GET /fib", &[("num", int())]);
        route.parameters[0].missing = Some("include a number with /fib?num=x".into());
        let told = Failure::BadParameter {
            parameter: "num".into(),
            detail: "include a number with /fib?num=x".into(),
        };
        assert_eq!(texts(&route, sources("")), Err(told));
        route.parameters[0].default = Some("12".to_owned());
        assert_eq!(texts(&route, sources("")), values(&["12"]));
    }

    #[test]
    fn numbers_of_a_json_body_never_pass_through_a_float() {
        let huge = "123456789012345678901234567890";
        let body = format!(r#"{{"n":{huge},"f":1.50,"j":{{"a": 1e2}},"t":1.0,"b":true}}"#);
        let kinds = [
            ("n", int()),
            ("f", ParameterKind::Float { min: None, max: None }),
            ("j", ParameterKind::Json),
            ("t", text()),
            ("b", ParameterKind::Bool),
        ];
        let body = Body::Json(body.as_bytes());
        let read = read(&kinds, Sources { path: "/f", query: "", body });
        assert_eq!(read, values(&[huge, "1.50", r#"{"a":1e2}"#, "1.0", "true"]));
    }

    #[test]
    fn hostile_json_bodies_are_refused_without_harm() {
        let deep = format!(r#"{{"q":{}}}"#, "[".repeat(100_000) + &"]".repeat(100_000));
        for (body, failure) in [
            (&b"[1]"[..], "bad_request"),
            (b"", "bad_parameter"),
            (b"{\"q\":\"\xff\"}", "bad_request"),
            (b"{\"q\":1} x", "bad_request"),
            (b"{\"q\":1", "bad_request"),
            (br#"{"q":"\ud800"}"#, "bad_parameter"),
            (br#"{"q":null}"#, "bad_parameter"),
            (br#"{"q":{}}"#, "bad_parameter"),
            (deep.as_bytes(), "bad_parameter"),
        ] {
            let body = Body::of(Some("application/json; charset=utf-8"), body);
            let read = read(&[("q", text())], Sources { path: "/f", query: "", body });
            assert_eq!(code(read), failure, "{body:?}");
        }
        let body = Body::Json(deep.as_bytes());
        let read = read(&[("q", ParameterKind::Json)], Sources { path: "/f", query: "", body });
        assert_eq!(code(read), "bad_parameter");
    }

    #[test]
    fn another_kind_of_body_is_refused_only_where_it_would_be_needed() {
        let other = Body::of(Some("text/plain"), b"num=1");
        let both = |query| read(&[("num", int())], Sources { path: "/f", query, body: other });
        assert_eq!(code(both("")), "unsupported_media_type");
        assert_eq!(both("num=1"), values(&["1"]));
        assert_eq!(Body::of(None, b"x"), Body::Other);
        assert_eq!(Body::of(Some("TEXT/plain"), b""), Body::Nothing);
    }

    const FORM: &str = "multipart/form-data; boundary=b";

    fn file() -> ParameterKind {
        ParameterKind::File { max_length: Some(5) }
    }

    /// A form of these parts, each what comes after `form-data; ` and the content.
    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (disposition, content) in parts {
            let header = format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
            body.extend_from_slice(header.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--b--\r\n");
        body
    }

    #[test]
    fn parts_of_a_form_are_parameters_and_a_file_is_its_bytes() {
        let route = route("POST /f", &[("n", int()), ("q", text()), ("f", file())]);
        let declared = |parts: &[(&str, &[u8])], query| {
            let bytes = form(parts);
            let body = Body::of(Some(FORM), &bytes);
            let values = declared(&route, Sources { path: "/f", query, body });
            values.map(|values| format!("{:?}", &*values))
        };
        let parts: &[(&str, &[u8])] =
            &[("name=f; filename=x", b"\r\n\0\xff"), ("name=n", b"007"), ("name=x", b"\xff")];
        let read = declared(parts, "q=a");
        assert_eq!(read, Ok(r#"[Text("7"), Text("a"), File([13, 10, 0, 255])]"#.to_owned()));
        for (wrong, failure) in [
            (&[("name=f; filename=x", &b"123456"[..]), ("name=n", b"1")][..], "bad_parameter"),
            (&[("name=f", b"1"), ("name=f", b"1"), ("name=n", b"1")], "bad_parameter"),
            (&[("name=f", b"1"), ("name=n", b"\xff")], "bad_parameter"),
            (&[("name=f", b"1"), ("name=n", b"1"), ("name=q", b"1")], "bad_parameter"),
            (&[("name=f; filename=\"\"", b""), ("name=n", b"1")], "bad_parameter"),
            (&[("name=n", b"1")], "bad_parameter"),
            (&[("name=f", b"1"), ("n=n", b"1")], "bad_request"),
        ] {
            assert_eq!(code(declared(wrong, "q=a")), failure, "{wrong:?}");
        }
        let odd: &[(&str, &[u8])] = &[("name=q\r\nContent-Type: text/plain; charset=latin1", b"a")];
        assert_eq!(code(declared(odd, "")), "unsupported_media_type");
        let odd: &[(&str, &[u8])] = &[("name=f\r\nContent-Type: text/plain; charset=latin1", b"a")];
        assert!(declared(odd, "q=a&n=1").is_ok(), "a file may be of any characters");
    }

    #[test]
    fn a_file_may_come_as_a_value_of_any_other_source() {
        let route = route("POST /f", &[("f", file())]);
        let read = |query, body| {
            let values = declared(&route, Sources { path: "/f", query, body });
            values.map(|values| values.to_vec())
        };
        let is = |bytes: &'static [u8]| Ok(vec![Value::File(Cow::Borrowed(bytes))]);
        assert_eq!(read("f=%ff+%00", Body::Nothing), is(b"\xff \0"));
        assert_eq!(read("f=abc", Body::Nothing), is(b"abc"));
        assert_eq!(read("", Body::Form(b"f=%0d%0a")), is(b"\r\n"));
        assert_eq!(read("", Body::Json(br#"{"f":"\u00e9"}"#)), is("é".as_bytes()));
        assert_eq!(code(read("f=123456", Body::Nothing)), "bad_parameter");
        assert_eq!(code(read("f=%f", Body::Nothing)), "bad_parameter");
    }

    #[test]
    fn without_declared_parameters_parts_become_texts_and_base64() {
        let bytes = form(&[("name=a", b"\"1"), ("name=f; filename=x", b"\xff"), ("name=g", b"")]);
        let body = Body::of(Some(FORM), &bytes);
        let all = undeclared(Sources { path: "/f", query: "", body });
        let pair = |name: &str, json: &str| (name.to_owned(), json.to_owned());
        assert_eq!(
            all,
            Ok(vec![pair("a", r#""\"1""#), pair("f", r#""/w==""#), pair("g", r#""""#)])
        );
        let bytes = form(&[("name=a", b"1"), ("name=a; filename=x", b"2")]);
        let body = Body::of(Some(FORM), &bytes);
        assert!(undeclared(Sources { path: "/f", query: "", body }).is_err());
    }

    #[test]
    fn a_hundred_thousand_parameters_are_read_once() {
        let query = "num=1&".repeat(100_000);
        let body = Body::Form(query.as_bytes());
        let many = Sources { path: "/f", query: "", body };
        assert_eq!(code(read(&[("num", int())], many)), "bad_parameter");
        let query = (0..100_000).map(|n| format!("n{n}={n}")).collect::<Vec<_>>().join("&");
        let many = Sources { path: "/f", query: &query, body: Body::Nothing };
        assert_eq!(read(&[("n99999", int())], many), values(&["99999"]));
        assert!(undeclared(many).is_err());
    }

    #[test]
    fn millions_of_parameters_are_refused_before_they_are_read() {
        let form = "a&".repeat(PARAMETERS_MAX + 1) + "num=1";
        let json = format!("{{{}\"num\":1}}", "\"a\":1,".repeat(PARAMETERS_MAX + 1));
        for body in [Body::Form(form.as_bytes()), Body::Json(json.as_bytes())] {
            let many = Sources { path: "/f", query: "", body };
            assert_eq!(read(&[("num", int())], many), Err(too_many()));
        }
    }

    #[test]
    fn without_declared_parameters_all_parameters_become_members() {
        let body = Body::Json(br#"{"c": [1.0, {"d" : "e"}]}"#);
        let all = undeclared(Sources { path: "/f", query: "a=1&b=%22", body });
        let pair = |name: &str, json: &str| (name.to_owned(), json.to_owned());
        let members =
            vec![pair("a", "\"1\""), pair("b", r#""\"""#), pair("c", r#"[1.0,{"d":"e"}]"#)];
        assert_eq!(all, Ok(members));
        let twice = Sources { path: "/f", query: "a=1&a=2", body: Body::Nothing };
        assert!(undeclared(twice).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "[ -~é&=%+]{0,60}") {
            let read = read(&[("a", text())], Sources { path: "/f", query: &query, body: Body::Nothing });
            let said = read.is_ok_and(|values| values.len() == 1);
            let absent = !query.contains('a') && !query.contains('%');
            proptest::prop_assert!(!(said && absent));
        }

        #[test]
        fn a_form_gives_back_what_was_encoded(value in ".{0,40}") {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("a", &value).finish();
            let body = Body::Form(form.as_bytes());
            let read = read(&[("a", text())], Sources { path: "/f", query: "", body });
            proptest::prop_assert_eq!(read, Ok(vec![value]));
        }
    }
}
