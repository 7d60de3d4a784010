//! The agent port: what load balancers are told, and that a server which stops waits until they
//! know it.

use std::time::Duration;

use crate::support::{Client, Plan, Server, Stopwatch};

/// A server with this line at the top of its file besides the agent port.
pub(crate) fn with_agent(pool: &str) -> Plan {
    Server::with(pool).top("agent = \"127.0.0.1:0\"")
}

/// Returns what a balancer is told that sends this.
pub(crate) fn told(server: &Server, sent: &str) -> String {
    let mut connection = Client::of(&server.agent_address()).connect();
    connection.send(sent.as_bytes());
    connection.rest()
}

#[test]
fn a_balancer_is_told_how_many_calls_the_workers_take() {
    let server = with_agent("workers = 5").start();
    for (sent, answer) in [
        ("", "ready up maxconn:5\n"),
        ("\n", "ready up maxconn:5\n"),
        ("share=1\n", "ready up maxconn:5\n"),
        ("share=2\n", "ready up maxconn:2\n"),
        ("share=2", "ready up maxconn:2\n"),
        ("share=100\n", "ready up maxconn:1\n"),
    ] {
        assert_eq!(told(&server, sent), answer, "{sent:?}");
    }
    assert_eq!(server.metric("httpipe_agent_total{result=\"ready\"}"), 6.0);
    assert_eq!(server.metric("httpipe_slots{pool=\"main\"}"), 5.0);
    let status = server.status();
    assert_eq!(status["agent"]["listen"], server.agent_address());
    assert_eq!(status["agent"]["said"], "ready up maxconn:1");
    assert_eq!(status["agent"]["balancers"], 1);
    assert_eq!(status["pools"][0]["slots"], 5);
}

#[test]
fn a_line_that_is_unknown_is_told_what_to_write_and_no_number() {
    let server = with_agent("workers = 1").start();
    let long = "share=2".repeat(100);
    for sent in ["share=0\n", "share=two\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &long] {
        let said = told(&server, sent);
        assert!(said.contains("share=K") && !said.contains("maxconn:"), "{said}");
    }
    assert!(server.wait_for_log("unknown line").contains("agent-send"));
    let logged = server.log_lines().iter().filter(|line| line.contains("unknown line")).count();
    assert_eq!(logged, 1, "the log is not filled");
    assert_eq!(server.metric("httpipe_agent_total{result=\"mistaken\"}"), 4.0);
}

#[test]
fn without_a_worker_that_serves_nothing_is_to_be_sent() {
    let server = with_agent("workers = 1\nprobe = { send = \"1\" }")
        .worker("demo-worker --slow-start 1s")
        .start_unready();
    assert_eq!(told(&server, "\n"), "drain\n");
    server.wait_until_ready();
    assert_eq!(told(&server, "\n"), "ready up maxconn:1\n");
}

/// A worker that takes one call is replaced after each; its successor is there in a moment.
#[test]
fn a_pool_between_two_workers_is_no_reason_to_drain() {
    let server = with_agent("workers = 1\nrecycle = { calls = 1 }").start();
    for _ in 0..10 {
        let running = server.client().post_later("/", "a");
        assert_eq!(told(&server, "\n"), "ready up maxconn:1\n");
        assert_eq!(running.answer().status, 200);
    }
}

#[test]
fn silent_connections_keep_no_balancer_out() {
    let server = with_agent("workers = 1").start();
    let client = Client::of(&server.agent_address());
    let silent: Vec<_> = (0..200).map(|_| client.connect()).collect();
    assert_eq!(told(&server, "\n"), "ready up maxconn:1\n");
    drop(silent);
}

#[test]
fn a_server_that_stops_serves_until_its_balancer_knows() {
    let mut server = with_agent("workers = 1").start();
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "before").status, 200);
    told(&server, "\n");
    server.signal("TERM");
    server.wait_until("it is not ready", |s| s.admin().get("/ready").status == 503);
    assert_eq!(server.answers("new").status, 200, "the balancer may still send");
    assert_eq!(kept.post("/", "kept").status, 200);
    assert_eq!(told(&server, "\n"), "drain\n");
    server.wait_until("no more connections are taken", |s| s.client().is_refused());
    let last = kept.post("/", "last");
    assert_eq!((last.status, last.header("connection")), (200, "close"));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_server_that_nobody_asks_ends_at_once() {
    let mut server = with_agent("workers = 1").start();
    let begun = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(begun.took().is_below(Duration::from_secs(2)), "{:?}", begun.took());
}

#[test]
fn a_balancer_that_asks_no_more_does_not_keep_the_server() {
    let mut server = with_agent("workers = 1").start();
    told(&server, "\n");
    let begun = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(begun.took().is_below(Duration::from_secs(9)), "{:?}", begun.took());
}

#[test]
fn a_second_signal_does_not_wait_for_balancers() {
    let mut server = with_agent("workers = 1").start();
    told(&server, "\n");
    server.signal("TERM");
    server.wait_until("it is not ready", |s| s.admin().get("/ready").status == 503);
    let begun = Stopwatch::start();
    server.signal("TERM");
    server.exit_code();
    assert!(begun.took().is_below(Duration::from_secs(3)), "{:?}", begun.took());
}

#[test]
fn a_socket_file_serves_balancers_too() {
    let server = Server::with("workers = 2").top("agent = \"unix:agent.sock\"").start();
    assert_eq!(told(&server, "\n"), "ready up maxconn:2\n");
}

#[test]
fn an_address_that_strangers_reach_or_that_is_taken_is_refused() {
    for (keys, said) in [
        ("agent = \"0.0.0.0:0\"", "anybody could ask `agent` at 0.0.0.0:0"),
        ("listen = 9\nagent = 9", "`listen` has 9 already"),
        ("admin = 9\nagent = 9", "`admin` has 9 already"),
        ("agent = \"hugo\"", "`hugo` is not an address to listen on"),
    ] {
        let ended = Server::with("workers = 1").top(keys).refused();
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let trusting = "agent = \"0.0.0.0:0\"\ntrust = [\"10.0.0.0/8\"]";
    let server = Server::with("workers = 1").top(trusting).start();
    let port = server.agent_address().rsplit(':').next().map(str::to_owned).expect("a port");
    let mut connection = Client::of(&format!("127.0.0.1:{port}")).connect();
    assert_eq!(connection.rest(), "ready up maxconn:1\n");
}

#[test]
fn another_address_takes_effect_after_a_restart_and_new_numbers_at_once() {
    let server = with_agent("workers = 1").start();
    server.rewrite("agent = \"127.0.0.1:0\"", "agent = \"off\"");
    server.rewrite("workers = 1", "workers = 3");
    let reloaded = server.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert!(reloaded.body.contains("agent: changed; takes effect after a restart"), "{reloaded:?}");
    server.wait_until("it has three workers", |s| told(s, "\n") == "ready up maxconn:3\n");
}
