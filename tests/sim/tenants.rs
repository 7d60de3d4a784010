//! Tenants take turns, make room for each other, and share calls.

use httpipe::testing::base::Tenant;
use httpipe::testing::pool::rules::Rules;

use super::story::{Name, Story, rules};
use super::tenant;

/// One worker, which has a call of a tenant that has four more waiting.
fn flooded(rules: Rules) -> (Story, Tenant, Tenant) {
    let (flood, polite) = (tenant(1, 1), tenant(2, 1));
    let mut story = Story::of(rules);
    story.call_of("warm", flood);
    story.pass(10);
    story.good(1, "warm");
    for name in ["f1", "f2", "f3", "f4", "f5"] {
        story.call_of(name, flood);
    }
    (story, flood, polite)
}

fn order(story: &mut Story, mut name: Name) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        story.pass(10);
        let said = story.good(1, name);
        let Some(next) = said.iter().find_map(|said| said.strip_prefix("give ")) else { break };
        let next = next.strip_suffix(" to 1").expect("there is one worker");
        name = story.ids.keys().find(|name| **name == next).expect("it arrived");
        order.push(next.to_owned());
    }
    order
}

#[test]
fn tenants_take_turns_and_one_that_comes_new_is_next() {
    let (mut story, _, polite) = flooded(rules());
    story.call_of("p1", polite);
    story.call_of("p2", polite);
    assert_eq!(order(&mut story, "f1"), ["p1", "f2", "p2", "f3", "f4", "f5"]);
}

#[test]
fn a_tenant_of_twice_the_weight_has_two_turns_for_one() {
    let (mut story, _, _) = flooded(rules());
    for name in ["h1", "h2", "h3", "h4"] {
        story.call_of(name, tenant(3, 2));
    }
    assert_eq!(order(&mut story, "f1"), ["h1", "h2", "f2", "h3", "h4", "f3", "f4", "f5"]);
}

#[test]
fn in_a_full_queue_the_newest_call_of_the_tenant_with_the_most_gives_way() {
    let (mut story, flood, polite) = flooded(Rules { queue_length: 3, ..rules() });
    assert_eq!(story.call_of("f6", flood), ["refuse f6 queue_full"]);
    assert_eq!(story.call_of("p1", polite), ["fail f4 queue_full"]);
    assert_eq!(story.call_of("f7", flood), ["refuse f7 queue_full"]);
    assert_eq!(story.call_of("p2", polite), ["fail f3 queue_full"], "it has had less time");
    assert_eq!(story.call_of("f8", flood), ["refuse f8 queue_full"], "it has had more");
    assert_eq!(story.call_of("p3", polite), ["refuse p3 queue_full"], "it has the most");
    assert_eq!(order(&mut story, "f1"), ["p1", "f2", "p2"]);
}

#[test]
fn a_large_question_makes_room_among_those_of_the_tenant_with_the_most_bytes() {
    let (mut story, flood, polite) = flooded(Rules { queue_bytes: 45, ..rules() });
    assert_eq!(story.call_of("f6", flood), ["refuse f6 queue_full"]);
    let said = story.call_with("p1", polite, 20);
    assert_eq!(said, ["fail f5 queue_full", "fail f4 queue_full"]);
    let said = story.call_with("p2", polite, 20);
    assert_eq!(said, ["refuse p2 queue_full"], "it would have the most");
}

#[test]
fn a_call_that_a_polite_tenant_asks_too_does_not_wait_in_the_flood() {
    let (mut story, _, polite) = flooded(rules());
    story.share("f4", polite);
    assert_eq!(order(&mut story, "f1"), ["f4", "f2", "f3", "f5"]);
}

#[test]
fn a_call_that_a_flood_asks_too_stays_where_it_is() {
    let (mut story, flood, polite) = flooded(rules());
    story.call_of("p1", polite);
    story.share("p1", flood);
    story.share("f5", flood);
    assert_eq!(order(&mut story, "f1"), ["p1", "f2", "f3", "f4", "f5"]);
}

#[test]
fn a_call_that_a_worker_has_stays_with_its_tenant() {
    let (mut story, _, polite) = flooded(rules());
    story.share("f1", polite);
    assert_eq!(story.crash(1, 0), ["start 2"]);
    story.share("f1", polite);
    story.pass(130);
    assert_eq!(story.ready(2), ["give f1 to 2"], "it was put back, ahead of all others");
}
