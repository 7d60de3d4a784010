//! Records of lost workers: what was inside, how it ended, and, on request, what was said last.

use serde_json::{Value, json};

use crate::support::{Answer, Server, shell};

/// Asks for a record, as an operator does.
fn ask(server: &Server, worker: u64) -> Answer {
    let secret = format!("Authorization: Bearer {}", server.key());
    server.admin().request("GET", &format!("/records/{worker}"), &[&secret], "")
}

fn record(server: &Server, worker: u64) -> Value {
    let answer = ask(server, worker);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("a record is JSON")
}

/// Waits until there is a record of a worker.
fn wait_for(server: &Server, worker: u64) -> Value {
    server.wait_until("there is a record", |server| ask(server, worker).status == 200);
    record(server, worker)
}

/// The texts of what went through the pipes, each after the kind of its piece.
fn said(record: &Value) -> Vec<String> {
    let pieces = record["exchanges"].as_array().expect("contents").iter();
    let said = |piece: &Value| format!("{} {}", piece["kind"], piece["text"]).replace('"', "");
    pieces.map(said).collect()
}

#[test]
fn a_record_says_what_was_inside_and_how_the_worker_ended() {
    let server = Server::with("workers = 1\nretries = 0").start();
    assert_eq!(server.answers("stderr last words").status, 200);
    let process = server.workers()[0];
    let answer = server.client().request("POST", "/", &["X-Request-Id: doomed"], "crash");
    assert_eq!(answer.status, 502);
    let access = server.wait_for_log("doomed\"");
    let access: Value = serde_json::from_str(&access).expect("a line is JSON");
    let record = wait_for(&server, 1);
    assert_eq!((&record["worker"], &record["pool"]), (&json!(1), &json!("main")));
    assert_eq!((&record["reason"], &record["pid"]), (&json!("crash"), &json!(process)));
    assert_eq!(record["calls"], 2);
    let stderr = record["stderr"].to_string();
    assert!(stderr.contains("last words"), "{record}");
    let inside = record["inside"].as_array().expect("a list");
    let [call] = &inside[..] else { panic!("it held one call: {record}") };
    assert_eq!((&call["call"], &call["route"]), (&access["call"], &json!("POST /")));
    assert_eq!((&call["bytes"], &call["unread"]), (&json!(5), &json!(false)));
    assert_eq!(call["question"].as_str().map(str::len), Some(16), "a fingerprint: {call}");
    assert!(record["memory_peak"].as_u64().is_some_and(|most| most > 100_000), "{record}");
    assert_eq!((&record["memory"], &record["exchanges"]), (&Value::Null, &Value::Null));
    let exits = &server.status()["pools"][0]["last_exits"];
    assert_eq!((&exits[0]["worker"], &exits[0]["record"]), (&json!(1), &json!(true)));
    server.wait_for_log("an operator reads the record of a worker");
}

#[test]
fn a_worker_that_is_stopped_has_what_it_had_not_read_and_half_said() {
    let keys = "workers = 1\ntimeout = \"300ms\"\nin_flight = 2\nreply = \"{input}|{answer}\"";
    let server = Server::with(keys).worker("sh -c 'read it; printf half; sleep 100'").start();
    let calls = ["question 1", "question 2"].map(|text| server.client().post_later("/", text));
    for call in calls {
        assert_ne!(call.answer().status, 200);
    }
    let record = wait_for(&server, 1);
    assert_eq!((&record["reason"], &record["half_said_bytes"]), (&json!("timeout"), &json!(4)));
    assert_eq!((&record["unread_bytes"], &record["inside"][0]["bytes"]), (&json!(11), &json!(10)));
    assert!(record["memory"].as_u64().is_some_and(|memory| memory > 0), "{record}");
}

#[test]
fn contents_are_kept_only_where_the_pool_says_so_and_only_of_the_last_exchanges() {
    let server = Server::with("workers = 1\nretries = 0\nrecord = 2").start();
    for word in ["one", "two", "three"] {
        assert_eq!(server.answers(word).status, 200);
    }
    assert_eq!(server.answers("crash").status, 502);
    let kept = wait_for(&server, 1);
    assert_eq!(said(&kept), ["write three\\n", "read three\\n", "answer ", "write crash\\n"]);
    assert_eq!(kept["exchanges"][3]["call"], kept["inside"][0]["call"]);
    assert!(server.metric("httpipe_record_bytes") > 300.0);
    for page in ["/status.json", "/metrics"] {
        assert!(!server.admin().get(page).body.contains("three"), "{page}");
    }
    assert!(server.log_lines().iter().all(|line| !line.contains("three")));
}

#[test]
fn a_reload_begins_and_ends_the_keeping_of_contents_and_keeps_the_workers() {
    let server = Server::with("workers = 1\nretries = 0").start();
    let reload = |from: &str, to: &str| {
        server.rewrite(from, to);
        let answer = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    assert_eq!(server.answers("before").status, 200);
    reload("retries = 0", "retries = 0\nrecord = 5");
    assert_eq!(server.answers("after").status, 200);
    assert_eq!(server.answers("crash").status, 502);
    let kept = wait_for(&server, 1);
    assert_eq!(said(&kept), ["write after\\n", "read after\\n", "answer ", "write crash\\n"]);
    reload("record = 5", "record = 0");
    assert_eq!(record(&server, 1)["exchanges"], Value::Null, "what was kept is forgotten");
    assert_eq!(server.answers("crash").status, 502);
    assert_eq!(wait_for(&server, 2)["exchanges"], Value::Null);
    assert_eq!(server.metric("httpipe_record_bytes"), 0.0);
}

#[test]
fn the_records_of_a_pool_are_the_last_eight_and_go_with_it() {
    let text = "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nthreads = 2\n\
         [pool.one]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 1\nretries = 0\nrecord = 1\n\
         [pool.two]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 1\nretries = 0\n\
         [[route]]\nmatch = \"POST /one\"\npool = \"one\"\n\
         [[route]]\nmatch = \"POST /two\"\npool = \"two\"\n";
    let server = Server::config(text).start();
    assert_eq!(server.client().post("/two", "crash").status, 502);
    for number in 0..9 {
        // One question would be refused the third time.
        assert_eq!(server.client().post("/one", &format!("crash {number}")).status, 502);
        // The back-off ends with it.
        assert_eq!(server.client().post("/one", "fine").status, 200);
    }
    let exits = |pool: usize| {
        let status = server.status();
        let exits = status["pools"][pool]["last_exits"].as_array().expect("a list").clone();
        let each = exits.iter().map(|exit| (exit["worker"].as_u64(), exit["record"] == true));
        each.map(|(worker, has_record)| (worker.expect("a number"), has_record)).collect::<Vec<_>>()
    };
    let (one, two) = (exits(0), exits(1));
    assert_eq!((one.len(), two.len()), (9, 1));
    for (worker, has_record) in one.iter().chain(&two) {
        assert_eq!(ask(&server, *worker).status, if *has_record { 200 } else { 404 });
    }
    assert_eq!(one.iter().filter(|(_, has_record)| *has_record).count(), 8);
    assert!(!one[8].1, "the oldest is the one that is forgotten");
    let whole = text.replace("$httpipe", env!("CARGO_BIN_EXE_httpipe"));
    let without = whole.replace("[pool.one]", "[pool.gone]").replace("\"one\"", "\"gone\"");
    server.rewrite(&whole, &without);
    let reloaded = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    server.wait_until("its records are gone", |server| ask(server, one[0].0).status == 404);
    assert_eq!(ask(&server, two[0].0).status, 200, "the other pool has stayed");
}

#[test]
fn a_record_is_for_operators_only() {
    let server = Server::with("workers = 1\nretries = 0\nrecord = 1").start();
    assert_eq!(server.answers("crash").status, 502);
    wait_for(&server, 1);
    for fields in [&[][..], &["Httpipe-Admin: 1"], &["Authorization: Bearer x"]] {
        let refused = server.admin().request("GET", "/records/1", fields, "");
        assert_eq!(refused.status, 401, "{fields:?}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert!(!refused.body.contains("crash"), "{refused:?}");
    }
    for path in ["/records/99", "/records/x", "/records/%1b"] {
        let secret = format!("Authorization: Bearer {}", server.key());
        let missed = server.admin().request("GET", path, &[&secret], "");
        assert_eq!(missed.status, 404, "{path}");
        assert!(missed.detail().contains("last_exits"), "{missed:?}");
    }
}

#[test]
fn the_command_prints_a_record_with_controls_by_their_signs() {
    let server = Server::with("workers = 1\nretries = 0\nrecord = 3").start();
    assert_eq!(server.answers("hello \x1b[2J").status, 200);
    assert_eq!(server.answers("crash").status, 502);
    wait_for(&server, 1);
    let run = |more: &str| {
        let (binary, dir) = (env!("CARGO_BIN_EXE_httpipe"), server.dir().display());
        shell(&format!("XDG_RUNTIME_DIR={dir} {binary} tap {more} {}", server.admin_url()))
    };
    let (code, shown) = run("--record 1");
    assert_eq!(code, 0, "{shown}");
    for part in ["worker 1 of main: crash", "POST /", "→", "hello ␛[2J␊", "crash␊"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\x1b'), "{shown}");
    let (code, json) = run("--record 1 --json");
    let json: Value = serde_json::from_str(&json).expect("a record is JSON");
    assert_eq!((code, &json["worker"]), (0, &1.into()));
    let (code, missed) = run("--record 77");
    assert!(code == 1 && missed.contains("no record of a worker `77`"), "{code} {missed}");
    assert!(missed.contains("`httpipe status` shows"), "{missed}");
    let (code, wrong) = run("--record 1 --pool main");
    assert!(code == 2 && wrong.contains("cannot be used with"), "{code} {wrong}");
}
