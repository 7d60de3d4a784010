//! The page `docs/reference/failures.md`, which a test compares with the file.
//!
//! `UPDATE=1 cargo test` writes the file anew.

use super::problem::{ProblemDocument, status_of, title_of};
use super::words::words;
use crate::base::{Code, Failure};

/// Returns whether `httpipe_calls_total` counts the code.
fn counted_as_call(code: Code) -> &'static str {
    match code {
        Code::BadParameter
        | Code::Unsendable
        | Code::Unauthorized
        | Code::Forbidden
        | Code::ForbiddenOrigin
        | Code::NoRoute
        | Code::MethodNotAllowed
        | Code::RequestTimeout
        | Code::UriTooLong
        | Code::UnsupportedMediaType
        | Code::RateLimited
        | Code::TooManyCalls
        | Code::HeadersTooLarge
        | Code::TooManyItems
        | Code::JobsFull
        | Code::StoreFailed
        | Code::NoJob
        | Code::NotEnded
        | Code::KeyReused
        | Code::JobCanceled
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

fn page() -> String {
    let mut page = String::from(
        "# Failures\n\n\
         <!-- Made from src/front/words.rs: change that and run `UPDATE=1 cargo test`. -->\n\n\
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
        let status = status_of(code);
        let title = title_of(status).expect("each of our statuses has a name");
        let status = match code {
            Code::ProgramError => format!("`error_status`, else {status} {title}"),
            _ => format!("{status} {title}"),
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
