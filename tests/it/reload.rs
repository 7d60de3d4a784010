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

/// Returns the exit code and the output of `httpipe reload`.
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
fn a_change_that_needs_a_restart_is_reported_and_not_made() {
    let server = Server::with("workers = 1").top("drain = \"9s\"").start();
    server.rewrite("drain = \"9s\"", "drain = \"9s\"\nlimits = { connections = 7 }");
    assert_eq!(reload_by_command(&server).0, 0);
    let line = server.wait_for_log("takes effect after a restart");
    assert!(line.contains("limits"), "{line}");
    assert_eq!(server.answers("hello").body, "hello");
}

#[test]
fn a_reload_whose_operator_leaves_goes_on() {
    let server = Server::with("workers = 1\nenv = { COLOUR = \"red\" }").start();
    server.rewrite("red", "blue");
    let asked = server.admin().later("POST", "/reload", OPERATOR, "");
    server.wait_until("the new worker runs", |s| s.workers().len() == 2);
    asked.leave();
    server.wait_until("the new one answers", |s| s.answers("env COLOUR").body == "blue");
    server.wait_until("the old one has gone", |s| s.workers().len() == 1);
}

/// The request has taken a route of the old configuration, so the old pool must wait for it.
#[test]
fn requests_that_are_still_being_read_get_their_answers() {
    for threads in [1, 3] {
        let server = Server::with("workers = 1\nenv = { COLOUR = \"red\" }")
            .top(&format!("threads = {threads}"))
            .start();
        let mut slow: Vec<_> = (0..6).map(|_| server.client().connect()).collect();
        for caller in &mut slow {
            caller.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
        }
        server.rewrite("red", "blue");
        let answer = server.admin().later("POST", "/reload", OPERATOR, "").answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(server.answers("env COLOUR").body, "blue");
        for caller in &mut slow {
            caller.send(b"llo");
            let answer = caller.answer();
            assert_eq!((answer.status, &*answer.body), (200, "hello"), "{answer:?}");
        }
        server.wait_until("the old worker has gone", |s| s.workers().len() == 1);
    }
}

#[test]
fn a_reload_that_ends_while_the_server_stops_opens_nothing_again() {
    let mut server = Server::with("workers = 1\nenv = { COLOUR = \"red\" }").start();
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "before").body, "before");
    let running = server.client().post_later("/", "sleep 3s a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.rewrite("red", "blue");
    server.signal("HUP");
    server.wait_until("the new worker runs", |s| s.workers().len() == 2);
    server.signal("TERM");
    server.wait_for_log("reloaded");
    let refused = kept.post("/", "after");
    assert_eq!((refused.status, refused.code().as_str()), (503, "draining"), "{refused:?}");
    assert_eq!(running.answer().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_hang_up_in_the_middle_of_a_reload_is_not_forgotten() {
    let server = Server::with("workers = 1\nenv = { COLOUR = \"red\" }").start();
    server.rewrite("red", "blue");
    server.signal("HUP");
    server.wait_until("the new worker runs", |s| s.workers().len() == 2);
    server.rewrite("blue", "green");
    server.signal("HUP");
    server.wait_until("the last one answers", |s| s.answers("env COLOUR").body == "green");
    server.wait_until("the old ones have gone", |s| s.workers().len() == 1);
}

#[test]
fn a_pool_that_was_taken_out_has_no_workers_in_the_metrics() {
    let extra = "[pool.extra]\ncommand = [\"cat\"]\nworkers = 2\n\n\
        [[route]]\nmatch = \"POST /extra\"\npool = \"extra\"\n";
    let main = "[pool.main]\ncommand = [\"cat\"]\nworkers = 1\n\n\
        [[route]]\nmatch = \"POST /\"\npool = \"main\"\n";
    let server = Server::config(&format!("{main}\n{extra}")).start();
    let workers = "httpipe_workers{pool=\"extra\"}";
    server.wait_until("they run", |s| s.metric(workers) == 2.0);
    server.rewrite(extra, "");
    assert_eq!(server.admin().later("POST", "/reload", OPERATOR, "").answer().status, 200);
    server.wait_until("they have gone", |s| s.metric(workers) == 0.0 && s.workers().len() == 1);
}

#[test]
fn a_reload_cuts_no_call_however_short_drain_is() {
    let server =
        Server::with("workers = 1\nenv = { COLOUR = \"red\" }").top("drain = \"100ms\"").start();
    let running = server.client().post_later("/", "sleep 2500 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.rewrite("red", "blue");
    assert_eq!(server.admin().later("POST", "/reload", OPERATOR, "").answer().status, 200);
    let answer = running.answer();
    assert_eq!((answer.status, &*answer.body), (200, "sleep 2500 a"), "{answer:?}");
    server.wait_until("the old worker has gone", |s| s.workers().len() == 1);
}

#[test]
fn a_new_drain_holds_for_the_next_stop() {
    let mut server = Server::with("workers = 1").top("drain = \"60s\"").start();
    server.rewrite("\"60s\"", "\"300ms\"");
    assert_eq!(server.admin().later("POST", "/reload", OPERATOR, "").answer().status, 200);
    let running = server.client().post_later("/", "sleep 9000 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    server.signal("TERM");
    let answer = running.answer();
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"), "{answer:?}");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn more_workers_than_descriptors_allow_are_refused() {
    let server = Server::with("workers = 1").under("prlimit --nofile=64:64").start();
    server.rewrite("workers = 1", "workers = 20");
    let refused = server.admin().later("POST", "/reload", OPERATOR, "").answer();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("64 open files are allowed"), "{refused:?}");
    assert_eq!(server.answers("hello").body, "hello");
}

#[test]
fn limits_that_are_said_to_wait_for_a_restart_do_wait() {
    let server = Server::with("workers = 1").top("limits = { body = \"1KiB\" }").start();
    server.rewrite("1KiB", "10KiB");
    server.signal("HUP");
    server.wait_for_log("limits: changed; takes effect after a restart");
    assert_eq!(server.answers(&"x".repeat(2000)).status, 413);
}

#[test]
fn a_token_that_was_replaced_stays_replaced_when_none_follows() {
    let server = Server::with("workers = 1").top("admin_token = \"first\"").start_unready();
    server.rewrite("\"first\"", "\"second\"");
    server.signal("HUP");
    server.wait_for_log("admin_token: changed");
    server.rewrite("admin_token = \"second\"", "");
    server.signal("HUP");
    server.wait_for_log("admin: changed; takes effect after a restart");
    let status_of = |token: &str| {
        let shown = format!("Authorization: Bearer {token}");
        server.admin().later("GET", "/status.json", &[&shown], "").answer().status
    };
    assert_eq!((status_of("first"), status_of("second")), (401, 200));
}
