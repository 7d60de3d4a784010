//! Questions and answers that are too large for one message of NATS go to other hosts in parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::large_questions::numbered;
use crate::spread::{shared, shared_at, start_host, wait_for_slots};
use crate::support::bridge::Bridge;
use crate::support::nats::Nats;
use crate::support::{Over, Server, pause, whole_machine};

const LARGE: usize = 16 << 20;
const BODIES: &str = "[limits]\nbody = \"16MiB\"";

/// A front end without workers, and a host whose workers say what they are asked.
fn pair(nats: &Nats, keys: &str) -> (Server, Server) {
    let keys = format!("retries = 0\nmessage_max = \"16MiB\"\n{keys}");
    let front = shared(nats, &format!("workers = 0\n{keys}")).top(BODIES).start_unready();
    let host = start_host(shared(nats, &format!("workers = 2\n{keys}")).worker("cat"));
    wait_for_slots(&front, 2);
    (front, host)
}

#[test]
fn sixteen_mib_cross_both_ways_beside_small_calls_that_are_not_held_up() {
    let _alone = whole_machine();
    let Some(nats) = Nats::start("") else { return };
    let (front, host) = pair(&nats, "timeout = \"5m\"");
    let text = numbered(LARGE);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(front.answers("small").body, "small");
                answered += 1;
            }
            answered
        });
        let until_here = Over(&over);
        // It may not run twice, and goes as a whole.
        let answer = front.client().post("/", &text);
        drop(until_here);
        assert_eq!((answer.status, answer.body.len()), (200, LARGE));
        assert!(answer.body == text, "it came back as another");
        let answered = others.join().expect("others saw only right answers");
        assert!(answered > 3, "{answered} small calls were answered meanwhile");
    });
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn a_nats_server_that_takes_small_messages_only_carries_large_bodies() {
    let text = numbered(600_000);
    for most in ["64KB", "4096"] {
        let Some(nats) = Nats::start(&format!("max_payload: {most}")) else { return };
        let (front, _host) = pair(&nats, "");
        let answer = front.client().post("/", &text);
        assert!(answer.status == 200 && answer.body == text, "{most}: {}", answer.status);
        assert_eq!(front.answers("small").body, "small");
        assert_eq!(front.status()["spread"]["last_error"], serde_json::Value::Null, "{most}");
    }
}

#[test]
fn what_was_on_its_way_goes_on_where_nats_comes_back() {
    let _alone = whole_machine();
    let Some(mut nats) = Nats::start("") else { return };
    let (front, _host) = pair(&nats, "timeout = \"5m\"");
    let text = numbered(LARGE);
    for _ in 0..3 {
        let pending = front.client().post_later("/", &text);
        front.wait_until("it is away", |it| it.status()["pools"][0]["away"]["calls"] == 1);
        nats.start_again();
        let answer = pending.answer();
        assert!(answer.status == 200 && answer.body == text, "{}", answer.status);
    }
}

#[test]
fn a_host_that_takes_less_refuses_a_question_and_its_owner_an_answer() {
    let Some(nats) = Nats::start("") else { return };
    let of = |workers: u32, most: &str| {
        shared(&nats, &format!("workers = {workers}\nretries = 0\nmessage_max = \"{most}\""))
    };
    let large = of(0, "4MiB").start_unready();
    let small = of(0, "64KiB").start_unready();
    let grows = r"python3 -c 'import sys
for line in sys.stdin: print(line.strip() * 100, flush=True)'";
    let host = start_host(of(1, "2MiB").worker(grows));
    for front in [&large, &small] {
        wait_for_slots(front, 1);
    }
    let refused = large.client().post("/", &numbered(3 << 20));
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
    let refused = small.client().post("/", &"x".repeat(12_000));
    assert_eq!((refused.status, refused.code().as_str()), (502, "bad_answer"), "{refused:?}");
    assert_eq!(small.client().post("/", "x").body, "x".repeat(100));
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

/// Answers a number with as many bytes and 10 KB of headers, and all else with a failure of 100 KB.
const WIDE: &str = r#"
import json, sys
headers = {"x-%d" % number: "h" * 1000 for number in range(10)}
for line in sys.stdin:
    if line.strip().isdigit():
        print(json.dumps({"headers": headers, "body": "b" * int(line)}), flush=True)
    else:
        print("e" + "m" * 100000, flush=True)
"#;

#[test]
fn an_answer_whose_headers_leave_its_body_too_little_room_arrives_and_so_does_a_long_failure() {
    let Some(nats) = Nats::start("") else { return };
    let plan = |workers: u32| {
        let keys = "reply = \"http\"\nerror = \"e{message}\"\nmessage_max = \"4MiB\"";
        let keys = format!("workers = {workers}\nretries = 0\n{keys}");
        shared(&nats, &keys).worker("python3 wide.py").file("wide.py", WIDE)
    };
    let front = plan(0).start_unready();
    let _host = start_host(plan(1));
    wait_for_slots(&front, 1);
    // A message has 1,048,576 bytes, and the line before the body has the headers.
    for size in [1_030_000, 1_040_000, 1_044_480] {
        let answer = front.client().post("/", &size.to_string());
        assert_eq!((answer.status, answer.body.len()), (200, size), "{}", answer.code());
        assert_eq!(answer.header("x-9").len(), 1000);
    }
    let failed = front.client().post("/", "x");
    assert_eq!((failed.status, failed.code().as_str()), (422, "program_error"));
    let said = failed.detail();
    assert!(said.len() > 60_000 && said.contains("mmm") && said.ends_with('…'), "{}", said.len());
}

/// Answers with 4 MB once it is told to.
const HELD: &str = r#"
import os, sys, time
for line in sys.stdin:
    open("begun", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.003)
    print("x" * 4000000, flush=True)
"#;

#[test]
fn a_host_that_was_reloaded_still_has_the_answer_that_its_owner_has_a_part_of() {
    let Some(nats) = Nats::start("") else { return };
    let bridge = Bridge::to(&nats);
    let keys = "retries = 0\nmessage_max = \"16MiB\"";
    let front = shared_at(&bridge.url(), &format!("workers = 0\n{keys}")).start_unready();
    let plan = shared(&nats, &format!("workers = 1\nenv = {{ COLOUR = \"red\" }}\n{keys}"));
    let host = start_host(plan.worker("python3 held.py").file("held.py", HELD));
    wait_for_slots(&front, 1);
    let pending = front.client().post_later("/", "once");
    host.wait_until("it is at work", |host| host.has("begun"));
    host.rewrite("red", "blue");
    let reloaded = host.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    // The host goes no further than a window of a megabyte.
    bridge.holds("more");
    host.put("go");
    front.wait_until("the first parts have come", |_| bridge.has_held());
    pause(Duration::from_millis(300), "a pool without calls and owners is gone by then");
    bridge.lets_go();
    let answer = pending.answer();
    assert_eq!((answer.status, answer.body.len()), (200, 4_000_000), "{}", answer.code());
    let exits = "httpipe_worker_exits_total";
    host.wait_until("and then its worker leaves", |host| host.metric(exits) == 1.0);
}
