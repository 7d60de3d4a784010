//! `reply = "http"`: an answer that chooses status, headers and body of the response.
//!
//! Pure: the program decides what the response says, not how it is framed. Nothing it writes can
//! change the connection or smuggle in a header or a second response.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::base::reply_header::check_headers;
use crate::base::{Reply, ReplyForm};

#[derive(Deserialize)]
struct HttpAnswer<'a> {
    status: Option<u16>,
    #[serde(default)]
    headers: Headers,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body_base64: Option<Cow<'a, str>>,
}

#[derive(Default)]
struct Headers(Vec<(String, String)>);

/// The value of a header: one text, or a list for a header that is repeated.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderValues {
    One(String),
    Several(Vec<String>),
}

/// Reads and checks an answer. The error says what is wrong without repeating the answer.
pub(super) fn read(answer: &[u8]) -> Result<Reply, String> {
    let read: HttpAnswer<'_> = serde_json::from_slice(answer).map_err(|problem| {
        let (line, column) = (problem.line(), problem.column());
        format!(
            "the answer is not a JSON object with `status`, `headers` and `body` (line {line}, \
             column {column})"
        )
    })?;
    if read.status.is_none() && read.body.is_none() && read.body_base64.is_none() {
        return Err("the answer has neither `status` nor `body`".to_owned());
    }
    let status = read.status.unwrap_or(200);
    let body = match (read.body, read.body_base64) {
        (Some(_), Some(_)) => return Err("the answer has both `body` and `body_base64`".to_owned()),
        (Some(text), None) => Bytes::from(text.into_owned()),
        (None, Some(text)) => STANDARD
            .decode(text.as_bytes())
            .map_err(|_| "the answer's `body_base64` is not base64".to_owned())?
            .into(),
        (None, None) => Bytes::new(),
    };
    checked(Reply { body, form: ReplyForm::Http { status, headers: read.headers.0 } })
}

/// Checks a reply whose program chose status and headers. Others are as they are.
///
/// # Errors
///
/// What is wrong, without repeating the answer.
pub fn checked(reply: Reply) -> Result<Reply, String> {
    let Reply { body, form } = reply;
    let ReplyForm::Http { status, headers } = form else { return Ok(Reply { body, form }) };
    if !(200..=599).contains(&status) {
        return Err("the answer's `status` is not from 200 to 599".to_owned());
    }
    let headers = check_headers(headers)?;
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        return Err(format!("the answer has a body, which status {status} cannot have"));
    }
    Ok(Reply { body, form: ReplyForm::Http { status, headers } })
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some((name, values)) = map.next_entry::<String, HeaderValues>()? {
            match values {
                HeaderValues::One(value) => headers.push((name, value)),
                HeaderValues::Several(values) => {
                    headers.extend(values.into_iter().map(|value| (name.clone(), value)));
                }
            }
        }
        Ok(Headers(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::reply_header::{HEADER_BYTES_MAX, HEADERS_MAX};

    fn form(answer: &str) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let reply = read(answer.as_bytes()).expect("a good answer");
        let ReplyForm::Http { status, headers } = reply.form else { panic!("{:?}", reply.form) };
        (status, headers, reply.body.to_vec())
    }

    #[test]
    fn the_program_chooses_status_headers_and_body() {
        let answer =
            r#"{"status":201,"headers":{"X-A":"b","Set-Cookie":["a=1","b=2"]},"body":"é"}"#;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers =
            vec![header("x-a", "b"), header("set-cookie", "a=1"), header("set-cookie", "b=2")];
        assert_eq!(form(answer), (201, headers, "é".as_bytes().to_vec()));
    }

    #[test]
    fn a_status_or_a_body_is_enough() {
        assert_eq!(form(r#"{"status":204}"#), (204, Vec::new(), Vec::new()));
        assert_eq!(form(r#"{"body":""}"#), (200, Vec::new(), Vec::new()));
    }

    #[test]
    fn a_body_may_be_base64() {
        assert_eq!(form(r#"{"body_base64":"AP8="}"#).2, [0, 255]);
    }

    #[test]
    fn unknown_members_are_ignored_however_deep() {
        let deep = format!(r#"{{"x":{}{},"body":"b"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(form(&deep).2, b"b");
    }

    fn with_headers(headers: &str) -> Result<Reply, String> {
        read(format!(r#"{{"status":200,"headers":{headers}}}"#).as_bytes())
    }

    #[test]
    fn nothing_the_program_writes_frames_the_response() {
        let bad = [
            r#"{"X":"a\r\nSet-Cookie: b"}"#,
            r#"{"X":["a","a\nb"]}"#,
            r#"{"X":"\u0000"}"#,
            r#"{"X":"\u007f"}"#,
            r#"{"X: a\r\nY":"b"}"#,
            r#"{"X ":"b"}"#,
            r#"{"é":"b"}"#,
            r#"{"":"b"}"#,
            r#"{"Content-Length":"3"}"#,
            r#"{"TRANSFER-ENCODING":"chunked"}"#,
            r#"{"Connection":"close"}"#,
            r#"{"Httpipe-Failure":"timeout"}"#,
            r#"{"X":1}"#,
            r#"["X"]"#,
        ];
        for headers in bad {
            assert!(with_headers(headers).is_err(), "{headers}");
        }
        assert!(with_headers(r#"{"X":"a\tb é","Set-Cookie":"c"}"#).is_ok());
    }

    #[test]
    fn an_answer_that_makes_no_response_is_refused() {
        let bad = [
            r#"{"status":99}"#,
            r#"{"status":101}"#,
            r#"{"status":600}"#,
            r#"{"status":-200}"#,
            r#"{"status":"200"}"#,
            r#"{"status":200,"status":201}"#,
            r#"{"status":204,"body":"x"}"#,
            r#"{"body":"x","body_base64":"eA=="}"#,
            r#"{"body_base64":"=="}"#,
            r#"{"body":{}}"#,
            r#"{"body":"\ud800"}"#,
            r#"{"body":"x"}{}"#,
            r#"{"result":5}"#,
            "{}",
            "[]",
            "{",
            "",
        ];
        for answer in bad {
            assert!(read(answer.as_bytes()).is_err(), "{answer}");
        }
    }

    #[test]
    fn an_answer_with_too_many_headers_is_refused() {
        let headers = |count: usize| {
            let many: Vec<_> = (0..count).map(|n| format!(r#""x-{n}":"""#)).collect();
            with_headers(&format!("{{{}}}", many.join(",")))
        };
        assert!(headers(HEADERS_MAX).is_ok());
        let said = headers(HEADERS_MAX + 1).expect_err("too many");
        assert_eq!(said, "the answer has too many headers");
        let long = "x".repeat(HEADER_BYTES_MAX);
        assert!(with_headers(&format!(r#"{{"X":"{long}"}}"#)).is_err());
    }

    #[test]
    fn the_error_does_not_repeat_the_answer() {
        let said = read(br#"{"status":"secret"}"#).expect_err("not a number");
        assert!(!said.contains("secret"), "{said}");
    }
}
