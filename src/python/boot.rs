//! How the loop gets into an interpreter: nothing of it is on disk, and it is always the one that
//! this server speaks with.
//!
//! Pure.

use super::PythonTarget;

/// The first question that a worker gets: what does it serve?
pub const DESCRIBE: &str = "? {\"version\":1}";

/// The arguments of the interpreter of a worker.
pub fn arguments(target: &PythonTarget) -> Vec<String> {
    let boot = include_str!("../../python/boot.py");
    ["-c", boot, target.as_str()].map(str::to_owned).into()
}

/// What follows the arguments of a worker to make its interpreter a fork server.
pub const FORK_SERVER: &str = "fork_server";

/// The text of the loop, which a new interpreter is sent first.
pub fn loop_text() -> &'static str {
    include_str!("../../python/httpipe/_worker.py")
}
