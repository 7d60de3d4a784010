//! What a pool promises about questions that cost workers, written down a second time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::model::{Checked, Serial, ensure};

const WINDOW: Duration = Duration::from_mins(10);
const REFUSED: Duration = Duration::from_mins(10);

/// What is known of the questions; the question of a call is its serial modulo `kinds`.
#[derive(Debug)]
pub(crate) struct Suspicion {
    kinds: Serial,
    /// Calls that may be blamed for the loss of a worker, by question, since its last good answer.
    blamed: BTreeMap<Serial, Vec<(Instant, Serial)>>,
    /// Questions that are refused, and since when.
    refused: BTreeMap<Serial, Instant>,
}

impl Suspicion {
    pub(crate) fn of(kinds: Serial) -> Self {
        Self { kinds, blamed: BTreeMap::new(), refused: BTreeMap::new() }
    }

    fn question(&self, serial: Serial) -> Serial {
        serial % self.kinds
    }

    pub(crate) fn blame(&mut self, serial: Serial, now: Instant) {
        self.blamed.entry(self.question(serial)).or_default().push((now, serial));
    }

    pub(crate) fn acquit(&mut self, serial: Serial) {
        self.blamed.remove(&self.question(serial));
        self.refused.remove(&self.question(serial));
    }

    /// The core refuses a question from now on.
    pub(crate) fn refuse(&mut self, question: Serial, now: Instant) -> Checked {
        let blamed = self.blamed.get(&question).map(Vec::as_slice).unwrap_or_default();
        let late: Vec<Serial> =
            blamed.iter().filter(|(at, _)| now < *at + WINDOW).map(|(_, serial)| *serial).collect();
        ensure(late.iter().any(|serial| *serial != late[0]), || {
            format!("question {question} is refused for {blamed:?}")
        })?;
        self.refused.insert(question, now);
        Ok(())
    }

    /// Returns true if this call may be refused for its question.
    pub(crate) fn may_refuse(&self, serial: Serial, now: Instant) -> bool {
        let question = self.question(serial);
        let last = self.blamed.get(&question).and_then(|blamed| blamed.last());
        self.refused.contains_key(&question)
            && last.is_some_and(|(at, _)| now < *at + REFUSED + WINDOW)
    }

    /// Returns true if the core has refused the question of this call, and not acquitted it since.
    pub(crate) fn is_refused(&self, serial: Serial) -> bool {
        self.refused.contains_key(&self.question(serial))
    }

    /// Judges that this call is given to a worker.
    pub(crate) fn given(&self, serial: Serial, now: Instant) -> Checked {
        let since = self.refused.get(&self.question(serial));
        let is_refused = since.is_some_and(|since| now < *since + REFUSED);
        ensure(!is_refused, || format!("call {serial} is given and its question is refused"))
    }
}
