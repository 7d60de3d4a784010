//! What is wrong in a configuration, and how it is shown.
//!
//! Pure. Problems are collected: an operator with five of them sees all five at once. A terminal
//! shows the lines of the file. Logs and HTTP reach more readers than the file does, so there a
//! problem is a place and a reason, without the values of secrets.

use std::fmt;
use std::io;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// The most problems that are shown; of the others only the number is.
pub(super) const SHOWN_MAX: usize = 100;
/// The longest lines of a file, in bytes, that are shown with a problem.
const LINES_MAX: usize = 4096;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, no full stop, keys in backticks.
    pub message: String,
    /// Where it was written.
    pub place: Place,
    /// What to do about it.
    pub hint: Option<String>,
    /// What logs and HTTP say instead of the message and the hint, which quote a value that may
    /// be secret.
    pub without_values: Option<String>,
    /// The program is at fault, and what is configured may be right.
    pub is_of_program: bool,
}

/// What is unwise in a configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is unwise: lower case, no full stop, and no secret.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// What happens to the lines of a file that hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They are shown like others, to the person who asked.
    Shown,
    /// Only their place is shown: in logs.
    Hidden,
}

/// Everything that is wrong with one configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file that places refer to; `None`: there was none, or it could not be read.
    pub source: Option<SourceText>,
    /// The problems, in the order of their places.
    pub list: Vec<Problem>,
    /// The parts of the file that hold secrets, in order.
    secrets: Vec<Range<usize>>,
}

/// The message of the system, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place,
            hint: None,
            without_values: None,
            is_of_program: false,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what logs and HTTP get instead of the message and the hint.
    #[must_use]
    pub fn without_values(mut self, words: impl Into<String>) -> Self {
        self.without_values = Some(words.into());
        self
    }
}

impl Problems {
    /// Returns true if a program is at fault: it may become right without another configuration.
    pub fn are_of_program(&self) -> bool {
        self.list.iter().any(|problem| problem.is_of_program)
    }

    /// One problem that has no place in a file.
    pub fn one(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(None, vec![Problem::new(Place::Nowhere, message).hint(hint)])
    }

    /// Sorts problems into reading order: first those of options, then down the file.
    pub fn new(source: Option<SourceText>, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.place {
            Place::File(span) => (1, span.start),
            Place::Option(_) | Place::Nowhere => (0, 0),
        });
        list.dedup();
        Self { source, list, secrets: Vec::new() }
    }

    /// Names the parts of the file that hold secrets, in any order.
    #[must_use]
    pub fn with_secrets(mut self, mut secrets: Vec<Range<usize>>) -> Self {
        secrets.sort_by_key(|span| span.start);
        self.secrets = secrets;
        self
    }

    /// All problems with the lines of the file that they are about, a blank line after each.
    pub fn render(&self, secrets: Secrets, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        let lines = Lines::of(self.source.as_ref());
        for problem in self.list.iter().take(SHOWN_MAX) {
            let title = Level::ERROR.primary_title(problem.message.as_str());
            let span = lines.span_of(problem);
            let shown = span.as_ref().map(|span| lines.around(span)).filter(|shown| {
                shown.len() <= LINES_MAX
                    && (secrets == Secrets::Shown || !self.holds_secrets(shown))
            });
            let mut report = vec![match (&shown, span) {
                (Some(shown), Some(span)) => title.element(lines.snippet(shown, span)),
                (None, Some(span)) => {
                    let (line, column) = lines.position(span.start);
                    title.element(Origin::path(lines.path).line(line).char_column(column))
                }
                (_, None) => Group::with_title(title),
            }];
            let hint = Level::HELP.with_name("hint");
            let tells_all = secrets == Secrets::Shown
                || problem.without_values.as_ref() != Some(&problem.message);
            if let Some(words) = problem.hint.as_ref().filter(|_| tells_all) {
                let hint = Group::with_title(hint.secondary_title(words.as_str()));
                if shown.is_some() {
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
        if let Some(more) = self.not_shown() {
            text.push_str(&more);
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

    /// `and 9900 more`, if not all problems are shown.
    fn not_shown(&self) -> Option<String> {
        let more = self.list.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0)?;
        Some(format!("and {more} more"))
    }

    fn holds_secrets(&self, shown: &Range<usize>) -> bool {
        self.secrets
            .iter()
            .take_while(|secret| secret.start < shown.end)
            .any(|secret| secret.end > shown.start)
    }
}

/// For logs and HTTP: a line for each problem, with its place and the reason.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = Lines::of(self.source.as_ref());
        for (index, problem) in self.list.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(span) = lines.span_of(problem) {
                let (line, column) = lines.position(span.start);
                write!(f, "{}:{line}:{column}: ", lines.path)?;
            }
            match (&problem.without_values, &problem.hint) {
                (Some(words), _) => f.write_str(words)?,
                (None, Some(hint)) => write!(f, "{} ({hint})", problem.message)?,
                (None, None) => f.write_str(&problem.message)?,
            }
        }
        self.not_shown().map_or(Ok(()), |more| write!(f, "\n{more}"))
    }
}

impl std::error::Error for Problems {}

/// A file by its lines. Each problem looks at its own lines only, however large the file is.
struct Lines<'a> {
    path: &'a str,
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    is_file: bool,
}

impl<'a> Lines<'a> {
    fn of(source: Option<&'a SourceText>) -> Self {
        let (path, text) = source.map_or(("", ""), |source| (&*source.path, &*source.text));
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        let starts = std::iter::once(0).chain(ends.map(|end| end + 1)).collect();
        Self { path, text, starts, is_file: source.is_some() }
    }

    /// The bytes that a problem is about, if it has a place in the file.
    fn span_of(&self, problem: &Problem) -> Option<Range<usize>> {
        let Place::File(span) = &problem.place else { return None };
        let length = self.text.len();
        self.is_file.then(|| span.start.min(length)..span.end.min(length))
    }

    /// The index of the line that holds this byte.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// Line and column, as people count.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let before = self.text.get(self.starts[line]..offset).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    /// The bytes of all lines that a span touches.
    fn around(&self, span: &Range<usize>) -> Range<usize> {
        let last = self.line(span.end.max(span.start + 1) - 1);
        let end = self.starts.get(last + 1).map_or(self.text.len(), |next| *next);
        self.starts[self.line(span.start)]..end
    }

    fn snippet(&self, shown: &Range<usize>, span: Range<usize>) -> Snippet<'a, Annotation<'a>> {
        let inside = span.start - shown.start..span.end - shown.start;
        Snippet::source(&self.text[shown.clone()])
            .line_start(self.line(shown.start) + 1)
            .path(self.path)
            .annotation(AnnotationKind::Primary.span(inside))
    }
}

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
        insta::assert_snapshot!(Problems::new(Some(source), vec![problem, flag]).render(Secrets::Hidden, false), @r##"
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
