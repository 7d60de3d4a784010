//! Certificates that are renewed while the server runs.

use std::time::Duration;

use crate::support::tls::{TlsSocket, make, pair, run_in, secure};
use crate::support::{Server, pause};

/// Whose certificate a new connection is shown.
fn shown(server: &Server) -> String {
    TlsSocket::connect(server.address()).expect("a connection").certificate()
}

/// Returns the lines of the log that have this text.
fn count(server: &Server, text: &str) -> usize {
    server.log_lines().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_certificate_that_is_renewed_in_two_writes_is_taken_when_both_are_there() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    let mut before = server.secure_client().connect();
    assert_eq!(before.post("/", "a").status, 200);
    assert_eq!(shown(&server), "one");
    run_in(&server, &format!("{} && mv two.pem one.pem", make("two", 60)));
    server.wait_for_log("the certificate cannot be read again; the one that was good stays");
    assert_eq!(shown(&server), "one");
    run_in(&server, "mv two.key one.key");
    server.wait_until("it shows two", |server| shown(server) == "two");
    server.wait_for_log("the certificate is read again");
    assert_eq!(before.post("/", "a").status, 200, "an open connection is not disturbed");
    let days = server.metric("httpipe_tls_expires_seconds") / 86400.0;
    assert!(days > 59.0, "{days}");
}

#[test]
fn a_wrong_pair_and_none_at_all_leave_the_old_one_and_are_told_once() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    let told = "the certificate cannot be read again";
    run_in(&server, &format!("{} && cp one.pem old.pem && mv two.pem one.pem", make("two", 60)));
    server.wait_for_log("is not the private key of");
    run_in(&server, "rm one.pem");
    server.wait_for_log("one.pem` cannot be read");
    pause(Duration::from_secs(6), "the server looks every five seconds, and has nothing to tell");
    assert_eq!(count(&server, told), 2);
    assert_eq!(
        (shown(&server).as_str(), server.secure_client().post("/", "a").status),
        ("one", 200)
    );
    run_in(&server, "mv old.pem one.pem");
    server.wait_for_log("the certificate is read again");
    assert_eq!(count(&server, told), 2);
}

#[test]
fn a_reload_takes_the_new_pair_at_once_or_says_why_not() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    run_in(&server, &make("two", 60));
    server.rewrite(&pair("one"), &pair("two"));
    server.signal("HUP");
    server.wait_for_log("tls: changed");
    assert_eq!(shown(&server), "two");
    server.rewrite("key = \"two.key\"", "key = \"one.key\"");
    server.signal("HUP");
    server.wait_for_log("not reloaded; the old configuration stays");
    server.wait_for_log("is not the private key of");
    assert_eq!(
        (shown(&server).as_str(), server.secure_client().post("/", "a").status),
        ("two", 200)
    );
}

#[test]
fn tls_is_switched_by_a_restart_only() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    server.rewrite(&pair("one"), "");
    server.signal("HUP");
    server.wait_for_log("tls: changed; takes effect after a restart");
    assert_eq!(server.secure_client().post("/", "a").status, 200);
    run_in(&server, &format!("{} && mv two.pem one.pem && mv two.key one.key", make("two", 60)));
    server.wait_until("what TLS still uses is renewed", |server| shown(server) == "two");
}
