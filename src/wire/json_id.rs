//! The `id` of a JSON object: sets ours in a question, finds it in the answer, and puts the
//! caller's own back, byte for byte.
//!
//! Pure: edits the text itself, so nothing else in the message changes.

use bytes::Bytes;

use crate::base::json::{self, Fault, Member};

/// The `id` of the caller's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnId {
    /// There was none, so the answer gets none.
    Absent,
    /// This text, of any JSON type.
    Text(Bytes),
}

/// The members of a worker's message that matter.
pub(super) struct WorkerMessage {
    /// The message has a `method`, so it is not an answer.
    pub(super) has_method: bool,
    pub(super) id: Option<Member>,
}

/// Returns the question with our `id`, and the `id` it had.
pub(super) fn replace(question: &Bytes, id: u64) -> Result<(Bytes, OwnId), &'static str> {
    let object = json::members(question, ["id"]).map_err(|fault| match fault {
        Fault::NotJson => "the question is not JSON",
        Fault::NotObject => "the question is not a JSON object",
        Fault::Twice => "the question has its `id` twice",
    })?;
    let mut number = itoa::Buffer::new();
    let number = number.format(id).as_bytes();
    let Some(member) = &object.members[0] else {
        let (before, after) = question.split_at(object.open + 1);
        let comma: &[u8] = if object.is_empty { b"" } else { b"," };
        let text = [before, b"\"id\":", number, comma, after].concat();
        return Ok((text.into(), OwnId::Absent));
    };
    let (before, value, after) = around(question, member);
    Ok(([before, number, after].concat().into(), OwnId::Text(question.slice_ref(value))))
}

/// Reads a message of a worker. The error tells the operator what is wrong.
pub(super) fn read(message: &[u8]) -> Result<WorkerMessage, &'static str> {
    let object = json::members(message, ["id", "method"]).map_err(|fault| match fault {
        Fault::NotJson => "its message is not JSON",
        Fault::NotObject => "its message is not a JSON object",
        Fault::Twice => "its message has its `id` or `method` twice",
    })?;
    let [id, method] = object.members;
    Ok(WorkerMessage { has_method: method.is_some(), id })
}

/// Returns the answer with the caller's `id` in place of ours.
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

/// Returns the answer to a question of the worker's own; `id` is the text of its `id`.
pub(super) fn method_not_found(id: &[u8]) -> Bytes {
    let after = br#","error":{"code":-32601,"message":"method not found"}}"#;
    [br#"{"jsonrpc":"2.0","id":"#, id, after].concat().into()
}

/// Returns the text before a member's value, the value, and the text after it.
fn around<'a>(text: &'a [u8], member: &Member) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let (before, rest) = text.split_at(member.value.start);
    let (value, after) = rest.split_at(member.value.len());
    (before, value, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(question: &str) -> (String, OwnId) {
        let question = Bytes::copy_from_slice(question.as_bytes());
        let (text, own) = replace(&question, 17).expect("an object");
        (String::from_utf8(text.to_vec()).expect("text"), own)
    }

    fn there_and_back(question: &str) -> String {
        let (text, own) = replaced(question);
        let text = Bytes::from(text);
        let id = read(&text).expect("an object").id.expect("we set it");
        assert_eq!(&text[id.value.clone()], b"17");
        String::from_utf8(restore(&text, &id, &own).to_vec()).expect("text")
    }

    #[test]
    fn our_id_takes_the_place_of_the_callers() {
        let (text, own) = replaced(r#"{"a":1, "id" : "x y" ,"b":2}"#);
        assert_eq!(text, r#"{"a":1, "id" : 17 ,"b":2}"#);
        assert_eq!(own, OwnId::Text(Bytes::from_static(b"\"x y\"")));
    }

    #[test]
    fn our_id_is_put_into_a_question_without_one() {
        assert_eq!(replaced(r#" {"a":1}"#).0, r#" {"id":17,"a":1}"#);
        assert_eq!(replaced("{ }").0, r#"{"id":17 }"#);
    }

    #[test]
    fn the_callers_id_comes_back_byte_for_byte() {
        let ids = ["null", "1e3", "\"1\"", "1", "17", "\"\\u00e9\"", "[1, 2]", "-0", "{\"id\":1}"];
        for id in ids {
            for question in [
                format!(r#"{{"id":{id}}}"#),
                format!(r#"{{ "id" : {id} , "a":{{"id":5}}}}"#),
                format!(r#"{{"a":[{{"id":5}}],"id":{id} }}"#),
            ] {
                assert_eq!(there_and_back(&question), question);
            }
        }
    }

    #[test]
    fn a_caller_without_an_id_gets_none() {
        for question in ["{}", "{ }", r#"{"a":1}"#, r#"{ "a" : {"id":1}, "b":2 }"#] {
            assert_eq!(there_and_back(question), question);
        }
    }

    #[test]
    fn the_id_is_taken_out_wherever_the_program_put_it() {
        for (answer, without) in [
            (r#"{"r":1,"id":17}"#, r#"{"r":1}"#),
            (r#"{"r":1 , "id" : 17 , "s":2}"#, r#"{"r":1  , "s":2}"#),
            (r#"{"id":17}"#, "{}"),
            (r#"{"id":17,"r":1}"#, r#"{"r":1}"#),
        ] {
            let answer = Bytes::from_static(answer.as_bytes());
            let id = read(&answer).expect("an object").id.expect("an id");
            assert_eq!(restore(&answer, &id, &OwnId::Absent), without);
        }
    }

    #[test]
    fn a_question_that_cannot_hold_an_id_is_refused() {
        for question in
            ["[]", r#"[{"id":1}]"#, "1", "", "{", r#"{"id":1,"id":2}"#, "{\"a\":\"\n\"}"]
        {
            assert!(replace(&Bytes::from_static(question.as_bytes()), 1).is_err(), "{question}");
        }
    }

    #[test]
    fn a_worker_that_asks_is_told_that_there_is_no_such_method() {
        let reply = method_not_found(b"\"a\"");
        let expected = serde_json::json!({
            "jsonrpc": "2.0", "id": "a", "error": {"code": -32601, "message": "method not found"},
        });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&reply).expect("JSON"), expected);
    }
}
