//! Those who look at the server as it runs: `/events`.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Connection, Server, pause};

/// Opens `/events` and returns the stream after its head.
fn look(server: &Server) -> Connection {
    let mut stream = server.admin().connect();
    stream.ask("GET", "/events", &[], "");
    let head = stream.head();
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    stream
}

/// Reads the next event: its name and its data.
fn event(stream: &mut Connection) -> (String, Value) {
    let text = stream.chunk().expect("the stream goes on");
    let (name, data) = text.split_once("\ndata: ").expect("a name and data");
    let data = serde_json::from_str(data).expect("the data is JSON");
    (name.trim_start_matches("event: ").to_owned(), data)
}

#[test]
fn a_viewer_is_greeted_and_told_each_second() {
    let server = Server::with("workers = 2").start();
    let mut stream = look(&server);
    let (name, hello) = event(&mut stream);
    assert_eq!((&*name, &hello["version"]), ("hello", &Value::from(2)));
    assert_eq!(hello["pools"][0]["about"]["most"], 2);
    for _ in 0..2 {
        let (name, tick) = event(&mut stream);
        assert_eq!((&*name, &tick["version"]), ("tick", &Value::from(2)));
        assert_eq!(tick["pools"][0]["workers"].as_array().map(Vec::len), Some(2));
        assert!(tick["pools"][0].get("about").is_none(), "{tick}");
        assert_eq!(tick["viewers"], 1);
    }
}

#[test]
fn what_happened_before_anybody_looked_is_in_the_history() {
    let server = Server::with("workers = 1\ntimeout = \"300ms\"").start();
    for _ in 0..5 {
        assert_eq!(server.answers("fine").status, 200);
    }
    assert_eq!(server.answers("sleep 5000 x").status, 504);
    assert_eq!(server.answers("fine").status, 200);
    let mut stream = look(&server);
    let (_, hello) = event(&mut stream);
    let (_, tick) = event(&mut stream);
    let (before, after) = (&hello["pools"][0]["history"], &tick["pools"][0]["sample"]);
    let sum = |column: &str| -> u64 {
        let seconds = before[column].as_array().expect("a column").iter();
        let last = (after["at"] != before["end"]).then_some(&after[column]);
        seconds.chain(last).filter_map(Value::as_u64).sum()
    };
    assert_eq!((sum("calls"), sum("failures")), (7, 1), "{before} {after}");
    let pool = &tick["pools"][0];
    assert_eq!(pool["failures"]["by_code"]["timeout"], 1, "{pool}");
    assert_eq!(pool["recent"]["calls"], 7);
    let p99 = pool["recent"]["work_seconds"]["p99"].as_f64().expect("a number");
    assert!((0.26..0.5).contains(&p99), "{pool}");
    assert_eq!(pool["recent"]["hits"], Value::Null);
}

#[test]
fn the_call_on_which_a_worker_works_is_shown() {
    let server = Server::with("workers = 1").start();
    let running = server.client().post_later("/", "sleep 2500 a");
    server.wait_until("it is busy", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let worker = &server.status()["pools"][0]["workers"][0];
    assert_eq!(worker["head"]["route"], "POST /", "{worker}");
    assert_eq!((&worker["head"]["bytes"], &worker["head"]["retries"]), (&12.into(), &0.into()));
    let call = worker["head"]["call"].clone();
    assert_eq!(running.answer().status, 200);
    let pool = &server.status()["pools"][0];
    assert_eq!(pool["workers"][0]["head"], Value::Null);
    let slow = &pool["slow"][0];
    assert_eq!(
        (&slow["call"], &slow["route"], &slow["outcome"]),
        (&call, &"POST /".into(), &"ok".into())
    );
    assert_eq!(slow["worker"], pool["workers"][0]["id"]);
    assert!(slow["work_seconds"].as_f64().is_some_and(|work| work >= 2.5), "{slow}");
}

#[test]
fn answers_from_the_cache_are_hits() {
    let server = Server::with("workers = 1")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    for _ in 0..4 {
        assert_eq!(server.client().get("/?input=a").status, 200);
    }
    server.wait_until("the second is over", |server| {
        server.status()["pools"][0]["recent"]["hits"] == 3
    });
    assert_eq!(server.status()["pools"][0]["recent"]["calls"], 1);
}

#[test]
fn what_workers_use_is_measured_while_somebody_looks() {
    let server = Server::with("workers = 1").start();
    assert!(!server.threads().contains(&"meter".to_owned()));
    let worker = &server.status()["pools"][0]["workers"][0];
    assert!(worker["memory"].as_u64().is_some_and(|memory| memory > 100_000), "{worker}");
    server.wait_until("its CPU was measured twice", |server| {
        server.status()["pools"][0]["workers"][0]["cpu"].as_f64().is_some_and(|cpu| cpu < 1.0)
    });
    assert!(server.metric("httpipe_worker_memory_bytes") > 100_000.0);
    assert_eq!(server.metric("httpipe_workers_most{pool=\"main\"}"), 1.0);
    assert_eq!(server.metric("httpipe_poisonous{pool=\"main\"}"), 0.0);
    assert_eq!(server.metric("httpipe_build_info"), 1.0);
    assert!(server.threads().contains(&"meter".to_owned()));
}

#[test]
fn the_processor_time_of_workers_only_grows() {
    let server = Server::with("workers = 1\ntimeout = \"1s\"").start();
    let running = server.client().post_later("/", "spin");
    let used = || server.metric("httpipe_worker_cpu_seconds_total");
    server.wait_until("it is measured", |_| used() >= 0.1);
    assert_eq!(running.answer().status, 504);
    server.wait_for_count("httpipe_worker_exits_total{reason=\"timeout\"}", 1.0);
    let after = used();
    assert!(after >= 0.1, "what the worker had used counts on: {after}");
}

/// Opens and closes a page, and asserts that no thread of the server runs for so long afterwards.
fn sleeps_for(time: Duration) {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("a").status, 200);
    let mut stream = look(&server);
    assert_eq!(event(&mut stream).0, "hello");
    assert_eq!(event(&mut stream).0, "tick");
    stream.close();
    server.wait_until("nothing is measured any longer", |server| {
        !server.threads().contains(&"meter".to_owned())
    });
    let before = server.wakings();
    pause(time, "idle");
    assert_eq!(server.wakings() - before, 0);
}

#[test]
fn a_server_at_which_nobody_looks_sleeps() {
    sleeps_for(Duration::from_secs(5));
}

#[test]
#[ignore = "takes a minute: `cargo test --test it sleeps_for_a_minute -- --ignored`"]
fn a_server_at_which_nobody_looks_sleeps_for_a_minute() {
    sleeps_for(Duration::from_mins(1));
}

#[test]
fn two_hundred_viewers_share_sixteen_places() {
    let server = Server::with("workers = 1").start();
    let mut streams: Vec<Connection> = Vec::new();
    let mut refused = 0;
    for _ in 0..200 {
        let mut stream = server.admin().connect();
        stream.ask("GET", "/events", &[], "");
        match stream.head().status {
            200 => streams.push(stream),
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((streams.len(), refused), (16, 184));
    for stream in &mut streams {
        assert_eq!(event(stream).0, "hello");
    }
    assert_eq!(event(&mut streams[15]).1["viewers"], 16);
    assert_eq!(server.answers("a").status, 200);
    streams.clear();
    server.wait_until("they have left", |server| server.status()["viewers"] == 0);
    assert_eq!(event(&mut look(&server)).0, "hello");
}

/// Each tick of so many pools is larger than what the kernel holds of a reader that reads nothing.
#[test]
fn a_viewer_that_stops_reading_is_dropped_and_others_go_on() {
    let pools = (0..40).map(|pool| {
        let route = format!("[[route]]\nmatch = \"POST /{pool}\"\npool = \"p{pool}\"\n");
        format!("[pool.p{pool}]\ncommand = [\"cat\"]\nworkers = 1\nreply = \"{{input}}\"\n{route}")
    });
    let text = format!("[limits]\nwrite_timeout = \"500ms\"\n{}", pools.collect::<String>());
    let server = Server::config(&text).start();
    let mut deaf = server.admin().connect();
    deaf.hold_little();
    deaf.ask("GET", "/events", &[], "");
    let mut stream = look(&server);
    let mut viewers = vec![];
    for _ in 0..60 {
        viewers.push(event(&mut stream).1["viewers"].as_u64().expect("a number"));
        if viewers.last() == Some(&1) && viewers.contains(&2) {
            break;
        }
    }
    assert_eq!(viewers.last(), Some(&1), "{viewers:?}");
    assert_eq!(server.client().post("/7", "x").body, "x");
}

/// A command as operators and as others see it, on both pages.
#[test]
fn the_arguments_of_a_command_are_for_operators_only() {
    let server = Server::with("workers = 1").worker("demo-worker --journal hunter2").start();
    let secret = format!("Authorization: Bearer {}", server.key());
    let whole = format!("{} demo-worker --journal hunter2", env!("CARGO_BIN_EXE_httpipe"));
    for (fields, command) in [(vec![], "httpipe …"), (vec![&*secret], &*whole)] {
        let status = server.admin().request("GET", "/status.json", &fields, "");
        let status: Value = serde_json::from_str(&status.body).expect("a status is JSON");
        assert_eq!(status["pools"][0]["about"]["command"], command);
        let mut stream = server.admin().connect();
        stream.ask("GET", "/events", &fields, "");
        assert_eq!(stream.head().status, 200);
        let (_, hello) = event(&mut stream);
        assert_eq!(hello["pools"][0]["about"]["command"], command);
    }
    // A reload greets each of those who look as before.
    let [mut stranger, mut operator] = [vec![], vec![&*secret]].map(|fields| {
        let mut stream = server.admin().connect();
        stream.ask("GET", "/events", &fields, "");
        assert_eq!(stream.head().status, 200);
        event(&mut stream);
        stream
    });
    server.rewrite("\"hunter2\"", "\"hunter3\"");
    assert_eq!(server.admin().request("POST", "/reload", &[&secret], "").status, 200);
    for (stream, command) in
        [(&mut stranger, "httpipe …"), (&mut operator, &*whole.replace("hunter2", "hunter3"))]
    {
        let (_, hello) = std::iter::repeat_with(|| event(stream))
            .find(|(name, _)| name == "hello")
            .expect("there is no end");
        assert_eq!(hello["pools"][0]["about"]["command"], *command);
    }
}
