//! Writes a question with what the worker gets from the server in place of its caller's: the `id`,
//! and the tokens by which it tells of progress.
//!
//! Pure: nothing else in the question changes. It is written piece by piece, so that a large one is
//! copied once.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::encode::TooLong;
use super::json_id::OwnId;
use crate::base::places::IdPlaces;

/// The number of a token, and its text as the caller wrote it.
pub(super) type OwnToken = (usize, Bytes);

/// What the caller of a question wrote where the worker gets something of ours.
pub(super) struct Own {
    /// Its id.
    pub(super) id: OwnId,
    /// Its tokens, each with its number.
    pub(super) tokens: Vec<OwnToken>,
}

/// Writes the question with our id in the member `name`, and tokens of ours. Returns what its
/// caller wrote there.
pub(super) fn put_ours(
    question: &Bytes,
    places: &IdPlaces,
    (name, tag): (&str, u64),
    write: impl FnOnce(&[&[u8]]) -> Result<(), TooLong>,
) -> Result<Own, TooLong> {
    let mut number = itoa::Buffer::new();
    let number = number.format(tag).as_bytes();
    let mut puts: Vec<(Range<usize>, Cow<'_, [u8]>)> = Vec::with_capacity(1);
    let mut own = Own { id: OwnId::Absent, tokens: Vec::new() };
    if let Some(member) = &places.id {
        own.id = OwnId::Text(question.slice(member.value.clone()));
        puts.push((member.value.clone(), Cow::Borrowed(number)));
    } else {
        let place = places.open + 1;
        let comma: &[u8] = if places.is_empty { b"" } else { b"," };
        let member = [b"\"", name.as_bytes(), b"\":", number, comma].concat();
        puts.push((place..place, Cow::Owned(member)));
    }
    for (kind, place) in &places.tokens {
        own.tokens.push((*kind, question.slice(place.clone())));
        puts.push((place.clone(), Cow::Owned(format!("\"{tag}-{kind}\"").into_bytes())));
    }
    puts.sort_by_key(|(place, _)| place.start);
    let mut pieces = Vec::with_capacity(2 * puts.len() + 1);
    let mut done = 0;
    for (place, text) in &puts {
        pieces.extend([&question[done..place.start], text]);
        done = place.end;
    }
    pieces.push(&question[done..]);
    write(&pieces)?;
    Ok(own)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The question with our id 17 and our tokens, and what its caller wrote there.
    pub(in crate::wire) fn put(question: &str, name: &str) -> (String, Own) {
        let question = Bytes::copy_from_slice(question.as_bytes());
        let places = IdPlaces::of(&question, name, true).expect("an object");
        let mut text = Vec::new();
        let write = |pieces: &[&[u8]]| {
            text = pieces.concat();
            Ok(())
        };
        let own = put_ours(&question, &places, (name, 17), write).expect("it is short");
        (String::from_utf8(text).expect("text"), own)
    }

    fn tokens_replaced(question: &str) -> (String, Vec<(usize, String)>) {
        let (text, own) = put(question, "id");
        let text_of = |own: Bytes| String::from_utf8(own.to_vec()).expect("text");
        let own = own.tokens.into_iter().map(|(number, own)| (number, text_of(own)));
        // Only the tokens are of interest here.
        let text = text.replacen("\"id\":17,", "", 1).replacen("\"id\":17", "", 1);
        (text, own.collect())
    }

    #[test]
    fn each_token_of_a_caller_becomes_one_of_ours() {
        for (question, sent, own) in [
            (
                r#"{"params":{"_meta":{"progressToken":1,"x":2},"a":3}}"#,
                r#"{"params":{"_meta":{"progressToken":"17-0","x":2},"a":3}}"#,
                vec![(0, "1")],
            ),
            (
                r#"{"params":{"partialResultToken":"p","workDoneToken" : "w" }}"#,
                r#"{"params":{"partialResultToken":"17-2","workDoneToken" : "17-1" }}"#,
                vec![(1, "\"w\""), (2, "\"p\"")],
            ),
            (
                r#"{"params":{"_meta":{"progress\u0054oken":"66000-0"}}}"#,
                r#"{"params":{"_meta":{"progress\u0054oken":"17-0"}}}"#,
                vec![(0, "\"66000-0\"")],
            ),
        ] {
            let own: Vec<_> = own.into_iter().map(|(n, text)| (n, text.to_owned())).collect();
            assert_eq!(tokens_replaced(question), (sent.to_owned(), own));
        }
        for question in [
            r#"{"params":{"progressToken":1,"_meta":{"x":{"progressToken":1}}}}"#,
            r#"{"params":["progressToken"],"_meta":{"progressToken":1}}"#,
            r#"{"params":{"_meta":5,"a":"Token"}}"#,
            "{}",
        ] {
            assert_eq!(tokens_replaced(question), (question.to_owned(), vec![]));
        }
        for question in [
            r#"{"params":{"_meta":{"progressToken":1,"progressToken":2}}}"#,
            r#"{"params":{"_meta":{"progressToken":1}},"params":{}}"#,
            r#"{"params":{"_meta":{"progressToken":1},"_meta":{}}}"#,
        ] {
            assert!(IdPlaces::of(question.as_bytes(), "id", true).is_err(), "{question}");
        }
    }
}
