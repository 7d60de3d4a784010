//! `examples/seed`: the four switches of the server from which this one grew, as configuration.

use crate::serve::start;
use crate::support::Server;

fn seed(switch: &str) -> Option<Server> {
    start(Server::args(&[&format!("examples/seed/{switch}.toml")]).in_project(), &["python3"])
}

fn busy(server: &Server) -> f64 {
    server.metric("httpipe_workers{state=\"busy\"}")
}

#[test]
fn with_the_queue_off_a_busy_server_says_so_at_once() {
    let Some(server) = seed("queue-off") else { return };
    let client = server.client();
    assert_eq!(client.get("/fib?num=10").body, r#"{"result":"55"}"#);
    let long = client.get_later("/fib?num=45");
    server.wait_until("it computes", |it| busy(it) == 1.0);
    let refused = client.get("/fib?num=10");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
    long.leave();
}

#[test]
fn in_parallel_a_short_call_waits_for_no_long_one() {
    let Some(server) = seed("parallel") else { return };
    let client = server.client();
    let long: Vec<_> = (44..46).map(|n| client.get_later(&format!("/fib?num={n}"))).collect();
    server.wait_until("both compute, and a third is ready", |it| {
        busy(it) == 2.0 && it.metric("httpipe_workers{state=\"ready\"}") >= 1.0
    });
    assert_eq!(client.get("/fib?num=10").body, r#"{"result":"55"}"#);
    for call in long {
        call.leave();
    }
}

#[test]
fn with_the_cache_on_a_question_is_computed_once() {
    let Some(server) = seed("cache") else { return };
    for status in ["httpipe; fwd=miss; stored", "httpipe; hit; ttl="] {
        let answer = server.client().get("/fib?num=10");
        assert_eq!(answer.body, r#"{"result":"55"}"#);
        assert!(answer.header("cache-status").starts_with(status), "{answer:?}");
    }
}

#[test]
fn what_is_known_is_not_computed_again() {
    let Some(server) = seed("kept") else { return };
    let client = server.client();
    let ask = |num: u32| client.get(&format!("/fib?num={num}")).body;
    assert_eq!(ask(8), r#"{"result":"21","additions":33}"#);
    assert_eq!(ask(9), r#"{"result":"34","additions":21}"#);
    assert_eq!(ask(10), r#"{"result":"55","additions":1}"#);
    // Each next number is one addition: without what is known the last one would take centuries.
    for num in 11..=90 {
        let answer = client.get(&format!("/fib?num={num}"));
        assert_eq!(answer.json()["additions"], 1, "{answer:?}");
    }
    assert_eq!(client.get("/fib?num=90").json()["result"], "2880067194370816120");
    let again = client.get("/fib?num=10");
    assert!(again.header("cache-status").starts_with("httpipe; hit"), "{again:?}");
}
