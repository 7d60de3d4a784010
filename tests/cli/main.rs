//! The commands of the real binary: help, problems of configurations, files and exit codes.

#![expect(clippy::disallowed_methods, reason = "tests start the binary from outside")]

mod check;
mod commands;
mod help;
mod hints;
mod map;
mod problems;
mod served;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory in which the binary runs. It is removed at the end.
struct Room {
    dir: PathBuf,
    variables: Vec<(String, String)>,
}

impl Room {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("the build directory can be written");
        Self { dir, variables: Vec::new() }
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.join(name), text).expect("a file can be written");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the command that runs the binary with these arguments in this directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httpipe"));
        command
            .args(arguments)
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Returns exit code, stdout and stderr, each below a heading; an empty stream is left out.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the binary can be run");
        let mut shown = format!("exit {}\n", output.status.code().unwrap_or(-1));
        for (name, text) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8_lossy(&text);
            if !text.is_empty() {
                shown = shown + "--- " + name + "\n" + &text;
            }
        }
        // The path of the build directory differs from machine to machine.
        shown.replace(&self.dir.display().to_string(), "[dir]")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
