//! Answers as they go from host to owner.
//!
//! Pure. What an owner reads of a host is checked again: a host is another server, and what it sends
//! may not have been written by the program.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::few::Few;
use super::host::{EndSize, GuestEnd};
use super::message::Out;
use crate::base::{Failure, Reply, ReplyForm, Timing};
use crate::wire::checked_reply;

/// Ends a text that was cut.
const MORE: &str = "…";

/// How a call ended at its host.
#[derive(Clone, Debug)]
pub struct HostTold(pub Rc<ToldAnswer>);

/// How a call ended, as it is sent.
#[derive(Debug)]
pub struct ToldAnswer {
    /// How it ended.
    pub out: Out,
    /// The reply.
    pub body: Bytes,
    /// How long it waited at the host, in microseconds.
    pub queue_us: u64,
    /// How long its worker took, in microseconds.
    pub work_us: u64,
    /// Its question can be the only reason why its worker was lost.
    pub blamed: bool,
}

impl ToldAnswer {
    /// An end with the times of its call.
    pub fn of(out: Out, body: Bytes, timing: Timing, blamed: bool) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (queue_us, work_us) = (micros(timing.queue), micros(timing.work));
        Self { out, body, queue_us, work_us, blamed }
    }

    /// Returns it as it is kept, and how much memory that takes.
    pub fn kept(self) -> (GuestEnd<HostTold>, EndSize) {
        let rest = match &self.out {
            Out::Http { headers, .. } => {
                headers.0.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
            }
            Out::Failed(failure) => serde_json::to_vec(failure).map_or(0, |text| text.len()),
            Out::Plain | Out::Json | Out::Parts => 0,
        };
        let size = EndSize { body: self.body.len(), rest };
        (GuestEnd::Answer(HostTold(Rc::new(self))), size)
    }
}

/// Returns how a result is sent, with its body.
pub fn out_of(result: Result<Reply, Failure>) -> (Out, Bytes) {
    let reply = match result {
        Ok(reply) => reply,
        Err(failure) => return (Out::Failed(failure), Bytes::new()),
    };
    let out = match reply.form {
        ReplyForm::Plain => Out::Plain,
        ReplyForm::Json => Out::Json,
        ReplyForm::Http { status, headers } => Out::Http { status, headers: Few(headers) },
        ReplyForm::Parts(..) => Out::Failed(Failure::Internal),
    };
    (out, reply.body)
}

/// Returns this end with the text of the program's failure cut by so many bytes; `None`: it has none.
pub fn shortened(out: &Out, by: usize) -> Option<Out> {
    let Out::Failed(Failure::ProgramError { status, message }) = out else { return None };
    let mut end = message.len().saturating_sub(by.saturating_add(MORE.len()));
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = format!("{}{MORE}", &message[..end]).into();
    Some(Out::Failed(Failure::ProgramError { status: *status, message }))
}

/// Returns the result that a host has sent.
pub fn result_of(out: Out, body: Bytes) -> Result<Reply, Failure> {
    let form = match out {
        Out::Plain => ReplyForm::Plain,
        Out::Json => ReplyForm::Json,
        Out::Http { status, headers } => ReplyForm::Http { status, headers: headers.0 },
        Out::Parts => return Err(bad("its answer has no parts")),
        Out::Failed(failure) => return Err(checked(failure)),
    };
    checked_reply(Reply { body, form }).map_err(|why| bad(&why))
}

fn bad(why: &str) -> Failure {
    Failure::BadAnswer {
        detail: format!("another host sent what no program may answer: {why}").into(),
    }
}

/// Lets those failures through that a worker can bring about.
fn checked(failure: Failure) -> Failure {
    match failure {
        Failure::ProgramError { status: 400..=599, .. }
        | Failure::BadAnswer { .. }
        | Failure::WorkerLost { .. }
        | Failure::Timeout { .. }
        | Failure::Unsendable { .. }
        | Failure::BodyTooLarge { .. }
        | Failure::BadRequest { .. }
        | Failure::Draining
        | Failure::Cancelled => failure,
        _ => Failure::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_cross_as_they_are() {
        let headers = vec![("x-a".to_owned(), "b".to_owned())];
        for form in [ReplyForm::Plain, ReplyForm::Json, ReplyForm::Http { status: 201, headers }] {
            let reply = Reply { body: Bytes::from_static(b"1"), form };
            let (out, body) = out_of(Ok(reply.clone()));
            assert_eq!(result_of(out, body), Ok(reply));
        }
        let failure = Failure::ProgramError { status: 418, message: "x".into() };
        let (out, body) = out_of(Err(failure.clone()));
        assert_eq!(result_of(out, body), Err(failure));
    }

    #[test]
    fn the_text_of_a_failure_is_cut_to_what_fits() {
        let out = |message: &str| {
            Out::Failed(Failure::ProgramError { status: 422, message: message.into() })
        };
        assert_eq!(shortened(&out("0123456789"), 2), Some(out("01234…")));
        assert_eq!(shortened(&out("0123éé6789"), 4), Some(out("0123…")), "no part of a letter");
        assert_eq!(shortened(&out("0123"), 9), Some(out("…")));
        assert_eq!(shortened(&Out::Plain, 1), None);
    }

    #[test]
    fn no_host_forges_a_response() {
        let body = Bytes::from_static(b"1");
        let http = |status, name: &str, value: &str| Out::Http {
            status,
            headers: Few(vec![(name.to_owned(), value.to_owned())]),
        };
        for out in [
            http(99, "a", "b"),
            http(200, "content-length", "3"),
            http(200, "a\r\nb", "c"),
            http(200, "a", "b\r\nset-cookie: c"),
            http(204, "a", "b"),
            Out::Parts,
        ] {
            let result = result_of(out.clone(), body.clone());
            assert!(matches!(result, Err(Failure::BadAnswer { .. })), "{out:?}");
        }
        for failure in [
            Failure::ProgramError { status: 200, message: "x".into() },
            Failure::Unauthorized,
            Failure::QueueFull { detail: "x".into(), retry_after: Duration::ZERO },
        ] {
            assert_eq!(result_of(Out::Failed(failure), Bytes::new()), Err(Failure::Internal));
        }
    }
}
