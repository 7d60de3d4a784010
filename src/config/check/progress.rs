//! The rules of messages that say how far a call is.
//!
//! Pure.

use crate::base::pattern::Pattern;
use crate::config::file::{MatchingText, PoolFile};
use crate::config::findings::Findings;
use crate::config::framing::{Framing, Framings};
use crate::config::pool::ProgressShape;
use crate::config::tree::KeyPath;

/// What a message looks like that says how far a call is; `None`: there are none.
pub(super) fn progress(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    framing: Option<&Framings>,
    takes_turns: bool,
) -> Option<ProgressShape> {
    let text = file.progress.as_deref()?;
    let path = path.key("progress");
    let shape = shape(findings, &path, text)?;
    let is_all_answer = framing.is_some_and(|it| matches!(it.reply, Framing::Turn | Framing::Eof));
    let (is_json, has_input) = match &shape {
        ProgressShape::Percent(pattern) | ProgressShape::Fraction(pattern) => {
            (false, pattern.has_input())
        }
        ProgressShape::Json | ProgressShape::Kind => (true, false),
    };
    // Elsewhere the tag, the `id` or the turn shows which call a message is about.
    let needs_input = match file.matching {
        MatchingText::Echo => true,
        MatchingText::Order => !takes_turns,
        MatchingText::Tag | MatchingText::JsonId => false,
    };
    if file.batch.is_some() {
        let message = "`progress` cannot be used with `batch`: a group is answered at once";
        findings.refuse(&path, message, "remove one of them");
    } else if is_all_answer {
        let message =
            "all that such a program writes is its answer, so it cannot tell its progress";
        let hint = "remove `progress`, or use a `framing` that cuts messages, such as \"line\"";
        findings.refuse(&path, message, hint);
    } else if file.matching == MatchingText::JsonId && !is_json {
        let message = "with `json-id` every message is JSON, and so is one of progress";
        findings.refuse(&path, message, "write `progress = \"json\"`");
    } else if needs_input && !has_input {
        let message = "nothing would show which call such a message is about";
        let hint = "write a pattern with `{input}`, as in \"p|{input}|{percent}|{text}\", or use \
                    `matching = \"tag\"` or \"json-id\"";
        findings.refuse(&path, message, hint);
    }
    Some(shape)
}

fn shape(findings: &mut Findings<'_>, path: &KeyPath, text: &str) -> Option<ProgressShape> {
    if text == "json" {
        return Some(ProgressShape::Json);
    }
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(problem) => {
            let message = format!("`{}` is not a pattern", findings.name(path));
            findings.refuse(path, message, problem.to_string());
            return None;
        }
    };
    let names: Vec<&str> = pattern.fields().map(|(name, _)| name).collect();
    if let Some(other) = names.iter().find(|it| !["percent", "fraction", "text"].contains(it)) {
        let message = format!("`progress` cannot have a `{{{other}}}`");
        findings.refuse(path, message, "it has {percent} or {fraction}, and may have {text}");
        return None;
    }
    match (names.contains(&"percent"), names.contains(&"fraction")) {
        (true, false) => Some(ProgressShape::Percent(pattern)),
        (false, true) => Some(ProgressShape::Fraction(pattern)),
        (is_both, _) => {
            let message = if is_both {
                "`progress` has two numbers: how far the call is must be one"
            } else {
                "`progress` does not say how far a call is"
            };
            let hint = "write {percent} for a number from 0 to 100, or {fraction} for one from 0 to \
                        1, as in \"p|{input}|{percent}|{text}\"; or \"json\"";
            findings.refuse(path, message, hint);
            None
        }
    }
}
