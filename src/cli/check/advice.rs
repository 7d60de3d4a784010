//! Texts of the diagnosis: names of stages and framings, and advice about missing parts.
//!
//! Pure.

use bytes::Bytes;
use toml::Value;

use super::record::TrialPhase;
use crate::base::pattern::{Match, Pattern};
use crate::config::words::{quoted, shell_word};
use crate::worker::process::Exit;

/// Writes a name as a TOML key.
pub(super) fn toml_key(name: &str) -> String {
    let is_bare = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_');
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// Writes a key of a pool and its value, as a file has them, as an option.
pub(super) fn option_for(change: &str) -> String {
    let table: toml::Table = change.parse().unwrap_or_default();
    let Some((key, value)) = table.into_iter().next() else { return change.to_owned() };
    let name = key.replace('_', "-");
    match value {
        Value::Boolean(true) => format!("--{name}"),
        Value::Boolean(false) => format!("--{name}=false"),
        Value::String(text) => format!("--{name} {}", shell_word(&text)),
        // Each key of this table has an option of its own.
        Value::Table(keys) if key == "recycle" => {
            let options = keys.iter().map(|(key, value)| format!("--{name}-{key} {value}"));
            options.collect::<Vec<_>>().join(" ")
        }
        // As it is written, in this order.
        _ => {
            let (_, value) = change.split_once(" = ").unwrap_or_default();
            format!("--{name} {}", shell_word(value))
        }
    }
}

/// Returns a `reply` with `{input}` that fits, if the answer begins with the question.
pub(super) fn pattern_for(question: &[u8], answer: &[u8]) -> Option<String> {
    let (question, answer) =
        (std::str::from_utf8(question).ok()?, std::str::from_utf8(answer).ok()?);
    let rest = answer.strip_prefix(question).filter(|_| !question.is_empty())?;
    let sign = rest.find(|it: char| it.is_alphanumeric() || it == '-').unwrap_or(rest.len());
    let text = format!("{{input}}{}{{result}}", &rest[..sign]);
    let pattern = Pattern::parse(&text).ok()?;
    let answer = Bytes::copy_from_slice(answer.as_bytes());
    matches!(pattern.fit(question.as_bytes(), &answer), Match::Fits(_)).then_some(text)
}

/// Says how a process ended, and after how long.
pub(super) fn ending(exit: &Exit, after: &str) -> String {
    match exit {
        Exit::NotRun(reason) => reason.clone(),
        Exit::Code(_) | Exit::Signal(_) => format!("{exit} after {after}"),
        Exit::OutOfMemory => format!("{exit}, after {after}"),
    }
}

/// Names a phase in a sentence.
pub(super) fn named(phase: TrialPhase) -> String {
    match phase {
        TrialPhase::Start => "its start".to_owned(),
        TrialPhase::Hello(number) => format!("`hello` number {number}"),
        TrialPhase::Probe => "the probe".to_owned(),
        TrialPhase::Sample => "the question".to_owned(),
    }
}

/// Names a phase in a row of the report.
pub(super) fn row_name(phase: TrialPhase) -> String {
    match phase {
        TrialPhase::Start => "banner".to_owned(),
        TrialPhase::Hello(number) => format!("hello {number}"),
        TrialPhase::Probe => "probe".to_owned(),
        TrialPhase::Sample => "question".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_option_where_there_is_no_file() {
        for (change, option) in [
            ("tty = true", "--tty"),
            ("clear_env = false", "--clear-env=false"),
            ("ready = \"it's up\"", r"--ready 'it'\''s up'"),
            ("start_timeout = \"1m\"", "--start-timeout 1m"),
            ("recycle = { calls = 1 }", "--recycle-calls 1"),
            (
                "framing = { send = \"line\", reply = \"until:n: \" }",
                "--framing '{ send = \"line\", reply = \"until:n: \" }'",
            ),
        ] {
            assert_eq!(option_for(change), option);
        }
    }
}
