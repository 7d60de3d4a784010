//! While workers are added because calls wait, the newest call goes first for a while: the promise of
//! `docs/decisions/0012-long-calls-give-way.md`, written down a second time.

use std::ops::Range;
use std::time::{Duration, Instant};

use httpipe::testing::base::WorkerId;

use super::model::Stage;
use super::oracle::Oracle;

/// Nobody waits long for starts that take no longer than this.
const QUICK_START: Duration = Duration::from_millis(200);
/// For how long the oldest call has waited while the newest goes first.
const OUTGROWN: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);

/// Whether workers are being added because calls wait.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    /// How long a start takes: the shortest of all, a sixteenth longer with each that came after it.
    start_time: Option<Duration>,
    /// Workers were being added at the end of the last settling. `None`: workers that are to be replaced
    /// do not count, and which of them are cannot be seen from outside.
    pub(super) is_on: Option<bool>,
}

/// Returns true if the newest call of a tenant goes first while workers are added. After half of
/// `queue.wait` it is too late for the oldest.
pub(super) fn is_outgrown(now: Instant, oldest: Option<Instant>, queue_wait: Duration) -> bool {
    let waited = oldest.map(|accepted| now.duration_since(accepted));
    waited.is_some_and(|waited| OUTGROWN.contains(&waited) && waited < queue_wait / 2)
}

impl Oracle {
    /// A worker says that it can take calls.
    pub(crate) fn ready(&mut self, worker: WorkerId) {
        let (now, step) = (self.now, self.step);
        let model = self.workers.get_mut(&worker).filter(|it| it.stage == Stage::Starting);
        let Some(model) = model else { return };
        model.stage = Stage::Serving;
        (model.idle_since, model.used) = (now, step);
        let took = now.duration_since(model.started);
        let before = self.growth.start_time.map_or(took, |before| before + before / 16);
        self.growth.start_time = Some(took.min(before));
        self.first_ready.get_or_insert(now);
    }

    /// Notes at the end of a settling whether workers are being added: the next one gives calls by it.
    /// They are while one starts, if starts are quick, the last worker was not bad, and there are more
    /// than the least and fewer than the most.
    pub(crate) fn note_growth(&mut self) {
        self.note_spoiled();
        let starting = self.count(Stage::Starting);
        let alive = starting + self.count(Stage::Serving);
        let is_quick = self.growth.start_time.is_some_and(|time| time <= QUICK_START);
        let is_sound = is_quick && self.unproven_deaths == 0;
        let adds = is_sound && starting > 0 && alive > self.rules.least;
        let is_clear = !(adds && self.is_renewing);
        self.growth.is_on = is_clear.then_some(adds && alive < self.rules.most);
    }
}
