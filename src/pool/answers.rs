//! How a pool turns the answers of its program into replies.

use std::cell::Cell;

use bytes::Bytes;

use crate::base::{PartForm, PartSender, Reply, ReplyForm, answer_in_parts};
use crate::config::{Framing, ReplyShape, StreamEnd, WireSettings};
use crate::wire::Judge;

/// What a pool must know to turn answers into replies. It does not change under a pool.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) judge: Judge,
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
    part_form: PartForm,
    /// Most bytes of parts that wait for one reader.
    part_limit: usize,
}

impl Answers {
    pub(super) fn new(wire: &WireSettings) -> Self {
        Self {
            judge: Judge::new(wire),
            are_proven: wire.proves_question(),
            come_in_parts: wire.stream.is_some(),
            take_turns: wire.takes_turns,
            told_banner: Cell::new(false),
            told_uncertain: Cell::new(false),
            part_form: part_form(wire),
            part_limit: wire.stream.as_ref().map_or(usize::MAX, |stream| stream.buffer),
        }
    }

    /// Opens a reply in parts. Returns where the parts go, and the reply for the caller.
    pub(super) fn in_parts(&self) -> (PartSender, Reply) {
        let (sender, parts) = answer_in_parts(self.part_limit);
        let form = ReplyForm::Parts(self.part_form, parts);
        (sender, Reply { body: Bytes::new(), form })
    }
}

fn part_form(wire: &WireSettings) -> PartForm {
    if wire.framing.reply == Framing::Turn {
        return PartForm::Raw;
    }
    let says_more = matches!(&wire.stream, Some(stream) if stream.end == StreamEnd::More);
    let becomes_json = match &wire.reply {
        ReplyShape::Json => true,
        ReplyShape::Pattern(pattern) => pattern.has_fields(),
        ReplyShape::Plain | ReplyShape::Http => false,
    };
    if says_more || becomes_json { PartForm::Json } else { PartForm::Plain }
}
