//! The pages for operators.

use std::time::Duration;

use crate::support::{Connection, Server, passed_over, shell};

#[test]
fn a_started_server_is_live_and_ready() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.admin().get("/live").status, 200);
    assert_eq!(server.admin().get("/ready").status, 200);
    assert_eq!(server.admin().get("/nowhere").status, 404);
}

#[test]
fn a_busy_pool_is_ready_too() {
    let server = Server::with("workers = 1").start();
    let running = server.client().post_later("/", "sleep 300 a");
    server.wait_until("it is busy", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    assert_eq!(server.admin().get("/ready").status, 200);
    assert_eq!(running.answer().status, 200);
}

#[test]
fn the_metrics_have_their_names() {
    let server = Server::with("workers = 1")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    assert_eq!(server.client().get("/?input=a").status, 200);
    assert_eq!(server.client().get("/nowhere").status, 404);
    let text = server.admin().get("/metrics").body;
    for name in [
        "httpipe_requests_total{",
        "httpipe_calls_total{",
        "httpipe_request_seconds_bucket{",
        "httpipe_queue_seconds_count{",
        "httpipe_work_seconds_sum{",
        "httpipe_queue_length{",
        "httpipe_workers{",
        "httpipe_worker_starts_total{",
        "httpipe_cache_total{",
        "httpipe_cache_bytes",
        "httpipe_connections",
        "httpipe_log_dropped_total",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
    }
    let route = "route=\"GET /?input={input}\"";
    assert!(
        text.contains(&format!("httpipe_requests_total{{{route},status=\"200\"}} 1")),
        "{text}"
    );
    assert_eq!(server.metric("httpipe_requests_total{route=\"none\",status=\"404\"}"), 1.0);
    assert!(server.metric("httpipe_cache_bytes") > 0.0);
}

/// A scraper must not be able to fill the metrics with series by asking for many paths.
#[test]
fn paths_that_no_route_has_share_one_series() {
    let server = Server::with("workers = 1").start();
    let mut connection = server.client().connect();
    for number in 0..5_000 {
        assert_eq!(connection.get(&format!("/nowhere/{number}")).status, 404);
    }
    let text = server.admin().get("/metrics").body;
    let series = text.lines().filter(|line| line.starts_with("httpipe_requests_total{"));
    assert_eq!(series.count(), 1, "{text}");
}

#[test]
fn the_status_has_every_pool_and_worker() {
    let server = Server::with("workers = 2").start();
    let status = server.status().to_string();
    assert!(status.contains("main"), "{status}");
    for worker in server.workers() {
        assert!(status.contains(&worker.to_string()), "{worker} in {status}");
    }
}

#[test]
fn pages_for_operators_are_not_on_the_listener_for_callers() {
    let server = Server::with("workers = 1").start();
    for path in ["/metrics", "/status.json", "/live", "/ready"] {
        assert_eq!(server.client().get(path).status, 404, "{path}");
    }
}

#[test]
fn pages_that_change_things_need_the_header_of_operators() {
    let server = Server::with("workers = 1").start();
    let plain = server.admin().request("POST", "/reload", &[], "");
    assert!((400..500).contains(&plain.status), "{plain:?}");
}

/// `127.1` reaches loopback, but is no name for it that the server would take without a token.
#[test]
fn the_token_reloads_a_server_under_any_name() {
    let server = Server::with("workers = 1").top("admin_token = \"secret\"").start_unready();
    let url = server.admin_url().replace("127.0.0.1", "127.1");
    let reload =
        |token: &str| shell(&format!("{} reload {url} {token}", env!("CARGO_BIN_EXE_httpipe")));
    for token in ["", "--token wrong"] {
        let (code, said) = reload(token);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("401"), "{said}");
    }
    let (code, said) = reload("--token secret");
    assert_eq!(code, 0, "{said}");
    let without_token = Server::with("workers = 1").start();
    let url = without_token.admin_url().replace("127.0.0.1", "127.1");
    let (code, said) = shell(&format!("{} reload {url}", env!("CARGO_BIN_EXE_httpipe")));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("403"), "{said}");
}

/// Some of the idle connections sent a request before, others never sent a byte.
#[test]
fn idle_strangers_do_not_shut_operators_out() {
    let token = ["Authorization: Bearer secret"];
    for (keys, shown) in [("", &token[..0]), ("admin_token = \"secret\"", &token[..])] {
        let server = Server::with("workers = 1").top(keys).start_unready();
        let mut idle: Vec<Connection> = (0..60).map(|_| server.admin().connect()).collect();
        for connection in &mut idle {
            assert_eq!(connection.get("/live").status, 200);
        }
        idle.extend((0..40).map(|_| server.admin().connect()));
        for _ in 0..3 {
            let answer = server.admin().request("GET", "/metrics", shown, "");
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.is_within(Duration::from_secs(2)), "{answer:?}");
        }
    }
}

#[test]
fn without_proc_the_start_says_what_is_missing() {
    let without = "unshare -m sh -c 'mount -t tmpfs none /proc && exec \"$@\"' sh";
    if shell(&format!("{without} true")).0 != 0 {
        return passed_over("/proc cannot be hidden", "it takes root and `unshare`");
    }
    let ended = Server::with("workers = 1").under(without).refused();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("mount /proc"), "{ended:?}");
}
