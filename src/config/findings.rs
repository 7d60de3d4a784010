//! The problems that a check has found so far.
//!
//! Pure.

use std::collections::HashSet;
use std::time::Duration;

use super::problem::{Place, Problem, SHOWN_MAX};
use super::scalar::{Size, Time};
use super::tree::{KeyPath, Places};
use crate::base::ByteSize;

/// Collects problems and knows which values have one already.
#[derive(Debug)]
pub struct Findings<'a> {
    /// Where values were written.
    pub places: &'a Places,
    /// What was found so far.
    pub problems: Vec<Problem>,
    refused: HashSet<KeyPath>,
    /// The places of the first `sorted` problems.
    told: HashSet<Place>,
    sorted: usize,
}

impl<'a> Findings<'a> {
    /// Starts with the problems that were found before.
    pub fn new(places: &'a Places, problems: Vec<Problem>) -> Self {
        Self { places, problems, refused: HashSet::new(), told: HashSet::new(), sorted: 0 }
    }

    /// Reports a value. Only the first problem of a value counts: what follows from it is not
    /// a second fault.
    pub fn refuse(&mut self, path: &KeyPath, message: impl Into<String>, hint: impl Into<String>) {
        if self.refused.insert(path.clone()) {
            let problem = Problem::new(self.places.value(path), message);
            self.problems.push(problem.hint(hint));
        }
    }

    /// Returns true if this very value has a problem already.
    pub fn was_refused(&mut self, path: &KeyPath) -> bool {
        // Looking at every problem for every value would take the square of their number.
        let new = &self.problems[self.sorted..];
        self.told.extend(new.iter().map(|problem| problem.place.clone()));
        self.sorted = self.problems.len();
        let place = self.places.value(path);
        let key = self.places.key(path);
        self.places.is_written(path) && (self.told.contains(&place) || self.told.contains(&key))
    }

    /// Returns how many names a hint may be looked for in; none once there are more problems than
    /// are shown.
    pub fn hints_most(&self) -> usize {
        if self.problems.len() < SHOWN_MAX { usize::MAX } else { 0 }
    }

    /// The name of a value in a message: its key, or the option that set it.
    pub fn name(&self, path: &KeyPath) -> String {
        self.places.name(path)
    }

    /// Returns the duration, and reports it if it is zero.
    pub fn positive_time(&mut self, path: &KeyPath, time: Time) -> Duration {
        if time.0.is_zero() {
            let message = format!("`{}` cannot be 0", self.name(path));
            let hint = "there is no \"unlimited\": write a time, as in \"30s\" or \"1d\"";
            self.refuse(path, message, hint);
        }
        time.0
    }

    /// Returns the size, and reports it if it is zero.
    pub fn positive_size(&mut self, path: &KeyPath, size: Size) -> ByteSize {
        if size.0.0 == 0 {
            let message = format!("`{}` cannot be 0", self.name(path));
            let hint = "there is no \"unlimited\": write a size, as in \"16MiB\" or \"4GiB\"";
            self.refuse(path, message, hint);
        }
        size.0
    }
}
