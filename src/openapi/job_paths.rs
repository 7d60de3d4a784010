//! The paths where callers look for their jobs, fetch answers and cancel.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::failures::{self, Ways};
use super::jobs;
use super::operation::Making;
use super::values::object;
use crate::base::Code;
use crate::config::jobs::JobsSettings;

/// Adds the paths where callers look for their jobs.
pub(super) fn add(shared: &mut Making<'_>, paths: &mut Map<String, Value>) {
    if !jobs::are_any(shared.config) {
        return;
    }
    let id = json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": "The name of the job, as `Location` has it",
        "schema": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
        "example": "34d301cc4d37fc2899d5e50ea0e8f7e4",
    });
    let wait = json!({
        "name": "Prefer",
        "in": "header",
        "description": "`wait=10` waits up to 10 seconds for the end of the job; more than 60 counts as 60",
        "schema": { "type": "string" },
        "example": "wait=10",
    });
    let shown = json!({
        "application/json": { "schema": jobs::reference() },
        "text/event-stream": { "schema": { "type": "string" }, "x-itemSchema": jobs::reference() },
    });
    let look = operation(
        shared,
        "jobs.get",
        "How far a job is",
        &json!([id, wait]),
        (
            "200",
            json!({ "description": "The job; as events: at each change, until its end", "content": shown }),
        ),
        &[],
    );
    let mut remove = operation(
        shared,
        "jobs.delete",
        "Cancels a job, or removes one that has ended",
        &json!([id]),
        (
            "200",
            json!({ "description": "It is canceled", "content": { "application/json": { "schema": jobs::reference() } } }),
        ),
        &[],
    );
    remove["responses"]["204"] = json!({ "description": "It had ended, and is removed" });
    let any = json!({ "description": "What the call would have been answered", "content": { "*/*": {} } });
    let mut ways = vec![Code::NotEnded, Code::JobCanceled, Code::Busy];
    ways.extend([Code::WorkerLost, Code::BadAnswer, Code::Timeout, Code::QueueTimeout]);
    let mut answer = operation(
        shared,
        "jobs.result",
        "The answer of a job",
        &json!([id, wait]),
        ("200", any),
        &ways,
    );
    // Whatever the call has failed with.
    answer["responses"]["default"] =
        json!({ "$ref": format!("#/components/responses/{}", failures::PROBLEM) });
    let path = format!("{}{{id}}", JobsSettings::PATH);
    paths.insert(format!("{path}/result"), json!({ "get": answer }));
    paths.insert(path, json!({ "get": look, "delete": remove }));
}

fn operation(
    shared: &mut Making<'_>,
    id: &str,
    summary: &str,
    parameters: &Value,
    (status, response): (&str, Value),
    also: &[Code],
) -> Value {
    let mut responses = object(json!({ status: response }));
    shared.failures.add(&Ways::of_job(also), &mut responses);
    json!({
        "operationId": id,
        "tags": ["jobs"],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    })
}
