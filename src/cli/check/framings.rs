//! Guesses the framing and the `ready` that fit the output of a program.
//!
//! Pure. The decoder that the server would use confirms each guess.

use bytes::BytesMut;
use regex::bytes::Regex;

use crate::config::Framing;
use crate::wire::Decoder;

/// The size limit of a message. It is larger than any output that is kept here.
const LIMIT: usize = 64 << 20;
/// The longest text that counts as a prompt, in bytes.
const PROMPT_MOST: usize = 24;
/// How many characters of a line go into a pattern.
const PATTERN_MOST: usize = 60;

/// Returns the framings under which these bytes are exactly one answer, as they are written in a
/// configuration, likeliest first, each with a note about it.
pub(super) fn fittings(output: &[u8]) -> Vec<(String, &'static str)> {
    let mut candidates: Vec<(String, &str)> = Vec::new();
    let lowered = output.get(..16).unwrap_or_default().to_ascii_lowercase();
    if lowered.starts_with(b"content-length:") || lowered.starts_with(b"content-type:") {
        candidates.push(("content-length".to_owned(), ""));
    }
    if output.first().is_some_and(u8::is_ascii_digit) {
        candidates.push(("netstring".to_owned(), ""));
    }
    // Text never looks like a length, because its first byte is no control character.
    if output.first().is_some_and(|byte| *byte < 9) || output.get(1) == Some(&0) {
        candidates.extend(["u32", "u32le", "u16"].map(|name| (name.to_owned(), "")));
    }
    candidates.push(("nul".to_owned(), ""));
    let lines = lines_of(output);
    let whole_lines = output.ends_with(b"\n");
    if whole_lines {
        candidates.push(("line".to_owned(), ""));
        candidates.push(("block".to_owned(), ""));
        let last = lines.last().filter(|_| lines.len() > 1);
        if let Some(end) = last.filter(|line| is_bracketed(line)) {
            candidates.push((format!("until:{}\n", String::from_utf8_lossy(end)), ""));
        }
        if let Some(end) = last.and_then(|it| mark_of(it)) {
            candidates.push((format!("last-line:^{end}$"), ""));
        }
        let note = "if every answer has this many lines";
        candidates.push((format!("lines:{}", lines.len()), note));
    } else if let Some(prompt) = prompt_of(output) {
        candidates.push((format!("until:{prompt}"), ""));
    }
    candidates.retain(|(name, _)| cuts_one(name, output));
    candidates
}

/// Returns a `ready` that removes exactly these bytes and still matches if numbers in them
/// change.
pub(super) fn ready_for(banner: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(banner).ok()?;
    let ended = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    let body = ended.unwrap_or(text);
    let last = body.trim_end_matches(['\n', '\r']).rsplit('\n').next()?.trim_end_matches('\r');
    let empty_lines = &body[body.trim_end_matches(['\n', '\r']).len()..];
    let first = body.lines().next()?;
    let end = format!("{}{}", general(last), general(empty_lines));
    let candidates = [end.clone(), format!("(?s)^{}.*{end}", general(first))];
    candidates.into_iter().find(|pattern| takes_all(pattern, banner))
}

/// Returns true if this framing finds exactly one message.
pub(super) fn cuts_one(framing: &str, output: &[u8]) -> bool {
    let Ok(framing) = Framing::parse(framing) else { return false };
    let mut decoder = Decoder::new(&framing, LIMIT);
    let mut buffer = BytesMut::from(output);
    matches!(decoder.next(&mut buffer, None), Ok(Some(_))) && buffer.is_empty()
}

/// Splits into lines, without line ends.
fn lines_of(output: &[u8]) -> Vec<&[u8]> {
    let whole = output.strip_suffix(b"\n").unwrap_or(output);
    whole
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect()
}

/// Returns a pattern for the last line if the line looks like an end marker.
fn mark_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let is_word = line.len() > 1 && line.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_sign = matches!(line, "." | "ok" | "done" | "end") || is_bar(line);
    (is_word || is_sign).then(|| regex::escape(line))
}

/// Returns true for a word in brackets: `{ready}`, `<end>`, `[done]`.
fn is_bracketed(line: &[u8]) -> bool {
    let [first, inside @ .., last] = line else { return false };
    let is_pair = matches!((first, last), (b'{', b'}') | (b'<', b'>') | (b'[', b']'));
    is_pair && !inside.is_empty() && inside.iter().all(u8::is_ascii_alphabetic)
}

/// Returns true for a line of dashes or the like.
fn is_bar(line: &str) -> bool {
    line.len() > 1 && line.bytes().all(|byte| matches!(byte, b'-' | b'=' | b'.' | b'*'))
}

/// Returns the prompt after the last line, if there is one.
fn prompt_of(output: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(output).ok()?;
    let start = text.rfind('\n').map_or(0, |end| end + 1);
    let prompt = &text[start..];
    let last = prompt.trim_end().chars().next_back()?;
    let is_prompt =
        prompt.len() <= PROMPT_MOST && matches!(last, '>' | '?' | ':' | '$' | '#' | '%');
    is_prompt.then(|| prompt.to_owned())
}

/// Returns true if this `ready` removes the whole banner.
fn takes_all(pattern: &str, banner: &[u8]) -> bool {
    let Ok(regex) = Regex::new(pattern) else { return false };
    let Some(found) = regex.find(banner) else { return false };
    matches!(&banner[found.end()..], b"" | b"\n" | b"\r\n")
}

/// Returns a pattern that matches the text with any other numbers in it.
fn general(text: &str) -> String {
    let mut pattern = String::new();
    let mut rest = text;
    if let Some((cut, _)) = text.char_indices().nth(PATTERN_MOST) {
        rest = &text[..cut];
    }
    let is_cut = rest.len() < text.len();
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        pattern.push_str(&regex::escape(&rest[..start]));
        pattern.push_str("[0-9]+");
        rest = rest[start..].trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    pattern.push_str(&regex::escape(rest));
    if is_cut {
        pattern.push_str(".*");
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(output: &[u8]) -> String {
        fittings(output)
            .into_iter()
            .next()
            .map_or_else(|| "none".to_owned(), |(framing, _)| framing)
    }

    #[test]
    fn the_framing_that_would_end_an_answer_is_found() {
        assert_eq!(fits(b"42\n"), "line");
        assert_eq!(fits(b"a\nb\n\n"), "block");
        assert_eq!(fits(b"a\r\nb\r\n\r\n"), "block");
        assert_eq!(fits(b"a\nb\nc\n"), "lines:3");
        assert_eq!(fits(b"a\nb\nOK\n"), "last-line:^OK$");
        assert_eq!(fits(b"a\n.\n"), r"last-line:^\.$");
        assert_eq!(fits(b"12.57\n{ready}\n"), "until:{ready}\n");
        assert_eq!(fits(b"3\n> "), "until:> ");
        assert_eq!(fits(b"3:abc,"), "netstring");
        assert_eq!(fits(b"\0\0\0\x02ab"), "u32");
        assert_eq!(fits(b"\x02\0\0\0ab"), "u32le");
        assert_eq!(fits(b"\0\x02ab"), "u16");
        assert_eq!(fits(b"ab\0"), "nul");
        assert_eq!(fits(b"Content-Length: 2\r\n\r\n{}"), "content-length");
        assert_eq!(fits(b"42"), "none");
    }

    #[test]
    fn a_ready_removes_the_whole_banner_whatever_its_numbers() {
        let ready = |banner: &str| {
            let pattern = ready_for(banner.as_bytes()).expect("a pattern");
            assert!(takes_all(&pattern, banner.as_bytes()), "{pattern}");
            pattern
        };
        assert_eq!(ready("Ispell Version 3.1.20\n"), r"Ispell Version [0-9]+\.[0-9]+\.[0-9]+");
        assert_eq!(ready("hello\nready\n"), "ready");
        assert_eq!(ready("welcome\n\n"), "welcome\n");
        assert_eq!(ready("Calc 1.0\nhelp: ?\n> "), "> ");
        // The prompt alone also matches in the first line.
        assert_eq!(ready("a > b\n> "), "(?s)^a > b.*> ");
        assert_eq!(ready_for(b"\xff\n"), None);
    }
}
