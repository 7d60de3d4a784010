//! A command as people type it in one line, and its words.
//!
//! Pure.

use std::fmt::Write as _;

use toml::Value;

/// What only a shell understands, outside of quotes.
const SHELL: &str = "|&;<>()$`*?~";

/// Writes a command line as the list of its words, as a file has it: `["cat", "-u"]`. One that
/// only a shell understands is left to a shell.
pub fn as_list(line: &str) -> String {
    let words =
        split(line).unwrap_or_else(|| ["sh", "-c", line].into_iter().map(str::to_owned).collect());
    let words: Vec<String> =
        words.into_iter().map(|word| Value::String(word).to_string()).collect();
    format!("[{}]", words.join(", "))
}

/// Quotes a text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=,:+@%".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.contains(char::is_control) {
        return format!("$'{}'", text.escape_debug());
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Writes the text as a TOML string on one line, in the quotes that need the least escaping.
pub fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) && !text.contains(|it: char| it == '\'' || it.is_control()) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' | '\n' | '\r' | '\t' => quoted.extend(letter.escape_default()),
            _ if letter.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(letter)).expect("a string takes everything");
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Cuts a command line into its words as a shell does; `None` if it needs a shell.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some('\''), other) => word.get_or_insert_default().push(other),
            (_, '\\') => word.get_or_insert_default().push(characters.next()?),
            (Some(_), '$' | '`') => return None,
            (None, open @ ('\'' | '"')) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (None, special) if SHELL.contains(special) => return None,
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_as_a_shell_cuts_it() {
        for (line, words) in [
            ("cat  -u", "cat|-u"),
            ("sed 's/a b/c/' \"d e\"", "sed|s/a b/c/|d e"),
            ("a\\ b ''", "a b|"),
            ("x'y'\"z\"", "xyz"),
        ] {
            assert_eq!(split(line).expect(line).join("|"), words, "{line}");
        }
        for line in ["a | b", "a > b", "echo $HOME", "echo \"$HOME\"", "ls *", "it's"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn a_word_for_a_shell_is_quoted_where_it_must_be() {
        assert_eq!(shell_word("a.py"), "a.py");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word("a\n"), "$'a\\n'");
    }

    #[test]
    fn texts_are_quoted_as_toml_on_one_line() {
        assert_eq!(quoted("a.b"), "\"a.b\"");
        assert_eq!(quoted(r"\d"), r"'\d'");
        for text in ["\\d '\"\n\u{1b}\t", "{ready}\n", "\u{85}\\'", ""] {
            let line = format!("a = {}", quoted(text));
            assert!(!line.contains('\n'), "{line}");
            let read = toml::from_str::<toml::Table>(&line).expect("TOML");
            assert_eq!(read["a"].as_str(), Some(text));
        }
    }
}
