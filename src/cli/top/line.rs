//! Lines of a screen, in pieces that look different.
//!
//! Pure.

use crate::cli::cells::{cut, width};

/// How a piece of a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    /// The time that calls wait.
    Wait,
    /// The time that calls are in a worker.
    Work,
    /// The row that was chosen.
    Chosen,
}

/// One line, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScreenLine(pub(super) Vec<(Ink, String)>);

impl ScreenLine {
    pub(super) fn of(look: Ink, text: impl Into<String>) -> Self {
        Self(vec![(look, text.into())])
    }

    pub(super) fn push(&mut self, look: Ink, text: impl Into<String>) {
        self.0.push((look, text.into()));
    }

    /// Returns the text without looks and without spaces at its end.
    pub(super) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(_, text)| &**text).collect();
        text.trim_end().to_owned()
    }

    /// Cuts it to a number of columns.
    pub(super) fn cut(self, columns: usize) -> Self {
        let mut left = columns;
        let mut pieces = Vec::new();
        for (look, text) in self.0 {
            let text = cut(&text, left);
            left -= width(&text);
            pieces.push((look, text));
        }
        Self(pieces)
    }
}
