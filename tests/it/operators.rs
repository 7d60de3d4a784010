//! What operators may do, by which secret, and what becomes of calls and workers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Answer, Over, Server, pause};

fn act(server: &Server, path: &str) -> Answer {
    let secret = format!("Authorization: Bearer {}", server.key());
    server.admin().request("POST", path, &[&secret], "")
}

fn worker_ids(server: &Server) -> Vec<u64> {
    let status = server.status();
    let pools = status["pools"].as_array().expect("pools").iter();
    let workers = pools.flat_map(|pool| pool["workers"].as_array().expect("workers"));
    workers.map(|worker| worker["id"].as_u64().expect("a number")).collect()
}

#[test]
fn the_key_is_its_users_alone_is_shown_nowhere_and_goes_with_the_server() {
    let mut server = Server::with("workers = 1").start();
    let (file, key) = (server.key_file(), server.key());
    let mode =
        |path: &PathBuf| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let directory = server.dir().join("httpipe");
    assert_eq!((mode(&file), mode(&directory), key.len()), (0o600, 0o700, 32));
    assert_eq!(act(&server, "/pools/main/recycle").status, 200);
    let wrong = server.admin().request("POST", "/reload", &["Authorization: Bearer x"], "");
    assert_eq!(wrong.status, 401);
    for page in ["/status.json", "/metrics", "/nowhere"] {
        assert!(!server.admin().get(page).body.contains(&key), "{page}");
    }
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(!file.exists(), "the key outlives the server");
    let log = server.log_lines().join("\n");
    assert!(log.contains("the operator's key") && !log.contains(&key), "{log}");
}

#[test]
fn a_second_signal_takes_the_key_away_too() {
    let mut server = Server::with("workers = 1").start();
    let file = server.key_file();
    let running = server.client().post_later("/", "sleep 20000 a");
    server.wait_until("it is busy", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.signal("TERM");
    server.wait_for_log("stopping");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(!file.exists());
    running.leave();
}

#[test]
fn a_server_that_can_keep_no_key_says_so_and_serves() {
    let server = Server::with("workers = 1")
        .env("RUNTIME_DIRECTORY", "/proc/1/nowhere")
        .env("XDG_RUNTIME_DIR", "/proc/1/nowhere")
        .under(
            "unshare -m sh -c 'place=/tmp/httpipe-$(id -u); mkdir -p -m 700 $place && \
             mount -t tmpfs -o ro none $place && exec \"$@\"' sh",
        );
    if crate::support::shell("unshare -m true").0 != 0 {
        return crate::support::passed_over(
            "no directory can be made read-only",
            "it takes root and `unshare`",
        );
    }
    let server = server.start();
    server.wait_for_log("there is no operator's key");
    assert_eq!(server.answers("a").status, 200);
    let denied = server.admin().request("POST", "/pools/main/recycle", &["Httpipe-Admin: 1"], "");
    assert_eq!(denied.status, 401);
}

/// Every row of the table: what it takes to look, to change, and to act.
#[test]
fn each_page_is_open_to_whom_it_should_be() {
    let server = Server::with("workers = 1").start();
    let secret = format!("Authorization: Bearer {}", server.key());
    let ours = "Httpipe-Admin: 1";
    let wrong = "Authorization: Bearer 00112233445566778899aabbccddeeff";
    let foreign = "Host: evil.example";
    let look: &[(&str, &str)] = &[("GET", "/status.json"), ("GET", "/metrics")];
    let change: &[(&str, &str)] = &[("POST", "/reload"), ("DELETE", "/poisonous")];
    let act: &[(&str, &str)] = &[
        ("POST", "/pools/main/recycle"),
        ("POST", "/workers/0/recycle"),
        ("POST", "/workers/0/kill"),
    ];
    let rows: &[(&[&str], u16, u16, u16)] = &[
        (&[], 200, 403, 401),
        (&[ours], 200, 200, 401),
        (&[foreign], 403, 403, 403),
        (&[foreign, ours], 403, 403, 403),
        (&[ours, "Origin: http://evil.example"], 403, 403, 403),
        (&[ours, wrong], 401, 401, 401),
        (&[&secret], 200, 200, 200),
        (&[foreign, &secret], 200, 200, 200),
    ];
    for (fields, to_look, to_change, to_act) in rows {
        for (pages, expected) in [(look, to_look), (change, to_change), (act, to_act)] {
            for (method, path) in pages {
                let status = server.admin().request(method, path, fields, "").status;
                // There is no worker 0, which only those may learn who may act.
                let status = if status == 404 { 200 } else { status };
                assert_eq!(status, *expected, "{method} {path} {fields:?}");
            }
        }
    }
    assert_eq!(server.metric("httpipe_admin_denied_total{reason=\"wrong_token\"}"), 7.0);
    assert!(server.metric("httpipe_admin_denied_total{reason=\"foreign\"}") >= 21.0);
    assert_eq!(server.metric("httpipe_admin_denied_total{reason=\"unmarked\"}"), 2.0);
    assert_eq!(server.metric("httpipe_admin_actions_total{action=\"recycle_pool\"}"), 2.0);
}

#[test]
fn workers_are_replaced_under_load_and_no_call_is_lost() {
    let server = Server::with("workers = \"2..4\"\nretries = 0").start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for caller in 0..3 {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("sleep 5 {caller} {round}");
                    let answer = server.answers(&text);
                    assert_eq!((answer.status, &answer.body), (200, &text), "{answer:?}");
                }
            });
        }
        let first = worker_ids(&server);
        let answer = act(&server, "/pools/main/recycle");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["pool"], "main");
        server.wait_until("all are replaced", |server| {
            worker_ids(server).iter().all(|id| !first.contains(id))
        });
        let one = worker_ids(&server)[0];
        assert_eq!(act(&server, &format!("/workers/{one}/recycle")).status, 200);
        server.wait_until("it is replaced", |server| !worker_ids(server).contains(&one));
    });
    let recycled = server.metric("httpipe_worker_exits_total{reason=\"recycled\"}");
    assert_eq!(server.metric("httpipe_worker_exits_total"), recycled, "no other reason");
}

#[test]
fn a_killed_worker_costs_its_call_and_nobody_is_blamed() {
    let server = Server::with("workers = 1\nretries = 0\nstop_grace = \"10s\"")
        .worker("demo-worker --ignore-term")
        .start();
    for _ in 0..3 {
        let running = server.client().post_later("/", "sleep 20000 a");
        server.wait_until("it is busy", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
        let worker = *worker_ids(&server).last().expect("a worker");
        let answer = act(&server, &format!("/workers/{worker}/kill"));
        assert_eq!((answer.status, answer.json()["worker"].as_u64()), (200, Some(worker)));
        let lost = running.answer();
        assert_eq!((lost.status, &*lost.code()), (502, "worker_lost"), "{lost:?}");
        assert!(lost.detail().contains("killed by an operator"), "{lost:?}");
        assert!(lost.is_within(Duration::from_secs(3)), "{lost:?}");
        assert_eq!(server.answers("good").status, 200);
    }
    server.wait_for_count("httpipe_worker_exits_total{reason=\"killed\"}", 3.0);
    assert_eq!(server.status()["pools"][0]["poisonous"]["count"], 0);
    let line = server.wait_for_log("an operator kills a worker");
    assert!(line.contains("127.0.0.1:") && line.contains("the operator's key"), "{line}");
}

/// Else a worker that ignores TERM would keep its place for the whole grace.
#[test]
fn a_worker_that_takes_its_time_to_leave_can_be_killed() {
    let server = Server::with("workers = 1\nstop_grace = \"60s\"")
        .worker("demo-worker --ignore-term --ignore-eof")
        .start();
    let first = worker_ids(&server)[0];
    assert_eq!(act(&server, &format!("/workers/{first}/recycle")).status, 200);
    let is_leaving = |server: &Server| server.metric("httpipe_workers{state=\"leaving\"}") == 1.0;
    server.wait_until("it is told to leave", is_leaving);
    pause(Duration::from_millis(100), "it does not leave by itself");
    assert!(is_leaving(&server));
    assert_eq!(act(&server, &format!("/workers/{first}/kill")).status, 200);
    server.wait_until("it is gone", |server| !worker_ids(server).contains(&first));
}

#[test]
fn names_in_paths_are_decoded_and_unknown_ones_are_a_problem() {
    let server = Server::with("workers = 1").start();
    assert_eq!(act(&server, "/pools/m%61in/recycle").status, 200);
    for path in ["/pools/nowhere/recycle", "/pools/%1b%5b2J/recycle", "/workers/99/kill"] {
        let answer = act(&server, path);
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(!answer.body.contains('\x1b'), "{answer:?}");
    }
}

#[test]
fn two_pools_have_no_worker_of_one_number() {
    let server = Server::config(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [pool.one]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 2\n\
         [pool.two]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 2\n\
         [[route]]\nmatch = \"POST /one\"\npool = \"one\"\n\
         [[route]]\nmatch = \"POST /two\"\npool = \"two\"\n",
    )
    .start();
    let mut ids = worker_ids(&server);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}
