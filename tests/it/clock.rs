//! The wall clock jumps by a day while the server runs: none of its times changes.

use std::time::Duration;

use crate::support::{Plan, Server, library_that_shifts_the_clock, pause};

/// The file beside the configuration that says by how much the clock is off.
const OFFSET: &str = "offset";

/// Starts a server whose wall clock, also that of its workers, is off by what the file says at
/// the moment. The monotonic clock is not changed.
fn shifted(plan: Plan) -> Option<Server> {
    let library = library_that_shifts_the_clock()?;
    Some(shifted_by(&library, plan).start())
}

/// A plan whose server loads this library.
fn shifted_by(library: &str, plan: Plan) -> Plan {
    plan.file(OFFSET, "+0")
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", OFFSET)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// Stops the server in order. If it were killed, the shared memory of the library would stay.
fn end(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
}

/// Asks this text now, and returns the day of its line in the log.
fn day_in_log(server: &Server, text: &str) -> String {
    assert_eq!(server.answers(&format!("stderr {text}")).status, 200);
    let line = server.wait_for_log(text);
    line.split_once("\"time\":\"").map_or("", |(_, rest)| &rest[..10]).to_owned()
}

/// Moves the clock and checks that the day in the log has changed. Returns the new day.
fn jump(server: &Server, offset: &str, text: &str, before: &str) -> String {
    server.write(OFFSET, offset);
    let day = day_in_log(server, text);
    assert_ne!(day, before, "the clock has jumped by {offset}");
    day
}

const JUMPS: [(&str, &str); 3] =
    [("+1d", "tomorrow"), ("-1d", "yesterday"), ("+400d", "a year on")];

#[test]
fn deadlines_are_as_long_as_before() {
    let keys = "workers = 1\nretries = 0\ntimeout = \"2s\"\nstop_grace = \"50ms\"\n\
                queue = { wait = \"300ms\" }";
    let Some(server) = shifted(Server::with(keys)) else { return };
    let client = server.client();
    let mut day = day_in_log(&server, "today");
    for (offset, name) in JUMPS {
        // One call runs, one waits and one connection is kept while the clock jumps.
        let mut kept = client.connect();
        assert_eq!(kept.post("/", "before").body, "before");
        let slow = client.post_later("/", "sleep 400 slow");
        server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
        server.write(OFFSET, offset);
        let waits = client.post_later("/", "waits");
        assert_eq!(slow.answer().body, "sleep 400 slow", "{name}");
        assert!(matches!(waits.answer().status, 200 | 503), "{name}");
        assert_eq!(kept.post("/", "after").body, "after", "{name}");
        day = jump(&server, offset, name, &day);

        let hangs = server.answers(&format!("hang {name}"));
        assert_eq!(hangs.code(), "timeout", "{name}");
        let took = hangs.took;
        let bounds = Duration::from_millis(1980)..Duration::from_secs(5);
        assert!(bounds.contains(&took), "{name}: {took:?}");

        assert_eq!(server.answers("well").body, "well");
        let slow = client.post_later("/", "sleep 500 slow");
        server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
        let waited = server.answers("too long");
        assert_eq!(waited.code(), "queue_timeout", "{name}");
        let retry_after: u32 = waited.header("retry-after").parse().expect("whole seconds");
        assert!((1..=5).contains(&retry_after), "{name}: {waited:?}");
        assert_eq!(slow.answer().status, 200, "{name}");
    }
    server.wait_for_count("httpipe_worker_exits_total{reason=\"timeout\"}", 3.0);
    assert_eq!(
        server.metric("httpipe_worker_exits_total"),
        3.0,
        "no worker was lost for the clock"
    );
    end(server);
}

#[test]
fn kept_answers_are_kept_for_as_long_as_before() {
    let plan = Server::with("workers = 1")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /long?input={input}\"\ncache = \"1h\"")
        .route("match = \"GET /short?input={input}\"\ncache = \"300ms\"")
        .route("match = \"POST /\"");
    let Some(server) = shifted(plan) else { return };
    let client = server.client();
    let mut day = day_in_log(&server, "today");
    assert_eq!(client.get("/long?input=kept").body, "kept");
    for (offset, name) in JUMPS {
        let short = format!("/short?input={}", name.replace(' ', "-"));
        assert!(client.get(&short).header("cache-status").contains("stored"), "{name}");
        day = jump(&server, offset, name, &day);
        let hit = client.get("/long?input=kept");
        assert!(hit.header("cache-status").contains("hit"), "{name}: {hit:?}");
        let age: u64 = hit.header("age").parse().expect("whole seconds");
        assert!(age < 60, "{name}: {hit:?}");
        pause(Duration::from_millis(300), "what is kept for so long becomes stale");
        let again = client.get(&short);
        assert!(again.header("cache-status").contains("stored"), "{name}: {again:?}");
    }
    assert_eq!(server.seen().iter().filter(|line| *line == "kept").count(), 1);
    end(server);
}

#[test]
fn workers_are_neither_old_at_once_nor_for_ever_young() {
    let keys = "workers = 1\nrecycle = { age = \"1h\" }";
    let Some(server) = shifted(Server::with(keys)) else { return };
    let workers = server.workers();
    let mut day = day_in_log(&server, "today");
    for (offset, name) in JUMPS {
        day = jump(&server, offset, name, &day);
    }
    assert_eq!(server.workers(), workers);
    end(server);
    let keys = "workers = 1\nrecycle = { age = \"1s\" }";
    let Some(server) = shifted(Server::with(keys)) else { return };
    let workers = server.workers();
    server.write(OFFSET, "-1d");
    server.wait_until("it is replaced", |s| s.workers().iter().all(|id| !workers.contains(id)));
    end(server);
}

#[test]
fn jobs_keep_their_order_and_their_times() {
    let plan = crate::jobs::noting("jobs = {}").worker("python3 -u notes.py");
    let Some(server) = shifted(plan) else { return };
    let running = crate::jobs::asked(&server, "/again", "sleep 60");
    server.wait_until("it runs", |s| crate::jobs::state_of(s, &running) == "running");
    let mut created = Vec::new();
    let mut jobs = Vec::new();
    for (offset, name) in [("+0", "first"), ("-1d", "second"), ("-2d", "third")] {
        server.write(OFFSET, offset);
        let job = crate::jobs::asked(&server, "/again", name);
        let shown = server.client().get(&job).json();
        created.push(shown["created"].as_str().expect("a text").to_owned());
        jobs.push(job);
    }
    assert!(created.is_sorted(), "{created:?}");
    server.client().request("DELETE", &running, &[], "");
    for job in &jobs {
        assert_eq!(crate::jobs::state(&crate::jobs::ended(&server, job)), "succeeded");
    }
    assert_eq!(server.read("runs.log"), "sleep 60\nfirst\nsecond\nthird\n");
    end(server);
}

#[cfg(feature = "nats")]
#[test]
fn calls_on_another_host_have_their_time_whatever_its_clock_says() {
    use crate::spread::{shared, start_host, wait_for_slots};

    let Some(nats) = crate::support::nats::Nats::start("") else { return };
    let Some(library) = library_that_shifts_the_clock() else { return };
    let plan =
        |keys: &str| shifted_by(&library, shared(&nats, &format!("timeout = \"20s\"\n{keys}")));
    let front = plan("workers = 0\nretries = 0").start_unready();
    let host = start_host(plan("workers = 1").worker("demo-worker --journal seen"));
    wait_for_slots(&front, 1);
    for (offset, back) in [("+1d", "-1d"), ("-1d", "+400d")] {
        let question = format!("sleep 1500 {offset}");
        let pending = front.client().post_later("/", &question);
        host.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
        host.write(OFFSET, offset);
        front.write(OFFSET, back);
        assert_eq!(pending.answer().body, question);
        assert_eq!(front.answers(back).body, back, "and the next one goes there");
    }
    assert_eq!(host.seen().len(), 4, "each ran once");
    assert_eq!(front.metric(r#"httpipe_spread_hosts_lost_total{pool="main"}"#), 0.0);
    end(front);
    end(host);
}
