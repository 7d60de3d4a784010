//! The body of an answer that comes in parts: each goes out as it comes, in the form that the
//! caller asked for.
//!
//! Pure: no clock and no runtime.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http::header::ACCEPT;

use super::json_rpc;
use super::problem::ProblemDocument;
use crate::base::{Failure, PartForm, Parts};

/// How parts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As they came.
    Raw,
    /// Each followed by a line feed.
    Text,
    /// A JSON document a line.
    JsonLines,
    /// `text/event-stream`.
    Events,
}

/// The rest of an answer that comes in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsBody {
    parts: Parts,
    style: Style,
    request_id: Box<str>,
    /// The caller's id of the call, if the parts are messages of JSON-RPC.
    rpc_id: Option<Bytes>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flowing,
    /// The event with the failure was handed out. The connection writes it and is then broken.
    Told,
    /// It broke off.
    Over,
    /// The event that tells of the good end is out.
    Done,
}

/// The answer broke off. The connection must be broken too, or the caller would take the parts so
/// far for the whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the answer broke off")
    }
}

impl std::error::Error for BrokenOff {}

impl Style {
    /// Returns the style that the caller asked for, if parts of this form can have it.
    pub fn of(form: &PartForm, request: &HeaderMap) -> Self {
        match form {
            _ if wants_events(request) => Self::Events,
            PartForm::Messages(_) => Self::Events,
            PartForm::Json => Self::JsonLines,
            PartForm::Plain => Self::Text,
            PartForm::Raw => Self::Raw,
        }
    }

    fn write(self, part: &Bytes) -> Bytes {
        let mut text = BytesMut::with_capacity(part.len() + 16);
        match self {
            Self::Raw => return part.clone(),
            Self::Text => {
                text.put_slice(part);
                text.put_u8(b'\n');
            }
            Self::JsonLines => {
                // Line ends can only stand between the tokens of a JSON text.
                text.extend(part.iter().map(|byte| match byte {
                    b'\n' | b'\r' => b' ',
                    other => *other,
                }));
                text.put_u8(b'\n');
            }
            Self::Events => {
                data_lines(part, &mut text);
                text.put_u8(b'\n');
            }
        }
        text.freeze()
    }
}

impl PartsBody {
    /// The body of these parts.
    pub fn new(parts: Parts, form: &PartForm, style: Style, request_id: &str) -> Self {
        let rpc_id = match form {
            PartForm::Messages(id) => Some(id.clone()),
            PartForm::Plain | PartForm::Raw | PartForm::Json => None,
        };
        Self { parts, style, request_id: request_id.into(), rpc_id, stage: Stage::Flowing }
    }

    /// Returns the next bytes of the body.
    ///
    /// # Errors
    ///
    /// The answer broke off.
    pub fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        match self.stage {
            Stage::Flowing => {}
            Stage::Told => {
                // What was handed out is written before this is asked again.
                self.stage = Stage::Over;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Stage::Over => return Poll::Ready(Some(Err(BrokenOff))),
            Stage::Done => return Poll::Ready(None),
        }
        if let Some(event) = self.remark() {
            return Poll::Ready(Some(Ok(event)));
        }
        let Poll::Ready(next) = self.parts.poll_next(context) else {
            // One that came in between woke nobody.
            return self.remark().map_or(Poll::Pending, |event| Poll::Ready(Some(Ok(event))));
        };
        match next {
            // The last message is the answer, which ends the call.
            None if self.rpc_id.is_some() => Poll::Ready(None),
            // A browser that is not told of the end asks again.
            None if self.style == Style::Events => {
                self.stage = Stage::Done;
                Poll::Ready(Some(Ok(event("done", b""))))
            }
            None => Poll::Ready(None),
            Some(Ok(part)) => Poll::Ready(Some(Ok(self.style.write(&part)))),
            Some(Err(failure)) if self.rpc_id.is_some() => {
                self.stage = Stage::Done;
                let answer = json_rpc::failed(self.rpc_id.as_ref(), &failure);
                Poll::Ready(Some(Ok(self.style.write(&answer))))
            }
            Some(Err(failure)) if self.style == Style::Events => {
                self.stage = Stage::Told;
                Poll::Ready(Some(Ok(self.told(&failure))))
            }
            Some(Err(_)) => {
                self.stage = Stage::Told;
                self.poll_next(context)
            }
        }
    }

    /// Returns the event of what the caller is told beside the parts.
    fn remark(&self) -> Option<Bytes> {
        let remark = self.parts.take_remark().filter(|_| self.style == Style::Events)?;
        Some(event("progress", &remark))
    }

    fn told(&self, failure: &Failure) -> Bytes {
        event("failure", &ProblemDocument::of(failure).body(&self.request_id))
    }
}

/// Writes an event with a name, which is no part of the answer.
fn event(name: &str, data: &[u8]) -> Bytes {
    let mut text = BytesMut::from(&*format!("event: {name}\n"));
    data_lines(data, &mut text);
    text.put_u8(b'\n');
    text.freeze()
}

/// Writes a part as the lines of one event, in which CR and CR LF end a line as LF does.
fn data_lines(part: &[u8], text: &mut BytesMut) {
    let mut rest = part;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest);
        text.put_slice(b"data: ");
        text.put_slice(&rest[..end.unwrap_or(rest.len())]);
        text.put_u8(b'\n');
        let Some(end) = end else { return };
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_pair)..];
    }
}

/// Returns true if the caller asks for `text/event-stream`.
pub fn wants_events(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        let refused = |part: &str| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.parse() == Ok(0.0))
        };
        is_it && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::HeaderValue;

    use super::*;
    use crate::base::answer_in_parts;

    fn shown(style: Style, part: &'static str) -> String {
        let written = style.write(&Bytes::from_static(part.as_bytes()));
        String::from_utf8(written.to_vec()).expect("text")
    }

    fn next(body: &mut PartsBody) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        Pin::new(body).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_part_is_one_line_or_one_event() {
        assert_eq!(shown(Style::Text, "a\nb"), "a\nb\n");
        assert_eq!(shown(Style::Text, ""), "\n");
        assert_eq!(shown(Style::JsonLines, "{\r\n \"a\": \"b\\n\"}\n"), "{   \"a\": \"b\\n\"} \n");
        assert_eq!(shown(Style::Events, "a"), "data: a\n\n");
        assert_eq!(shown(Style::Events, ""), "data: \n\n");
        assert_eq!(shown(Style::Events, "a\nb\r\nc\rd\n"), {
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        });
        assert_eq!(shown(Style::Events, "a\n\revent: b"), "data: a\ndata: \ndata: event: b\n\n");
    }

    #[test]
    fn events_are_for_those_who_ask_for_them() {
        let style = |form, accept: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT, HeaderValue::from_static(accept));
            Style::of(form, &request)
        };
        for accept in
            ["text/event-stream", "text/html, Text/Event-Stream;q=0.5", "*/*,text/event-stream"]
        {
            assert_eq!(style(&PartForm::Plain, accept), Style::Events, "{accept}");
        }
        for accept in ["*/*", "text/*", "text/event-streams", "text/event-stream;q=0", ""] {
            assert_eq!(style(&PartForm::Plain, accept), Style::Text, "{accept}");
            assert_eq!(style(&PartForm::Json, accept), Style::JsonLines, "{accept}");
        }
    }

    #[test]
    fn what_breaks_off_never_ends_well() {
        for style in [Style::Text, Style::JsonLines] {
            let (sender, parts) = answer_in_parts(100);
            let mut body = PartsBody::new(parts, &PartForm::Plain, style, "r");
            sender.push(Bytes::from_static(b"1"));
            sender.finish(Err(Failure::Draining));
            assert_eq!(next(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"1\n")))));
            assert!(next(&mut body).is_pending(), "first what there is goes out");
            for _ in 0..2 {
                assert_eq!(next(&mut body), Poll::Ready(Some(Err(BrokenOff))));
            }
        }
    }

    #[test]
    fn the_last_event_of_a_good_end_says_so() {
        let (sender, parts) = answer_in_parts(100);
        let mut body = PartsBody::new(parts, &PartForm::Plain, Style::Events, "r");
        sender.finish(Ok(()));
        let done = Bytes::from_static(b"event: done\ndata: \n\n");
        assert_eq!(next(&mut body), Poll::Ready(Some(Ok(done))));
        for _ in 0..2 {
            assert_eq!(next(&mut body), Poll::Ready(None));
        }
    }

    #[test]
    fn an_event_tells_why_before_the_stream_breaks() {
        let (sender, parts) = answer_in_parts(100);
        let mut body = PartsBody::new(parts, &PartForm::Plain, Style::Events, "r");
        sender.finish(Err(Failure::WorkerLost { exit: "exit code 1".into() }));
        let Poll::Ready(Some(Ok(event))) = next(&mut body) else { panic!("an event") };
        let event = String::from_utf8(event.to_vec()).expect("text");
        let data = event.strip_prefix("event: failure\ndata: ").expect("a failure");
        let problem: serde_json::Value = serde_json::from_str(data.trim_end()).expect("JSON");
        assert_eq!(
            (&problem["code"], &problem["request_id"]),
            (&"worker_lost".into(), &"r".into())
        );
        assert!(next(&mut body).is_pending());
        assert_eq!(next(&mut body), Poll::Ready(Some(Err(BrokenOff))));
    }
}
