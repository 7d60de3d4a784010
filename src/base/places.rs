//! Where a question of a program that answers by `id` has what the worker gets from the server:
//! the `id`, and the tokens by which it tells of progress.
//!
//! Pure. A question is read once for it. A large one is read where it is made, on a thread of its
//! own, and carries what was found.

use std::ops::Range;

use super::json::{self, Flaw, Member};

/// The members of `params` that hold a token of the caller. The index is the token's number.
const TOKENS: [&str; 3] = ["progressToken", "workDoneToken", "partialResultToken"];

/// The places in one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPlaces {
    /// Where a member can be put in.
    pub open: usize,
    /// It has no members.
    pub is_empty: bool,
    /// Its `id`, if it has one.
    pub id: Option<Member>,
    /// The caller's tokens, each with its number. Empty if they are not asked for.
    pub tokens: Vec<(usize, Range<usize>)>,
}

impl IdPlaces {
    /// Reads a question whose id is the member `id`. `with_tokens`: it may have tokens.
    ///
    /// # Errors
    ///
    /// Why the question cannot be sent.
    pub fn of(question: &[u8], id: &str, with_tokens: bool) -> Result<Self, &'static str> {
        let object = json::members(question, [id]).map_err(|flaw| match flaw {
            Flaw::NotJson => "the question is not JSON",
            Flaw::NotObject => "the question is not a JSON object",
            Flaw::Twice => "the question has its id twice",
        })?;
        let [id] = object.members;
        let tokens = if with_tokens && may_have_tokens(question) {
            // The program might read the other one.
            token_places(question).map_err(|_| "the question has a progress token twice")?
        } else {
            Vec::new()
        };
        Ok(Self { open: object.open, is_empty: object.is_empty, id, tokens })
    }
}

/// Returns the place of `params._meta.progressToken`.
pub fn meta_token(message: &[u8]) -> Result<Option<Range<usize>>, Flaw> {
    let mut place = 0..message.len();
    for name in ["params", "_meta", TOKENS[0]] {
        let object = match json::members(&message[place.clone()], [name]) {
            Ok(object) => object,
            Err(Flaw::NotObject) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let [Some(member)] = object.members else { return Ok(None) };
        place = within(&place, &member.value);
    }
    Ok(Some(place))
}

/// Returns the place of a value in a text, found in the part of it at `outer`.
pub fn within(outer: &Range<usize>, inner: &Range<usize>) -> Range<usize> {
    outer.start + inner.start..outer.start + inner.end
}

fn may_have_tokens(question: &[u8]) -> bool {
    memchr::memmem::find(question, b"Token").is_some()
        // A name may be written in escapes.
        || memchr::memchr(b'\\', question).is_some()
}

/// Returns the places of the tokens of a question, each with its number.
fn token_places(question: &[u8]) -> Result<Vec<(usize, Range<usize>)>, Flaw> {
    let [params] = json::members(question, ["params"])?.members;
    let Some(params) = params.map(|params| params.value) else { return Ok(Vec::new()) };
    let object = match json::members(&question[params.clone()], [TOKENS[1], TOKENS[2]]) {
        Ok(object) => object,
        Err(Flaw::NotObject) => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let mut places: Vec<_> = meta_token(question)?.map(|place| (0, place)).into_iter().collect();
    for (number, member) in (1..).zip(object.members) {
        places.extend(member.map(|member| (number, within(&params, &member.value))));
    }
    Ok(places)
}
