//! What a route says of its jobs: how a caller asks for one, what they are told at once, and what a job
//! is.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::failures;
use crate::base::Code;
use crate::config::{CallSettings, Config, RouteAction, RouteSettings};

/// What a job is called in the components.
pub(super) const JOB: &str = "Job";

/// Returns the headers with which a call becomes a job.
pub(super) fn parameters(call: &CallSettings) -> Vec<Value> {
    if call.jobs.is_none() {
        return Vec::new();
    }
    let header = |name: &str, description: &str, example: &str| {
        json!({
            "name": name,
            "in": "header",
            "description": description,
            "schema": { "type": "string" },
            "example": example,
        })
    };
    vec![
        header(
            "Prefer",
            "`respond-async` makes the call a job; with `wait=10` it is answered as a call if it has \
             ended within 10 seconds",
            "respond-async",
        ),
        header(
            "Idempotency-Key",
            "A text of the caller's own, by which the same request finds the same job",
            "8e03978e-40d5-43e8-bc93-6894a57f9324",
        ),
    ]
}

/// Adds the answer to a call that became a job.
pub(super) fn add_accepted(call: &CallSettings, responses: &mut Map<String, Value>) {
    if call.jobs.is_none() {
        return;
    }
    let text = json!({ "type": "string" });
    let location =
        "Where the job is: GET shows it, and its answer below `/result`; DELETE cancels it";
    responses.insert(
        "202".to_owned(),
        json!({
            "description": "The call is a job, which is on the disk",
            "headers": {
                "Location": { "description": location, "schema": text },
                "Preference-Applied": { "schema": text },
                "Retry-After": { "schema": { "type": "integer" } },
            },
            "content": { "application/json": { "schema": reference() } },
        }),
    );
}

/// How a call that is to become a job can fail, besides.
pub(super) fn failures(call: &CallSettings) -> [(Code, bool); 3] {
    [Code::JobsFull, Code::StoreFailed, Code::KeyReused].map(|code| (code, call.jobs.is_some()))
}

/// Returns true if calls of some route may be jobs.
pub(super) fn are_any(config: &Config) -> bool {
    let makes_jobs = |route: &RouteSettings| match &route.action {
        RouteAction::Call(call) => call.jobs.is_some(),
        RouteAction::Text { .. } => false,
    };
    config.jobs.is_some() && config.routes.iter().any(makes_jobs)
}

/// Refers to the schema of a job.
pub(super) fn reference() -> Value {
    json!({ "$ref": format!("#/components/schemas/{JOB}") })
}

/// Returns the schema of a job.
pub(super) fn schema() -> Value {
    let text = json!({ "type": "string" });
    let moment = json!({ "type": ["string", "null"], "format": "date-time" });
    json!({
        "description": "A job",
        "type": "object",
        "required": ["id", "state", "route", "created", "expires", "attempts"],
        "properties": {
            "id": text,
            "state": { "enum": ["queued", "running", "succeeded", "failed", "canceled"] },
            "route": text,
            "created": { "type": "string", "format": "date-time" },
            "started": moment,
            "ended": moment,
            "expires": { "type": "string", "format": "date-time" },
            "attempts": { "type": "integer", "minimum": 0 },
            "progress": {
                "type": ["object", "null"],
                "properties": {
                    "fraction": { "type": "number", "minimum": 0, "maximum": 1 },
                    "text": text,
                },
            },
            "result": { "type": ["string", "null"], "description": "Where its answer is, once it has ended" },
            "problem": {
                "anyOf": [
                    { "$ref": format!("#/components/schemas/{}", failures::PROBLEM) },
                    { "type": "null" },
                ],
            },
        },
    })
}
