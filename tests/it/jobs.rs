//! Jobs over HTTP: accepted now, answered later, found again whatever happens in between.

use std::path::PathBuf;

use crate::keys::{bearer, with_keys};
use crate::support::{Answer, Plan, Server, can_inject};

/// The header field with which a call becomes a job.
pub(crate) const ASYNC: &str = "Prefer: respond-async";

/// A program that notes each question in `runs.log` before it answers. `sleep S` takes so long, and
/// `until FILE` until there is such a file.
pub(crate) const NOTES: &str = "
import os, sys, time
for line in sys.stdin:
    with open('runs.log', 'a') as log:
        log.write(line)
    words = line.split()
    if words[0] == 'sleep':
        time.sleep(float(words[1]))
    while words[0] == 'until' and not os.path.exists(words[1]):
        time.sleep(0.01)
    print('did ' + line.strip(), flush=True)
";

/// Two workers that note what they are asked. Jobs of `/once` may not run twice, those of `/again`
/// may.
pub(crate) fn noting(top: &str) -> Plan {
    Server::with("workers = 2\nstop_grace = \"50ms\"\nabandoned = \"100ms\"")
        .worker("python3 -u notes.py")
        .file("notes.py", NOTES)
        .top(top)
        .route("match = \"POST /once\"\njobs = true")
        .route("match = \"POST /again\"\njobs = true\nidempotent = true")
}

/// Asks for a job. Returns its path.
pub(crate) fn asked(server: &Server, target: &str, body: &str) -> String {
    let answer = server.client().request("POST", target, &[ASYNC], body);
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").to_owned()
}

/// Waits until a job has ended, and returns it.
pub(crate) fn ended(server: &Server, path: &str) -> Answer {
    ended_with(server, path, &[])
}

/// Waits until a job has ended, and returns it; asks with these header fields. A worker that is to be
/// started first may take its time on a busy machine.
fn ended_with(server: &Server, path: &str, fields: &[&str]) -> Answer {
    let fields = [fields, &["Prefer: wait=10"]].concat();
    let mut job = server.client().request("GET", path, &fields, "");
    for _ in 0..6 {
        if !["queued", "running"].contains(&state(&job).as_str()) {
            break;
        }
        job = server.client().request("GET", path, &fields, "");
    }
    job
}

pub(crate) fn state(answer: &Answer) -> String {
    answer.json()["state"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn state_of(server: &Server, path: &str) -> String {
    state(&server.client().get(path))
}

/// A file that outlives a server.
pub(crate) fn kept_file(name: &str) -> PathBuf {
    let name = format!("jobs-{name}-{}.db", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    for ending in ["", "-wal", "-journal"] {
        std::fs::remove_file(format!("{}{ending}", path.display())).ok();
    }
    path
}

pub(crate) fn in_file(path: &std::path::Path) -> String {
    format!("jobs.file = \"{}\"", path.display())
}

#[test]
fn a_job_is_accepted_looked_for_and_removed() {
    let server = noting("jobs = {}").start();
    let answer = server.client().request("POST", "/once", &[ASYNC], "hello");
    assert_eq!((answer.status, answer.header("preference-applied")), (202, "respond-async"));
    assert_eq!(answer.header("retry-after"), "1");
    let path = answer.header("location").to_owned();
    let job = answer.json();
    assert_eq!(path, format!("/-/jobs/{}", job["id"].as_str().expect("a text")));
    assert_eq!((&job["route"], &job["attempts"]), (&"POST /once".into(), &0.into()));
    let job = ended(&server, &path);
    assert_eq!((state(&job).as_str(), job.json()["attempts"].as_u64()), ("succeeded", Some(1)));
    assert_eq!(job.json()["result"], format!("{path}/result"));
    let answer = server.client().get(&format!("{path}/result"));
    let direct = server.client().post("/once", "hello");
    assert_eq!((answer.status, &*answer.body), (200, "did hello"));
    assert_eq!(answer.body, direct.body);
    assert_eq!(answer.header("content-type"), direct.header("content-type"));
    assert_eq!(server.client().request("DELETE", &path, &[], "").status, 204);
    let gone = server.client().get(&path);
    assert_eq!((gone.status, gone.code().as_str()), (404, "no_job"));
    assert_eq!(server.client().get("/-/jobs/x").code(), "no_job");
    assert_eq!(server.client().post(&path, "").status, 405);
    let options = server.client().request("OPTIONS", &path, &[], "");
    assert_eq!(options.header("allow"), "GET, HEAD, DELETE, OPTIONS");
}

#[test]
fn who_does_not_wish_it_or_whose_route_has_no_jobs_is_answered_at_once() {
    let server = noting("jobs = {}").route("match = \"POST /never\"").start();
    for (target, fields) in
        [("/once", &[][..]), ("/once", &["Prefer: wait=5"]), ("/never", &[ASYNC])]
    {
        let answer = server.client().request("POST", target, fields, "x");
        assert_eq!((answer.status, &*answer.body), (200, "did x"), "{target} {fields:?}");
    }
    let wrong = server.client().request("POST", "/once", &[ASYNC], "a\nb");
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "unsendable"));
}

#[test]
fn a_job_that_ends_in_time_is_answered_as_a_call() {
    let server = noting("jobs = {}").start();
    let wait = "Prefer: respond-async, wait=10";
    let answer = server.client().request("POST", "/once", &[wait], "quick");
    assert_eq!((answer.status, &*answer.body), (200, "did quick"));
    let wait = "Prefer: respond-async, wait=0";
    let answer = server.client().request("POST", "/once", &[wait], "sleep 0.2");
    assert_eq!(
        (answer.status, answer.header("preference-applied")),
        (202, "respond-async, wait=0")
    );
}

#[test]
fn before_its_end_a_job_has_no_answer_and_after_a_failure_that_of_the_call() {
    let server = noting("jobs = {}").start();
    let path = asked(&server, "/once", "sleep 30");
    let early = server.client().get(&format!("{path}/result"));
    assert_eq!((early.status, early.code().as_str()), (409, "not_ended"));
    server.wait_until("it runs", |server| state_of(server, &path) == "running");
    let lost = ended_by_kill(&server, &path);
    assert_eq!(state(&lost), "failed");
    assert_eq!(lost.json()["problem"]["code"], "worker_lost");
    let answer = server.client().get(&format!("{path}/result"));
    assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"));
}

/// Kills all workers, and waits for the end of a job that one of them had.
fn ended_by_kill(server: &Server, path: &str) -> Answer {
    for worker in server.workers() {
        server.signal_if_alive(worker, "KILL");
    }
    ended(server, path)
}

#[test]
fn a_canceled_job_is_not_done() {
    let server = noting("jobs = {}").start();
    let running = asked(&server, "/once", "until never");
    server.wait_until("it runs", |server| state_of(server, &running) == "running");
    let canceled = server.client().request("DELETE", &running, &[], "");
    assert_eq!((canceled.status, state(&canceled).as_str()), (200, "canceled"));
    let answer = server.client().get(&format!("{running}/result"));
    assert_eq!((answer.status, answer.code().as_str()), (410, "canceled"));
    // Its worker is free for others, since nobody waits for it any longer.
    let path = asked(&server, "/once", "next");
    assert_eq!(state(&ended(&server, &path)), "succeeded");
}

#[test]
fn the_same_key_is_the_same_job() {
    let server = noting("jobs = {}").start();
    let ask = |body: &str| {
        let fields = [ASYNC, "Idempotency-Key: 8e03978e-40d5"];
        server.client().request("POST", "/once", &fields, body)
    };
    let (one, other) = (ask("a"), ask("a"));
    assert_eq!(one.header("location"), other.header("location"));
    let path = one.header("location").to_owned();
    assert_eq!(state(&ended(&server, &path)), "succeeded");
    assert_eq!(ask("a").header("location"), path);
    let reused = ask("b");
    assert_eq!((reused.status, reused.code().as_str()), (422, "key_reused"));
    let bad = server.client().request("POST", "/once", &[ASYNC, "Idempotency-Key: a b"], "a");
    assert_eq!(bad.status, 400);
    assert_eq!(server.read("runs.log"), "a\n");
}

#[test]
fn events_tell_of_each_change_and_end_with_the_job() {
    let server = noting("jobs = {}").start();
    let path = asked(&server, "/once", "sleep 0.6");
    let events = server.client().request("GET", &path, &["Accept: text/event-stream"], "");
    assert_eq!(events.header("content-type"), "text/event-stream");
    let states: Vec<String> = events
        .body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: job\ndata: "))
        .map(|data| serde_json::from_str::<serde_json::Value>(data).expect("JSON"))
        .map(|job| job["state"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(states.last().map(String::as_str), Some("succeeded"), "{states:?}");
    assert!(states.len() >= 2, "{states:?}");
}

#[test]
fn nobody_sees_the_job_of_another_key() {
    let server = with_keys("workers = 2", &["ann", "bob"])
        .top("jobs = {}")
        .route("match = \"POST /\"\njobs = true")
        .start();
    let (ann, bob) = (bearer(&server, "ann"), bearer(&server, "bob"));
    let path =
        server.client().request("POST", "/", &[ASYNC, &ann], "x").header("location").to_owned();
    for method in ["GET", "DELETE"] {
        for target in [path.clone(), format!("{path}/result")] {
            let others = server.client().request(method, &target, &[&bob], "");
            if method == "GET" || target == path {
                assert_eq!((others.status, others.code().as_str()), (404, "no_job"), "{target}");
            }
        }
    }
    assert_eq!(server.client().get(&path).status, 401);
    let wait = "Prefer: wait=10";
    assert_eq!(state(&server.client().request("GET", &path, &[&ann, wait], "")), "succeeded");
}

/// Where there are keys, none has more than a quarter of `length`, nor a second turn before others.
#[test]
fn one_key_neither_fills_the_jobs_nor_goes_before_others() {
    let server =
        with_keys("workers = 2\nstop_grace = \"50ms\"\nabandoned = \"100ms\"", &["ann", "bob"])
            .worker("python3 -u notes.py")
            .file("notes.py", NOTES)
            .top("jobs = { length = 16 }")
            .route("match = \"POST /once\"\njobs = true")
            .start();
    server.wait_for_count("httpipe_workers{pool=\"main\",state=\"ready\"}", 2.0);
    let (ann, bob) = (bearer(&server, "ann"), bearer(&server, "bob"));
    let ask = |key: &str, body: &str| server.client().request("POST", "/once", &[ASYNC, key], body);
    let first = ask(&ann, "until go");
    assert_eq!(first.status, 202, "{first:?}");
    let path = first.header("location").to_owned();
    server.wait_until("it runs", |server| {
        state(&server.client().request("GET", &path, &[&ann], "")) == "running"
    });
    for body in ["ann 1", "ann 2", "ann 3"] {
        assert_eq!(ask(&ann, body).status, 202);
    }
    let refused = ask(&ann, "ann 4");
    assert_eq!((refused.status, refused.code().as_str()), (503, "jobs_full"));
    assert!(refused.detail().contains("4 jobs of one caller"), "{refused:?}");
    let asked = ask(&bob, "bob 1");
    assert_eq!(asked.status, 202, "{asked:?}");
    server.put("go");
    assert_eq!(state(&ended_with(&server, asked.header("location"), &[&bob])), "succeeded");
    server.wait_until("all are done", |server| server.read("runs.log").lines().count() == 5);
    let log = server.read("runs.log");
    let place = |line: &str| log.lines().position(|it| it == line).expect("it ran");
    assert!(place("bob 1") < place("ann 2"), "{log}");
}

#[test]
fn what_runs_when_the_server_stops_runs_again_only_if_it_may() {
    let file = kept_file("drain");
    let mut server = noting(&format!("{}\ndrain = \"200ms\"", in_file(&file))).start();
    let quick = asked(&server, "/once", "quick");
    assert_eq!(state(&ended(&server, &quick)), "succeeded");
    let paths = [asked(&server, "/again", "sleep 20 a"), quick];
    server.wait_until("it runs", |server| state_of(server, &paths[0]) == "running");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    drop(server);
    let server = noting(&in_file(&file)).start();
    assert_eq!(state_of(&server, &paths[1]), "succeeded");
    server.wait_until("it runs again", |server| state_of(server, &paths[0]) == "running");
    // Its first start was taken back: the server stopped it.
    assert_eq!(server.client().get(&paths[0]).json()["attempts"], 1);
    let once = asked(&server, "/once", "sleep 20 b");
    let mut server = server;
    server.client().request("DELETE", &paths[0], &[], "");
    server.wait_until("it runs", |server| state_of(server, &once) == "running");
    server.signal("KILL");
    server.exit_code();
    drop(server);
    let server = noting(&in_file(&file)).start();
    let lost = server.client().get(&once);
    assert_eq!(state(&lost), "failed");
    let problem = lost.json()["problem"].clone();
    assert_eq!(problem["code"], "worker_lost");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.starts_with("the server ended while the job ran"), "{detail}");
}

/// What an operator who shows their key is told.
pub(crate) fn operators(server: &Server, target: &str) -> Answer {
    let key = format!("Authorization: Bearer {}", server.key());
    server.admin().request("GET", target, &[&key], "")
}

#[test]
fn an_operator_learns_what_is_wrong_with_a_list() {
    let server = noting("jobs = {}").start();
    for wrong in ["state=x", "limit=x", "y=1"] {
        let refused = operators(&server, &format!("/jobs?{wrong}"));
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
    }
    let listed = operators(&server, "/jobs?state=failed").json();
    assert_eq!(listed["jobs"], serde_json::json!([]));
}

#[test]
fn an_operator_lets_a_job_run_again_and_does_away_with_it() {
    let server = noting("jobs = {}").start();
    let key = format!("Authorization: Bearer {}", server.key());
    let act = |method: &str, path: &str| {
        server.admin().request(method, path.strip_prefix("/-").expect("a job"), &[&key], "")
    };
    let job = asked(&server, "/once", "until go");
    let retry = format!("{job}/retry");
    server.wait_until("it runs", |server| server.read("runs.log") == "until go\n");
    let too_early = act("POST", &retry);
    assert_eq!((too_early.status, &*too_early.detail()), (409, RUNS), "{too_early:?}");
    assert_eq!(act("DELETE", &job).status, 200);
    assert_eq!(state_of(&server, &job), "canceled");
    assert_eq!(act("POST", &retry).json()["state"], "queued");
    server.put("go");
    let done = ended(&server, &job);
    assert_eq!((state(&done), done.json()["attempts"].as_u64()), ("succeeded".into(), Some(1)));
    assert_eq!(server.client().get(&format!("{job}/result")).body, "did until go");
    assert_eq!(act("POST", &retry).status, 409, "it has its answer");
    assert!(act("DELETE", &job).body.contains("removed"));
    for gone in [act("DELETE", &job), act("POST", &retry)] {
        assert_eq!(gone.status, 404, "{gone:?}");
    }
}

/// What an operator is told who retries a job that runs.
const RUNS: &str = "the job is running; only one that failed or was canceled is tried again";

#[test]
fn jobs_whose_pool_or_route_is_gone_are_told_of() {
    let server = noting("jobs = {}").start();
    let running = asked(&server, "/again", "sleep 60");
    server.wait_until("it runs", |server| state_of(server, &running) == "running");
    let waiting = asked(&server, "/again", "waits");
    let reload = || server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    server.rewrite("match = \"POST /again\"", "match = \"POST /other\"");
    assert_eq!(reload().status, 200);
    let told = server.wait_for_log("jobs wait whose route the configuration does not have");
    assert!(told.contains("POST /again"), "{told}");
    server.rewrite("main", "renamed");
    assert_eq!(reload().status, 200);
    let told = server.wait_for_log("jobs wait for a pool that the configuration does not have");
    assert!(told.contains("\"pool\":\"main\""), "{told}");
    let listed = operators(&server, "/jobs?state=queued").json()["jobs"].clone();
    let listed = listed.as_array().expect("a list");
    let job = listed.iter().find(|job| waiting.ends_with(job["id"].as_str().expect("a text")));
    assert_eq!(job.expect("it is listed")["why"], "no pool has this name", "{listed:?}");
}

#[test]
fn one_server_has_the_file_and_another_is_refused() {
    let file = kept_file("two");
    let server = noting(&in_file(&file)).start();
    let refused = noting(&in_file(&file)).refused();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("another server has the file of the jobs"), "{refused:?}");
    drop(server);
    std::fs::write(&file, "this is no database").expect("written");
    let refused = noting(&in_file(&file)).refused();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("not a database of SQLite"), "{refused:?}");
}

#[test]
fn without_jobs_there_is_no_file_no_thread_and_no_path() {
    let server = Server::with("workers = 1").route("match = \"POST /\"").start();
    assert_eq!(server.client().request("POST", "/", &[ASYNC], "x").body, "x");
    assert_eq!(server.client().get("/-/jobs/00").code(), "no_route");
    assert!(!server.threads().iter().any(|name| name == "jobs"));
    assert!(!server.dir().join("jobs.db").exists());
}

#[test]
fn a_disk_that_fails_refuses_jobs_and_nothing_else() {
    if !can_inject() {
        return;
    }
    for fault in ["fdatasync,fsync:error=EIO", "pwrite64:error=ENOSPC"] {
        let server = noting("jobs = {}").start();
        let before = asked(&server, "/once", "before");
        assert_eq!(state(&ended(&server, &before)), "succeeded");
        let failing = server.inject("jobs", fault);
        let refused = server.client().request("POST", "/once", &[ASYNC], "lost");
        assert_eq!((refused.status, refused.code().as_str()), (503, "store_failed"), "{fault}");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(server.client().post("/once", "call").body, "did call");
        failing.end();
        server.wait_until("jobs are accepted again", |server| {
            server.client().request("POST", "/once", &[ASYNC], "after").status == 202
        });
        let after = asked(&server, "/once", "after");
        assert_eq!(state(&ended(&server, &after)), "succeeded");
        assert_eq!(state_of(&server, &before), "succeeded");
        assert!(!server.read("runs.log").contains("lost"), "what was refused is not done");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_kept_until_it_can() {
    if !can_inject() {
        return;
    }
    let server = noting("jobs = {}").start();
    let path = asked(&server, "/once", "sleep 1");
    server.wait_until("it runs", |server| state_of(server, &path) == "running");
    let failing = server.inject("jobs", "pwrite64:error=ENOSPC");
    server.wait_for_log("the jobs cannot be written");
    failing.end();
    let job = ended(&server, &path);
    assert_eq!(state(&job), "succeeded");
    assert_eq!(server.client().get(&format!("{path}/result")).body, "did sleep 1");
    assert_eq!(server.read("runs.log"), "sleep 1\n");
}

#[test]
fn a_reload_changes_how_much_is_kept_and_not_where() {
    let server = noting("jobs = { length = 1, result = \"10B\" }").start();
    let running = asked(&server, "/once", "until go");
    let refused = server.client().request("POST", "/once", &[ASYNC], "b");
    assert_eq!((refused.status, refused.code().as_str()), (503, "jobs_full"), "{refused:?}");
    server.rewrite("length = 1, result = \"10B\"", "length = 2, file = \"other.db\"");
    let reloaded = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    let told = server.wait_for_log("takes effect after a restart");
    assert!(told.contains("jobs.file"), "{told}");
    server.wait_until("one more is accepted", |server| {
        server.client().request("POST", "/once", &[ASYNC], "b").status == 202
    });
    server.put("go");
    assert_eq!(state(&ended(&server, &running)), "succeeded");
    let long = asked(&server, "/once", "longer than ten bytes");
    assert_eq!(state(&ended(&server, &long)), "succeeded");
}

#[test]
fn a_job_is_answered_by_the_cache_and_fills_it() {
    let server = noting("jobs = {}")
        .route("match = \"POST /kept\"\nsend = \"{body}\"\njobs = true\nidempotent = true\ncache = \"1h\"")
        .start();
    let first = asked(&server, "/kept", "a");
    assert_eq!(state(&ended(&server, &first)), "succeeded");
    assert_eq!(server.client().post("/kept", "a").body, "did a");
    assert_eq!(server.client().post("/kept", "b").body, "did b");
    let second = asked(&server, "/kept", "b");
    assert_eq!(state(&ended(&server, &second)), "succeeded");
    assert_eq!(server.client().get(&format!("{second}/result")).body, "did b");
    assert_eq!(server.read("runs.log"), "a\nb\n", "each was asked once");
}

#[test]
fn a_reload_keeps_jobs_and_their_names() {
    let server = noting("jobs = {}").start();
    let running = asked(&server, "/once", "sleep 1.5 a");
    server.wait_until("it runs", |server| state_of(server, &running) == "running");
    let waiting = asked(&server, "/again", "b");
    // New workers take the place of the old ones.
    server.rewrite("notes.py", "./notes.py");
    let reloaded = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    for path in [running, waiting] {
        assert_eq!(state(&ended(&server, &path)), "succeeded");
    }
}
