//! How an answer is written down for other servers, and read with suspicion.
//!
//! Pure. A value is `hp`, a version, a kind, the status and the header of `reply = "http"`, the question,
//! the body, and a checksum of all that. What is not exactly that is no answer.

use bytes::Bytes;

use crate::base::reply_header::{HEADERS_MAX, check_headers};
use crate::base::{Failure, Reply, ReplyForm};

/// The longest value, in bytes.
pub const VALUE_MAX: usize = 1 << 20;
/// The longest text that tells of a failure, in bytes.
const FAILURE_MAX: usize = 64 << 10;

const START: &[u8; 3] = b"hp\x01";
const CHECKSUM: usize = 8;

/// What servers tell each other of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedValue {
    /// Its answer.
    Reply(Reply),
    /// Its run has failed, and would fail on another server as well.
    Failure(Failure),
    /// Its answer is not shared: each server runs it for itself.
    Apart,
}

/// Why a value is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnusableValue {
    /// It is none of ours, or was changed.
    Damaged,
    /// It answers another question.
    OtherQuestion,
}

/// Writes it down. Returns `None` if it is too long to be shared, or is not for others at all.
pub fn write(question: &[u8], written: &SharedValue) -> Option<Vec<u8>> {
    let failure;
    let (kind, status, headers, body): (u8, u16, &[(String, String)], &[u8]) = match written {
        SharedValue::Apart => (4, 0, &[], b""),
        SharedValue::Failure(known) => {
            failure = of_question(known).and_then(|it| serde_json::to_vec(&it).ok())?;
            (3, 0, &[], &failure)
        }
        SharedValue::Reply(reply) => match &reply.form {
            ReplyForm::Plain => (0, 0, &[], &reply.body),
            ReplyForm::Json => (1, 0, &[], &reply.body),
            ReplyForm::Http { status, headers } => (2, *status, headers, &reply.body),
            ReplyForm::Parts(..) => return None,
        },
    };
    if question.len() + body.len() > VALUE_MAX || body.len() > most(kind) {
        return None;
    }
    let mut text = Vec::with_capacity(question.len() + body.len() + 64);
    text.extend_from_slice(START);
    text.push(kind);
    text.extend_from_slice(&status.to_le_bytes());
    text.extend_from_slice(&u16::try_from(headers.len()).ok()?.to_le_bytes());
    for part in headers.iter().flat_map(|(name, value)| [name, value]) {
        put(&mut text, part.as_bytes())?;
    }
    put(&mut text, question)?;
    put(&mut text, body)?;
    text.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&text).to_le_bytes());
    (text.len() <= VALUE_MAX).then_some(text)
}

/// Reads what another server wrote down of this question.
///
/// # Errors
///
/// It says nothing of this question, or is damaged.
pub fn read(question: &[u8], text: &[u8]) -> Result<SharedValue, UnusableValue> {
    let (rest, checksum) =
        text.split_at_checked(text.len().wrapping_sub(CHECKSUM)).unwrap_or_default();
    let is_whole =
        text.len() <= VALUE_MAX && checksum == xxhash_rust::xxh3::xxh3_64(rest).to_le_bytes();
    if !is_whole {
        return Err(UnusableValue::Damaged);
    }
    let mut rest = Unread(rest);
    let parts = rest.parts().ok_or(UnusableValue::Damaged)?;
    if parts.question != question {
        return Err(UnusableValue::OtherQuestion);
    }
    parts.written().ok_or(UnusableValue::Damaged)
}

/// What a value has in it, before its meaning is checked.
struct ValueParts<'a> {
    kind: u8,
    status: u16,
    headers: Vec<(String, String)>,
    question: &'a [u8],
    body: &'a [u8],
}

impl ValueParts<'_> {
    fn written(self) -> Option<SharedValue> {
        let Self { kind, status, headers, body, .. } = self;
        if body.len() > most(kind) || (kind != 2 && (status != 0 || !headers.is_empty())) {
            return None;
        }
        let reply = |form| SharedValue::Reply(Reply { body: Bytes::copy_from_slice(body), form });
        Some(match kind {
            0 => reply(ReplyForm::Plain),
            1 => reply(ReplyForm::Json),
            2 => {
                let has_body = !body.is_empty();
                let is_status = (200..=599).contains(&status)
                    && !(has_body && matches!(status, 204 | 205 | 304));
                let headers = check_headers(headers).ok().filter(|_| is_status)?;
                reply(ReplyForm::Http { status, headers })
            }
            3 => SharedValue::Failure(of_question(&serde_json::from_slice(body).ok()?)?),
            4 => SharedValue::Apart,
            _ => return None,
        })
    }
}

/// The longest body of a value of this kind.
fn most(kind: u8) -> usize {
    match kind {
        0..=2 => VALUE_MAX,
        3 => FAILURE_MAX,
        _ => 0,
    }
}

/// Returns a failure as other servers may know it; `None` if it is not the question's, so that it
/// tells nothing of what would become of it elsewhere.
fn of_question(failure: &Failure) -> Option<Failure> {
    match failure {
        Failure::ProgramError { status, .. } if !(400..=599).contains(status) => None,
        Failure::Timeout { after, .. } => Some(Failure::Timeout { after: *after, conduct: None }),
        Failure::ProgramError { .. }
        | Failure::WorkerLost { .. }
        | Failure::BadAnswer { .. }
        | Failure::Poisonous => Some(failure.clone()),
        _ => None,
    }
}

fn put(text: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    text.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
    text.extend_from_slice(part);
    Some(())
}

/// What is not read yet. Nothing is allocated for what is not there.
struct Unread<'a>(&'a [u8]);

impl<'a> Unread<'a> {
    fn parts(&mut self) -> Option<ValueParts<'a>> {
        if self.take(START.len())? != START {
            return None;
        }
        let kind = self.take(1)?[0];
        let status = self.short()?;
        let count = usize::from(self.short()?);
        if count > HEADERS_MAX {
            return None;
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((self.text()?, self.text()?));
        }
        let (question, body) = (self.part()?, self.part()?);
        self.0.is_empty().then_some(ValueParts { kind, status, headers, question, body })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.part()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::base::Code;

    fn reply(form: ReplyForm, body: &str) -> SharedValue {
        SharedValue::Reply(Reply { body: Bytes::copy_from_slice(body.as_bytes()), form })
    }

    fn http(status: u16, name: &str, value: &str) -> SharedValue {
        let headers = vec![(name.to_owned(), value.to_owned())];
        reply(ReplyForm::Http { status, headers }, "")
    }

    /// A value with its checksum made anew after a change.
    fn changed(value: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut text = value[..value.len() - CHECKSUM].to_vec();
        change(&mut text);
        let sum = xxhash_rust::xxh3::xxh3_64(&text);
        text.extend_from_slice(&sum.to_le_bytes());
        text
    }

    #[test]
    fn what_is_written_is_read_again() {
        let failure = Failure::Timeout { after: Duration::from_secs(3), conduct: None };
        for value in [
            reply(ReplyForm::Plain, "a"),
            reply(ReplyForm::Json, ""),
            http(201, "x-a", "b, c"),
            SharedValue::Failure(failure),
            SharedValue::Apart,
        ] {
            let text = write(b"q", &value).expect("it is short");
            assert_eq!(read(b"q", &text), Ok(value));
            assert_eq!(read(b"p", &text), Err(UnusableValue::OtherQuestion));
        }
    }

    #[test]
    fn only_failures_of_the_question_are_told() {
        for (failure, is_told) in [
            (Failure::Poisonous, true),
            (Failure::sample(Code::ProgramError), true),
            (Failure::sample(Code::WorkerLost), true),
            (Failure::sample(Code::BadAnswer), true),
            (Failure::sample(Code::QueueFull), false),
            (Failure::Draining, false),
            (Failure::Cancelled, false),
        ] {
            let text = write(b"q", &SharedValue::Failure(failure.clone()));
            assert_eq!(text.is_some(), is_told, "{failure:?}");
        }
    }

    #[test]
    fn a_value_has_at_most_a_mebibyte() {
        let text = "x".repeat(VALUE_MAX - 24 - 1);
        assert_eq!(
            write(b"q", &reply(ReplyForm::Plain, &text)).map(|it| it.len()),
            Some(VALUE_MAX)
        );
        assert_eq!(write(b"qq", &reply(ReplyForm::Plain, &text)), None);
    }

    #[test]
    fn a_value_of_another_version_or_of_another_hand_is_none() {
        let good = write(b"q", &http(200, "x-a", "b")).expect("it is short");
        assert!(read(b"q", &changed(&good, |_| {})).is_ok());
        let bad: [fn(&mut Vec<u8>); 8] = [
            |text| text[2] = 2,
            |text| text[3] = 9,
            |text| text[4..6].copy_from_slice(&99_u16.to_le_bytes()),
            |text| text[6..8].copy_from_slice(&u16::MAX.to_le_bytes()),
            |text| text[8..12].copy_from_slice(&u32::MAX.to_le_bytes()),
            |text| text[12] = b'\n',
            |text| text[19] = b'\r',
            |text| text.push(0),
        ];
        for (number, change) in bad.into_iter().enumerate() {
            let text = changed(&good, change);
            assert_eq!(read(b"q", &text), Err(UnusableValue::Damaged), "change {number}");
        }
        let framing = write(b"q", &http(200, "content-length", "5")).expect("it is short");
        assert_eq!(read(b"q", &framing), Err(UnusableValue::Damaged));
        let body = reply(ReplyForm::Http { status: 304, headers: Vec::new() }, "x");
        let body = write(b"q", &body).expect("it is short");
        assert_eq!(read(b"q", &body), Err(UnusableValue::Damaged));
    }

    proptest! {
        #[test]
        fn no_byte_can_change_without_notice(at in 0..60_usize, by in 1..=255_u8, cut in 0..60_usize) {
            let good = write(b"question", &reply(ReplyForm::Plain, "an answer of some length"));
            let good = good.expect("it is short");
            let mut text = good.clone();
            let at = at % text.len();
            text[at] ^= by;
            prop_assert!(read(b"question", &text).is_err());
            prop_assert!(read(b"question", &good[..cut.min(good.len() - 1)]).is_err());
        }

        #[test]
        fn whatever_was_written_is_read_without_harm(
            text in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let text = changed(&[&text[..], &[0; CHECKSUM]].concat(), |_| {});
            read(b"q", &text).ok();
            let text = changed(&[&START[..], &text].concat(), |_| {});
            read(b"q", &text).ok();
        }
    }
}
