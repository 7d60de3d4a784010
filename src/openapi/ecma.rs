//! Regular expressions as ECMA-262 writes them, which is what JSON Schema reads.
//!
//! Pure. An expression of the configuration is taken apart and written anew, so that it means the
//! same in ECMA, Python and Rust. The one difference left is `\b` beside letters outside ASCII.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look, Repetition};

/// A class of more ranges, as that of all letters, is nothing that anybody wants to read.
const RANGES_MOST: usize = 100;

/// Writes an expression for ECMA; `None` if ECMA has no words for it.
pub(super) fn ecma(text: &str) -> Option<String> {
    let mut written = String::new();
    write(&regex_syntax::parse(text).ok()?, &mut written)?;
    Some(written)
}

/// Returns true if a text that matches may hold one of these characters.
pub(super) fn may_hold(text: &str, characters: &[char]) -> bool {
    regex_syntax::parse(text).map_or(true, |hir| can_hold(&hir, characters))
}

fn can_hold(hir: &Hir, characters: &[char]) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => {
            characters.iter().any(|it| u8::try_from(*it).is_ok_and(|it| literal.0.contains(&it)))
        }
        HirKind::Class(Class::Unicode(class)) => {
            let has =
                |it: &char| class.iter().any(|range| (range.start()..=range.end()).contains(it));
            characters.iter().any(has)
        }
        HirKind::Class(Class::Bytes(_)) => true,
        HirKind::Repetition(Repetition { sub, .. }) => can_hold(sub, characters),
        HirKind::Capture(capture) => can_hold(&capture.sub, characters),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().any(|part| can_hold(part, characters))
        }
    }
}

fn write(hir: &Hir, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            str::from_utf8(&literal.0).ok()?.chars().for_each(|it| write_character(it, out));
        }
        HirKind::Class(Class::Unicode(class)) => write_class(class, out)?,
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Look(look) => out.push_str(match look {
            Look::Start => "^",
            Look::End => "$",
            Look::WordAscii | Look::WordUnicode => r"\b",
            Look::WordAsciiNegate | Look::WordUnicodeNegate => r"\B",
            _ => return None,
        }),
        HirKind::Repetition(repetition) => {
            write_atom(&repetition.sub, out)?;
            match (repetition.min, repetition.max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (least, None) => out.extend([format!("{{{least},}}")]),
                (least, Some(most)) if least == most => out.extend([format!("{{{least}}}")]),
                (least, Some(most)) => out.extend([format!("{{{least},{most}}}")]),
            }
        }
        HirKind::Capture(capture) => write_group(&capture.sub, out)?,
        HirKind::Concat(parts) => {
            for part in parts {
                match part.kind() {
                    HirKind::Alternation(_) => write_group(part, out)?,
                    _ => write(part, out)?,
                }
            }
        }
        HirKind::Alternation(parts) => {
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    out.push('|');
                }
                write(part, out)?;
            }
        }
    }
    Some(())
}

/// Writes what can be repeated as it stands, or as a group.
fn write_atom(hir: &Hir, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Class(_) | HirKind::Capture(_) => write(hir, out),
        HirKind::Literal(literal) if str::from_utf8(&literal.0).ok()?.chars().count() == 1 => {
            write(hir, out)
        }
        _ => write_group(hir, out),
    }
}

fn write_group(hir: &Hir, out: &mut String) -> Option<()> {
    out.push_str("(?:");
    write(hir, out)?;
    out.push(')');
    Some(())
}

fn write_class(class: &ClassUnicode, out: &mut String) -> Option<()> {
    let mut others = class.clone();
    others.negate();
    let is_shorter_negated = others.ranges().len() < class.ranges().len()
        || class.ranges().last().is_some_and(|last| last.end() == char::MAX);
    let (sign, ranges) =
        if is_shorter_negated { ("^", others.ranges()) } else { ("", class.ranges()) };
    if ranges.is_empty() || ranges.len() > RANGES_MOST {
        return None;
    }
    out.push('[');
    out.push_str(sign);
    for range in ranges {
        write_character(range.start(), out);
        let length = u32::from(range.end()) - u32::from(range.start());
        if length > 1 {
            out.push('-');
        }
        if length > 0 {
            write_character(range.end(), out);
        }
    }
    out.push(']');
    Some(())
}

/// Writes one character. What is a sign in some place is escaped in all of them.
fn write_character(character: char, out: &mut String) {
    match character {
        '\t' => out.push_str(r"\t"),
        '\n' => out.push_str(r"\n"),
        '\r' => out.push_str(r"\r"),
        '^' | '$' | '\\' | '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|'
        | '/' => {
            out.extend(['\\', character]);
        }
        // ECMA takes `\-` in a class only, and there it must have it.
        '-' => out.push_str(r"\x2d"),
        ' '..='~' => out.push(character),
        _ if u32::from(character) < 0x100 => {
            out.extend([format!("\\x{:02x}", u32::from(character))]);
        }
        _ if u32::from(character) < 0x1_0000 => {
            out.extend([format!("\\u{:04x}", u32::from(character))]);
        }
        // There is no way to escape these that all three read.
        _ => out.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_written_so_that_ecma_means_the_same() {
        for (text, written) in [
            ("a|bc", "a|bc"),
            ("^(?:a|bc)$", "^(?:a|bc)$"),
            (r"[0-9]{1,9}(\.[0-9]{1,9})?", r"[0-9]{1,9}(?:\.[0-9]{1,9})?"),
            (r"[^:]+", "[^:]+"),
            (".*", r"[^\n]*"),
            (r"[A-Za-z0-9_.-]*", r"[\x2d\.0-9A-Z_a-z]*"),
            (r"(?i)ab\b", r"[Aa][Bb]\b"),
            (r"(?P<name>x{2})y{3,}", "(?:x{2})y{3,}"),
            (r"\x{1F600}\u{e9}", "\u{1F600}\\xe9"),
            ("(?:ab)*?", "(?:ab)*"),
            (r"\A-a\z", r"^\x2da$"),
        ] {
            assert_eq!(ecma(text).as_deref(), Some(written), "{text}");
        }
        for text in ["(?m)^a", r"\w", r"[\s\S&&a--a]", "("] {
            assert_eq!(ecma(text), None, "{text}");
        }
    }

    #[test]
    fn what_an_expression_keeps_out_need_not_be_said_again() {
        let ends = ['\n', '\r', '\0'];
        assert!(!may_hold("[a-z ]+", &ends) && !may_hold(r"\d{5}|x", &ends));
        assert!(may_hold("[^:]+", &ends) && may_hold("a\\n?", &ends));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_matches_the_same_texts(
            text in "([a-c.]|\\[\\^?[a-d-]{1,3}\\]|\\(a\\|b?\\)|\\\\[.d-]){1,5}[*+?]?",
            value in "[a-d.1\\-]{0,6}",
        ) {
            if let (Ok(one), Some(other)) = (regex::Regex::new(&format!("^(?:{text})$")), ecma(&text)) {
                let other = regex::Regex::new(&format!("^(?:{other})$")).expect("Rust reads it too");
                proptest::prop_assert_eq!(one.is_match(&value), other.is_match(&value));
            }
        }
    }
}
