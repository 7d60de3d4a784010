//! What a pool promises where it sends calls ahead: rescues, and copies of one call.

use httpipe::testing::base::WorkerId;
use httpipe::testing::pool::rules::Rules;

use super::story::{Story, rules};

#[test]
fn a_call_behind_a_head_that_runs_over_is_given_to_another_worker() {
    let mut story = Story::sending_ahead(2);
    assert_eq!(story.call("long"), ["give long to 2"]);
    assert_eq!(story.call("b"), ["give b to 1"]);
    assert_eq!(story.call("c"), ["give c to 1"]);
    assert_eq!(story.call("d"), ["give d to 2"]);
    assert_eq!(story.good(1, "b"), ["answer b"]);
    assert_eq!(story.good(1, "c"), ["answer c"]);
    assert_eq!(story.pass(1), ["give d to 1"]);
    assert_eq!(story.good(1, "d"), ["answer d"]);
    assert_eq!(story.good(2, "long"), ["answer long"]);
    assert_eq!(story.good(2, "d"), [""; 0], "it was answered");
}

#[test]
fn after_a_rescue_the_next_head_of_the_same_worker_is_watched_too() {
    let mut story = Story::sending_ahead(2);
    story.calls(&["first", "long", "b", "c", "d", "e"]);
    story.leave("b");
    story.leave("d");
    assert_eq!(story.pass(1), [""; 0], "both run over, c and e could go elsewhere");
    assert_eq!(story.good(2, "first"), ["answer first"]);
    story.pass(5);
    assert_eq!(story.good(1, "long"), ["answer long", "give e to 1"], "c runs over, too");
}

#[test]
fn all_that_waits_behind_a_head_that_runs_over_is_given_to_another_worker() {
    let mut story = Story::sending_ahead(2);
    story.calls(&["long", "b", "c", "d", "e", "f"]);
    for name in ["b", "c", "e"] {
        story.good(1, name);
    }
    assert_eq!(story.pass(1), ["give d to 1", "give f to 1"], "long, d and f are in 2");
}

#[test]
fn a_rescue_goes_on_until_the_head_itself_is_answered() {
    let rules = Rules { least: 2, most: 2, in_order: false, ..rules() };
    let mut story = Story::sending_ahead_by(&rules);
    story.calls(&["long", "other", "b", "c", "d", "e", "f"]);
    assert_eq!(story.pass(1), [""; 0], "both run over; c and e stand behind long");
    assert_eq!(story.good(2, "e"), ["answer e"], "long still runs");
    assert_eq!(story.good(1, "other"), ["answer other", "give c to 1"]);
}

#[test]
fn nothing_is_sent_after_a_head_that_runs_over() {
    let mut story = Story::sending_ahead(1);
    story.call("long");
    story.pass(2);
    assert_eq!(story.call("b"), [""; 0]);
    assert_eq!(story.good(1, "long"), ["answer long", "give b to 1"]);
}

#[test]
fn after_a_head_that_ran_over_fewer_calls_are_sent_ahead() {
    let mut story = Story::sending_ahead(1);
    story.call("long");
    let given = (1..40).filter(|_| story.call("x") == ["give x to 1"]).count();
    assert_eq!(given, 31);
    assert_eq!(story.pass(1), [""; 0]);
    assert_eq!(story.good(1, "long"), ["answer long"], "31 are more than enough now");
}

#[test]
fn a_call_that_may_not_run_twice_is_not_sent_ahead() {
    let mut story = Story::sending_ahead(1);
    story.call("a");
    assert_eq!(story.arrive("b", false, None), [""; 0]);
}

#[test]
fn an_answer_that_came_from_elsewhere_leaves_the_other_worker_its_time() {
    let mut story = Story::sending_ahead(2);
    story.call("long");
    story.call("b");
    story.call("c");
    story.call("d");
    story.good(1, "b");
    story.good(1, "c");
    story.pass(1);
    story.good(2, "long");
    story.pass(15_000);
    assert_eq!(story.good(1, "d"), ["answer d"]);
    assert_eq!(story.pass(9_999), [""; 0], "worker 2 may work on d for nobody");
    assert_eq!(story.pass(1), ["stop 2 Timeout", "start 3"]);
}

#[test]
fn a_copy_of_a_call_whose_caller_left_gets_no_new_time_when_the_other_is_answered() {
    let mut story = Story::sending_ahead(2);
    story.calls(&["long", "b", "c", "d"]);
    story.good(1, "b");
    story.good(1, "c");
    assert_eq!(story.pass(1), ["give d to 1"]);
    story.good(2, "long");
    story.leave("d");
    story.pass(5_000);
    assert_eq!(story.good(1, "d"), ["answer d"], "for nobody");
    assert_eq!(story.pass(4_999), [""; 0]);
    assert_eq!(story.pass(1), ["stop 2 Timeout", "start 3"], "10 s after the caller left");
}

#[test]
fn while_a_call_waits_that_may_not_run_twice_none_passes_it() {
    let rules = Rules { queue_length: 1, ..rules() };
    let mut story = Story::sending_ahead_by(&rules);
    story.call("a");
    assert_eq!(story.arrive("once", false, None), [""; 0], "it is not sent ahead");
    assert_eq!(story.call("next"), ["refuse next queue_full"]);
}

/// A pool whose workers read one question at a time, and that sends ahead.
fn taking_back(workers: usize) -> Story {
    let rules = Rules { least: workers, most: workers, takes_back: true, ..rules() };
    Story::sending_ahead_by(&Rules { in_order: false, ..rules })
}

#[test]
fn what_can_be_taken_back_is_sent_ahead_though_it_may_not_run_twice() {
    let mut story = taking_back(1);
    assert_eq!(story.arrive("a", false, None), ["give a to 1"]);
    assert_eq!(story.arrive("b", false, None), ["give b to 1"]);
}

#[test]
fn calls_behind_a_head_that_runs_over_are_taken_back_and_go_elsewhere() {
    let mut story = taking_back(2);
    for name in ["long", "b", "c", "d", "e", "f"] {
        story.arrive(name, false, None);
    }
    for name in ["b", "c", "e"] {
        assert_eq!(story.good(1, name), [format!("answer {name}")]);
    }
    assert_eq!(story.pass(1), ["take back from 2"], "d and f stand behind long");
    assert_eq!(story.taken_back(2, &["d", "f"]), ["give d to 1", "give f to 1"]);
    assert_eq!(story.good(1, "d"), ["answer d"]);
    assert_eq!(story.good(2, "long"), ["answer long"]);
}

#[test]
fn nothing_stands_behind_a_question_that_is_too_long_to_be_taken_back() {
    let mut story = taking_back(1);
    story.arrive_with("long", 4001);
    assert_eq!(story.arrive("b", false, None), [""; 0], "it waits");
    story.good(1, "long");
    story.arrive("c", false, None);
    assert_eq!(story.arrive_with("too long", 4001), [""; 0], "nor is it sent ahead itself");
}

#[test]
fn a_call_that_is_taken_back_after_its_caller_left_ends_there() {
    let mut story = taking_back(1);
    story.calls(&["long", "b", "c"]);
    story.leave("b");
    assert_eq!(story.pass(1), ["take back from 1"]);
    assert_eq!(story.taken_back(1, &["b", "c"]), ["fail b cancelled"]);
    assert_eq!(story.good(1, "long"), ["answer long", "give c to 1"]);
}

#[test]
fn a_worker_from_which_all_calls_are_taken_back_is_free() {
    let mut story = taking_back(1);
    story.calls(&["a", "b"]);
    assert_eq!(story.pass(1), ["take back from 1"]);
    assert_eq!(story.taken_back(1, &["a", "b"]), ["give a to 1", "give b to 1"]);
}

#[test]
fn no_more_are_sent_ahead_than_a_pipe_has_room_for() {
    let mut story = taking_back(1);
    let given = (1..40).filter(|_| story.call("x") == ["give x to 1"]).count();
    assert_eq!(given, 16);
}

#[test]
fn a_worker_that_is_to_leave_does_so_once_all_its_calls_are_taken_back() {
    let mut story = taking_back(1);
    story.calls(&["a", "b"]);
    story.state.recycle(WorkerId(1));
    assert_eq!(story.settle(), ["start 2"]);
    assert_eq!(story.ready(2), [""; 0], "both calls are in 1");
    assert_eq!(story.pass(1), ["take back from 1"]);
    let left = story.taken_back(1, &["a", "b"]);
    assert_eq!(left, ["stop 1 Recycled", "give a to 2", "give b to 2"]);
}
