//! Background work: where it begins, what it leaves to callers, and what becomes of it.

use std::time::Duration;

use httpipe::testing::base::Tenant;
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::actions::NewCall;
use httpipe::testing::pool::rules::Rules;

use super::story::{Name, Story, rules};

impl Story {
    /// Background work waits since so many seconds, and could begin at once.
    fn background_waits(&mut self, seconds: u64) -> Vec<String> {
        let since = self.now.checked_sub(Duration::from_secs(seconds)).expect("a clock that runs");
        self.state.background_waits(Some(since), true);
        self.settle()
    }

    /// Background work begins, which may take so many seconds.
    fn begin(&mut self, name: Name, timeout: Option<u64>) -> Vec<String> {
        if self.state.vacancy(self.now) == 0 {
            return vec![format!("no place for {name}")];
        }
        let call = NewCall {
            payload: name,
            bytes: 10,
            idempotent: true,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: timeout.map(Duration::from_secs),
        };
        match self.state.begin(self.now, call, 0) {
            Ok(id) => drop(self.ids.insert(name, id)),
            Err((_, failure)) => return vec![format!("refuse {name} {}", failure.code())],
        }
        self.settle()
    }
}

fn workers(count: usize) -> Rules {
    Rules { least: count, most: count, ..rules() }
}

#[test]
fn it_begins_where_no_call_waits_and_leaves_its_part_to_callers() {
    let mut story = Story::of(workers(4));
    assert_eq!(story.state.vacancy(story.now), 2, "half of four");
    assert_eq!(story.begin("a", None), ["give a to 4"]);
    assert_eq!(story.begin("b", None), ["give b to 3"]);
    assert_eq!(story.begin("c", None), ["no place for c"]);
    assert_eq!(story.call("x"), ["give x to 2"]);
    assert_eq!(story.call("y"), ["give y to 1"]);
    story.call("z");
    story.good(4, "a");
    assert_eq!(story.begin("c", None), ["no place for c"], "the worker went to a caller");
    assert_eq!(story.good(2, "x"), ["answer x"]);
    assert_eq!(story.begin("c", None), ["give c to 2"]);
}

#[test]
fn a_single_worker_is_for_callers_unless_the_share_is_all() {
    let mut story = Story::of(workers(1));
    assert_eq!(story.begin("a", None), ["no place for a"]);
    let mut story = Story::of(Rules { share: 1000, ..workers(1) });
    assert_eq!(story.begin("a", None), ["give a to 1"]);
    let mut story = Story::of(Rules { share: 0, ..workers(8) });
    assert_eq!(story.begin("a", None), ["no place for a"]);
    assert_eq!(story.background_waits(100), [""; 0], "and it asks for no worker");
}

#[test]
fn no_call_stands_behind_it() {
    let ahead = Rules { in_flight: InFlight::Fixed(3), share: 1000, ..workers(1) };
    let mut story = Story::of(ahead);
    assert_eq!(story.begin("a", None), ["give a to 1"]);
    assert_eq!(story.call("x"), [""; 0]);
    assert_eq!(story.good(1, "a"), ["answer a", "give x to 1"]);
    assert_eq!(story.begin("b", None), ["no place for b"], "nor does it stand behind one");
}

#[test]
fn it_has_its_part_of_the_places_where_a_worker_has_several() {
    let tagged = Rules { in_flight: InFlight::Fixed(4), in_order: false, ..workers(1) };
    let mut story = Story::of(tagged);
    assert_eq!(story.state.vacancy(story.now), 2);
    story.begin("a", None);
    story.begin("b", None);
    assert_eq!(story.begin("c", None), ["no place for c"]);
    assert_eq!(story.call("x"), ["give x to 1"]);
    assert_eq!(story.call("y"), ["give y to 1"]);
    story.good(1, "a");
    assert_eq!(story.state.vacancy(story.now), 1);
}

#[test]
fn after_thirty_seconds_the_next_worker_that_becomes_free_is_its_own() {
    let mut story = Story::of(workers(2));
    story.calls(&["x", "y", "z", "w"]);
    story.background_waits(29);
    assert_eq!(story.good(1, "y"), ["answer y", "give z to 1"]);
    story.pass(1000);
    assert_eq!(story.good(2, "x"), ["answer x"], "though a call waits");
    assert_eq!(story.begin("a", None), ["give a to 2"]);
    story.background_waits(31);
    assert_eq!(story.good(1, "z"), ["answer z", "give w to 1"], "it has one already");
}

#[test]
fn a_worker_is_kept_for_it_only_while_it_waits() {
    let mut story = Story::of(workers(2));
    story.calls(&["x", "y", "z", "w"]);
    story.background_waits(31);
    story.state.background_waits(None, false);
    assert_eq!(story.good(1, "y"), ["answer y", "give z to 1"]);
    assert_eq!(story.good(2, "x"), ["answer x", "give w to 2"]);
}

#[test]
fn a_worker_with_calls_sent_ahead_comes_to_it_after_them() {
    let ahead = Rules { in_flight: InFlight::Fixed(2), ..workers(2) };
    let mut story = Story::of(ahead);
    story.calls(&["x1", "y1", "x2", "y2", "z"]);
    story.background_waits(30);
    let (first, second) = (story.good(1, "y1"), story.good(2, "x1"));
    assert_eq!((first.len(), second.len()), (1, 2), "one goes on: {first:?} {second:?}");
    assert_eq!(story.good(1, "x2"), ["answer x2"]);
    assert_eq!(story.begin("a", None), ["give a to 1"]);
}

#[test]
fn work_that_waits_has_a_worker_started() {
    let mut story = Story::of(Rules { least: 1, most: 3, ..rules() });
    assert_eq!(story.begin("a", None), ["no place for a"]);
    story.background_waits(0);
    assert_eq!(story.pass(10), ["start 2"]);
    assert_eq!(story.ready(2), [""; 0]);
    assert_eq!(story.begin("a", None), ["give a to 2"]);
    story.state.background_waits(None, false);
    assert_eq!(story.pass(29_000), [""; 0]);
}

#[test]
fn work_whose_worker_is_lost_goes_back_and_not_into_the_queue() {
    let mut story = Story::of(workers(2));
    story.begin("a", None);
    let said = story.crash(2, 0);
    assert!(said.contains(&"a goes back".to_owned()), "{said:?}");
    assert_eq!(story.state.calls_open(), 0);
}

#[test]
fn work_may_have_its_own_time() {
    let mut story = Story::of(workers(4));
    story.begin("short", Some(1));
    story.begin("long", Some(3600));
    assert_eq!(story.pass(1000), ["stop 4 Timeout", "fail short timeout", "start 5"]);
    assert_eq!(story.pass(3_598_000), [""; 0]);
    assert_eq!(story.pass(1000), ["stop 3 Timeout", "fail long timeout", "start 6"]);
}

#[test]
fn the_time_that_callers_wait_is_not_measured_by_it() {
    let mut story = Story::of(Rules { queue_length: 0, ..workers(2) });
    story.begin("a", None);
    story.pass(20_000);
    story.good(2, "a");
    assert_eq!(story.state.summary(story.now).service, None);
}

/// Callers want more than there is, for four hours, and jobs of a minute wait. One worker is theirs
/// after thirty seconds, never a second one, and none stays without work.
#[test]
fn through_hours_of_overload_jobs_have_the_worth_of_one_worker() {
    const SECONDS: u64 = 4 * 3600;
    let mut story = Story::of(workers(4));
    let names: [Name; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut idle: Vec<Name> = names.to_vec();
    // What each worker has, and since when.
    let mut busy: std::collections::BTreeMap<u64, (Name, u64)> = std::collections::BTreeMap::new();
    let (mut done, mut calls, mut first) = (0, 0, None);
    for second in 0..SECONDS {
        let mut said = Vec::new();
        for (worker, (name, since)) in busy.clone() {
            let takes = if name == "job" { 60 } else { 1 };
            if second - since >= takes {
                busy.remove(&worker);
                if name == "job" {
                    done += 1;
                } else {
                    calls += 1;
                    idle.push(name);
                }
                said.extend(story.good(worker, name));
            }
        }
        while let Some(name) = idle.pop() {
            said.extend(story.call(name));
        }
        let since = story.now.checked_sub(Duration::from_secs(second)).expect("a clock that runs");
        story.state.background_waits(Some(since), true);
        said.extend(story.settle());
        if story.state.vacancy(story.now) > 0 {
            said.extend(story.begin("job", Some(3600)));
            first.get_or_insert(second);
        }
        for words in said {
            let words: Vec<&str> = words.split(' ').collect();
            if let ["give", name, "to", worker] = words[..] {
                let name = if name == "job" {
                    "job"
                } else {
                    names.into_iter().find(|it| *it == name).expect("a caller")
                };
                busy.insert(worker.parse().expect("a number"), (name, second));
            }
        }
        assert_eq!(busy.len(), 4, "every worker works, second {second}");
        let jobs = busy.values().filter(|(name, _)| *name == "job").count();
        assert!(jobs <= 1, "{jobs} jobs run, second {second}");
        story.pass(1000);
    }
    assert!(first.is_some_and(|first| (30..33).contains(&first)), "the first began at {first:?}");
    let worth = SECONDS / 60;
    assert!((worth - worth / 20..=worth).contains(&done), "{done} jobs of {worth}");
    assert!(calls > 3 * SECONDS * 9 / 10, "{calls} calls");
}
