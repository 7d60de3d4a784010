//! How many workers must start.

use std::time::Duration;

use httpipe::testing::pool::rules::Rules;

use super::model::{Checked, Model, Stage, ensure};
use super::oracle::Oracle;
use super::story::{Story, rules};

/// When no worker has been free for this long, one more starts; so does one for each call that has waited
/// longer.
const PATIENCE: Duration = Duration::from_millis(5);
/// A start that has taken this long holds up no other.
const STARTS_LONG: Duration = Duration::from_secs(1);

impl Oracle {
    /// A pool with no free worker for 5 ms gets one more, and more while many wait.
    pub(super) fn judge_numbers(&mut self, is_free: bool) -> Checked {
        let now = self.now;
        let starting = self.count(Stage::Starting);
        let alive = starting + self.count(Stage::Serving);
        if is_free {
            self.no_free_since = None;
        } else {
            self.no_free_since.get_or_insert(now);
        }
        if self.stopping {
            return Ok(());
        }
        if self.unproven_deaths > 0 {
            self.calm_since = now;
            return self.judge_recovery();
        }
        let least = self.rules.least;
        ensure(alive >= least, || format!("{alive} workers are less than {least}"))?;
        let busy = self.no_free_since.is_some_and(|since| now > since + PATIENCE);
        if busy && alive < self.rules.most {
            let impatient = self.waiting().filter(|(_, ask)| now > ask.accepted + PATIENCE).count();
            ensure(starting > 0, || format!("none of {alive} workers is free and none starts"))?;
            let is_new = |model: &&Model| now < model.started + STARTS_LONG;
            let starts = self.workers.values().filter(|model| model.stage == Stage::Starting);
            // One after the other they are ready sooner.
            let enough = starts.filter(is_new).count() >= self.rules.processors;
            ensure(impatient <= starting || enough, || {
                format!("{impatient} wait and {starting} workers start")
            })?;
        }
        Ok(())
    }
}

/// A pool of one worker whose start took this long, and eight calls that have waited for one more. Returns
/// what it starts.
fn starts_after(start: u64) -> (Story, Vec<String>) {
    let mut story = Story::before_the_start(Rules { processors: 2, most: 9, ..rules() });
    story.settle();
    story.now += Duration::from_millis(start);
    drop(story.ready(1));
    story.calls(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    let begun = story.pass(6);
    (story, begun)
}

#[test]
fn quick_starts_are_made_one_after_the_other_on_each_processor() {
    let (mut story, begun) = starts_after(20);
    assert_eq!(begun, ["start 2", "start 3"]);
    assert_eq!(story.ready(2), ["give b to 2", "start 4"]);
    assert_eq!(story.pass(1_000), ["start 5", "start 6"], "those that take long hold up no other");
}

#[test]
fn slow_starts_are_made_at_once() {
    let (_, begun) = starts_after(300);
    assert_eq!(begun.len(), 7, "{begun:?}");
}
