//! A new configuration without a lost call; a bad one changes nothing.

use crate::support::{Server, shell};

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];

#[test]
fn a_good_configuration_rolls_over_without_a_lost_call() {
    let server = Server::with("workers = 1\nenv = { COLOUR = \"red\" }").start();
    assert_eq!(server.answers("env COLOUR").body, "red");
    let running = server.client().post_later("/", "sleep 300 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.rewrite("red", "blue");
    server.signal("HUP");
    server.wait_until("new workers answer", |s| {
        let answer = s.answers("env COLOUR");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body == "blue"
    });
    assert_eq!(running.answer().status, 200);
    server.wait_until("the old ones have gone", |s| s.workers().len() == 1);
}

#[test]
fn a_bad_configuration_is_refused_with_its_problems_and_nothing_changes() {
    let server = Server::with("workers = 1").start();
    let worker = server.workers();
    server.rewrite("workers = 1", "workrs = 1");
    let refused = server.admin().later("POST", "/reload", OPERATOR, "").answer();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("workrs"), "{refused:?}");
    server.signal("HUP");
    server.wait_for_log("workrs");
    assert_eq!(server.answers("hello").body, "hello");
    assert_eq!(server.workers(), worker);
}

#[test]
fn a_program_that_never_becomes_ready_does_not_replace_one_that_works() {
    let server = Server::with("workers = 1\nstart_timeout = \"500ms\"\nprobe = { send = \"1\" }")
        .worker("demo-worker --slow-start 0ms")
        .start();
    server.rewrite("--slow-start\",\"0ms", "--exit-at-once\",\"1");
    let refused = server.admin().later("POST", "/reload", OPERATOR, "").answer();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(server.answers("hello").body, "hello");
}

/// Exit code and words of `httpipe reload`.
fn reload_by_command(server: &Server) -> (i32, String) {
    shell(&format!("{} reload {}", env!("CARGO_BIN_EXE_httpipe"), server.admin_url()))
}

#[test]
fn the_command_says_how_it_went_and_the_old_program_goes_on() {
    let server = Server::with("workers = 1\nstart_timeout = \"300ms\"\nprobe = { send = \"1\" }")
        .worker("demo-worker --slow-start 0ms")
        .start();
    server.rewrite("workers = 1", "workers = 2");
    let (code, said) = reload_by_command(&server);
    assert_eq!(code, 0, "{said}");
    server.wait_until("there are two", |s| s.workers().len() == 2);
    let workers = server.workers();

    server.rewrite("\"0ms\"", "\"9s\"");
    let (code, said) = reload_by_command(&server);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("became ready"), "{said}");
    assert_eq!(server.answers("hello").body, "hello");
    assert_eq!(server.workers(), workers, "what was tried has gone, what worked has stayed");

    server.rewrite("workers = 2", "workrs = 2");
    let (code, said) = reload_by_command(&server);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("workrs"), "{said}");
    assert_eq!(server.workers(), workers);
}

#[test]
fn what_only_a_restart_can_change_is_said_and_left_as_it_is() {
    let server = Server::with("workers = 1").top("drain = \"9s\"").start();
    server.rewrite("drain = \"9s\"", "drain = \"9s\"\nlimits = { connections = 7 }");
    assert_eq!(reload_by_command(&server).0, 0);
    let line = server.wait_for_log("only a restart makes it hold");
    assert!(line.contains("limits"), "{line}");
    assert_eq!(server.answers("hello").body, "hello");
}
