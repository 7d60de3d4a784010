//! What a caller is told when a call, or the request for it, failed.
//!
//! Pure. The one table from failures to statuses, header fields and words. The words are for
//! callers: they reveal nothing about the inside of the server, nor what a program wrote besides
//! its answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::base::units::show_duration;
use crate::base::{Code, Failure, Rate};

/// A failure as HTTP shows it: a problem document of RFC 9457 and some header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemDocument {
    /// The status code.
    pub status: u16,
    /// The code of the failure, also the value of `Httpipe-Failure`.
    pub code: Code,
    /// What happened, for the caller.
    pub detail: String,
    /// The parameter that was wrong.
    pub parameter: Option<Arc<str>>,
    /// `Retry-After` in whole seconds, at least 1.
    pub retry_after: Option<u64>,
    /// `Allow`.
    pub allow: Option<Arc<str>>,
}

/// What a status is called; `None` if it has no name.
pub(super) fn title_of(status: u16) -> Option<&'static str> {
    let standard = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    standard.or_else(|| (status == status_of(Code::Cancelled)).then_some("Cancelled"))
}

/// The members of the document.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl ProblemDocument {
    /// Returns what the caller is told about a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            status: match failure {
                Failure::ProgramError { status, .. } => *status,
                _ => status_of(failure.code()),
            },
            code: failure.code(),
            detail: detail_of(failure).into_owned(),
            parameter: match failure {
                Failure::BadParameter { parameter, .. } | Failure::Unsendable { parameter, .. } => {
                    Some(Arc::clone(parameter))
                }
                _ => None,
            },
            retry_after: match failure {
                Failure::QueueFull { retry_after, .. }
                | Failure::QueueTimeout { retry_after, .. }
                | Failure::NoWorker { retry_after, .. }
                | Failure::JobsFull { retry_after, .. }
                | Failure::RateLimited { retry_after, .. } => Some(whole_seconds(*retry_after)),
                Failure::Busy
                | Failure::Draining
                | Failure::StoreFailed
                | Failure::TooManyCalls { .. } => Some(1),
                _ => None,
            },
            allow: match failure {
                Failure::MethodNotAllowed { allow } => Some(Arc::clone(allow)),
                _ => None,
            },
        }
    }

    /// Returns the document as JSON.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let members = Members {
            r#type: "about:blank",
            title: title_of(self.status).unwrap_or("Program Error"),
            status: self.status,
            detail: &self.detail,
            code: self.code.as_str(),
            request_id,
            parameter: self.parameter.as_deref(),
        };
        serde_json::to_vec(&members).expect("texts and numbers are always JSON")
    }
}

/// Returns the status of a code. For `program_error` it is the default, which the pool may change
/// with `error_status`.
pub(super) fn status_of(code: Code) -> u16 {
    match code {
        Code::BadRequest | Code::BadParameter | Code::Unsendable => 400,
        Code::Unauthorized => 401,
        Code::Forbidden | Code::ForbiddenOrigin => 403,
        Code::NoRoute | Code::NoJob => 404,
        Code::MethodNotAllowed => 405,
        Code::RequestTimeout => 408,
        Code::NotEnded => 409,
        Code::JobCanceled => 410,
        Code::BodyTooLarge | Code::TooManyItems => 413,
        Code::UriTooLong => 414,
        Code::UnsupportedMediaType => 415,
        Code::ProgramError | Code::Poisonous | Code::KeyReused => 422,
        Code::RateLimited | Code::TooManyCalls => 429,
        Code::HeadersTooLarge => 431,
        // What nginx logs where the caller gave its request up.
        Code::Cancelled => 499,
        Code::Internal => 500,
        Code::WorkerLost | Code::BadAnswer => 502,
        Code::QueueFull
        | Code::QueueTimeout
        | Code::NoWorker
        | Code::Busy
        | Code::Draining
        | Code::JobsFull
        | Code::StoreFailed => 503,
        Code::Timeout => 504,
    }
}

fn detail_of(failure: &Failure) -> Cow<'_, str> {
    match failure {
        Failure::BadRequest { detail }
        | Failure::UnsupportedMediaType { detail }
        | Failure::ForbiddenOrigin { detail } => Cow::Borrowed(detail),
        Failure::BadParameter { detail, .. }
        | Failure::BadAnswer { detail }
        | Failure::QueueFull { detail, .. }
        | Failure::JobsFull { detail, .. } => Cow::Borrowed(detail),
        Failure::Unsendable { parameter, detail } => {
            let way = way_out(parameter, detail);
            format!("`{parameter}` holds {detail}, which cannot be sent to this program{way}")
                .into()
        }
        Failure::Unauthorized => {
            "this server wants a key, and the request has none that it knows; \
                                  send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
                .into()
        }
        Failure::Forbidden => "your key is not for this".into(),
        Failure::NoRoute => "nothing is served at this path".into(),
        Failure::MethodNotAllowed { allow } => format!("this path takes {allow}").into(),
        Failure::RequestTimeout => "the request did not arrive in time".into(),
        Failure::BodyTooLarge { limit } => {
            format!("the request is larger than the limit of {limit} bytes").into()
        }
        Failure::TooManyItems { most } => {
            format!("a batch may have {most} items; send the rest in another request").into()
        }
        Failure::RateLimited { rate, retry_after } => rate_limited(*rate, *retry_after).into(),
        Failure::TooManyCalls { most } => too_many_calls(*most).into(),
        Failure::UriTooLong => "the target of the request is too long".into(),
        Failure::HeadersTooLarge => {
            "the head of the request is too large or has too many fields".into()
        }
        Failure::ProgramError { message, .. } if message.is_empty() => {
            "the program cannot answer this question".into()
        }
        Failure::ProgramError { message, .. } => Cow::Borrowed(message),
        Failure::Cancelled => "the caller cancelled this call".into(),
        Failure::Poisonous => {
            "this question has ended several workers and is refused for a while".into()
        }
        Failure::Internal => "a fault of the server; its log has more under the request id".into(),
        Failure::WorkerLost { exit } => {
            format!("the program ended before it answered: {exit}").into()
        }
        Failure::ServerEnded
        | Failure::StoreFailed
        | Failure::NoJob
        | Failure::NotEnded
        | Failure::KeyReused
        | Failure::JobCanceled => of_job(failure).into(),
        Failure::BatchTimeout { after } => batch_timeout(*after).into(),
        Failure::QueueTimeout { waited, .. } => {
            format!("no worker was free within {}", shown(*waited)).into()
        }
        Failure::NoWorker { why, .. } => format!("no worker is ready, {why}").into(),
        Failure::Busy => {
            "the server has no memory for this request or its answer at the moment".into()
        }
        Failure::Draining => "the server is stopping".into(),
        Failure::Timeout { after, conduct } => {
            let how = conduct.map(|conduct| format!(": {}", conduct.told())).unwrap_or_default();
            format!("the program did not answer within {}{how}", shown(*after)).into()
        }
    }
}

/// Says how many calls the caller may have.
fn too_many_calls(most: u32) -> String {
    let calls = if most == 1 { "1 call".to_owned() } else { format!("{most} calls") };
    format!("you may have {calls} at once; wait for an answer first")
}

/// Says that a batch has no more time.
fn batch_timeout(after: Duration) -> String {
    let after = shown(after);
    format!(
        "the `X-Timeout` of the batch passed after {after}; items without a line have no outcome"
    )
}

/// Says what became of a job, or why it cannot be told.
fn of_job(failure: &Failure) -> &'static str {
    match failure {
        Failure::ServerEnded => {
            "the server ended while the job ran, and does not begin it again; \
             how far the program came is not known"
        }
        Failure::NoJob => "there is no job of this name; it may have been removed",
        Failure::NotEnded => "the job has not ended yet",
        Failure::KeyReused => "this `Idempotency-Key` stands for another question",
        Failure::JobCanceled => "the job was canceled, so it has no answer",
        _ => "the file of the jobs cannot be read or written now",
    }
}

/// Says how often the caller may ask, and when again.
fn rate_limited(rate: Option<Rate>, retry_after: Duration) -> String {
    let wait = whole_seconds(retry_after);
    let why = rate.map_or_else(
        || "too many wrong keys came from your address".to_owned(),
        |rate| format!("you may send {} requests in {}", rate.count, shown(rate.period)),
    );
    format!("{why}; ask again in {wait} s")
}

/// Says how the operator can let a value of several lines through.
fn way_out(parameter: &str, detail: &str) -> String {
    if !matches!(detail, "a line feed" | "a carriage return") {
        return String::new();
    }
    let string = format!("`{{{parameter}:json}}` in the route's `send` writes it as a JSON string");
    match parameter {
        "body" => format!("; {string}, and `{{body:line}}` puts a JSON document on one line"),
        _ if parameter.starts_with("header.") => String::new(),
        _ => format!("; {string}"),
    }
}

/// Shows a time in whole milliseconds; more digits would help nobody.
fn shown(time: Duration) -> String {
    show_duration(Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX)))
}

/// Returns a time in whole seconds, rounded up, and at least one.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_status_and_a_document_of_its_own() {
        for code in Code::ALL {
            let problem = ProblemDocument::of(&Failure::sample(code));
            let expected = if code == Code::ProgramError { 418 } else { status_of(code) };
            assert_eq!(problem.status, expected, "{code}");
            let body: serde_json::Value =
                serde_json::from_slice(&problem.body("id-1")).expect("JSON");
            assert_eq!(body["type"], "about:blank");
            assert_eq!(body["status"], expected);
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["request_id"], "id-1");
            assert!(!body["title"].as_str().expect("a title").is_empty());
            assert!(!body["detail"].as_str().expect("a detail").is_empty());
            assert_eq!(body.get("parameter").is_some(), problem.parameter.is_some());
        }
    }

    #[test]
    fn callers_that_may_come_back_are_told_when() {
        for code in Code::ALL {
            let problem = ProblemDocument::of(&Failure::sample(code));
            let waits = matches!(problem.status, 429 | 503);
            assert_eq!(problem.retry_after.is_some(), waits, "{code}");
        }
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([seconds(0), seconds(1), seconds(1000), seconds(1001)], [1, 1, 1, 2]);
    }

    #[test]
    fn a_fault_of_ours_says_nothing_about_itself() {
        let text =
            String::from_utf8(ProblemDocument::of(&Failure::Internal).body("id-1")).expect("UTF-8");
        assert_eq!(
            text,
            concat!(
                r#"{"type":"about:blank","title":"Internal Server Error","status":500,"#,
                r#""detail":"a fault of the server; its log has more under the request id","#,
                r#""code":"internal","request_id":"id-1"}"#
            )
        );
    }

    #[test]
    fn a_detail_is_escaped_and_names_its_parameter() {
        let failure =
            Failure::BadParameter { parameter: "num".into(), detail: "say \"10\"\n".into() };
        let text = String::from_utf8(ProblemDocument::of(&failure).body("i")).expect("UTF-8");
        assert!(text.contains(r#""detail":"say \"10\"\n""#), "{text}");
        assert!(text.ends_with(r#""parameter":"num"}"#), "{text}");
    }
}
