//! Answers in parts that come from other hosts: as they come, to their end or to the fault that cuts
//! them off, no faster than they are read, and no longer than somebody reads.

use std::time::Duration;

use crate::progress::QUARTER;
use crate::spread::{shared, shared_at, start_host, wait_for_slots};
use crate::streaming::PARTS;
use crate::support::bridge::Bridge;
use crate::support::nats::Nats;
use crate::support::{Plan, Server, pause};

const EVENTS: &[&str] = &["Accept: text/event-stream"];

fn streaming(nats: &Nats, keys: &str) -> Plan {
    streaming_at(&nats.url(), keys)
}

fn streaming_at(url: &str, keys: &str) -> Plan {
    shared_at(url, &format!("stream = \"until:END\"\n{keys}"))
        .worker("python3 parts.py")
        .file("parts.py", PARTS)
}

/// A front end without workers, and a host with one.
fn pair(nats: &Nats, keys: &str) -> (Server, Server) {
    let front = streaming(nats, &format!("workers = 0\n{keys}")).start_unready();
    let host = start_host(streaming(nats, &format!("workers = 1\n{keys}")));
    wait_for_slots(&front, 1);
    (front, host)
}

#[test]
fn parts_and_events_come_from_another_host_as_they_come_there() {
    let Some(nats) = Nats::start("") else { return };
    let (front, host) = pair(&nats, "");
    let mut caller = front.client().connect();
    caller.ask("POST", "/", &[], "step 2 part");
    host.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    host.put("go1");
    assert_eq!(caller.chunk().as_deref(), Some("part1\n"));
    assert_eq!(caller.chunk().as_deref(), Some(""));
    let whole = front.answers("3 a");
    assert_eq!((whole.status, &*whole.body), (200, "a0\na1\na2\n"));
    assert_eq!(front.answers("0 a").body, "");
    let none = front.client().request("POST", "/", EVENTS, "0 a");
    assert_eq!(none.body, "event: done\ndata: \n\n", "an answer without parts ends as one, too");
    let events = front.client().request("POST", "/", EVENTS, "2 a");
    assert_eq!(events.body, "data: a0\n\ndata: a1\n\nevent: done\ndata: \n\n");
    let ok = "httpipe_calls_total{outcome=\"ok\"}";
    front.wait_until("each was counted as one call", |it| it.metric(ok) == 5.0);
    assert_eq!(front.status()["pools"][0]["away"]["calls"], 0);
}

#[test]
fn before_the_first_part_a_failure_is_an_ordinary_one_and_after_it_the_stream_breaks() {
    let Some(nats) = Nats::start("") else { return };
    let (front, host) = pair(&nats, "retries = 2");
    let none = front.client().post("/", "0 die");
    assert_eq!((none.status, none.code().as_str()), (502, "worker_lost"));
    let mut caller = front.client().connect();
    caller.ask("GET", "/?input=2%20die", EVENTS, "");
    assert_eq!(caller.head().status, 200);
    let (rest, _) = caller.rest_and_end();
    assert!(rest.contains("data: die1\n\n"), "{rest}");
    assert!(rest.contains("event: failure\ndata: {"), "{rest}");
    assert!(rest.contains("\"code\":\"worker_lost\"") && rest.contains("exit code 3"), "{rest}");
    assert_eq!(front.answers("1 a").body, "a0\n");
    assert_eq!(host.metric("httpipe_worker_starts_total"), 3.0, "nothing was tried again");
}

#[test]
fn a_host_that_is_killed_in_the_middle_cuts_the_body_and_nothing_runs_again() {
    let Some(nats) = Nats::start("") else { return };
    let (front, mut first) = pair(&nats, "retries = 2");
    let mut caller = front.client().connect();
    caller.ask("GET", "/?input=step%202%20part", &[], "");
    first.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    let second = start_host(streaming(&nats, "workers = 1\nretries = 2"));
    first.signal("KILL");
    first.exit_code();
    assert_eq!(caller.chunk(), None, "the caller sees that it is cut off");
    assert_eq!(front.answers("1 a").body, "a0\n");
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    second.wait_until("it has answered that", |it| it.metric(elsewhere) == 1.0);
    let lost = "httpipe_calls_total{outcome=\"worker_lost\"}";
    assert_eq!(front.metric(lost), 1.0);
}

#[test]
fn a_part_that_is_lost_cuts_the_body_there_and_nothing_runs_again() {
    let Some(nats) = Nats::start("") else { return };
    let bridge = Bridge::to(&nats);
    let front = streaming(&nats, "workers = 0\nretries = 2").start_unready();
    let host = start_host(streaming_at(&bridge.url(), "workers = 1"));
    wait_for_slots(&front, 1);
    let mut caller = front.client().connect();
    caller.ask("GET", "/?input=step%203%20part", &[], "");
    host.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    bridge.loses("part");
    host.put("go1");
    front.wait_until("the second part is lost", |_| bridge.lost() == 1);
    host.put("go2");
    assert_eq!(caller.chunk(), None, "the caller sees that it is cut off");
    assert_eq!(front.answers("1 a").body, "a0\n");
    assert_eq!(host.metric("httpipe_worker_starts_total"), 1.0, "the worker has ended it in order");
}

#[test]
fn a_slow_reader_holds_back_the_worker_of_another_host_and_nothing_piles_up() {
    let Some(nats) = Nats::start("") else { return };
    let (front, host) = pair(&nats, "stream_buffer = \"64KiB\"\ntimeout = \"5m\"");
    let mut caller = front.client().connect();
    let before = [front.memory(), host.memory()];
    caller.ask("POST", "/", &[], "2500 flood");
    assert_eq!(caller.head().status, 200);
    // 25 MB are to come; the kernel's buffers and the window hold some.
    let sent = || host.read("sent").parse::<u32>().unwrap_or(0);
    host.wait_until("the worker stands still", |_| {
        let before = sent();
        pause(Duration::from_millis(300), "two looks at what is not to change");
        before > 0 && before == sent()
    });
    let last = sent();
    assert!(last < 2_200, "{last} parts were written though nobody read");
    for (server, before) in [&front, &host].into_iter().zip(before) {
        assert!(server.memory() < before + (16 << 20), "{before} then {}", server.memory());
    }
    let mut bytes = 0;
    while let Some(chunk) = caller.chunk().filter(|chunk| !chunk.is_empty()) {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 2_500 * 10_001, "and then it all comes");
}

/// The worker has written all of it, and most of that waits at the host for the reader.
#[test]
fn a_slow_reader_gets_all_of_it_from_a_host_that_was_reloaded_meanwhile() {
    let Some(nats) = Nats::start("") else { return };
    let keys = "timeout = \"5m\"\nretries = 0";
    let front = format!("workers = 0\nstream_buffer = \"64KiB\"\n{keys}");
    let front = streaming(&nats, &front).start_unready();
    let plan = format!("workers = 1\nstream_buffer = \"32MiB\"\nenv = {{ A = \"red\" }}\n{keys}");
    let host = start_host(streaming(&nats, &plan));
    wait_for_slots(&front, 1);
    let mut caller = front.client().connect();
    caller.ask("POST", "/", &[], "2500 flood");
    assert_eq!(caller.head().status, 200);
    host.wait_until("the worker has written all of it", |host| host.read("sent") == "2499");
    host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 0.0);
    host.rewrite("red", "blue");
    let reloaded = host.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    pause(Duration::from_millis(300), "a pool without calls and owners is gone by then");
    let mut bytes = 0;
    while let Some(chunk) = caller.chunk().filter(|chunk| !chunk.is_empty()) {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 2_500 * 10_001);
    host.wait_until("then its worker leaves", |it| it.metric("httpipe_worker_exits_total") == 1.0);
}

/// Yields parts until it is told to stop.
const ENDLESS: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "method" in message:
        open("cancelled", "w").close()
        continue
    more = not message.get("short")
    print(json.dumps({"id": message["id"], "more": more, "n": 0}), flush=True)
"#;

#[test]
fn a_caller_who_leaves_cancels_the_call_in_the_worker_of_another_host() {
    let Some(nats) = Nats::start("") else { return };
    let keys = "matching = \"json-id\"\njsonrpc = false\nstream = \"more\"\n\
        cancel = '{\"method\":\"cancel\",\"params\":{id}}'";
    let plan = |workers: u32| {
        shared(&nats, &format!("workers = {workers}\n{keys}"))
            .worker("python3 endless.py")
            .file("endless.py", ENDLESS)
    };
    let front = plan(0).start_unready();
    let host = start_host(plan(1));
    wait_for_slots(&front, 1);
    let mut caller = front.client().connect();
    caller.ask("POST", "/", &[], "{\"id\":\"x\"}");
    let head = caller.head();
    assert_eq!(head.status, 200, "{head:?} {:?}", caller.chunk());
    assert_eq!(caller.chunk().as_deref(), Some("{\"id\": \"x\", \"more\": true, \"n\": 0}\n"));
    caller.close();
    host.wait_until("its worker is told", |host| host.has("cancelled"));
    assert_eq!(front.answers("{\"id\":2,\"short\":true}").body.lines().count(), 1);
    assert_eq!(host.metric("httpipe_worker_starts_total"), 1.0, "the same worker");
    front.wait_until("no call is away", |it| it.status()["pools"][0]["away"]["calls"] == 0);
}

/// A part of 3 MB goes in several messages, and arrives as one.
#[test]
fn a_part_larger_than_a_message_arrives_as_one() {
    let Some(nats) = Nats::start("") else { return };
    let program = r#"python3 -c 'import sys
for line in sys.stdin:
    for size in (3000000, 0, 1): print(line.strip() * size, flush=True)
    print("END", flush=True)'"#;
    let keys = "stream = \"until:END\"\nmessage_max = \"4MiB\"";
    let front = shared(&nats, &format!("workers = 0\n{keys}")).start_unready();
    let _host = start_host(shared(&nats, &format!("workers = 1\n{keys}")).worker(program));
    wait_for_slots(&front, 1);
    let events = front.client().request("POST", "/", EVENTS, "x");
    let expected =
        format!("data: {}\n\ndata: \n\ndata: x\n\nevent: done\ndata: \n\n", "x".repeat(3_000_000));
    assert!(events.body == expected, "{} bytes", events.body.len());
}

#[test]
fn progress_crosses_to_a_caller_who_takes_events() {
    let Some(nats) = Nats::start("") else { return };
    let keys = "stream = \"until:END\"\nprogress = \"p|{input}|{percent}|{text}\"\nin_flight = 1";
    let plan = |workers: u32| {
        shared(&nats, &format!("workers = {workers}\n{keys}"))
            .worker("python3 -u quarter.py 'p|{i}|25|page 1' END")
            .file("quarter.py", QUARTER)
    };
    let front = plan(0).start_unready();
    let host = start_host(plan(1));
    wait_for_slots(&front, 1);
    let mut caller = front.client().connect();
    caller.ask("POST", "/", EVENTS, "a");
    assert_eq!(caller.head().status, 200);
    let event = caller.chunk().expect("an event");
    assert_eq!(event, "event: progress\ndata: {\"fraction\":0.25,\"text\":\"page 1\"}\n\n");
    host.put("go");
    assert_eq!(caller.chunk().as_deref(), Some("event: done\ndata: \n\n"));
    assert_eq!(caller.chunk().as_deref(), Some(""));
    assert_eq!(front.answers("b").body, "", "a caller who takes no events is told nothing of it");
}
