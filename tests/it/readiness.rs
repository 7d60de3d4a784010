//! When a worker counts as ready: banner, hello, probe.

use std::process::{Child, Command};
use std::time::Duration;

use crate::support::Server;

#[test]
fn a_banner_that_was_announced_is_no_answer() {
    let server = Server::with("workers = 1\nready = \"Welcome.*\"")
        .worker("demo-worker --banner 'Welcome to the worker'")
        .start();
    assert_eq!(server.answers("hello").body, "hello");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn hello_is_said_once_to_each_worker_before_any_call() {
    let server = Server::with("workers = 1\nhello = [{ send = \"hi\" }, { send = \"there\" }]")
        .worker("demo-worker --journal seen")
        .start();
    assert_eq!(server.answers("a").body, "a");
    assert_eq!(server.answers("b").body, "b");
    assert_eq!(server.seen(), ["hi", "there", "a", "b"]);
}

#[test]
fn a_worker_is_ready_when_it_answered_the_probe() {
    let server = Server::with("workers = 1\nprobe = { send = \"1\", reply = \"1\" }")
        .worker("demo-worker --slow-start 400ms --journal seen")
        .start_unready();
    let early = server.client().post("/", "early");
    assert_eq!((early.status, early.body.as_str()), (200, "early"), "it waits in the queue");
    assert_eq!(server.seen(), ["1", "early"]);
}

#[test]
fn a_worker_with_a_wrong_answer_to_the_probe_gets_no_call() {
    let server = Server::with(
        "workers = 1\nprobe = { send = \"1\", reply = \"2\" }\nqueue = { wait = \"500ms\" }",
    )
    .worker("demo-worker --journal seen")
    .start_unready();
    let answer = server.answers("hello");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(server.metric("httpipe_worker_exits_total{reason=\"start_failed\"}") >= 1.0);
    assert!(server.seen().iter().all(|line| line == "1"), "{:?}", server.seen());
}

#[test]
fn a_worker_that_is_never_ready_is_given_up() {
    let server = Server::with(
        "workers = 1\nprobe = { send = \"1\" }\nstart_timeout = \"200ms\"\n\
         stop_grace = \"50ms\"\nqueue = { wait = \"1s\" }",
    )
    .worker("demo-worker --never-reads")
    .start_unready();
    let answer = server.answers("hello");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.is_within(Duration::from_secs(3)), "{answer:?}");
    server.wait_until("it was given up", |s| {
        s.metric("httpipe_worker_exits_total{reason=\"start_failed\"}") >= 1.0
    });
    assert_eq!(server.admin().get("/ready").status, 503);
}

#[test]
fn an_answer_to_the_probe_whose_parts_do_not_end_is_given_up() {
    let keys = "workers = 1\nstream = \"until:END\"\nprobe = { send = \"1\" }";
    let server = Server::with(keys).worker("yes").start_unready();
    server.wait_for_log("does not end");
    let memory = server.memory() >> 20;
    assert!(memory < 100, "{memory} MiB");
}

/// It writes nothing before it is asked.
#[test]
fn an_answer_to_the_probe_whose_parts_do_not_end_is_given_up_where_turns_are_taken() {
    let keys = "workers = 1\nstream = \"until:END\"\nprobe = { send = \"1\" }";
    let server = Server::with(keys).worker("sh -c 'read q; yes'").start_unready();
    server.wait_for_log("its answer in parts does not end");
    let memory = server.memory() >> 20;
    assert!(memory < 100, "{memory} MiB");
}

/// What follows would be taken for the answer to the first call.
#[test]
fn an_answer_to_the_probe_without_its_last_part_makes_no_worker_ready() {
    let keys = "workers = 1\nstream = \"until:END\"\nprobe = { send = \"1\" }";
    let script = "while read q; do echo part; done";
    let server = Server::with(keys).worker(&format!("sh -c '{script}'")).start_unready();
    server.wait_for_log("it wrote an answer without its end");
    assert_eq!(server.admin().get("/ready").status, 503);
}

/// Its callers wait for the start, which has its own time limit, longer than `queue.wait`.
#[test]
fn a_program_that_loads_is_starting_and_its_first_callers_wait() {
    let keys = "workers = 1\ntimeout = \"300ms\"\nqueue = { wait = \"100ms\" }";
    let server = Server::with(keys).worker("demo-worker --slow-start 1s").start_unready();
    assert_eq!(server.admin().get("/ready").status, 503);
    assert_eq!(server.metric("httpipe_workers{state=\"starting\"}"), 1.0);
    let callers: Vec<_> =
        (0..3).map(|n| server.client().post_later("/", &format!("early {n}"))).collect();
    for (n, caller) in callers.into_iter().enumerate() {
        let answer = caller.answer();
        assert_eq!((answer.status, answer.body), (200, format!("early {n}")));
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
    assert_eq!(server.admin().get("/ready").status, 200);
}

/// A busy machine may give a program that starts no processor for longer than one that waits is
/// still.
#[test]
fn a_program_that_starts_without_a_processor_is_not_taken_for_still() {
    let hog = Hog::on_first_processor();
    let keys = "workers = 1\nstart_timeout = \"1s\"\nframing = \"turn\"";
    let server = Server::with(keys)
        .worker("taskset -c 0 chrt --idle 0 sh -c 'while :; do :; done'")
        .start_unready();
    server.wait_for_log("waiting until its worker is ready");
    // Without a processor it cannot even end.
    drop(hog);
    server.wait_for_log("it was not ready within `start_timeout`");
    assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 0.0);
}

/// A program that keeps a processor busy until this is dropped.
struct Hog(Child);

impl Hog {
    #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
    fn on_first_processor() -> Self {
        let words = ["-c", "0", "sh", "-c", "while :; do :; done"];
        let hog = Command::new("taskset").args(words).spawn();
        Self(hog.expect("`taskset` comes with util-linux"))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

/// The first thread waits for its input all the time.
#[test]
fn a_banner_that_another_thread_writes_is_dropped_whole() {
    let script = "import sys, threading\n\
                  def banner():\n    for _ in range(30): print('x' * 9999, flush=True)\n\
                  threading.Thread(target=banner).start()\n\
                  for line in sys.stdin: print('answer ' + line.strip(), flush=True)";
    for _ in 0..3 {
        let server =
            Server::with("workers = 1").worker("python3 w.py").file("w.py", script).start();
        assert_eq!(server.answers("a").body, "answer a");
        assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
    }
}

#[test]
fn a_banner_that_never_matches_does_not_fill_the_memory() {
    let server = Server::with("workers = 1\nready = \"never\"").worker("yes").start_unready();
    server.wait_for_log("its banner does not end");
    let memory = server.memory() >> 20;
    assert!(memory < 100, "{memory} MiB");
}

#[test]
fn what_is_written_after_a_greeting_without_an_answer_is_no_answer() {
    let script = "import sys, time\n\
                  for line in sys.stdin:\n    \
                  if line == 'hi\\n':\n        time.sleep(0.2)\n        \
                  print('greeted', flush=True)\n    \
                  else:\n        print('answer ' + line.strip(), flush=True)";
    let server = Server::with("workers = 1\nhello = [{ send = \"hi\", answer = false }]")
        .worker("python3 w.py")
        .file("w.py", script)
        .start();
    assert_eq!(server.answers("a").body, "answer a");
}

fn is_ready(server: &Server) -> bool {
    server.admin().get("/ready").status == 200
}

#[test]
fn while_all_workers_of_a_pool_are_lost_the_server_is_not_ready() {
    let server = Server::with("workers = 2\nprobe = { send = \"1\" }")
        .worker("demo-worker --slow-start 700ms")
        .start();
    server.wait_for_count("httpipe_workers{state=\"ready\"}", 2.0);
    let workers = server.workers();
    server.signal_worker(workers[0], "KILL");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    assert!(is_ready(&server), "one of two serves");
    server.signal_worker(workers[1], "KILL");
    server.wait_until("it is not ready", |s| !is_ready(s));
    let said = server.admin().get("/ready");
    assert!(said.body.contains("pool `main` has no worker that is ready"), "{said:?}");
    assert_eq!(server.admin().get("/live").status, 200);
    server.wait_until("it is ready again", is_ready);
}

/// The old workers serve until the new ones do.
#[test]
fn a_reload_with_a_slow_program_does_not_make_the_server_unready() {
    let server = Server::with("workers = 1\nprobe = { send = \"1\" }")
        .worker("demo-worker --slow-start 700ms")
        .start();
    let old = server.workers();
    server.rewrite("slow-start\",\"700ms", "slow-start\",\"701ms");
    server.signal("HUP");
    server.wait_until("the new worker serves", |s| {
        assert!(is_ready(s), "{:?}", s.admin().get("/ready"));
        let now = s.workers();
        now.len() == 1 && now != old
    });
}

#[test]
fn a_server_that_is_told_to_stop_is_unready_at_once_and_alive_until_its_end() {
    let mut server = Server::with("workers = 1").start();
    let running = server.client().post_later("/", "sleep 700 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.signal("TERM");
    server.wait_until("it is not ready", |s| !is_ready(s));
    let said = server.admin().get("/ready");
    assert!(said.body.contains("the server is stopping"), "{said:?}");
    assert_eq!(server.admin().get("/live").status, 200);
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.exit_code(), 0);
}
