//! What the next question of a route may be told: the answers that were kept for it, newest first.
//!
//! Only routes whose `send` has `{kept:json}` come here. What is told is written when an answer is
//! kept, and bounded in bytes, so telling it costs a copy of those bytes and no more.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Key, Scope, Stored};
use crate::base::ReplyForm;
use crate::base::parameter::compact_json;

/// How much a route tells its worker of the answers that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBounds {
    /// Most bytes of what is remembered for the route.
    pub held: usize,
    /// Most bytes of the object in this question, which must fit into a message; none for a large
    /// question: what it is counted for in `limits.memory` has no room for that.
    pub told: usize,
}

/// What is remembered, by scope.
#[derive(Debug, Default)]
pub(super) struct KeptAnswers(HashMap<Scope, Newest>);

/// The answers of one route, newest first.
#[derive(Debug, Default)]
struct Newest {
    members: VecDeque<Remembered>,
    bytes: usize,
}

/// One member of the object: a question and its answer.
#[derive(Debug)]
struct Remembered {
    /// As it stands in the object.
    text: String,
    /// How many bytes of the text are the question.
    name: usize,
    since: Instant,
    ttl: Duration,
}

/// The braces of an object.
const BRACES: usize = 2;
/// What separates a member from the next.
const COMMA: usize = 1;

impl KeptAnswers {
    /// Remembers an answer in place of an older one to the same question. What is no text, or too
    /// long, is not remembered.
    pub(super) fn note(&mut self, key: &Key, stored: &Stored, most: usize) {
        let Some(name) = name_of(&key.question) else { return };
        let recent = self.0.entry(key.scope).or_default();
        recent.forget(&name);
        let Some(value) = value_of(stored) else { return };
        let (text, name) = (format!("{name}:{value}"), name.len());
        recent.bytes += text.len() + COMMA;
        recent.members.push_front(Remembered { text, name, since: stored.since, ttl: stored.ttl });
        while recent.bytes + BRACES > most + COMMA {
            let Some(oldest) = recent.members.pop_back() else { break };
            recent.bytes -= oldest.text.len() + COMMA;
        }
    }

    /// Writes the object with the answers of a route whose time is not over.
    pub(super) fn object(&self, scope: Scope, most: usize, now: Instant) -> String {
        let mut object = String::from("{");
        for member in self.0.get(&scope).iter().flat_map(|recent| &recent.members) {
            let is_fresh = now.saturating_duration_since(member.since) < member.ttl;
            let comma = if object.len() == 1 { "" } else { "," };
            if is_fresh && object.len() + comma.len() + member.text.len() < most {
                object.push_str(comma);
                object.push_str(&member.text);
            }
        }
        object.push('}');
        object
    }

    /// Forgets the answers of all other scopes.
    pub(super) fn keep_only(&mut self, scopes: &[Scope]) {
        self.0.retain(|scope, _| scopes.contains(scope));
    }
}

impl Newest {
    fn forget(&mut self, name: &str) {
        let is_it = |member: &Remembered| member.text[..member.name] == *name;
        if let Some(older) = self.members.iter().position(is_it)
            && let Some(older) = self.members.remove(older)
        {
            self.bytes -= older.text.len() + COMMA;
        }
    }
}

/// The name of an answer: the only value of its question, or the list of all values as JSON text.
/// A key is made of the values, each after its length.
fn name_of(key: &[u8]) -> Option<String> {
    let mut values = Vec::new();
    let mut rest = key;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (value, after) = after.split_at_checked(usize::from_le_bytes(*length))?;
        values.push(str::from_utf8(value).ok()?);
        rest = after;
    }
    let list = |values: &[&str]| serde_json::to_string(values).ok();
    let name = match values[..] {
        [only] => only.to_owned(),
        _ => list(&values)?,
    };
    serde_json::to_string(&name).ok()
}

/// The answer as JSON in one line.
fn value_of(stored: &Stored) -> Option<String> {
    let text = str::from_utf8(&stored.reply.body).ok()?;
    match stored.reply.form {
        ReplyForm::Json => compact_json(text).ok(),
        ReplyForm::Plain | ReplyForm::Http { .. } => serde_json::to_string(text).ok(),
        ReplyForm::Parts(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Reply;

    const SCOPE: Scope = Scope(7);
    const MOST: usize = 1 << 10;

    fn key(values: &[&str]) -> Key {
        let mut question = Vec::new();
        for value in values {
            question.extend_from_slice(&value.len().to_le_bytes());
            question.extend_from_slice(value.as_bytes());
        }
        Key { scope: SCOPE, question: question.into() }
    }

    fn answer(body: &str, form: ReplyForm, since: Instant) -> Stored {
        let reply = Reply { body: Bytes::copy_from_slice(body.as_bytes()), form };
        Stored::new(reply, since, Duration::from_mins(1))
    }

    #[test]
    fn the_newest_answer_comes_first_and_takes_the_place_of_an_older_one() {
        let (mut known, now) = (KeptAnswers::default(), Instant::now());
        assert_eq!(known.object(SCOPE, MOST, now), "{}");
        for (question, body) in [("1", "one"), ("2", "two\n"), ("1", "uno")] {
            known.note(&key(&[question]), &answer(body, ReplyForm::Plain, now), MOST);
        }
        assert_eq!(known.object(SCOPE, MOST, now), r#"{"1":"uno","2":"two\n"}"#);
        assert_eq!(known.object(Scope(8), MOST, now), "{}");
    }

    #[test]
    fn json_stays_json_and_several_values_are_a_list() {
        let (mut known, now) = (KeptAnswers::default(), Instant::now());
        let json = answer("{\"result\": [1,\n 2]}", ReplyForm::Json, now);
        known.note(&key(&["a", "b\""]), &json, MOST);
        assert_eq!(known.object(SCOPE, MOST, now), r#"{"[\"a\",\"b\\\"\"]":{"result":[1,2]}}"#);
    }

    #[test]
    fn an_answer_past_its_time_is_not_told() {
        let (mut known, start) = (KeptAnswers::default(), Instant::now());
        known.note(&key(&["1"]), &answer("a", ReplyForm::Plain, start), MOST);
        let later = start + Duration::from_secs(30);
        known.note(&key(&["2"]), &answer("b", ReplyForm::Plain, later), MOST);
        assert_eq!(known.object(SCOPE, MOST, start + Duration::from_mins(1)), r#"{"2":"b"}"#);
    }

    #[test]
    fn what_is_told_never_exceeds_its_bounds() {
        let (mut known, now) = (KeptAnswers::default(), Instant::now());
        for number in 0..1_000 {
            let number = number.to_string();
            known.note(&key(&[&number]), &answer(&number, ReplyForm::Plain, now), 64);
            let object = known.object(SCOPE, MOST, now);
            assert!(object.len() <= 64, "{object}");
            assert!(object.starts_with(&format!("{{\"{number}\":")), "{object}");
            serde_json::from_str::<serde_json::Value>(&object).expect("JSON");
            assert!(known.object(SCOPE, 20, now).len() <= 20);
        }
        assert_eq!(known.object(SCOPE, MOST, now).len(), 61, "the room is used");
        known.note(&key(&["999"]), &answer(&"x".repeat(64), ReplyForm::Plain, now), 64);
        assert_eq!(known.object(SCOPE, MOST, now), "{}");
    }

    #[test]
    fn a_reload_forgets_the_routes_that_are_gone() {
        let (mut known, now) = (KeptAnswers::default(), Instant::now());
        known.note(&key(&["1"]), &answer("a", ReplyForm::Plain, now), MOST);
        known.keep_only(&[SCOPE]);
        assert_eq!(known.object(SCOPE, MOST, now), r#"{"1":"a"}"#);
        known.keep_only(&[Scope(8)]);
        assert!(known.0.is_empty());
    }
}
