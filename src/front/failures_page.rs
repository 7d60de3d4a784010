//! The page `docs/reference/failures.md`, which a test compares with the file.
//!
//! `UPDATE=1 cargo test` writes the file anew.

use http::StatusCode;

use super::problem::{ProblemDocument, status_of};
use crate::base::{Code, Failure};

/// Returns whether `httpipe_calls_total` counts the code.
fn counted_as_call(code: Code) -> &'static str {
    match code {
        Code::BadParameter
        | Code::Unsendable
        | Code::ForbiddenOrigin
        | Code::NoRoute
        | Code::MethodNotAllowed
        | Code::RequestTimeout
        | Code::UriTooLong
        | Code::UnsupportedMediaType
        | Code::HeadersTooLarge
        | Code::Busy => "no",
        Code::BadRequest | Code::BodyTooLarge | Code::Internal | Code::Draining | Code::Timeout => {
            "if it became a call"
        }
        Code::ProgramError
        | Code::Cancelled
        | Code::Poisonous
        | Code::WorkerLost
        | Code::BadAnswer
        | Code::QueueFull
        | Code::QueueTimeout
        | Code::NoWorker => "yes",
    }
}

/// What to do where the failure passes by itself.
const AGAIN: &str = "Repeat the request after `Retry-After`";

/// The words for `forbidden_origin`.
const FOREIGN: (&str, &str) = (
    "On a loopback listener: the `Host` is neither loopback nor one of `hosts`, or a web page of \
     another site asks (`Origin`, `Sec-Fetch-Site`)",
    "The operator can add the name to `hosts`; the log has the line",
);

/// The words for `busy`.
const BUSY: (&str, &str) = (
    "Bodies being read and answers being sent take all of `limits.memory`: this body, or this \
     answer, found no room",
    "Repeat the request after `Retry-After` if it may run twice: where the answer found no \
     room, the program has done its work",
);

/// The words for `cancelled`.
const CANCELLED: (&str, &str) = (
    "The caller cancelled the call with `notifications/cancelled` or `$/cancelRequest`",
    "Nothing; the program may still have done its work",
);

/// The words for `timeout`.
const TIMEOUT: (&str, &str) = (
    "The program did not answer within `timeout`, or within the caller's `X-Timeout`",
    "Ask less, or allow more time; the program may still have done its work",
);

/// Returns when a code happens, and what the caller can do.
fn words(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::BadRequest => (
            "The request is not HTTP/1, has no single valid `Host`, has a body that breaks off or \
             is malformed, or carries an `X-Timeout` or a JSON-RPC message that cannot be read",
            "Correct the request",
        ),
        Code::BadParameter => (
            "A parameter of the route is missing, given twice, or not of its type",
            "Correct the value that `parameter` names",
        ),
        Code::Unsendable => (
            "A value holds bytes that the framing of the program cannot carry, such as a line end",
            "Remove these bytes from the value that `parameter` names",
        ),
        Code::ForbiddenOrigin => FOREIGN,
        Code::NoRoute => ("No route matches the path", "Correct the path"),
        Code::MethodNotAllowed => (
            "A route matches the path, but not with this method",
            "Use a method that `Allow` lists",
        ),
        Code::RequestTimeout => (
            "The head of the request did not arrive within `limits.header_timeout`, or its body \
             within `limits.body_timeout`",
            "Send the request faster",
        ),
        Code::BodyTooLarge => (
            "The body is longer than `limits.body`, or the question longer than `message_max`",
            "Send less",
        ),
        Code::UriTooLong => ("The target is longer than 65,534 bytes", "Send less, or in the body"),
        Code::UnsupportedMediaType => (
            "The body is compressed, or the parameters of the route cannot be read from a body of \
             this `Content-Type`, or a part of a form is encoded",
            "Send a type that `detail` names",
        ),
        Code::HeadersTooLarge => ("The head exceeds `limits.header` or 100 fields", "Send less"),
        Code::ProgramError => (
            "The program reported an error: its answer matched `error`",
            "Read `detail`, which holds the program's own words",
        ),
        Code::Cancelled => CANCELLED,
        Code::Poisonous => (
            "The same question has ended several workers, and is refused for a while",
            "Do not repeat it; the operator can lift this with `DELETE /poisonous`",
        ),
        Code::Internal => {
            ("A fault of the server", "Tell the operator the `request_id`; the log has more")
        }
        Code::WorkerLost => {
            ("The program ended before it answered", "Repeat the request only if it may run twice")
        }
        Code::BadAnswer => (
            "The program wrote something that is not an answer of the configured shape",
            "Tell the operator the `request_id`",
        ),
        Code::QueueFull => (
            "The queue of the pool has reached `queue.length` or `queue.bytes`, or is overloaded",
            AGAIN,
        ),
        Code::QueueTimeout => ("No worker was free within `queue.wait`", AGAIN),
        Code::NoWorker => ("The pool has no worker, and cannot start one now", AGAIN),
        Code::Busy => BUSY,
        Code::Draining => ("The server is stopping", AGAIN),
        Code::Timeout => TIMEOUT,
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Failures\n\n\
         <!-- Made from src/front/failures_page.rs: change that and run `UPDATE=1 cargo test`. -->\n\n\
         Every failed request has one of these codes. It stands in the header `Httpipe-Failure`, in \
         the member `code`\nof the problem document (RFC 9457), and in the request's log line. Codes \
         never change their meaning.\n\n\
         httpipe itself tries a call again only after `worker_lost`: at most `retries` times where \
         the route is\nidempotent, and always where the worker cannot have read the question. The \
         caller sees the code only once\nno try is left. No other failure is retried.\n\n\
         `httpipe_requests_total` counts every failure under its status, and `httpipe_calls_total` \
         those of calls\nthat entered a pool under their code. Requests without a route count under \
         `route=\"none\"`.\n\n\
         | code | status | when it happens | what the caller can do | `Retry-After` | tried again | \
         in `httpipe_calls_total` |\n|---|---|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let (when, remedy) = words(code);
        let status = StatusCode::from_u16(status_of(code)).expect("a status");
        let status = match code {
            Code::ProgramError => format!("`error_status`, else {status}"),
            _ => status.to_string(),
        };
        let waits = ProblemDocument::of(&Failure::sample(code)).retry_after.is_some();
        let cells = [
            &*format!("`{code}`"),
            &status,
            when,
            remedy,
            if waits { "yes" } else { "no" },
            if code == Code::WorkerLost { "yes, see above" } else { "no" },
            counted_as_call(code),
        ];
        page.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    page
}

#[test]
fn the_reference_page_is_what_the_codes_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/failures.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, page()).expect("docs/reference is writable");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page(), "stale: run `UPDATE=1 cargo test`");
}
