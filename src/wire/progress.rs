//! Messages that say how far a call is. Such a message is no answer.
//!
//! Pure: the shape of the pool decides, and a message that does not have it wholly is judged as any
//! other.

use std::borrow::Cow;

use serde::Deserialize;

use crate::base::Progress;
use crate::base::json;
use crate::base::pattern::Pattern;
use crate::config::ProgressShape;

/// The longest message that is looked at for a `progress` in its JSON, in bytes. An object of progress
/// has 4 KiB at most.
const JSON_MOST: usize = 16 << 10;
/// The first byte of progress where the first byte says what a message is.
const KIND: u8 = b'~';

/// What the worker loop for Python says of a call.
#[derive(Deserialize)]
struct ToldByLoop {
    fraction: f64,
    text: Option<String>,
}

/// Reads a message about the call with this question; `None`: it is no progress.
pub(super) fn read(shape: &ProgressShape, question: &[u8], message: &[u8]) -> Option<Progress> {
    match shape {
        ProgressShape::Percent(pattern) => captured(pattern, ("percent", 100.0), question, message),
        ProgressShape::Fraction(pattern) => captured(pattern, ("fraction", 1.0), question, message),
        ProgressShape::Json if message.len() <= JSON_MOST => {
            let [progress] = json::members(message, ["progress"]).ok()?.members;
            Progress::of_json(&message[progress?.value])
        }
        ProgressShape::Json => None,
        ProgressShape::Kind => {
            let told: ToldByLoop = serde_json::from_slice(message.strip_prefix(&[KIND])?).ok()?;
            Progress::of(told.fraction, told.text.as_deref())
        }
    }
}

/// Returns the pattern of progress, if it has one that repeats the question.
pub(super) fn echoing(shape: &ProgressShape) -> Option<&Pattern> {
    match shape {
        ProgressShape::Percent(pattern) | ProgressShape::Fraction(pattern) => {
            Some(pattern).filter(|pattern| pattern.has_input())
        }
        ProgressShape::Json | ProgressShape::Kind => None,
    }
}

/// Reads what a pattern captures; `whole` is the number that means the end.
fn captured(
    pattern: &Pattern,
    (name, whole): (&str, f64),
    question: &[u8],
    message: &[u8],
) -> Option<Progress> {
    let number = pattern.captured(name, question, message)?;
    let number: f64 = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
    let text = pattern.captured("text", question, message).map(String::from_utf8_lossy);
    Progress::of(number / whole, text.as_ref().map(Cow::as_ref))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    use super::*;
    use crate::base::Question;
    use crate::config::{Framing, Matching};
    use crate::wire::{Correlator, Decoder, Encoder, Received};

    fn percent(text: &str) -> ProgressShape {
        ProgressShape::Percent(Pattern::parse(text).expect("a pattern"))
    }

    fn shown(shape: &ProgressShape, question: &str, message: &str) -> Option<String> {
        let progress = read(shape, question.as_bytes(), message.as_bytes());
        progress.map(|progress| progress.json().to_owned())
    }

    #[test]
    fn a_pattern_names_the_question_and_a_number() {
        let shape = percent("p|{input}|{percent}|{text}");
        let told = |message| shown(&shape, "a|b", message);
        assert_eq!(told("p|a|b|29|x|y").as_deref(), Some(r#"{"fraction":0.29,"text":"x|y"}"#));
        assert_eq!(told("p|a|b| 150 |").as_deref(), Some(r#"{"fraction":1.0,"text":""}"#));
        for other in ["p|a|29|x", "p|a|b|x|29", "p|a|b|29", "p|a|b|nan|x", "a|b|29", "", "p|a|b||"]
        {
            assert_eq!(told(other), None, "{other}");
        }
        let latin = read(&shape, b"q", b"p|q|5|\xe9\x1b");
        assert_eq!(
            latin.expect("progress").json(),
            "{\"fraction\":0.05,\"text\":\"\u{fffd}\\u001b\"}"
        );
        let shape = ProgressShape::Fraction(Pattern::parse("{fraction}!").expect("a pattern"));
        assert_eq!(shown(&shape, "", "0.5!").as_deref(), Some(r#"{"fraction":0.5}"#));
    }

    #[test]
    fn json_has_it_at_its_top() {
        let told = |message| shown(&ProgressShape::Json, "q", message);
        assert_eq!(told(r#"{"id":1,"progress":1}"#).as_deref(), Some(r#"{"fraction":1.0}"#));
        let own = r#"{"progress":{"page":4}}"#;
        assert_eq!(told(own).as_deref(), Some(r#"{"page":4}"#));
        for other in [
            r#"{"a":{"progress":1}}"#,
            r#"{"progress":1,"progress":1}"#,
            r#"{"progress":40}"#,
            r#"[{"progress":1}]"#,
            "1",
            "",
            "{\"progress\":1",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
        let long = format!("{{\"progress\":1,\"a\":\"{}\"}}", "x".repeat(JSON_MOST));
        assert_eq!(told(&long), None);
    }

    #[test]
    fn the_loop_for_python_says_it_in_its_own_way() {
        let told = |message: &str| shown(&ProgressShape::Kind, "f {}", message);
        let both = r#"{"fraction":0.4,"text":"page 4"}"#;
        assert_eq!(told(&format!("~{both}")).as_deref(), Some(both));
        assert_eq!(told(r#"~{"fraction":1}"#).as_deref(), Some(r#"{"fraction":1.0}"#));
        for other in ["~", "~{}", "~0.4", "=0.4", both] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    /// What becomes of messages about three open questions, which come in these pieces.
    fn received(
        (matching, shape): (Matching, ProgressShape),
        stream: &[u8],
        sizes: &[usize],
    ) -> Vec<String> {
        let echo = Pattern::parse("{input}|{result}").expect("a pattern");
        let books = Correlator::<u32>::matching(matching, [echo].iter());
        let mut books = books.telling(shape);
        let (encoder, mut out) = (Encoder::new(&Framing::Line, 1000), BytesMut::new());
        for (token, question) in (0..).zip(["a", "b", "c"]) {
            books.ask(token, &Question::plain(question), &encoder, &mut out).expect("it is short");
        }
        let (mut decoder, mut buffer) = (Decoder::new(&Framing::Line, 1000), BytesMut::new());
        let (mut rest, mut sizes, mut log) = (stream, sizes.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*sizes.next().unwrap_or(&1)).min(rest.len()));
            rest = after;
            buffer.extend_from_slice(piece);
            while let Ok(Some(message)) = decoder.next(&mut buffer, None) {
                let before = books.len();
                let received = books.received(message);
                if let Received::Progress { .. } = received {
                    assert_eq!(books.len(), before, "progress ends no call");
                }
                log.push(format!("{received:?}"));
            }
        }
        log
    }

    fn lines() -> impl Strategy<Value = Vec<String>> {
        let call = prop::sample::select(vec!["a", "b", "c", "d", "1", "2", "3"]);
        let line = (call, 0..6_u8, "[0-9.|x]{0,4}").prop_map(|(call, kind, text)| match kind {
            0 => format!("p|{call}|{text}|t"),
            1 => format!("{call}|{text}"),
            2 => format!("{call} p|a|{text}|t"),
            3 => format!("{call} {text}"),
            4 => format!("{{\"progress\":{text}}}"),
            _ => text,
        });
        prop::collection::vec(line, 0..8)
    }

    proptest! {
        #[test]
        fn progress_changes_nothing_for_the_answers_around_it(
            lines in lines(),
            sizes in prop::collection::vec(1..9_usize, 1..9),
            matching in prop::sample::select(vec![Matching::Order, Matching::Echo, Matching::Tag]),
        ) {
            let shape = || percent("p|{input}|{percent}|{text}");
            let stream: Vec<&str> = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let stream = stream.concat();
            let with = received((matching, shape()), stream.as_bytes(), &sizes);
            let whole = received((matching, shape()), stream.as_bytes(), &[usize::MAX]);
            prop_assert_eq!(&with, &whole, "however it is cut");
            let is_progress = |said: &String| said.starts_with("Progress");
            let others = lines.iter().zip(&with).filter(|(_, said)| !is_progress(said));
            let others: Vec<&str> = others.flat_map(|(line, _)| [line, "\n"]).collect();
            let others = others.concat();
            let without = received((matching, ProgressShape::Kind), others.as_bytes(), &sizes);
            let with: Vec<_> = with.into_iter().filter(|said| !is_progress(said)).collect();
            prop_assert_eq!(with, without);
        }

        #[test]
        fn any_bytes_are_progress_or_none(message: Vec<u8>, question: Vec<u8>) {
            for shape in [percent("{input}{{{percent}|{text}"), ProgressShape::Json, ProgressShape::Kind] {
                if let Some(progress) = read(&shape, &question, &message) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(progress.json()).is_ok());
                    prop_assert!(Bytes::from(progress.json().to_owned()).len() <= 8 << 10);
                }
            }
        }
    }
}
