//! What a worker inherits: three descriptors, a clean environment, default signals.

use crate::support::Server;

#[test]
fn a_worker_has_three_descriptors() {
    let server = Server::with("workers = 2").start();
    let kept = server.client().connect();
    assert_eq!(server.answers("fds").body, "0 1 2");
    assert_eq!(server.answers("crash").status, 502);
    assert_eq!(server.answers("fds").body, "0 1 2");
    kept.close();
}

#[test]
fn a_worker_inherits_the_environment_without_ours() {
    let server = Server::with("workers = 1\nenv = { ADDED = \"yes\", LANG = \"C.UTF-8\" }")
        .env("INHERITED", "too")
        .env("HTTPIPE_THREADS", "1")
        .start();
    assert_eq!(server.answers("env ADDED").body, "yes");
    assert_eq!(server.answers("env LANG").body, "C.UTF-8");
    assert_eq!(server.answers("env INHERITED").body, "too");
    assert_eq!(server.answers("env HTTPIPE_THREADS").body, "-");
    assert_eq!(server.answers("env PYTHONUNBUFFERED").body, "1");
}

#[test]
fn pythonunbuffered_can_be_switched_off() {
    let server = Server::with("workers = 1\nenv = { PYTHONUNBUFFERED = \"\" }").start();
    let value = server.answers("env PYTHONUNBUFFERED").body;
    assert!(value.is_empty() || value == "-", "{value:?}");
}

#[test]
fn a_worker_has_no_signal_blocked_or_ignored() {
    let script = "while read -r field; do grep \"^$field\" /proc/self/status; done";
    let server = Server::with("workers = 1").worker(&format!("sh -c '{script}'")).start();
    for field in ["SigBlk", "SigIgn"] {
        let line = server.answers(field).body;
        let signals = line.rsplit('\t').next().unwrap_or_default();
        let signals = u64::from_str_radix(signals, 16).expect("a set of signals");
        // The C library keeps two signals for itself and ignores them in processes that it spawns.
        let own = 0x1_8000_0000;
        assert!(line.starts_with(field) && signals & !own == 0, "{line:?}");
    }
}

#[test]
fn a_worker_leads_a_group_of_its_own() {
    let script = "while read -r x; do cut -d\" \" -f1,5 /proc/$$/stat; done";
    let server = Server::with("workers = 1").worker(&format!("sh -c '{script}'")).start();
    let answer = server.answers("x").body;
    let ids: Vec<&str> = answer.split_whitespace().collect();
    assert_eq!(ids.len(), 2, "{answer:?}");
    assert_eq!(ids[0], ids[1], "its own id is its group's");
}
