//! Declared parameters of a route: their types, their bounds, and what a value must be.
//!
//! Pure. `front` knows where a value comes from (path, query, form, JSON). Here it is a text or
//! bytes of its type, or is refused with a message for the caller.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Display;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::regexes::WholeRegex;

/// One declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in the match text.
    pub name: Arc<str>,
    /// The key it is read from in a query, form or JSON body: `x` in `?x={num:int}`. The same
    /// as `name` for a path segment.
    pub key: Arc<str>,
    /// Whether it is a segment of the path.
    pub in_path: bool,
    /// What its values are.
    pub kind: ParameterKind,
    /// The value if the request does not have it; `None` if it must.
    pub default: Option<String>,
    /// The configured message for a caller who left it out.
    pub missing: Option<Arc<str>>,
}

/// The type of a parameter with its bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// Any text.
    Text {
        /// Most characters.
        max_length: usize,
        /// What the whole text must match.
        pattern: Option<WholeRegex>,
        /// The only values allowed; empty: any.
        one_of: Vec<String>,
    },
    /// `-?[0-9]+`, any number of digits, never through a float.
    Int {
        /// Least value, in canonical form (see [`ParameterKind::read`]).
        min: Option<String>,
        /// Greatest value, in canonical form.
        max: Option<String>,
    },
    /// JSON's number grammar, sent as written.
    Float {
        /// Least value.
        min: Option<f64>,
        /// Greatest value.
        max: Option<f64>,
    },
    /// `true` or `false`.
    Bool,
    /// Any JSON text, sent compact, its digits untouched.
    Json,
    /// Any bytes, which are never changed.
    File {
        /// Most bytes; `None`: as many as a body may have.
        max_length: Option<usize>,
    },
}

/// The value of a parameter, checked and as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of any kind but [`ParameterKind::File`].
    Text(Cow<'a, str>),
    /// Of a [`ParameterKind::File`].
    File(Cow<'a, [u8]>),
}

/// How deep a `json` value may be nested; the JSON readers of most programs stop near it.
pub const JSON_DEPTH_MAX: usize = 128;

impl ParameterKind {
    /// Returns true if its values are any bytes.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Returns the value that these bytes are, as it is sent and cached.
    ///
    /// # Errors
    ///
    /// As [`ParameterKind::read`].
    pub fn read_bytes<'a>(&self, bytes: Cow<'a, [u8]>) -> Result<Value<'a>, String> {
        match self {
            Self::File { max_length: Some(most) } if bytes.len() > *most => {
                Err(format!("must have at most {most} bytes"))
            }
            Self::File { .. } => Ok(Value::File(bytes)),
            _ => {
                let text = match bytes {
                    Cow::Borrowed(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
                    Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
                };
                self.read_text(text.ok_or("is not UTF-8")?).map(Value::Text)
            }
        }
    }

    /// Returns the value as it is sent and cached: an `int` without leading zeros, `json`
    /// compact, everything else unchanged.
    ///
    /// # Errors
    ///
    /// What was expected, as a message for the caller that does not repeat the value.
    pub fn read(&self, value: &str) -> Result<String, String> {
        self.read_text(value.into()).map(Cow::into_owned)
    }

    /// As [`ParameterKind::read`]. Most values are sent as they come, and are not copied.
    ///
    /// # Errors
    ///
    /// As [`ParameterKind::read`].
    pub fn read_text<'a>(&self, value: Cow<'a, str>) -> Result<Cow<'a, str>, String> {
        match self {
            Self::Text { max_length, pattern, one_of } => {
                check_text(&value, *max_length, pattern.as_ref(), one_of)?;
                Ok(value)
            }
            Self::Int { .. } if !is_int(&value) => {
                Err("must be a whole number, such as 42".to_owned())
            }
            Self::Int { min, max } => {
                let canonical = if is_canonical(&value) { value } else { canonical(&value).into() };
                let low = min.as_deref().is_some_and(|min| compare_ints(&canonical, min).is_lt());
                let high = max.as_deref().is_some_and(|max| compare_ints(&canonical, max).is_gt());
                if low || high {
                    return Err(out_of_bounds("a whole number", min.as_ref(), max.as_ref()));
                }
                Ok(canonical)
            }
            Self::Float { min, max } => {
                if !is_json_number(value.as_bytes()) {
                    return Err("must be a number, such as 1.5".to_owned());
                }
                let number: f64 = value.parse().expect("JSON's grammar is part of Rust's");
                let low = min.is_some_and(|min| number < min);
                let high = max.is_some_and(|max| number > max);
                if low || high {
                    return Err(out_of_bounds("a number", min.as_ref(), max.as_ref()));
                }
                Ok(value)
            }
            Self::Bool if matches!(&*value, "true" | "false") => Ok(value),
            Self::Bool => Err("must be `true` or `false`".to_owned()),
            Self::Json => compact_json(&value).map(Cow::Owned).map_err(str::to_owned),
            Self::File { .. } => {
                self.read_bytes(Cow::Borrowed(value.as_bytes()))?;
                Ok(value)
            }
        }
    }
}

fn check_text(
    value: &str,
    max_length: usize,
    pattern: Option<&WholeRegex>,
    one_of: &[String],
) -> Result<(), String> {
    // Characters are at least a byte each, so counting them is rarely needed.
    if value.len() > max_length && value.chars().count() > max_length {
        return Err(format!("must have at most {max_length} characters"));
    }
    if !one_of.is_empty() && !one_of.iter().any(|allowed| allowed == value) {
        let allowed = one_of.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>();
        return Err(format!("must be one of {}", allowed.join(", ")));
    }
    match pattern {
        Some(pattern) if !pattern.matches(value) => Err(format!("must match `{pattern}`")),
        _ => Ok(()),
    }
}

fn out_of_bounds<T: Display>(what: &str, min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("must be {what} from {min} to {max}"),
        (Some(min), None) => format!("must be {what} of at least {min}"),
        (None, Some(max)) => format!("must be {what} of at most {max}"),
        (None, None) => format!("must be {what}"),
    }
}

/// A whole number as it is compared and sent: no leading zeros, `-0` is `0`. `None`: it is not
/// `-?[0-9]+`.
pub fn canonical_int(text: &str) -> Option<String> {
    is_int(text).then(|| canonical(text))
}

/// Returns true for `-?[0-9]+`.
fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true if a whole number is written as it is compared and sent.
fn is_canonical(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.starts_with('0') || number == "0"
}

fn canonical(number: &str) -> String {
    let negative = number.starts_with('-');
    match number.trim_start_matches('-').trim_start_matches('0') {
        "" => "0".to_owned(),
        digits if negative => format!("-{digits}"),
        digits => digits.to_owned(),
    }
}

/// Compares two whole numbers in canonical form, of any number of digits.
pub fn compare_ints(left: &str, right: &str) -> Ordering {
    match (left.strip_prefix('-'), right.strip_prefix('-')) {
        (None, None) => compare_digits(left, right),
        (Some(left), Some(right)) => compare_digits(right, left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

fn compare_digits(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Returns true if it is a number in JSON: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
pub fn is_json_number(text: &[u8]) -> bool {
    let Some(rest) = after_json_int(text) else { return false };
    let rest = match rest {
        [b'.', rest @ ..] => match after_digits(rest) {
            Some(rest) => rest,
            None => return false,
        },
        rest => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => {
            after_digits(rest).is_some_and(<[u8]>::is_empty)
        }
        _ => false,
    }
}

/// Returns true if it is a whole number in JSON: `-?(0|[1-9][0-9]*)`.
pub fn is_json_int(text: &[u8]) -> bool {
    after_json_int(text).is_some_and(<[u8]>::is_empty)
}

fn after_json_int(text: &[u8]) -> Option<&[u8]> {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0', rest @ ..] => Some(rest),
        digits => after_digits(digits),
    }
}

/// Returns the text after one or more digits; `None` if it does not begin with a digit.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

/// Removes the blanks between the tokens of a JSON text; strings and digits stay as they are.
///
/// # Errors
///
/// What was expected, as a message for the caller.
pub fn compact_json(text: &str) -> Result<String, &'static str> {
    compact_value(serde_json::from_str(text).map_err(|_| "must be a JSON value")?)
}

/// Does the same to a value whose grammar was checked.
///
/// # Errors
///
/// What was expected, as a message for the caller.
pub fn compact_value(value: &RawValue) -> Result<String, &'static str> {
    let text = value.get();
    let mut compact = String::with_capacity(text.len());
    let mut depth = 0_usize;
    // What stands from here to `at` is kept.
    let mut kept = 0;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_length(&text.as_bytes()[at..]) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b' ' | b'\t' | b'\n' | b'\r' => {
                compact.push_str(&text[kept..at]);
                kept = at + 1;
            }
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return Err("must be a JSON value that is nested less deeply");
        }
        at += 1;
    }
    compact.push_str(&text[kept..]);
    Ok(compact)
}

/// The length of the JSON string at the beginning, with both its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        let found = memchr::memchr2(b'"', b'\\', &text[at..]).expect("the string ends");
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(min: Option<&str>, max: Option<&str>) -> ParameterKind {
        ParameterKind::Int { min: min.map(str::to_owned), max: max.map(str::to_owned) }
    }

    #[test]
    fn an_int_is_sent_without_leading_zeros() {
        let huge = "9".repeat(400);
        for (text, sent) in
            [("0", "0"), ("-0", "0"), ("007", "7"), ("-010", "-10"), (&huge, &huge), ("00", "0")]
        {
            assert_eq!(int(None, None).read(text), Ok(sent.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_python_would_take_for_an_int_is_refused() {
        for text in ["", "-", "+10", "1_0", " 10", "10 ", "1.0", "1e3", "0x10", "١", "--1", "1\n"]
        {
            assert!(int(None, None).read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bounds_of_an_int_hold_beyond_every_machine_word() {
        let (least, most) = ("-100000000000000000000", "100000000000000000000");
        let bounded = int(Some(least), Some(most));
        for text in [least, most, "0", "-99999999999999999999", "000100000000000000000000"] {
            assert!(bounded.read(text).is_ok(), "{text}");
        }
        for text in ["100000000000000000001", "-100000000000000000001", "1000000000000000000000"] {
            let said = bounded.read(text).expect_err("out of bounds");
            assert_eq!(said, format!("must be a whole number from {least} to {most}"));
        }
    }

    #[test]
    fn a_float_is_what_json_calls_a_number_and_stays_as_written() {
        let any = ParameterKind::Float { min: None, max: None };
        for text in
            ["0", "-0.0", "1.50", "1e3", "1E+05", "-1.5e-7", "123456789012345678901234567890"]
        {
            assert_eq!(any.read(text), Ok(text.to_owned()));
        }
        for text in
            ["", "-", ".5", "1.", "01", "+1", "1e", "1e+", "NaN", "inf", "1_0", " 1", "0x1p3"]
        {
            assert!(any.read(text).is_err(), "{text:?}");
        }
        let bounded = ParameterKind::Float { min: Some(0.5), max: Some(2.0) };
        assert!(bounded.read("0.5").is_ok() && bounded.read("2").is_ok());
        assert!(bounded.read("0.49").is_err() && bounded.read("1e999").is_err());
    }

    #[test]
    fn a_text_keeps_to_its_length_its_pattern_and_its_choice() {
        let text = |max_length, pattern: Option<&str>, one_of: &[&str]| ParameterKind::Text {
            max_length,
            pattern: pattern.map(|pattern| WholeRegex::new(pattern).expect("a pattern")),
            one_of: one_of.iter().map(|&one| one.to_owned()).collect(),
        };
        assert_eq!(text(4, None, &[]).read("äöüß"), Ok("äöüß".to_owned()));
        assert!(text(4, None, &[]).read("äöüß!").is_err());
        assert_eq!(text(4, None, &[]).read(""), Ok(String::new()));
        assert!(text(9, Some("a+"), &[]).read("aab").is_err());
        let said = text(9, None, &["red", "blue"]).read("green");
        assert_eq!(said, Err("must be one of `red`, `blue`".to_owned()));
    }

    #[test]
    fn a_bool_is_one_of_two_words() {
        assert_eq!(ParameterKind::Bool.read("true"), Ok("true".to_owned()));
        for text in ["True", "1", "", "yes"] {
            assert!(ParameterKind::Bool.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_is_sent_compact_with_its_digits_untouched() {
        for (text, sent) in [
            (" { \"a b\" : [ 1.0 , 2e+01,\t-0 ] }\r\n", r#"{"a b":[1.0,2e+01,-0]}"#),
            (r#" "q \" \\" "#, r#""q \" \\""#),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#""\ud800""#, r#""\ud800""#),
        ] {
            assert_eq!(ParameterKind::Json.read(text), Ok(sent.to_owned()), "{text}");
        }
        for text in ["", "{", "1 2", "nul", "\"a\nb\"", "{\"a\":}", "[1,]"] {
            assert!(ParameterKind::Json.read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn deeply_nested_json_is_refused_before_it_costs_a_stack() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(ParameterKind::Json.read(&nested(JSON_DEPTH_MAX)).is_ok());
        assert!(ParameterKind::Json.read(&nested(JSON_DEPTH_MAX + 1)).is_err());
        assert!(ParameterKind::Json.read(&nested(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn ints_compare_as_numbers_do(left: i64, right: i64) {
            let order = compare_ints(&left.to_string(), &right.to_string());
            proptest::prop_assert_eq!(order, left.cmp(&right));
        }

        #[test]
        fn compact_json_means_the_same(text in "[\\[\\]{}:,\"\\\\ a-c0-2.e-]{0,24}") {
            let before = serde_json::from_str::<serde_json::Value>(&text).ok();
            let after = compact_json(&text).ok();
            let read = after.and_then(|compact| serde_json::from_str(&compact).ok());
            proptest::prop_assert_eq!(before, read);
        }

        #[test]
        fn a_float_is_accepted_exactly_where_json_does(text in "[-+0-9.eE]{0,8}") {
            let json = serde_json::from_str::<serde_json::Number>(&text).is_ok();
            proptest::prop_assert_eq!(is_json_number(text.as_bytes()), json);
        }
    }
}
