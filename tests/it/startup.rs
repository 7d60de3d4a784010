//! Configurations and systems with which the server does not start, and what it says. No part of it
//! starts.

use crate::support::{Server, passed_over, shell};

fn is_refused(plan: crate::support::Plan, words: &[&str]) {
    let ended = plan.refused();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn a_port_in_use_is_named() {
    let first = Server::with("workers = 1").start();
    let address = first.url().replace("http://", "");
    let ended = Server::with("workers = 1").top(&format!("listen = \"{address}\"")).refused();
    assert!(matches!(ended.code, 1 | 2), "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    assert_eq!(first.answers("still here").body, "still here");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    is_refused(Server::with("").worker("no-such-program-at-all"), &["no-such-program-at-all"]);
    is_refused(Server::with("").worker("./missing"), &["missing"]);
}

#[test]
fn a_program_that_may_not_be_run_is_named() {
    is_refused(Server::with("").worker("./plain").file("plain", "no program"), &["plain"]);
    is_refused(Server::with("").worker("/tmp"), &["/tmp"]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    is_refused(Server::with("dir = \"nowhere\""), &["nowhere"]);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_what_was_meant() {
    is_refused(Server::with("workrs = 4"), &["workrs", "workers", "httpipe.toml"]);
}

#[test]
fn all_problems_are_said_at_once() {
    is_refused(
        Server::with("workrs = 4\ntimeout = 30").top("drain = \"soon\""),
        &["workrs", "timeout", "drain"],
    );
}

#[test]
fn numbers_need_units_and_workers_are_at_least_one() {
    is_refused(Server::with("timeout = 30"), &["timeout", "unit"]);
    is_refused(Server::with("workers = 0"), &["workers"]);
    is_refused(Server::with("workers = \"4..2\""), &["workers"]);
}

#[test]
fn a_route_that_can_never_match_is_a_problem() {
    is_refused(
        Server::with("").route("match = \"GET /a\"").route("match = \"GET /a\""),
        &["GET /a"],
    );
}

#[test]
fn a_cache_on_a_route_that_is_not_idempotent_is_a_problem() {
    is_refused(Server::with("").route("match = \"POST /\"\ncache = \"1h\""), &["cache"]);
}

#[test]
fn nothing_to_run_is_a_usage_error() {
    is_refused(Server::args(&["no-such-file.toml"]), &["no-such-file.toml"]);
    is_refused(Server::args(&["--no-such-flag", "--", "cat"]), &["--no-such-flag"]);
}

#[test]
fn too_few_descriptors_for_its_threads_are_told() {
    let ended =
        Server::with("workers = 1").top("threads = 30").under("prlimit --nofile=64").refused();
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("64 open files are allowed"), "{}", ended.stderr);
}

/// The server checks the number of descriptors in advance, but does not see those it has inherited.
#[test]
fn a_thread_that_cannot_be_started_is_a_start_that_failed() {
    let full = "import os, sys\nfor n in range(100, 240): os.dup2(2, n)\n\
                os.execvp(sys.argv[1], sys.argv[1:])";
    let ended = Server::with("workers = 1")
        .top("threads = 30\nlimits = { connections = 1 }")
        .under(&format!("prlimit --nofile=256 python3 -c '{full}'"))
        .refused();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("cannot start a thread"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ulimit -n"), "{}", ended.stderr);
}

/// A port below 1024 needs a privilege, which root has by default.
#[test]
fn a_port_below_1024_without_the_privilege_is_told_with_what_to_do() {
    let unprivileged = "setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service";
    let first = shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").1;
    let is_root = shell("id -u").1.trim() == "0";
    if first.trim() != "1024" {
        return passed_over("ports below 1024 need no privilege here", "it is a sysctl");
    }
    if is_root && shell(&format!("{unprivileged} true")).0 != 0 {
        return passed_over("root keeps its privileges here", "it takes `setpriv`");
    }
    let plan = Server::with("workers = 1").top("listen = \"127.0.0.1:1023\"");
    let ended = if is_root { plan.under(unprivileged) } else { plan }.refused();
    assert_eq!(ended.code, 1, "{ended:?}");
    for words in ["127.0.0.1:1023", "ports below 1024", "CAP_NET_BIND_SERVICE"] {
        assert!(ended.stderr.contains(words), "no {words:?} in\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("listening on"), "{}", ended.stderr);
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_certificate_in_a_build_without_tls_is_refused_with_a_way_out() {
    let tls = "tls = { cert = \"one.pem\", key = \"one.key\" }";
    let ended = Server::with("workers = 1").top(tls).refused();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("built without TLS"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--features tls"), "{}", ended.stderr);
}

#[test]
fn a_low_limit_of_descriptors_that_may_be_raised_is_no_limit_to_workers() {
    let server = Server::with("workers = 20")
        .top("limits = { connections = 1 }")
        .under("prlimit --nofile=64:4096")
        .start_unready();
    server.wait_for_log("pool main: 20 workers ready");
}
