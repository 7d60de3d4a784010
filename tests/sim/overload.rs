//! What a pool promises when there is more to do than it can.

use std::time::Duration;

use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

use super::story::{Story, rules};

/// A busy worker, three calls that wait since 0, 1 and 2 seconds, and one that just came.
fn stalled() -> Story {
    let mut story = Story::of(rules());
    for name in ["stall", "a", "b", "c"] {
        story.call(name);
        story.pass(1_000);
    }
    story.call("fresh");
    story
}

#[test]
fn after_a_stall_the_newest_call_is_served_first() {
    let mut story = stalled();
    assert_eq!(story.good(1, "stall"), ["answer stall", "give fresh to 1"]);
    assert_eq!(story.good(1, "fresh"), ["answer fresh", "give c to 1"]);
    story.call("fresher");
    assert_eq!(story.good(1, "c"), ["answer c", "give fresher to 1"]);
}

#[test]
fn the_old_ones_run_out_of_time_as_promised() {
    let mut story = stalled();
    story.good(1, "stall");
    let said = story.pass(5_000);
    let out = ["fail a queue_timeout", "fail b queue_timeout", "fail c queue_timeout"];
    assert_eq!(said, out);
}

#[test]
fn once_nobody_waits_for_long_the_oldest_is_first_again() {
    let mut story = stalled();
    story.good(1, "stall");
    for name in ["a", "b", "c"] {
        story.leave(name);
    }
    story.calls(&["d", "e"]);
    assert_eq!(story.good(1, "fresh"), ["answer fresh", "give d to 1"]);
    assert_eq!(story.good(1, "d"), ["answer d", "give e to 1"]);
}

#[test]
fn a_burst_is_served_in_its_order() {
    let mut story = Story::of(rules());
    story.calls(&["a", "b", "c", "d"]);
    for (name, next) in [("a", "give b to 1"), ("b", "give c to 1"), ("c", "give d to 1")] {
        story.pass(900);
        assert_eq!(story.good(1, name)[1..], [next]);
    }
}

/// A pool of one worker that may have nine, on two processors, and whose starts are quick. The worker has
/// a call, and eight more came with it.
fn growing() -> Story {
    let mut story = Story::before_the_start(Rules { processors: 2, most: 9, ..rules() });
    story.settle();
    story.now += Duration::from_millis(20);
    drop(story.ready(1));
    story.calls(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert_eq!(story.pass(6), ["start 2", "start 3"]);
    story
}

#[test]
fn while_workers_are_added_a_new_call_does_not_wait_for_all_of_them() {
    let mut story = growing();
    story.pass(40);
    assert_eq!(story.ready(2), ["give b to 2", "start 4"], "a burst is served in its order");
    story.pass(100);
    story.call("short");
    assert_eq!(story.ready(3), ["give short to 3", "start 5"]);
    assert_eq!(story.good(3, "short"), ["answer short", "give i to 3"]);
    story.pass(900);
    story.call("late");
    assert_eq!(story.ready(4)[0], "give c to 4", "no call is passed over for more than a second");
}

#[test]
fn once_no_more_workers_are_added_the_oldest_is_first_again() {
    let mut story = growing();
    story.pass(94);
    let given: Vec<_> = (2..=9).map(|worker| story.ready(worker)[0].clone()).collect();
    assert_eq!(given[..2], ["give i to 2", "give h to 3"]);
    story.calls(&["j", "k"]);
    story.pass(200);
    assert_eq!(story.good(2, "i"), ["answer i", "give j to 2"]);
}

#[test]
fn calls_that_were_put_back_stay_ahead_of_the_newest() {
    let mut story = stalled();
    story.crash(1, 0);
    story.pass(130);
    assert_eq!(story.ready(2), ["give stall to 2"]);
    assert_eq!(story.good(2, "stall"), ["answer stall", "give fresh to 2"]);
}

#[test]
fn calls_that_hang_one_after_the_other_do_not_drag_others_along_for_ever() {
    let timeout = Duration::from_secs(2);
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { least: 2, most: 2, in_flight, timeout, ..rules() });
    story.call("h0");
    story.pass(1_000);
    story.call("h1");
    assert_eq!(story.call("innocent"), ["give innocent to 1"]);
    let mut given = 0;
    let hangs = ["h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12"];
    for (worker, hang) in (3..).zip(hangs) {
        let said = story.pass(1_000);
        given += said.iter().filter(|said| said.starts_with("give innocent")).count();
        if said.contains(&"fail innocent worker_lost".to_owned()) {
            assert_eq!(given, 7, "5 s of wait and 2 s for each of two tries, then no more");
            return;
        }
        story.ready(worker);
        story.call(hang);
    }
    panic!("it never ends, and was given {given} times");
}
