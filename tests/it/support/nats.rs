//! A NATS server of a test, in a directory of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{eventually, skipped};

/// A NATS server that runs until this is dropped.
pub(crate) struct Nats {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Nats {
    /// Starts a server with these further lines of configuration, on any free port. `None`: it is not
    /// installed, and the test is skipped.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nats-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("the build directory can be written");
        std::fs::write(dir.join("nats.conf"), configuration).expect("a file can be written");
        let Some(child) = spawn(&dir, -1) else {
            skipped("nats-server is not installed", "`apt-get install nats-server` does it");
            return None;
        };
        let mut nats = Self { child, dir, port: 0 };
        nats.port = eventually("NATS says its port", || nats.said_port(), String::new);
        Some(nats)
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, i32::from(self.port)).expect("it is installed");
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), signal).expect("it runs");
    }

    fn said_port(&self) -> Option<u16> {
        let file = self.dir.join(format!("nats-server_{}.ports", self.child.id()));
        let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let url = ports["nats"][0].as_str()?;
        url.rsplit(':').next()?.parse().ok()
    }
}

fn spawn(dir: &PathBuf, port: i32) -> Option<Child> {
    let places = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
    let program = places.into_iter().find(|it| std::path::Path::new(it).exists());
    #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
    let child = Command::new(program.unwrap_or("nats-server"))
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c", "nats.conf"])
        .args(["--ports_file_dir", "."])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.ok()
}
