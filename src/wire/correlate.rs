//! Whose answer a message is, for one worker.
//!
//! Pure. Calls stay in the books until their answer comes, also those that nobody waits for any
//! more: a late answer must find its own call, or it would meet another's.
//!
//! Memory: one entry for each call in the worker; how many there are is up to the pool.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::encode::{Encoder, TooLong};
use super::json_id::{self, OwnId};
use crate::base::Question;
use crate::base::pattern::{Match, Pattern};
use crate::config::{Matching, PoolSettings, ReplyShape};

/// The calls in one worker, each known to the caller as a `T`.
#[derive(Debug)]
pub struct Correlator<T> {
    rule: Rule,
    /// Oldest first, so tags ascend.
    calls: VecDeque<Waiting<T>>,
    last_tag: u64,
}

/// Why a question was not asked. Nothing was written and nothing noted down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than `message_max` or the framing allows: `body_too_large`.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// `json-id` cannot put its `id` in: `bad_request`. Says what was expected.
    #[error("{0}")]
    Unfit(&'static str),
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The answer to this call, which is out of the books now.
    Answer {
        /// The call.
        token: T,
        /// The answer without its tag, or with the caller's own `id`.
        text: Bytes,
        /// The question as the caller put it.
        question: Bytes,
        /// The message itself showed which call it is for (all but `order`).
        proven: bool,
    },
    /// The worker said something that belongs to no call and asks for nothing (`json-id`).
    Notification,
    /// The worker asked something of its own (`json-id`).
    WorkerAsks {
        /// The answer to write back, before framing: "method not found".
        reply: Bytes,
    },
    /// The worker is out of step and must be stopped. Says why, for the operator.
    Mismatch(String),
}

#[derive(Debug)]
enum Rule {
    Order,
    /// The shapes in which an answer may repeat its question.
    Echo(Vec<Pattern>),
    Tag,
    JsonId,
}

#[derive(Debug)]
struct Waiting<T> {
    token: T,
    question: Question,
    /// What we put before the question or into it.
    tag: u64,
    /// The caller's `id` (`json-id`).
    own_id: OwnId,
}

impl<T> Correlator<T> {
    /// The empty books of a new worker of this pool.
    pub fn new(pool: &PoolSettings) -> Self {
        let rule = match pool.matching {
            Matching::Order => Rule::Order,
            Matching::Echo => {
                let reply = match &pool.reply {
                    ReplyShape::Pattern(pattern) => Some(pattern),
                    ReplyShape::Plain | ReplyShape::Json | ReplyShape::Http => None,
                };
                let shapes = pool.error.iter().chain(reply).filter(|shape| shape.has_input());
                Rule::Echo(shapes.cloned().collect())
            }
            Matching::Tag => Rule::Tag,
            Matching::JsonId => Rule::JsonId,
        };
        Self::with_rule(rule)
    }

    fn with_rule(rule: Rule) -> Self {
        Self { rule, calls: VecDeque::new(), last_tag: 0 }
    }

    /// Notes a call down and writes its question, framed, to the end of `out`.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing was noted or written.
    pub fn ask(
        &mut self,
        token: T,
        question: &Question,
        encoder: &Encoder,
        out: &mut BytesMut,
    ) -> Result<(), Refused> {
        let nonce = question.nonce.as_deref();
        let tag = self.last_tag + 1;
        let mut own_id = OwnId::Absent;
        match self.rule {
            Rule::Order | Rule::Echo(_) => encoder.encode(b"", &question.text, nonce, out)?,
            Rule::Tag => {
                let mut prefix = itoa::Buffer::new().format(tag).as_bytes().to_vec();
                prefix.push(b' ');
                encoder.encode(&prefix, &question.text, nonce, out)?;
            }
            Rule::JsonId => {
                let text;
                (text, own_id) = json_id::replace(&question.text, tag).map_err(Refused::Unfit)?;
                encoder.encode(b"", &text, nonce, out)?;
            }
        }
        self.last_tag = tag;
        self.calls.push_back(Waiting { token, question: question.clone(), tag, own_id });
        Ok(())
    }

    /// Says what a message is. An answered call leaves the books.
    pub fn received(&mut self, message: Bytes) -> Received<T> {
        if self.calls.is_empty() && !matches!(self.rule, Rule::JsonId) {
            return Received::Mismatch("it wrote a message while nothing was asked".to_owned());
        }
        match &self.rule {
            Rule::Order => self.answered(0, message, false),
            Rule::Echo(shapes) => match find_echo(&self.calls, shapes, &message) {
                Ok(place) => self.answered(place, message, true),
                Err(reason) => Received::Mismatch(reason.to_owned()),
            },
            Rule::Tag => self.received_tagged(&message),
            Rule::JsonId => self.received_json(message),
        }
    }

    /// May the worker speak while nothing is asked (`json-id`: notifications)?
    pub fn may_speak(&self) -> bool {
        matches!(self.rule, Rule::JsonId)
    }

    /// The call that was asked first of those without an answer.
    pub fn oldest(&self) -> Option<&T> {
        self.calls.front().map(|call| &call.token)
    }

    /// The nonce of that call, for [`super::Decoder::next`].
    pub fn oldest_nonce(&self) -> Option<&[u8]> {
        self.calls.front()?.question.nonce.as_deref()
    }

    /// How many calls have no answer yet.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Is every call answered?
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The calls without an answer, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.calls.iter().map(|call| &call.token)
    }

    /// Empties the books: what a lost worker leaves behind, oldest first.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.calls).into_iter().map(|call| call.token)
    }

    #[inline]
    fn answered(&mut self, place: usize, text: Bytes, proven: bool) -> Received<T> {
        let call = self.calls.remove(place).expect("the place was found in the books");
        Received::Answer { token: call.token, text, question: call.question.text, proven }
    }

    fn place_of(&self, tag: &[u8]) -> Option<usize> {
        // A text that is not exactly how we write the number is not ours.
        let number: u64 = std::str::from_utf8(tag).ok()?.parse().ok()?;
        let place = self.calls.binary_search_by_key(&number, |call| call.tag).ok()?;
        (itoa::Buffer::new().format(number).as_bytes() == tag).then_some(place)
    }

    fn received_tagged(&mut self, message: &Bytes) -> Received<T> {
        let end = memchr::memchr(b' ', message).unwrap_or(message.len());
        match self.place_of(&message[..end]) {
            Some(place) => {
                let text = message.slice((end + 1).min(message.len())..);
                self.answered(place, text, true)
            }
            None => Received::Mismatch("its message begins with no tag of a call".to_owned()),
        }
    }

    fn received_json(&mut self, message: Bytes) -> Received<T> {
        let read = match json_id::read(&message) {
            Ok(read) => read,
            Err(reason) => return Received::Mismatch(reason.to_owned()),
        };
        match (read.has_method, &read.id) {
            (true, None) => Received::Notification,
            (true, Some(id)) => Received::WorkerAsks {
                reply: json_id::method_not_found(&message[id.value.clone()]),
            },
            (false, None) => Received::Mismatch("its message has no `id`".to_owned()),
            (false, Some(id)) => match self.place_of(&message[id.value.clone()]) {
                Some(place) => {
                    let text = json_id::restore(&message, id, &self.calls[place].own_id);
                    self.answered(place, text, true)
                }
                None => Received::Mismatch("the `id` of its message is of no call".to_owned()),
            },
        }
    }
}

/// The oldest call whose question the answer repeats. Where the answer fits several different
/// questions it is of none: which was meant cannot be known.
fn find_echo<T>(
    calls: &VecDeque<Waiting<T>>,
    shapes: &[Pattern],
    answer: &Bytes,
) -> Result<usize, &'static str> {
    for wanted in [true, false] {
        let mut found: Option<usize> = None;
        for (place, call) in calls.iter().enumerate() {
            let question = &call.question.text;
            if found.is_some_and(|found| calls[found].question.text == *question)
                || !repeats(shapes, question, answer, wanted)
            {
                continue;
            }
            if found.replace(place).is_some() {
                return Err("its message repeats more than one question");
            }
        }
        if let Some(place) = found {
            return Ok(place);
        }
    }
    Err("its message repeats the question of no call")
}

/// Does the answer fit one of the shapes wholly, or (`wholly` not set) at least show that it is
/// for this question?
fn repeats(shapes: &[Pattern], question: &[u8], answer: &Bytes, wholly: bool) -> bool {
    shapes.iter().any(|shape| match shape.fit(question, answer) {
        Match::Fits(_) => true,
        Match::ProvenButUnfit(_) => !wholly,
        Match::Doubtful => false,
    })
}
