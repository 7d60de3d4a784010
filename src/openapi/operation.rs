//! One operation: what one method of one route takes and answers.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::answers;
use super::bodies;
use super::carries::Carries;
use super::failures::{Failures, Ways};
use super::functions;
use super::hoist::Hoist;
use super::jobs;
use super::values::{object, schema, typed};
use crate::base::Code;
use crate::base::example::example;
use crate::base::parameter::{Parameter, ParameterKind};
use crate::base::template::{Segment, Slot};
use crate::config::{
    CallSettings, Config, FunctionCall, PoolSettings, ReplyShape, RouteAction, RouteSettings,
    SendShape,
};
use crate::python::Function;

/// What operations share while a document is made.
pub(super) struct Making<'a> {
    pub(super) config: &'a Config,
    pub(super) failures: Failures,
    pub(super) hoist: Hoist,
    /// A route passes JSON-RPC on; whether all messages must have a `method`.
    pub(super) json_rpc: Option<bool>,
}

/// What is known of an operation before its parts are written.
pub(super) struct Operation<'a> {
    pub(super) id: String,
    pub(super) route: &'a RouteSettings,
    /// In capitals; one of several if the route takes any.
    pub(super) method: &'a str,
    /// The names of the parameters in the path, in order, as its template has them.
    pub(super) in_path: &'a [String],
    /// The name of what `/*` stands for.
    pub(super) rest: Option<&'a str>,
}

impl Operation<'_> {
    /// Writes the operation.
    pub(super) fn write(&self, shared: &mut Making<'_>) -> Value {
        let mut operation = object(json!({ "operationId": self.id }));
        match &self.route.action {
            RouteAction::Text { text, content_type } => {
                self.add_about(&mut operation, None);
                let parameters = self.path_parameters(|_| Carries::Anything);
                add(&mut operation, parameters, None);
                let mut responses = Map::new();
                responses.insert("200".to_owned(), answers::of_text(text, content_type.as_str()));
                shared.failures.add(&Ways::of_text(), &mut responses);
                operation.insert("responses".to_owned(), responses.into());
            }
            RouteAction::Call(call) => {
                let pool = &shared.config.pools[call.pool];
                match &call.send {
                    SendShape::Function(function) => {
                        self.write_function(shared, call, pool, function, &mut operation);
                    }
                    _ => self.write_program(shared, call, pool, &mut operation),
                }
            }
        }
        operation.into()
    }

    fn write_program(
        &self,
        shared: &mut Making<'_>,
        call: &CallSettings,
        pool: &PoolSettings,
        operation: &mut Map<String, Value>,
    ) {
        let wire = &pool.program.wire;
        self.add_about(operation, None);
        add_facts(operation, call, pool);
        let carries = |it: &Parameter| Carries::of_parameter(it, self.route, call, wire);
        let is_json_rpc = call.passes_json_rpc_on(wire);
        let mut parameters = self.path_parameters(carries);
        if !bodies::holds_parameters(self.method, call) {
            let own = self.route.parameters.iter().filter(|it| !it.in_path);
            parameters.extend(own.map(|it| query_parameter(it, carries(it))));
            if matches!(call.send, SendShape::Json) && self.route.parameters.is_empty() {
                parameters.push(any_query());
            }
        }
        parameters.extend(header_parameters(call));
        parameters.extend(jobs::parameters(call));
        parameters.extend(common_parameters(call, self.method));
        let (body, mut responses) = if is_json_rpc {
            shared.json_rpc = Some(shared.json_rpc.unwrap_or(true) && wire.is_json_rpc);
            (Some(bodies::of_json_rpc(wire)), answers::of_json_rpc(wire))
        } else {
            let body = bodies::of_program(self.method, self.route, call, wire);
            (body, answers::of_program(call, wire))
        };
        let mut also = vec![
            (Code::BadParameter, !self.route.parameters.is_empty()),
            (Code::Unsendable, has_values(call)),
            (Code::UnsupportedMediaType, body.is_some()),
            (Code::Cancelled, wire.cancel.is_some()),
        ];
        also.extend(jobs::failures(call));
        let reports = wire.error.is_some() || wire.error_is_stderr;
        let ways = Ways::of_program(&also, reports.then_some(wire.error_status));
        add(operation, parameters, with_items(body, call, &mut responses));
        add_not_modified(call, self.method, &mut responses);
        jobs::add_accepted(call, &mut responses);
        // A program that writes its own responses may do so for every status.
        if wire.reply != ReplyShape::Http {
            shared.failures.add(&ways, &mut responses);
        }
        operation.insert("responses".to_owned(), responses.into());
    }

    fn write_function(
        &self,
        shared: &mut Making<'_>,
        call: &CallSettings,
        pool: &PoolSettings,
        function_call: &FunctionCall,
        operation: &mut Map<String, Value>,
    ) {
        let functions = pool.program.python.iter().flat_map(|python| &python.functions);
        let mut found = functions.filter(|function| function.name == function_call.name);
        let function = found.next().expect("the configuration was checked against its functions");
        self.add_about(operation, Some(function));
        add_facts(operation, call, pool);
        let hoist = &mut shared.hoist;
        let mut parameters =
            functions::parameters(self.route, function_call, function, self.in_path, hoist);
        parameters.extend(jobs::parameters(call));
        parameters.extend(common_parameters(call, self.method));
        let body = functions::body(self.route, function_call, function, hoist);
        let returns = function.returns.as_ref().map(|schema| hoist.hoist(schema));
        let answer = answers::of_function(call, returns, function.kind.streams());
        let mut responses = object(json!({ "200": answer }));
        add_not_modified(call, self.method, &mut responses);
        jobs::add_accepted(call, &mut responses);
        let mut also =
            vec![(Code::BadParameter, true), (Code::UnsupportedMediaType, body.is_some())];
        also.extend(jobs::failures(call));
        let ways = Ways::of_function(&also);
        let body = with_items(body, call, &mut responses);
        shared.failures.add(&ways, &mut responses);
        add(operation, parameters, body);
        operation.insert("responses".to_owned(), responses.into());
    }

    /// Adds what people read: the operator's words, or those of the function.
    fn add_about(&self, operation: &mut Map<String, Value>, function: Option<&Function>) {
        let doc = function.map(|function| function.doc.trim()).unwrap_or_default();
        let (first, rest) = doc.split_once('\n').unwrap_or((doc, ""));
        let own = &self.route.about;
        let summary = own.summary.as_deref().unwrap_or(first.trim());
        let description = own.description.as_deref().unwrap_or(rest.trim());
        for (key, text) in [("summary", summary), ("description", description)] {
            if !text.is_empty() {
                operation.insert(key.to_owned(), text.into());
            }
        }
    }

    fn path_parameters(&self, carries: impl Fn(&Parameter) -> Carries) -> Vec<Value> {
        let in_path = self.route.parameters.iter().filter(|it| it.in_path);
        let named = in_path.zip(self.in_path);
        let mut parameters: Vec<Value> = named
            .map(|(parameter, name)| {
                let mut written = object(json!({ "name": name, "in": "path", "required": true }));
                add_schema(&mut written, parameter, carries(parameter));
                written.into()
            })
            .collect();
        if let Some(rest) = self.rest {
            parameters.push(json!({
                "name": rest,
                "in": "path",
                "required": true,
                "description": "The rest of the path; it may have several segments",
                "x-rest": true,
                "schema": { "type": "string" },
            }));
        }
        parameters
    }
}

fn query_parameter(parameter: &Parameter, carries: Carries) -> Value {
    let is_required = parameter.default.is_none();
    let mut written =
        object(json!({ "name": &*parameter.key, "in": "query", "required": is_required }));
    add_schema(&mut written, parameter, carries);
    written.into()
}

fn add_schema(written: &mut Map<String, Value>, parameter: &Parameter, carries: Carries) {
    let schema = schema(parameter, carries);
    let sample = example(parameter, 0).map(|sample| typed(&parameter.kind, &sample));
    if parameter.kind == ParameterKind::Json {
        let mut media = object(json!({ "schema": schema }));
        media.extend(sample.map(|sample| ("example".to_owned(), sample)));
        written.insert("content".to_owned(), json!({ "application/json": media }));
    } else {
        written.insert("schema".to_owned(), schema);
        written.extend(sample.map(|sample| ("example".to_owned(), sample)));
    }
}

/// Any parameters: those of a route that passes all of them on.
fn any_query() -> Value {
    json!({
        "name": "parameters",
        "in": "query",
        "style": "form",
        "explode": true,
        "schema": bodies::any_texts(),
    })
}

/// The headers that the question has slots for.
fn header_parameters(call: &CallSettings) -> Vec<Value> {
    let SendShape::Template(template) = &call.send else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    for segment in &template.segments {
        if let Segment::Slot(Slot::Header(name)) = segment
            && !names.contains(&&**name)
            // The document has other places for these.
            && !matches!(&**name, "accept" | "authorization" | "content-type" | "x-request-id")
        {
            names.push(name);
        }
    }
    let written = |name| json!({ "name": name, "in": "header", "schema": { "type": "string" } });
    names.into_iter().map(written).collect()
}

/// The headers that any call may have.
fn common_parameters(call: &CallSettings, method: &str) -> Vec<Value> {
    let is_kept = call.cache.is_some() && matches!(method, "GET" | "HEAD");
    let names = [("X-Timeout", true), ("X-Request-Id", true), ("If-None-Match", is_kept)];
    let names = names.into_iter().filter(|(_, is_there)| *is_there);
    let reference = |name| json!({ "$ref": format!("#/components/parameters/{name}") });
    names.map(|(name, _)| reference(name)).collect()
}

/// Returns the parameters that operations refer to.
pub(super) fn shared_parameters() -> Value {
    json!({
        "X-Timeout": {
            "name": "X-Timeout",
            "in": "header",
            "description": "How long the caller waits, as in `800ms` or `5s`",
            "schema": { "type": "string", "pattern": r"^[1-9][0-9]{0,4}(?:ms|s|m)$" },
        },
        "X-Request-Id": {
            "name": "X-Request-Id",
            "in": "header",
            "description": "The caller's own id of the request; a text that is none is replaced",
            "schema": { "type": "string" },
        },
        "If-None-Match": {
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of an answer that the caller has",
            "schema": { "type": "string" },
        },
    })
}

fn add(operation: &mut Map<String, Value>, parameters: Vec<Value>, body: Option<Value>) {
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    operation.extend(body.map(|body| ("requestBody".to_owned(), body)));
}

/// Adds to body and answers that a request may have many items.
fn with_items(
    body: Option<Value>,
    call: &CallSettings,
    responses: &mut Map<String, Value>,
) -> Option<Value> {
    let Some(most) = call.items else { return body };
    let mut body = body.unwrap_or_else(|| json!({ "content": {} }));
    bodies::add_items(&mut body, most);
    answers::add_outcomes(responses);
    Some(body)
}

/// Adds what a caller may want to know before asking twice.
fn add_facts(operation: &mut Map<String, Value>, call: &CallSettings, pool: &PoolSettings) {
    operation.insert("tags".to_owned(), json!([pool.name]));
    operation.insert("x-idempotent".to_owned(), call.idempotent.into());
    let seconds = call.cache.map(|kept| json!(kept.as_secs_f64()));
    operation.extend(seconds.map(|seconds| ("x-cache-seconds".to_owned(), seconds)));
}

fn add_not_modified(call: &CallSettings, method: &str, responses: &mut Map<String, Value>) {
    if call.cache.is_some() && matches!(method, "GET" | "HEAD") {
        responses.insert("304".to_owned(), answers::not_modified());
    }
}

/// Returns true if something that a caller chose is part of the question.
fn has_values(call: &CallSettings) -> bool {
    match &call.send {
        SendShape::Template(template) => {
            let is_value = |it: &Segment| matches!(it, Segment::Slot(slot) if *slot != Slot::Nonce);
            template.segments.iter().any(is_value)
        }
        SendShape::Json | SendShape::Http | SendShape::Function(_) => true,
    }
}
