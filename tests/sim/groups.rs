//! Groups in short stories: who is in one, when it goes, and what becomes of a lost one.

use std::time::Duration;

use httpipe::testing::base::{Tenant, WorkerId};
use httpipe::testing::pool::actions::{Loss, NewCall};
use httpipe::testing::pool::groups::{GroupRules, HalfId};
use httpipe::testing::pool::rules::Rules;

use super::story::{Name, Story, rules};
use super::tenant;

const SIXTEEN: [Name; 16] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

fn grouped(workers: usize, most: usize, wait: u64) -> Rules {
    let group =
        GroupRules { most, wait: Duration::from_millis(wait), bytes: 1000, mixes_all: false };
    Rules { least: workers, most: workers, group: Some(group), ..rules() }
}

impl Story {
    fn answer_all(&mut self, worker: u64, names: &[Name]) -> Vec<String> {
        for name in names {
            let id = self.ids[name];
            let ended = self.state.answered(self.now, WorkerId(worker), id, true);
            assert_eq!(ended.expect("its caller waits").payload, *name);
        }
        self.settle()
    }

    /// The worker answers its group with another number of answers.
    fn miscounts(&mut self, worker: u64, calls: usize) -> Vec<String> {
        let loss = Loss::BadAnswer { detail: "3 answers for 4 calls".into(), calls };
        self.state.lose(self.now, WorkerId(worker), &loss, 0);
        self.state.gone(WorkerId(worker));
        self.settle()
    }

    fn begin_together(&mut self, names: &[Name]) -> Vec<String> {
        let call = |name: &Name| NewCall {
            payload: *name,
            bytes: 10,
            idempotent: true,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        };
        let group = names.iter().map(|name| (call(name), 0, HalfId::NONE)).collect();
        let begun = self.state.begin_group(self.now, group);
        for (name, begun) in names.iter().zip(begun) {
            self.ids.insert(name, begun.expect("there is a place"));
        }
        self.settle()
    }
}

#[test]
fn a_call_goes_at_once_and_those_that_came_meanwhile_go_together() {
    let mut story = Story::of(grouped(1, 4, 0));
    assert_eq!(story.call("a"), ["give a to 1"]);
    story.calls(&["b", "c", "d", "e", "f", "g"]);
    assert_eq!(story.good(1, "a"), ["answer a", "give b+c+d+e to 1"]);
    assert_eq!(story.answer_all(1, &["b", "c", "d", "e"]), ["give f+g to 1"]);
}

#[test]
fn a_free_worker_leaves_the_others_their_part() {
    let mut story = Story::before_the_start(grouped(3, 16, 0));
    story.settle();
    story.calls(&["a", "b", "c", "d", "e"]);
    (1..=3).for_each(|worker| story.state.ready(story.now, WorkerId(worker)));
    assert_eq!(story.settle(), ["give a+b to 3", "give c+d to 2", "give e to 1"]);
}

#[test]
fn calls_that_may_not_run_twice_go_alone() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.call("x");
    story.arrive("a", true, None);
    story.arrive("b", true, None);
    story.arrive("c", false, None);
    story.arrive("d", false, None);
    story.arrive("e", true, None);
    assert_eq!(story.good(1, "x"), ["answer x", "give a+b to 1"]);
    assert_eq!(story.answer_all(1, &["a", "b"]), ["give c to 1"]);
    assert_eq!(story.good(1, "c"), ["answer c", "give d to 1"]);
    assert_eq!(story.good(1, "d"), ["answer d", "give e to 1"]);
}

/// Sixteen calls go together, and this one costs every worker that it gets. Returns how many.
fn lost_for(bad: Name) -> u32 {
    let mut story = Story::of(grouped(1, 16, 0));
    story.call("x");
    story.calls(&SIXTEEN);
    let mut said = story.good(1, "x");
    let (mut worker, mut lost, mut answered) = (1, 0, 0);
    while let Some(given) = said.iter().find_map(|it| it.strip_prefix("give ")) {
        let (names, _) = given.split_once(" to ").expect("to a worker");
        let is_in = |name: &Name| names.split('+').any(|it| it == *name);
        let names: Vec<Name> = SIXTEEN.into_iter().filter(is_in).collect();
        if !names.contains(&bad) {
            answered += names.len();
            said = story.answer_all(worker, &names);
            continue;
        }
        lost += 1;
        said = story.crash(worker, 0);
        let failed: Vec<&String> = said.iter().filter(|it| it.starts_with("fail ")).collect();
        assert_eq!(!failed.is_empty(), names == [bad], "{said:?}");
        // It takes long to start, and the other half does not wait in vain.
        said.extend(story.pass(20_000));
        worker += 1;
        said.extend(story.ready(worker));
    }
    assert_eq!((answered, story.state.calls_open()), (15, 0), "all but {bad}");
    lost
}

#[test]
fn one_bad_call_of_sixteen_costs_five_workers_and_nobody_else_fails() {
    for bad in SIXTEEN {
        assert_eq!(lost_for(bad), 5, "{bad}");
    }
}

#[test]
fn a_wrong_number_of_answers_and_a_hang_halve_a_group_too() {
    for hangs in [false, true] {
        let mut story = Story::of(grouped(2, 4, 0));
        story.calls(&["x", "y", "a", "b", "c", "d"]);
        story.good(2, "x");
        let said = if hangs { story.pass(30_000) } else { story.miscounts(2, 4) };
        let failed: Vec<&String> = said.iter().filter(|it| it.starts_with("fail a")).collect();
        assert!(failed.is_empty(), "{said:?}");
        let all = [said, story.ready(3), story.ready(4)].concat();
        assert!(all.contains(&"give a+b to 3".to_owned()), "{all:?}");
    }
}

#[test]
fn the_halves_of_a_lost_group_go_first_and_with_no_others() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b", "c"]);
    assert_eq!(story.good(1, "x"), ["answer x", "give a+b+c to 1"]);
    story.calls(&["d", "e"]);
    story.crash(1, 0);
    assert_eq!(story.ready(2), ["give a+b to 2"]);
    assert_eq!(story.answer_all(2, &["a", "b"]), ["give c to 2"]);
    assert_eq!(story.answer_all(2, &["c"]), ["give d+e to 2"]);
}

#[test]
fn a_group_that_was_not_read_comes_back_whole() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b", "c"]);
    story.good(1, "x");
    story.crash(1, 1);
    assert_eq!(story.ready(2), ["give a+b+c to 2"]);
}

#[test]
fn a_question_that_has_cost_a_worker_goes_alone() {
    let mut story = Story::of(Rules { retries: 0, ..grouped(1, 16, 0) });
    story.call("bad 1");
    story.good(1, "bad 1");
    story.call("bad 2");
    story.crash(1, 0);
    story.ready(2);
    story.calls(&["x", "a", "bad 3", "b"]);
    assert_eq!(story.good(2, "x"), ["answer x", "give a to 2"]);
    assert_eq!(story.good(2, "a"), ["answer a", "give bad 3 to 2"]);
}

#[test]
fn a_group_has_the_time_of_its_last_call() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b"]);
    story.good(1, "x");
    story.leave("a");
    assert_eq!(story.pass(29_999), [""; 0], "one who left costs nobody their answer");
    assert_eq!(story.state.calls_open(), 2);
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b"]);
    story.good(1, "x");
    story.leave("a");
    story.leave("b");
    let said = story.pass(10_000);
    assert!(said.contains(&"stop 1 Timeout".to_owned()), "nobody waits: {said:?}");
}

#[test]
fn calls_gather_for_as_long_as_the_pool_says_and_no_longer() {
    let mut story = Story::of(grouped(1, 3, 20));
    assert_eq!(story.call("a"), [""; 0]);
    assert_eq!(story.pass(19), [""; 0]);
    story.call("b");
    assert_eq!(story.pass(1), ["give a+b to 1"]);
    story.answer_all(1, &["a", "b"]);
    story.calls(&["c", "d"]);
    assert_eq!(story.call("e"), ["give c+d+e to 1"], "a full group does not wait");
}

#[test]
fn a_call_that_cannot_gain_by_it_does_not_wait_for_others() {
    let mut story = Story::of(grouped(1, 3, 20));
    assert_eq!(story.arrive("a", false, None), ["give a to 1"]);
    story.good(1, "a");
    let soon = Some(Duration::from_millis(15));
    assert_eq!(story.arrive("b", true, soon), ["give b to 1"]);
    story.good(1, "b");
    story.call("c");
    assert_eq!(story.arrive("d", true, soon), ["give c+d to 1"]);
}

#[test]
fn where_no_call_may_wait_calls_gather_only_for_free_workers() {
    let mut story = Story::of(Rules { queue_length: 0, ..grouped(1, 2, 20) });
    story.call("a");
    assert_eq!(story.call("b"), ["give a+b to 1"]);
    assert_eq!(story.call("c"), ["refuse c queue_full"]);
}

#[test]
fn a_group_has_no_more_bytes_than_a_message() {
    let group = GroupRules { most: 16, wait: Duration::ZERO, bytes: 34, mixes_all: false };
    let mut story = Story::of(Rules { group: Some(group), ..grouped(1, 16, 0) });
    story.calls(&["x", "a", "b", "c", "d"]);
    assert_eq!(story.good(1, "x"), ["answer x", "give a+b+c to 1"], "1 + 3 × 11");
    story.arrive_with("large", 100);
    assert_eq!(story.answer_all(1, &["a", "b", "c"]), ["give d to 1"]);
    assert_eq!(story.answer_all(1, &["d"]), ["give large to 1"], "it is refused later");
}

#[test]
fn tenants_take_turns_inside_a_group() {
    let mut story = Story::of(grouped(1, 4, 0));
    story.call("x");
    for name in ["a1", "a2", "a3", "a4"] {
        story.call_of(name, tenant(1, 1));
    }
    story.call_of("b1", tenant(2, 1));
    story.pass(8);
    let said = story.good(1, "x");
    assert!(said[1].contains("b1"), "{said:?}");
}

#[test]
fn each_call_of_a_group_has_taken_as_long_as_the_group() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b", "c", "d"]);
    story.pass(10);
    story.good(1, "x");
    for _ in 0..40 {
        let names = ["a", "b", "c", "d"];
        story.pass(40);
        story.answer_all(1, &names);
        story.call("x");
        story.calls(&names);
        story.pass(10);
        story.good(1, "x");
    }
    let service = story.state.summary(story.now).service.expect("calls were measured");
    let millis = service.as_millis();
    assert!((30..=40).contains(&millis), "each waited for all of its group: {millis} ms");
}

/// Half a minute for four calls is no sign that one of them takes as long.
#[test]
fn a_group_that_hangs_counts_as_a_part_of_its_time_for_each_call() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b", "c", "d"]);
    story.good(1, "x");
    story.pass(30_000);
    let service = story.state.summary(story.now).service.expect("it was measured");
    assert!(service < Duration::from_secs(8), "{service:?}");
}

#[test]
fn background_work_of_a_pool_that_ends_waits_nowhere() {
    let mut story = Story::of(grouped(4, 16, 0));
    story.begin_together(&["a", "b"]);
    story.state.stop(story.now);
    let said = story.settle();
    for failed in ["fail a draining", "fail b draining"] {
        assert!(said.contains(&failed.to_owned()), "{said:?}");
    }
}

#[test]
fn background_work_goes_in_groups_of_its_own_which_take_one_place_each() {
    let mut story = Story::of(grouped(4, 16, 0));
    assert_eq!(story.state.vacancy(story.now), 2);
    assert_eq!(story.begin_together(&["a", "b", "c"]), ["give a+b+c to 4"]);
    assert_eq!(story.state.vacancy(story.now), 1);
    assert_eq!(story.call("x"), ["give x to 3"]);
    let said = story.crash(4, 0);
    let back: Vec<&String> = said.iter().filter(|it| it.ends_with("goes back")).collect();
    assert_eq!(back, ["c goes back", "b goes back", "a goes back"], "{said:?}");
}

#[test]
fn a_balancer_may_send_a_group_for_each_worker() {
    let story = Story::of(grouped(2, 16, 0));
    assert_eq!(story.state.slots(), 32);
}

#[test]
fn a_pool_that_ends_puts_nothing_back() {
    let mut story = Story::of(grouped(1, 16, 0));
    story.calls(&["x", "a", "b"]);
    story.good(1, "x");
    story.state.stop(story.now);
    let said = story.settle();
    assert_eq!(said, ["stop 1 Stopped", "fail a draining", "fail b draining"]);
}
