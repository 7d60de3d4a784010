//! What others on the bus say changes nothing that is right, and what happens to one of the servers
//! that share a pool costs no more than was promised.

use std::cell::RefCell;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::spread::{front, host, shared, start_host, wait_for_slots};
use crate::support::bus::Bus;
use crate::support::nats::Nats;
use crate::support::pause;

const BUSY: &str = r#"httpipe_workers{pool="main",state="busy"}"#;
const AWAY_OK: &str = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
const JOURNAL: &str = "demo-worker --journal seen";
const STRANGER: &str = "00000000000000000000000000000001";

/// A message with one member.
fn said(kind: &str, value: &serde_json::Value, body: &str) -> Vec<u8> {
    format!("{{\"{kind}\":{value}}}\n{body}").into_bytes()
}

#[test]
fn what_a_stranger_says_in_the_name_of_others_changes_no_answer() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let host = start_host(shared(&nats, "workers = 1").worker(JOURNAL));
    wait_for_slots(&front, 1);
    let mut bus = Bus::connect(&nats);
    let pending = front.client().post_later("/", "sleep 500ms");
    let grant = bus.next_of("grant");
    let granted = grant.of_kind("grant").expect("a grant").clone();
    let (owner, run) = (granted["owner"].as_str().expect("an owner"), &granted["run"]);
    let (to_owner, to_host) = (format!("httpipe.1.owner.{owner}"), grant.subject.clone());
    let its_host = to_host.rsplit('.').next().expect("a host");
    let mut other = run.clone();
    other["key"] = json!(run["key"].as_u64().expect("a number") ^ 1);
    let answer = |host: &str, run: &serde_json::Value| {
        said("answer", &json!({ "host": host, "run": run, "out": "plain", "len": 6 }), "forged")
    };
    let part = |run: &serde_json::Value, len: u64| {
        said("part", &json!({ "from": its_host, "run": run, "at": 0, "len": len }), "forged")
    };
    let deep = format!("{{\"pong\":{{\"host\":{}{}}}}}\n", "[".repeat(30_000), "]".repeat(30_000));
    let long = said("claim", &json!({ "host": STRANGER, "claim": 1, "x": "x".repeat(70_000) }), "");
    let many = json!({ "host": its_host, "ping": 1, "unknown": vec![run; 600] });
    for bytes in [
        answer(its_host, &other),
        answer(STRANGER, run),
        said("not_begun", &json!({ "host": its_host, "run": other }), ""),
        said("not_begun", &json!({ "host": STRANGER, "run": run }), ""),
        part(&other, u64::MAX),
        said("pong", &json!({ "host": its_host, "ping": 999, "unknown": [run] }), ""),
        said("pong", &many, ""),
        said("later_kind", &json!({}), ""),
        b"\xff\xfe no message".to_vec(),
        deep.into_bytes(),
        long,
        grant.bytes.clone(),
    ] {
        bus.say(&to_owner, &bytes);
    }
    let mut of_other_claim = granted.clone();
    of_other_claim["claim"] = json!(4711);
    of_other_claim["run"] = other.clone();
    for bytes in [
        grant.bytes.clone(),
        said("grant", &of_other_claim, "sleep 500ms"),
        said("leave", &json!({ "from": owner, "run": other }), ""),
        said("leave", &json!({ "from": STRANGER, "run": run }), ""),
        said("ping", &json!({ "owner": STRANGER, "ping": 99, "holds": [] }), ""),
        said("part", &json!({ "from": owner, "run": run, "at": 3 }), "forged"),
        said("more", &json!({ "from": owner, "run": run, "taken": u64::MAX }), ""),
    ] {
        bus.say(&to_host, &bytes);
    }
    assert_eq!(pending.answer().body, "sleep 500ms");
    let answered = bus.next_of("answer");
    for _ in 0..3 {
        bus.say(&to_owner, &answered.bytes);
        bus.say(&to_host, &grant.bytes);
    }
    assert_eq!(front.answers("next").body, "next");
    assert_eq!(host.seen(), ["sleep 500ms", "next"], "each ran once");
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn a_question_that_could_forge_the_framing_is_refused_by_the_host_itself() {
    let Some(nats) = Nats::start("") else { return };
    let mut bus = Bus::connect(&nats);
    let host = start_host(shared(&nats, "workers = 1").worker(JOURNAL));
    let beat = bus.next_of("beat");
    let seal = beat.line["beat"]["pools"][0]["seal"].as_str().expect("a seal").to_owned();
    let mut attempt = 0;
    let mut ask = |call: u64, text: &str, len: usize| {
        let demand = said("demand", &json!({ "owner": STRANGER, "calls": 1 }), "");
        let demands = format!("httpipe.1.main.{seal}.demand");
        bus.say(&demands, &demand);
        bus.first("the call is answered", |bus, heard| {
            if let Some(answer) = heard.of_kind("answer")
                && answer["run"]["call"] == call
            {
                return Some(answer["out"].clone());
            }
            // A claim that was answered too late is refused, and another one comes.
            let Some(claim) = heard.of_kind("claim") else {
                bus.say(&demands, &demand);
                return None;
            };
            attempt += 1;
            let run = json!({ "call": call, "attempt": attempt, "key": 1 });
            let (id, claim) = (claim["host"].as_str().expect("a host"), &claim["claim"]);
            let grant = json!({ "owner": STRANGER, "claim": claim, "run": run, "left_ms": 5000,
                "len": len });
            bus.say(&format!("httpipe.1.host.{id}"), &said("grant", &grant, text));
            None
        })
    };
    let forged = ask(1, "one\ntwo", 7);
    assert!(forged["failed"].to_string().contains("unsendable"), "{forged}");
    let huge = ask(2, "", 1 << 40);
    assert!(huge["failed"].to_string().contains("body_too_large"), "{huge}");
    assert_eq!(ask(3, "fine", 4), "plain");
    assert!(host.seen().iter().all(|line| line == "fine"), "{:?}", host.seen());
}

#[test]
fn a_host_that_nats_drops_because_it_does_not_read_comes_back_and_nothing_is_lost() {
    let slow = "max_pending: 2000000\nwrite_deadline: \"200ms\"\nlog_file: \"nats.log\"";
    let Some(nats) = Nats::start(slow) else { return };
    let front = front(&nats, "retries = 3");
    let first = host(&nats, "workers = 2");
    wait_for_slots(&front, 2);
    let bus = RefCell::new(Bus::connect(&nats));
    let client = front.client();
    let pending: Vec<_> = (0..2).map(|_| client.get_later("/?input=sleep%20500ms")).collect();
    first.wait_for_count(BUSY, 2.0);
    let to_host = bus.borrow_mut().next_of("grant").subject;
    first.signal("STOP");
    let garbage = vec![b'x'; 900_000];
    front.wait_until("NATS has dropped it", |_| {
        bus.borrow_mut().say(&to_host, &garbage);
        nats.log().contains("Slow Consumer")
    });
    first.signal("CONT");
    for call in pending {
        assert_eq!(call.answer().status, 200);
    }
    wait_for_slots(&front, 2);
    assert_eq!(front.answers("next").body, "next");
}

#[test]
fn where_a_host_falls_silent_a_call_that_may_run_twice_does_and_another_fails_once() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 2");
    let first = start_host(shared(&nats, "workers = 2").worker(JOURNAL));
    wait_for_slots(&front, 2);
    let client = front.client();
    let (again, once) =
        (client.get_later("/?input=sleep%20300ms"), client.post_later("/", "sleep 301ms"));
    first.wait_for_count(BUSY, 2.0);
    first.signal("STOP");
    let second = start_host(shared(&nats, "workers = 2").worker(JOURNAL));
    assert_eq!(again.answer().status, 200, "it was tried again elsewhere");
    let failed = once.answer();
    assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"));
    first.signal("CONT");
    wait_for_slots(&front, 4);
    assert_eq!(front.answers("next").body, "next");
    let ran = [first.seen(), second.seen()].concat();
    let of = |text: &str| ran.iter().filter(|line| *line == text).count();
    assert_eq!((of("sleep 301ms"), of("next")), (1, 1), "{ran:?}");
}

#[test]
fn where_the_server_that_was_asked_is_killed_its_calls_run_on_as_abandoned_ones_and_a_drain_ends() {
    let Some(nats) = Nats::start("") else { return };
    let mut front = front(&nats, "");
    let plan = shared(&nats, "workers = 2\nabandoned = \"1s\"");
    let mut host = start_host(plan.option("--drain").option("2m"));
    wait_for_slots(&front, 2);
    let client = front.client();
    assert_eq!(front.answers("kept until it is acknowledged").status, 200);
    let _left = [client.get_later("/?input=sleep%2060s"), client.get_later("/?input=sleep%2060s")];
    host.wait_for_count(BUSY, 2.0);
    front.signal("KILL");
    front.exit_code();
    host.wait_for_count(BUSY, 0.0);
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
}

#[test]
fn a_question_that_times_out_on_hosts_is_refused_by_the_server_that_was_asked() {
    let Some(nats) = Nats::start("") else { return };
    let keys = "timeout = \"300ms\"\nretries = 0\nabandoned = \"300ms\"";
    let front = front(&nats, keys);
    let host = host(&nats, &format!("workers = 1\n{keys}"));
    wait_for_slots(&front, 1);
    for _ in 0..5 {
        assert_eq!(front.answers("fine").body, "fine");
    }
    front.wait_until("it is refused", |it| it.answers("hang").code() == "poisonous");
    let starts = host.metric("httpipe_worker_starts_total");
    assert_eq!(front.answers("hang").code(), "poisonous");
    assert_eq!(host.metric("httpipe_worker_starts_total"), starts, "it costs no worker");
    assert_eq!(front.answers("fine").body, "fine");
}

/// The servers are stopped one after the other, and each goes on.
#[test]
fn a_stop_of_any_of_them_for_a_second_costs_no_call() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 0");
    let host = host(&nats, "workers = 2");
    wait_for_slots(&front, 2);
    let stop_for_a_second = |stop: &dyn Fn(), go_on: &dyn Fn()| {
        let pending = front.client().post_later("/", "sleep 1200ms");
        host.wait_for_count(BUSY, 1.0);
        stop();
        pause(Duration::from_secs(1), "a stop that goes unnoticed");
        go_on();
        assert_eq!(pending.answer().status, 200);
    };
    stop_for_a_second(&|| host.signal("STOP"), &|| host.signal("CONT"));
    stop_for_a_second(&|| front.signal("STOP"), &|| front.signal("CONT"));
    stop_for_a_second(&|| nats.signal(Signal::STOP), &|| nats.signal(Signal::CONT));
    assert_eq!(host.metric(AWAY_OK), 3.0);
}

/// What no worker has read was not begun, so it goes to another one also if it may not run twice.
#[test]
fn a_call_that_its_worker_never_read_goes_to_the_next_one() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 0");
    let reads_once_told =
        "sh -c 'if [ -e go ]; then echo up; exec cat; fi; echo up; exec sleep 60'";
    let host = start_host(shared(&nats, "workers = 1\nready = \"up\"").worker(reads_once_told));
    wait_for_slots(&front, 1);
    let pending = front.client().post_later("/", "hello");
    host.wait_for_count(BUSY, 1.0);
    host.put("go");
    host.signal_worker(host.workers()[0], "KILL");
    let answer = pending.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}

/// What a reload has replaced is not offered to others any longer.
#[test]
fn after_a_reload_others_see_the_workers_of_the_new_pool_only() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let mut bus = Bus::connect(&nats);
    let host = start_host(shared(&nats, "workers = 1\nenv = { COLOUR = \"red\" }"));
    wait_for_slots(&front, 1);
    // Of the pools of the host, which has one at first.
    let mut pools_of = |is_it: &dyn Fn(&[String]) -> bool| {
        bus.first("the host has the pools that it should", |_, said| {
            let pools = said.of_kind("beat")?["pools"].as_array()?;
            let of_workers = pools.iter().filter(|pool| pool["workers"] != 0);
            let pools: Vec<String> = of_workers.map(|pool| pool["node"].to_string()).collect();
            is_it(&pools).then_some(pools)
        })
    };
    let before = pools_of(&|pools| pools.len() == 1);
    let slow = front.client().get_later("/?input=sleep%206s");
    host.wait_for_count(BUSY, 1.0);
    host.rewrite("red", "blue");
    let reloaded = host.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(front.answers("next").body, "next", "the new worker is free");
    let _both_or_new = pools_of(&|pools| pools.iter().any(|pool| *pool != before[0]));
    let after = pools_of(&|pools| !pools.is_empty());
    assert!(!after.contains(&before[0]), "{before:?} {after:?}");
    assert_eq!(slow.answer().status, 200, "the old worker ends what it has");
}

/// Answers each question once there is a file of its name.
const TOLD: &str = r#"
import os, sys, time
for line in sys.stdin:
    line = line.strip()
    open("begun-" + line, "w").close()
    while not os.path.exists("end-" + line):
        time.sleep(0.003)
    print(line, flush=True)
"#;

/// Workers that a refused reload has started go again, so they begin no call of others.
#[test]
fn a_reload_that_is_refused_takes_no_call_of_others() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let other = "[pool.other]\ncommand = [\"sh\", \"other.sh\"]\nworkers = 1\nready = \"up\"\n";
    let plan = shared(&nats, "workers = 1\nenv = { COLOUR = \"red\" }").top(other);
    let plan = plan.worker("python3 told.py").file("told.py", TOLD);
    let ends = "while [ ! -e go ]; do sleep 0.01; done; exit 1";
    let plan = plan.file("other.sh", "echo up; exec cat").file("ends.sh", ends);
    let plan = plan.route("match = \"POST /\"").route("match = \"POST /other\"\npool = \"other\"");
    let host = start_host(plan);
    wait_for_slots(&front, 1);
    let first = front.client().post_later("/", "a");
    host.wait_until("it has begun", |host| host.has("begun-a"));
    let before = host.workers();
    host.rewrite("red", "blue");
    host.rewrite("other.sh", "ends.sh");
    let reload = host.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "");
    let second = front.client().post_later("/", "b");
    host.wait_until("both new workers run", |host| host.workers().len() == before.len() + 2);
    pause(Duration::from_secs(1), "a free worker claims a call in less");
    assert!(!host.has("begun-b"), "it will go");
    host.put("go");
    let refused = reload.answer();
    assert!(refused.status >= 400, "{refused:?}");
    for (name, call) in [("a", first), ("b", second)] {
        host.put(&format!("end-{name}"));
        assert_eq!(call.answer().body, name);
    }
}

#[test]
fn where_a_worker_of_a_host_dies_a_call_that_may_run_twice_does_and_another_fails_once() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 1");
    let host = start_host(shared(&nats, "workers = 2").worker(JOURNAL));
    wait_for_slots(&front, 2);
    let client = front.client();
    let (again, once) =
        (client.get_later("/?input=sleep%20800ms"), client.post_later("/", "sleep 801ms"));
    host.wait_for_count(BUSY, 2.0);
    // Both have read their questions once these are in the journal.
    host.wait_until("both have begun", |host| host.seen().len() == 2);
    for worker in host.workers() {
        host.signal_worker(worker, "KILL");
    }
    assert_eq!(again.answer().status, 200);
    let failed = once.answer();
    assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"));
    let ran = host.seen();
    let of = |text: &str| ran.iter().filter(|line| *line == text).count();
    assert_eq!((of("sleep 800ms"), of("sleep 801ms")), (2, 1), "{ran:?}");
}
