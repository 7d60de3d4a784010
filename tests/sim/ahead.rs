//! What a pool promises where it sends calls ahead: rescues, and copies of one call.

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
