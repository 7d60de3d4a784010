//! Any bytes as JSON: we read them as `serde_json` does, and an `id` that we replace comes back.

#![no_main]

use bytes::{Bytes, BytesMut};
use httpipe::testing::base::Question;
use httpipe::testing::config::{Framing, Matching, ReplyShape};
use httpipe::testing::wire::{Correlator, Encoder, Judge, Received, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let text = Bytes::copy_from_slice(data);
    let is_json = std::str::from_utf8(data)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let verdict = Judge::of(ReplyShape::Json, None, 422).judge(b"", text.clone(), false);
    assert_eq!(matches!(verdict, Verdict::Good(_)), is_json);

    let mut correlator = Correlator::matching(Matching::JsonId, std::iter::empty());
    let encoder = Encoder::new(&Framing::Line, usize::MAX);
    let mut out = BytesMut::new();
    let question = Question::plain(text.clone());
    if correlator.ask((), &question, &encoder, &mut out).is_err() {
        return;
    }
    assert!(is_json, "only JSON is asked");
    out.truncate(out.len() - 1);
    // Deeper than this, serde_json builds no tree.
    if let Ok(Value::Object(sent)) = serde_json::from_slice(&out) {
        assert_eq!(sent.get("id"), Some(&Value::from(1)));
    }
    if let Received::Answer { text: answer, question, .. } = correlator.received(out.freeze()) {
        assert_eq!(answer, text);
        assert_eq!(question, text);
    }
});
