//! Which question an answer repeats: the matching `echo`.
//!
//! Pure: an answer that fits several different questions belongs to none, because nobody can
//! know which was meant.

use bytes::Bytes;

use crate::base::pattern::{Match, Pattern};

/// Why an answer belongs to no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOne {
    /// It repeats none.
    None,
    /// It repeats several that differ.
    Several,
}

/// Returns the place of the oldest question that the answer repeats. A question that the whole
/// answer fits comes before one that the answer only repeats.
pub(super) fn find<'a>(
    questions: &(impl Iterator<Item = &'a Bytes> + Clone),
    shapes: &[Pattern],
    answer: &Bytes,
) -> Result<usize, NotOne> {
    let echoes: Vec<_> = shapes.iter().map(|shape| (shape, shape.echoed(answer))).collect();
    for wholly in [true, false] {
        let mut found: Option<(usize, &Bytes)> = None;
        for (place, question) in questions.clone().enumerate() {
            let is_same_again = found.is_some_and(|(_, found)| found == question);
            if is_same_again || !repeats(&echoes, question, answer, wholly) {
                continue;
            }
            if found.replace((place, question)).is_some() {
                return Err(NotOne::Several);
            }
        }
        if let Some((place, _)) = found {
            return Ok(place);
        }
    }
    Err(NotOne::None)
}

/// Returns true if the answer fits one of the shapes, or, unless `wholly`, at least repeats the
/// question. A shape that has only one reading of the answer is not tried with other questions:
/// a long answer would be searched again for each of them.
fn repeats(
    echoes: &[(&Pattern, Option<&[u8]>)],
    question: &Bytes,
    answer: &Bytes,
    wholly: bool,
) -> bool {
    echoes.iter().filter(|(_, echo)| echo.is_none_or(|echo| echo == question)).any(|(shape, _)| {
        match shape.fit(question, answer) {
            Match::Fits(_) => true,
            Match::ProvenButUnfit(_) => !wholly,
            Match::Doubtful => false,
        }
    })
}
