//! How far a call is, as its program says while it works on it.
//!
//! Pure. Progress is kept as the JSON object that callers see, so that it is made once and bounded
//! once.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest text that a program may say of its progress, in bytes; the rest is cut off.
const TEXT_MOST: usize = 1024;
/// The longest JSON object, in bytes.
const OBJECT_MOST: usize = 4 << 10;
/// Fractions are told in steps of this many to the whole.
const STEPS: f64 = 1e6;

/// How far a call is: one JSON object in one line, of 4 KiB at most. `fraction` in it is from 0 to 1,
/// and `text` is a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress(Arc<str>);

/// What every object of progress may have.
#[derive(Deserialize)]
struct KnownMembers {
    #[serde(default)]
    fraction: Option<f64>,
    #[serde(default)]
    text: Option<String>,
}

impl Progress {
    /// Returns progress of this part of the whole. A number that is less than 0 or more than 1
    /// counts as 0 or 1. Returns `None` for one that is not finite.
    pub fn of(fraction: f64, text: Option<&str>) -> Option<Self> {
        if !fraction.is_finite() {
            return None;
        }
        let fraction = (fraction.clamp(0.0, 1.0) * STEPS).round() / STEPS;
        let text = text.map(|text| &text[..text.floor_char_boundary(TEXT_MOST)]);
        let object = match text {
            Some(text) => serde_json::json!({ "fraction": fraction, "text": text }),
            None => serde_json::json!({ "fraction": fraction }),
        };
        Some(Self(object.to_string().into()))
    }

    /// Reads a JSON number from 0 to 1, or an object of 4 KiB at most, which may have `fraction`,
    /// `text` and any other members. Returns `None` for all else.
    pub fn of_json(value: &[u8]) -> Option<Self> {
        if value.len() > OBJECT_MOST {
            return None;
        }
        let is_part = |fraction: &f64| (0.0..=1.0).contains(fraction);
        if value.trim_ascii_start().first() != Some(&b'{') {
            let fraction = serde_json::from_slice(value).ok().filter(is_part)?;
            return Self::of(fraction, None);
        }
        let members: KnownMembers = serde_json::from_slice(value).ok()?;
        if members.fraction.is_some_and(|fraction| !is_part(&fraction)) {
            return None;
        }
        // Line ends can only stand between the tokens of a JSON text.
        let object = std::str::from_utf8(value).ok()?.trim();
        Some(Self(object.replace(['\n', '\r'], " ").into()))
    }

    /// Returns the JSON object, which is one line.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Returns the part of the whole that is done, and what is said of it, as far as it is.
    pub fn parts(&self) -> (Option<f64>, Option<String>) {
        let members: Option<KnownMembers> = serde_json::from_str(&self.0).ok();
        members.map_or((None, None), |members| (members.fraction, members.text))
    }

    /// Returns the JSON object as a part of a document.
    pub fn raw(&self) -> Box<RawValue> {
        RawValue::from_string(self.0.to_string()).expect("it is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &str) -> Option<String> {
        Progress::of_json(value.as_bytes()).map(|progress| progress.json().to_owned())
    }

    #[test]
    fn progress_is_a_fraction_and_perhaps_a_text() {
        let shown =
            |fraction, text| Progress::of(fraction, text).expect("finite").json().to_owned();
        assert_eq!(shown(0.29, None), r#"{"fraction":0.29}"#);
        assert_eq!(shown(33.3 / 100.0, Some("page 4")), r#"{"fraction":0.333,"text":"page 4"}"#);
        assert_eq!(shown(1.5, None), r#"{"fraction":1.0}"#);
        assert_eq!(shown(-2.0, Some("a\n\u{1b}\"")), r#"{"fraction":0.0,"text":"a\n\u001b\""}"#);
        assert_eq!(Progress::of(f64::NAN, None), None);
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = "é".repeat(TEXT_MOST);
        let progress = Progress::of(0.0, Some(&format!("x{long}"))).expect("finite");
        let shown: serde_json::Value = serde_json::from_str(progress.json()).expect("JSON");
        let text = shown["text"].as_str().expect("a text");
        assert_eq!(text.len(), TEXT_MOST - 1);
        assert!(text.ends_with('é'));
    }

    #[test]
    fn json_is_a_number_from_0_to_1_or_an_object() {
        assert_eq!(json(" 0.5 ").as_deref(), Some(r#"{"fraction":0.5}"#));
        let own = r#"{"fraction": 1, "text": "x", "page": [4]}"#;
        assert_eq!(json(own).as_deref(), Some(own));
        assert_eq!(json("{\r\n\"page\":\n4}").as_deref(), Some("{  \"page\": 4}"));
        for wrong in [
            "40",
            "-0.1",
            "\"0.5\"",
            "null",
            "true",
            "[0.5]",
            "",
            "{",
            "{\"fraction\":2}",
            "{\"fraction\":\"1\"}",
            "{\"text\":4}",
            "0.5 0.5",
        ] {
            assert_eq!(json(wrong), None, "{wrong}");
        }
        let object = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(json(&object(OBJECT_MOST)).is_some());
        assert!(json(&object(OBJECT_MOST + 1)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn progress_is_always_one_line_of_json(value: Vec<u8>, text: String, fraction: f64) {
            let found = [Progress::of_json(&value), Progress::of(fraction, Some(&text))];
            for progress in found.into_iter().flatten() {
                let shown: serde_json::Value = serde_json::from_str(progress.json()).expect("JSON");
                proptest::prop_assert!(shown.is_object());
                proptest::prop_assert!(!progress.json().contains(['\n', '\r']));
                proptest::prop_assert!(progress.json().len() <= 8 << 10);
            }
        }
    }
}
