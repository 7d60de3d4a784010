//! Tables whose columns fit the screen.
//!
//! Pure.

use super::line::{Ink, ScreenLine};
use crate::cli::cells::{left, right};

/// How wide the margin before a row is, which has its marks.
const MARGIN: usize = 2;
/// From this width on, columns stand further apart.
const ROOMY: usize = 100;

/// A column of a table whose rows are made of `T`.
pub(super) struct Column<T> {
    pub(super) title: &'static str,
    /// How wide it is; 0: what is left of the line.
    pub(super) columns: usize,
    pub(super) is_right: bool,
    /// Those of the highest rank go first if the screen is narrow; those of rank 0 stay.
    pub(super) rank: u8,
    pub(super) cell: fn(&T) -> (Ink, String),
}

impl<T> Column<T> {
    /// A column of texts.
    pub(super) const fn text(
        title: &'static str,
        columns: usize,
        rank: u8,
        cell: fn(&T) -> (Ink, String),
    ) -> Self {
        Self { title, columns, is_right: false, rank, cell }
    }

    /// A column of numbers.
    pub(super) const fn number(
        title: &'static str,
        columns: usize,
        rank: u8,
        cell: fn(&T) -> (Ink, String),
    ) -> Self {
        Self { title, columns, is_right: true, rank, cell }
    }
}

/// The columns that fit a screen.
pub(super) struct Table<'a, T> {
    kept: Vec<&'a Column<T>>,
    /// How wide the column is that takes what is left.
    rest: usize,
    gap: usize,
}

impl<'a, T> Table<'a, T> {
    /// Chooses columns for a screen of this width. The column that takes what is left has at least
    /// and at most so many.
    pub(super) fn new(
        columns: &'a [Column<T>],
        screen: usize,
        (least, most): (usize, usize),
    ) -> Self {
        let gap = if screen < ROOMY { 1 } else { 2 };
        let mut kept: Vec<&Column<T>> = columns.iter().collect();
        loop {
            let used: usize = kept.iter().map(|column| column.columns + gap).sum();
            let rest = (screen + gap).saturating_sub(used + MARGIN);
            let worst = kept.iter().map(|column| column.rank).max().unwrap_or(0);
            if rest >= least || worst == 0 {
                return Self { kept, rest: rest.min(most.max(least)), gap };
            }
            kept.retain(|column| column.rank != worst);
        }
    }

    /// Writes the titles.
    pub(super) fn titles(&self) -> ScreenLine {
        let mut line = ScreenLine::of(Ink::Dim, format!("{:MARGIN$}", ""));
        for (place, column) in self.kept.iter().enumerate() {
            line.push(Ink::Dim, self.placed(place, column.title));
        }
        line
    }

    /// Writes a row after its marks, which have two columns.
    pub(super) fn row(&self, of: &T, marks: (Ink, &str), is_chosen: bool) -> ScreenLine {
        let mut line = ScreenLine::of(marks.0, left(marks.1, MARGIN));
        for (place, column) in self.kept.iter().enumerate() {
            let (look, text) = (column.cell)(of);
            let look = if is_chosen { Ink::Chosen } else { look };
            line.push(look, self.placed(place, &text));
        }
        line
    }

    fn placed(&self, place: usize, text: &str) -> String {
        let column = self.kept[place];
        let columns = if column.columns == 0 { self.rest } else { column.columns };
        let text = if column.is_right { right(text, columns) } else { left(text, columns) };
        let is_last = place + 1 == self.kept.len();
        let gap = if is_last { 0 } else { self.gap };
        format!("{text}{:gap$}", "")
    }
}
