//! Finds the call that a message of one worker answers.
//!
//! Pure: a call stays in the books until its last message has come, even if its caller has left or
//! was told that it took too long: a late answer must find its own call, or it would meet another
//! one.
//!
//! Memory: one entry for each call in the worker, whose number the pool limits, and the ids of
//! cancelled calls ([`CancelledIds`]).

mod listeners;
mod told;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::asides::Asides;
use super::cancelled::CancelledIds;
use super::echo::{self, NotOne};
use super::encode::Encoder;
use super::json_id::{self, MessageReader, OwnId, ReadMessage, Unusable, WorkerMessage, number};
use super::kinds;
use super::ours::put_ours;
use super::outgoing::QuestionSink;
use super::progress;
use super::received::{Received, Refused, Share};
use crate::base::Question;
use crate::base::json::{self, Member};
use crate::base::pattern::Pattern;
use crate::base::places::IdPlaces;
use crate::config::{IdNames, Matching, ProgressShape, ReplyShape, StreamEnd, WireSettings};

/// The calls in one worker, each known to the pool by a token `T`.
#[derive(Debug)]
pub struct Correlator<T> {
    rule: Rule,
    /// Oldest first, so tags ascend.
    calls: VecDeque<OpenCall<T>>,
    last_tag: u64,
    /// How the last part of an answer is recognised; `None` if an answer is one message.
    stream: Option<StreamEnd>,
    /// What a message looks like that says how far a call is; `None`: there are none.
    progress: Option<ProgressShape>,
    cancelled: CancelledIds,
    /// A message that cannot be an answer is no reason to stop the worker.
    drops_strays: bool,
    /// Callers may be told what the worker says before its answer.
    passes_asides: bool,
    /// Answers to questions of the worker that nobody answers any longer, to be written.
    refusals: Vec<Bytes>,
}

#[derive(Debug)]
enum Rule {
    Order,
    /// The shapes in which an answer may repeat its question.
    Echo(Vec<Pattern>),
    Tag,
    JsonId(Arc<IdNames>),
}

#[derive(Debug)]
struct OpenCall<T> {
    token: T,
    /// The text of its question.
    question: Bytes,
    /// The nonce of its question.
    nonce: Option<Bytes>,
    /// The number that stands before the question (`tag`) or is its `id` (`json-id`).
    tag: u64,
    /// The caller's `id` (`json-id`).
    own_id: OwnId,
    /// Its caller was told that it took too long. Its answer is dropped.
    is_given_up: bool,
    /// The way to its caller before the answer; `None` if the caller is told nothing.
    asides: Option<Box<Asides>>,
    /// A part of its answer has come.
    has_begun: bool,
}

impl<T: Clone> Correlator<T> {
    /// The empty books of a new worker of this pool.
    pub fn new(wire: &WireSettings) -> Self {
        let reply = match &wire.reply {
            ReplyShape::Pattern(pattern) => Some(pattern),
            ReplyShape::Plain | ReplyShape::Json | ReplyShape::Http | ReplyShape::Kinds => None,
        };
        let stream = wire.stream.as_ref().map(|stream| stream.end.clone());
        let mut books = Self::matching(wire.matching, wire.error.iter().chain(reply));
        if let Rule::JsonId(names) = &mut books.rule {
            *names = Arc::new(wire.id.clone());
        }
        let drops_strays = wire.drops_strays || books.drops_strays;
        let passes_asides = wire.has_asides();
        let progress = wire.progress.clone();
        Self { stream, progress, drops_strays, passes_asides, ..books }
    }

    /// Reads answers in parts that end in this way.
    #[must_use]
    pub fn ending_with(self, end: StreamEnd) -> Self {
        Self { stream: Some(end), ..self }
    }

    /// Makes the tags and ids count up from the number after this one. No call may be open.
    #[must_use]
    pub fn counting_from(self, number: u64) -> Self {
        Self { last_tag: number, cancelled: CancelledIds::above(number), ..self }
    }

    /// Empty books for this matching. `shapes` are the patterns of answers: with `echo`, those
    /// that have `{input}` show which call is answered.
    pub fn matching<'a>(matching: Matching, shapes: impl Iterator<Item = &'a Pattern>) -> Self {
        let rule = match matching {
            Matching::Order => Rule::Order,
            Matching::Echo => {
                Rule::Echo(shapes.filter(|shape| shape.has_input()).cloned().collect())
            }
            Matching::Tag => Rule::Tag,
            Matching::JsonId => Rule::JsonId(Arc::default()),
        };
        let (calls, cancelled) = (VecDeque::new(), CancelledIds::default());
        let drops_strays = matching == Matching::JsonId;
        let (passes_asides, refusals) = (false, Vec::new());
        Self {
            rule,
            calls,
            last_tag: 0,
            stream: None,
            progress: None,
            cancelled,
            drops_strays,
            passes_asides,
            refusals,
        }
    }

    /// Adds a call to the books and appends its framed question to `out`.
    ///
    /// # Errors
    ///
    /// `Refused`; then the books and `out` are unchanged.
    pub fn ask(
        &mut self,
        token: T,
        question: &Question,
        encoder: &Encoder,
        out: &mut impl QuestionSink,
    ) -> Result<(), Refused> {
        let nonce = question.nonce.as_deref();
        let tag = self.last_tag + 1;
        let mut own_id = OwnId::Absent;
        let mut asides = None;
        match &self.rule {
            Rule::Order | Rule::Echo(_) => encoder.put(b"", &question.text, nonce, out)?,
            Rule::Tag => {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(tag).as_bytes();
                let mut prefix = [b' '; 21];
                prefix[..digits.len()].copy_from_slice(digits);
                encoder.put(&prefix[..=digits.len()], &question.text, nonce, out)?;
            }
            Rule::JsonId(names) => {
                let find = || IdPlaces::of(&question.text, &names.send, self.passes_asides);
                let places = match &question.places {
                    Some(places) => Cow::Borrowed(&**places),
                    None => Cow::Owned(find().map_err(Refused::Unfit)?),
                };
                let write = |pieces: &[&[u8]]| encoder.encode_all(pieces, nonce, out.joined());
                let own = put_ours(&question.text, &places, (&names.send, tag), write)?;
                own_id = own.id;
                let listener = question.listener.clone().filter(|_| self.passes_asides);
                asides = listener.map(|name| Box::new(Asides::new(name, own.tokens)));
            }
        }
        self.last_tag = tag;
        self.calls.push_back(OpenCall {
            token,
            question: question.text.clone(),
            nonce: question.nonce.clone(),
            tag,
            own_id,
            is_given_up: false,
            has_begun: false,
            asides,
        });
        Ok(())
    }

    /// Decides what a message is. A call leaves the books with the last share of its answer.
    pub fn received(&mut self, message: Bytes) -> Received<T> {
        if self.calls.is_empty() && !matches!(self.rule, Rule::JsonId(_)) {
            return self.stray("it wrote a message while nothing was asked");
        }
        match &self.rule {
            Rule::Order => self.answered(0, message, false),
            Rule::Echo(shapes) => {
                let questions = self.calls.iter().map(|call| &call.question);
                if let Some(told) = self.told_by_echo(&questions, &message) {
                    return told;
                }
                match echo::find(&questions, shapes, &message) {
                    Ok(place) => self.answered(self.wanted_first(place), message, true),
                    Err(NotOne::None) => self.stray("its message repeats the question of no call"),
                    Err(NotOne::Several) => {
                        Received::Mismatch("its message repeats more than one question".to_owned())
                    }
                }
            }
            Rule::Tag => self.received_tagged(&message),
            Rule::JsonId(names) => {
                let read = json_id::read(&message, names);
                self.received_read(ReadMessage { message, read })
            }
        }
    }

    /// Returns what reads all of a message, if all of it must be read to know its call (`json-id`).
    /// For a large message, that is better done on a thread of its own.
    pub fn reader(&self) -> Option<MessageReader> {
        match &self.rule {
            Rule::JsonId(names) => Some(MessageReader::new(Arc::clone(names))),
            Rule::Order | Rule::Echo(_) | Rule::Tag => None,
        }
    }

    /// Decides as [`Correlator::received`] does, of a message that was read already.
    pub fn received_read(&mut self, ReadMessage { message, read }: ReadMessage) -> Received<T> {
        match read {
            Ok(WorkerMessage::Answer(id)) => self.received_json(&message, &id),
            Ok(WorkerMessage::Notification) => {
                self.said(&message).unwrap_or(Received::Notification)
            }
            Ok(WorkerMessage::Question { id, refusal }) => id
                .and_then(|id| self.asked(&message, &id.value))
                .unwrap_or(Received::WorkerAsks { reply: refusal }),
            Err(Unusable::Stray(reason)) => self.stray(reason),
            Err(Unusable::Doubtful(reason)) => Received::Mismatch(reason),
        }
    }

    /// Returns true if the worker may write while nothing is asked: notifications (`json-id`), or
    /// what is dropped.
    pub fn may_speak(&self) -> bool {
        self.drops_strays
    }

    fn stray(&self, reason: &'static str) -> Received<T> {
        if self.drops_strays {
            Received::Stray(reason)
        } else {
            Received::Mismatch(reason.to_owned())
        }
    }

    /// Of the calls with the same question as this one, returns the place of the oldest whose
    /// caller still waits: the answer is right for any of them, and some may never come.
    fn wanted_first(&self, place: usize) -> usize {
        if !self.calls[place].is_given_up {
            return place;
        }
        let question = &self.calls[place].question;
        let is_wanted = |call: &OpenCall<T>| !call.is_given_up && call.question == *question;
        self.calls.iter().position(is_wanted).unwrap_or(place)
    }

    /// The oldest call without an answer.
    pub fn oldest(&self) -> Option<&T> {
        self.calls.front().map(|call| &call.token)
    }

    /// The nonce of the oldest call, for [`super::Decoder::next`].
    pub fn oldest_nonce(&self) -> Option<&[u8]> {
        self.calls.front()?.nonce.as_deref()
    }

    /// How many calls have no answer yet.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Returns true if every call is answered.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Removes the oldest call, whose turn is over.
    pub fn forget_oldest(&mut self) {
        self.calls.pop_front();
    }

    /// The calls without an answer, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.calls.iter().map(|call| &call.token)
    }

    /// Empties the books. Returns the calls that a lost worker leaves behind, oldest first.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.calls).into_iter().map(|call| call.token)
    }

    #[inline]
    fn answered(&mut self, place: usize, text: Bytes, proven: bool) -> Received<T> {
        if let Some(told) = self.told(place, &text) {
            return told;
        }
        let share = match &self.stream {
            Some(StreamEnd::Until(end)) if text == end.as_bytes() => Share::End,
            Some(StreamEnd::Until(_) | StreamEnd::Turn) => Share::Part,
            Some(StreamEnd::Kind) if kinds::is_part(&text) => Share::Part,
            Some(StreamEnd::Kind) if kinds::is_end(&text) => Share::End,
            Some(StreamEnd::Kind) if self.calls[place].has_begun && kinds::is_good(&text) => {
                let reason = "it wrote a whole answer after parts of it";
                return Received::Mismatch(reason.to_owned());
            }
            Some(StreamEnd::Kind) | None => Share::Whole,
            Some(StreamEnd::More) => match says_more(&text) {
                Ok(true) => Share::Part,
                Ok(false) => Share::Last,
                Err(reason) => return Received::Mismatch(reason.to_owned()),
            },
        };
        if share.is_last() {
            self.close(place);
        }
        if self.calls[place].is_given_up {
            let ended = share.is_last().then(|| self.calls.remove(place)).flatten();
            return Received::Late { ended: ended.map(|call| call.token) };
        }
        if share == Share::Part {
            let call = &mut self.calls[place];
            call.has_begun = true;
            let (token, question) = (call.token.clone(), call.question.clone());
            return Received::Answer { token, text, question, proven, share };
        }
        let call = self.calls.remove(place).expect("the place was found in the books");
        Received::Answer { token: call.token, text, question: call.question, proven, share }
    }

    /// Gives a call up: its answer is no longer wanted, and is [`Received::Late`] when it comes.
    /// The call stays in the books until then. Returns the number that the worker knows it by.
    pub fn give_up(&mut self, token: &T) -> Option<u64>
    where
        T: PartialEq,
    {
        let place = self.calls.iter().position(|call| call.token == *token)?;
        self.close(place);
        let call = &mut self.calls[place];
        call.is_given_up = true;
        Some(call.tag)
    }

    /// Returns the call with this tag; `None` if there is none, or it was given up.
    pub fn awaited(&self, tag: &[u8]) -> Option<&T> {
        let call = &self.calls[self.place_of(tag)?];
        (!call.is_given_up).then_some(&call.token)
    }

    /// Removes a call that was taken out of the worker's pipe: the worker knows nothing of it.
    pub fn take_back(&mut self, token: &T)
    where
        T: PartialEq,
    {
        self.calls.retain(|call| call.token != *token);
    }

    /// Returns the number that the worker knows this call by.
    pub fn tag_of(&self, token: &T) -> Option<u64>
    where
        T: PartialEq,
    {
        self.calls.iter().find(|call| call.token == *token).map(|call| call.tag)
    }

    /// Removes a call whose answer is no longer wanted. Returns the `id` that the worker knows it
    /// by (`json-id`). Messages that still come for it are [`Received::Late`].
    pub fn cancel(&mut self, token: &T) -> Option<u64>
    where
        T: PartialEq,
    {
        let place = self.calls.iter().position(|call| call.token == *token)?;
        self.close(place);
        let tag = self.calls.remove(place)?.tag;
        self.cancelled.add(tag);
        Some(tag)
    }

    fn was_cancelled(&self, tag: &[u8]) -> bool {
        number(tag).is_some_and(|tag| self.cancelled.contains(tag))
    }

    fn place_of(&self, tag: &[u8]) -> Option<usize> {
        self.place_of_tag(number(tag)?)
    }

    fn place_of_tag(&self, number: u64) -> Option<usize> {
        self.calls.binary_search_by_key(&number, |call| call.tag).ok()
    }

    fn received_tagged(&mut self, message: &Bytes) -> Received<T> {
        let end = memchr::memchr(b' ', message).unwrap_or(message.len());
        match self.place_of(&message[..end]) {
            Some(place) => {
                let text = message.slice((end + 1).min(message.len())..);
                self.answered(place, text, true)
            }
            None => self.stray("its message does not begin with the tag of a call"),
        }
    }

    fn received_json(&mut self, message: &Bytes, id: &Member) -> Received<T> {
        let tag = &message[id.value.clone()];
        match self.place_of(tag) {
            Some(place) => {
                let text = json_id::restore(message, id, &self.calls[place].own_id);
                self.answered(place, text, true)
            }
            None if self.was_cancelled(tag) => {
                let shape = self.progress.as_ref();
                let is_progress =
                    shape.is_some_and(|it| progress::read(it, b"", message).is_some());
                if let (None, false, Some(tag)) = (&self.stream, is_progress, number(tag)) {
                    self.cancelled.answered(tag);
                }
                Received::Late { ended: None }
            }
            None => Received::Mismatch("the `id` of its message belongs to no call".to_owned()),
        }
    }
}

/// Returns true if this part of an answer says that more parts follow.
fn says_more(part: &[u8]) -> Result<bool, &'static str> {
    match json::members(part, ["more"]) {
        Ok(object) => {
            let [more] = object.members;
            Ok(more.is_some_and(|more| part[more.value] == *b"true"))
        }
        Err(json::Flaw::NotObject) => Ok(false),
        Err(json::Flaw::NotJson) => Err("its message is not JSON"),
        Err(json::Flaw::Twice) => Err("its message has its `more` twice"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Framing;

    /// The books of one worker, with what was written to it.
    struct Books {
        correlator: Correlator<u32>,
        written: BytesMut,
    }

    impl Books {
        fn new(matching: Matching, shapes: &[&str]) -> Self {
            let shapes: Vec<_> =
                shapes.iter().map(|shape| Pattern::parse(shape).expect("a pattern")).collect();
            let correlator = Correlator::matching(matching, shapes.iter());
            Self { correlator, written: BytesMut::new() }
        }

        fn try_ask(&mut self, token: u32, question: &str) -> Result<(), Refused> {
            let encoder = Encoder::new(&Framing::Line, 100);
            let question = Question::plain(question.to_owned());
            self.correlator.ask(token, &question, &encoder, &mut self.written)
        }

        /// Asks, and returns what was written.
        fn ask(&mut self, token: u32, question: &str) -> String {
            self.try_ask(token, question).expect("a good question");
            String::from_utf8(self.written.split().to_vec()).expect("text")
        }

        fn receive(&mut self, message: &str) -> Received<u32> {
            self.correlator.received(Bytes::copy_from_slice(message.as_bytes()))
        }

        fn is_out_of_step(&mut self, message: &str) {
            let before = self.correlator.len();
            let received = self.receive(message);
            assert!(matches!(received, Received::Mismatch(_)), "{message}: {received:?}");
            assert_eq!(self.correlator.len(), before, "a mismatch answers nobody");
        }
    }

    /// Token, text and share of the answer that this message is.
    fn share(books: &mut Books, message: &str) -> (u32, String, Share) {
        match books.receive(message) {
            Received::Answer { token, text, share, .. } => {
                (token, String::from_utf8(text.to_vec()).expect("text"), share)
            }
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn the_first_byte_says_whether_more_of_an_answer_follows() {
        let mut books = Books::new(Matching::Tag, &[]);
        books.correlator.stream = Some(StreamEnd::Kind);
        for token in 1..=5 {
            books.ask(token, "f {}");
        }
        assert_eq!(share(&mut books, "2 =55"), (2, "=55".to_owned(), Share::Whole));
        assert_eq!(share(&mut books, "1 +1"), (1, "+1".to_owned(), Share::Part));
        assert_eq!(share(&mut books, "3 ."), (3, ".".to_owned(), Share::End));
        assert_eq!(share(&mut books, "1 +2"), (1, "+2".to_owned(), Share::Part));
        assert_eq!(share(&mut books, "1 !{}"), (1, "!{}".to_owned(), Share::Whole));
        // Nothing comes after an end, and no whole answer after parts.
        for after in ["1 +3", "2 .", "3 +1", "9 =1", "", "=1"] {
            books.is_out_of_step(after);
        }
        assert_eq!(share(&mut books, "4 +1").2, Share::Part);
        for whole in ["4 =1", "4 b\nx"] {
            books.is_out_of_step(whole);
        }
        assert_eq!(share(&mut books, "4 .").2, Share::End);
        assert_eq!(share(&mut books, "5 ").2, Share::Whole, "an empty answer is for the judge");
        assert!(books.correlator.is_empty());
    }

    #[test]
    fn the_end_of_a_call_that_was_given_up_is_its_last_message() {
        let mut books = Books::new(Matching::Tag, &[]);
        books.correlator.stream = Some(StreamEnd::Kind);
        books.ask(7, "f {}");
        assert_eq!((books.correlator.tag_of(&7), books.correlator.tag_of(&8)), (Some(1), None));
        assert_eq!(books.correlator.give_up(&7), Some(1));
        assert_eq!(books.receive("1 +1"), Received::Late { ended: None });
        assert_eq!(books.receive("1 ."), Received::Late { ended: Some(7) });
    }

    #[test]
    fn an_answer_in_parts_ends_with_the_text_that_says_so() {
        for (matching, tag) in [(Matching::Order, ""), (Matching::Tag, "1 ")] {
            let mut books = Books::new(matching, &[]);
            books.correlator.stream = Some(StreamEnd::Until("END".to_owned()));
            books.ask(7, "q");
            for part in ["a", "", "END of it"] {
                let expected = (7, part.to_owned(), Share::Part);
                assert_eq!(share(&mut books, &format!("{tag}{part}")), expected);
            }
            assert_eq!(share(&mut books, &format!("{tag}END")), (7, "END".to_owned(), Share::End));
            assert!(books.correlator.is_empty());
            books.is_out_of_step(&format!("{tag}a"));
        }
    }

    #[test]
    fn only_more_at_the_top_of_a_part_says_that_others_follow() {
        let mut books = Books::new(Matching::JsonId, &[]);
        books.correlator.stream = Some(StreamEnd::More);
        books.ask(1, r#"{"id":"x"}"#);
        books.ask(2, "{}");
        let part = r#"{"id":1,"more":true}"#;
        let own = r#"{"id":"x","more":true}"#.to_owned();
        assert_eq!(share(&mut books, part), (1, own, Share::Part));
        assert_eq!(share(&mut books, r#"{"more" : true,"id":2}"#).2, Share::Part);
        assert_eq!(share(&mut books, r#"{"id":2,"a":{"more":true}}"#).2, Share::Last);
        books.is_out_of_step(r#"{"id":1,"more":true,"more":false}"#);
        assert_eq!(
            share(&mut books, r#"{"id":1,"more":false,"s":"\"more\":true"}"#).2,
            Share::Last
        );
        let mut books = Books::new(Matching::Order, &[]);
        books.correlator.stream = Some(StreamEnd::More);
        books.ask(1, "q");
        books.is_out_of_step("no JSON");
        assert_eq!(share(&mut books, "[{\"more\":true}]").2, Share::Last);
    }

    #[test]
    fn a_message_for_any_of_very_many_cancelled_calls_is_late() {
        let mut books = Books::new(Matching::JsonId, &[]);
        for token in 1..=2000 {
            books.ask(token, "{}");
            assert_eq!(books.correlator.cancel(&token), Some(u64::from(token)));
        }
        books.ask(2001, "{}");
        for id in [1, 500, 1999] {
            let answer = format!("{{\"id\":{id}}}");
            assert_eq!(
                books.correlator.received(answer.into()),
                Received::Late { ended: None },
                "{id}"
            );
        }
        for id in ["0", "2002"] {
            let answer = books.correlator.received(format!("{{\"id\":{id}}}").into());
            assert!(matches!(answer, Received::Mismatch(_)), "{id}: {answer:?}");
        }
    }

    #[test]
    fn a_message_for_a_cancelled_call_is_late_and_no_other_is() {
        let mut books = Books::new(Matching::JsonId, &[]);
        for token in 1..=3 {
            books.ask(token, "{}");
        }
        assert_eq!(books.correlator.cancel(&3), Some(3));
        assert_eq!(books.correlator.cancel(&1), Some(1));
        assert_eq!(books.correlator.cancel(&1), None);
        for late in [r#"{"id":1}"#, r#"{"id":3}"#, r#"{"id":3}"#] {
            assert_eq!(books.receive(late), Received::Late { ended: None });
        }
        books.is_out_of_step(r#"{"id":4}"#);
        books.is_out_of_step(r#"{"id":"1"}"#);
        assert_eq!(share(&mut books, r#"{"id":2}"#).0, 2);
    }

    /// Books whose callers may be told what the worker says before its answer.
    fn with_asides() -> Books {
        let mut books = Books::new(Matching::JsonId, &[]);
        books.correlator.passes_asides = true;
        books
    }

    /// Asks for a caller who listens, and returns what was written.
    fn ask_for_listener(books: &mut Books, token: u32, question: &str) -> String {
        let encoder = Encoder::new(&Framing::Line, 1000);
        let listener = Some(Bytes::from(format!("secret{token}")));
        let question = Question { listener, ..Question::plain(question.to_owned()) };
        books.correlator.ask(token, &question, &encoder, &mut books.written).expect("it is good");
        String::from_utf8(books.written.split().to_vec()).expect("text")
    }

    fn progress(token: &str) -> String {
        let begin = r#"{"method":"notifications/progress","params":{"progressToken":"#;
        format!("{begin}{token}}}}}")
    }

    fn aside(books: &mut Books, message: &str) -> Option<(u32, String)> {
        match books.receive(message) {
            Received::Aside { token, text } => {
                Some((token, String::from_utf8(text.to_vec()).expect("text")))
            }
            Received::Notification | Received::WorkerAsks { .. } => None,
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn progress_is_for_the_call_whose_token_it_names_however_equal_those_of_the_callers_are() {
        let question = r#"{"id":1,"params":{"_meta":{"progressToken":"p"}}}"#;
        let mut books = with_asides();
        for token in 1..=2 {
            let sent = ask_for_listener(&mut books, token, question);
            assert_eq!(
                sent,
                question
                    .replace("\"p\"", &format!("\"{token}-0\""))
                    .replace("1,", &format!("{token},"))
                    + "\n"
            );
        }
        // It listens to nothing, and its token is replaced all the same.
        assert!(books.ask(3, &question.replace("\"p\"", "\"2-0\"")).contains("\"3-0\""));
        for token in [2, 1, 2] {
            let heard = aside(&mut books, &progress(&format!("\"{token}-0\"")));
            assert_eq!(heard, Some((token, progress("\"p\""))));
        }
        for nobody in ["\"p\"", "\"3-0\"", "\"4-0\"", "\"1-1\"", "1", "null"] {
            assert_eq!(aside(&mut books, &progress(nobody)), None, "{nobody}");
        }
        share(&mut books, r#"{"id":1,"result":0}"#);
        assert_eq!(aside(&mut books, &progress("\"1-0\"")), None, "it is answered");
        books.correlator.give_up(&2);
        assert_eq!(aside(&mut books, &progress("\"2-0\"")), None, "it is given up");
    }

    #[test]
    fn what_names_no_call_is_for_the_only_call_or_for_nobody() {
        let (asks, says) = (r#"{"id":0,"method":"roots/list"}"#, r#"{"method":"log"}"#);
        let mut books = with_asides();
        ask_for_listener(&mut books, 1, "{}");
        assert_eq!(aside(&mut books, says), Some((1, says.to_owned())));
        let seen = asks.replace('0', "\"secret1-0\"");
        assert_eq!(aside(&mut books, asks), Some((1, seen)));
        books.ask(2, "{}");
        assert_eq!((aside(&mut books, asks), aside(&mut books, says)), (None, None), "two calls");
        books.correlator.cancel(&2);
        assert_eq!(aside(&mut books, says), None, "it may still be at work on the cancelled call");
        assert_eq!(books.receive(r#"{"id":2}"#), Received::Late { ended: None });
        assert!(aside(&mut books, says).is_some(), "that is over");
        assert_eq!(books.correlator.answer_of_caller(b"\"secret1-0\""), Some(Bytes::from("0")));
        share(&mut books, r#"{"id":1}"#);
        books.ask(3, "{}");
        assert_eq!(aside(&mut books, says), None, "its caller does not listen");
    }

    #[test]
    fn a_question_that_nobody_will_answer_is_refused() {
        type End = fn(&mut Books);
        let ends: [(&str, End); 4] = [
            ("its caller left", |books| books.correlator.stop_listening(&1)),
            ("cancelled", |books| assert!(books.correlator.cancel(&1).is_some())),
            ("given up", |books| assert!(books.correlator.give_up(&1).is_some())),
            ("answered", |books| drop(share(books, r#"{"id":1}"#))),
        ];
        for (how, end) in ends {
            let mut books = with_asides();
            ask_for_listener(&mut books, 1, "{}");
            for id in ["\"a\"", "7"] {
                aside(&mut books, &format!(r#"{{"id":{id},"method":"m"}}"#)).expect("it listens");
            }
            assert!(books.correlator.answer_of_caller(b"\"secret1-0\"").is_some());
            assert!(books.correlator.take_refusals().is_empty());
            end(&mut books);
            assert_eq!(books.correlator.take_refusals(), [json_id::unanswerable(b"7")], "{how}");
            assert_eq!(books.correlator.answer_of_caller(b"\"secret1-1\""), None, "{how}");
        }
    }

    fn answer(token: u32, text: &str, question: &str, proven: bool) -> Received<u32> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let (text, question) = (bytes(text), bytes(question));
        Received::Answer { token, text, question, proven, share: Share::Whole }
    }

    #[test]
    fn in_order_an_answer_is_for_the_oldest_call_and_proves_nothing() {
        let mut books = Books::new(Matching::Order, &[]);
        assert_eq!(books.ask(1, "a"), "a\n");
        assert_eq!(books.ask(2, "b"), "b\n");
        assert_eq!(books.correlator.oldest(), Some(&1));
        assert_eq!(books.receive("x"), answer(1, "x", "a", false));
        assert_eq!(books.receive("y"), answer(2, "y", "b", false));
        assert!(books.correlator.is_empty());
    }

    #[test]
    fn a_message_while_nothing_is_asked_is_out_of_step() {
        for matching in [Matching::Order, Matching::Echo, Matching::Tag] {
            let mut books = Books::new(matching, &["{input}|{r}"]);
            books.is_out_of_step("1|1");
            books.ask(1, "1");
            assert!(
                matches!(books.receive("1|1"), Received::Answer { .. })
                    || matching == Matching::Tag
            );
        }
        Books::new(Matching::JsonId, &[]).is_out_of_step(r#"{"id":1,"result":0}"#);
    }

    #[test]
    fn a_tag_stands_before_the_question_and_comes_off_the_answer() {
        let mut books = Books::new(Matching::Tag, &[]);
        assert_eq!(books.ask(1, "http://a"), "1 http://a\n");
        assert_eq!(books.ask(2, "http://b"), "2 http://b\n");
        assert_eq!(books.ask(3, ""), "3 \n");
        assert_eq!(books.receive("3"), answer(3, "", "", true));
        assert_eq!(books.receive("2  OK x"), answer(2, " OK x", "http://b", true));
        assert_eq!(books.receive("1 "), answer(1, "", "http://a", true));
    }

    #[test]
    fn what_is_not_exactly_a_tag_of_a_call_is_out_of_step() {
        let mut books = Books::new(Matching::Tag, &[]);
        books.ask(1, "a");
        for message in [
            "",
            "ERR",
            "2 ERR",
            "01 ERR",
            "+1 ERR",
            " 1 ERR",
            "1\tERR",
            "1x",
            "-1 x",
            "0 x",
            "18446744073709551617 x",
        ] {
            books.is_out_of_step(message);
        }
        assert_eq!(books.receive("1 ERR"), answer(1, "ERR", "a", true));
        books.ask(2, "b");
        books.is_out_of_step("1 ERR");
    }

    #[test]
    fn json_answers_come_back_with_the_callers_own_id() {
        let mut books = Books::new(Matching::JsonId, &[]);
        assert_eq!(books.ask(1, r#"{"id":"x","q":1}"#), "{\"id\":1,\"q\":1}\n");
        assert_eq!(books.ask(2, r#"{"id":"x","q":2}"#), "{\"id\":2,\"q\":2}\n");
        assert_eq!(books.ask(3, r#"{"q":3}"#), "{\"id\":3,\"q\":3}\n");
        let second = answer(2, r#"{"r":4,"id":"x"}"#, r#"{"id":"x","q":2}"#, true);
        assert_eq!(books.receive(r#"{"r":4,"id":2}"#), second);
        assert_eq!(books.receive(r#"{"r":9,"id":3}"#), answer(3, r#"{"r":9}"#, r#"{"q":3}"#, true));
        assert_eq!(books.correlator.oldest(), Some(&1));
    }

    #[test]
    fn a_message_with_a_method_is_no_answer_even_with_the_id_of_a_call() {
        let mut books = Books::new(Matching::JsonId, &[]);
        books.ask(1, "{}");
        assert_eq!(books.receive(r#"{"method":"log","params":{"id":1}}"#), Received::Notification);
        let Received::WorkerAsks { reply } = books.receive(r#"{"id":1,"method":"ask"}"#) else {
            panic!("it asks");
        };
        assert!(reply.starts_with(br#"{"jsonrpc":"2.0","id":1,"error""#));
        let said = r#"{"id":1,"result":{"method":"x"}}"#;
        assert_eq!(books.receive(said), answer(1, r#"{"result":{"method":"x"}}"#, "{}", true));
    }

    #[test]
    fn json_that_answers_no_call_is_out_of_step() {
        let mut books = Books::new(Matching::JsonId, &[]);
        books.ask(1, "{}");
        for message in [
            "{}",
            r#"{"id":2}"#,
            r#"{"id":"1"}"#,
            r#"{"id":1.0}"#,
            r#"{"id":null}"#,
            r#"{"id":-1}"#,
            r#"{"id":1,"id":1}"#,
            r#"{"result":{"id":1}}"#,
        ] {
            books.is_out_of_step(message);
        }
    }

    #[test]
    fn what_is_no_json_object_is_a_stray_line() {
        let mut books = Books::new(Matching::JsonId, &[]);
        let strays = ["", "nope", "[]", "{", r#"[{"id":1}]"#, r#"{"id":1}{"id":1}"#];
        for asks in [false, true] {
            if asks {
                books.ask(1, "{}");
            }
            for message in strays {
                assert!(matches!(books.receive(message), Received::Stray(_)), "{message}");
            }
            assert_eq!(books.correlator.len(), usize::from(asks));
        }
    }

    #[test]
    fn under_tag_and_echo_a_stray_line_is_one_only_where_that_was_said() {
        for (matching, own) in [(Matching::Tag, "1 x"), (Matching::Echo, "a|x")] {
            let mut books = Books::new(matching, &["{input}|{r}"]);
            books.is_out_of_step("debug");
            books.correlator.drops_strays = true;
            assert!(books.correlator.may_speak());
            assert!(matches!(books.receive("debug"), Received::Stray(_)));
            books.ask(1, "a");
            assert!(matches!(books.receive("debug"), Received::Stray(_)));
            assert_eq!(share(&mut books, own).0, 1);
        }
        let mut books = Books::new(Matching::Echo, &["{input}|{r}"]);
        books.correlator.drops_strays = true;
        books.ask(1, "a");
        books.ask(2, "a|b");
        books.is_out_of_step("a|b|5");
    }

    #[test]
    fn the_answer_of_a_call_that_was_given_up_is_late_and_then_it_leaves_the_books() {
        for (matching, answer) in
            [(Matching::Tag, "1 x"), (Matching::JsonId, r#"{"id":1}"#), (Matching::Echo, "{}|x")]
        {
            let mut books = Books::new(matching, &["{input}|{r}"]);
            books.ask(7, "{}");
            books.correlator.give_up(&7);
            assert_eq!(books.correlator.len(), 1, "the worker still owes it");
            assert_eq!(books.receive(answer), Received::Late { ended: Some(7) });
            assert!(books.correlator.is_empty());
            books.is_out_of_step(answer);
        }
    }

    #[test]
    fn the_parts_of_a_call_that_was_given_up_are_late_up_to_the_last() {
        let mut books = Books::new(Matching::JsonId, &[]);
        books.correlator.stream = Some(StreamEnd::More);
        books.ask(7, "{}");
        books.correlator.give_up(&7);
        let part = r#"{"id":1,"more":true}"#;
        assert_eq!(books.receive(part), Received::Late { ended: None });
        assert_eq!(books.receive(r#"{"id":1}"#), Received::Late { ended: Some(7) });
    }

    #[test]
    fn an_echo_goes_to_the_caller_who_waits_before_the_one_who_was_given_up() {
        let mut books = Books::new(Matching::Echo, &["{input}|{r}"]);
        books.ask(1, "a");
        books.correlator.give_up(&1);
        books.ask(2, "a");
        assert_eq!(books.receive("a|5"), answer(2, "a|5", "a", true));
        assert_eq!(books.receive("a|5"), Received::Late { ended: Some(1) });
        books.is_out_of_step("a|5");
    }

    #[test]
    fn ids_count_on_from_where_they_were_told_to() {
        let correlator = Correlator::matching(Matching::JsonId, std::iter::empty());
        let correlator = correlator.counting_from(70_000);
        let mut books = Books { correlator, written: BytesMut::new() };
        assert_eq!(books.ask(1, r#"{"id":1}"#), "{\"id\":70001}\n");
        assert_eq!(books.ask(2, "{}"), "{\"id\":70002}\n");
        assert_eq!(books.correlator.cancel(&1), Some(70_001));
        books.is_out_of_step(r#"{"id":1}"#);
        assert_eq!(books.receive(r#"{"id":70001}"#), Received::Late { ended: None });
        assert_eq!(share(&mut books, r#"{"id":70002}"#).0, 2);
    }

    #[test]
    fn a_question_that_cannot_be_asked_leaves_no_trace() {
        let mut books = Books::new(Matching::JsonId, &[]);
        for question in ["[]", "x", r#"{"id":1,"id":2}"#] {
            assert!(matches!(books.try_ask(1, question), Err(Refused::Unfit(_))), "{question}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
        assert_eq!(
            books.try_ask(1, &long),
            Err(Refused::TooLong(crate::wire::encode::TooLong { limit: 100 }))
        );
        assert!(books.correlator.is_empty() && books.written.is_empty());
    }

    #[test]
    fn an_echo_finds_its_call_in_any_order() {
        let mut books =
            Books::new(Matching::Echo, &["e|{input}|{message}", "{input}|{result:int}"]);
        for (token, question) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            assert_eq!(books.ask(token, question), format!("{question}\n"));
        }
        assert_eq!(books.receive("b|2"), answer(2, "b|2", "b", true));
        assert_eq!(books.receive("e|c|no"), answer(4, "e|c|no", "c", true));
        assert_eq!(books.receive("a|1"), answer(1, "a|1", "a", true));
        books.is_out_of_step("b|2");
        books.is_out_of_step("a");
        assert_eq!(books.receive("a|x"), answer(3, "a|x", "a", true));
    }

    #[test]
    fn an_echo_that_could_be_of_two_questions_is_of_none() {
        let mut books = Books::new(Matching::Echo, &["{input}|{result}"]);
        books.ask(1, "a");
        books.ask(2, "a|b");
        books.is_out_of_step("a|b|5");
        assert_eq!(books.receive("a|b"), answer(1, "a|b", "a", true));
        assert_eq!(books.receive("a|b|5"), answer(2, "a|b|5", "a|b", true));
    }

    #[test]
    fn a_whole_fit_is_better_than_half_of_one() {
        let mut books = Books::new(Matching::Echo, &["{input}|{result:int}"]);
        books.ask(1, "a");
        books.ask(2, "a|b");
        assert_eq!(books.receive("a|b|5"), answer(2, "a|b|5", "a|b", true));
    }

    #[test]
    fn the_oldest_call_says_which_nonce_ends_its_answer() {
        let mut books = Books::new(Matching::Order, &[]);
        assert_eq!(books.correlator.oldest_nonce(), None);
        let question = Question { nonce: Some("n1".into()), ..Question::plain("a") };
        let encoder = Encoder::new(&Framing::Line, 100);
        let asked = books.correlator.ask(1, &question, &encoder, &mut books.written);
        assert_eq!(asked, Ok(()));
        assert_eq!(books.correlator.oldest_nonce(), Some(&b"n1"[..]));
    }

    #[test]
    fn a_lost_worker_leaves_its_calls_oldest_first() {
        let mut books = Books::new(Matching::Tag, &[]);
        for token in 1..=3 {
            books.ask(token, "x");
        }
        assert!(matches!(books.receive("2 y"), Received::Answer { token: 2, .. }));
        assert_eq!(books.correlator.take_all().collect::<Vec<_>>(), [1, 3]);
        assert!(books.correlator.is_empty());
    }

    /// What a program without faults answers to this line.
    fn program(matching: Matching, line: &str) -> String {
        let line = line.trim_end_matches('\n');
        match matching {
            Matching::Order | Matching::Echo => format!("{line}|{line}"),
            Matching::Tag => line.to_owned(),
            Matching::JsonId => line.replace("\"q\":", "\"a\":"),
        }
    }

    proptest! {
        #[test]
        fn every_caller_gets_the_answer_to_its_own_question(
            matching in prop::sample::select(vec![Matching::Echo, Matching::Tag, Matching::JsonId]),
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let mut books = Books::new(matching, &["{input}|{r}"]);
            let mut inside: Vec<(u32, String, String)> = Vec::new();
            let mut next = 0;
            for (asks, pick) in steps {
                if asks || inside.is_empty() {
                    next += 1;
                    let question = match matching {
                        Matching::JsonId => format!("{{\"q\":{next},\"id\":{}}}", next % 3),
                        _ => format!("q{next}"),
                    };
                    let answer = program(matching, &books.ask(next, &question));
                    inside.push((next, question, answer));
                    continue;
                }
                let (token, question, message) = inside.remove(pick.index(inside.len()));
                let expected = match matching {
                    Matching::JsonId => question.replace("\"q\"", "\"a\""),
                    Matching::Tag => question.clone(),
                    _ => format!("{question}|{question}"),
                };
                prop_assert_eq!(books.receive(&message), answer(token, &expected, &question, true));
                // The same answer again belongs to no call.
                prop_assert!(matches!(books.receive(&message), Received::Mismatch(_)));
                prop_assert_eq!(books.correlator.len(), inside.len());
                prop_assert_eq!(books.correlator.oldest(), inside.first().map(|call| &call.0));
            }
        }
    }
}
