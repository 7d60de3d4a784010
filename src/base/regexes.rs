//! Regular expressions that can be compared: two are equal if their texts are.
//!
//! Pure.

use std::fmt;

/// A regular expression that is searched for in bytes.
#[derive(Clone)]
pub struct ByteRegex(regex::bytes::Regex);

/// A regular expression that must match all of a text.
#[derive(Clone)]
pub struct WholeRegex(regex::Regex);

impl ByteRegex {
    /// Compiles a regular expression.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in one line.
    pub fn new(text: &str) -> Result<Self, String> {
        regex::bytes::Regex::new(text).map(Self).map_err(|error| one_line(&error))
    }
}

impl std::ops::Deref for ByteRegex {
    type Target = regex::bytes::Regex;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl PartialEq for ByteRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for ByteRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ByteRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl WholeRegex {
    /// Compiles a regular expression and anchors it at both ends.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in one line.
    pub fn new(text: &str) -> Result<Self, String> {
        // Compiled alone first, so that an error does not speak of what is put around it.
        let compiled =
            regex::Regex::new(text).and_then(|_| regex::Regex::new(&format!("^(?:{text})$")));
        compiled.map(Self).map_err(|error| one_line(&error))
    }

    /// Returns the expression as it was written, without its anchors.
    pub fn text(&self) -> &str {
        let text = self.0.as_str();
        text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
    }

    /// Returns true if the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for WholeRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for WholeRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Shows the expression with its anchors.
impl fmt::Display for WholeRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_equal_if_their_texts_are() {
        let bytes = |text| ByteRegex::new(text).expect("an expression");
        assert_eq!(bytes("a+"), bytes("a+"));
        assert_ne!(bytes("a+"), bytes("aa*"));
        let whole = |text| WholeRegex::new(text).expect("an expression");
        assert_eq!(whole("a+"), whole("a+"));
        assert_ne!(whole("a+"), whole("aa*"));
    }

    #[test]
    fn a_whole_text_is_matched_at_both_ends() {
        let regex = WholeRegex::new("a|b").expect("an expression");
        assert!(regex.matches("a") && regex.matches("b"));
        assert!(!regex.matches("ab") && !regex.matches(""));
        assert!(WholeRegex::new("a)(b").is_err(), "it must be an expression without the anchors");
    }
}
