//! What operators do to workers: replace them and kill them.

use httpipe::testing::base::WorkerId;
use httpipe::testing::pool::actions::Loss;
use httpipe::testing::pool::rules::Rules;

use super::story::{Story, rules};

fn pool() -> Story {
    Story::of(Rules { retries: 0, ..rules() })
}

fn killed(story: &mut Story, worker: u64) -> Vec<String> {
    story.state.lose(story.now, WorkerId(worker), &Loss::Killed, 0);
    story.state.gone(WorkerId(worker));
    story.settle()
}

#[test]
fn a_busy_worker_that_is_killed_gets_no_call_until_it_is_dead() {
    let mut story = pool();
    assert_eq!(story.call("a"), ["give a to 1"]);
    assert!(story.call("b").is_empty());
    assert!(story.state.kill(WorkerId(1)));
    assert_eq!(story.settle(), ["kill 1", "start 2"], "another is on its way at once");
    // It answers before the signal reaches it.
    let said = story.good(1, "a");
    assert!(said.contains(&"answer a".to_owned()) && !said.contains(&"give b to 1".to_owned()));
    assert!(said.iter().any(|said| said.starts_with("stop 1")), "{said:?}");
}

#[test]
fn a_free_or_starting_worker_that_is_killed_is_replaced() {
    let mut story = pool();
    story.state.kill(WorkerId(1));
    assert_eq!(story.settle(), ["kill 1", "start 2"]);
    story.state.kill(WorkerId(2));
    assert_eq!(story.settle(), ["kill 2", "start 3"]);
    assert!(!story.state.kill(WorkerId(9)), "there is no such worker");
}

/// Three starts in vain, or two lost workers, would count against the program or the question.
#[test]
fn a_killed_worker_tells_nothing_about_its_program_and_its_question() {
    let mut story = pool();
    for round in 1..=4 {
        let name = ["bad 1", "bad 2", "bad 3", "bad 4"][round - 1];
        let worker = round as u64;
        assert_eq!(story.arrive(name, false, None), [format!("give {name} to {worker}")]);
        story.state.kill(WorkerId(worker));
        assert_eq!(story.settle(), [format!("kill {worker}"), format!("start {}", worker + 1)]);
        assert_eq!(killed(&mut story, worker), [format!("fail {name} worker_lost")]);
        story.ready(worker + 1);
    }
}

#[test]
fn all_workers_are_replaced_and_none_leaves_before_enough_others_serve() {
    let mut story = Story::of(Rules { least: 2, most: 2, ..rules() });
    story.call("a");
    assert_eq!(story.state.renew_all(), 2);
    assert_eq!(story.settle(), ["start 3", "start 4"]);
    assert_eq!(story.call("b"), ["give b to 1"], "the old ones serve until then");
    assert!(story.ready(3).is_empty());
    assert!(story.ready(4).is_empty(), "both old ones hold calls");
    let said = [story.good(1, "b"), story.good(2, "a")].concat();
    assert_eq!(said, ["answer b", "stop 1 Recycled", "answer a", "stop 2 Recycled"]);
}

#[test]
fn one_worker_is_replaced_even_while_another_is() {
    let mut story = Story::of(Rules { least: 2, most: 2, ..rules() });
    story.state.recycle(WorkerId(1));
    assert_eq!(story.settle(), ["start 3"]);
    assert!(story.state.renew(WorkerId(2)));
    assert_eq!(story.settle(), ["start 4"]);
    assert!(!story.state.renew(WorkerId(9)));
}
