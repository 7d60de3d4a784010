//! The questions of a group as one, and its answer as the answers of its calls.
//!
//! Pure. Which answer belongs to which call is known by its place alone. So an answer with another
//! number of parts is no answer to any of them.
//!
//! For functions of Python, a group is the message `* ` and then the questions, and its answer is `*`
//! and then the answers, each after its length in four bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::array::{BatchForm, CutItem, ItemCutter};
use crate::base::json;
use crate::config::GroupShape;

/// Returns why a question cannot be part of a group; `None`: it can.
pub fn unfit(shape: GroupShape, question: &[u8]) -> Option<&'static str> {
    match shape {
        GroupShape::Lines if question.is_empty() => {
            Some("an empty question would end the questions that go to the program together")
        }
        GroupShape::Lines if memchr::memchr2(b'\n', b'\r', question).is_some() => {
            Some("a question must be one line: the program gets several, each on a line")
        }
        GroupShape::Array if !json::is_json(question) => {
            Some("a question must be JSON: the program gets several in one array")
        }
        GroupShape::Lines | GroupShape::Array | GroupShape::Frames => None,
    }
}

/// Returns these questions as one.
pub fn join<'a>(shape: GroupShape, questions: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let (begin, between, end): (&[u8], u8, &[u8]) = match shape {
        GroupShape::Lines => (b"", b'\n', b""),
        GroupShape::Array => (b"[", b',', b"]"),
        GroupShape::Frames => return framed(b"* ", questions),
    };
    let mut joined = BytesMut::from(begin);
    for (place, question) in questions.enumerate() {
        if place > 0 {
            joined.extend_from_slice(&[between]);
        }
        joined.extend_from_slice(question);
    }
    joined.extend_from_slice(end);
    joined.freeze()
}

/// Returns these messages as one, each after its length.
fn framed<'a>(begin: &[u8], messages: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut joined = BytesMut::from(begin);
    for message in messages {
        joined.put_u32(u32::try_from(message.len()).expect("questions are shorter than a group"));
        joined.extend_from_slice(message);
    }
    joined.freeze()
}

/// Returns the messages after this beginning; `None` if they are not whole.
fn frames(begin: &[u8], joined: &Bytes) -> Option<Vec<Bytes>> {
    let mut rest = joined.slice_ref(joined.strip_prefix(begin)?);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = rest.try_get_u32().ok()? as usize;
        messages.push((length <= rest.len()).then(|| rest.split_to(length))?);
    }
    Some(messages)
}

/// Returns the questions of which this one was made.
pub fn parts(shape: GroupShape, joined: &Bytes) -> Vec<Bytes> {
    match shape {
        GroupShape::Lines => {
            joined.split(|byte| *byte == b'\n').map(|line| joined.slice_ref(line)).collect()
        }
        GroupShape::Array => elements(joined, usize::MAX).unwrap_or_default(),
        GroupShape::Frames => frames(b"* ", joined).unwrap_or_default(),
    }
}

/// Returns true if this may be the question of a group, and not one that stands for itself.
pub fn is_joined(shape: GroupShape, question: &[u8]) -> bool {
    shape != GroupShape::Frames || question.starts_with(b"* ")
}

/// Returns the answers to so many calls, in their order.
///
/// # Errors
///
/// What is wrong with the answer of the group, in words for callers.
pub fn split(shape: GroupShape, answer: &Bytes, calls: usize) -> Result<Vec<Bytes>, String> {
    let answers: Vec<Bytes> = match shape {
        GroupShape::Lines if answer.is_empty() => Vec::new(),
        GroupShape::Lines => {
            let lines = answer.split(|byte| *byte == b'\n');
            lines.map(|line| answer.slice_ref(line)).collect()
        }
        GroupShape::Array => elements(answer, calls)?,
        GroupShape::Frames => {
            frames(b"*", answer).ok_or("the answer to several calls cannot be read")?
        }
    };
    if answers.len() == calls {
        return Ok(answers);
    }
    let given = if answers.len() > calls && shape == GroupShape::Array {
        "more".to_owned()
    } else {
        answers.len().to_string()
    };
    let answers = if given == "1" { "answer" } else { "answers" };
    let than = if given == "more" { "than" } else { "for" };
    Err(format!("the program gave {given} {answers} {than} {calls} calls"))
}

/// Returns the elements of an array, and no more than one that is too many.
fn elements(answer: &Bytes, calls: usize) -> Result<Vec<Bytes>, String> {
    if !json::is_json(answer) {
        return Err("the answer to several calls is not JSON".to_owned());
    }
    let mut cutter = ItemCutter::new(BatchForm::Array, usize::MAX);
    cutter.push(answer.clone());
    let mut answers = Vec::new();
    while answers.len() <= calls
        && let Some(cut) = cutter.cut()
    {
        match cut {
            CutItem::Item(element) => answers.push(element),
            CutItem::TooLong | CutItem::Broken(_) => {
                return Err("the answer to several calls is not an array".to_owned());
            }
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answers(
        shape: GroupShape,
        answer: &'static str,
        calls: usize,
    ) -> Result<Vec<Bytes>, String> {
        split(shape, &Bytes::from_static(answer.as_bytes()), calls)
    }

    #[test]
    fn questions_go_as_lines_or_as_one_array() {
        let questions = || [&b"1"[..], b"{\"a\":[2]}"].into_iter();
        assert_eq!(join(GroupShape::Lines, questions()), "1\n{\"a\":[2]}");
        assert_eq!(join(GroupShape::Array, questions()), "[1,{\"a\":[2]}]");
        assert_eq!(join(GroupShape::Array, questions().take(1)), "[1]");
        let framed = join(GroupShape::Frames, questions());
        assert_eq!(framed, &b"* \0\0\0\x011\0\0\0\x09{\"a\":[2]}"[..]);
        assert_eq!(parts(GroupShape::Frames, &framed), [&b"1"[..], b"{\"a\":[2]}"]);
    }

    #[test]
    fn a_question_that_could_pass_for_several_is_none_of_a_group() {
        for question in ["", "a\nb", "a\rb"] {
            assert!(unfit(GroupShape::Lines, question.as_bytes()).is_some(), "{question:?}");
        }
        for question in ["", "1,2", "1]", "[1", "a", "1 2", "\"\n\""] {
            assert!(unfit(GroupShape::Array, question.as_bytes()).is_some(), "{question:?}");
        }
        assert_eq!(unfit(GroupShape::Lines, b"1,2"), None);
        assert_eq!(unfit(GroupShape::Array, b" {\"a\": \"],[\"} "), None);
    }

    #[test]
    fn each_answer_comes_back_byte_for_byte() {
        let array = " [1.50, {\"a\" : [2,3]} ,\n\"],[\\\"\", null, \"\\ud800\" ] ";
        let elements = ["1.50", "{\"a\" : [2,3]}", "\"],[\\\"\"", "null", "\"\\ud800\""];
        assert_eq!(answers(GroupShape::Array, array, 5).expect("five"), elements);
        assert_eq!(answers(GroupShape::Lines, "a b\n c ", 2).expect("two"), ["a b", " c "]);
        assert_eq!(answers(GroupShape::Array, "[]", 0), Ok(vec![]));
    }

    #[test]
    fn another_number_of_answers_is_no_answer() {
        for (shape, answer, told) in [
            (GroupShape::Array, "[]", "the program gave 0 answers for 2 calls"),
            (GroupShape::Array, "[1]", "the program gave 1 answer for 2 calls"),
            (GroupShape::Array, "[1,2,3,4]", "the program gave more answers than 2 calls"),
            (GroupShape::Array, "[1,2", "the answer to several calls is not JSON"),
            (GroupShape::Array, "[1,,2]", "the answer to several calls is not JSON"),
            (GroupShape::Array, "{\"a\":1}", "the answer to several calls is not an array"),
            (GroupShape::Array, "2", "the answer to several calls is not an array"),
            (GroupShape::Array, "[1] [2]", "the answer to several calls is not JSON"),
            (GroupShape::Lines, "", "the program gave 0 answers for 2 calls"),
            (GroupShape::Lines, "a", "the program gave 1 answer for 2 calls"),
            (GroupShape::Lines, "a\nb\nc", "the program gave 3 answers for 2 calls"),
            (GroupShape::Frames, "*", "the program gave 0 answers for 2 calls"),
            (GroupShape::Frames, "*\0\0\0\x01=", "the program gave 1 answer for 2 calls"),
            (GroupShape::Frames, "*\0\0\0\x02=", "the answer to several calls cannot be read"),
            (GroupShape::Frames, "*\0\0\0", "the answer to several calls cannot be read"),
            (GroupShape::Frames, "!{}", "the answer to several calls cannot be read"),
        ] {
            assert_eq!(answers(shape, answer, 2), Err(told.to_owned()), "{answer}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("-1.5e3".to_owned()),
            "[\\[\\]{},:\"\\\\a ]{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|all| format!("[{}]", all.join(" , "))),
                inner.prop_map(|one| format!("{{\"k\": {one}}}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(texts in prop::collection::vec(json(), 1..8)) {
            let joined = join(GroupShape::Array, texts.iter().map(String::as_bytes));
            prop_assert_eq!(split(GroupShape::Array, &joined, texts.len()).expect("as many"), texts);
        }

        #[test]
        fn any_answer_is_split_into_as_many_as_asked_for_or_into_none(
            answer in "[\\[\\]{},:\"\\\\1 \n]{0,30}",
            calls in 0_usize..5,
        ) {
            for shape in [GroupShape::Lines, GroupShape::Array, GroupShape::Frames] {
                let parts = split(shape, &Bytes::from(answer.clone()), calls);
                prop_assert!(parts.is_err() || parts.is_ok_and(|parts| parts.len() == calls));
            }
        }
    }
}
