//! What is promised where servers share a pool, one test a promise: each event, for a call that may
//! run twice and for one that may not.

use std::time::Duration;

use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

use super::cluster::{At, Cluster, Loses, Told};
use super::model::Serial;
use super::story::rules;

const MILLI: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

/// An owner without workers, and hosts with one each. A call takes as long as is said.
struct Scene {
    cluster: Cluster,
    owner: At,
}

impl Scene {
    fn of(hosts: usize, work: Duration) -> Self {
        Self::with(Rules { least: 0, most: 0, ..rules() }, hosts, work)
    }

    fn with(own: Rules, hosts: usize, work: Duration) -> Self {
        let mut cluster = Cluster::new(1, std::env::var_os("SEED").is_some());
        let micros = u64::try_from(work.as_micros()).expect("short");
        cluster.habits.service = (micros, micros);
        let owner = cluster.add(own).expect("it holds");
        let mut scene = Self { cluster, owner };
        for _ in 0..hosts {
            scene.host();
        }
        scene.pass(100 * MILLI);
        scene
    }

    fn host(&mut self) -> At {
        let rules = Rules { in_flight: InFlight::Fixed(1), ..rules() };
        self.cluster.add(rules).expect("it holds")
    }

    fn ask(&mut self, idempotent: bool) -> Serial {
        self.cluster.ask(self.owner, idempotent, 0).expect("it holds")
    }

    fn pass(&mut self, time: Duration) {
        self.cluster.pass(time).expect("every rule holds");
    }

    /// What the caller was told, how long after it asked, and how often the call ran.
    fn told(&self, serial: Serial) -> (Option<Told>, Duration, u32) {
        let ask = &self.cluster.asks[serial];
        let first = ask.told.first();
        let after = first.map(|(at, _)| at.duration_since(ask.asked)).unwrap_or_default();
        (first.map(|(_, told)| *told), after, ask.runs)
    }

    /// The server whose worker has a call.
    fn at_work(&self) -> At {
        let works = |at: &At| self.cluster.is_at_work(*at);
        (0..self.cluster.nodes.len()).find(works).expect("a worker has it")
    }

    fn is_empty(&self) -> bool {
        let alive = self.cluster.nodes.iter().filter(|node| node.is_alive);
        alive.into_iter().all(|node| {
            node.state.calls_open() == 0 && node.owner.runs() == 0 && node.host.is_empty()
        })
    }
}

const LOST: Option<Told> = Some(Told::Failed("worker_lost"));
const DONE: Option<Told> = Some(Told::Answer);

#[test]
fn where_a_worker_dies_the_call_is_tried_again_if_it_may_run_twice_and_has_tries_left() {
    let mut scene = Scene::of(2, 50 * MILLI);
    let (twice, once) = (scene.ask(true), scene.ask(false));
    scene.pass(10 * MILLI);
    for at in [1, 2] {
        scene.cluster.crash(at).expect("it holds");
    }
    scene.pass(LONG);
    assert_eq!((scene.told(twice).0, scene.told(twice).2), (DONE, 2));
    assert_eq!((scene.told(once).0, scene.told(once).2), (LOST, 1));
    let again = scene.ask(true);
    for _ in 0..2 {
        scene.pass(10 * MILLI);
        let at = scene.at_work();
        scene.cluster.crash(at).expect("it holds");
    }
    scene.pass(LONG);
    assert_eq!((scene.told(again).0, scene.told(again).2), (LOST, 2), "one retry");
    assert!(scene.is_empty());
}

#[test]
fn where_a_host_is_killed_the_call_runs_elsewhere_within_a_second_or_so_or_fails() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(2, 700 * MILLI);
        let call = scene.ask(idempotent);
        scene.pass(100 * MILLI);
        let at = scene.at_work();
        scene.cluster.kill(at);
        scene.pass(LONG);
        let (told, after, runs) = scene.told(call);
        if idempotent {
            assert_eq!((told, runs), (DONE, 2));
            assert!(after < 2200 * MILLI, "{after:?}");
        } else {
            assert_eq!((told, runs), (LOST, 1));
            assert!(after < 1500 * MILLI, "{after:?}");
        }
        assert!(scene.is_empty());
    }
}

#[test]
fn where_a_host_falls_silent_the_call_runs_elsewhere_after_three_seconds_or_fails() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(2, 200 * MILLI);
        let call = scene.ask(idempotent);
        scene.pass(50 * MILLI);
        let (at, owner) = (scene.at_work(), scene.owner);
        scene.cluster.net.cuts.push((at, owner));
        scene.pass(LONG);
        let (told, after, runs) = scene.told(call);
        assert!(after > 2900 * MILLI && after < 3800 * MILLI, "{after:?}");
        let expected = if idempotent { (DONE, 2) } else { (LOST, 1) };
        assert_eq!((told, runs), expected);
        scene.cluster.net.cuts.clear();
        scene.pass(5 * LONG);
        assert!(scene.is_empty());
    }
}

#[test]
fn a_grant_that_is_lost_is_found_out_within_half_a_second() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(2, 10 * MILLI);
        scene.cluster.net.next = Some(Loses::Grant);
        let call = scene.ask(idempotent);
        scene.pass(LONG);
        let (told, after, runs) = scene.told(call);
        assert!(after < 500 * MILLI, "{after:?}");
        assert_eq!((told, runs), (DONE, 1), "its host is sure that it never had it");
        assert!(scene.is_empty());
    }
}

#[test]
fn a_grant_that_is_refused_goes_back_whether_the_call_may_run_twice_or_not() {
    for (idempotent, is_lost) in [(true, false), (false, false), (false, true)] {
        let mut scene = Scene::of(1, 10 * MILLI);
        scene.cluster.net.delay = (100_000, 100_000);
        scene.cluster.net.next = is_lost.then_some(Loses::NotBegun);
        let call = scene.ask(idempotent);
        // It has claimed the call, and is on its way out when it gets it.
        scene.pass(150 * MILLI);
        scene.cluster.drain(1).expect("it holds");
        scene.host();
        scene.pass(LONG);
        let (told, after, runs) = scene.told(call);
        assert_eq!((told, runs), (DONE, 1), "{idempotent} {is_lost}");
        assert!(after < 2 * LONG, "{after:?}");
        assert!(scene.is_empty());
    }
}

#[test]
fn a_host_that_ends_once_it_is_empty_has_refused_what_it_had_claimed() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(1, 10 * MILLI);
        scene.cluster.net.delay = (60_000, 60_000);
        let call = scene.ask(idempotent);
        // The claim is on its way, and the grant comes 100 ms later.
        scene.pass(80 * MILLI);
        scene.cluster.drain(1).expect("it holds");
        scene.host();
        while !scene.cluster.nodes[1].host.is_empty() {
            scene.pass(MILLI);
        }
        scene.cluster.kill(1);
        scene.pass(LONG);
        assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1), "{idempotent}");
        assert!(scene.is_empty());
    }
}

#[test]
fn an_answer_that_is_lost_is_told_again_when_the_owner_asks() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(1, 10 * MILLI);
        scene.cluster.net.next = Some(Loses::Answer);
        let call = scene.ask(idempotent);
        scene.pass(LONG);
        let (told, after, runs) = scene.told(call);
        assert_eq!((told, runs), (DONE, 1));
        assert!(after < 600 * MILLI, "{after:?}");
        assert!(scene.is_empty());
    }
}

/// All servers lose their connection, and have it back after this time.
fn nats_restarts(scene: &mut Scene, down: Duration) {
    for at in 0..scene.cluster.nodes.len() {
        scene.cluster.connect(at, false, Duration::ZERO);
    }
    scene.pass(down);
    for at in 0..scene.cluster.nodes.len() {
        scene.cluster.connect(at, true, MILLI * at as u32);
    }
}

#[test]
fn where_nats_restarts_nothing_is_lost() {
    for idempotent in [true, false] {
        for work in [100 * MILLI, 6000 * MILLI] {
            let mut scene = Scene::of(2, work);
            let call = scene.ask(idempotent);
            scene.pass(10 * MILLI);
            nats_restarts(&mut scene, 2900 * MILLI);
            let waiting = scene.ask(idempotent);
            scene.pass(LONG);
            for call in [call, waiting] {
                assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1), "{work:?}");
            }
            assert!(scene.is_empty());
        }
    }
}

#[test]
fn while_nats_is_away_own_workers_serve_and_calls_that_are_away_have_their_time() {
    let own = Rules { timeout: 20_000 * MILLI, queue_wait: LONG, ..rules() };
    let mut scene = Scene::with(own, 1, 15_000 * MILLI);
    let calls = [scene.ask(false), scene.ask(false)];
    scene.pass(50 * MILLI);
    scene.cluster.habits.service = (1_000, 1_000);
    nats_restarts(&mut scene, 16_000 * MILLI);
    scene.pass(2000 * MILLI);
    for call in calls {
        assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1));
    }
    let mut scene = Scene::of(1, 1000 * MILLI);
    let call = scene.ask(false);
    scene.pass(50 * MILLI);
    nats_restarts(&mut scene, 2 * LONG);
    assert_eq!(scene.told(call).0, Some(Told::Failed("timeout")));
    assert!(scene.told(call).1 >= rules().timeout);
    scene.pass(LONG);
    assert!(scene.is_empty());
}

#[test]
fn where_an_owner_dies_its_calls_run_on_no_longer_than_abandoned_ones() {
    let mut scene = Scene::of(1, 60_000 * MILLI);
    scene.ask(true);
    scene.pass(50 * MILLI);
    let (host, owner) = (scene.at_work(), scene.owner);
    scene.cluster.kill(owner);
    scene.pass(rules().abandoned);
    assert!(scene.cluster.is_at_work(host));
    scene.pass(4000 * MILLI);
    assert!(!scene.cluster.is_at_work(host), "three seconds until it is silent, then ten");
}

#[test]
fn where_a_host_drains_nothing_is_lost_and_it_is_empty_soon_after_its_last_call() {
    for idempotent in [true, false] {
        let mut scene = Scene::of(2, 300 * MILLI);
        let calls = [(); 6].map(|()| scene.ask(idempotent));
        scene.pass(50 * MILLI);
        let host = scene.at_work();
        scene.cluster.drain(host).expect("it holds");
        scene.pass(1000 * MILLI);
        assert!(scene.cluster.nodes[host].host.is_empty());
        scene.pass(LONG);
        for call in calls {
            assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1));
        }
        assert!(scene.is_empty());
    }
}

#[test]
fn a_large_question_and_its_answer_arrive_whole_though_nats_restarts_on_the_way() {
    for idempotent in [true, false] {
        // Each part takes a while, so that the restart comes in the middle.
        for after in [20, 60, 100, 140, 180] {
            let mut scene = Scene::of(1, MILLI);
            scene.cluster.net.delay = (5_000, 5_000);
            let (owner, sizes) = (scene.owner, (300, 300));
            let call = scene.cluster.ask_much(owner, idempotent, 0, sizes).expect("it holds");
            scene.pass(after * MILLI);
            nats_restarts(&mut scene, 1000 * MILLI);
            scene.pass(LONG);
            assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1), "{after} ms");
            assert!(scene.is_empty());
        }
    }
}

#[test]
fn a_reader_that_stands_still_holds_the_worker_of_the_host_and_gets_all_of_it_later() {
    let mut scene = Scene::of(1, MILLI);
    let (owner, host) = (scene.owner, 1);
    let call = scene.cluster.ask(owner, true, 40).expect("it holds");
    scene.pass(10 * MILLI);
    // From now on no word comes through that anything was read.
    scene.cluster.net.cuts.push((owner, host));
    scene.pass(1000 * MILLI);
    assert!(scene.cluster.is_at_work(host), "it has written what goes, and waits");
    assert!(scene.cluster.asks[call].has_begun && scene.told(call).0.is_none());
    scene.cluster.net.cuts.clear();
    scene.pass(LONG);
    assert_eq!((scene.told(call).0, scene.told(call).2), (DONE, 1));
    assert!(scene.is_empty());
}

#[test]
fn an_answer_in_parts_is_cut_off_where_its_host_dies_and_is_not_begun_again() {
    let mut scene = Scene::of(2, 100 * MILLI);
    let call = scene.cluster.ask(scene.owner, true, 5).expect("it holds");
    scene.pass(250 * MILLI);
    assert!(scene.cluster.asks[call].has_begun);
    let at = scene.at_work();
    scene.cluster.kill(at);
    scene.pass(LONG);
    assert_eq!((scene.told(call).0, scene.told(call).2), (Some(Told::Failed("cut")), 1));
    assert!(scene.is_empty());
}

#[test]
fn a_caller_who_leaves_frees_the_worker_of_the_host_also_if_that_is_told_in_vain() {
    let mut scene = Scene::of(1, 60_000 * MILLI);
    let call = scene.ask(false);
    scene.pass(50 * MILLI);
    let (host, owner) = (scene.at_work(), scene.owner);
    scene.cluster.net.cuts.push((owner, host));
    scene.cluster.leave(call).expect("it holds");
    scene.cluster.net.cuts.clear();
    scene.pass(rules().abandoned + 1000 * MILLI);
    assert!(!scene.cluster.is_at_work(host));
    scene.pass(LONG);
    assert!(scene.is_empty());
}

#[test]
fn an_owner_with_few_calls_is_not_starved_by_one_with_many() {
    let mut scene = Scene::of(2, 20 * MILLI);
    let few = scene.cluster.add(Rules { least: 0, most: 0, ..rules() }).expect("it holds");
    let mut own = Vec::new();
    for _ in 0..200 {
        let waits = |at: At, scene: &Scene| scene.cluster.nodes[at].state.calls_open();
        while waits(scene.owner, &scene) < 64 {
            scene.ask(true);
        }
        while waits(few, &scene) < 2 {
            own.push(scene.cluster.ask(few, true, 0).expect("it holds"));
        }
        scene.pass(10 * MILLI);
    }
    let answered = own.iter().filter(|call| scene.told(**call).0 == DONE).count();
    assert!(answered > 40, "{answered} of 200 calls that were answered in two seconds");
}
