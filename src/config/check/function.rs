//! The rules of routes that call functions, and the routes of functions that no route names.
//!
//! Pure.

use std::sync::Arc;

use crate::base::parameter::{Parameter, ParameterKind};
use crate::config::file::RouteFile;
use crate::config::findings::Findings;
use crate::config::pool::PythonSettings;
use crate::config::route::{Argument, ContentType, FunctionCall, PathPart};
use crate::config::route_text::{ParameterText, RouteText};
use crate::config::shape::nearest;
use crate::config::tree::KeyPath;
use crate::python::{Function, ScalarType};

/// The content type of raw bytes for which neither the function nor the route names one.
const BYTES: &str = "application/octet-stream";

/// The content type of raw bytes whose function names none.
pub(super) fn bytes() -> ContentType {
    ContentType::parse(BYTES).expect("it is a content type")
}

/// A route as a call of a function.
pub(super) struct Calling<'a> {
    pub(super) function: &'a Function,
    pub(super) parameters: Vec<Parameter>,
    pub(super) call: FunctionCall,
}

/// A route that a function has because no route of the file names its pool.
pub(super) struct Derived {
    pub(super) text: RouteText,
    pub(super) parameters: Vec<Parameter>,
    pub(super) call: FunctionCall,
}

/// Reads a route of a pool that serves functions.
pub(super) fn calling<'a>(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    route: &RouteFile,
    text: &RouteText,
    python: &'a PythonSettings,
) -> Option<Calling<'a>> {
    let function = named(findings, path, route, python)?;
    if route.send.is_some() {
        let message = "`send` cannot be used with a function: it is asked by its parameters";
        findings.refuse(&path.key("send"), message, "remove it");
    }
    for name in route.params.keys() {
        let message = format!("`params.{name}` has no effect: the signature says what may be sent");
        let hint = "write it into the annotation, or check it in the function";
        findings.refuse(&path.key("params").key(name), message, hint);
    }
    let mut call = call_of(function);
    let mut parameters = Vec::new();
    for parameter in &text.parameters {
        let index = declared(findings, path, parameter, function, &mut call)?;
        parameters.push(parameter_of(&call.arguments[index], parameter));
        call.declared.push(index);
    }
    call.open_query = text.parameters.iter().all(|parameter| parameter.in_path);
    let has_body = !matches!(text.method.as_str(), "GET" | "HEAD");
    let is_missing = |(index, argument): &(usize, &Argument)| {
        let is_declared = call.declared.contains(index) || call.open_query;
        argument.required && (!is_declared || call.raw == Some(*index)) && !has_body
    };
    let missing = call.arguments.iter().enumerate().find(is_missing);
    if let Some((_, argument)) = missing {
        let name = &argument.name;
        let message = format!("`{}` needs `{name}`, which no {} has", function.name, text.method);
        let hint = format!("add it to the query: {name}={{{name}}}, or take POST");
        findings.refuse(&path.key("match"), message, hint);
    }
    Some(Calling { function, parameters, call })
}

/// Finds the function that a route calls.
fn named<'a>(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    route: &RouteFile,
    python: &'a PythonSettings,
) -> Option<&'a Function> {
    let names = || python.functions.iter().map(|function| function.name.as_str());
    let path = path.key("function");
    let Some(name) = &route.function else {
        if let [only] = &python.functions[..] {
            return Some(only);
        }
        let all = names().collect::<Vec<_>>().join(", ");
        let message = format!("this route does not say which function it calls: {all}");
        findings.refuse(
            &path,
            message,
            format!("add `function = \"{}\"`", python.functions[0].name),
        );
        return None;
    };
    let found = python.functions.iter().find(|function| function.name == *name);
    if found.is_none() {
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        let target = python.target.as_str();
        findings.refuse(&path, format!("`{target}` serves no function `{name}`"), hint);
    }
    found
}

/// Finds the argument that a parameter of a route is.
fn declared(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    parameter: &ParameterText,
    function: &Function,
    call: &mut FunctionCall,
) -> Option<usize> {
    let path = path.key("match");
    let name = &parameter.name;
    let found = call.arguments.iter().position(|argument| argument.name == *name);
    let Some(index) = found else {
        if let Some(others) = &call.others {
            call.arguments.push(Argument { name: Arc::clone(name), ..others.clone() });
            return Some(call.arguments.len() - 1);
        }
        let names: Vec<&str> = function.parameters.iter().map(|it| it.name.as_str()).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "it has {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ),
        };
        findings.refuse(&path, format!("`{}` has no parameter `{name}`", function.name), hint);
        return None;
    };
    if call.raw == Some(index) {
        let message = format!("`{name}` is bytes: it is the body");
        findings.refuse(&path, message, "take it out of `match`");
        return None;
    }
    let argument = &call.arguments[index];
    let own = kind_of(argument);
    // A name alone is a text for other programs; here it is what the signature says.
    let agrees = parameter.kind == "text" || parameter.kind == own || argument.is_any;
    if !agrees {
        let kind = parameter.kind;
        let message = format!("`{name}` of `{}` is no {kind}", function.name);
        findings.refuse(&path, message, format!("write {{{name}}}: the signature has its type"));
    }
    Some(index)
}

/// The type of an argument as `match` names it.
fn kind_of(argument: &Argument) -> &'static str {
    match &argument.scalar {
        Some(ScalarType::Int) => "int",
        Some(ScalarType::Float) => "float",
        Some(ScalarType::Bool) => "bool",
        Some(ScalarType::Union(several)) => match &several[..] {
            [one, ScalarType::Null] => {
                let (name, scalar) = (Arc::clone(&argument.name), Some(one.clone()));
                kind_of(&Argument { name, scalar, is_any: false, required: false })
            }
            _ => "text",
        },
        Some(_) => "text",
        None => "json",
    }
}

/// The call of a function, as its signature says it.
fn call_of(function: &Function) -> FunctionCall {
    let argument = |name: &str, schema: &serde_json::Value, required| Argument {
        name: Arc::from(name),
        scalar: ScalarType::of(schema),
        is_any: schema.as_object().is_some_and(serde_json::Map::is_empty),
        required,
    };
    let parameters = function.parameters.iter();
    FunctionCall {
        name: function.name.clone(),
        arguments: parameters.map(|it| argument(&it.name, &it.schema, it.required)).collect(),
        others: function.rest.as_ref().map(|schema| argument("", schema, false)),
        raw: function.parameters.iter().position(|parameter| parameter.bytes),
        declared: Vec::new(),
        open_query: true,
        streams: function.kind.streams(),
    }
}

/// A parameter for those who look at routes: what it is, and what a caller could send.
fn parameter_of(argument: &Argument, text: &ParameterText) -> Parameter {
    let kind = match (kind_of(argument), &argument.scalar) {
        ("int", _) => ParameterKind::Int { min: None, max: None },
        ("float", _) => ParameterKind::Float { min: None, max: None },
        ("bool", _) => ParameterKind::Bool,
        ("json", _) => ParameterKind::Json,
        (_, scalar) => {
            let one_of = match scalar {
                Some(ScalarType::OneOf(all)) => all
                    .iter()
                    .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
                    .collect(),
                _ => Vec::new(),
            };
            ParameterKind::Text { max_length: usize::MAX, pattern: None, one_of }
        }
    };
    Parameter {
        name: Arc::clone(&text.name),
        key: Arc::clone(&text.key),
        in_path: text.in_path,
        kind,
        default: None,
        missing: None,
    }
}

/// The routes of all functions of a pool that no route names: `POST /NAME`, and `GET /NAME` where
/// every parameter can be written as a text.
pub(super) fn derived(python: &PythonSettings) -> Vec<Derived> {
    let mut routes = Vec::new();
    for function in &python.functions {
        let call = call_of(function);
        let are_scalars = call.arguments.iter().all(|argument| argument.scalar.is_some());
        let methods: &[&str] = if are_scalars { &["GET", "POST"] } else { &["POST"] };
        for method in methods {
            let mut call = call.clone();
            let mut parameters = Vec::new();
            let required = call.arguments.iter().enumerate().filter(|(_, it)| it.required);
            for (index, argument) in required.filter(|_| *method == "GET") {
                let name = Arc::clone(&argument.name);
                let key = Arc::clone(&name);
                let text = ParameterText { name, key, in_path: false, kind: "text" };
                parameters.push(parameter_of(argument, &text));
                call.declared.push(index);
            }
            let text = RouteText {
                method: (*method).to_owned(),
                path: vec![PathPart::Literal(function.name.clone())],
                rest: false,
                parameters: Vec::new(),
            };
            routes.push(Derived { text, parameters, call });
        }
    }
    routes
}
