//! Tapping: what goes through the pipes of workers, for operators who look.

use serde_json::Value;

use crate::support::{Connection, Server};

const TOKEN: &str = "Authorization: Bearer secret";

fn server(pool: &str) -> Server {
    Server::with(pool).top("admin_token = \"secret\"").start_unready()
}

/// A server without a token: anybody on this machine may look, and sees no contents.
fn open_server() -> Server {
    Server::with("workers = 1").start()
}

fn tap(server: &Server, query: &str, headers: &[&str]) -> Connection {
    let mut stream = server.admin().connect();
    stream.ask("GET", &format!("/tap{query}"), headers, "");
    assert_eq!(stream.head().status, 200);
    stream
}

fn piece(stream: &mut Connection) -> Value {
    let text = stream.chunk().expect("the stream goes on");
    let data = text.strip_prefix("event: piece\ndata: ").expect("a piece");
    serde_json::from_str(data).expect("the data is JSON")
}

/// Reads pieces up to the end of a call.
fn exchange(stream: &mut Connection) -> Vec<Value> {
    let mut pieces = vec![];
    while pieces.last().is_none_or(|piece: &Value| piece["kind"] != "end") {
        pieces.push(piece(stream));
    }
    pieces
}

#[test]
fn what_was_written_read_and_cut_is_shown_to_who_has_the_token() {
    let server = server("workers = 1");
    let mut stream = tap(&server, "?pool=main", &[TOKEN]);
    let line = server.wait_for_log("an operator reads what workers are asked and answer");
    for told in
        ["\"time\":", "\"peer\":\"127.0.0.1:", "\"by\":\"admin_token\"", "\"pool\":\"main\""]
    {
        assert!(line.contains(told), "{told}: {line}");
    }
    assert_eq!(server.answers("hello 42").status, 200);
    let pieces = exchange(&mut stream);
    let seen: Vec<String> =
        pieces.iter().map(|it| format!("{} {}", it["kind"], it["text"])).collect();
    assert_eq!(
        seen,
        [
            "\"write\" \"hello 42\\n\"",
            "\"read\" \"hello 42\\n\"",
            "\"answer\" \"hello 42\"",
            "\"end\" \"\""
        ]
    );
    for piece in [&pieces[0], &pieces[2], &pieces[3]] {
        assert_eq!(piece["call"], pieces[3]["call"], "{piece}");
        assert_eq!(piece["route"], "POST /", "{piece}");
    }
    assert_eq!((&pieces[3]["outcome"], &pieces[3]["worker"]), (&"ok".into(), &1.into()));
    assert_eq!(pieces[2]["outcome"], "turn");
}

#[test]
fn without_the_key_no_letter_is_shown() {
    let server = open_server();
    let mut stream = tap(&server, "", &[]);
    assert_eq!(server.answers("hello 42").status, 200);
    let pieces = exchange(&mut stream);
    assert_eq!(pieces[0]["text"], "aaaaa 99\n");
    assert!(pieces.iter().all(|it| !it["text"].as_str().unwrap_or("l").contains(['h', 'l', '4'])));
    let refused = server.admin().get("/tap?contents");
    assert_eq!(refused.status, 401, "{refused:?}");
}

#[test]
fn a_reader_that_stops_reading_loses_pieces_and_calls_go_on() {
    let server = open_server();
    let mut stream = tap(&server, "", &[]);
    let question = "x".repeat(60_000);
    for _ in 0..800 {
        assert_eq!(server.answers(&question).status, 200);
    }
    let mut dropped = 0;
    while dropped == 0 {
        dropped = piece(&mut stream)["dropped"].as_u64().expect("a number");
    }
    assert_eq!(server.answers("a").status, 200);
}

#[test]
fn there_is_room_for_four_taps_and_one_that_was_left_is_over() {
    let server = open_server();
    let taps: Vec<Connection> = (0..4).map(|_| tap(&server, "", &[])).collect();
    assert_eq!(server.metric("httpipe_taps"), 4.0);
    assert_eq!(server.admin().get("/tap").status, 503);
    drop(taps);
    server.wait_for_count("httpipe_taps", 0.0);
    assert_eq!(server.admin().get("/tap?pool=nowhere").status, 404);
    assert_eq!(server.admin().get("/tap?pol=main").status, 400);
    drop(tap(&server, "?worker=1", &[]));
}

#[test]
fn only_what_belongs_to_failed_calls_is_shown_if_that_is_wished_for() {
    let server = server("workers = 1\ntimeout = \"300ms\"");
    let mut stream = tap(&server, "?failed", &[TOKEN]);
    assert_eq!(server.answers("fine").status, 200);
    assert_eq!(server.answers("sleep 5000 x").status, 504);
    let pieces = exchange(&mut stream);
    assert_eq!(pieces[0]["text"], "sleep 5000 x\n", "{pieces:?}");
    assert_eq!(pieces[1]["outcome"], "timeout", "{pieces:?}");
}

/// A worker that starts while somebody taps is heard, too.
#[test]
fn workers_that_come_later_are_tapped() {
    let server = open_server();
    let mut stream = tap(&server, "", &[]);
    let first = server.workers()[0];
    server.signal_worker(first, "KILL");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    assert_eq!(server.answers("hello").status, 200);
    let pieces = exchange(&mut stream);
    let (exit, wrote) = (&pieces[0], &pieces[1]);
    assert_eq!((&exit["outcome"], &exit["worker"]), (&"crash".into(), &1.into()));
    assert_eq!((&wrote["text"], &wrote["worker"]), (&"aaaaa\n".into(), &2.into()));
}

/// Returns the first piece of this kind.
fn first(stream: &mut Connection, kind: &str) -> Value {
    loop {
        let piece = piece(stream);
        if piece["kind"] == kind {
            return piece;
        }
    }
}

#[test]
fn what_nobody_asked_for_is_shown_with_what_became_of_its_worker() {
    // Its answer proves the question, so what is too much is found by itself.
    let script = "import sys\nfor line in sys.stdin:\n    \
                  print(line.strip() + '|a')\n    print('Half 7', end='', flush=True)";
    let plan = Server::with("workers = 1\nretries = 0\nreply = \"{input}|{result}\"");
    let plan = plan.worker("python3 w.py").file("w.py", script);
    let server = plan.top("admin_token = \"secret\"").start_unready();
    let mut seeing = tap(&server, "", &[TOKEN]);
    let mut masked = tap(&server, "?masked&failed", &[TOKEN]);
    server.answers("a");
    assert_eq!(first(&mut seeing, "answer")["outcome"], "proof");
    let stray = first(&mut seeing, "stray");
    assert_eq!((&stray["text"], &stray["outcome"]), (&"Half 7".into(), &"unasked".into()));
    let exit = first(&mut seeing, "exit");
    assert_eq!((&exit["worker"], &exit["outcome"]), (&stray["worker"], &"unasked_output".into()));
    assert_eq!(first(&mut masked, "stray")["text"], "aaaa 9");
    assert_eq!(first(&mut masked, "exit")["text"], "");
}

/// A worker that takes turns is read in other places: right before its next question, for one.
#[test]
fn what_is_said_between_two_turns_is_shown() {
    let script = "import os, signal, sys\n\
                  def late(*_):\n    os.write(1, b'Loading...\\n')\n    open('said', 'w')\n\
                  signal.signal(signal.SIGUSR1, late)\n\
                  for line in sys.stdin: os.write(1, line.encode())";
    let plan = Server::with("workers = 1").worker("python3 w.py").file("w.py", script);
    let server = plan.top("admin_token = \"secret\"").start_unready();
    let mut stream = tap(&server, "", &[TOKEN]);
    assert_eq!(server.answers("first").status, 200);
    exchange(&mut stream);
    let worker = server.workers()[0];
    server.signal_worker(worker, "USR1");
    // It may be ended for what it said before it notes that it said it.
    server.wait_until("it has spoken", |server| {
        server.dir().join("said").exists() || !server.workers().contains(&worker)
    });
    assert_eq!(server.answers("next").status, 200);
    let [read, stray, exit] = ["read", "stray", "exit"].map(|kind| first(&mut stream, kind));
    assert_eq!((&read["text"], &stray["text"]), (&"Loading...\n".into(), &"Loading...\n".into()));
    assert_eq!(
        (&stray["outcome"], &exit["outcome"]),
        (&"unasked".into(), &"unasked_output".into())
    );
}

#[test]
fn what_is_too_much_for_an_answer_is_shown() {
    let server = server("workers = 1");
    let mut stream = tap(&server, "", &[TOKEN]);
    assert_eq!(server.answers("twice b").code(), "bad_answer");
    for _ in 0..2 {
        let stray = first(&mut stream, "stray");
        assert_eq!((&stray["text"], &stray["outcome"]), (&"twice b".into(), &"mismatch".into()));
    }
}

#[test]
fn a_pool_that_a_reload_starts_is_tapped_too() {
    let more = "[pool.other]\ncommand = [\"cat\"]\nworkers = 1\n\
                [[route]]\nmatch = \"POST /other\"\npool = \"other\"\n";
    let server = open_server();
    let mut all = tap(&server, "", &[]);
    let mut main = tap(&server, "?pool=main", &[]);
    assert_eq!(server.admin().get("/tap?pool=other").status, 404);
    server.rewrite("[pool.main]", &format!("{more}[pool.main]"));
    let reload_until_there_is = |name: &str| {
        server.signal("HUP");
        server.wait_until("it was reloaded", |server| {
            server.status()["pools"].as_array().is_some_and(|all| all[0]["name"] == name)
        });
        assert_eq!(server.client().post("/other", "hello").status, 200);
    };
    reload_until_there_is("other");
    let pieces = exchange(&mut all);
    assert_eq!((&pieces[0]["pool"], &pieces[0]["text"]), (&"other".into(), &"aaaaa\n".into()));
    // With another name it is another pool, and its workers are new.
    server.rewrite("pool.other", "pool.renamed");
    server.rewrite("pool = \"other\"", "pool = \"renamed\"");
    reload_until_there_is("renamed");
    let wrote = first(&mut all, "write");
    assert_eq!((&wrote["pool"], &wrote["text"]), (&"renamed".into(), &"aaaaa\n".into()));
    // One of these pools alone hears nothing of the others.
    assert_eq!(server.answers("x").status, 200);
    let wrote = piece(&mut main);
    assert_eq!((&wrote["pool"], &wrote["text"]), (&"main".into(), &"a\n".into()));
}
