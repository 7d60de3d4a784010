//! While calls take microseconds, no more workers are awake than there are processors.

use httpipe::testing::pool::rules::Rules;

use super::story::{Story, rules};

fn four_workers_on_two_processors() -> Story {
    Story::sending_ahead_by(&Rules { processors: 2, least: 4, most: 4, in_order: false, ..rules() })
}

#[test]
fn a_call_goes_to_a_worker_that_is_awake_before_one_that_sleeps() {
    let mut story = four_workers_on_two_processors();
    let given: Vec<String> =
        ["a", "b", "c", "d"].iter().flat_map(|name| story.call(name)).collect();
    let to = |name: &str| {
        let given =
            given.iter().find(|it| it.starts_with(&format!("give {name} "))).expect("given");
        given.rsplit(' ').next().expect("a worker").to_owned()
    };
    assert_ne!(to("a"), to("b"), "two processors");
    assert_eq!([to("c"), to("d")].map(|it| [to("a"), to("b")].contains(&it)), [true, true]);
}

#[test]
fn a_sleeping_worker_is_woken_once_a_head_runs_over() {
    let mut story = four_workers_on_two_processors();
    story.calls(&["a", "b", "c", "d"]);
    let rescued = story.pass(2);
    assert_eq!(rescued.len(), 2, "c and d are in workers of their own: {rescued:?}");
    assert!(rescued.iter().all(|it| it.starts_with("give c") || it.starts_with("give d")));
}
