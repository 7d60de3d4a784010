//! The first start of a pool: the log says when it is ready, or once and clearly why it is not.

use crate::support::Server;

#[test]
fn the_log_says_when_a_slow_program_is_ready_and_that_it_is_waited_for() {
    let server = Server::with("workers = 2").worker("sh -c 'sleep 1.2; exec cat'").start_unready();
    let waits = server.wait_for_log("pool main: waiting until its 2 workers are ready");
    let ready = server.wait_for_log("pool main: 2 workers ready after 1.");
    assert!(waits.contains("\"info\"") && ready.contains("\"info\""), "{waits} {ready}");
    assert_eq!(server.answers("x").body, "x");
    let lines = server.log_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("ready after")).count(), 1);
}

/// Python says so in three lines, and each of the two workers would, at each try.
const BROKEN: &str = "import no_such_module_at_all\n";

#[test]
fn a_program_that_does_not_start_is_told_once_with_what_to_do_and_tried_again() {
    let server = Server::with("workers = 2")
        .worker("python3 broken.py")
        .file("broken.py", BROKEN)
        .start_unready();
    let told = server.wait_for_log("pool main does not start; it is tried again and again");
    for words in ["exit code 1", "ModuleNotFoundError", "install `no_such_module_at_all`"] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    server.wait_for_count("httpipe_worker_exits_total{reason=\"start_failed\"}", 5.0);
    let lines = server.log_lines();
    let of_program = |line: &&String| line.contains("ModuleNotFoundError");
    // Two workers at first, in the line of each that says so, in their report, and in ours.
    let count = lines.iter().filter(of_program).count();
    assert!(count <= 5, "{count} times\n{}", lines.join("\n"));
    server
        .write("broken.py", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n");
    server.wait_for_log("ready after");
    assert_eq!(server.answers("x").body, "x");
}

#[test]
fn with_fail_fast_a_pool_that_does_not_start_ends_the_server() {
    let ended = Server::with("workers = 2")
        .worker("python3 broken.py")
        .file("broken.py", BROKEN)
        .option("--fail-fast")
        .refused();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let text = ended.stderr.replace('\n', " ");
    for words in [
        "error: pool `main` does not start: its first workers ended before one was ready (exit code 1)",
        "ModuleNotFoundError",
        "hint: install `no_such_module_at_all` for this Python",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{}", ended.stderr);
    }
}

#[test]
fn a_server_that_failed_fast_and_waits_for_other_workers_can_be_told_to_end() {
    let stays = "import signal, sys, time\n\
                 signal.signal(signal.SIGTERM, lambda *_: open('told', 'w').close())\n\
                 open('there', 'w').close()\nwhile True: time.sleep(0.1)\n";
    let fails =
        "import os, sys, time\nwhile not os.path.exists('there'): time.sleep(0.01)\nsys.exit(1)\n";
    let mut server = Server::with("workers = 1\nstop_grace = \"5m\"")
        .top("[pool.other]\ncommand = [\"python3\", \"fails.py\"]\nworkers = 1\n")
        .worker("python3 stays.py")
        .file("stays.py", stays)
        .file("fails.py", fails)
        .option("--fail-fast")
        .start_unready();
    server.wait_until("it stops", |server| server.has("told"));
    server.signal("TERM");
    assert_eq!(server.exit_code(), 1);
}

#[test]
fn a_stop_during_the_first_start_is_no_failure() {
    let mut server = Server::with("workers = 1")
        .worker("sh -c 'sleep 60'")
        .option("--fail-fast")
        .start_unready();
    server.wait_until("it runs", |s| s.workers().len() == 1);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(!server.log_lines().join("\n").contains("does not start"));
}

#[test]
fn a_pool_is_named_after_its_script() {
    let server = Server::args(&["--", "sh", "./answers.sh"])
        .file("answers.sh", "while read -r line; do echo \"$line\"; done\n")
        .start();
    assert_eq!(server.status()["pools"][0]["name"], "answers");
}
