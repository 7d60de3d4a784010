//! The `id` of a JSON object: sets ours in a question, finds it in an answer, and puts the
//! caller's own back, byte for byte.
//!
//! Pure. Works on the text, so nothing else in the message changes.

use bytes::Bytes;

use super::json::{self, Fault, Member};

/// What the caller's question had for an `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnId {
    /// None: the answer shall have none.
    Absent,
    /// This text, of whatever JSON type.
    Text(Bytes),
}

/// What matters of a worker's message.
pub(super) struct Message {
    /// It has a `method`: it is no answer.
    pub(super) has_method: bool,
    /// Its `id`.
    pub(super) id: Option<Member>,
}

/// The question with our `id`, and the one it had.
pub(super) fn replace(question: &Bytes, id: u64) -> Result<(Bytes, OwnId), &'static str> {
    let object = json::members(question, ["id"]).map_err(|fault| match fault {
        Fault::NotJson => "the question is not JSON",
        Fault::NotObject => "the question is not a JSON object",
        Fault::Twice => "the question has its `id` twice",
    })?;
    let mut number = itoa::Buffer::new();
    let number = number.format(id).as_bytes();
    match &object.members[0] {
        Some(member) => {
            let (before, value, after) = around(question, member);
            let text = [before, number, after].concat().into();
            Ok((text, OwnId::Text(question.slice_ref(value))))
        }
        None => {
            let (before, after) = question.split_at(object.open + 1);
            let comma: &[u8] = if object.is_empty { b"" } else { b"," };
            Ok(([before, b"\"id\":", number, comma, after].concat().into(), OwnId::Absent))
        }
    }
}

/// Reads a worker's message; the error says what is wrong, for the operator.
pub(super) fn read(message: &[u8]) -> Result<Message, &'static str> {
    let object = json::members(message, ["id", "method"]).map_err(|fault| match fault {
        Fault::NotJson => "its message is not JSON",
        Fault::NotObject => "its message is not a JSON object",
        Fault::Twice => "its message has its `id` or `method` twice",
    })?;
    let [id, method] = object.members;
    Ok(Message { has_method: method.is_some(), id })
}

/// The answer with the caller's `id` in place of ours.
pub(super) fn restore(answer: &Bytes, id: &Member, own: &OwnId) -> Bytes {
    match own {
        OwnId::Text(text) => {
            let (before, value, after) = around(answer, id);
            if value == text { answer.clone() } else { [before, text, after].concat().into() }
        }
        OwnId::Absent => {
            let whole = id.with_comma.clone();
            [&answer[..whole.start], &answer[whole.end..]].concat().into()
        }
    }
}

/// What a question of the worker is answered with; `id` is its text.
pub(super) fn method_not_found(id: &[u8]) -> Bytes {
    let after = br#","error":{"code":-32601,"message":"method not found"}}"#;
    [br#"{"jsonrpc":"2.0","id":"#, id, after].concat().into()
}

fn around<'a>(text: &'a [u8], member: &Member) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let (before, rest) = text.split_at(member.value.start);
    let (value, after) = rest.split_at(member.value.len());
    (before, value, after)
}
