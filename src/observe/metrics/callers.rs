//! What is counted of callers: who asked, and who was refused before a route was looked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::counters::{Counter, StatusCounters};
use super::labels::Turned;

/// How many callers are counted by their names. Those that come later are counted together.
const NAMES_MOST: usize = 256;
/// What these are called.
const OTHER: &str = "other";

/// What is counted of callers.
#[derive(Debug, Default)]
pub struct CallerMetrics {
    turned: [Counter; Turned::ALL.len()],
    answered: Mutex<BTreeMap<String, StatusCounters>>,
}

impl CallerMetrics {
    /// A request was refused by the gate.
    pub fn turned_away(&self, why: Turned) {
        self.turned[why as usize].add(1);
    }

    /// A request of the caller with this name was answered with this status.
    pub fn answered(&self, name: &str, status: u16) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = answered.get(name) {
            return counters.count(status);
        }
        let name = if answered.len() < NAMES_MOST { name } else { OTHER };
        answered.entry(name.to_owned()).or_default().count(status);
    }

    /// Returns how many requests were refused for each reason.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Turned::ALL.iter().zip(&self.turned).map(|(why, count)| (why.label(), count.value()))
    }

    /// Calls `show` with each caller, a status and how often it had that.
    pub(super) fn each(&self, mut show: impl FnMut(&str, u16, u64)) {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, counters) in &*answered {
            counters.seen().for_each(|(status, count)| show(name, status, count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_beyond_the_most_are_counted_together() {
        let metrics = CallerMetrics::default();
        for number in 0..NAMES_MOST + 10 {
            metrics.answered(&format!("n{number}"), 200);
        }
        metrics.answered("n0", 200);
        metrics.answered("n0", 429);
        let mut seen = Vec::new();
        metrics.each(|name, status, count| seen.push((name.to_owned(), status, count)));
        assert_eq!(seen.len(), NAMES_MOST + 2);
        assert!(seen.contains(&("other".to_owned(), 200, 10)));
        assert!(seen.contains(&("n0".to_owned(), 200, 2)), "{seen:?}");
        assert!(seen.contains(&("n0".to_owned(), 429, 1)));
    }
}
