//! What a route says of its jobs: how a caller asks for one, and what it is told at once.
//!
//! Pure.

use serde_json::{Map, Value, json};

use crate::config::CallSettings;

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
    let moment = json!({ "type": ["string", "null"], "format": "date-time" });
    let job = json!({
        "type": "object",
        "properties": {
            "id": text,
            "state": { "enum": ["queued", "running", "succeeded", "failed", "canceled"] },
            "route": text,
            "created": moment,
            "started": moment,
            "ended": moment,
            "expires": moment,
            "attempts": { "type": "integer", "minimum": 0 },
            "progress": {
                "type": ["object", "null"],
                "properties": {
                    "fraction": { "type": "number", "minimum": 0, "maximum": 1 },
                    "text": text,
                },
            },
            "result": { "type": ["string", "null"] },
            "problem": { "type": ["object", "null"] },
        },
    });
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
            "content": { "application/json": { "schema": job } },
        }),
    );
}
