//! When a pool wants a worker to be looked at because its oldest call runs long: soon enough for two
//! looks before its time is over, seldom after that, and never for calls that are answered soon.

use std::time::Duration;

use httpipe::testing::base::{CallId, Conduct, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

use super::model::{Checked, ensure};
use super::oracle::Oracle;
use super::story::{Name, Story, rules};

impl Oracle {
    /// A worker is only looked at because of its oldest call, and not before that has run long.
    pub(crate) fn looked_at(&self, worker: WorkerId, call: CallId) -> Checked {
        let model = &self.workers[&worker];
        let head = model.held.first();
        ensure(head.is_some_and(|inside| inside.id == call), || {
            format!("worker {worker} is looked at for call {call} and works on {head:?}")
        })?;
        let runs = self.now.duration_since(model.head_since);
        let least = (self.rules.timeout / 4).min(Duration::from_secs(1));
        ensure(runs >= least || self.has_changed_rules, || {
            format!("worker {worker} is looked at after {runs:?}")
        })
    }
}

impl Story {
    /// The looks that were wanted since this was called last: for which call, and how long after
    /// the time that `since` is ago.
    fn looks_of_the_last(&mut self, since: Duration) -> Vec<(Name, u128)> {
        let begin = self.now.checked_sub(since).expect("a short time");
        let looks = std::mem::take(&mut self.looks).into_iter();
        looks.map(|(name, at)| (name, (at - begin).as_millis())).collect()
    }

    fn find(&mut self, worker: u64, name: Name, conduct: Conduct) -> bool {
        self.state.found(WorkerId(worker), self.ids[name], conduct)
    }
}

#[test]
fn a_call_that_runs_long_is_looked_at_ever_more_seldom() {
    let mut story = Story::of(rules());
    story.call("a");
    story.pass(29_000);
    let looks = story.looks_of_the_last(Duration::from_secs(29));
    assert_eq!(looks, [1, 2, 4, 8, 16].map(|second| ("a", second * 1000)));
}

#[test]
fn a_short_timeout_leaves_room_for_two_looks() {
    let mut story = Story::of(Rules { timeout: Duration::from_millis(400), ..rules() });
    story.call("a");
    assert_eq!(story.pass(400), ["stop 1 Timeout", "fail a timeout", "start 2"]);
    let looks = story.looks_of_the_last(Duration::from_millis(400));
    assert_eq!(looks, [("a", 100), ("a", 200)]);
}

#[test]
fn calls_that_are_answered_soon_cost_no_look_and_wake_nobody_for_each() {
    let mut story = Story::of(rules());
    let (begin, mut wakes) = (story.now, 0);
    while story.now < begin + Duration::from_secs(20) {
        story.call("fast");
        let answered = story.now + Duration::from_millis(10);
        while story.state.next_deadline().is_some_and(|at| at <= answered) {
            wakes += 1;
            story.pass(10);
        }
        story.now = answered;
        story.good(1, "fast");
    }
    assert!(story.looks.is_empty(), "{:?}", story.looks);
    assert!(wakes <= 21, "{wakes} times in 20 seconds, for 2000 calls");
    story.pass(1_000);
    assert_eq!(story.pass(28_000), [""; 0]);
    assert!(story.looks.is_empty(), "a worker without a call is not looked at");
}

#[test]
fn each_oldest_call_is_looked_at_by_its_own_time() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_flight, in_order: false, ..rules() });
    story.calls(&["a", "b", "c"]);
    story.pass(1_500);
    story.good(1, "b");
    story.pass(1_500);
    assert_eq!(story.looks_of_the_last(Duration::from_secs(3)), [("a", 1000), ("a", 2000)]);
    story.good(1, "a");
    story.pass(2_500);
    assert_eq!(story.looks_of_the_last(Duration::from_millis(2_500)), [("c", 1000), ("c", 2000)]);
}

#[test]
fn a_late_timer_makes_no_two_looks_at_once() {
    let mut story = Story::of(rules());
    story.call("a");
    story.pass_unnoticed(7_000);
    story.pass(0);
    assert_eq!(story.looks_of_the_last(Duration::from_secs(7)), [("a", 7000)]);
    story.pass(8_000);
    assert_eq!(story.looks_of_the_last(Duration::from_secs(8)), [("a", 7000)]);
}

#[test]
fn what_was_found_is_news_once_and_ends_with_the_call() {
    let mut story = Story::of(rules());
    story.call("a");
    assert!(story.find(1, "a", Conduct::Works));
    assert!(!story.find(1, "a", Conduct::Works));
    assert!(story.find(1, "a", Conduct::Silent));
    story.good(1, "a");
    assert!(!story.find(1, "a", Conduct::Silent), "it was answered");
    story.call("b");
    assert!(story.find(1, "b", Conduct::Silent), "another call");
}
