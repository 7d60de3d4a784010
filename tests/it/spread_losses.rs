//! One chosen message between servers is lost, late or slow: what callers see is what was promised.

use std::time::Duration;

use crate::spread::{shared, shared_at, start_host, wait_for_slots};
use crate::support::bridge::Bridge;
use crate::support::nats::Nats;
use crate::support::{Server, pause};

const JOURNAL: &str = "demo-worker --journal seen";
const BUSY: &str = r#"httpipe_workers{pool="main",state="busy"}"#;
const NOT_BEGUN: &str = r#"httpipe_spread_calls_total{pool="main",result="not_begun"}"#;
const UNKNOWN: &str = r#"httpipe_spread_calls_total{pool="main",result="unknown"}"#;

/// A front end that comes over this way, where nothing is tried again that a worker has seen.
fn front_over(bridge: &Bridge) -> Server {
    shared_at(&bridge.url(), "workers = 0\nretries = 0").start_unready()
}

#[test]
fn a_grant_that_is_lost_is_given_again_and_the_call_runs_once() {
    let Some(nats) = Nats::start("") else { return };
    let bridge = Bridge::to(&nats);
    let front = front_over(&bridge);
    let host = start_host(shared(&nats, "workers = 1").worker(JOURNAL));
    wait_for_slots(&front, 1);
    bridge.loses("grant");
    assert_eq!(front.client().get("/?input=many").status, 200);
    bridge.loses("grant");
    // The host is sure that it has had no such call, so this one may be given away again as well.
    assert_eq!(front.client().post("/", "once").status, 200);
    assert_eq!(bridge.lost(), 2);
    assert_eq!(front.metric(NOT_BEGUN), 2.0);
    assert_eq!(host.seen(), ["many", "once"]);
}

/// Answers with 14 MiB once it is told to, so that five of them are more than a host keeps.
const LARGE: &str = r#"
import os, sys, time
for line in sys.stdin:
    line = line.strip()
    open("seen", "a").write(line + "\n")
    while line.startswith("large") and not os.path.exists("go"):
        time.sleep(0.003)
    print("x" * (14 << 20) if line.startswith("large") else line, flush=True)
"#;

#[test]
fn where_a_host_has_forgotten_how_calls_ended_a_grant_that_is_lost_fails_what_may_not_run_twice() {
    let Some(nats) = Nats::start("") else { return };
    let (way, other_way) = (Bridge::to(&nats), Bridge::to(&nats));
    let silent = front_over(&way);
    let large = shared(&nats, "workers = 5").worker("python3 large.py").file("large.py", LARGE);
    let host = start_host(large);
    wait_for_slots(&silent, 5);
    let client = silent.client();
    let left: Vec<_> = (0..5).map(|_| client.get_later("/?input=large")).collect();
    host.wait_until("all are at work", |it| it.seen().len() == 5);
    silent.signal("STOP");
    host.put("go");
    host.wait_for_count(BUSY, 0.0);
    let other = front_over(&other_way);
    wait_for_slots(&other, 5);
    other_way.loses("grant");
    // The host claims again once it has forgotten, which says nothing of the calls of others.
    assert_eq!(other.client().post("/", "other").body, "other");
    assert!(other_way.lost() == 1 && other.metric(NOT_BEGUN) >= 1.0);
    silent.signal("CONT");
    for call in left {
        call.answer();
    }
    wait_for_slots(&silent, 5);
    let before = silent.metric(UNKNOWN);
    way.loses("grant");
    let failed = silent.client().post("/", "once");
    assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"));
    way.loses("grant");
    assert_eq!(silent.client().get("/?input=many").body, "many");
    assert_eq!((way.lost(), silent.metric(UNKNOWN) - before), (2, 2.0));
    let seen = host.seen();
    assert!(!seen.contains(&"once".to_owned()), "it may have run, and has not");
    assert_eq!(seen.last().map(String::as_str), Some("many"));
}

#[test]
fn a_grant_that_comes_too_late_is_refused_and_the_call_goes_back() {
    let Some(nats) = Nats::start("") else { return };
    let bridge = Bridge::to(&nats);
    let front = front_over(&bridge);
    let host = start_host(shared(&nats, "workers = 1").worker(JOURNAL));
    wait_for_slots(&front, 1);
    for ask in ["many", "once"] {
        bridge.holds("grant");
        let client = front.client();
        let pending = match ask {
            "many" => client.get_later("/?input=many"),
            _ => client.post_later("/", ask),
        };
        front.wait_until("the grant is on its way", |_| bridge.has_held());
        pause(Duration::from_millis(400), "a claim lasts 250 ms");
        bridge.lets_go();
        assert_eq!(pending.answer().body, ask);
    }
    assert!(front.metric(NOT_BEGUN) >= 2.0);
    assert_eq!(host.seen(), ["many", "once"]);
}

#[test]
fn an_answer_that_is_lost_is_told_again_and_the_call_runs_once() {
    let Some(nats) = Nats::start("") else { return };
    let bridge = Bridge::to(&nats);
    let front = shared(&nats, "workers = 0\nretries = 0").start_unready();
    let host = start_host(shared_at(&bridge.url(), "workers = 1").worker(JOURNAL));
    wait_for_slots(&front, 1);
    bridge.loses("answer");
    assert_eq!(front.client().get("/?input=many").body, "many");
    bridge.loses("answer");
    assert_eq!(front.client().post("/", "once").body, "once");
    assert_eq!(bridge.lost(), 2);
    assert_eq!(host.seen(), ["many", "once"]);
}

#[test]
fn a_part_of_a_question_or_an_answer_that_is_lost_is_sent_again() {
    let Some(nats) = Nats::start("max_payload: 64KB") else { return };
    let (near, far) = (Bridge::to(&nats), Bridge::to(&nats));
    let front = front_over(&near);
    let host = start_host(shared_at(&far.url(), "workers = 1").worker("cat"));
    wait_for_slots(&front, 1);
    let text = crate::large_questions::numbered(600_000);
    for bridge in [&near, &far] {
        bridge.loses("part");
        let answer = front.client().post("/", &text);
        assert!(answer.status == 200 && answer.body == text, "{}", answer.status);
        assert_eq!(bridge.lost(), 1);
    }
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn calls_cross_a_slow_nats_and_none_runs_twice() {
    let Some(nats) = Nats::start("") else { return };
    let (near, far) = (Bridge::to(&nats), Bridge::to(&nats));
    let front = front_over(&near);
    let host = start_host(shared_at(&far.url(), "workers = 2").worker(JOURNAL));
    wait_for_slots(&front, 2);
    for bridge in [&near, &far] {
        bridge.slows(Duration::from_millis(20));
    }
    let client = front.client();
    let pending: Vec<_> =
        (0..8).map(|call| client.post_later("/", &format!("once{call}"))).collect();
    for (call, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.answer().body, format!("once{call}"));
    }
    assert_eq!(host.seen().len(), 8);
    assert_eq!(front.metric(r#"httpipe_spread_hosts_lost_total{pool="main"}"#), 0.0);
}

/// Each half knows only its own hosts. A host of the other half is lost, as one that is cut off.
#[test]
fn where_a_cluster_of_nats_splits_each_half_serves_and_they_come_together_again() {
    let Some(near_nats) = Nats::start_cluster() else { return };
    let between = Bridge::to_address(&near_nats.cluster_address());
    let route = between.url().replace("nats://", "");
    let Some(far_nats) = Nats::join_at(&route) else { return };
    let front = shared(&near_nats, "workers = 0\nretries = 1").start_unready();
    let far = start_host(shared(&far_nats, "workers = 2").worker(JOURNAL));
    wait_for_slots(&front, 2);
    let client = front.client();
    let once = client.post_later("/", "sleep 9000 once");
    let again = client.get_later("/?input=sleep+9000+again");
    far.wait_until("both are there", |it| it.seen().len() == 2);
    let near = start_host(shared(&near_nats, "workers = 2").worker(JOURNAL));
    wait_for_slots(&front, 4);
    between.cut();
    let failed = once.answer();
    assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"));
    near.wait_until("it has the call that may run twice", |it| it.seen() == ["sleep 9000 again"]);
    wait_for_slots(&front, 2);
    between.heal();
    wait_for_slots(&front, 4);
    assert_eq!(again.answer().body, "sleep 9000 again");
    let mut seen = far.seen();
    seen.sort();
    assert_eq!(seen, ["sleep 9000 again", "sleep 9000 once"], "each ran there once");
}
