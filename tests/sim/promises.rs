//! One promise of a pool in each test, as a short story told to the core.

use std::time::Duration;

use httpipe::testing::base::WorkerId;
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::actions::Loss;
use httpipe::testing::pool::rules::Rules;

use super::story::{Story, rules};

#[test]
fn of_the_free_workers_the_one_used_last_is_given_the_next_call() {
    let mut story = Story::of(Rules { least: 3, most: 3, ..rules() });
    assert_eq!(story.call("a"), ["give a to 3"]);
    assert_eq!(story.call("b"), ["give b to 2"]);
    story.good(3, "a");
    story.good(2, "b");
    assert_eq!(story.call("c"), ["give c to 2"]);
}

#[test]
fn a_call_is_not_put_behind_another_while_a_worker_is_free() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { least: 2, most: 2, in_flight, ..rules() });
    assert_eq!(story.call("a"), ["give a to 2"]);
    assert_eq!(story.call("b"), ["give b to 1"]);
    assert_eq!(story.call("c"), ["give c to 1"]);
    assert_eq!(story.call("d"), ["give d to 2"]);
    assert_eq!(story.call("e"), [""; 0]);
}

#[test]
fn with_no_worker_free_for_5_ms_a_spare_starts_though_nobody_waits() {
    let mut story = Story::of(Rules { most: 3, ..rules() });
    story.call("a");
    assert_eq!(story.pass(4), [""; 0]);
    assert_eq!(story.pass(1), ["start 2"]);
    assert_eq!(story.pass(100), [""; 0], "one spare is enough for nobody");
}

#[test]
fn each_call_that_waits_over_5_ms_gets_a_start_of_its_own() {
    let mut story = Story::of(Rules { most: 9, ..rules() });
    story.call("a");
    story.pass(5);
    story.call("b");
    story.pass(2);
    story.call("c");
    assert_eq!(story.pass(4), [""; 0], "worker 2 is starting, for b");
    assert_eq!(story.pass(1), ["start 3"]);
    assert_eq!(story.pass(100), [""; 0]);
}

#[test]
fn calls_that_wait_while_the_first_worker_starts_get_workers_too() {
    let mut story = Story::before_the_start(Rules { most: 9, ..rules() });
    story.settle();
    story.call("a");
    story.call("b");
    assert_eq!(story.pass(5), ["start 2"]);
}

#[test]
fn a_worker_that_goes_from_call_to_call_is_not_free_in_between() {
    let mut story = Story::of(Rules { most: 2, ..rules() });
    story.call("a");
    story.call("b");
    story.call("c");
    story.pass(3);
    story.good(1, "a");
    assert_eq!(story.pass(2), ["start 2"]);
}

#[test]
fn a_worker_above_the_least_leaves_after_30_idle_seconds() {
    let mut story = Story::of(Rules { most: 2, ..rules() });
    story.call("a");
    story.pass(5);
    story.ready(2);
    story.good(1, "a");
    assert_eq!(story.pass(29_999), [""; 0]);
    assert_eq!(story.pass(1), ["stop 2 ScaledDown"]);
    assert_eq!(story.pass(100_000), [""; 0]);
}

#[test]
fn a_worker_that_was_good_is_replaced_at_once_and_another_after_a_back_off() {
    let mut story = Story::of(rules());
    story.call("a");
    story.good(1, "a");
    assert_eq!(story.crash(1, 0), ["start 2"]);
    story.ready(2);
    assert_eq!(story.crash(2, 0), [""; 0]);
    assert_eq!(story.pass(99), [""; 0]);
    assert_eq!(story.pass(26), ["start 3"]);
}

#[test]
fn a_bad_answer_is_no_reason_to_start_the_next_worker_sooner() {
    let mut story = Story::of(rules());
    story.crash(1, 0);
    assert_eq!(story.pass(125), ["start 2"]);
    story.ready(2);
    story.call("a");
    assert_eq!(story.bad(2, "a"), ["answer a"]);
    assert_eq!(story.crash(2, 0), [""; 0]);
    assert_eq!(story.pass(199), [""; 0], "the second pause is twice as long");
    assert_eq!(story.pass(51), ["start 3"]);
}

#[test]
fn no_spare_starts_during_a_back_off() {
    let mut story = Story::of(Rules { least: 2, most: 4, ..rules() });
    story.call("a");
    assert_eq!(story.crash(1, 0), [""; 0]);
    story.call("b");
    assert_eq!(story.pass(99), [""; 0]);
    assert_eq!(story.pass(26), ["start 3"]);
}

#[test]
fn three_starts_in_vain_make_a_pool_refuse_until_one_is_not() {
    let mut story = Story::of(rules());
    story.crash(1, 0);
    story.call("a");
    story.pass(200);
    story.state.lose(story.now, WorkerId(2), &Loss::StartFailed { why: "not ready".into() }, 0);
    assert_eq!(story.settle(), [""; 0], "two are not three");
    story.pass(300);
    story.state.lose(story.now, WorkerId(3), &Loss::StartFailed { why: "not ready".into() }, 0);
    assert_eq!(story.settle(), ["fail a no_worker"]);
    assert_eq!(story.call("b"), ["refuse b no_worker"]);
    assert_eq!(story.pass(600), ["start 4"]);
    story.ready(4);
    assert_eq!(story.call("c"), ["give c to 4"]);
}

#[test]
fn constant_crashes_are_no_storm_of_starts() {
    let mut story = Story::of(Rules { least: 4, most: 8, ..rules() });
    let mut living = vec![1, 2, 3, 4];
    let mut starts = 0;
    for _ in 0..60_000 {
        let mut said = Vec::new();
        for worker in &living {
            said.extend(story.ready(*worker));
        }
        for worker in living.drain(..) {
            said.extend(story.crash(worker, 0));
        }
        said.extend(story.pass(1));
        starts += said.len();
        living.extend(
            said.iter().map(|said| said["start ".len()..].parse::<u64>().expect("a start")),
        );
    }
    assert!((5..=40).contains(&starts), "{starts} starts in the first minute");
}

#[test]
fn after_the_last_crash_the_pool_finds_back_to_its_least() {
    let mut story = Story::of(Rules { least: 3, most: 3, ..rules() });
    (1..=3).for_each(|worker| drop(story.crash(worker, 0)));
    assert_eq!(story.pass(125), ["start 4"], "one is tried first");
    assert_eq!(story.ready(4), ["start 5", "start 6"]);
}

#[test]
fn a_call_that_may_not_run_twice_is_not_rescued_under_new_rules() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    story.call("a");
    story.arrive("b", false, None);
    story.change(Rules { least: 2, most: 2, in_flight: InFlight::Auto, ..rules() });
    story.ready(2);
    assert_eq!(story.pass(1000), [""; 0]);
}

#[test]
fn only_the_oldest_call_of_a_lost_worker_is_suspected_and_only_so_often() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    story.call("warm");
    story.good(1, "warm");
    story.call("a");
    story.call("b");
    assert_eq!(story.crash(1, 0), ["start 2"]);
    assert_eq!(story.ready(2), ["give a to 2", "give b to 2"]);
    assert_eq!(story.crash(2, 0), ["fail a worker_lost"]);
    story.pass(125);
    assert_eq!(story.ready(3), ["give b to 3"], "nothing is held against b");
}

#[test]
fn calls_of_a_lost_worker_go_back_in_their_order_ahead_of_all() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    story.calls(&["a", "b", "c", "d"]);
    story.crash(1, 0);
    story.pass(125);
    assert_eq!(story.ready(2), ["give a to 2", "give b to 2", "give c to 2"]);
}

#[test]
fn a_call_that_may_not_run_twice_goes_back_only_if_it_was_not_read() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    for name in ["a", "b", "c"] {
        story.arrive(name, false, None);
    }
    assert_eq!(story.crash(1, 1), ["fail a worker_lost", "fail b worker_lost"]);
    story.pass(125);
    assert_eq!(story.ready(2), ["give c to 2"]);
}

#[test]
fn a_doubtful_answer_is_told_to_its_callers_and_not_tried_again() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    story.calls(&["a", "b", "c"]);
    let loss = Loss::BadAnswer { detail: "out of step".into(), calls: 2 };
    story.state.lose(story.now, WorkerId(1), &loss, 0);
    assert_eq!(story.settle(), ["fail a bad_answer", "fail b bad_answer"]);
    story.pass(125);
    assert_eq!(story.ready(2), ["give c to 2"]);
}

#[test]
fn a_full_queue_refuses_by_number_and_by_bytes() {
    let mut story = Story::of(Rules { queue_length: 1, ..rules() });
    assert_eq!(story.call("a"), ["give a to 1"]);
    assert_eq!(story.call("b"), [""; 0]);
    assert_eq!(story.call("c"), ["refuse c queue_full"]);
    let mut story = Story::of(Rules { queue_bytes: 19, ..rules() });
    story.call("a");
    assert_eq!(story.call("b"), [""; 0]);
    assert_eq!(story.call("c"), ["refuse c queue_full"]);
}

#[test]
fn a_call_that_need_not_wait_needs_no_queue() {
    let mut story = Story::of(Rules { queue_length: 0, ..rules() });
    assert_eq!(story.call("a"), ["give a to 1"]);
    assert_eq!(story.call("b"), ["refuse b queue_full"]);
}

#[test]
fn a_call_waits_no_longer_than_allowed() {
    let mut story = Story::of(rules());
    story.call("a");
    story.call("b");
    assert_eq!(story.pass(4_999), [""; 0]);
    assert_eq!(story.pass(1), ["fail b queue_timeout"]);
}

#[test]
fn a_call_that_has_waited_too_long_is_not_given_though_nobody_looked_in_time() {
    let mut story = Story::of(rules());
    story.calls(&["a", "b"]);
    story.pass_unnoticed(5_001);
    assert_eq!(story.good(1, "a"), ["answer a", "fail b queue_timeout"]);
}

#[test]
fn a_shorter_wait_under_new_rules_holds_for_calls_that_come_later() {
    let mut story = Story::of(rules());
    story.call("a");
    story.call("b");
    story.change(Rules { queue_wait: Duration::from_secs(1), ..rules() });
    story.call("c");
    assert_eq!(story.pass(1_000), ["fail c queue_timeout"]);
    assert_eq!(story.pass(4_000), ["fail b queue_timeout"]);
}

#[test]
fn timeout_runs_from_when_a_call_is_the_oldest_in_its_worker() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { in_flight, ..rules() });
    story.call("a");
    story.arrive("b", false, None);
    story.pass(29_000);
    story.good(1, "a");
    assert_eq!(story.pass(29_999), [""; 0]);
    let said = story.pass(1);
    assert_eq!(said, ["stop 1 Timeout", "fail b timeout", "start 2"]);
}

#[test]
fn without_an_order_timeout_runs_from_the_hand_over_of_each() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { in_order: false, in_flight, ..rules() });
    story.call("a");
    story.call("b");
    story.pass(1);
    story.arrive("c", false, None);
    assert_eq!(story.pass(29_998), [""; 0]);
    let said = story.pass(1);
    let expected = ["give up a in 1", "fail a timeout", "give up b in 1", "fail b timeout"];
    assert_eq!(said, expected, "c has a millisecond left, and may not run twice");
    assert_eq!(story.pass(1), ["stop 1 Timeout", "fail c timeout", "start 2"]);
}

#[test]
fn a_caller_in_a_hurry_is_told_in_time_and_the_call_runs_on_for_a_while() {
    let mut story = Story::of(rules());
    story.arrive("a", true, Some(Duration::from_millis(800)));
    story.arrive("b", true, Some(Duration::from_millis(900)));
    assert_eq!(story.pass(900), ["expire a timeout", "fail b timeout"]);
    assert_eq!(story.pass(9_899), [""; 0]);
    assert_eq!(story.pass(1), ["stop 1 Timeout", "fail a timeout", "start 2"]);
}

#[test]
fn a_caller_is_told_even_if_the_call_may_not_run_on_at_all() {
    let mut story = Story::of(Rules { abandoned: Duration::ZERO, ..rules() });
    story.arrive("a", true, Some(Duration::from_millis(800)));
    let said = story.pass(800);
    assert_eq!(said, ["expire a timeout", "stop 1 Timeout", "fail a timeout", "start 2"]);
}

#[test]
fn an_abandoned_call_never_runs_past_the_timeout() {
    let mut story = Story::of(rules());
    story.call("a");
    story.pass(25_000);
    story.leave("a");
    assert_eq!(story.pass(4_999), [""; 0]);
    assert_eq!(story.pass(1), ["stop 1 Timeout", "fail a timeout", "start 2"]);
}

#[test]
fn a_caller_who_leaves_the_queue_takes_the_call_along() {
    let mut story = Story::of(rules());
    story.call("a");
    story.call("b");
    story.leave("b");
    assert_eq!(story.state.calls_open(), 1);
    assert_eq!(story.good(1, "a"), ["answer a"]);
}

#[test]
fn a_worker_to_be_replaced_serves_until_the_next_is_ready_however_long_that_takes() {
    let mut story = Story::of(Rules { most: 3, ..rules() });
    story.call("a");
    assert_eq!(story.pass(5), ["start 2"]);
    story.state.recycle(WorkerId(1));
    story.calls(&["b", "c"]);
    assert_eq!(story.pass(5), ["start 3"]);
    story.leave("b");
    story.leave("c");
    story.good(1, "a");
    assert_eq!(story.pass(100_000), [""; 0], "none but 1 serves");
    assert_eq!(story.ready(2), ["stop 1 Recycled"]);
}

#[test]
fn a_worker_leaves_after_its_calls_when_the_next_is_ready() {
    let mut story = Story::of(Rules { recycle_calls: Some(10), ..rules() });
    let mut said = Vec::new();
    for _ in 0..9 {
        said.extend(story.call("a"));
        story.good(1, "a");
    }
    assert_eq!(said.last().map(String::as_str), Some("start 2"), "it is due at the ninth");
    assert_eq!(story.ready(2), ["stop 1 Recycled"]);
}

#[test]
fn a_worker_that_is_to_have_two_calls_has_two() {
    let mut story = Story::of(Rules { recycle_calls: Some(2), ..rules() });
    assert_eq!(story.call("a"), ["give a to 1"]);
    story.good(1, "a");
    assert_eq!(story.call("b"), ["give b to 1", "start 2"]);
}

#[test]
fn a_worker_that_has_had_its_calls_serves_on_until_the_next_is_ready() {
    let mut story = Story::of(Rules { recycle_calls: Some(10), ..rules() });
    for _ in 0..25 {
        assert_eq!(story.call("a")[0], "give a to 1");
        story.good(1, "a");
    }
    story.call("last");
    assert_eq!(story.ready(2), [""; 0], "it is busy");
    assert_eq!(story.call("b"), ["give b to 2"]);
    assert_eq!(story.good(1, "last"), ["answer last", "stop 1 Recycled"]);
}

#[test]
fn a_worker_that_is_replaced_leaves_though_it_is_never_idle() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { recycle_calls: Some(4), in_flight, ..rules() });
    story.calls(&["a", "b", "c", "d"]);
    assert_eq!(story.good(1, "a"), ["answer a", "give c to 1"]);
    assert_eq!(story.good(1, "b"), ["answer b", "give d to 1", "start 2"]);
    assert_eq!(story.ready(2), [""; 0], "the other holds c and d");
    assert_eq!(story.call("e"), ["give e to 2"]);
    assert_eq!(story.good(1, "c"), ["answer c"]);
    assert_eq!(story.call("f"), ["give f to 2"], "not to 1, though it has room");
    assert_eq!(story.good(1, "d"), ["answer d", "stop 1 Recycled"]);
}

#[test]
fn where_each_worker_is_to_have_one_call_none_has_two() {
    let mut story = Story::of(Rules { recycle_calls: Some(1), ..rules() });
    assert_eq!(story.call("a"), ["give a to 1", "start 2"]);
    assert_eq!(story.good(1, "a"), ["answer a", "stop 1 Recycled"]);
    assert_eq!(story.call("b"), [""; 0]);
    assert_eq!(story.ready(2), ["give b to 2", "start 3"]);
}

#[test]
fn as_many_calls_run_as_there_are_workers_that_take_one_call_each() {
    let mut story = Story::of(Rules { recycle_calls: Some(1), most: 1, ..rules() });
    assert_eq!(story.call("a"), ["give a to 1", "start 2"]);
    assert_eq!(story.ready(2), [""; 0]);
    assert_eq!(story.call("b"), [""; 0], "though 2 is free");
    assert_eq!(story.good(1, "a"), ["answer a", "stop 1 Recycled", "give b to 2", "start 3"]);
}

#[test]
fn fewer_workers_under_new_rules_are_parted_with_as_they_get_free() {
    let mut story = Story::of(Rules { least: 3, most: 3, ..rules() });
    story.call("a");
    story.call("b");
    assert_eq!(story.change(rules()), ["stop 1 ScaledDown"]);
    story.call("c");
    let said = [story.good(3, "a"), story.good(2, "b")].concat();
    let stops = said.iter().filter(|said| said.starts_with("stop")).count();
    assert_eq!(stops, 1, "{said:?}");
}

#[test]
fn the_end_answers_everyone_and_stops_everything() {
    let mut story = Story::of(Rules { least: 2, most: 2, ..rules() });
    story.calls(&["a", "b", "c"]);
    story.state.stop(story.now);
    let mut said = story.settle();
    said.sort();
    let expected = [
        "fail a draining",
        "fail b draining",
        "fail c draining",
        "stop 1 Stopped",
        "stop 2 Stopped",
    ];
    assert_eq!(said, expected);
    assert_eq!(story.call("d"), ["refuse d draining"]);
}

#[test]
fn a_call_that_comes_before_the_first_worker_is_ready_waits_for_it() {
    let queue_wait = Duration::from_secs(1);
    let start_timeout = Duration::from_secs(30);
    let mut story = Story::before_the_start(Rules { queue_wait, start_timeout, ..rules() });
    story.settle();
    story.call("a");
    assert_eq!(story.pass(20_000), [""; 0]);
    assert_eq!(story.ready(1), ["give a to 1"]);
    story.call("b");
    assert_eq!(story.pass(999), [""; 0]);
    assert_eq!(story.pass(1), ["fail b queue_timeout"]);
}

#[test]
fn calls_that_waited_for_the_start_are_served_oldest_first() {
    let mut story = Story::before_the_start(rules());
    story.settle();
    story.call("a");
    story.pass(3_000);
    story.call("b");
    story.pass(3_000);
    assert_eq!(story.ready(1), ["give a to 1"]);
    assert_eq!(story.good(1, "a"), ["answer a", "give b to 1"]);
}
