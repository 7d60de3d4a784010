//! Those who look at the server as it runs: `/events`.

use serde_json::Value;

use crate::support::{Connection, Server};

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
