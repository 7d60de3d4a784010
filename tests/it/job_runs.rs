//! Jobs that ask the same at the same time share one run, but not what it costs.

use serde_json::Value;

use crate::jobs::{ASYNC, NOTES, asked, ended, in_file, kept_file, state, state_of};
use crate::support::{Plan, Server};

/// A route whose identical questions share a run, for jobs and for items.
const SHARED: &str = "match = \"POST /shared\"\nsend = \"{body}\"\njobs = true\nitems = 10\n\
                      idempotent = true\ncache = \"1h\"";

/// Notes each question. The first run waits until there is the file `go`, and crashes.
const CRASHES_ONCE: &str = "
import os, sys, time
for line in sys.stdin:
    with open('runs.log', 'a+') as log:
        log.write(line)
        log.seek(0)
        is_first = len(log.readlines()) == 1
    while is_first and not os.path.exists('go'):
        time.sleep(0.01)
    if is_first:
        os._exit(1)
    print('did ' + line.strip(), flush=True)
";

/// Two of these workers may have background work.
fn crashing() -> Plan {
    Server::with("workers = 4\nretries = 1")
        .worker("python3 -u crashes.py")
        .file("crashes.py", CRASHES_ONCE)
        .top("jobs = {}")
        .route(SHARED)
}

#[test]
fn an_item_does_not_wait_for_the_run_of_a_job() {
    let server = crashing().start();
    let job = asked(&server, "/shared", "same");
    server.wait_until("it runs", |server| server.read("runs.log") == "same\n");
    let fields = ["Content-Type: application/jsonl"];
    let answer = server.client().request("POST", "/shared", &fields, "same\n");
    let outcome: Value = serde_json::from_str(&answer.body).expect("a line of JSON");
    assert_eq!(outcome["body"], "did same", "{outcome}");
    server.put("go");
    let job = ended(&server, &job);
    assert_eq!((state(&job), job.json()["attempts"].as_u64()), ("succeeded".into(), Some(2)));
}

#[test]
fn a_worker_that_a_run_costs_counts_for_the_job_that_began_it() {
    let server = crashing().start();
    let jobs = [asked(&server, "/shared", "same"), asked(&server, "/shared", "same")];
    server.wait_until("both run", |server| {
        jobs.iter().all(|job| state_of(server, job) == "running")
            && !server.read("runs.log").is_empty()
    });
    assert_eq!(server.read("runs.log"), "same\n", "they share a run");
    server.put("go");
    let [first, second] = jobs.map(|job| ended(&server, &job).json());
    assert_eq!((&first["state"], &first["attempts"]), (&"succeeded".into(), &2.into()), "{first}");
    assert_eq!(
        (&second["state"], &second["attempts"]),
        (&"succeeded".into(), &1.into()),
        "{second}"
    );
}

#[test]
fn jobs_that_share_a_run_leave_the_place_of_a_worker_to_others() {
    let server = Server::with("workers = 4")
        .worker("python3 -u notes.py")
        .file("notes.py", NOTES)
        .top("jobs = {}")
        .route(SHARED)
        .route("match = \"POST /other\"\njobs = true")
        .start();
    let same = [(); 3].map(|()| asked(&server, "/shared", "until go"));
    let other = asked(&server, "/other", "other");
    assert_eq!(state(&ended(&server, &other)), "succeeded");
    assert!(same.iter().all(|job| state_of(&server, job) == "running"));
    server.put("go");
    for job in same {
        assert_eq!(state(&ended(&server, &job)), "succeeded");
    }
    assert_eq!(server.read("runs.log"), "until go\nother\n");
}

/// Answers two questions at a time, and crashes instead the first time.
const IN_PAIRS: &str = "
import os, sys
while True:
    pair = [sys.stdin.readline(), sys.stdin.readline()]
    if not all(pair):
        break
    with open('runs.log', 'a') as log:
        log.write('{1} {3}\\n'.format(*' '.join(pair).split()))
    if not os.path.exists('crashed'):
        open('crashed', 'w').close()
        os._exit(1)
    for line in pair:
        print(line.split()[0] + ' did ' + line.split()[1], flush=True)
";

/// The oldest call in a worker is blamed for its loss. What ran beside it begins again where it may,
/// and costs nothing: else a job could fail for what another one does.
#[test]
fn a_start_beside_the_job_that_costs_the_worker_does_not_count() {
    let keys = "workers = 1\nshare = 1\nmatching = \"tag\"\nin_flight = 2\nretries = 1";
    for (beside, state_of_it, attempts) in [("/again", "succeeded", 1), ("/once", "failed", 1)] {
        let server = Server::with(keys)
            .worker("python3 -u pairs.py")
            .file("pairs.py", IN_PAIRS)
            .top("jobs = {}")
            .route("match = \"POST /again\"\njobs = true\nidempotent = true")
            .route("match = \"POST /once\"\njobs = true")
            .start();
        let first = asked(&server, "/again", "first");
        let second = asked(&server, beside, "second");
        if beside == "/once" {
            assert_eq!(state(&ended(&server, &second)), "failed");
            asked(&server, "/again", "third");
        }
        let [first, second] = [first, second].map(|job| ended(&server, &job).json());
        assert_eq!(
            (&first["state"], &first["attempts"]),
            (&"succeeded".into(), &2.into()),
            "{first}"
        );
        let told = (&second["state"], &second["attempts"]);
        assert_eq!(told, (&state_of_it.into(), &attempts.into()), "{second}");
        let runs = server.read("runs.log");
        let times = runs.matches("second").count();
        assert_eq!(times, if beside == "/again" { 2 } else { 1 }, "{runs}");
    }
}

/// Notes each question, waits until there is the file GO, and crashes.
const CRASHES: &str = "
import os, sys, time
for line in sys.stdin:
    with open(LOG, 'a') as log:
        log.write(line)
    while not os.path.exists(GO):
        time.sleep(0.01)
    os._exit(1)
";

#[test]
fn a_start_that_costs_a_worker_counts_also_while_the_server_stops() {
    let file = kept_file("stops");
    let (log, go) = (file.with_extension("begun"), file.with_extension("go"));
    for path in [&log, &go] {
        std::fs::remove_file(path).ok();
    }
    let plan = || {
        let quoted = |path: &std::path::Path| format!("{:?}", path.display().to_string());
        let program = CRASHES.replace("LOG", &quoted(&log)).replace("GO", &quoted(&go));
        Server::with("workers = 2\nretries = 1")
            .worker("python3 -u crashes.py")
            .file("crashes.py", &program)
            .top(&format!("{}\ndrain = \"60s\"", in_file(&file)))
            .route("match = \"POST /\"\njobs = true\nidempotent = true")
    };
    let mut server = plan().start();
    let mut connection = server.client().connect();
    connection.ask("POST", "/", &[ASYNC], "die");
    let job = connection.answer().header("location").to_owned();
    server.wait_until("it runs", |_| std::fs::read_to_string(&log).is_ok_and(|it| it == "die\n"));
    server.signal("TERM");
    server.wait_for_log("stopping: accepted calls are finished first");
    std::fs::write(&go, "").expect("it can be written");
    assert_eq!(server.exit_code(), 0);
    drop(server);
    let server = plan().start();
    let job = ended(&server, &job).json();
    assert_eq!((&job["state"], &job["attempts"]), (&"failed".into(), &2.into()), "{job}");
    let begun = std::fs::read_to_string(&log).expect("it was asked");
    assert_eq!(begun, "die\n".repeat(2));
    for path in [&log, &go] {
        std::fs::remove_file(path).ok();
    }
}
