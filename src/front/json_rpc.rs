//! What a body means on a route that passes JSON-RPC on: one message, or a batch of them; a
//! call, a notification that nobody answers, or the answer to a question of the program.
//!
//! Pure. Every message is found by reading the top level of its JSON; nothing is built of it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::problem::ProblemDocument;
use crate::base::Failure;
use crate::base::json::{self, Flaw};

/// Most messages of one batch.
pub const BATCH_MOST: usize = 100;

/// A failure of ours, in the range that JSON-RPC leaves to servers.
const SERVER_ERROR: i32 = -32000;
const INVALID_REQUEST: i32 = -32600;

/// What a body holds.
#[derive(Debug, PartialEq, Eq)]
pub enum RpcBody {
    /// One message.
    One(Message),
    /// A batch of one message or more; `None` stands for an element that is no message.
    Batch(Vec<Option<Message>>),
}

/// One message of a caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// All of it.
    pub text: Bytes,
    /// What is to be done with it.
    pub kind: Kind,
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is answered.
    Call {
        /// The text of its `id`, if it has one.
        id: Option<Bytes>,
        /// It is the greeting of JSON-RPC, `initialize`.
        greets: bool,
    },
    /// Nobody answers it: it has a `method` and no `id`, or it is an answer itself.
    Notification,
}

/// What a message that nobody answers is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It cancels a call.
    Cancel(Cancelled),
    /// It answers the question of the program with the `id` at this place.
    Answer(Range<usize>),
    /// It tells of progress with the answer to a question of the program; where its token is in
    /// the text, if it has one.
    Progress(Option<Range<usize>>),
    /// It says that the caller has taken the answer to `initialize`.
    Greeted,
    /// Something else.
    Other,
}

/// The call that a notification cancels.
#[derive(Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Where the `id` of the call is in the text; `None` if it is not there, or twice.
    pub id: Option<Range<usize>>,
}

/// Reads a body. With `strictly`, a question without a `method` is no message: no program of
/// JSON-RPC would ever answer it.
///
/// # Errors
///
/// `bad_request` where it is neither a message nor a batch, or a batch of too few or too many.
pub fn read(body: &Bytes, strictly: bool) -> Result<RpcBody, Failure> {
    let message = |text: &Bytes| message(text, strictly);
    match message(body) {
        Ok(message) => return Ok(RpcBody::One(message)),
        Err(Unfit::NoMethod) => {
            return Err(bad_request(
                "a JSON-RPC message has a `method`, which is a text, or is the answer to a question \
                 of the program",
            ));
        }
        Err(Unfit::Json(Flaw::NotJson)) if body.starts_with("\u{feff}".as_bytes()) => {
            return Err(bad_request(
                "the question begins with a byte order mark (EF BB BF), which JSON may not have",
            ));
        }
        Err(Unfit::Json(Flaw::NotJson)) => return Err(bad_request("the question is not JSON")),
        Err(Unfit::Json(Flaw::Twice)) => {
            return Err(bad_request("the question has its `id` or `method` twice"));
        }
        Err(Unfit::Json(Flaw::NotObject)) => {}
    }
    let Some(elements) = json::elements(body) else {
        return Err(bad_request("the question is not a JSON object"));
    };
    match elements.len() {
        0 => Err(bad_request("the batch is empty")),
        1..=BATCH_MOST => {
            let messages = elements.into_iter().map(|place| message(&body.slice(place)).ok());
            Ok(RpcBody::Batch(messages.collect()))
        }
        _ => Err(bad_request("a batch may hold at most 100 messages")),
    }
}

/// Why a text is no message.
enum Unfit {
    Json(Flaw),
    NoMethod,
}

fn message(text: &Bytes, strictly: bool) -> Result<Message, Unfit> {
    let [id, method] = json::members(text, ["id", "method"]).map_err(Unfit::Json)?.members;
    let has_method = method.as_ref().is_some_and(|method| text[method.value.start] == b'"');
    if strictly && !has_method {
        let is_answer = method.is_none() && id.is_some() && is_answer(text);
        let message = Message { text: text.clone(), kind: Kind::Notification };
        return if is_answer { Ok(message) } else { Err(Unfit::NoMethod) };
    }
    let kind = match (id, method) {
        (None, Some(_)) => Kind::Notification,
        (id, method) => {
            let greets = id.is_some() && method.is_some_and(|it| is_greeting(&text[it.value]));
            Kind::Call { id: id.map(|id| text.slice(id.value)), greets }
        }
    };
    Ok(Message { text: text.clone(), kind })
}

/// Returns true if the text of a `method` is `initialize`. Escapes can write it in many ways.
fn is_greeting(method: &[u8]) -> bool {
    serde_json::from_slice::<Cow<'_, str>>(method).is_ok_and(|method| method == "initialize")
}

/// Returns true if a message has one of the members that make it an answer.
fn is_answer(text: &[u8]) -> bool {
    let found = json::members(text, ["result", "error"]).map(|object| object.members);
    matches!(found, Ok([Some(_), None] | [None, Some(_)]))
}

/// Returns what a message that nobody answers is for, in the words of the Model Context Protocol or
/// of language servers.
pub fn purpose(text: &[u8]) -> Purpose {
    // A second `method` or `params` may be the one that the program reads.
    let Ok(object) = json::members(text, ["method", "params", "id"]) else {
        return Purpose::Cancel(Cancelled { id: None });
    };
    let [method, params, id] = object.members;
    let method = match (method, id) {
        (Some(method), _) => method.value,
        (None, Some(id)) => return Purpose::Answer(id.value),
        (None, None) => return Purpose::Other,
    };
    // Escapes can write the same name in many ways.
    let method: Option<Cow<'_, str>> = serde_json::from_slice(&text[method]).ok();
    let named = |name: &str| {
        let params = params.as_ref()?.value.clone();
        let [member] = json::members(&text[params.clone()], [name]).ok()?.members;
        let place = member?.value;
        Some(params.start + place.start..params.start + place.end)
    };
    match method.as_deref() {
        Some("notifications/cancelled") => Purpose::Cancel(Cancelled { id: named("requestId") }),
        Some("$/cancelRequest") => Purpose::Cancel(Cancelled { id: named("id") }),
        Some("notifications/progress") => Purpose::Progress(named("progressToken")),
        Some("$/progress") => Purpose::Progress(named("token")),
        Some("notifications/initialized" | "initialized") => Purpose::Greeted,
        _ => Purpose::Other,
    }
}

/// The same JSON without line ends, which can only stand between its tokens.
pub fn in_one_line(text: &[u8]) -> Bytes {
    text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

/// What stands in the answer to a batch for a call that failed; `id` is the caller's.
pub fn failed(id: Option<&Bytes>, failure: &Failure) -> Bytes {
    let problem = ProblemDocument::of(failure);
    let data = serde_json::json!({ "code": problem.code.as_str() });
    error(id, SERVER_ERROR, &problem.detail, Some(data))
}

/// What stands there for an element that is no message.
pub fn invalid() -> Bytes {
    error(None, INVALID_REQUEST, "this is not a JSON-RPC message", None)
}

fn error(id: Option<&Bytes>, code: i32, message: &str, data: Option<serde_json::Value>) -> Bytes {
    let mut error = serde_json::json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    let id: &[u8] = id.map_or(b"null", |id| id);
    let error = error.to_string();
    [br#"{"jsonrpc":"2.0","id":"#, id, br#","error":"#, error.as_bytes(), b"}"].concat().into()
}

/// The answer to a batch: these texts as a JSON array.
pub fn joined(replies: &[Bytes]) -> Bytes {
    let mut text =
        Vec::with_capacity(replies.iter().map(|reply| reply.len() + 1).sum::<usize>() + 2);
    text.push(b'[');
    for (index, reply) in replies.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(reply);
    }
    text.push(b']');
    text.into()
}

fn bad_request(detail: &'static str) -> Failure {
    Failure::BadRequest { detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<RpcBody, Failure> {
        read(&Bytes::copy_from_slice(text.as_bytes()), false)
    }

    fn call(id: Option<&'static str>) -> Kind {
        Kind::Call { id: id.map(|id| Bytes::from_static(id.as_bytes())), greets: false }
    }

    #[test]
    fn only_a_method_without_an_id_is_a_notification() {
        for (text, kind) in [
            (r#"{"method":"m"}"#, Kind::Notification),
            (r#"{"params":{"id":1},"method":"m"}"#, Kind::Notification),
            (r#"{"method":"m","id":"x"}"#, call(Some("\"x\""))),
            (r#"{"method":"m","id":null}"#, call(Some("null"))),
            (r#"{"id":7}"#, call(Some("7"))),
            (r#"{"q":{"method":"m"}}"#, call(None)),
        ] {
            let Ok(RpcBody::One(message)) = read_text(text) else { panic!("{text}") };
            assert_eq!((&*message.text, message.kind), (text.as_bytes(), kind));
        }
    }

    #[test]
    fn a_greeting_has_its_method_and_an_id() {
        for (text, is_greeting) in [
            (r#"{"id":1,"method":"initialize"}"#, true),
            (r#"{"id":1,"method":"initiali\u007ae"}"#, true),
            (r#"{"id":1,"method":"initialized"}"#, false),
            (r#"{"id":1,"method":["initialize"]}"#, false),
            (r#"{"id":1,"params":{"method":"initialize"}}"#, false),
        ] {
            let Ok(RpcBody::One(message)) = read_text(text) else { panic!("{text}") };
            let Kind::Call { greets, .. } = message.kind else { panic!("{text}") };
            assert_eq!(greets, is_greeting, "{text}");
        }
    }

    #[test]
    fn a_question_of_json_rpc_has_a_method() {
        let strictly = |text: &str| read(&Bytes::copy_from_slice(text.as_bytes()), true);
        for text in ["{}", r#"{"id":1}"#, r#"{"result":2}"#, r#"{"id":1,"method":null,"result":2}"#]
        {
            assert!(matches!(strictly(text), Err(Failure::BadRequest { .. })), "{text}");
            assert!(read_text(text).is_ok(), "{text}");
        }
        for text in [r#"{"id":1,"result":2}"#, r#"{"error":{},"id":"x"}"#] {
            let Ok(RpcBody::One(message)) = strictly(text) else { panic!("{text}") };
            assert_eq!(message.kind, Kind::Notification, "nobody answers an answer: {text}");
        }
        assert!(strictly(r#"{"id":1,"result":2,"error":{}}"#).is_err(), "it is both");
        assert!(strictly(r#"{"method":"m","id":1}"#).is_ok());
        let batch = strictly(r#"[{"id":1},{"method":"m"}]"#);
        let Ok(RpcBody::Batch(messages)) = batch else { panic!("{batch:?}") };
        assert!(messages[0].is_none() && messages[1].is_some());
    }

    #[test]
    fn what_a_notification_cancels_is_found_however_it_is_written() {
        for (text, id) in [
            (r#"{"method":"notifications/cancelled","params":{"requestId":3,"r":{}}}"#, Some("3")),
            (r#"{"params" : {"id" : "x y"} ,"method":"$/cancelRequest"}"#, Some("\"x y\"")),
            (r#"{"method":"notifications\/cancelled","params":{"requestId":3}}"#, Some("3")),
            (r#"{"method":"\u0024/cancelRequest","params":{"id":3}}"#, Some("3")),
            (r#"{"method":"$/cancelRequest","params":{"requestId":3}}"#, None),
            (r#"{"method":"$/cancelRequest","params":{"id":3,"id":4}}"#, None),
            (r#"{"method":"$/cancelRequest","params":[3]}"#, None),
            (r#"{"method":"$/cancelRequest"}"#, None),
            (r#"{"method":"x","params":{"id":3},"params":{"id":4}}"#, None),
        ] {
            let Purpose::Cancel(cancelled) = purpose(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(cancelled.id.map(|place| &text[place]), id, "{text}");
        }
        for text in [r#"{"method":"x","params":{"id":3}}"#, r#"{"method":"$/cancelrequest"}"#] {
            assert_eq!(purpose(text.as_bytes()), Purpose::Other, "{text}");
        }
    }

    #[test]
    fn answers_progress_and_greetings_are_told_from_other_messages() {
        for (text, purpose_is) in [
            (r#"{"result":{"id":5},"id":"x"}"#, Purpose::Answer(24..27)),
            (r#"{"method":"$/progress","params":{"token":1}}"#, Purpose::Progress(Some(41..42))),
            (r#"{"method":"notifications/progress"}"#, Purpose::Progress(None)),
            (r#"{"method":"notifications/initialized"}"#, Purpose::Greeted),
            (r#"{"method":"initialized","params":{}}"#, Purpose::Greeted),
        ] {
            assert_eq!(purpose(text.as_bytes()), purpose_is, "{text}");
        }
    }

    #[test]
    fn a_batch_is_split_and_what_is_no_message_keeps_its_place() {
        let body = read_text(r#" [ {"id":1} , 5, {"method":"m"}, {"id":1,"id":2}, [] ] "#);
        let Ok(RpcBody::Batch(messages)) = body else { panic!("{body:?}") };
        let texts: Vec<_> = messages.iter().map(|it| it.as_ref().map(|it| &*it.text)).collect();
        assert_eq!(
            texts,
            [Some(&br#"{"id":1}"#[..]), None, Some(br#"{"method":"m"}"#), None, None]
        );
    }

    #[test]
    fn what_is_neither_message_nor_batch_is_refused() {
        let many = format!("[{}]", vec!["{}"; BATCH_MOST + 1].join(","));
        let all = format!("[{}]", vec!["{}"; BATCH_MOST].join(","));
        assert!(read_text(&all).is_ok());
        for text in ["", "x", "5", "\"a\"", "[]", "[{]", "{}{}", r#"{"id":1,"id":1}"#, &many] {
            assert!(matches!(read_text(text), Err(Failure::BadRequest { .. })), "{text}");
        }
    }

    #[test]
    fn a_failure_is_an_error_object_with_the_callers_id() {
        let id = Bytes::from_static(b"\"a\"");
        let failed = failed(Some(&id), &Failure::WorkerLost { exit: "exit code 1".into() });
        let batch = joined(&[failed, invalid()]);
        let batch: serde_json::Value = serde_json::from_slice(&batch).expect("JSON");
        assert_eq!(batch[0]["id"], "a");
        assert_eq!(batch[0]["error"]["code"], -32000);
        assert_eq!(batch[0]["error"]["data"]["code"], "worker_lost");
        assert!(batch[1]["id"].is_null() && batch[1]["error"]["code"] == -32600);
    }
}
