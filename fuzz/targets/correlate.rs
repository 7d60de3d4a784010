//! Calls in one worker, and any messages from it.

#![no_main]

use bytes::{Bytes, BytesMut};
use httpipe::testing::base::Question;
use httpipe::testing::base::pattern::Pattern;
use httpipe::testing::config::{Framing, Matching};
use httpipe::testing::wire::{Correlator, Encoder, Received};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, script)) = data.split_first() else { return };
    let matching = [Matching::Order, Matching::Echo, Matching::Tag, Matching::JsonId];
    let matching = matching[usize::from(choice % 4)];
    let shapes = ["e|{input}|{message}", "{input}|{result:int}", "{a} {input}"];
    let shapes = shapes.map(|shape| Pattern::parse(shape).expect("a pattern"));
    let mut correlator = Correlator::matching(matching, shapes.iter());
    let encoder = Encoder::new(&Framing::Line, 1000);
    let mut asked: Vec<Bytes> = Vec::new();
    let mut answered = Vec::new();
    // Each line begins with what to do: ask the rest, or take the rest for a message.
    for line in script.split(|byte| *byte == b'\n') {
        let Some((what, text)) = line.split_first() else { continue };
        let (text, before) = (Bytes::copy_from_slice(text), correlator.len());
        if *what == b'?' {
            let question = Question::plain(text.clone());
            let mut out = BytesMut::new();
            if correlator.ask(asked.len(), &question, &encoder, &mut out).is_ok() {
                assert_eq!(out.last(), Some(&b'\n'));
                assert_eq!(correlator.len(), before + 1);
                asked.push(text);
            } else {
                assert!(out.is_empty());
                assert_eq!(correlator.len(), before);
            }
            continue;
        }
        match correlator.received(text) {
            Received::Answer { token, question, proven, .. } => {
                assert_eq!(asked[token], question);
                assert!(!answered.contains(&token), "answered twice");
                assert_eq!(proven, matching != Matching::Order);
                assert_eq!(correlator.len(), before - 1);
                answered.push(token);
            }
            Received::Aside { .. }
            | Received::Notification
            | Received::Progress { .. }
            | Received::Late { .. }
            | Received::Stray(_)
            | Received::WorkerAsks { .. }
            | Received::Mismatch(_) => {
                assert_eq!(correlator.len(), before);
            }
        }
    }
});
