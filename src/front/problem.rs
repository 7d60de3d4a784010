//! What a caller is told when a call, or the request for it, failed.
//!
//! Pure. The one table from [`Failure`] to status, header fields and words. The words are for
//! callers: nothing here tells of the inside of the server or of what a program wrote besides
//! its answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::base::Failure;
use crate::base::units::show_duration;

/// A failure as HTTP shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status code.
    pub status: u16,
    /// The stable code of the failure, also the value of `Httpipe-Failure`.
    pub code: &'static str,
    /// What happened, for the caller.
    pub detail: String,
    /// The parameter it was about.
    pub parameter: Option<Arc<str>>,
    /// `Retry-After` in whole seconds, at least 1.
    pub retry_after: Option<u64>,
    /// `Allow`.
    pub allow: Option<Arc<str>>,
}

/// The members of an RFC 9457 document.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl Problem {
    /// What the caller is told about a failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            status: status_of(failure),
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
                | Failure::NoWorker { retry_after, .. } => Some(whole_seconds(*retry_after)),
                Failure::Draining => Some(1),
                _ => None,
            },
            allow: match failure {
                Failure::MethodNotAllowed { allow } => Some(Arc::clone(allow)),
                _ => None,
            },
        }
    }

    /// The RFC 9457 document.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let title = StatusCode::from_u16(self.status).ok().and_then(|it| it.canonical_reason());
        let document = Document {
            r#type: "about:blank",
            title: title.unwrap_or("Program Error"),
            status: self.status,
            detail: &self.detail,
            code: self.code,
            request_id,
            parameter: self.parameter.as_deref(),
        };
        serde_json::to_vec(&document).expect("texts and numbers are always JSON")
    }
}

fn status_of(failure: &Failure) -> u16 {
    match failure {
        Failure::BadRequest { .. } | Failure::BadParameter { .. } | Failure::Unsendable { .. } => {
            400
        }
        Failure::NoRoute => 404,
        Failure::MethodNotAllowed { .. } => 405,
        Failure::RequestTimeout => 408,
        Failure::BodyTooLarge { .. } => 413,
        Failure::UriTooLong => 414,
        Failure::UnsupportedMediaType { .. } => 415,
        Failure::HeadersTooLarge => 431,
        Failure::ProgramError { status, .. } => *status,
        Failure::Poisonous => 422,
        Failure::Internal => 500,
        Failure::WorkerLost { .. } | Failure::BadAnswer { .. } => 502,
        Failure::QueueFull { .. }
        | Failure::QueueTimeout { .. }
        | Failure::NoWorker { .. }
        | Failure::Draining => 503,
        Failure::Timeout { .. } => 504,
    }
}

fn detail_of(failure: &Failure) -> Cow<'_, str> {
    match failure {
        Failure::BadRequest { detail } | Failure::UnsupportedMediaType { detail } => {
            Cow::Borrowed(detail)
        }
        Failure::BadParameter { detail, .. }
        | Failure::BadAnswer { detail }
        | Failure::QueueFull { detail, .. } => Cow::Borrowed(detail),
        Failure::Unsendable { parameter, detail } => {
            format!("`{parameter}` holds {detail}, which this program cannot be sent").into()
        }
        Failure::NoRoute => "nothing is served at this path".into(),
        Failure::MethodNotAllowed { allow } => format!("this path takes {allow}").into(),
        Failure::RequestTimeout => "the body of the request did not arrive in time".into(),
        Failure::BodyTooLarge { limit } => {
            format!("the request is larger than the {limit} bytes that are taken").into()
        }
        Failure::UriTooLong => "the target of the request is longer than is read".into(),
        Failure::HeadersTooLarge => "the header of the request is larger than is read".into(),
        Failure::ProgramError { message, .. } if message.is_empty() => {
            "the program cannot answer this question".into()
        }
        Failure::ProgramError { message, .. } => Cow::Borrowed(message),
        Failure::Poisonous => {
            "this question has ended several workers and is refused for a while".into()
        }
        Failure::Internal => "a fault of the server; its log has more under the request id".into(),
        Failure::WorkerLost { exit } => {
            format!("the program ended before it answered: {exit}").into()
        }
        Failure::QueueTimeout { waited, .. } => {
            format!("no worker was free within {}", shown(*waited)).into()
        }
        Failure::NoWorker { why, .. } => format!("no worker is ready, {why}").into(),
        Failure::Draining => "the server is stopping".into(),
        Failure::Timeout { after } => {
            format!("the program did not answer within {}", shown(*after)).into()
        }
    }
}

/// In whole milliseconds: nobody is helped by more.
fn shown(time: Duration) -> String {
    show_duration(Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX)))
}

fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_failure() -> Vec<(Failure, u16)> {
        let retry_after = Duration::from_millis(2100);
        let waited = Duration::from_secs(5);
        vec![
            (Failure::BadRequest { detail: "x".into() }, 400),
            (Failure::BadParameter { parameter: "n".into(), detail: "x".into() }, 400),
            (Failure::Unsendable { parameter: "n".into(), detail: "a NUL byte".into() }, 400),
            (Failure::NoRoute, 404),
            (Failure::MethodNotAllowed { allow: "GET".into() }, 405),
            (Failure::RequestTimeout, 408),
            (Failure::BodyTooLarge { limit: 16 }, 413),
            (Failure::UriTooLong, 414),
            (Failure::UnsupportedMediaType { detail: "x".into() }, 415),
            (Failure::HeadersTooLarge, 431),
            (Failure::ProgramError { status: 418, message: "x".into() }, 418),
            (Failure::Poisonous, 422),
            (Failure::Internal, 500),
            (Failure::WorkerLost { exit: "exit code 1".into() }, 502),
            (Failure::BadAnswer { detail: "x".into() }, 502),
            (Failure::QueueFull { detail: "x".into(), retry_after }, 503),
            (Failure::QueueTimeout { waited, retry_after }, 503),
            (Failure::NoWorker { why: "x".into(), retry_after }, 503),
            (Failure::Draining, 503),
            (Failure::Timeout { after: waited }, 504),
        ]
    }

    #[test]
    fn every_failure_has_its_status_and_a_document_of_its_own() {
        for (failure, status) in every_failure() {
            let problem = Problem::of(&failure);
            assert_eq!(problem.status, status, "{failure:?}");
            let body: serde_json::Value =
                serde_json::from_slice(&problem.body("id-1")).expect("JSON");
            assert_eq!(body["type"], "about:blank");
            assert_eq!(body["status"], status);
            assert_eq!(body["code"], failure.code());
            assert_eq!(body["request_id"], "id-1");
            assert!(!body["title"].as_str().expect("a title").is_empty());
            assert!(!body["detail"].as_str().expect("a detail").is_empty());
            assert_eq!(body.get("parameter").is_some(), problem.parameter.is_some());
        }
    }

    #[test]
    fn whoever_may_come_back_is_told_when() {
        for (failure, status) in every_failure() {
            assert_eq!(Problem::of(&failure).retry_after.is_some(), status == 503, "{failure:?}");
        }
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([seconds(0), seconds(1), seconds(1000), seconds(1001)], [1, 1, 1, 2]);
    }

    #[test]
    fn a_fault_of_ours_says_nothing_about_itself() {
        let text = String::from_utf8(Problem::of(&Failure::Internal).body("id-1")).expect("UTF-8");
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
        let text = String::from_utf8(Problem::of(&failure).body("i")).expect("UTF-8");
        assert!(text.contains(r#""detail":"say \"10\"\n""#), "{text}");
        assert!(text.ends_with(r#""parameter":"num"}"#), "{text}");
    }
}
