//! Answers in parts are passed on as they come, in the form that the caller asks for. An incomplete
//! answer is seen to be incomplete. Callers who read slowly or leave do not disturb others.

use std::time::Duration;

use crate::support::{Plan, Server, pause};

/// Answers `COUNT TEXT` with that many parts; the next part waits for a file of its number if
/// the question begins with `step`. `die` in place of the text ends it after the parts, `flood`
/// makes each part 10 000 bytes long.
pub(crate) const PARTS: &str = r#"
import os, sys, time
for line in sys.stdin:
    words = line.split()
    steps = words[0] == "step"
    words = words[1:] if steps else words
    for number in range(int(words[0])):
        while steps and not os.path.exists("go%d" % number):
            time.sleep(0.003)
        print(("x" * 10000) if words[1] == "flood" else words[1] + str(number), flush=True)
        open("sent.new", "w").write(str(number))
        os.replace("sent.new", "sent")
    if words[1] == "die":
        sys.exit(3)
    print("END", flush=True)
"#;

fn streaming(keys: &str) -> Plan {
    Server::with(&format!("workers = 1\nretries = 0\nstream = \"until:END\"\n{keys}"))
        .worker("python3 parts.py")
        .file("parts.py", PARTS)
}

#[test]
fn parts_arrive_as_they_come() {
    let server = streaming("").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "step 2 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    server.put("go1");
    assert_eq!(caller.chunk().as_deref(), Some("part1\n"));
    assert_eq!(caller.chunk().as_deref(), Some(""));
    let whole = server.answers("3 a");
    assert_eq!((whole.status, &*whole.body), (200, "a0\na1\na2\n"));
    assert_eq!(whole.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(server.answers("0 a").body, "");
    server.wait_until("each was counted as one call", |server| {
        server.metric("httpipe_calls_total{outcome=\"ok\"}") == 3.0
    });
}

#[test]
fn a_caller_that_asks_for_events_gets_them() {
    let server = streaming("").start();
    let accept = ["Accept: text/event-stream"];
    let answer = server.client().request("POST", "/", &accept, "2 a");
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.body, "data: a0\n\ndata: a1\n\nevent: done\ndata: \n\n");
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &accept, "1 die");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("data: die0\n\n"));
    let event = caller.chunk().expect("the failure is told");
    assert!(event.starts_with("event: failure\ndata: {"), "{event}");
    assert!(event.contains("\"code\":\"worker_lost\"") && event.contains("exit code 3"), "{event}");
    assert_eq!(caller.chunk(), None, "and the stream is seen to break");
}

#[test]
fn json_parts_become_json_lines() {
    let program = r#"
import sys, json
for line in sys.stdin:
    id = json.loads(line)["id"]
    print(json.dumps({"id": id, "n": 1, "more": True}))
    print(json.dumps({"jsonrpc": "2.0", "method": "progress"}))
    print(json.dumps({"id": id, "n": {"more": True}}), flush=True)
"#;
    let server =
        Server::with("workers = 1\nmatching = \"json-id\"\njsonrpc = false\nstream = \"more\"")
            .worker("python3 more.py")
            .file("more.py", program)
            .start();
    let answer = server.answers(r#"{"id":"mine"}"#);
    assert_eq!(answer.header("content-type"), "application/jsonl");
    let lines: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{answer:?}");
    assert!(lines.iter().all(|line| line["id"] == "mine"), "{answer:?}");
    assert_eq!(server.metric("httpipe_messages_dropped_total{reason=\"notification\"}"), 1.0);
}

#[test]
fn before_the_first_part_a_failure_is_an_ordinary_one_and_after_it_the_stream_breaks() {
    let server = streaming("").start();
    let none = server.answers("0 die");
    assert_eq!((none.status, none.code().as_str()), (502, "worker_lost"));
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "2 die");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("die0\n"));
    assert_eq!(caller.chunk().as_deref(), Some("die1\n"));
    assert_eq!(caller.chunk(), None);
    assert_eq!(server.answers("1 a").body, "a0\n");
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"worker_lost\"}"), 2.0);
}

#[test]
fn an_answer_that_takes_too_long_breaks_off() {
    let server = streaming("timeout = \"1s\"\nprobe = { send = \"1 a\" }").start();
    let mut caller = server.client().connect();
    server.put("go0");
    caller.ask("POST", "/", &[], "step 2 part");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    assert_eq!(caller.chunk(), None);
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"timeout\"}"), 1.0);
}

#[test]
fn a_slow_reader_holds_back_the_worker_and_nothing_piles_up() {
    // The default `timeout` is over for 25 MB on a machine with other work.
    let server = streaming("stream_buffer = \"64KiB\"\ntimeout = \"5m\"").start();
    let mut caller = server.client().connect();
    let before = server.memory();
    caller.ask("POST", "/", &[], "2500 flood");
    assert_eq!(caller.head().status, 200);
    // 25 MB are to come; the kernel's buffers hold some, and then the worker stands still.
    let sent = || server.read("sent").parse::<u32>().unwrap_or(0);
    server.wait_until("the worker stands still", |_| {
        let before = sent();
        pause(Duration::from_millis(300), "two looks at what is not to change");
        before > 0 && before == sent()
    });
    let last = sent();
    assert!(last < 2_200, "{last} parts were written though nobody read");
    assert!(server.memory() < before + (8 << 20), "{} then {}", before, server.memory());
    let mut bytes = 0;
    while let Some(chunk) = caller.chunk().filter(|chunk| !chunk.is_empty()) {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 2_500 * 10_001, "and then it all comes");
}

#[test]
fn a_caller_that_does_not_read_is_cut_off_before_it_costs_the_worker() {
    // Cut off after a half of it; for the rest of the answer a busy machine needs some seconds.
    let keys = "stream_buffer = \"64KiB\"\ntimeout = \"14s\"\nabandoned = \"10s\"\n\
        queue = { wait = \"15s\" }";
    let server = streaming(keys).start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "1500 flood");
    assert_eq!(caller.head().status, 200);
    server.wait_until("the rest of its answer is dropped", |s| {
        s.metric("httpipe_messages_dropped_total{reason=\"late\"}") > 0.0
    });
    assert_eq!(server.answers("1 next").body, "next0\n");
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0, "the same worker");
    while let Some(chunk) = caller.chunk() {
        assert!(!chunk.is_empty(), "the caller sees that the answer is cut off");
    }
}

#[test]
fn a_caller_that_leaves_in_the_middle_frees_the_worker() {
    let server = streaming("").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "step 3 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    caller.close();
    // Its line is written once it is seen that the caller left.
    server.wait_for_log("request_id");
    server.put("go1");
    server.put("go2");
    assert_eq!(server.answers("1 next").body, "next0\n");
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"abandoned\"}"), 1.0);
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0, "the same worker");
    assert!(server.metric("httpipe_messages_dropped_total{reason=\"late\"}") >= 1.0);
}

#[test]
fn an_answer_without_a_reader_is_ended_after_abandoned() {
    let server = streaming("abandoned = \"200ms\"").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "step 2 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    caller.close();
    assert_eq!(server.answers("1 next").body, "next0\n");
    assert_eq!(server.metric("httpipe_worker_starts_total"), 2.0);
}

#[test]
fn a_stream_that_is_cancelled_frees_the_worker_at_once() {
    let program = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "method" not in message:
        print(json.dumps({"id": message["id"], "more": True, "n": 0}), flush=True)
        if message.get("short"):
            print(json.dumps({"id": message["id"], "n": 1}), flush=True)
    else:
        # It did not see in time that it shall stop.
        print(json.dumps({"id": message["params"], "more": True}), flush=True)
        print(json.dumps({"id": message["params"]}), flush=True)
"#;
    let keys = "workers = 1\nmatching = \"json-id\"\njsonrpc = false\nstream = \"more\"\n\
        cancel = '{\"method\":\"cancel\",\"params\":{id}}'";
    let server =
        Server::with(keys).worker("python3 endless.py").file("endless.py", program).start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "{\"id\":\"x\"}");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("{\"id\": \"x\", \"more\": true, \"n\": 0}\n"));
    caller.close();
    server.wait_until("the parts after the cancelling were dropped", |server| {
        server.metric("httpipe_messages_dropped_total{reason=\"late\"}") == 2.0
    });
    let next = server.answers("{\"id\":2,\"short\":true}");
    assert_eq!(next.body.lines().count(), 2, "{next:?}");
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0, "the same worker");
}

#[test]
fn head_gets_the_header_and_no_parts() {
    let server = streaming("").start();
    let head = server.client().request("HEAD", "/?input=2+a", &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, ""), "{head:?}");
    assert_eq!(server.client().get("/?input=1+a").body, "a0\n");
}

#[test]
fn callers_on_other_threads_get_their_parts_too() {
    let server = streaming("").top("threads = 3").start();
    for _ in 0..6 {
        assert_eq!(server.answers("3 a").body, "a0\na1\na2\n");
    }
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "step 2 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    caller.close();
    server.put("go1");
    assert_eq!(server.answers("1 next").body, "next0\n");
}

#[test]
fn the_programs_own_error_ends_an_answer_for_its_caller_alone() {
    let server = streaming("error = \"bad{message}\"").start();
    let answer = server.answers("2 bad");
    assert_eq!((answer.status, answer.detail()), (422, "0".to_owned()));
    assert_eq!(server.answers("2 a").body, "a0\na1\n");
    assert_eq!(server.metric("httpipe_calls_total{outcome=\"program_error\"}"), 1.0);
    assert_eq!(server.metric("httpipe_worker_starts_total"), 1.0);
}

#[test]
fn a_stop_of_the_server_lets_a_stream_finish() {
    let mut server = streaming("").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "step 2 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    server.signal("TERM");
    server.wait_for_log("stopping");
    server.put("go1");
    assert_eq!(caller.chunk().as_deref(), Some("part1\n"));
    assert_eq!(caller.chunk().as_deref(), Some(""));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_stop_right_after_a_reload_cuts_no_answer() {
    let mut server = streaming("env = { COLOUR = \"red\" }").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &["Connection: close"], "step 2 part");
    server.put("go0");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part0\n"));
    server.rewrite("red", "blue");
    let reloaded = server.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    server.signal("TERM");
    server.wait_until("it stops", |server| server.client().is_refused());
    pause(Duration::from_millis(300), "long enough for a stop that cuts answers to cut this one");
    server.put("go1");
    assert_eq!(caller.chunk().as_deref(), Some("part1\n"));
    assert_eq!(caller.chunk().as_deref(), Some(""));
    assert_eq!(server.exit_code(), 0);
}
