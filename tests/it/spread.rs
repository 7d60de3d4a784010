//! Pools over several hosts: real servers, with a real NATS between them.

use std::thread;

use rustix::process::Signal;

use crate::support::nats::Nats;
use crate::support::{Plan, Server, shell};

/// A server that shares the calls of its pool through this NATS, with further keys of the pool.
pub(crate) fn shared(nats: &Nats, keys: &str) -> Plan {
    shared_at(&nats.url(), keys)
}

/// As [`shared`], through what is at this address.
pub(crate) fn shared_at(url: &str, keys: &str) -> Plan {
    let top = format!("[spread]\nnats = \"{url}\"\n");
    Server::with(&format!("spread = true\n{keys}")).top(&top)
}

/// A front end without workers.
pub(crate) fn front(nats: &Nats, keys: &str) -> Server {
    shared(nats, &format!("workers = 0\n{keys}")).start_unready()
}

/// A host without a listener.
pub(crate) fn host(nats: &Nats, keys: &str) -> Server {
    start_host(shared(nats, keys))
}

/// Starts a host without a listener.
pub(crate) fn start_host(plan: Plan) -> Server {
    let server = plan.option("--listen").option("off").start_host();
    server.wait_until_ready();
    server
}

/// Waits until the front end can place so many calls.
pub(crate) fn wait_for_slots(front: &Server, slots: u64) {
    front.wait_until("it sees the workers of others", |it| {
        it.status()["pools"][0]["away"]["slots"] == slots
    });
}

#[test]
fn a_call_of_a_front_end_without_workers_is_answered_by_a_host_without_listeners() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    assert_eq!(front.admin().get("/ready").status, 503, "nobody can answer");
    let host = host(&nats, "workers = 2");
    front.wait_until_ready();
    assert_eq!(front.answers("a").body, "a");
    assert_eq!(host.metric(r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#), 1.0);
    let status = front.status();
    assert_eq!(status["spread"]["connected"], true);
    assert_eq!(status["spread"]["hosts"][0]["pools"][0]["shares"], true);
}

#[test]
fn a_server_with_a_free_worker_keeps_its_calls() {
    let Some(nats) = Nats::start("") else { return };
    let front = shared(&nats, "workers = 1").start();
    let host = host(&nats, "workers = 1");
    front.wait_until("it sees the host", |it| it.status()["pools"][0]["away"]["slots"] == 1);
    for _ in 0..20 {
        assert_eq!(front.answers("a").body, "a");
    }
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    assert_eq!(host.metric(elsewhere), 0.0, "its own worker was free each time");
}

#[test]
fn hosts_of_another_version_get_no_calls() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "version = \"2\"");
    let other = host(&nats, "version = \"1\"\nworkers = 1");
    front.wait_until("it sees the host", |it| {
        it.status()["spread"]["hosts"][0]["pools"][0]["shares"] == false
    });
    assert_eq!(front.admin().get("/ready").status, 503);
    let same = host(&nats, "version = \"2\"\nworkers = 1");
    front.wait_until_ready();
    assert_eq!(front.answers("a").body, "a");
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    assert_eq!((other.metric(elsewhere), same.metric(elsewhere)), (0.0, 1.0));
}

#[test]
fn no_call_is_lost_where_nats_is_killed_and_comes_back() {
    let Some(mut nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 0");
    let host = start_host(shared(&nats, "workers = 2").worker("demo-worker --journal seen"));
    wait_for_slots(&front, 2);
    let is_answered = |kind: &str, caller: u32, call: u32| {
        let question = format!("{kind}-{caller}-{call}");
        let answer = match kind {
            "again" => front.client().get(&format!("/?input={question}")),
            _ => front.client().post("/", &question),
        };
        answer.body == question
    };
    thread::scope(|scope| {
        let ask = |caller| {
            (0..50).all(|call| is_answered(["again", "once"][caller as usize % 2], caller, call))
        };
        let calls: Vec<_> = (0..4).map(|caller| scope.spawn(move || ask(caller))).collect();
        nats.kill();
        front.wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
        nats.start_again();
        for call in calls {
            assert!(call.join().expect("a caller"), "each call was answered");
        }
    });
    let mut once: Vec<_> = host.seen().into_iter().filter(|it| it.starts_with("once")).collect();
    once.sort();
    once.dedup();
    let ran = host.seen().iter().filter(|it| it.starts_with("once")).count();
    assert_eq!((once.len(), ran), (100, 100), "none ran twice");
    let error = front.status()["spread"]["last_error"].to_string();
    assert!(error.contains("nats://127.0.0.1"), "{error}");
}

#[test]
fn a_host_that_drains_ends_what_it_has() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let mut host = host(&nats, "workers = 2");
    wait_for_slots(&front, 2);
    let client = front.client();
    let pending = [client.get_later("/?input=sleep%201s"), client.post_later("/", "sleep 1s")];
    host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 2.0);
    host.signal("TERM");
    for call in pending {
        assert_eq!(call.answer().status, 200);
    }
    assert_eq!(host.exit_code(), 0);
    wait_for_slots(&front, 0);
}

#[test]
fn a_server_starts_without_nats_and_serves_with_its_own_workers() {
    let Some(mut nats) = Nats::start("") else { return };
    nats.kill();
    let server = shared(&nats, "workers = 1").start();
    assert_eq!(server.answers("a").body, "a");
    assert_eq!(server.status()["spread"]["connected"], false);
    nats.start_again();
    server.wait_until("it has connected", |it| it.status()["spread"]["connected"] == true);
    nats.signal(Signal::STOP);
    server.wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
    nats.signal(Signal::CONT);
    server.wait_until("it has connected", |it| it.status()["spread"]["connected"] == true);
}

#[test]
fn each_role_needs_no_more_than_the_example_allows_and_no_password_is_told() {
    let example = include_str!("../../examples/spread/nats.conf");
    let configuration = example.replace("listen: \"127.0.0.1:4222\"", "");
    let Some(nats) = Nats::start(&configuration) else { return };
    let known = |plan: Plan, login: &str| {
        let creds = format!("creds = \"nats.creds\"\nnats = \"{}\"", nats.url());
        let plan = plan.file("nats.creds", login);
        plan.top(&format!("[spread]\n{creds}"))
    };
    let pool = |keys: &str| Server::with(&format!("spread = true\nabandoned = \"1s\"\n{keys}"));
    let front = known(pool("workers = 0"), "front:change me too").start_unready();
    let host = known(pool("workers = 1"), "worker:change me");
    let host = host.option("--listen").option("off").start_host();
    host.wait_until_ready();
    wait_for_slots(&front, 1);
    for text in ["a", "b"] {
        assert_eq!(front.answers(text).body, text);
    }
    let left = front.client().get_later("/?input=sleep%205s");
    host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    left.leave();
    front.wait_until("the call is called back", |it| it.status()["pools"][0]["away"]["calls"] == 0);
    for server in [&front, &host] {
        assert_eq!(server.status()["spread"]["last_error"], serde_json::Value::Null);
        let said = server.log_lines().join("\n") + &server.status().to_string();
        assert!(!said.contains("change me") && !said.contains("Violation"), "{said}");
    }
    let stranger = known(pool("workers = 1"), "front:wrong-canary").start();
    stranger.wait_for_log("Authorization Violation");
    let said = stranger.log_lines().join("\n") + &stranger.status().to_string();
    assert!(!said.contains("wrong-canary"), "{said}");
}

#[test]
fn a_call_that_may_run_twice_outlives_its_host_and_another_runs_once() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 2");
    let mut first = host(&nats, "workers = 2");
    wait_for_slots(&front, 2);
    let client = front.client();
    let (again, once) =
        (client.get_later("/?input=sleep%201s"), client.post_later("/", "sleep 1s"));
    first.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 2.0);
    let second = host(&nats, "workers = 2");
    first.signal("KILL");
    first.exit_code();
    assert_eq!(again.answer().status, 200, "it was tried again elsewhere");
    let failed = once.answer();
    assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"));
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    assert_eq!(second.metric(elsewhere), 1.0, "the other call was not given away again");
}

/// The front end needs neither the program nor a file of it.
#[test]
fn a_front_end_without_workers_starts_where_the_program_is_not() {
    let Some(nats) = Nats::start("") else { return };
    let front = shared(&nats, "workers = 0").worker("./no-such-program").start_unready();
    let host = host(&nats, "workers = 1");
    wait_for_slots(&front, 1);
    assert_eq!(front.answers("a").body, "a");
    drop(host);
    let said = shared(&nats, "workers = 1").worker("./no-such-program").refused().stderr;
    assert!(said.contains("cannot run"), "{said}");
}

/// A call that goes to another host is a group of one there.
#[test]
fn a_pool_that_puts_calls_together_answers_those_of_others_one_by_one() {
    let Some(nats) = Nats::start("") else { return };
    let plan = |workers: u32| {
        let keys = "batch = { most = 4 }\nreply = \"json\"";
        shared(&nats, &format!("workers = {workers}\n{keys}")).worker("cat")
    };
    let front = plan(0).start_unready();
    let host = start_host(plan(1));
    wait_for_slots(&front, 1);
    let client = front.client();
    let pending = [1, 2, 3].map(|number| client.post_later("/", &number.to_string()));
    for (number, call) in [1, 2, 3].into_iter().zip(pending) {
        assert_eq!(call.answer().json(), number);
    }
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn the_first_workers_of_a_reload_answer_their_own_server_and_that_is_said() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    front.rewrite("workers = 0", "workers = 1");
    let reloaded = front.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    let line = front.wait_for_log("answer the calls of this server only");
    assert!(line.contains("a restart lends them"), "{line}");
    assert_eq!(front.answers("a").body, "a");
}

/// Runs the servers and the caller of `docs/spread.md`.
#[test]
fn the_commands_of_the_page_serve() {
    serve_and_ask(include_str!("../../docs/spread.md"));
}

/// Runs those of `docs/scale.md`, where the first server has workers of its own.
#[test]
fn the_walk_to_three_machines_serves() {
    let page = include_str!("../../docs/scale.md");
    let (_, page) = page.split_once("## Hosts that lend their workers").expect("a chapter");
    serve_and_ask(page);
}

fn serve_and_ask(page: &str) {
    let Some(nats) = Nats::start("") else { return };
    let example = include_str!("../../examples/spread/fib.toml");
    let python = include_str!("../../examples/fib/calculate.py");
    let run = page.lines().filter_map(|it| it.strip_prefix("httpipe run "));
    let run: Vec<_> = run.filter(|line| line.contains("/spread/")).collect();
    let serve = |line: &&str| {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("examples/spread/fib.toml"));
        let text = example.replace("nats://127.0.0.1:4222", &nats.url()).replace("../fib", ".");
        let plan = Server::config(&text).file("calculate.py", python);
        words.fold(plan, |plan, word| plan.option(if word.starts_with('3') { "0" } else { word }))
    };
    let front = serve(&run[0]).start_unready();
    let hosts: Vec<_> = run[1..].iter().map(|line| serve(line).start_host()).collect();
    assert_eq!(hosts.len(), 2);
    wait_for_slots(&front, 4);
    let status = page.lines().find(|line| line.starts_with("httpipe status "));
    assert_eq!(status, Some("httpipe status 127.0.0.1:3001"));
    let exe = env!("CARGO_BIN_EXE_httpipe");
    let (code, said) = shell(&format!("{exe} status {}", front.admin_url()));
    assert!(code == 0 && said.matches("shares calls").count() == 2, "{said}");
    let asked = page.lines().find(|line| line.starts_with("curl ")).expect("a caller");
    let (command, wanted) = asked.split_once(" # ").expect("an answer");
    let command = command.replace("http://127.0.0.1:3000", &front.url());
    let answer = shell(&format!("{command} --silent --show-error"));
    assert_eq!(answer, (0, wanted.to_owned()));
}

#[test]
fn what_cannot_be_shared_is_refused_with_what_to_do() {
    let nats = "[spread]\nnats = \"nats://127.0.0.1:4222\"";
    let refused = |plan: Plan| plan.refused().stderr;
    for (plan, words) in [
        (Server::with("spread = true"), "there is no `[spread]`"),
        (Server::with("workers = 0"), "`spread = true`"),
        (Server::with("").top(&format!("listen = \"off\"\n{nats}")), "nobody could ask"),
        (Server::with("spread = true").top("[spread]"), "names no NATS server"),
        (Server::with("").top("[spread]\nnats = \"nats://u:canary@a\""), "USER:PASSWORD"),
        (Server::with("").top(&format!("{nats}\ncreds = \"none\"")), "No such file"),
    ] {
        let said = refused(plan);
        assert!(said.contains(words) && !said.contains("canary"), "{said}");
    }
    let empty = Server::with("").top(&format!("{nats}\ncreds = \"creds\"")).file("creds", "canary");
    let said = refused(empty);
    assert!(said.contains("begins with `SU`") && !said.contains("canary"), "{said}");
}
