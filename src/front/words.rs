//! Each code in words: when it happens, and what the caller can do. For `docs/reference/failures.md`
//! and for the document of the routes.
//!
//! Pure.

use super::problem::{status_of, title_of};
use crate::base::Code;
use crate::openapi::FailureWords;

/// The statuses and the words, for the document of the routes.
pub const FAILURE_WORDS: FailureWords = FailureWords {
    status: status_of,
    when: |code| words(code).0,
    title: |status| title_of(status).unwrap_or_default(),
};

/// What to do where the failure passes by itself.
const AGAIN: &str = "Repeat the request after `Retry-After`";

/// The words for `bad_request`.
const BAD_REQUEST: (&str, &str) = (
    "The request cannot be read as HTTP, has no single valid `Host`, has a body that breaks off or \
     is malformed, or carries an `X-Timeout` or a JSON-RPC message that cannot be read",
    "Correct the request",
);

/// The words for `request_timeout`.
const REQUEST_TIMEOUT: (&str, &str) = (
    "The head of the request did not arrive within `limits.header_timeout`, or its body \
     within `limits.body_timeout`",
    "Send the request faster",
);

/// The words for `forbidden_origin`.
const FOREIGN: (&str, &str) = (
    "On a loopback listener: the `Host` is neither loopback nor one of `hosts`, or a web page of \
     another site asks (`Origin`, `Sec-Fetch-Site`); on any listener: such a page asks with the \
     certificate of its reader",
    "The operator can add the name to `hosts`, or the page to `cors`; the log has the line",
);

/// The words for `unauthorized`.
const UNAUTHORIZED: (&str, &str) = (
    "The server has `callers`, and the request has no key, a wrong one, or two at once",
    "Send your key as `Authorization: Bearer KEY`, `X-API-Key: KEY` or `Basic` with its name",
);

/// The words for `forbidden`.
const FORBIDDEN: (&str, &str) =
    ("The key has `routes`, and this request is for none of them", "Ask the operator");

/// The words for `rate_limited`.
const RATE_LIMITED: (&str, &str) = (
    "The key, or the address of a caller without one, has used up its `rate`; or an address has \
     sent wrong keys too often",
    AGAIN,
);

/// The words for `too_many_calls`.
const TOO_MANY_CALLS: (&str, &str) = (
    "The key, or the address of a caller without one, has as many `calls` at once as it may",
    "Wait for the answer to another call, then repeat the request",
);

/// The words for `uri_too_long`.
const URI_TOO_LONG: (&str, &str) =
    ("The target is longer than 65,534 bytes", "Send less, or in the body");

/// The words for `too_many_items`.
const TOO_MANY_ITEMS: (&str, &str) = (
    "A batch has more items than `items` of its route; those before have their own outcomes",
    "Send the rest in another request",
);

/// The words for `bad_answer`.
const BAD_ANSWER: (&str, &str) = (
    "The program wrote something that is not an answer of the configured shape",
    "Tell the operator the `request_id`",
);

/// The words for `busy`.
const BUSY: (&str, &str) = (
    "Bodies, questions and answers take all of `limits.memory`, or those of this key a quarter of \
     it: this one found no room",
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

/// The words for `store_failed`.
const STORE_FAILED: (&str, &str) = (
    "The file of the jobs cannot be read or written; nothing was accepted",
    "Repeat the request after `Retry-After`; the operator can read why in the log",
);

/// The words for `no_job`.
const NO_JOB: (&str, &str) = (
    "There is no job of this name, it was removed after `keep`, or it belongs to another key",
    "Correct the path, or ask anew",
);

/// The words for `key_reused`.
const KEY_REUSED: (&str, &str) = (
    "A job was asked for with an `Idempotency-Key` that stands for another question",
    "Send each question with a key of its own",
);

/// The words for `not_ended`.
const NOT_ENDED: (&str, &str) = (
    "The answer of a job was asked for that waits or runs",
    "Wait for its end: `GET` the job with `Prefer: wait=60`",
);

/// Returns when a code happens, and what the caller can do.
pub(super) fn words(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::BadRequest => BAD_REQUEST,
        Code::BadParameter => (
            "A parameter of the route is missing, given twice, or not of its type",
            "Correct the value that `parameter` names",
        ),
        Code::Unsendable => (
            "A value holds bytes that the framing of the program cannot carry, such as a line end",
            "Remove these bytes from the value that `parameter` names",
        ),
        Code::Unauthorized => UNAUTHORIZED,
        Code::Forbidden => FORBIDDEN,
        Code::ForbiddenOrigin => FOREIGN,
        Code::NoRoute => ("No route matches the path", "Correct the path"),
        Code::MethodNotAllowed => (
            "A route matches the path, but not with this method",
            "Use a method that `Allow` lists",
        ),
        Code::RequestTimeout => REQUEST_TIMEOUT,
        Code::BodyTooLarge => (
            "The body is longer than `limits.body`, or the question longer than `message_max`",
            "Send less",
        ),
        Code::TooManyItems => TOO_MANY_ITEMS,
        Code::UriTooLong => URI_TOO_LONG,
        Code::UnsupportedMediaType => (
            "The body is compressed, or the parameters of the route cannot be read from a body of \
             this `Content-Type`, or a part of a form is encoded",
            "Send a type that `detail` names",
        ),
        Code::RateLimited => RATE_LIMITED,
        Code::TooManyCalls => TOO_MANY_CALLS,
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
        Code::BadAnswer => BAD_ANSWER,
        Code::QueueFull => (
            "The queue of the pool has reached `queue.length` or `queue.bytes`, or is overloaded",
            AGAIN,
        ),
        Code::QueueTimeout => ("No worker was free within `queue.wait`", AGAIN),
        Code::NoWorker => ("The pool has no worker, and cannot start one now", AGAIN),
        Code::Busy => BUSY,
        Code::Draining => ("The server is stopping", AGAIN),
        Code::Timeout => TIMEOUT,
        Code::JobsFull => ("`jobs.length` or `jobs.bytes` is reached, or the disk is full", AGAIN),
        Code::StoreFailed => STORE_FAILED,
        Code::NoJob => NO_JOB,
        Code::NotEnded => NOT_ENDED,
        Code::KeyReused => KEY_REUSED,
        Code::JobCanceled => ("The job was canceled, so it has no answer", "Ask anew"),
    }
}
