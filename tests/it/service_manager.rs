//! What a service manager is told, by the protocol of `sd_notify`.

use std::time::Duration;

use crate::support::{Plan, Server, Told, pause, shell};

fn told_server(told: &Told, pool: &str) -> Plan {
    Server::with(pool).tell(told)
}

#[test]
fn it_is_told_that_the_server_is_ready_when_its_workers_are() {
    let told = Told::new("ready");
    let server =
        told_server(&told, "workers = 1\nprobe = { send = \"1\" }\nstart_timeout = \"20s\"")
            .worker("demo-worker --slow-start 500ms")
            .start_unready();
    let ready = told.wait_for("READY=1", 1);
    assert_eq!(server.admin().get("/ready").status, 200, "it was not told too early");
    let address = server.url().replace("http://", "");
    assert_eq!(ready, format!("READY=1\nSTATUS=serving on {address}"));
    assert_eq!(
        told.messages()[0],
        "STATUS=waiting for the first workers\nEXTEND_TIMEOUT_USEC=30000000",
        "a start may take as long as `start_timeout`"
    );
}

#[test]
fn it_is_told_of_each_reload_and_why_one_was_refused() {
    let told = Told::new("reload");
    let server = told_server(&told, "workers = 1").start();
    told.wait_for("READY=1", 1);
    server.rewrite("workers = 1", "workers = 2");
    server.signal("HUP");
    let ready = told.wait_for("READY=1", 2);
    assert!(!ready.contains("not reloaded"), "{ready}");
    let reloading = told.wait_for("RELOADING=1", 1);
    let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let micros: u64 =
        micros.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{reloading}"));
    let (_, uptime) = shell("cut -d. -f1 /proc/uptime");
    let uptime: u64 = uptime.trim().parse().expect("a number of seconds");
    assert!(micros / 1_000_000 <= uptime + 1, "{micros}, after {uptime} s");
    server.rewrite("workers = 2", "wrokers = 2");
    server.signal("HUP");
    let refused = told.wait_for("READY=1", 3);
    assert!(refused.contains("; not reloaded: ") && refused.contains("wrokers"), "{refused}");
    assert_eq!(refused.lines().count(), 2, "{refused}");
    let place = told.messages().iter().rposition(|it| it.starts_with("RELOADING=1"));
    assert_eq!(place, Some(told.messages().len() - 2), "it comes before: {:?}", told.messages());
}

#[test]
fn it_is_told_that_the_server_stops_and_how_long_that_may_take() {
    let told = Told::new("stop");
    let mut server = told_server(&told, "workers = 1").top("drain = \"2m\"").start();
    told.wait_for("READY=1", 1);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    let stopping = told.wait_for("STOPPING=1", 1);
    assert!(stopping.ends_with("EXTEND_TIMEOUT_USEC=130000000"), "{stopping}");
}

#[test]
fn it_gets_signs_of_life_if_it_wants_them_from_this_process() {
    let told = Told::new("watchdog");
    let _server = told_server(&told, "workers = 1").env("WATCHDOG_USEC", "100000").start();
    told.wait_for("WATCHDOG=1", 5);
    for (name, value) in [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "0")] {
        let told = Told::new(&format!("no-watchdog-{name}"));
        let _server =
            told_server(&told, "workers = 1").env("WATCHDOG_USEC", "1000").env(name, value).start();
        told.wait_for("READY=1", 1);
        pause(Duration::from_millis(50), "many signs of life would have come");
        assert!(!told.messages().iter().any(|it| it.contains("WATCHDOG")), "{name}={value}");
    }
}

/// The service would never be started if it waited for a pool that does not start.
#[test]
fn a_pool_that_does_not_start_is_said_and_the_others_are_ready() {
    let told = Told::new("late");
    let server = told_server(&told, "workers = 1")
        .route("match = \"POST /\"")
        .top("[pool.broken]\ncommand = [\"false\"]\n")
        .route("match = \"GET /broken\"\npool = \"broken\"")
        .start_unready();
    let ready = told.wait_for("READY=1", 1);
    assert!(ready.ends_with("; not started, and tried again: broken"), "{ready}");
    assert_eq!(server.answers("x").body, "x");
}

#[test]
fn a_service_manager_that_is_not_there_is_said_and_costs_no_call() {
    let server = Server::with("workers = 1").env("NOTIFY_SOCKET", "/nowhere/notify").start();
    server.wait_for_log("the service manager was not told");
    assert_eq!(server.answers("x").body, "x");
    let server = Server::with("workers = 1").env("NOTIFY_SOCKET", "nowhere").start();
    server.wait_for_log("the service manager cannot be told anything");
    assert_eq!(server.answers("x").body, "x");
}

#[test]
fn a_worker_learns_nothing_of_the_service_manager() {
    let told = Told::new("workers");
    let server = told_server(&told, "workers = 1")
        .worker("sh -c 'while read -r name; do eval \"echo .\\$$name.\"; done'")
        .env("WATCHDOG_USEC", "1000000")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "x")
        .env("SEEN", "yes")
        .start();
    assert_eq!(server.answers("SEEN").body, ".yes.");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        assert_eq!(server.answers(name).body, "..", "{name}");
    }
}
