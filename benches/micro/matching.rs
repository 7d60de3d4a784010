//! Matching: finding the call of an answer, with one call in the worker and with 64.

use bytes::{Bytes, BytesMut};
use httpipe::testing::base::Question;
use httpipe::testing::wire::{Correlator, Encoder, Received};

use crate::{Bench, pool};

pub(crate) fn all(bench: &Bench) {
    for in_flight in [1, 64] {
        order(bench, in_flight);
        echo(bench, in_flight);
        tag(bench, in_flight);
        json_id(bench, in_flight);
    }
}

/// Asks the questions, then receives their answers.
fn round(
    bench: &Bench,
    name: &str,
    keys: &str,
    questions: &[Question],
    answer: impl Fn(usize) -> Bytes,
) {
    let settings = pool(keys);
    let encoder =
        Encoder::new(&settings.program.wire.framing.send, settings.program.wire.message_max);
    let mut correlator = Correlator::new(&settings.program.wire);
    let mut out = BytesMut::with_capacity(1 << 16);
    let answers: Vec<Bytes> = (0..questions.len()).map(&answer).collect();
    let count = u32::try_from(questions.len()).expect("it is small");
    let mut last_tag = 0;
    bench.run(&format!("matching: {name}, {count} in flight"), count, || {
        out.clear();
        for (token, question) in questions.iter().enumerate() {
            correlator.ask(token, question, &encoder, &mut out).expect("it is fit");
        }
        for (place, message) in answers.iter().enumerate() {
            // The tags count on, so answers that repeat them are made anew.
            let message = with_tag(name, message, last_tag + questions.len() - place);
            let received = correlator.received(message);
            assert!(matches!(received, Received::Answer { .. }), "not an answer");
        }
        last_tag += questions.len();
    });
}

fn with_tag(name: &str, message: &Bytes, tag: usize) -> Bytes {
    match name {
        "tag" => format!("{tag} 55").into(),
        "json-id" => format!(r#"{{"id":{tag},"result":"55"}}"#).into(),
        _ => message.clone(),
    }
}

fn numbers(count: usize) -> Vec<Question> {
    (0..count).map(|number| Question::plain((1000 + number).to_string())).collect()
}

fn order(bench: &Bench, count: usize) {
    let answer = |place| Bytes::from(format!("{}|55", 1000 + place));
    round(bench, "order", "reply = \"{input}|{result}\"", &numbers(count), answer);
}

fn echo(bench: &Bench, count: usize) {
    let answer = |place| Bytes::from(format!("{}|55", 1000 + count - 1 - place));
    let keys = "matching = \"echo\"\nin_flight = 64\nreply = \"{input}|{result}\"";
    round(bench, "echo", keys, &numbers(count), answer);
}

fn tag(bench: &Bench, count: usize) {
    let keys = "matching = \"tag\"\nin_flight = 64";
    round(bench, "tag", keys, &numbers(count), |_| Bytes::new());
}

fn json_id(bench: &Bench, count: usize) {
    let questions: Vec<Question> =
        (0..count).map(|number| Question::plain(format!(r#"{{"num":{number}}}"#))).collect();
    let keys = "matching = \"json-id\"\nin_flight = 64\nreply = \"json\"";
    round(bench, "json-id", keys, &questions, |_| Bytes::new());
}
