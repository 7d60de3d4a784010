//! What a worker may do to its server.

mod hidden;
mod memory;
pub(crate) mod sandbox;
mod user;

use crate::support::{Plan, Server, passed_over, shell};

/// The attacks that `on_server.py` knows, all of which are refused.
const ATTACKS: [&str; 10] = [
    "environ",
    "maps",
    "auxv",
    "mem",
    "fd",
    "fd/2",
    "process_vm_readv",
    "ptrace",
    "pidfd_getfd",
    "set-uid",
];

/// Makes of root an ordinary user.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Returns a command under which root is an ordinary user, whom nothing is allowed that a worker is
/// to be kept from. `None`: the test is skipped.
fn without_privileges() -> Option<&'static str> {
    if shell("id -u").1.trim() != "0" {
        return Some("env");
    }
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let is_possible = shell(&format!("{NOBODY} {binary} --version")).0 == 0;
    if !is_possible {
        passed_over(
            "root cannot run the binary as another user",
            "is its directory for root only?",
        );
    }
    is_possible.then_some(NOBODY)
}

fn attacked(pool: &str) -> Option<Plan> {
    let under = without_privileges()?;
    let plan = Server::with(pool)
        .worker("python3 attack.py")
        .file("attack.py", include_str!("on_server.py"))
        .env("SECRET", "hunter2");
    Some(plan.under(under))
}

#[test]
fn a_worker_cannot_look_into_its_server() {
    let Some(plan) = attacked("workers = 1") else { return };
    let server = plan.start();
    let got = ATTACKS.map(|attack| (attack, server.answers(attack).body));
    let is_refused = |answer: &str| ["EACCES", "EPERM"].contains(&answer);
    assert!(got.iter().all(|(_, answer)| is_refused(answer)), "{got:?}");
}

#[test]
fn a_program_may_be_allowed_to_become_another_user() {
    let Some(plan) = attacked("workers = 1\nsandbox = false") else { return };
    let server = plan.start();
    assert_eq!(server.answers("set-uid").body, "got");
    assert_eq!(server.answers("environ").body, "EACCES", "the server is hidden in any case");
}
