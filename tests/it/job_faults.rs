//! Jobs whose program, server or caller behaves as none should.

use std::time::Duration;

use crate::jobs::{ASYNC, asked, ended, in_file, kept_file, noting, operators, state, state_of};
use crate::support::{Answer, Client, Server, Stopwatch, can_inject};

#[test]
fn a_job_that_hangs_ends_with_its_time_and_others_go_on() {
    let server = noting("jobs = {}")
        .route("match = \"POST /brief\"\njobs = { timeout = \"300ms\" }")
        .start();
    let hanging = Stopwatch::start();
    let hangs = asked(&server, "/brief", "sleep 60");
    let job = ended(&server, &hangs);
    // The `timeout` of the pool is 30 s.
    assert!(hanging.took().is_below(Duration::from_secs(20)), "{:?}", hanging.took());
    assert_eq!(state(&job), "failed");
    let problem = job.json()["problem"].clone();
    assert_eq!((&problem["code"], &problem["status"]), (&"timeout".into(), &504.into()));
    let next = asked(&server, "/brief", "next");
    assert_eq!(state(&ended(&server, &next)), "succeeded");
}

/// Kills the server that asks it, and notes each time.
const KILLER: &str = "
import os, signal, sys
for line in sys.stdin:
    with open(LOG, 'a') as log:
        log.write(line)
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
";

#[test]
fn a_job_that_kills_the_server_is_not_begun_for_ever() {
    let file = kept_file("killer");
    let log = file.with_extension("killed");
    std::fs::remove_file(&log).ok();
    let plan = || {
        let program = KILLER.replace("LOG", &format!("{:?}", log.display().to_string()));
        Server::with("workers = 2\nretries = 2")
            .worker("python3 -u killer.py")
            .file("killer.py", &program)
            .top(&in_file(&file))
            .route("match = \"POST /\"\njobs = true\nidempotent = true")
    };
    let mut server = plan().start();
    let mut connection = server.client().connect();
    let fields = [ASYNC];
    // The server may be dead before it has answered.
    connection.try_send(&crate::support::request("POST", "/", &fields, "die"));
    connection.try_answer();
    server.exit_code();
    for _ in 0..2 {
        // It may be dead before it has said where it listens.
        plan().start_mute("127.0.0.1:0", "127.0.0.1:0").exit_code();
    }
    let server = plan().start();
    let listed = operators(&server, "/jobs").json();
    let job = &listed["jobs"][0];
    assert_eq!((&job["state"], &job["attempts"]), (&"failed".into(), &3.into()), "{listed}");
    let killed = std::fs::read_to_string(&log).expect("it was asked");
    assert_eq!(killed, "die\n".repeat(3));
    std::fs::remove_file(&log).ok();
}

/// Ends itself for its first question, kills the server that asks it the second time, and so on.
const UNSTEADY: &str = "
import os, signal, sys
for line in sys.stdin:
    with open(LOG, 'a+') as log:
        log.write(line)
        log.seek(0)
        times = len(log.readlines())
    if times % 2 == 1:
        os._exit(1)
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
";

/// Every start counts, whether it cost a worker or the server.
#[test]
fn a_job_that_ends_workers_and_servers_is_begun_once_and_retries_times() {
    let file = kept_file("unsteady");
    let log = file.with_extension("begun");
    std::fs::remove_file(&log).ok();
    let plan = || {
        let program = UNSTEADY.replace("LOG", &format!("{:?}", log.display().to_string()));
        Server::with("workers = 2\nretries = 2")
            .worker("python3 -u unsteady.py")
            .file("unsteady.py", &program)
            .top(&in_file(&file))
            .route("match = \"POST /\"\njobs = true\nidempotent = true")
    };
    let mut server = plan().start();
    let mut connection = server.client().connect();
    connection.try_send(&crate::support::request("POST", "/", &[ASYNC], "die"));
    connection.try_answer();
    server.exit_code();
    let server = plan().start();
    server.wait_until("it has ended", |server| {
        operators(server, "/jobs").json()["jobs"][0]["state"] == "failed"
    });
    let listed = operators(&server, "/jobs").json();
    let job = &listed["jobs"][0];
    assert_eq!((&job["attempts"], &job["code"]), (&3.into(), &"worker_lost".into()), "{listed}");
    let begun = std::fs::read_to_string(&log).expect("it was asked");
    assert_eq!(begun, "die\n".repeat(3));
    std::fs::remove_file(&log).ok();
}

#[test]
fn a_job_for_which_no_worker_can_be_started_waits_as_long_as_it_may() {
    let server =
        noting("jobs = {}").route("match = \"POST /brief\"\njobs = { wait = \"1s\" }").start();
    server.write("notes.py", "raise SystemExit(1)");
    for worker in server.workers() {
        server.signal_if_alive(worker, "KILL");
    }
    server.wait_until("none is ready", |server| {
        server.metric("httpipe_workers{pool=\"main\",state=\"ready\"}") == 0.0
    });
    let brief = asked(&server, "/brief", "brief");
    let patient = asked(&server, "/once", "patient");
    let over = ended(&server, &brief);
    assert_eq!((state(&over).as_str(), &over.json()["attempts"]), ("failed", &0.into()));
    assert_eq!(over.json()["problem"]["code"], "queue_timeout");
    assert_eq!(state_of(&server, &patient), "queued");
    server.write("notes.py", crate::jobs::NOTES);
    assert_eq!(state(&ended(&server, &patient)), "succeeded");
}

#[test]
fn readers_of_events_who_do_not_read_hold_nobody_up() {
    let server = noting("jobs = {}").start();
    let job = asked(&server, "/once", "sleep 0.5");
    let readers: Vec<_> = (0..30)
        .map(|_| {
            let mut reader = server.client().connect();
            reader.hold_little();
            reader.ask("GET", &job, &["Accept: text/event-stream"], "");
            reader
        })
        .collect();
    assert_eq!(state(&ended(&server, &job)), "succeeded");
    let next = asked(&server, "/once", "next");
    assert_eq!(state(&ended(&server, &next)), "succeeded");
    for mut reader in readers {
        let events = reader.answer().body;
        assert!(events.contains("\"state\":\"succeeded\""), "{events}");
    }
}

/// Asks on a thread of its own.
fn at_once(client: Client, work: impl Fn(&Client) -> Answer + Send + 'static) -> Asked {
    std::thread::spawn(move || work(&client))
}

type Asked = std::thread::JoinHandle<Answer>;

#[test]
fn a_cancel_that_meets_the_end_leaves_one_of_both() {
    let server = noting("jobs = {}").start();
    let mut seen = [0, 0];
    for round in 0..20 {
        let job = asked(&server, "/once", &format!("sleep 0.0{} {round}", round % 10));
        let path = job.clone();
        let cancel =
            at_once(server.client(), move |client| client.request("DELETE", &path, &[], ""));
        let end = ended(&server, &job);
        let canceled = cancel.join().expect("it was answered");
        let result = server.client().get(&format!("{job}/result"));
        if canceled.status == 200 {
            seen[0] += 1;
            assert_eq!((state(&canceled).as_str(), result.status), ("canceled", 410));
            assert_eq!(
                (state(&end).as_str(), state_of(&server, &job).as_str()),
                ("canceled", "canceled")
            );
        } else {
            seen[1] += 1;
            assert_eq!((canceled.status, result.status), (204, 404));
        }
    }
    assert_eq!(seen[0] + seen[1], 20);
}

#[test]
fn one_key_from_many_connections_at_once_is_one_job() {
    let server = noting("jobs = {}").start();
    let fields = [ASYNC, "Idempotency-Key: 7d-many"];
    let asked: Vec<_> = (0..12)
        .map(|_| {
            at_once(server.client(), move |client| client.request("POST", "/once", &fields, "one"))
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().expect("answered")).collect();
    let job = answers[0].header("location").to_owned();
    for answer in &answers {
        assert_eq!((answer.status, answer.header("location")), (202, &*job));
    }
    assert_eq!(state(&ended(&server, &job)), "succeeded");
    assert_eq!(server.read("runs.log"), "one\n");
}

/// What was in the file is in the copy; the server goes on, and copies of one second have names of
/// their own.
#[test]
fn copies_are_written_while_jobs_go_on() {
    let server = noting("jobs = {}").start();
    let key = format!("Authorization: Bearer {}", server.key());
    let copy = || server.admin().request("POST", "/jobs/backup", &[&key], "");
    let job = asked(&server, "/once", "a");
    assert_eq!(state(&ended(&server, &job)), "succeeded");
    let copies: Vec<_> = (0..3).map(|_| copy()).collect();
    let mut names: Vec<_> = copies
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()["file"].as_str().expect("a name").to_owned()
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    let again = Server::with("workers = 1").top(&in_file(std::path::Path::new(&names[0]))).start();
    assert_eq!(state_of(&again, &job), "succeeded");
}

#[test]
fn a_file_that_is_removed_below_the_server_takes_no_more_jobs() {
    let server = noting("jobs = {}").start();
    let job = asked(&server, "/once", "before");
    assert_eq!(state(&ended(&server, &job)), "succeeded");
    std::fs::remove_file(server.dir().join("jobs.db")).expect("it is there");
    let told = server.wait_for_log("was removed or replaced while the server uses it");
    assert!(told.contains("POST /jobs/backup"), "{told}");
    let refused = server.client().request("POST", "/once", &[ASYNC], "lost");
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_failed"));
    assert_eq!(server.metric("httpipe_jobs_store_failing"), 1.0);
    assert_eq!(server.client().post("/once", "call").body, "did call");
    let key = format!("Authorization: Bearer {}", server.key());
    let saved = server.admin().request("POST", "/jobs/backup", &[&key], "");
    assert_eq!(saved.status, 200, "{saved:?}");
    let name = saved.json()["file"].as_str().expect("a name").to_owned();
    std::fs::rename(name, server.dir().join("saved.db")).expect("it is there");
    let again = Server::with("workers = 1").top(&in_file(&server.dir().join("saved.db"))).start();
    assert_eq!(state_of(&again, &job), "succeeded");
}

/// Lets the n-th call fail with which the thread of the jobs changes its file, and has two jobs done
/// meanwhile, for each of these n.
fn the_disk_fails_at(calls: std::ops::RangeInclusive<u32>, name: &str) {
    if !can_inject() {
        return;
    }
    let file = kept_file(name);
    let server = noting(&in_file(&file)).start();
    let mut accepted = Vec::new();
    for fault in ["EIO", "ENOSPC"] {
        for call in calls.clone() {
            let what = format!("pwrite64,fdatasync,fsync,ftruncate:error={fault}:when={call}");
            let failing = server.inject("jobs", &what);
            for target in ["/once", "/again"] {
                let question = format!("{target} {fault} {call}");
                let answer = server.client().request("POST", target, &[ASYNC], &question);
                match answer.status {
                    202 => accepted.push((answer.header("location").to_owned(), question)),
                    503 => assert_eq!(answer.code(), "store_failed", "{question}"),
                    _ => panic!("{question}: {answer:?}"),
                }
            }
            for (path, _) in accepted.iter().rev().take(2) {
                // Meanwhile callers may be told that the file cannot be read now.
                server.wait_until("the job has ended", |server| {
                    !["queued", "running", ""].contains(&state_of(server, path).as_str())
                });
            }
            failing.end();
            server.wait_until("jobs are accepted again", |server| {
                server.metric("httpipe_jobs_store_failing") == 0.0
            });
        }
    }
    let mut ran: Vec<String> = server.read("runs.log").lines().map(str::to_owned).collect();
    let mut expected: Vec<_> = accepted.iter().map(|(_, question)| question.clone()).collect();
    ran.sort();
    expected.sort();
    assert_eq!(ran, expected, "what was accepted is done, once, and nothing else");
    drop(server);
    let server = noting(&in_file(&file)).start();
    for (path, question) in &accepted {
        let answer = server.client().get(&format!("{path}/result"));
        assert_eq!(answer.body, format!("did {question}"));
    }
}

#[test]
fn whichever_call_to_the_disk_fails_what_was_accepted_is_done_once() {
    the_disk_fails_at(1..=5, "calls");
}

#[test]
#[ignore = "takes some minutes: cargo test --test it -- --ignored later_calls_to_the_disk"]
fn whichever_of_the_later_calls_to_the_disk_fails_too() {
    the_disk_fails_at(6..=60, "later-calls");
}
