//! What becomes of calls that took too long where each answer proves which call it is for: they
//! are given up alone, and their worker is stopped only when that costs nobody else a call and it
//! is of no use any longer.

use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, WorkerId};
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

use super::model::{Blame, Checked, Inside, Model, Stage, ensure};
use super::oracle::Oracle;
use super::story::{Story, rules};

impl Oracle {
    /// When the time of each call ends that a worker can be working on.
    pub(crate) fn limits<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = Instant> + 'a {
        let running = if self.rules.in_order { 1 } else { model.held.len() };
        model.held.iter().take(running).map(move |inside| {
            let since = if self.rules.in_order { model.head_since } else { inside.given };
            let ask = &self.asks[inside.serial];
            let alone = ask.alone_since.into_iter().chain(ask.ended).min();
            let whole = since + self.rules.timeout;
            alone.map_or(whole, |alone| whole.min(alone.max(since) + self.rules.abandoned))
        })
    }

    /// The core gives one call up, whose worker goes on.
    pub(crate) fn give_up(&mut self, worker: WorkerId, id: CallId) -> Checked {
        let (now, step) = (self.now, self.step);
        ensure(!self.rules.in_order, || "a late answer would meet the next call".to_owned())?;
        let Some(model) = self.workers.get(&worker).filter(|it| it.stage == Stage::Serving) else {
            return Err(format!("call {id} is given up in worker {worker}, which does not serve"));
        };
        let Some(place) = model.held.iter().position(|inside| inside.id == id) else {
            return Err(format!(
                "call {id} is given up in worker {worker}, which does not hold it"
            ));
        };
        let is_late = self.limits(model).nth(place).is_some_and(|limit| limit <= now);
        ensure(is_late, || format!("call {id} is given up before its time: {model:?}"))?;
        let model = self.workers.get_mut(&worker).expect("it was found");
        let inside = model.held.remove(place);
        model.given_up.push(inside);
        if place == 0 {
            model.head_since = now;
        }
        if model.held.is_empty() {
            model.idle_since = now;
            model.used = step;
            model.is_rescued = false;
        }
        let ask = &mut self.asks[inside.serial];
        ask.holders.retain(|holder| *holder != worker);
        if ask.ended.is_none() && ask.holders.is_empty() {
            ask.blame = Some((step, Blame::RanOut));
        }
        Ok(())
    }

    /// A worker answers a call that was given up. Returns false if it does not owe that.
    pub(crate) fn answered_late(&mut self, worker: WorkerId, id: CallId) -> bool {
        let now = self.now;
        let Some(model) = self.workers.get_mut(&worker) else { return false };
        let Some(place) = model.given_up.iter().position(|inside| inside.id == id) else {
            return false;
        };
        model.given_up.remove(place);
        model.heard_at = Some(now);
        true
    }

    /// Calls that were given up, and this many more, take all the room.
    pub(crate) fn is_full(&self, model: &Model, more: usize) -> bool {
        let most = match self.rules.in_flight {
            InFlight::Fixed(calls) => calls as usize,
            InFlight::Auto => 1,
        };
        model.given_up.len() + more >= most
    }

    /// When a worker has answered nobody for so long that it is of no use.
    fn silent_at(&self, model: &Model) -> Option<Instant> {
        let unanswered = |inside: &&Inside| model.heard_at.is_none_or(|at| inside.given >= at);
        let given = model.given_up.iter().filter(unanswered).map(|inside| inside.given).min();
        Some(given? + self.rules.timeout * 2)
    }

    /// Some caller would get a failure if this worker were stopped now, besides those whose time is
    /// over.
    fn costs_somebody(&self, model: &Model) -> bool {
        let held = model.held.iter().zip(self.limits(model));
        held.filter(|(_, limit)| *limit > self.now).any(|(inside, _)| {
            let ask = &self.asks[inside.serial];
            let is_wanted = ask.ended.is_none() && ask.alone_since.is_none();
            let is_put_back = ask.idempotent && (self.now < ask.latest || self.may_rescue);
            is_wanted && ask.holders.len() == 1 && !is_put_back
        })
    }

    /// A worker may be stopped for calls that took too long.
    pub(crate) fn may_stop_for_time(&self, model: &Model) -> bool {
        let late = self.limits(model).filter(|limit| *limit <= self.now).count();
        let is_full = self.is_full(model, late) && (late > 0 || model.held.is_empty());
        let is_silent = self.silent_at(model).is_some_and(|at| at <= self.now);
        let is_over = self.has_changed_rules && model.held.is_empty();
        (is_full || is_silent || is_over) && !self.costs_somebody(model)
    }

    /// Workers that are of no use and cannot be stopped yet are replaced.
    pub(crate) fn note_spoiled(&mut self) {
        let is_spoiled = |model: &Model| {
            let is_silent = self.silent_at(model).is_some_and(|at| at <= self.now);
            model.stage == Stage::Serving && (self.is_full(model, 0) || is_silent)
        };
        self.is_renewing |= !self.rules.in_order && self.workers.values().any(is_spoiled);
    }

    /// No worker stays that is of no use.
    pub(crate) fn judge_given_up(&self) -> Checked {
        for (id, model) in self.workers.iter().filter(|(_, it)| it.stage == Stage::Serving) {
            let is_useless = model.held.is_empty() && self.is_full(model, 0);
            ensure(!is_useless, || format!("worker {id} is full of lost calls: {model:?}"))?;
            let is_silent = self.silent_at(model).is_some_and(|at| at < self.now);
            ensure(!is_silent || self.costs_somebody(model) || self.has_changed_rules, || {
                format!("worker {id} answers nobody and stays: {model:?}")
            })?;
        }
        Ok(())
    }
}

/// One worker that may hold this many calls, each answer proven.
fn proven(in_flight: u32) -> Rules {
    Rules { in_order: false, in_flight: InFlight::Fixed(in_flight), ..rules() }
}

fn late(story: &mut Story, name: &'static str) -> Vec<String> {
    let call = story.ids[name];
    story.state.answered_late(story.now, WorkerId(1), call);
    story.settle()
}

#[test]
fn a_call_that_takes_too_long_is_given_up_alone() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    story.pass(10_000);
    story.arrive("other", false, None);
    assert_eq!(story.pass(20_000), ["give up slow in 1", "fail slow timeout"]);
    assert_eq!(story.good(1, "other")[0], "answer other");
    assert_eq!(story.pass(300_000), [""; 0], "it has answered since");
}

#[test]
fn what_was_given_up_takes_the_room_of_one_call_until_it_is_answered() {
    let mut story = Story::of(proven(2));
    story.arrive("slow", false, None);
    story.pass(29_000);
    story.arrive("a", false, None);
    story.pass(1_000);
    assert_eq!(story.arrive("b", false, None), [""; 0], "there is no room");
    assert_eq!(late(&mut story, "slow"), ["give b to 1"]);
}

#[test]
fn a_worker_full_of_calls_that_were_given_up_is_stopped() {
    let mut story = Story::of(proven(2));
    story.arrive("a", false, None);
    story.pass(1_000);
    story.arrive("b", false, None);
    assert_eq!(story.pass(29_000), ["give up a in 1", "fail a timeout"]);
    let said = story.pass(1_000);
    assert_eq!(said, ["stop 1 Timeout", "fail b timeout", "start 2"]);
}

#[test]
fn a_worker_that_answers_nobody_for_another_timeout_is_stopped() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    assert_eq!(story.pass(30_000), ["give up slow in 1", "fail slow timeout"]);
    assert_eq!(story.pass(29_000), [""; 0]);
    assert_eq!(story.call("again"), ["give again to 1"]);
    assert_eq!(story.pass(1_000), ["stop 1 Timeout", "start 2"], "`again` may run twice");
    assert_eq!(story.ready(2), ["give again to 2"]);
}

#[test]
fn a_call_that_may_not_run_twice_keeps_a_silent_worker_and_no_other_joins_it() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    story.pass(45_000);
    story.arrive("once", false, None);
    assert_eq!(story.pass(15_000), ["start 2"], "another one is started in its place");
    assert_eq!(story.arrive("next", false, None), [""; 0], "it answers nobody");
    assert_eq!(story.good(1, "once")[0], "answer once");
}

#[test]
fn an_idle_worker_that_answers_again_is_kept() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    story.pass(45_000);
    late(&mut story, "slow");
    assert_eq!(story.pass(Duration::from_hours(1).as_millis().try_into().expect("small")), [""; 0]);
}

#[test]
fn where_calls_are_sent_ahead_those_behind_one_that_ran_over_are_put_back() {
    let rules = Rules { in_order: false, ..rules() };
    let mut story = Story::sending_ahead_by(&rules);
    story.arrive("hangs", false, None);
    story.now += Duration::from_micros(1);
    assert_eq!(story.call("behind"), ["give behind to 1"]);
    let said = story.pass(30_000);
    assert_eq!(said, ["stop 1 Timeout", "fail hangs timeout", "start 2"]);
    assert_eq!(story.ready(2), ["give behind to 2"]);
}

#[test]
fn a_silent_worker_whose_call_runs_over_is_stopped_at_once() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    assert_eq!(story.pass(30_000), ["give up slow in 1", "fail slow timeout"]);
    story.arrive("other", false, None);
    let said = story.pass(30_000);
    assert_eq!(said, ["stop 1 Timeout", "fail other timeout", "start 2"]);
}

#[test]
fn a_silent_worker_is_stopped_although_it_holds_a_call_that_nobody_waits_for() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    story.pass(45_000);
    story.arrive("once", false, None);
    story.pass(10_000);
    story.leave("once");
    let said = story.pass(5_000);
    assert_eq!(said, ["stop 1 Timeout", "fail once worker_lost", "start 2"]);
}

#[test]
fn a_silent_worker_stops_when_its_last_call_is_given_up() {
    let mut story = Story::of(proven(3));
    story.arrive("slow", false, None);
    story.pass(45_000);
    story.arrive("once", false, None);
    assert_eq!(story.pass(15_000), ["start 2"], "another one is started in its place");
    let said = story.pass(15_000);
    assert_eq!(said, ["give up once in 1", "fail once timeout", "stop 1 Timeout"]);
}

#[test]
fn a_call_that_would_not_be_put_back_any_longer_keeps_a_silent_worker() {
    let rules = Rules { retries: 0, ..proven(3) };
    let mut story = Story::of(rules.clone());
    story.arrive("slow", false, None);
    story.pass(41_000);
    assert_eq!(story.call("again"), ["give again to 1"]);
    // The worker is silent after 80 s, the call runs over after 81 s, and is put back for 76 s.
    assert_eq!(story.change(Rules { timeout: Duration::from_secs(40), ..rules }), [""; 0]);
    assert_eq!(story.pass(39_000), ["start 2"], "it is not stopped");
    assert_eq!(story.good(1, "again")[0], "answer again");
}

/// Workers that send ahead; the first one holds `head`, and `behind`, which may run twice.
fn ahead(workers: usize, head: &'static str) -> Story {
    let rules = Rules { least: workers, most: workers, ..by_proof() };
    let mut story = Story::sending_ahead_by(&rules);
    story.arrive(head, false, None);
    story.now += Duration::from_micros(1);
    story
}

fn by_proof() -> Rules {
    Rules { in_order: false, in_flight: InFlight::Auto, retries: 0, ..rules() }
}

#[test]
fn a_worker_that_may_not_be_stopped_and_has_no_room_left_is_replaced() {
    let mut story = ahead(1, "once");
    assert_eq!(story.call("behind"), ["give behind to 1"]);
    story.leave("behind");
    let said = story.pass(10_000);
    assert_eq!(said, ["give up behind in 1", "fail behind timeout", "start 2"]);
    assert_eq!(story.good(1, "once"), ["answer once", "stop 1 Timeout"]);
}

/// Two workers: 2 holds `long`, which runs over, and behind it `moved`, which 1 holds too.
fn rescued() -> Story {
    let mut story = Story::sending_ahead_by(&Rules { least: 2, most: 2, ..by_proof() });
    story.calls(&["long", "a", "b", "moved"]);
    story.good(1, "a");
    story.good(1, "b");
    assert_eq!(story.pass(1), ["give moved to 1"]);
    story
}

#[test]
fn a_call_given_up_in_one_worker_may_be_answered_by_another() {
    let mut story = rescued();
    story.change(Rules { least: 2, most: 2, in_flight: InFlight::Fixed(3), ..by_proof() });
    let said = story.pass(29_999);
    assert_eq!(said, ["give up long in 2", "fail long timeout", "give up moved in 2"]);
    assert_eq!(story.good(1, "moved")[0], "answer moved");
}

#[test]
fn a_call_given_up_in_its_worker_may_wait_for_another() {
    let rules = Rules { queue_wait: Duration::from_mins(1), ..by_proof() };
    let mut story = Story::sending_ahead_by(&rules);
    story.calls(&["long", "moved"]);
    assert_eq!(story.pass(1), [""; 0], "it waits again");
    story.change(Rules { in_flight: InFlight::Fixed(3), ..rules });
    story.state.part_with(WorkerId(1));
    let said = story.pass(30_000);
    let given_up = ["give up long in 1", "fail long timeout", "give up moved in 1"];
    assert_eq!(said, [&["start 2"], &given_up[..], &["stop 1 Recycled"]].concat());
    assert_eq!(story.ready(2), ["give moved to 2"]);
}

#[test]
fn a_call_that_another_worker_has_keeps_no_worker() {
    let mut story = rescued();
    let timeout = Duration::from_mins(1);
    story.change(Rules { least: 2, most: 2, timeout, ..by_proof() });
    story.pass(26_000);
    story.leave("long");
    // It is too late for `moved` to be put back, and not yet too late for it to be answered.
    let said = story.pass(10_000);
    assert_eq!(said, ["stop 2 Timeout", "fail long timeout", "start 3"]);
    assert_eq!(story.good(1, "moved")[0], "answer moved");
}

/// It would wait for nobody once its worker is stopped.
#[test]
fn a_call_whose_second_wait_ends_keeps_its_worker() {
    let mut story = Story::sending_ahead_by(&by_proof());
    story.calls(&["long", "moved"]);
    let minute = Duration::from_mins(1);
    story.change(Rules { queue_wait: minute, timeout: minute, ..by_proof() });
    story.pass(25_000);
    story.leave("long");
    let said = story.pass(10_000);
    assert_eq!(said, ["give up long in 1", "fail long timeout", "start 2"]);
    assert_eq!(story.good(1, "moved")[0], "answer moved");
}
