//! Pools are islands: what goes wrong in one is not felt in the other.

use crate::support::Server;

const TWO: &str = r#"
[pool.good]
command = ["$httpipe", "demo-worker"]
workers = 1

[pool.bad]
command = ["$httpipe", "demo-worker", "--exit-at-once", "1"]
workers = 1
probe = { send = "1" }

[[route]]
match = "POST /good"
pool = "good"

[[route]]
match = "POST /bad"
pool = "bad"
"#;

#[test]
fn a_pool_without_workers_does_not_disturb_the_other() {
    let server = Server::config(TWO).start_unready();
    server.wait_until("the bad pool was tried", |s| {
        s.metric("httpipe_worker_exits_total{pool=\"bad\"}") >= 1.0
    });
    assert_eq!(server.client().post("/good", "hello").body, "hello");
    assert_eq!(server.client().post("/bad", "hello").status, 503);
    assert_eq!(server.admin().get("/ready").status, 503, "one pool has no worker");
}

#[test]
fn options_of_a_pool_are_refused_where_there_are_two() {
    let ended = Server::config(TWO).option("--workers").option("3").refused();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--workers"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}
