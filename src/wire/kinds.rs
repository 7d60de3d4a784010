//! Answers whose first byte says what they are, as the worker loop for Python writes them.
//!
//! Pure. `=` is followed by a JSON value, `+` by one part of an answer in parts, `.` by nothing: it
//! ends the parts, or a call that was cancelled. `b` is followed by a media type, a line feed and raw bytes; `!` by a JSON object
//! with the `status` and the `message` of a failure, and perhaps `why` and `where` for developers;
//! `?` by the name of a parameter, a line feed and what is wrong with it.
//!
//! The tag before the answer proves which call it is for. So an answer that cannot be read fails
//! that call and no other. JSON is passed on unread: the loop makes it, and no program writes here.

use bytes::Bytes;
use serde::Deserialize;

use super::verdict::Verdict;
use crate::base::{Failure, Reply, ReplyForm};

/// The status of a failure whose program chose none.
const FAILED: u16 = 500;

/// What follows `!`.
#[derive(Deserialize)]
struct FailedCall {
    #[serde(default = "failed")]
    status: u16,
    message: String,
    /// What the exception says; for developers.
    #[serde(default)]
    why: String,
    /// The line that raised it; for developers.
    #[serde(default, rename = "where")]
    place: String,
}

fn failed() -> u16 {
    FAILED
}

/// Returns true if this message is one part of an answer.
pub(super) fn is_part(message: &[u8]) -> bool {
    message.first() == Some(&b'+')
}

/// Returns true if this message says that the part before was the last.
pub(super) fn is_end(message: &[u8]) -> bool {
    message == b"."
}

/// Returns true if this is the whole answer of a call that went well.
pub(super) fn is_good(message: &[u8]) -> bool {
    matches!(message.first(), Some(b'=' | b'b'))
}

/// Judges a whole answer or one part. `in_full`: the caller may read what only developers need.
pub(super) fn judge(answer: &Bytes, in_full: bool) -> Verdict {
    let Some(kind) = answer.first() else { return unfit("the answer is empty") };
    let rest = answer.slice(1..);
    match kind {
        b'=' | b'+' => Verdict::Good(Reply { body: rest, form: ReplyForm::Json }),
        b'b' => raw(&rest),
        b'!' => program_error(&rest, in_full),
        b'?' => bad_parameter(&rest),
        b'.' if rest.is_empty() => Verdict::Cancelled,
        _ => unfit("the first byte of the answer is no kind of answer"),
    }
}

/// Judges the media type and the bytes after `b`. Without a media type the route decides.
fn raw(rest: &Bytes) -> Verdict {
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return unfit("the answer has no line with its media type");
    };
    let body = rest.slice(end + 1..);
    let kind = rest[..end].trim_ascii();
    if kind.is_empty() {
        return Verdict::Good(Reply { body, form: ReplyForm::Plain });
    }
    let is_printable = kind.iter().all(|byte| (b' '..=b'~').contains(byte));
    match str::from_utf8(kind) {
        Ok(kind) if is_printable && kind.contains('/') => {
            let headers = vec![("content-type".to_owned(), kind.to_owned())];
            Verdict::Good(Reply { body, form: ReplyForm::Http { status: 200, headers } })
        }
        _ => unfit("the answer has no media type in its first line"),
    }
}

fn program_error(rest: &[u8], in_full: bool) -> Verdict {
    let Ok(FailedCall { status, mut message, why, place }) = serde_json::from_slice(rest) else {
        return unfit("the answer is a failure that cannot be read");
    };
    if !(400..=599).contains(&status) {
        return unfit("the answer is a failure whose status is not from 400 to 599");
    }
    if in_full && !why.is_empty() {
        message = format!("{message}: {why}");
    }
    if in_full && !place.is_empty() {
        message = format!("{message} ({place})");
    }
    Verdict::ProgramError(Failure::ProgramError { status, message: message.into() })
}

fn bad_parameter(rest: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(rest);
    let Some((name, why)) = text.split_once('\n') else {
        return unfit("the answer names a parameter and not what is wrong with it");
    };
    let failure = match name.trim() {
        "" => Failure::BadRequest { detail: why.trim().to_owned().into() },
        name => Failure::bad_argument(name, why.trim()),
    };
    Verdict::ProgramError(failure)
}

fn unfit(detail: &str) -> Verdict {
    Verdict::Unfit { detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &'static [u8]) -> Verdict {
        judge(&Bytes::from_static(answer), false)
    }

    fn good(answer: &'static [u8]) -> Reply {
        match judged(answer) {
            Verdict::Good(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn refused(answer: &'static [u8]) -> Failure {
        match judged(answer) {
            Verdict::ProgramError(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_byte_says_what_an_answer_is() {
        assert_eq!(good(b"=55"), Reply { body: "55".into(), form: ReplyForm::Json });
        assert_eq!(good(b"+[1]").body, "[1]");
        assert_eq!(good(b"b\n\0\n\xff").body, &b"\0\n\xff"[..]);
        assert_eq!(good(b"b\n").form, ReplyForm::Plain);
        let headers = vec![("content-type".to_owned(), "image/png".to_owned())];
        assert_eq!(good(b"bimage/png\nx").form, ReplyForm::Http { status: 200, headers });
        let failure = Failure::ProgramError { status: 404, message: "none".into() };
        assert_eq!(refused(br#"!{"status":404,"message":"none"}"#), failure);
    }

    #[test]
    fn a_call_that_was_cancelled_ends_without_a_result() {
        assert_eq!(judged(b"."), Verdict::Cancelled);
    }

    #[test]
    fn a_parameter_is_named_with_the_place_inside_of_it() {
        for (answer, name, told) in [
            (&b"?n\nmust be a whole number"[..], "n", "`n` must be a whole number"),
            (b"?p\n.x must be a number", "p", "`p.x` must be a number"),
            (b"?p\n[2].y is missing", "p", "`p[2].y` is missing"),
            (b"? n\nis missing", "n", "`n` is missing"),
        ] {
            let expected = Failure::BadParameter { parameter: name.into(), detail: told.into() };
            assert_eq!(refused(answer), expected);
        }
    }

    #[test]
    fn only_a_developer_reads_the_details_of_a_failure() {
        let answer =
            Bytes::from_static(br#"!{"message":"f failed: E","why":"x","where":"a.py:3"}"#);
        let told = |in_full| match judge(&answer, in_full) {
            Verdict::ProgramError(Failure::ProgramError { status: 500, message }) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!((&*told(false), &*told(true)), ("f failed: E", "f failed: E: x (a.py:3)"));
    }

    #[test]
    fn what_is_no_answer_fails_its_call() {
        for answer in [
            &b""[..],
            b"x",
            b"..",
            b".x",
            b"bimage/png",
            b"bno type\nx",
            b"ba/b\x07\nx",
            b"!",
            b"!{\"status\":404",
            b"!{\"status\":404}",
            b"!{\"status\":200,\"message\":\"x\"}",
            b"!{\"status\":-1,\"message\":\"x\"}",
            b"?n",
        ] {
            assert!(matches!(judged(answer), Verdict::Unfit { .. }), "{}", answer.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(answer: Vec<u8>) {
            let answer = Bytes::from(answer);
            proptest::prop_assert!(!(is_part(&answer) && is_end(&answer)));
            let doubts = matches!(judge(&answer, true), Verdict::Doubtful { .. });
            proptest::prop_assert!(!doubts);
        }
    }
}
