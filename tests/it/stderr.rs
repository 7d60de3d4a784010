//! What workers complain about is in the log, under their name, and never too much of it.

use std::time::Duration;

use crate::support::Server;

#[test]
fn a_workers_words_are_in_the_log_under_its_pools_name() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("stderr hello log").status, 200);
    let line = server.wait_for_log("stderr hello log");
    assert!(line.contains("main"), "{line}");
}

#[test]
fn a_flood_neither_stalls_the_worker_nor_fills_the_log() {
    let server = Server::with("workers = 1").start();
    let answer = server.answers("stderr-flood 10MiB a");
    assert_eq!(answer.body, "stderr-flood 10MiB a");
    assert!(answer.took < Duration::from_secs(8), "{answer:?}");
    assert_eq!(server.answers("stderr marker").status, 200);
    let lines = server.log_lines();
    let flood = lines.iter().filter(|line| line.contains("eeeeeeee")).count();
    assert!(flood < 10_000, "{flood} lines of the flood are in the log");
    assert!(lines.iter().all(|line| line.len() < 64 * 1024));
}

#[test]
fn control_characters_cannot_change_the_look_of_the_log() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("stderr \u{1b}[31mred").status, 200);
    server.wait_for_log("red");
    assert!(server.log_lines().iter().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn who_leaves_the_group_and_keeps_stderr_costs_no_descriptor() {
    // It is not marked as the test's: nobody but the file ends it, or half a minute.
    let stray = "for n in $(seq 300); do [ -e over ] && exit; sleep 0.1; done";
    let program = format!(
        "while read -r x; do env -u TEST_SERVER setsid sh -c '{stray}' </dev/null >/dev/null & \
         echo \"$x\"; exit 3; done"
    );
    let server =
        Server::with("workers = 1").worker("sh leaves.sh").file("leaves.sh", &program).start();
    let before = server.descriptors();
    for round in 0..5 {
        server.wait_until("the next one answers", |s| s.answers(&round.to_string()).status == 200);
    }
    server.wait_until("none is held for them", |s| s.descriptors() <= before);
    server.put("over");
}
