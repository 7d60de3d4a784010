//! Runs the binary until it ends: usage errors, checks, generated files.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::eventually;
use super::output::Output;
use super::server::Server;

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    /// What it wrote on stdout.
    pub(crate) stdout: String,
    /// What it wrote on stderr.
    pub(crate) stderr: String,
}

/// Waits until a run of the binary ends by itself.
pub(super) fn ended(child: Child) -> Ended {
    let mut child = Ending(child);
    let (mut stdout, mut stderr) = outputs(&mut child.0);
    let status = eventually(
        "it ended",
        || child.0.try_wait().expect("a child can be waited for"),
        || format!("\nstdout: {:#?}\nstderr: {:#?}", stdout.lines(), stderr.lines()),
    );
    let code = status.code().unwrap_or(-1);
    Ended { code, stdout: stdout.all(), stderr: stderr.all() }
}

/// Kills the process when the test ends, in case it has not ended by itself.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It has ended already, unless the test fails.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Returns the command of the binary under test, without settings of this machine in its
/// environment. If `program` is not empty, that program gets the command line and starts it.
#[expect(clippy::disallowed_methods, reason = "tests start the server as its users do")]
pub(super) fn binary_under(program: &[String], dir: &Path) -> Command {
    let mut words = program.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_httpipe")]);
    let mut command = Command::new(words.next().expect("the binary is the last of them"));
    command.args(words);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HTTPIPE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("PYTHONUNBUFFERED").current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command of the binary to its end, as the user of this server and without a desktop.
pub(crate) fn binary(server: &Server, arguments: &[&str]) -> Ended {
    let mut command = binary_under(&[], server.dir());
    command.args(arguments).env("XDG_RUNTIME_DIR", server.dir());
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
        command.env_remove(name);
    }
    ended(command.spawn().expect("the binary can be run"))
}

/// Collects its stdout and stderr.
pub(super) fn outputs(child: &mut Child) -> (Output, Output) {
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    (Output::of(stdout), Output::of(stderr))
}

/// Runs a line in a shell. Returns the exit code and the output.
#[expect(clippy::disallowed_methods, reason = "tests do what a reader of the log would do")]
pub(crate) fn shell(line: &str) -> (i32, String) {
    let output = Command::new("sh").args(["-c", line]).output().expect("there is a shell");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}
