//! How requests fail, by the status of the response.
//!
//! Pure. The statuses and the words are those of `front`, which answers with them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::values::object;
use crate::base::Code;
use crate::config::{CallersSettings, WhoMayAsk};

/// What `front` knows of a code.
#[derive(Clone, Copy, Debug)]
pub struct FailureWords {
    /// The status of the response.
    pub status: fn(Code) -> u16,
    /// When it happens.
    pub when: fn(Code) -> &'static str,
    /// What a status is called.
    pub title: fn(u16) -> &'static str,
}

/// The failures that any operation may have.
#[derive(Debug)]
pub(super) struct Failures {
    words: FailureWords,
    codes: BTreeMap<u16, Vec<Code>>,
    /// How the gate refuses a request before any operation.
    of_gate: Vec<Code>,
}

/// What a problem document is called in the components.
pub(super) const PROBLEM: &str = "Problem";

/// How any request can fail, whatever its route.
const OF_ALL: [Code; 7] = [
    Code::BadRequest,
    Code::ForbiddenOrigin,
    Code::RequestTimeout,
    Code::UriTooLong,
    Code::HeadersTooLarge,
    Code::Internal,
    Code::Draining,
];

/// How any call can fail.
const OF_CALLS: [Code; 9] = [
    Code::Poisonous,
    Code::WorkerLost,
    Code::BadAnswer,
    Code::QueueFull,
    Code::QueueTimeout,
    Code::NoWorker,
    Code::Busy,
    Code::Timeout,
    Code::BodyTooLarge,
];

/// How the requests of an operation can fail.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    codes: Vec<Code>,
    /// The status with which the program reports errors.
    program_error: Option<u16>,
    /// The program may choose any status for an error.
    any_status: bool,
}

impl Ways {
    /// Those of a route with a fixed answer.
    pub(super) fn of_text() -> Self {
        Self { codes: OF_ALL.to_vec(), program_error: None, any_status: false }
    }

    /// Those of a program: also in the ways that apply.
    pub(super) fn of_program(also: &[(Code, bool)], program_error: Option<u16>) -> Self {
        let also = also.iter().filter(|(_, applies)| *applies).map(|(code, _)| *code);
        let codes = OF_ALL.into_iter().chain(OF_CALLS).chain(also).collect();
        Self { codes, program_error, any_status: false }
    }

    /// Those of a request about a job: also in these ways.
    pub(super) fn of_job(also: &[Code]) -> Self {
        let own = [Code::NoJob, Code::StoreFailed];
        let codes = OF_ALL.iter().chain(&own).chain(also).copied().collect();
        Self { codes, program_error: None, any_status: false }
    }

    /// Those of a function, which may report an error with any status.
    pub(super) fn of_function(also: &[(Code, bool)]) -> Self {
        Self { any_status: true, ..Self::of_program(also, None) }
    }
}

impl Failures {
    pub(super) fn new(words: FailureWords, callers: &CallersSettings) -> Self {
        let has_keys = matches!(callers.who, WhoMayAsk::Keys(_));
        let keys = [Code::Unauthorized, Code::Forbidden].into_iter().filter(|_| has_keys);
        let has_limits = has_keys || callers.anonymous.is_some();
        let limits = [Code::RateLimited, Code::TooManyCalls].into_iter().filter(|_| has_limits);
        Self { words, codes: BTreeMap::new(), of_gate: keys.chain(limits).collect() }
    }

    /// Adds the responses of an operation that can fail in these ways.
    pub(super) fn add(&mut self, ways: &Ways, responses: &mut Map<String, Value>) {
        let mut found: Vec<(u16, Code)> = ways
            .codes
            .iter()
            .chain(&self.of_gate)
            .map(|code| ((self.words.status)(*code), *code))
            .collect();
        found.extend(ways.program_error.map(|status| (status, Code::ProgramError)));
        found.sort_by_key(|(status, code)| (*status, *code as usize));
        if ways.any_status {
            let statuses: Vec<u16> = found.iter().map(|(status, _)| *status).collect();
            found.extend(statuses.into_iter().map(|status| (status, Code::ProgramError)));
        }
        for (status, code) in found {
            let codes = self.codes.entry(status).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
            let reference = json!({ "$ref": format!("#/components/responses/{status}") });
            responses.insert(status.to_string(), reference);
        }
        if ways.any_status {
            let problem = json!({ "$ref": format!("#/components/responses/{PROBLEM}") });
            responses.insert("default".to_owned(), problem);
        }
    }

    /// Returns the responses that operations refer to.
    pub(super) fn responses(&mut self) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, codes) in &mut self.codes {
            codes.sort_by_key(|code| *code as usize);
            let reasons =
                codes.iter().map(|code| format!("- `{code}`: {}", (self.words.when)(*code)));
            let title = (self.words.title)(*status);
            let title = if title.is_empty() { "The program reported an error" } else { title };
            let description = format!("{title}\n\n{}", reasons.collect::<Vec<_>>().join("\n"));
            let codes_schema: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
            let mut headers = object(json!({
                "Httpipe-Failure": {
                    "description": "The code of the failure",
                    "required": true,
                    "schema": { "enum": codes_schema },
                },
                "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" },
            }));
            let waits = |code: &Code| {
                BUSY.contains(&(self.words.status)(*code)) && *code != Code::ProgramError
            };
            if codes.iter().any(waits) {
                // What the program reports with this status says nothing of it.
                let is_always = codes.iter().all(waits);
                headers.insert("Retry-After".to_owned(), retry_after(is_always));
            }
            if codes.contains(&Code::MethodNotAllowed) {
                headers.insert("Allow".to_owned(), json!({ "schema": { "type": "string" } }));
            }
            let schema = json!({
                "allOf": [{ "$ref": format!("#/components/schemas/{PROBLEM}") }],
                "properties": { "status": { "const": status }, "code": { "enum": codes_schema } },
            });
            responses.insert(status.to_string(), response(&description, &headers, &schema));
        }
        let any = json!({ "$ref": format!("#/components/schemas/{PROBLEM}") });
        let headers =
            object(json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } }));
        let description = "The function reported an error with a status of its own";
        responses.insert(PROBLEM.to_owned(), response(description, &headers, &any));
        responses
    }
}

/// The statuses that ask callers to come again.
const BUSY: [u16; 2] = [429, 503];

fn retry_after(is_always: bool) -> Value {
    json!({
        "description": "After how many seconds to ask again",
        "required": is_always,
        "schema": { "type": "integer", "minimum": 1 },
    })
}

fn response(description: &str, headers: &Map<String, Value>, schema: &Value) -> Value {
    json!({
        "description": description,
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema } },
    })
}

/// Returns the schema of every problem document.
pub(super) fn problem_schema() -> Value {
    json!({
        "description": "A problem document (RFC 9457)",
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "const": "about:blank" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened, for people" },
            "code": { "type": "string", "description": "What happened, for programs" },
            "request_id": { "type": "string" },
            "parameter": { "type": "string", "description": "The parameter that was wrong" },
        },
    })
}
