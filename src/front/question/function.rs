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
        match self.index_of(name).filter(|index| self.call.raw != Some(*index)) {
            Some(index) => self.take_text(index, value, name),
            None if self.call.takes_others => {
                let value = value.map_err(|what| Failure::bad_argument(name, what))?;
                self.take_other(name, serde_json::Value::from(&*value).to_string())
            }
            None => Err(unknown(name)),
        }
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
        let Some(index) = self.index_of(name) else {
            if !self.call.takes_others {
                return Err(unknown(name));
            }
            return self.take_other(name, value.to_owned());
        };
        let scalar = self.call.arguments[index].scalar.as_ref();
        if let Some(scalar) = scalar.filter(|scalar| !scalar.takes(value)) {
            return Err(Failure::bad_argument(name, &scalar.wanted()));
        }
        self.put(index, Cow::Borrowed(value))
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
