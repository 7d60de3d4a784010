//! What a text looks like, without what it says.
//!
//! Pure.

use std::fmt::Write as _;

/// Shows bytes as text. What is not UTF-8 is written as `\xff`.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string can always grow");
        }
    }
    text
}

/// Shows what bytes look like: letters become `a`, digits `9`, and what is not ASCII `▒`. White
/// space, controls and punctuation of ASCII stay, because they show the framing.
pub fn masked(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|character| match character {
            _ if character.is_alphabetic() => 'a',
            _ if character.is_numeric() => '9',
            _ if character.is_ascii() => character,
            _ => '▒',
        }));
        text.extend(chunk.invalid().iter().map(|_| '▒'));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_text_looks_like_is_shown() {
        assert_eq!(masked("Grün 42: {\"a\": 1}\n".as_bytes()), "aaaa 99: {\"a\": 9}\n");
        assert_eq!(masked("Köln → ½ 東\u{1f600}".as_bytes()), "aaaa ▒ 9 a▒");
        assert_eq!(masked(b"a\xff\x00"), "a▒\0");
        assert_eq!(shown(b"a\xff\n"), "a\\xff\n");
    }

    proptest! {
        #[test]
        fn no_letter_and_no_digit_survives(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in ".*",
        ) {
            for masked in [masked(&bytes), masked(text.as_bytes())] {
                for character in masked.chars() {
                    let says_something = character.is_alphanumeric();
                    prop_assert!(!says_something || character == 'a' || character == '9');
                    prop_assert!(character.is_ascii() || character == '▒');
                }
            }
        }
    }
}
