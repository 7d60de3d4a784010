//! The line that tells what became of one item.
//!
//! Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize as _;
use serde_json::value::RawValue;

use super::super::problem::ProblemDocument;
use crate::base::{Failure, Reply, ReplyForm};

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemOutcome {
    /// The line, with its end.
    pub(super) line: Bytes,
    /// Its status is 400 or more.
    pub(super) has_failed: bool,
}

impl ItemOutcome {
    /// What became of the item at this place. `content_type` is that of answers that are passed on as
    /// they are.
    pub(super) fn of(
        index: u64,
        result: &Result<Reply, Failure>,
        content_type: &str,
        request_id: &str,
    ) -> Self {
        match result {
            Ok(reply) => Self::of_reply(index, reply, content_type),
            Err(failure) => {
                let problem = ProblemDocument::of(failure);
                let body = problem.body(request_id);
                Self { line: line(index, problem.status, "problem", &body), has_failed: true }
            }
        }
    }

    fn of_reply(index: u64, reply: &Reply, content_type: &str) -> Self {
        let (status, is_json) = match &reply.form {
            ReplyForm::Json => (200, true),
            ReplyForm::Plain | ReplyForm::Parts(..) => (200, is_json(content_type)),
            ReplyForm::Http { status, headers } => {
                let kind = headers.iter().find(|(name, _)| name == "content-type");
                (*status, kind.is_some_and(|(_, kind)| is_json(kind)))
            }
        };
        let body = &reply.body;
        let is_whole = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).is_ok();
        let is_checked = matches!(reply.form, ReplyForm::Json);
        let line = if is_json && (is_checked || is_whole(body)) {
            line(index, status, "body", body)
        } else if let Ok(text) = str::from_utf8(body) {
            line(index, status, "body", &json_string(text))
        } else {
            line(index, status, "body_base64", &json_string(&BASE64.encode(body)))
        };
        Self { line, has_failed: status >= 400 }
    }
}

/// The last line of a batch that ended before its time.
pub(super) fn last_line(failure: &Failure, request_id: &str) -> Bytes {
    let mut text = BytesMut::from(&b"{\"problem\":"[..]);
    text.put_slice(&ProblemDocument::of(failure).body(request_id));
    text.put_slice(b"}\n");
    text.freeze()
}

/// Writes a line whose last member is this JSON document.
fn line(index: u64, status: u16, name: &str, document: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(document.len() + 64);
    let mut digits = itoa::Buffer::new();
    text.put_slice(b"{\"index\":");
    text.put_slice(digits.format(index).as_bytes());
    text.put_slice(b",\"status\":");
    text.put_slice(digits.format(status).as_bytes());
    text.put_slice(b",\"");
    text.put_slice(name.as_bytes());
    text.put_slice(b"\":");
    // Line ends can only stand between the tokens of a JSON text.
    text.extend(document.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    }));
    text.put_slice(b"}\n");
    text.freeze()
}

fn json_string(text: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() + 2);
    let mut to = serde_json::Serializer::new(&mut written);
    text.serialize(&mut to).expect("a text is always JSON");
    written
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &'static [u8], form: ReplyForm, content_type: &str) -> String {
        let reply = Reply { body: Bytes::from_static(body), form };
        let outcome = ItemOutcome::of(7, &Ok(reply), content_type, "r");
        String::from_utf8(outcome.line.to_vec()).expect("text")
    }

    #[test]
    fn an_answer_stands_in_its_line_as_json() {
        let json = "{\"index\":7,\"status\":200,\"body\":{  \"a\": 1}}\n";
        assert_eq!(told(b"{\r\n\"a\": 1}", ReplyForm::Json, "text/plain"), json);
        assert_eq!(
            told(b"a\"\n", ReplyForm::Plain, "text/plain"),
            "{\"index\":7,\"status\":200,\"body\":\"a\\\"\\n\"}\n"
        );
        assert_eq!(
            told(b"[1]", ReplyForm::Plain, "application/json; charset=utf-8"),
            "{\"index\":7,\"status\":200,\"body\":[1]}\n"
        );
        assert_eq!(
            told(b"[1", ReplyForm::Plain, "application/json"),
            "{\"index\":7,\"status\":200,\"body\":\"[1\"}\n",
            "what is no JSON breaks no line"
        );
        assert_eq!(
            told(b"\xff", ReplyForm::Plain, "image/png"),
            "{\"index\":7,\"status\":200,\"body_base64\":\"/w==\"}\n"
        );
    }

    #[test]
    fn a_failure_is_a_problem_and_a_status_of_the_program_is_its_own() {
        let outcome = ItemOutcome::of(0, &Err(Failure::Poisonous), "text/plain", "r1");
        let value: serde_json::Value = serde_json::from_slice(&outcome.line).expect("JSON");
        assert_eq!(
            (&value["status"], &value["problem"]["code"]),
            (&422.into(), &"poisonous".into())
        );
        assert_eq!(value["problem"]["request_id"], "r1");
        assert!(outcome.has_failed);
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let form = ReplyForm::Http { status: 404, headers };
        let reply = Reply { body: Bytes::from_static(b"{}"), form };
        let outcome = ItemOutcome::of(1, &Ok(reply), "text/plain", "r");
        assert_eq!(&outcome.line[..], b"{\"index\":1,\"status\":404,\"body\":{}}\n");
        assert!(outcome.has_failed);
    }
}
