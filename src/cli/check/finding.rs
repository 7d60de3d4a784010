//! Findings about a pool, and how they are printed.
//!
//! Pure.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::cells::clean;

/// A finding about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What is wrong.
    pub message: String,
    /// The evidence: names of at most nine letters, and texts that may have several lines.
    pub rows: Vec<(&'static str, String)>,
    /// What to change.
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The pool does not work.
    Error,
    /// It works, but not as well or as safely as it could.
    Warning,
    /// It works; this is good to know.
    Note,
}

/// How many characters of a program's output are printed.
const SHOWN_MOST: usize = 200;

impl Finding {
    /// Makes a finding for a pool that does not work.
    pub(super) fn error(message: impl Into<String>) -> Self {
        Self { weight: Weight::Error, message: message.into(), rows: Vec::new(), hint: None }
    }

    /// Makes a finding for a pool that works, but not as well as it could.
    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, ..Self::error(message) }
    }

    /// Makes a finding for a pool that works.
    pub(super) fn note(message: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::error(message) }
    }

    /// Adds a row of evidence.
    pub(super) fn row(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.rows.push((name, text.into()));
        self
    }

    /// Sets what to change.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the finding as text, with a blank line at its end.
    pub(super) fn shown(&self) -> String {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        let mut shown = format!("{weight}: {}\n", plain(&self.message));
        for (name, text) in &self.rows {
            shown.push_str(&row(name, text));
        }
        if let Some(hint) = &self.hint {
            let gap = if self.rows.is_empty() { "" } else { "\n" };
            writeln!(shown, "{gap}hint: {}", plain(hint)).expect("a string takes everything");
        }
        shown.push('\n');
        shown
    }
}

/// Formats a name and its text; further lines are aligned under the first.
pub(super) fn row(name: &str, text: &str) -> String {
    let mut shown = String::new();
    for (index, line) in text.lines().enumerate() {
        let name = if index == 0 { name } else { "" };
        writeln!(shown, "  {name:<9} {}", plain(line)).expect("a string takes everything");
    }
    shown
}

/// Returns a text in which no character but tabs and line ends is obeyed by a terminal: much of it comes from
/// programs and from other hosts.
fn plain(text: &str) -> String {
    let is_kept = |it: char| matches!(it, '\t' | '\n');
    text.split_inclusive(is_kept)
        .map(|part| match part.strip_suffix(is_kept) {
            Some(words) => clean(words) + &part[words.len()..],
            None => clean(part),
        })
        .collect()
}

/// Quotes the output of a program, escapes control characters, and cuts it to `SHOWN_MOST`.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    let text = String::from_utf8_lossy(bytes);
    for (count, letter) in text.chars().enumerate() {
        if count == SHOWN_MOST {
            write!(shown, "\"… ({} bytes)", bytes.len()).expect("a string takes everything");
            return shown;
        }
        if letter.is_control() || matches!(letter, '"' | '\\') {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.push('"');
    shown
}

/// Formats a duration for people.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 10.0 {
        format!("{seconds:.1}s")
    } else if seconds >= 0.01 {
        format!("{:.0}ms", seconds * 1000.0)
    } else {
        format!("{:.1}ms", seconds * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shown_with_what_to_change() {
        let finding = Finding::warning("pool `a` holds its output back").hint("add `tty = true`");
        let shown = "warning: pool `a` holds its output back\nhint: add `tty = true`\n\n";
        assert_eq!(finding.shown(), shown);
    }

    #[test]
    fn no_character_of_a_finding_is_obeyed_by_a_terminal() {
        let evil = "a\tb\u{1b}[2Jc";
        let finding = Finding::error(evil).row("hosts", format!("{evil}\n{evil}")).hint(evil);
        let told = "a\tb␛[2Jc";
        let shown =
            format!("error: {told}\n  hosts     {told}\n            {told}\n\nhint: {told}\n\n");
        assert_eq!(finding.shown(), shown);
    }

    #[test]
    fn rows_are_aligned_and_keep_their_lines() {
        let finding = Finding::error("no").row("command", "a b").row("it said", "x\n  y").hint("z");
        insta::assert_snapshot!(finding.shown(), @r"
        error: no
          command   a b
          it said   x
                      y

        hint: z
        ");
    }

    #[test]
    fn what_a_program_wrote_stays_on_one_line() {
        assert_eq!(escaped(b"a\n\"\x1b[0m\xc3\xa4"), "\"a\\n\\\"\\u{1b}[0mä\"");
        assert_eq!(escaped(&[b'x'; 500]), format!("\"{}\"… (500 bytes)", "x".repeat(200)));
    }

    #[test]
    fn times_have_a_sensible_number_of_digits() {
        let shown = [300, 41_300, 1_234_000, 30_000_000].map(|it| time(Duration::from_micros(it)));
        assert_eq!(shown, ["0.3ms", "41ms", "1234ms", "30.0s"]);
    }
}
