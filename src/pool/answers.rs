//! How a pool turns the answers of its program into replies.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::entry::Entry;
use crate::base::{PartForm, PartSender, Reply, ReplyForm, answer_in_parts};
use crate::config::{Framing, GroupShape, ReplyShape, StreamEnd, WireSettings};
use crate::sync::bulk::{LARGE, apart};
use crate::wire::{Judge, Verdict, answer_again};

/// What a pool must know to turn answers into replies. It does not change under a pool.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) judge: Arc<Judge>,
    /// Each answer shows by itself which call it is for.
    pub(super) are_proven: bool,
    /// An answer may consist of several messages.
    pub(super) come_in_parts: bool,
    /// Workers take turns.
    pub(super) take_turns: bool,
    /// Output before the first question was logged.
    pub(super) told_banner: Cell<bool>,
    /// It was logged that the program cannot be seen to wait for its input.
    pub(super) told_uncertain: Cell<bool>,
    /// The last process that ended had answered (`framing = "eof"`). So the program is well.
    pub(super) ended_well: Cell<bool>,
    /// What the program answered to the greeting `initialize` of `hello`.
    pub(super) initialized: RefCell<Option<Bytes>>,
    /// What the answer to several calls looks like.
    pub(super) group: Option<GroupShape>,
    /// Most bytes of one answer.
    pub(super) most: usize,
    part_form: PartForm,
    /// Most bytes of parts that wait for one reader.
    part_limit: usize,
}

impl Answers {
    pub(super) fn new(wire: &WireSettings) -> Self {
        Self {
            judge: Arc::new(Judge::new(wire)),
            are_proven: wire.proves_question(),
            come_in_parts: wire.stream.is_some(),
            take_turns: wire.takes_turns,
            told_banner: Cell::new(false),
            told_uncertain: Cell::new(false),
            ended_well: Cell::new(false),
            initialized: RefCell::default(),
            group: wire.group,
            most: wire.message_max,
            part_form: part_form(wire),
            part_limit: wire.stream.as_ref().map_or(usize::MAX, |stream| stream.buffer),
        }
    }

    /// Judges an answer at once; `None`: it is large, and must be read for that.
    pub(super) fn judge_small(
        &self,
        question: &Bytes,
        answer: &Bytes,
        proven: bool,
    ) -> Option<Verdict> {
        (answer.len() <= LARGE || self.judge.takes_all())
            .then(|| self.judge.judge(question, answer.clone(), proven))
    }

    /// Judges an answer; see [`Judge::judge`]. A large one that must be read is judged on another thread, and moves
    /// `now` on.
    pub(super) async fn judge(
        &self,
        now: &mut Instant,
        question: &Bytes,
        answer: &Bytes,
        proven: bool,
    ) -> Verdict {
        if let Some(verdict) = self.judge_small(question, answer, proven) {
            return verdict;
        }
        let (judge, question, answer) = (Arc::clone(&self.judge), question.clone(), answer.clone());
        let verdict = apart(move || judge.judge(&question, answer, proven)).await;
        *now = Instant::now();
        verdict
    }

    /// Returns the reply to a call that is a greeting, if `hello` has sent one; else `None`.
    pub(super) fn greeting(&self, entry: &Entry) -> Option<Reply> {
        entry.own_name.as_ref().filter(|name| name.greets)?;
        let question = &entry.question.text;
        let answer = answer_again(self.initialized.borrow().as_ref()?, question)?;
        match self.judge.judge(question, answer, true) {
            Verdict::Good(reply) => Some(reply),
            _ => None,
        }
    }

    /// Opens a reply in parts. Returns where the parts go, and the reply for the caller.
    pub(super) fn in_parts(&self) -> (PartSender, Reply) {
        let (sender, parts) = answer_in_parts(self.part_limit);
        let form = ReplyForm::Parts(self.part_form.clone(), parts);
        (sender, Reply { body: Bytes::new(), form })
    }
}

fn part_form(wire: &WireSettings) -> PartForm {
    if wire.framing.reply == Framing::Turn {
        return PartForm::Raw;
    }
    let says_more = matches!(&wire.stream, Some(stream) if stream.end == StreamEnd::More);
    let becomes_json = match &wire.reply {
        ReplyShape::Json | ReplyShape::Kinds => true,
        ReplyShape::Pattern(pattern) => pattern.has_fields(),
        ReplyShape::Plain | ReplyShape::Http => false,
    };
    if says_more || becomes_json { PartForm::Json } else { PartForm::Plain }
}
