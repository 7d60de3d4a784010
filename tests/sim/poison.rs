//! Questions that cost workers: who is blamed, and what becomes of them.

use std::time::Duration;

use httpipe::testing::base::WorkerId;
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::actions::Loss;
use httpipe::testing::pool::rules::Rules;

use super::story::{Name, Story, rules};

const TEN_MINUTES: u64 = 600_000;

/// A pool without retries, so that each call costs one worker at most.
fn pool() -> Story {
    Story::of(Rules { retries: 0, ..rules() })
}

/// The worker that serves now; its number goes up with each that is lost.
fn replace(story: &mut Story) -> u64 {
    let mut said = story.pass(40_000);
    said.extend(story.settle());
    let worker = story.state.summary(story.now).workers.iter().map(|worker| worker.id.0).max();
    let worker = worker.expect("one at least");
    story.ready(worker);
    worker
}

/// Lets a call of this name cost its worker. Returns what else the pool decided.
fn costs(story: &mut Story, name: Name) -> Vec<String> {
    let worker = replace(story);
    assert_eq!(story.arrive(name, false, None), [format!("give {name} to {worker}")]);
    let mut said = story.crash(worker, 0);
    said.retain(|said| !said.starts_with("start"));
    said
}

fn refused() -> Story {
    let mut story = pool();
    assert_eq!(costs(&mut story, "bad 1"), ["fail bad worker_lost".replace("bad", "bad 1")]);
    assert_eq!(costs(&mut story, "bad 2"), ["refuse from now on", "fail bad 2 worker_lost"]);
    story
}

#[test]
fn a_question_that_cost_two_calls_a_worker_is_refused() {
    let mut story = refused();
    let worker = replace(&mut story);
    assert_eq!(story.call("bad 3"), ["refuse bad 3 poisonous"]);
    assert_eq!(story.call("good 1"), [format!("give good 1 to {worker}")]);
}

#[test]
fn a_call_and_its_retry_count_once() {
    let mut story = Story::of(Rules { retries: 1, ..rules() });
    story.call("bad 1");
    story.crash(1, 0);
    story.pass(130);
    assert_eq!(story.ready(2), ["give bad 1 to 2"]);
    story.crash(2, 0);
    let worker = replace(&mut story);
    assert_eq!(story.call("bad 2"), [format!("give bad 2 to {worker}")]);
    let mut said = story.crash(worker, 0);
    said.retain(|said| !said.starts_with("start"));
    assert_eq!(said, ["refuse from now on", "fail bad 2 poisonous"], "it is not tried again");
}

#[test]
fn a_question_is_tried_again_after_ten_minutes_by_one_call() {
    let mut story = refused();
    let worker = replace(&mut story);
    story.pass(TEN_MINUTES - 41_000);
    assert_eq!(story.call("bad 3"), ["refuse bad 3 poisonous"]);
    story.pass(1_000);
    assert_eq!(story.call("bad 4"), [format!("give bad 4 to {worker}")]);
    assert_eq!(story.call("bad 5"), ["refuse bad 5 poisonous"]);
    story.crash(worker, 0);
    replace(&mut story);
    assert_eq!(story.call("bad 6"), ["refuse bad 6 poisonous"]);
}

#[test]
fn a_trial_that_goes_well_frees_the_question() {
    let mut story = refused();
    let worker = replace(&mut story);
    story.pass(TEN_MINUTES);
    story.call("bad 3");
    story.good(worker, "bad 3");
    assert_eq!(story.call("bad 4"), [format!("give bad 4 to {worker}")]);
    assert_eq!(story.call("bad 5"), [""; 0], "it waits");
}

#[test]
fn a_trial_whose_caller_leaves_the_queue_makes_way_for_the_next() {
    let mut story = refused();
    replace(&mut story);
    story.pass(TEN_MINUTES);
    story.call("long");
    story.call("bad 3");
    assert_eq!(story.call("bad 4"), ["refuse bad 4 poisonous"]);
    story.leave("bad 3");
    assert_eq!(story.call("bad 5"), [""; 0], "it waits");
}

#[test]
fn a_good_answer_in_between_acquits() {
    let mut story = pool();
    costs(&mut story, "bad 1");
    let worker = replace(&mut story);
    story.call("bad 2");
    story.good(worker, "bad 2");
    assert_eq!(costs(&mut story, "bad 3"), ["fail bad 3 worker_lost"]);
}

#[test]
fn calls_behind_the_oldest_are_not_blamed() {
    let in_flight = InFlight::Fixed(3);
    let mut story = Story::of(Rules { retries: 0, in_flight, ..rules() });
    for (head, behind) in [("x", "behind 1"), ("y", "behind 2"), ("z", "behind 3")] {
        let worker = replace(&mut story);
        story.arrive(head, false, None);
        assert_eq!(story.arrive(behind, false, None), [format!("give {behind} to {worker}")]);
        story.crash(worker, 0);
    }
}

#[test]
fn a_call_that_was_not_read_is_not_blamed() {
    let mut story = pool();
    for name in ["bad 1", "bad 2", "bad 3"] {
        let worker = replace(&mut story);
        assert_eq!(story.call(name), [format!("give {name} to {worker}")]);
        story.crash(worker, 1);
        story.leave(name);
    }
}

#[test]
fn where_calls_run_side_by_side_none_of_them_is_blamed() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { retries: 0, in_order: false, in_flight, ..rules() });
    for (first, second) in [("a 1", "b 1"), ("a 2", "b 2"), ("a 3", "b 3")] {
        let worker = replace(&mut story);
        assert_eq!(story.call(first), [format!("give {first} to {worker}")]);
        assert_eq!(story.call(second), [format!("give {second} to {worker}")]);
        story.crash(worker, 0);
        story.leave(second);
    }
}

#[test]
fn of_several_calls_that_run_over_none_is_blamed() {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { retries: 0, in_order: false, in_flight, ..rules() });
    for (first, second) in [("a 1", "b 1"), ("a 2", "b 2"), ("a 3", "b 3")] {
        let worker = replace(&mut story);
        assert_eq!(story.call(first), [format!("give {first} to {worker}")]);
        assert_eq!(story.call(second), [format!("give {second} to {worker}")]);
        story.pass(30_000);
    }
}

/// The worker may still be at work on the call that was given up.
#[test]
fn beside_a_call_that_was_given_up_none_is_blamed() {
    for is_crash in [true, false] {
        let in_flight = InFlight::Fixed(2);
        let mut story = Story::of(Rules { retries: 0, in_order: false, in_flight, ..rules() });
        for (slow, beside) in [("x", "bad 1"), ("y", "bad 2"), ("z", "bad 3")] {
            let worker = replace(&mut story);
            story.call(slow);
            let given_up = [format!("give up {slow} in {worker}"), format!("fail {slow} timeout")];
            assert_eq!(story.pass(30_000), given_up);
            assert_eq!(story.call(beside), [format!("give {beside} to {worker}")]);
            drop(if is_crash { story.crash(worker, 0) } else { story.pass(30_000) });
        }
    }
}

/// Returns true if a question is refused after two of its calls were answered out of step, with the
/// answers of `doubtful` calls in doubt.
fn is_refused_out_of_step(has_worked: bool, doubtful: usize) -> bool {
    let in_flight = InFlight::Fixed(2);
    let mut story = Story::of(Rules { retries: 0, in_flight, ..rules() });
    if has_worked {
        story.call("well");
        story.good(1, "well");
    }
    let mut said = Vec::new();
    for name in ["bad 1", "bad 2"] {
        let worker = replace(&mut story);
        story.call(name);
        let loss = Loss::BadAnswer { detail: "out of step".into(), calls: doubtful };
        story.state.lose(story.now, WorkerId(worker), &loss, 0);
        story.state.gone(WorkerId(worker));
        said = story.settle();
    }
    said.contains(&"refuse from now on".to_owned())
}

#[test]
fn an_answer_out_of_step_is_blamed_on_the_one_call_it_can_be_for() {
    assert!(is_refused_out_of_step(true, 1));
    assert!(!is_refused_out_of_step(true, 2));
}

#[test]
fn a_program_that_never_answered_well_may_be_out_of_step_with_every_question() {
    assert!(!is_refused_out_of_step(false, 1));
}

#[test]
fn a_call_that_waits_when_its_question_is_refused_fails() {
    let mut story = pool();
    costs(&mut story, "bad 1");
    let worker = replace(&mut story);
    story.arrive("bad 2", false, None);
    story.calls(&["bad 3"]);
    let said = story.crash(worker, 0);
    assert!(said.contains(&"fail bad 3 poisonous".to_owned()), "{said:?}");
    let next = replace(&mut story);
    assert_eq!(story.call("good 2"), [format!("give good 2 to {next}")]);
}

/// Lets one call run over. Returns what the pool decided.
fn runs_over(story: &mut Story, name: Name) -> Vec<String> {
    replace(story);
    story.call(name);
    let mut said = story.pass(30_000);
    said.retain(|said| !said.starts_with("start") && !said.starts_with("stop"));
    said
}

#[test]
fn a_question_that_runs_over_twice_is_refused() {
    let mut story = pool();
    assert_eq!(runs_over(&mut story, "slow 1"), ["fail slow 1 timeout"]);
    let said = runs_over(&mut story, "slow 2");
    assert_eq!(said, ["refuse from now on", "fail slow 2 timeout"]);
    assert_eq!(story.call("slow 3"), ["refuse slow 3 poisonous"]);
}

#[test]
fn where_every_question_runs_over_none_is_blamed() {
    let mut story = pool();
    let said: Vec<String> = ["a 1", "b 1", "a 2", "b 2", "a 3"]
        .iter()
        .flat_map(|name| runs_over(&mut story, name))
        .collect();
    assert!(!said.contains(&"refuse from now on".to_owned()), "{said:?}");
}

#[test]
fn a_call_that_nobody_waited_for_is_not_blamed_for_its_time() {
    let mut story = pool();
    for name in ["slow 1", "slow 2", "slow 3"] {
        let worker = replace(&mut story);
        assert_eq!(story.call(name), [format!("give {name} to {worker}")]);
        story.leave(name);
        story.pass(10_000);
    }
}

#[test]
fn a_call_given_out_in_overload_is_not_blamed_for_its_time() {
    let mut story = pool();
    replace(&mut story);
    // One runs over in peace; the queue stands behind it, and two more of it run over then.
    story.call("slow 1");
    story.pass(26_000);
    story.calls(&["a", "b", "slow 2"]);
    let said = story.pass(4_000);
    assert!(said.contains(&"fail slow 1 timeout".to_owned()), "{said:?}");
    let worker = story.state.summary(story.now).workers.last().expect("the next").id.0;
    assert_eq!(story.ready(worker), [format!("give slow 2 to {worker}")]);
    let said = story.pass(30_000);
    assert!(said.contains(&"fail slow 2 timeout".to_owned()), "{said:?}");
    assert!(!said.contains(&"refuse from now on".to_owned()), "{said:?}");
}

#[test]
fn where_calls_usually_take_long_none_is_blamed_for_its_time() {
    let mut story = pool();
    let worker = replace(&mut story);
    for _ in 0..50 {
        story.call("usual");
        story.pass(10_000);
        story.good(worker, "usual");
    }
    for name in ["slow 1", "slow 2", "slow 3"] {
        let said = runs_over(&mut story, name);
        assert_eq!(said, [format!("fail {name} timeout")]);
    }
}

#[test]
fn forgiven_questions_are_asked_again() {
    let mut story = refused();
    let worker = replace(&mut story);
    assert_eq!(story.state.summary(story.now).poisonous.len(), 1);
    assert_eq!(story.state.forgive_poisonous(), 1);
    assert!(story.state.summary(story.now).poisonous.is_empty());
    assert_eq!(story.call("bad 3"), [format!("give bad 3 to {worker}")]);
}

#[test]
fn accidents_far_apart_are_forgotten() {
    let mut story = pool();
    costs(&mut story, "bad 1");
    replace(&mut story);
    story.pass(Duration::from_mins(10).as_secs() * 1_000);
    assert_eq!(costs(&mut story, "bad 2"), ["fail bad 2 worker_lost"]);
}

const USUAL: [Name; 4] = ["usual 1", "usual 2", "usual 3", "usual 4"];

/// Where a worker works on several calls at once it finishes one in less time than each takes: a
/// pool can be slow though its answers follow each other closely.
#[test]
fn where_calls_take_long_side_by_side_none_is_blamed_for_its_time() {
    let in_flight = InFlight::Fixed(4);
    let mut story = Story::of(Rules { retries: 0, in_order: false, in_flight, ..rules() });
    for name in ["slow 1", "slow 2", "slow 3"] {
        let worker = replace(&mut story);
        // Four at a time, each for 10 of 30 seconds, one answered every 2.5 seconds.
        for started in 0..43 {
            if started < 40 {
                story.call(USUAL[started % 4]);
            }
            story.pass(2_500);
            if started >= 3 {
                let said = story.good(worker, USUAL[(started - 3) % 4]);
                assert_eq!(said[0], format!("answer {}", USUAL[(started - 3) % 4]));
            }
        }
        let said = runs_over(&mut story, name);
        assert_eq!(said, [format!("give up {name} in {worker}"), format!("fail {name} timeout")]);
    }
}

#[test]
fn a_call_that_a_worker_runs_only_loses_its_second_place_when_its_question_is_refused() {
    let rules = Rules { least: 2, most: 2, retries: 0, in_order: false, ..rules() };
    let mut story = Story::sending_ahead_by(&rules);
    assert_eq!(story.call("bad 1"), ["give bad 1 to 2"]);
    assert_eq!(story.crash(2, 0), ["fail bad 1 worker_lost", "start 3"]);
    story.ready(3);
    assert_eq!(story.call("bad 2"), ["give bad 2 to 3"]);
    story.pass(1);
    assert_eq!(story.call("long"), ["give long to 1"]);
    assert_eq!(story.call("bad 3"), ["give bad 3 to 1"]);
    assert_eq!(story.pass(1), [""; 0], "bad 3 waits for another worker");
    let said = story.crash(3, 0);
    assert_eq!(said, ["refuse from now on", "fail bad 2 worker_lost"]);
    assert_eq!(story.good(1, "bad 3")[0], "answer bad 3");
}

/// A worker that answers in order works on a call once it has answered those before.
#[test]
fn a_call_that_ran_for_less_than_the_timeout_is_not_blamed_for_its_wait_in_the_worker() {
    let mut story = Story::of(Rules { retries: 0, in_flight: InFlight::Fixed(2), ..rules() });
    for (first, behind) in [("a 1", "bad 1"), ("a 2", "bad 2"), ("a 3", "bad 3")] {
        let worker = replace(&mut story);
        story.call(first);
        assert_eq!(story.call(behind), [format!("give {behind} to {worker}")]);
        story.pass(5_000);
        story.good(worker, first);
        story.pass(19_000);
        story.leave(behind);
        let said = story.pass(10_000);
        assert_eq!(said[0], format!("stop {worker} Timeout"), "it ran for 29 s");
        assert_eq!(said[1], format!("fail {behind} timeout"));
    }
}

#[test]
fn a_trial_that_cost_its_worker_is_not_tried_again() {
    let mut story = refused();
    replace(&mut story);
    story.change(rules());
    story.pass(TEN_MINUTES);
    let worker = replace(&mut story);
    assert_eq!(story.call("bad 3"), [format!("give bad 3 to {worker}")]);
    let said = story.crash(worker, 0);
    assert!(said.contains(&"fail bad 3 poisonous".to_owned()), "{said:?}");
}

/// Where everything hangs, no question is to blame, and none stays refused for it.
#[test]
fn a_trial_that_runs_over_where_others_do_makes_way_for_the_next() {
    let mut story = refused();
    replace(&mut story);
    story.pass(TEN_MINUTES);
    runs_over(&mut story, "other");
    assert_eq!(runs_over(&mut story, "bad 3"), ["fail bad 3 timeout"]);
    let worker = replace(&mut story);
    assert_eq!(story.call("bad 4"), [format!("give bad 4 to {worker}")]);
}

#[test]
fn a_question_that_was_refused_is_like_any_other_after_twenty_minutes() {
    let mut story = refused();
    let worker = replace(&mut story);
    story.pass(2 * TEN_MINUTES);
    assert_eq!(story.call("bad 3"), [format!("give bad 3 to {worker}")]);
    assert_eq!(story.call("bad 4"), [""; 0], "it waits; none of them is a trial");
}

/// The trial runs in two workers when one of them shows that it runs over.
#[test]
fn a_trial_that_ran_over_in_one_worker_is_not_tried_again_when_the_other_is_lost() {
    let rules = Rules { least: 2, most: 2, ..rules() };
    let mut story = Story::sending_ahead_by(&rules);
    for name in ["bad 1", "bad 2"] {
        let given = story.arrive(name, false, None);
        let worker = given[0].rsplit(' ').next().expect("a worker").parse().expect("its number");
        story.crash(worker, 0);
        replace(&mut story);
    }
    story.pass(TEN_MINUTES);
    story.calls(&["long", "a", "b"]);
    assert_eq!(story.call("bad 3"), ["give bad 3 to 4"], "behind long");
    story.good(1, "a");
    story.good(1, "b");
    assert_eq!(story.pass(1), ["give bad 3 to 1"]);
    story.pass(5_000);
    assert_eq!(story.good(4, "long"), ["answer long"]);
    assert_eq!(story.pass(25_000), ["stop 1 Timeout", "start 5"], "worker 4 has 5 s left");
    story.state.lose(story.now, WorkerId(4), &Loss::UnaskedOutput, 0);
    assert_eq!(story.settle()[0], "fail bad 3 poisonous");
}
