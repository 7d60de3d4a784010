//! Pools are independent: a fault in one has no effect on the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Over, Server, pause, whole_machine};

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

const NOISY: &str = r#"
[pool.quiet]
command = ["$httpipe", "demo-worker"]
workers = 1

[pool.noisy]
command = ["$httpipe", "demo-worker"]
workers = 1
retries = 0
timeout = "300ms"
stop_grace = "50ms"
queue = { length = 20 }

[[route]]
match = "POST /quiet"
pool = "quiet"

[[route]]
match = "POST /noisy"
pool = "noisy"
"#;

/// Asks the quiet pool `calls` times, and `/live`, which needs no pool, as often. Returns how long
/// the answers of each took, the shortest first.
fn ask_quietly(server: &Server, calls: usize) -> [Vec<Duration>; 2] {
    let mut caller = server.client().connect();
    let (mut quiet, mut none) = (Vec::new(), Vec::new());
    for number in 0..calls {
        let question = format!("quiet {number}");
        let answer = caller.post("/quiet", &question);
        assert_eq!((answer.status, answer.body.as_str()), (200, question.as_str()), "{answer:?}");
        quiet.push(answer.took);
        none.push(server.admin().get("/live").took);
        pause(Duration::from_millis(3), "a quiet caller");
    }
    quiet.sort();
    none.sort();
    [quiet, none]
}

/// Floods the noisy pool until `over` with questions that are slow, hang, crash or have long
/// answers. Returns how many were answered and how many were refused.
fn make_noise(server: &Server, over: &AtomicBool, caller: usize) -> (u64, u64) {
    let kinds = ["sleep 20 a", "hang a", "crash a", "huge 1MiB a"];
    let long = "x".repeat(100_000);
    let mut connection = server.client().connect();
    let (mut answered, mut refused) = (0, 0);
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let kind = kinds.get((round + caller) % 8).copied().unwrap_or(&long);
        let answer = connection.post("/noisy", &format!("{kind} {caller} {round}"));
        match answer.status {
            200 => answered += 1,
            502..=504 => refused += 1,
            _ => panic!("{answer:?}"),
        }
        if answer.header("connection") == "close" {
            connection = server.client().connect();
        }
    }
    (answered, refused)
}

#[test]
fn a_pool_that_is_flooded_takes_nothing_from_a_quiet_one() {
    let _alone = whole_machine();
    let server = Server::config(NOISY).start();
    ask_quietly(&server, 200);
    let worker = server.workers();
    let over = AtomicBool::new(false);
    let (beside, noise) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..32)
            .map(|caller| {
                let (server, over) = (&server, &over);
                scope.spawn(move || make_noise(server, over, caller))
            })
            .collect();
        let until_here = Over(&over);
        server.wait_until("the noisy pool refuses calls", |s| {
            s.metric("httpipe_requests_total{route=\"POST /noisy\",status=\"503\"}") > 50.0
        });
        let beside = ask_quietly(&server, 300);
        drop(until_here);
        let noise: Vec<_> =
            callers.into_iter().map(|caller| caller.join().expect("honest answers only")).collect();
        (beside, noise)
    });
    let refused: u64 = noise.iter().map(|(_, refused)| refused).sum();
    assert!(refused > 100, "it was noisy: {noise:?}");
    let [quiet, none] = beside;
    for (percent, bound) in [(50, Duration::from_millis(25)), (99, Duration::from_millis(250))] {
        let (quiet, none) = (quiet[3 * percent], none[3 * percent]);
        // Where the noise leaves little of the machine, whatever needs no pool is slow too.
        assert!(quiet < bound.max(none * 5), "{percent} %: {quiet:?}, without a pool {none:?}");
    }
    assert!(worker.iter().any(|id| server.workers().contains(id)), "the quiet one stays");
    assert_eq!(server.metric("httpipe_worker_exits_total{pool=\"quiet\"}"), 0.0);
    assert_eq!(server.metric("httpipe_calls_total{pool=\"quiet\",outcome=\"ok\"}"), 500.0);
}
