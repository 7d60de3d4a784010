//! What a worker says about a call while it works on it (JSON-RPC): progress, and questions to the
//! caller.
//!
//! Pure. Callers choose their progress tokens, and two may choose the same; so the worker gets
//! tokens of ours, made of the number of the call. A question of the worker gets a new id before its
//! caller sees it: workers choose theirs, and the caller's answer must find its way back. That id
//! cannot be guessed, so nobody else can answer.

use std::ops::Range;

use bytes::Bytes;

use super::json_id::number;
use super::ours::OwnToken;
use crate::base::json;
use crate::base::places::{meta_token, within};

/// Most questions of a worker about one call that wait for the caller.
const ASKED_MOST: usize = 64;
/// The way between a call and its caller while the worker works on it.
#[derive(Debug)]
pub(super) struct Asides {
    /// The name of the call in the ids that its caller sees.
    name: Bytes,
    /// The caller's own tokens, each with its number.
    tokens: Vec<OwnToken>,
    asked: Vec<AskedByWorker>,
    /// How many questions there were.
    count: u64,
}

/// A question of the worker that its caller has not answered.
#[derive(Debug)]
struct AskedByWorker {
    number: u64,
    /// The id that the worker gave it.
    id: Bytes,
    /// The token by which the worker wants to hear of progress.
    token: Option<Bytes>,
}

/// What a notification of a worker is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Progress of the call with the token at this place; `None` if it names none.
    Progress(Option<Range<usize>>),
    /// The worker no longer wants an answer to its question with the id at this place.
    Withdrawn(Option<Range<usize>>),
    /// It does not say.
    Unnamed,
}

impl Asides {
    /// The way to a caller who knows the call by `name`.
    pub(super) fn new(name: Bytes, tokens: Vec<OwnToken>) -> Self {
        Self { name, tokens, asked: Vec::new(), count: 0 }
    }

    /// Returns a message with the caller's token in place of ours; `None` if it gave none of this
    /// number.
    pub(super) fn with_own_token(
        &self,
        message: &Bytes,
        place: &Range<usize>,
        number: usize,
    ) -> Option<Bytes> {
        let (_, own) = self.tokens.iter().find(|(own, _)| *own == number)?;
        Some(put(message, place, own))
    }

    /// Notes a question of the worker, whose id is at this place. Returns it as the caller sees it;
    /// `None` if too many wait.
    pub(super) fn ask(&mut self, message: &Bytes, id: &Range<usize>) -> Option<Bytes> {
        if self.asked.len() == ASKED_MOST {
            return None;
        }
        let token = meta_token(message).ok()?;
        let number = self.count;
        let name = self.name_of(number);
        // The later place first, so that the earlier one stays where it is.
        let mut places: Vec<_> = [Some(id.clone()), token.clone()].into_iter().flatten().collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.start));
        let text = places.iter().fold(message.clone(), |text, place| put(&text, place, &name));
        let (id, token) = (message.slice(id.clone()), token.map(|place| message.slice(place)));
        self.asked.push(AskedByWorker { number, id, token });
        self.count += 1;
        Some(text)
    }

    /// Removes a question that the worker no longer wants to be answered. Returns the worker's
    /// message as the caller sees it; `None` if there is no such question.
    pub(super) fn withdraw(&mut self, message: &Bytes, id: &Range<usize>) -> Option<Bytes> {
        let place = self.asked.iter().position(|asked| asked.id == message[id.clone()])?;
        let asked = self.asked.remove(place);
        Some(put(message, id, &self.name_of(asked.number)))
    }

    /// Returns true if this names a question that the caller has not answered.
    pub(super) fn has_asked(&self, name: &[u8]) -> bool {
        self.place(name).is_some()
    }

    /// Returns the id that the worker gave to the question that the caller answers. The question
    /// is answered then.
    pub(super) fn answered(&mut self, name: &[u8]) -> Option<Bytes> {
        let place = self.place(name)?;
        Some(self.asked.remove(place).id)
    }

    /// Returns the token that the worker gave to the question that the caller makes progress with.
    pub(super) fn progressed(&self, name: &[u8]) -> Option<Bytes> {
        self.asked[self.place(name)?].token.clone()
    }

    /// Returns the worker's ids of the questions that nobody will answer now.
    pub(super) fn close(self) -> impl Iterator<Item = Bytes> {
        self.asked.into_iter().map(|asked| asked.id)
    }

    fn name_of(&self, number: u64) -> Bytes {
        let number = number.to_string();
        [b"\"", &self.name[..], b"-", number.as_bytes(), b"\""].concat().into()
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        let rest = name.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let number = number(rest.strip_prefix(&self.name[..])?.strip_prefix(b"-")?)?;
        self.asked.iter().position(|asked| asked.number == number)
    }
}

/// Reads a token of ours: the number of its call, and its own.
pub(super) fn token(text: &[u8]) -> Option<(u64, usize)> {
    let text = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let dash = memchr::memchr(b'-', text)?;
    let (tag, own) = (number(&text[..dash])?, number(&text[dash + 1..])?);
    Some((tag, usize::try_from(own).ok()?))
}

/// Returns what a notification of a worker is about.
pub(super) fn subject(message: &[u8]) -> Subject {
    let Ok(object) = json::members(message, ["method", "params"]) else { return Subject::Unnamed };
    let [method, params] = object.members;
    let method: Option<String> =
        method.and_then(|it| serde_json::from_slice(&message[it.value]).ok());
    let named = |name: &str| {
        let params = params.as_ref()?.value.clone();
        let [member] = json::members(&message[params.clone()], [name]).ok()?.members;
        Some(within(&params, &member?.value))
    };
    match method.as_deref() {
        Some("notifications/progress") => Subject::Progress(named("progressToken")),
        Some("$/progress") => Subject::Progress(named("token")),
        Some("notifications/cancelled") => Subject::Withdrawn(named("requestId")),
        Some("$/cancelRequest") => Subject::Withdrawn(named("id")),
        _ => Subject::Unnamed,
    }
}

/// Returns a text with another value at this place.
fn put(text: &Bytes, place: &Range<usize>, value: &[u8]) -> Bytes {
    [&text[..place.start], value, &text[place.end..]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn only_a_token_exactly_as_we_write_it_is_ours() {
        assert_eq!(token(b"\"17-2\""), Some((17, 2)));
        for other in ["17-2", "\"17\"", "\"017-2\"", "\"17-\"", "\"-2\"", "\"17-2-0\"", "17", "\""]
        {
            assert_eq!(token(other.as_bytes()), None, "{other}");
        }
    }

    /// The place of this text in another.
    fn place(text: &str, part: &str) -> Range<usize> {
        let start = text.find(part).expect("it is there");
        start..start + part.len()
    }

    #[test]
    fn progress_and_what_a_worker_takes_back_name_their_subject() {
        let progress = r#"{"method":"notifications/progress","params":{"progressToken":"17-0"}}"#;
        assert_eq!(
            subject(progress.as_bytes()),
            Subject::Progress(Some(place(progress, "\"17-0\"")))
        );
        let progress = r#"{"params":{"token":1},"method":"$/progress"}"#;
        assert_eq!(subject(progress.as_bytes()), Subject::Progress(Some(place(progress, "1"))));
        let withdrawn = r#"{"method":"notifications/cancelled","params":{"requestId":0}}"#;
        assert_eq!(subject(withdrawn.as_bytes()), Subject::Withdrawn(Some(place(withdrawn, "0"))));
        for (message, subject_is) in [
            (r#"{"method":"$\/progress"}"#, Subject::Progress(None)),
            (r#"{"method":"$/cancelRequest","params":[1]}"#, Subject::Withdrawn(None)),
            (r#"{"method":"notifications/message","params":{}}"#, Subject::Unnamed),
        ] {
            assert_eq!(subject(message.as_bytes()), subject_is, "{message}");
        }
    }

    #[test]
    fn an_answer_goes_back_under_the_id_of_the_worker_and_only_once() {
        let mut asides = Asides::new(bytes("secret"), vec![]);
        let question = bytes(r#"{"id":0,"method":"m","params":{"_meta":{"progressToken":7}}}"#);
        let seen = asides.ask(&question, &(6..7)).expect("there is room");
        let name = r#""secret-0""#;
        assert_eq!(
            seen,
            format!(
                r#"{{"id":{name},"method":"m","params":{{"_meta":{{"progressToken":{name}}}}}}}"#
            )
        );
        for wrong in ["secret-0", "\"secret-1\"", "\"secre-0\"", "\"secret-00\"", "0", "\"x-0\""] {
            assert_eq!(asides.answered(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(asides.has_asked(name.as_bytes()));
        assert_eq!(asides.progressed(name.as_bytes()), Some(bytes("7")));
        assert_eq!(asides.answered(name.as_bytes()), Some(bytes("0")));
        assert_eq!(
            (asides.answered(name.as_bytes()), asides.progressed(name.as_bytes())),
            (None, None)
        );
    }

    #[test]
    fn what_a_worker_takes_back_is_told_under_the_id_that_the_caller_knows() {
        let mut asides = Asides::new(bytes("s"), vec![]);
        asides.ask(&bytes(r#"{"id":5,"method":"m"}"#), &(6..7)).expect("there is room");
        let taken_back = r#"{"method":"notifications/cancelled","params":{"requestId":5}}"#;
        let (taken_back, place) = (bytes(taken_back), place(taken_back, "5"));
        let seen = asides.withdraw(&taken_back, &place).expect("it was asked");
        assert!(seen.ends_with(br#"{"requestId":"s-0"}}"#), "{seen:?}");
        assert_eq!(asides.withdraw(&taken_back, &place), None);
        assert_eq!(asides.close().count(), 0);
    }

    #[test]
    fn questions_that_nobody_answers_do_not_pile_up() {
        let mut asides = Asides::new(bytes("s"), vec![]);
        let question = bytes(r#"{"id":5,"method":"m"}"#);
        let asked = (0..1000).filter(|_| asides.ask(&question, &(6..7)).is_some()).count();
        assert_eq!(asked, ASKED_MOST);
        assert_eq!(asides.close().count(), ASKED_MOST);
    }
}
