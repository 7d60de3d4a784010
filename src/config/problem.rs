//! What is wrong in a configuration, and how it is shown.
//!
//! Pure. Problems are collected: an operator with five of them sees all five at once.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, no full stop, keys in backticks.
    pub message: String,
    /// Where it was written.
    pub place: Place,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// These bytes of the file.
    File(Range<usize>),
    /// This option or environment variable.
    Option(String),
    /// No particular place.
    Nowhere,
}

/// A configuration file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Its path, as the operator wrote it.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Everything that is wrong with one configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file that places refer to; `None`: there was none, or it could not be read.
    pub source: Option<SourceText>,
    /// The problems, in the order of their places.
    pub list: Vec<Problem>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), place, hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Problems {
    /// One problem that has no place in a file.
    pub fn one(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem::new(Place::Nowhere, message).hint(hint);
        Self { source: None, list: vec![problem] }
    }

    /// Sorts problems into reading order: first those of options, then down the file.
    pub fn new(source: Option<SourceText>, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.place {
            Place::File(span) => (1, span.start),
            Place::Option(_) | Place::Nowhere => (0, 0),
        });
        list.dedup();
        Self { source, list }
    }

    /// All problems, a blank line after each, with colours for a terminal or without.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.list {
            let mut report = vec![self.first_part(problem)];
            let hint = Level::HELP.with_name("hint");
            if let Some(words) = &problem.hint {
                let hint = Group::with_title(hint.secondary_title(words.as_str()));
                if self.snippet_of(problem).is_some() {
                    report.push(hint);
                } else {
                    // In one report the hint would be indented for a snippet that is not there.
                    text.push_str(&renderer.render(&report));
                    text.push('\n');
                    report = vec![hint];
                }
            }
            text.push_str(&renderer.render(&report));
            text.push_str("\n\n");
        }
        text
    }

    /// `2 problems`.
    pub fn count(&self) -> String {
        match self.list.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        }
    }

    fn first_part<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        match self.snippet_of(problem) {
            Some((source, span)) => {
                let snippet = Snippet::source(source.text.as_str())
                    .path(source.path.as_str())
                    .annotation(AnnotationKind::Primary.span(span));
                title.element(snippet)
            }
            None => Group::with_title(title),
        }
    }

    fn snippet_of(&self, problem: &Problem) -> Option<(&SourceText, Range<usize>)> {
        let source = self.source.as_ref()?;
        let Place::File(span) = &problem.place else { return None };
        let length = source.text.len();
        Some((source, span.start.min(length)..span.end.min(length)))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_place_and_what_to_do() {
        let text = "listen = \"127.0.0.1:0\"\n[pool.fib]\nworkrs = 4\n".to_owned();
        let source = SourceText { path: "httpipe.toml".to_owned(), text };
        let problem = Problem::new(Place::File(34..40), "unknown key `workrs` in `[pool.fib]`")
            .hint("did you mean `workers`?");
        let flag = Problem::new(Place::Option("--timeout".to_owned()), "`--timeout` needs a unit")
            .hint("write 30s");
        insta::assert_snapshot!(Problems::new(Some(source), vec![problem, flag]).render(false), @r##"
error: `--timeout` needs a unit
hint: write 30s

error: unknown key `workrs` in `[pool.fib]`
 --> httpipe.toml:3:1
  |
3 | workrs = 4
  | ^^^^^^
  |
hint: did you mean `workers`?
"##);
    }
}
