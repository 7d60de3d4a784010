//! The id of a JSON object: finds ours in an answer, and puts the caller's own back, byte for byte.
//!
//! Pure: edits the text itself, so nothing else in the message changes. In JSON-RPC the id is the
//! member `id` both ways. Other protocols give it other names ([`IdNames`]), and tell answers from
//! events and questions by the member `type`.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::json::{self, Flaw, Member};
use crate::config::IdNames;

/// The id of the caller's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnId {
    /// There was none, so the answer gets none.
    Absent,
    /// This text, of any JSON type.
    Text(Bytes),
}

/// What a message of a worker is.
#[derive(Debug)]
pub(super) enum WorkerMessage {
    /// The answer to the question with this id.
    Answer(Member),
    /// It asks for nothing.
    Notification,
    /// A question of the worker's own.
    Question {
        /// Its id, if it is one of JSON-RPC.
        id: Option<Member>,
        /// The answer that it gets if nobody is asked: there is no such method.
        refusal: Bytes,
    },
}

/// Why a message of a worker cannot be used. The texts tell the operator what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It cannot be an answer: it is no JSON object.
    Stray(&'static str),
    /// It may be an answer, and nothing shows to what.
    Doubtful(String),
}

/// Reads messages of one worker.
#[derive(Clone, Debug)]
pub struct MessageReader(Arc<IdNames>);

/// A message of a worker, and what it is.
#[derive(Debug)]
pub struct ReadMessage {
    pub(super) message: Bytes,
    pub(super) read: Result<WorkerMessage, Unusable>,
}

impl MessageReader {
    pub(super) fn new(names: Arc<IdNames>) -> Self {
        Self(names)
    }

    /// Reads a message.
    pub fn read(&self, message: Bytes) -> ReadMessage {
        ReadMessage { read: read(&message, &self.0), message }
    }
}

impl ReadMessage {
    /// Returns all of the message.
    pub fn message(&self) -> &Bytes {
        &self.message
    }
}

/// Reads a message of a worker.
pub(super) fn read(message: &[u8], names: &IdNames) -> Result<WorkerMessage, Unusable> {
    let is_json_rpc = names.are_of_json_rpc();
    let kind = if is_json_rpc { "method" } else { "type" };
    let reply = names.reply.as_str();
    let object = json::members(message, [reply, kind]).map_err(|fault| match fault {
        Flaw::NotJson => Unusable::Stray("its message is not JSON"),
        Flaw::NotObject => Unusable::Stray("its message is not a JSON object"),
        Flaw::Twice => {
            Unusable::Doubtful(format!("its message has its `{reply}` or `{kind}` twice"))
        }
    })?;
    let [id, kind] = object.members;
    let kind = kind.map(|kind| &message[kind.value]);
    Ok(match (kind, id) {
        (Some(_), None) if is_json_rpc => WorkerMessage::Notification,
        (Some(_), Some(id)) if is_json_rpc => {
            let refusal = method_not_found(&message[id.value.clone()]);
            WorkerMessage::Question { id: Some(id), refusal }
        }
        (Some(b"\"event\""), _) => WorkerMessage::Notification,
        (Some(b"\"request\""), _) => {
            WorkerMessage::Question { id: None, refusal: not_supported(message, names) }
        }
        (_, Some(id)) => WorkerMessage::Answer(id),
        (_, None) => return Err(Unusable::Doubtful(format!("its message has no `{reply}`"))),
    })
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

/// Returns an answer that was given to another question, with the `id` of this one; `None` if
/// either has none.
pub fn answer_again(answer: &Bytes, question: &Bytes) -> Option<Bytes> {
    let [id] = json::members(question, ["id"]).ok()?.members;
    let own = OwnId::Text(question.slice(id?.value));
    let [id] = json::members(answer, ["id"]).ok()?.members;
    Some(restore(answer, &id?, &own))
}

/// Returns the answer to a question of the worker's own in the shape of a debug adapter's.
fn not_supported(question: &[u8], names: &IdNames) -> Bytes {
    let members = json::members(question, [names.send.as_str(), "command"]).ok();
    let [id, command] = members.map(|object| object.members).unwrap_or_default();
    let text = |member: Option<Member>| member.map_or(&b"null"[..], |it| &question[it.value]);
    let (send, reply) = (names.send.as_bytes(), names.reply.as_bytes());
    let (id, command) = (text(id), text(command));
    [
        &b"{\""[..],
        send,
        b"\":0,\"type\":\"response\",\"",
        reply,
        b"\":",
        id,
        b",\"success\":false,\"command\":",
        command,
        b",\"message\":\"not supported\"}",
    ]
    .concat()
    .into()
}

/// Returns the answer to a question of the worker's own in JSON-RPC; `id` is the text of its `id`.
fn method_not_found(id: &[u8]) -> Bytes {
    let after = br#","error":{"code":-32601,"message":"method not found"}}"#;
    [br#"{"jsonrpc":"2.0","id":"#, id, after].concat().into()
}

/// Returns the answer to a question of the worker's own that its caller will not answer; `id` is the
/// text of its `id`.
pub(super) fn unanswerable(id: &[u8]) -> Bytes {
    let after = br#","error":{"code":-32000,"message":"the client no longer listens"}}"#;
    [br#"{"jsonrpc":"2.0","id":"#, id, after].concat().into()
}

/// Reads a number that we wrote. A text that is not exactly as we write numbers is not ours.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number)
}

/// Returns the text before a member's value, the value, and the text after it.
fn around<'a>(text: &'a [u8], member: &Member) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let (before, rest) = text.split_at(member.value.start);
    let (value, after) = rest.split_at(member.value.len());
    (before, value, after)
}

#[cfg(test)]
mod tests {
    use super::super::ours::tests::put;
    use super::*;
    use crate::base::places::IdPlaces;

    fn id_of(answer: &[u8], names: &IdNames) -> Member {
        match read(answer, names) {
            Ok(WorkerMessage::Answer(id)) => id,
            other => panic!("no answer: {other:?}"),
        }
    }

    fn replaced(question: &str) -> (String, OwnId) {
        let (text, own) = put(question, "id");
        (text, own.id)
    }

    fn there_and_back(question: &str) -> String {
        let (text, own) = replaced(question);
        let text = Bytes::from(text);
        let id = id_of(&text, &IdNames::default());
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
            let id = id_of(&answer, &IdNames::default());
            assert_eq!(restore(&answer, &id, &OwnId::Absent), without);
        }
    }

    #[test]
    fn a_question_that_cannot_hold_an_id_is_refused() {
        for question in
            ["[]", r#"[{"id":1}]"#, "1", "", "{", r#"{"id":1,"id":2}"#, "{\"a\":\"\n\"}"]
        {
            assert!(IdPlaces::of(question.as_bytes(), "id", false).is_err(), "{question:?}");
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

    #[test]
    fn a_greeting_is_answered_again_with_another_id() {
        let answer = Bytes::from_static(br#"{"result":{"id":5},"id":0}"#);
        let again = answer_again(&answer, &Bytes::from_static(br#"{"method":"x","id":"me"}"#));
        assert_eq!(again.expect("both have an id"), r#"{"result":{"id":5},"id":"me"}"#);
    }

    fn of_debug_adapters() -> IdNames {
        IdNames { send: "seq".to_owned(), reply: "request_seq".to_owned() }
    }

    #[test]
    fn the_id_may_have_another_name_each_way() {
        let names = of_debug_adapters();
        let question = r#"{"seq":3,"type":"request","command":"next"}"#;
        let (text, own) = put(question, &names.send);
        assert_eq!(text, r#"{"seq":17,"type":"request","command":"next"}"#);
        let answer = r#"{"seq":90,"type":"response","request_seq":17,"success":true}"#;
        let answer = Bytes::from_static(answer.as_bytes());
        let id = id_of(&answer, &names);
        let own = restore(&answer, &id, &own.id);
        assert_eq!(own, r#"{"seq":90,"type":"response","request_seq":3,"success":true}"#);
        assert_eq!(put("{}", &names.send).0, r#"{"seq":17}"#);
    }

    #[test]
    fn events_and_questions_are_told_from_answers_by_their_type() {
        let names = of_debug_adapters();
        let event = br#"{"seq":1,"type":"event","event":"x","request_seq":17}"#;
        assert!(matches!(read(event, &names), Ok(WorkerMessage::Notification)));
        let asks = br#"{"seq":5,"type":"request","command":"runInTerminal"}"#;
        let Ok(WorkerMessage::Question { id: None, refusal }) = read(asks, &names) else {
            panic!("it asks")
        };
        let expected = serde_json::json!({ "seq": 0, "type": "response", "request_seq": 5,
            "success": false, "command": "runInTerminal", "message": "not supported" });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&refusal).expect("JSON"), expected);
        let method = br#"{"request_seq":17,"method":"x"}"#;
        assert_eq!(&method[id_of(method, &names).value], b"17", "`method` means nothing here");
        for doubtful in [&br#"{"type":"response"}"#[..], br#"{"request_seq":1,"request_seq":1}"#] {
            assert!(matches!(read(doubtful, &names), Err(Unusable::Doubtful(_))));
        }
    }

    #[test]
    fn what_is_no_object_cannot_be_an_answer() {
        for text in ["", "Loading model...", "{\"id\":1", "[{\"id\":1}]", "7", "{\"id\":1}}"] {
            let read = read(text.as_bytes(), &IdNames::default());
            assert!(matches!(read, Err(Unusable::Stray(_))), "{text}: {read:?}");
        }
    }
}
