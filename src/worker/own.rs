//! The two commands of our own binary that the server runs as processes, and how it starts them.
//!
//! `httpipe __exec` is the shim, which becomes a program (`shim`); `httpipe __guard` is the guard
//! (`guard`). This is the only file in which the server makes a command.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::LaunchSettings;

/// The first argument that makes our binary the shim.
pub(super) const SHIM: &str = "__exec";
/// The first argument that makes our binary the guard.
pub(super) const GUARD: &str = "__guard";

/// A random word that marks the shim's own message on a worker's stderr.
///
/// Each process has a new one. The program never learns it, so it cannot pretend to be the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(super) fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    /// Returns the token as it is passed to the shim.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the beginning of the one line that the shim may write.
pub(super) fn shim_line_prefix(token: &str) -> String {
    format!("httpipe {token}: ")
}

/// Makes a command. All commands are made here, so that every process can be found.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn command(program: &Path) -> Command {
    Command::new(program)
}

/// The soft limit of open files that this process was started with; 0 until it is noted.
static FILES_AT_START: AtomicU64 = AtomicU64::new(0);

/// Notes the soft limit of open files before it is raised, so that workers get it as it was.
pub fn note_file_limit(soft: u64) {
    FILES_AT_START.store(soft, Ordering::Relaxed);
}

/// Makes the command of the shim, which becomes the program.
pub(super) fn shim_command(binary: &Path, launch: &LaunchSettings, token: &Token) -> Command {
    let mut command = command(binary);
    // The directory is an argument rather than `current_dir` so that the shim can say in words
    // what is wrong with it.
    command
        .arg0("httpipe")
        .arg(SHIM)
        .arg(token.as_str())
        .arg(std::process::id().to_string())
        .arg(FILES_AT_START.load(Ordering::Relaxed).to_string())
        .arg(&launch.dir)
        .arg(&launch.program)
        .arg(&launch.name)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .process_group(0);
    command
}

/// Makes the command of the guard, which reads its orders from `stdin`.
pub(super) fn guard_command(binary: &Path, stdin: OwnedFd) -> Command {
    let mut command = command(binary);
    // Its own group keeps it out of reach of Ctrl-C. Without our stderr, readers of the server's
    // stderr see its end when the server ends. In `/` it keeps no file system busy.
    command
        .arg0("httpipe")
        .arg(GUARD)
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}
