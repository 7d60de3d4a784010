//! Calls that run on other servers, and calls of others here: each step of the books.

use std::time::Duration;

use httpipe::testing::base::{NodeId, RunId, Tenant, WorkerId};
use httpipe::testing::pool::actions::NewCall;
use httpipe::testing::pool::away::{AwayLoss, GRACE};
use httpipe::testing::pool::rules::Rules;

use super::story::{Name, Story, rules};

const HOST: NodeId = NodeId(7);
const OTHER: NodeId = NodeId(8);

/// A pool without workers of its own.
fn front() -> Story {
    sharing(Rules { least: 0, most: 0, ..rules() })
}

fn sharing(rules: Rules) -> Story {
    let mut story = Story::of(rules);
    story.state.spread(story.now, |_| true);
    story
}

impl Story {
    /// A host claims a call. Returns its name.
    fn claim(&mut self, host: NodeId) -> Option<(Name, RunId)> {
        let granted = self.state.claim(self.now, host, 99)?;
        let name = *self.state.payload(granted.call).expect("it is in the books");
        self.settle();
        Some((name, granted.run))
    }

    fn take(&mut self, name: Name) -> RunId {
        let (granted, run) = self.claim(HOST).expect("a call waits");
        assert_eq!(granted, name);
        run
    }

    fn away_answer(&mut self, host: NodeId, run: RunId) -> Vec<String> {
        let work = Duration::from_millis(1);
        let ended = self.state.away_answered(self.now, (host, run), work, true);
        let told = ended.map(|ended| format!("answer {}", ended.payload));
        told.into_iter().chain(self.settle()).collect()
    }

    fn away_lost(&mut self, run: RunId, loss: &AwayLoss) -> Vec<String> {
        self.state.away_lost(self.now, (HOST, run), loss);
        self.settle()
    }
}

fn worker_lost() -> AwayLoss {
    AwayLoss::Worker { exit: "signal 9".into(), blamed: false }
}

#[test]
fn a_call_is_answered_once_by_the_host_that_has_it_and_whoever_forges_is_late() {
    let mut story = front();
    story.call("a");
    let run = story.take("a");
    assert_eq!(story.claim(HOST), None, "nothing else waits");
    assert_eq!(story.away_answer(OTHER, run), [""; 0]);
    assert_eq!(story.away_answer(HOST, RunId { key: 1, ..run }), [""; 0]);
    assert_eq!(story.away_answer(HOST, run), ["answer a"]);
    assert_eq!(story.away_answer(HOST, run), [""; 0]);
    assert_eq!(story.state.calls_open(), 0);
}

#[test]
fn a_call_that_may_run_twice_is_tried_again_as_often_as_the_rules_say() {
    for loss in [worker_lost(), AwayLoss::Host { alone: false }] {
        let mut story = front();
        story.call("a");
        let run = story.take("a");
        story.call("b");
        assert_eq!(story.away_lost(run, &loss), [""; 0]);
        let run = story.take("a");
        assert_eq!(story.away_lost(run, &loss), ["fail a worker_lost"]);
    }
}

#[test]
fn a_call_that_may_not_run_twice_is_given_away_once() {
    let losses = [worker_lost(), AwayLoss::Host { alone: false }, AwayLoss::Unknown];
    for loss in losses {
        let mut story = front();
        story.arrive("a", false, None);
        let run = story.take("a");
        assert_eq!(story.away_lost(run, &loss), ["fail a worker_lost"], "{loss:?}");
    }
}

#[test]
fn what_was_not_begun_goes_back_to_the_front_always() {
    let mut story = front();
    story.arrive("a", false, None);
    story.call("b");
    for _ in 0..5 {
        let run = story.take("a");
        assert_eq!(story.away_lost(run, &AwayLoss::NotBegun), [""; 0]);
    }
}

#[test]
fn a_call_that_its_host_never_got_goes_back_and_that_is_no_retry() {
    let mut story = sharing(Rules { least: 0, most: 0, retries: 0, ..rules() });
    story.call("a");
    for _ in 0..5 {
        let run = story.take("a");
        assert_eq!(story.away_lost(run, &AwayLoss::Unknown), [""; 0]);
    }
}

#[test]
fn after_its_first_part_an_answer_is_cut_off_by_any_loss() {
    for loss in [worker_lost(), AwayLoss::NotBegun, AwayLoss::Unknown] {
        let mut story = front();
        story.call("a");
        let run = story.take("a");
        assert!(story.state.away_begun(story.now, HOST, run).is_some());
        assert_eq!(story.away_lost(run, &loss), ["fail a worker_lost"], "{loss:?}");
    }
}

#[test]
fn a_caller_who_leaves_calls_the_host_back_and_the_answer_ends_the_call() {
    let mut story = front();
    story.call("a");
    let run = story.take("a");
    assert_eq!(story.leave("a"), ["call back from 7"]);
    assert_eq!(story.state.calls_open(), 1, "the host may be at work");
    assert_eq!(story.away_answer(HOST, run), ["answer a"]);
}

#[test]
fn a_call_whose_host_does_not_end_it_in_time_fails_after_a_grace() {
    let mut story = front();
    story.call("a");
    story.take("a");
    let millis = u64::try_from((rules().timeout + GRACE).as_millis()).expect("short");
    assert_eq!(story.pass(millis - 1), [""; 0]);
    assert_eq!(story.pass(1), ["call back from 7", "fail a timeout"]);
}

#[test]
fn an_own_worker_goes_first_and_others_get_what_has_waited_two_milliseconds() {
    let mut story = sharing(rules());
    assert_eq!(story.call("a"), ["give a to 1"]);
    story.call("b");
    let since = story.now;
    assert_eq!(story.state.hunger(story.now), None);
    assert_eq!(story.claim(HOST), None);
    story.pass(2);
    let hunger = story.state.hunger(story.now).expect("b waits");
    assert_eq!((hunger.since, hunger.calls), (since, 1));
    story.take("b");
    assert_eq!(story.state.hunger(story.now), None);
}

#[test]
fn the_end_of_a_pool_ends_the_calls_that_are_away() {
    let mut story = front();
    story.call("a");
    let run = story.take("a");
    story.state.stop(story.now);
    assert_eq!(story.settle(), ["call back from 7", "fail a draining"]);
    assert_eq!(story.away_answer(HOST, run), [""; 0]);
}

#[test]
fn a_question_that_costs_workers_anywhere_is_refused_by_its_owner() {
    let mut story = sharing(Rules { least: 0, most: 0, retries: 0, ..rules() });
    let mut cost = |name, alone| {
        story.call(name);
        let run = story.take(name);
        let exit = "signal 9".into();
        let worker = AwayLoss::Worker { exit, blamed: true };
        story.away_lost(run, &if alone { AwayLoss::Host { alone } } else { worker })
    };
    assert_eq!(cost("bad 1", false), ["fail bad 1 worker_lost"]);
    assert_eq!(cost("bad 2", true), ["refuse from now on", "fail bad 2 worker_lost"]);
    assert_eq!(story.call("bad 3"), ["refuse bad 3 poisonous"]);
}

fn guest(name: Name) -> NewCall<Name> {
    NewCall {
        payload: name,
        bytes: 10,
        idempotent: true,
        caller_deadline: None,
        tenant: Tenant::ANONYMOUS,
        timeout: Some(Duration::from_secs(20)),
    }
}

impl Story {
    fn host_gives(&mut self, worker: u64, name: Name) -> Vec<String> {
        let given = self.state.give_reserved(self.now, WorkerId(worker), guest(name));
        let id = given.expect("it is reserved");
        self.ids.insert(name, id);
        self.settle()
    }

    fn wants(&mut self, calls: usize) -> Vec<String> {
        self.state.want(Some(self.now), calls);
        self.settle()
    }
}

#[test]
fn a_free_worker_is_reserved_for_a_call_of_another_server_and_gets_it() {
    let mut story = sharing(rules());
    assert_eq!(story.wants(2), ["claim for 1"]);
    assert_eq!(story.call("own"), [""; 0], "it waits for the reserved worker");
    assert_eq!(story.host_gives(1, "guest"), ["give guest to 1"]);
    assert_eq!(story.good(1, "guest"), ["answer guest", "give own to 1"]);
}

#[test]
fn a_worker_that_is_reserved_in_vain_is_free_again() {
    let mut story = sharing(rules());
    story.wants(1);
    story.call("own");
    story.state.release(story.now, WorkerId(1));
    assert_eq!(story.settle(), ["give own to 1"]);
    let late = story.state.give_reserved(story.now, WorkerId(1), guest("late"));
    assert_eq!(late.err(), Some("late"));
}

#[test]
fn a_free_worker_goes_to_the_older_call() {
    let mut story = sharing(rules());
    story.call("first");
    story.call("own");
    story.pass(1);
    story.wants(1);
    assert_eq!(story.good(1, "first"), ["answer first", "give own to 1"]);
    story.pass(1);
    story.call("younger");
    assert_eq!(story.good(1, "own"), ["answer own", "claim for 1"]);
}

#[test]
fn a_reserved_worker_that_is_lost_takes_no_call() {
    let mut story = sharing(rules());
    story.wants(1);
    story.crash(1, 0);
    assert!(story.state.give_reserved(story.now, WorkerId(1), guest("late")).is_err());
    story.state.release(story.now, WorkerId(1));
    story.settle();
}

#[test]
fn a_lost_worker_is_told_to_the_server_whose_call_it_had() {
    let mut story = sharing(rules());
    story.wants(1);
    story.host_gives(1, "guest");
    let said = story.crash(1, 0);
    assert_eq!(said, ["lose guest guest worker_lost blamed"]);
    story.pass(125);
    story.ready(2);
    story.wants(1);
    story.host_gives(2, "guest");
    assert_eq!(story.crash(2, 1)[0], "guest goes back", "it was not read");
}

#[test]
fn a_call_of_another_server_ends_with_the_time_that_it_brought() {
    let mut story = sharing(rules());
    story.wants(1);
    story.host_gives(1, "guest");
    assert_eq!(story.pass(19_999), [""; 0]);
    let said = story.pass(1);
    assert_eq!(said[..2], ["stop 1 Timeout", "lose guest guest timeout blamed"]);
}
