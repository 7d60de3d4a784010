//! Makes the calls of a list of items, each of which stands for one request of a route.
//!
//! An item is what the route's question is made of: the body, or an object of JSON with the
//! parameters. Where there is one parameter only, an item that is no object is its value.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::maker;
use super::parameters::{Body, Sources};
use super::question::{self, Material};
use crate::base::Failure;
use crate::base::template::{Segment, Slot};
use crate::call::Request as Asking;
use crate::config::{CallSettings, RouteAction, RouteSettings, SendShape, WireSettings};

/// Why a route cannot be asked item by item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoItems {
    /// It has a fixed answer.
    #[error("its answer is always the same")]
    FixedAnswer,
    /// Nothing of a request is in its question.
    #[error("its question is always the same")]
    FixedQuestion,
    /// Its answers come in parts.
    #[error("its answers come in parts (`stream`)")]
    Stream,
    /// Its question is made of a body and of parameters, which one item cannot both be.
    #[error("its question needs a body and parameters, and an item is one of them")]
    BodyAndParameters,
}

/// Makes calls of one route.
#[derive(Clone, Debug)]
pub struct Items {
    route: Arc<RouteSettings>,
    wire: Arc<WireSettings>,
    shape: Shape,
    of_form: HeaderMap,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// The body.
    Body,
    /// An object with the parameters.
    Object,
    /// An object with the parameters, or the value of this one.
    ObjectOrValue(Arc<str>),
}

impl Items {
    /// The items of a route whose workers are asked by `wire`.
    ///
    /// # Errors
    ///
    /// [`NoItems`] if one item is not enough to make a call of it.
    pub fn new(route: RouteSettings, wire: WireSettings) -> Result<Self, NoItems> {
        let RouteAction::Call(call) = &route.action else { return Err(NoItems::FixedAnswer) };
        if wire.stream.is_some() {
            return Err(NoItems::Stream);
        }
        let shape = shape(&route, call)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let of_form = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
        Ok(Self { route: Arc::new(route), wire: Arc::new(wire), shape, of_form })
    }

    /// Returns how many bytes an item may have.
    pub fn most(&self) -> usize {
        self.wire.message_max
    }

    /// Makes the call of an item.
    ///
    /// # Errors
    ///
    /// What is wrong with the item, as a request with it would be told.
    pub fn asking(&self, item: &Bytes) -> Result<Box<Asking>, Failure> {
        let RouteAction::Call(call) = &self.route.action else { unreachable!("`new` looked") };
        let is_object = item.trim_ascii_start().starts_with(b"{");
        let form = match &self.shape {
            Shape::ObjectOrValue(key) if !is_object => Some(form_of(key, item)),
            _ => None,
        };
        let no_headers = HeaderMap::new();
        let body = form.as_ref().unwrap_or(item);
        let (headers, held) = match (&self.shape, &form) {
            (_, Some(form)) => (&self.of_form, Body::Form(form)),
            (Shape::Body, None) => (&no_headers, Body::Nothing),
            (_, None) => (&no_headers, Body::Json(item)),
        };
        let sources = Sources { path: "", query: "", body: held };
        let (route, method) = (&*self.route, &*self.route.method);
        let material = Material { route, method, sources, headers, body, caller: None };
        maker::made_of(call, &self.wire, material, None, None)
    }
}

/// Returns the only parameter that the body of a request can have, if there is just one: an item that
/// is no object is its value.
pub(super) fn value_key<'a>(route: &'a RouteSettings, call: &'a CallSettings) -> Option<&'a str> {
    let in_path = |at: usize| route.parameters.get(at).is_some_and(|it| it.in_path);
    match &call.send {
        SendShape::Function(function) if function.raw.is_none() => {
            let declared = function.declared.iter().enumerate();
            let fixed = |it: usize| declared.clone().any(|(at, other)| *other == it && in_path(at));
            let free = function.arguments.iter().enumerate().filter(|(at, _)| !fixed(*at));
            only(free.map(|(_, argument)| &*argument.name))
        }
        send if question::uses_body(send) => None,
        SendShape::Function(_) | SendShape::Http => None,
        SendShape::Json | SendShape::Template(_) => {
            only(route.parameters.iter().filter(|it| !it.in_path).map(|it| &*it.key))
        }
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Returns a form with one value.
fn form_of(key: &str, value: &[u8]) -> Bytes {
    let [key, value] = [key.as_bytes(), value].map(|text| percent_encode(text, NON_ALPHANUMERIC));
    format!("{key}={value}").into()
}

/// Returns what an item of this route is.
fn shape(route: &RouteSettings, call: &CallSettings) -> Result<Shape, NoItems> {
    let only = |keys: &[Arc<str>]| match keys {
        [key] => Shape::ObjectOrValue(Arc::clone(key)),
        _ => Shape::Object,
    };
    let declared: Vec<_> = route.parameters.iter().map(|it| Arc::clone(&it.key)).collect();
    match &call.send {
        SendShape::Function(function) if function.raw.is_some() => Ok(Shape::Body),
        SendShape::Function(function) => {
            let names: Vec<_> = function.arguments.iter().map(|it| Arc::clone(&it.name)).collect();
            Ok(only(&names))
        }
        SendShape::Http => Ok(Shape::Body),
        send if question::uses_body(send) => {
            let needs_parameters = route.parameters.iter().any(|it| it.default.is_none());
            if needs_parameters { Err(NoItems::BodyAndParameters) } else { Ok(Shape::Body) }
        }
        SendShape::Json => Ok(only(&declared)),
        SendShape::Template(template) => {
            let is_parameter = |it: &Segment| matches!(it, Segment::Slot(Slot::Parameter { .. }));
            let has_parameter = template.segments.iter().any(is_parameter);
            if has_parameter { Ok(only(&declared)) } else { Err(NoItems::FixedQuestion) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameters::tests::{int, route, text};
    use super::super::testing::{call, pool};
    use super::*;
    use crate::base::parameter::ParameterKind;
    use crate::config::Framing;

    fn items(parameters: &[(&str, ParameterKind)], send: &str) -> Result<Items, NoItems> {
        let route = route("GET /f", parameters);
        let action = RouteAction::Call(call(send, &route));
        Items::new(RouteSettings { action, ..route }, pool(Framing::Line).program.wire.clone())
    }

    fn question(items: &Items, item: &str) -> Result<String, String> {
        match items.asking(&Bytes::copy_from_slice(item.as_bytes())) {
            Ok(asking) => Ok(String::from_utf8_lossy(&asking.call.question.text).into_owned()),
            Err(failure) => Err(failure.code().to_string()),
        }
    }

    #[test]
    fn the_only_parameter_is_the_item_or_a_member_of_it() {
        let items = items(&[("n", int())], "{n}|").expect("a call");
        assert_eq!(question(&items, "007"), Ok("7|".to_owned()));
        assert_eq!(question(&items, "{\"n\": 7}"), Ok("7|".to_owned()));
        assert_eq!(question(&items, "a&n=1"), Err("bad_parameter".to_owned()));
        assert_eq!(question(&items, "{\"n\":"), Err("bad_request".to_owned()));
    }

    #[test]
    fn several_parameters_are_members_of_an_object() {
        let items = items(&[("a", text()), ("b", text())], "{a}-{b}").expect("a call");
        assert_eq!(question(&items, "{\"b\":\"x & y\",\"a\":\"1\"}"), Ok("1-x & y".to_owned()));
        assert_eq!(question(&items, "1"), Err("bad_request".to_owned()));
    }

    #[test]
    fn a_body_is_the_item_as_it_is() {
        let items = items(&[], "> {body}").expect("a call");
        assert_eq!(question(&items, "{\"a\":1} é"), Ok("> {\"a\":1} é".to_owned()));
        assert_eq!(question(&items, ""), Ok("> ".to_owned()));
        assert_eq!(question(&items, "a\nb"), Err("unsendable".to_owned()));
    }

    #[test]
    fn a_route_that_one_item_is_not_enough_for_is_refused() {
        let refused = |parameters: &[_], send| items(parameters, send).expect_err("no items");
        assert_eq!(refused(&[], "ping"), NoItems::FixedQuestion);
        assert_eq!(refused(&[("lang", text())], "{lang} {body}"), NoItems::BodyAndParameters);
    }
}
