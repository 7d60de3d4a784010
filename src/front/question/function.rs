//! Makes the call of a function from a request: its name, and its arguments as JSON.
//!
//! Pure. Arguments come from the path, the query and the body: an object of JSON or a form, or raw
//! bytes for a function that takes bytes. Texts become JSON by the types of the signature. The
//! worker is the authority on types; what is refused here is what it would refuse, sooner and in
//! the same words.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;

use crate::base::parameter::compact_json;
use crate::base::{Failure, json};
use crate::config::{Argument, FunctionCall, RouteSettings};
use crate::front::multipart::{Part, parts};
use crate::front::parameters::{Body, Sources, decode, for_each_member, for_each_pair};
use crate::front::request::content_type;
use crate::front::routes::path_values;

/// The arguments found so far.
struct Arguments<'a> {
    call: &'a FunctionCall,
    /// The JSON of each argument.
    values: Vec<Option<Cow<'a, str>>>,
    /// The names and the JSON of other arguments.
    others: Vec<(String, String)>,
}

/// Returns the question that a request becomes: `fib {"n":10}`, and a line end with the raw bytes
/// if the function takes bytes.
///
/// # Errors
///
/// What is wrong with the request.
pub(super) fn question(
    call: &FunctionCall,
    route: &RouteSettings,
    sources: Sources<'_>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Bytes, Failure> {
    let mut given =
        Arguments { call, values: vec![None; call.arguments.len()], others: Vec::new() };
    for (index, segment) in path_values(route, sources.path) {
        let argument = call.declared[index];
        given.take_text(argument, decode(segment, false), &call.arguments[argument].name)?;
    }
    given.take_query(route, sources.query)?;
    let is_whole = given.is_empty();
    let mut question = Vec::with_capacity(call.name.len() + body.len() + 32);
    question.extend_from_slice(call.name.as_bytes());
    question.push(b' ');
    match (Body::of_function(content_type(headers), body), call.raw) {
        (Body::Multipart { content_type, bytes }, _) => {
            let parts = parts(content_type, bytes)?;
            let raw = given.take_parts(parts)?;
            given.write(raw, &mut question)?;
        }
        (_, Some(raw)) => {
            // No bytes at all are what a function that can do without them gets.
            let is_given = call.arguments[raw].required || !body.is_empty();
            given.write(is_given.then_some(body), &mut question)?;
        }
        (Body::Json(json), None) => {
            for_each_member(json, |name, value| given.take_json(name, value.get()))?;
            if is_whole {
                given.check_missing(false)?;
                // Line ends can only stand between the tokens of a JSON text.
                question.extend(json.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
            } else {
                given.write(None, &mut question)?;
            }
        }
        (Body::Form(form), None) => {
            let text = str::from_utf8(form).map_err(|_| not_utf8())?;
            for_each_pair(text, |name, value| given.take_named_text(name, value))?;
            given.write(None, &mut question)?;
        }
        (Body::Nothing, None) => given.write(None, &mut question)?,
        (Body::Other, None) => {
            let detail = "send the arguments as application/json".into();
            return Err(Failure::UnsupportedMediaType { detail });
        }
    }
    Ok(question.into())
}

impl<'a> Arguments<'a> {
    fn is_empty(&self) -> bool {
        self.others.is_empty() && self.values.iter().all(Option::is_none)
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.call.arguments.iter().position(|argument| *argument.name == *name)
    }

    /// Reads the query. Parameters that the route declares have keys of their own.
    fn take_query(&mut self, route: &RouteSettings, query: &'a str) -> Result<(), Failure> {
        for_each_pair(query, |name, value| {
            let declared = route.parameters.iter().position(|it| !it.in_path && *it.key == *name);
            match declared {
                Some(place) => {
                    let index = self.call.declared[place];
                    self.take_text(index, value, name)
                }
                None if self.call.open_query => self.take_named_text(name, value),
                None => Err(unknown(name)),
            }
        })
    }

    /// Reads the parts of a form. Returns the raw bytes, if a part has them.
    fn take_parts(&mut self, parts: Vec<Part<'a>>) -> Result<Option<&'a [u8]>, Failure> {
        let mut raw = None;
        for part in parts.into_iter().filter(|part| !part.is_left_out) {
            let is_raw =
                self.call.raw.is_some_and(|raw| *self.call.arguments[raw].name == *part.name);
            if is_raw && raw.replace(part.bytes).is_some() {
                return Err(Failure::bad_argument(&part.name, "is given twice"));
            }
            if !is_raw {
                let text = str::from_utf8(part.bytes).map(Cow::Borrowed);
                self.take_named_text(&part.name, text.map_err(|_| "is not UTF-8"))?;
            }
        }
        Ok(raw)
    }

    /// Takes a text under its own name.
    fn take_named_text(
        &mut self,
        name: &str,
        value: Result<Cow<'a, str>, &'static str>,
    ) -> Result<(), Failure> {
        if let Some(index) = self.index_of(name).filter(|index| self.call.raw != Some(*index)) {
            return self.take_text(index, value, name);
        }
        let Some(others) = &self.call.others else { return Err(unknown(name)) };
        let value = value.map_err(|what| Failure::bad_argument(name, what))?;
        let json = as_json(others, value).map_err(|why| Failure::bad_argument(name, &why))?;
        self.take_other(name, json)
    }

    /// Takes a text as an argument, whose name the caller knows as `name`.
    fn take_text(
        &mut self,
        index: usize,
        value: Result<Cow<'a, str>, &'static str>,
        name: &str,
    ) -> Result<(), Failure> {
        let argument = &self.call.arguments[index];
        let value = value.map_err(|what| Failure::bad_argument(name, what))?;
        let json = as_json(argument, value).map_err(|why| Failure::bad_argument(name, &why))?;
        self.put(index, Cow::Owned(json))
    }

    fn take_json(&mut self, name: &str, value: &'a str) -> Result<(), Failure> {
        let index = self.index_of(name);
        let argument = index.map(|index| &self.call.arguments[index]);
        let argument = argument.or(self.call.others.as_ref()).ok_or_else(|| unknown(name))?;
        if let Some(scalar) = argument.scalar.as_ref().filter(|scalar| !scalar.takes(value)) {
            return Err(Failure::bad_argument(name, &scalar.wanted()));
        }
        match index {
            Some(index) => self.put(index, Cow::Borrowed(value)),
            None => self.take_other(name, value.to_owned()),
        }
    }

    fn take_other(&mut self, name: &str, json: String) -> Result<(), Failure> {
        if self.others.iter().any(|(other, _)| other == name) {
            return Err(Failure::bad_argument(name, "is given twice"));
        }
        self.others.push((name.to_owned(), json));
        Ok(())
    }

    fn put(&mut self, index: usize, json: Cow<'a, str>) -> Result<(), Failure> {
        match self.values[index].replace(json) {
            None => Ok(()),
            Some(_) => {
                Err(Failure::bad_argument(&self.call.arguments[index].name, "is given twice"))
            }
        }
    }

    fn check_missing(&self, has_raw: bool) -> Result<(), Failure> {
        let arguments = self.call.arguments.iter().enumerate();
        for (index, Argument { name, required, .. }) in arguments {
            let is_raw = has_raw && self.call.raw == Some(index);
            if *required && self.values[index].is_none() && !is_raw {
                return Err(Failure::bad_argument(name, "is missing"));
            }
        }
        Ok(())
    }

    /// Writes the arguments as a JSON object, and the raw bytes after a line end.
    fn write(&self, raw: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.check_missing(raw.is_some())?;
        let named = self.call.arguments.iter().zip(&self.values);
        let named = named.filter_map(|(argument, json)| Some((&*argument.name, json.as_deref()?)));
        let others = self.others.iter().map(|(name, json)| (&**name, &**json));
        out.push(b'{');
        for (place, (name, json)) in named.chain(others).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
            out.push(b':');
            out.extend(json.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
        }
        out.push(b'}');
        if let Some(raw) = raw {
            out.push(b'\n');
            out.extend_from_slice(raw);
        }
        Ok(())
    }
}

/// Turns a text into the JSON of an argument.
fn as_json(argument: &Argument, text: Cow<'_, str>) -> Result<String, String> {
    match &argument.scalar {
        Some(scalar) => scalar.read(&text).map(Cow::into_owned),
        None if argument.is_any => Ok(serde_json::Value::from(text).to_string()),
        None if json::is_json(text.as_bytes()) => {
            compact_json(&text).map_err(|_| "must be JSON".to_owned())
        }
        None => Err("must be JSON".to_owned()),
    }
}

fn unknown(name: &str) -> Failure {
    Failure::bad_argument(name, "is unknown")
}

fn not_utf8() -> Failure {
    Failure::BadRequest { detail: "the body is not UTF-8".into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::base::RouteId;
    use crate::base::parameter::{Parameter, ParameterKind};
    use crate::config::route::ContentType;
    use crate::config::{PathPart, RouteAbout, RouteAction};
    use crate::python::ScalarType;

    fn argument(name: &str, scalar: Option<ScalarType>, required: bool) -> Argument {
        Argument { name: name.into(), scalar, is_any: false, required }
    }

    /// `f(n: int, mode: str = …, items: list = …)`
    fn call() -> FunctionCall {
        FunctionCall {
            name: "f".to_owned(),
            arguments: vec![
                argument("n", Some(ScalarType::Int), true),
                argument("mode", Some(ScalarType::Text), false),
                argument("items", None, false),
            ],
            others: None,
            raw: None,
            declared: vec![],
            open_query: true,
            streams: false,
        }
    }

    /// A route of `POST /f`, or of `POST /f/{n}` if `n` comes from the path.
    fn route(has_path: bool) -> RouteSettings {
        let mut path = vec![PathPart::Literal("f".to_owned())];
        let mut parameters = vec![];
        if has_path {
            path.push(PathPart::Parameter(0));
            parameters.push(Parameter {
                name: Arc::from("n"),
                key: Arc::from("n"),
                in_path: true,
                kind: ParameterKind::Bool,
                default: None,
                missing: None,
            });
        }
        RouteSettings {
            id: RouteId(0),
            label: Arc::from("POST /f"),
            method: "POST".to_owned(),
            path,
            rest: false,
            parameters,
            cors: None,
            about: RouteAbout::default(),
            action: RouteAction::Text { text: String::new(), content_type: ContentType::default() },
        }
    }

    fn ask(
        call: &FunctionCall,
        target: &str,
        kind: &'static str,
        body: &str,
    ) -> Result<String, String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sources = Sources { path, query, body: Body::Nothing };
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let route = route(!call.declared.is_empty());
        match question(call, &route, sources, &headers, &body) {
            Ok(question) => Ok(String::from_utf8_lossy(&question).into_owned()),
            Err(Failure::BadParameter { detail, .. }) => Err(detail.to_string()),
            Err(other) => Err(other.code().to_string()),
        }
    }

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn arguments_come_from_path_query_and_body_by_their_types() {
        let ok = |text: &str| Ok(text.to_owned());
        let call = call();
        assert_eq!(ask(&call, "/f?n=007&mode=a%22b", "", ""), ok(r#"f {"n":7,"mode":"a\"b"}"#));
        assert_eq!(ask(&call, "/f?n=1&items=[1,+2]", "", ""), ok(r#"f {"n":1,"items":[1,2]}"#));
        assert_eq!(ask(&call, "/f", JSON, "{\"n\":\n 1}"), ok("f {\"n\":  1}"));
        assert_eq!(ask(&call, "/f", "", r#"{"n": 1}"#), ok(r#"f {"n": 1}"#));
        assert_eq!(ask(&call, "/f", "application/x+json", r#"{"n":1}"#), ok(r#"f {"n":1}"#));
        assert_eq!(ask(&call, "/f?mode=x", JSON, "{\"n\":\n1}"), ok(r#"f {"n":1,"mode":"x"}"#));
        assert_eq!(ask(&call, "/f", FORM, "n=1&mode=a+b"), ok(r#"f {"n":1,"mode":"a b"}"#));
        let digits = "1".repeat(300);
        let long = format!(r#"{{"n":{digits}}}"#);
        assert_eq!(ask(&call, "/f", JSON, &long), ok(&format!("f {long}")));
        let in_path = FunctionCall { declared: vec![0], ..call };
        assert_eq!(ask(&in_path, "/f/12", JSON, ""), ok(r#"f {"n":12}"#));
        assert_eq!(ask(&in_path, "/f/12?n=1", "", ""), Err("`n` is given twice".to_owned()));
    }

    #[test]
    fn what_is_no_argument_is_refused_in_the_words_of_the_worker() {
        for (target, kind, body, told) in [
            ("/f?n=x", "", "", "`n` must be a whole number, such as 42"),
            ("/f?n=%zz", "", "", "`n` holds a `%` without two hexadecimal digits"),
            ("/f?n=1&m=1", "", "", "`m` is unknown"),
            ("/f?n=1&items=[1", "", "", "`items` must be JSON"),
            ("/f", "", "", "`n` is missing"),
            ("/f", JSON, r#"{"n":"1"}"#, "`n` must be a whole number, such as 42"),
            ("/f", JSON, r#"{"n":1,"mode":null}"#, "`mode` must be a string"),
            ("/f", JSON, r#"{"n":1,"m":1}"#, "`m` is unknown"),
            ("/f?n=1", JSON, r#"{"n":1}"#, "`n` is given twice"),
            ("/f", JSON, r#"{"n":1,"n":1}"#, "`n` is given twice"),
            ("/f", JSON, r#"{"n":1}{}"#, "bad_request"),
            ("/f", JSON, "\u{feff}{\"n\":1}", "bad_request"),
            ("/f", JSON, "17", "bad_request"),
            ("/f", "text/plain", "17", "unsupported_media_type"),
        ] {
            assert_eq!(ask(&call(), target, kind, body), Err(told.to_owned()), "{target} {body}");
        }
    }

    #[test]
    fn other_names_reach_a_function_that_takes_them() {
        let any = Argument { is_any: true, ..argument("", None, false) };
        let call = FunctionCall { others: Some(any), ..call() };
        let asked = ask(&call, "/f?n=1&x=2", JSON, r#"{"y":{"z":[true]}}"#);
        assert_eq!(asked.as_deref(), Ok(r#"f {"n":1,"x":"2","y":{"z":[true]}}"#));
        assert_eq!(ask(&call, "/f?n=1&x=2&x=3", "", ""), Err("`x` is given twice".to_owned()));
    }

    #[test]
    fn texts_of_other_names_are_what_the_signature_says() {
        let others = Some(argument("", Some(ScalarType::Float), false));
        let call = FunctionCall { others, ..call() };
        assert_eq!(ask(&call, "/f?n=1&x=2.5", "", "").as_deref(), Ok(r#"f {"n":1,"x":2.5}"#));
        let told = Err("`x` must be a number, such as 1.5".to_owned());
        assert_eq!(ask(&call, "/f?n=1&x=two", "", ""), told);
        assert_eq!(ask(&call, "/f", JSON, r#"{"n":1,"x":"2.5"}"#), told);
    }

    #[test]
    fn raw_bytes_follow_the_other_arguments() {
        let data = argument("data", None, true);
        let times = argument("times", Some(ScalarType::Int), false);
        let arguments = vec![data, times];
        let call = FunctionCall { arguments, raw: Some(0), ..call() };
        assert_eq!(
            ask(&call, "/f?times=2", "image/png", "a\nb").as_deref(),
            Ok("f {\"times\":2}\na\nb")
        );
        assert_eq!(ask(&call, "/f", "", "").as_deref(), Ok("f {}\n"));
        assert_eq!(ask(&call, "/f?data=x", "", "a"), Err("`data` is unknown".to_owned()));
        let form = "--b\r\nContent-Disposition: form-data; name=data; filename=x\r\n\r\n\0\r\n--b\r\n\
                    Content-Disposition: form-data; name=times\r\n\r\n3\r\n--b--\r\n";
        let kind = "multipart/form-data; boundary=b";
        assert_eq!(ask(&call, "/f", kind, form).as_deref(), Ok("f {\"times\":3}\n\0"));
        assert_eq!(ask(&call, "/f", kind, "--b--"), Err("`data` is missing".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn a_question_is_one_line_of_json_whatever_the_caller_sends(
            mode in "\\PC{0,8}|[\\x00-\\x20\"\\\\]{0,8}",
            items in "[\\[\\]{}:,0-9\"\\n ]{0,10}",
        ) {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("n", "1").append_pair("mode", &mode).append_pair("items", &items).finish();
            if let Ok(asked) = ask(&call(), &format!("/f?{query}"), "", "") {
                let json = asked.strip_prefix("f ").expect("the name comes first");
                proptest::prop_assert!(!json.contains('\n'));
                let read: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
                proptest::prop_assert_eq!(read["mode"].as_str(), Some(&*mode));
            }
        }
    }
}
