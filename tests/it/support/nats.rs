//! A NATS server of a test, in a directory of its own.

use std::path::{Path, PathBuf};
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
    /// The command that it runs under, and where it listens.
    under: Vec<String>,
    address: &'static str,
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
        Self::start_with("", "127.0.0.1", configuration)
    }

    /// Starts a server under this command, which listens on all addresses that there are.
    pub(crate) fn start_under(command: &str) -> Option<Self> {
        Self::start_with(command, "0.0.0.0", "")
    }

    fn start_with(under: &str, address: &'static str, configuration: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nats-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("the build directory can be written");
        std::fs::write(dir.join("nats.conf"), configuration).expect("a file can be written");
        let under: Vec<String> = under.split_whitespace().map(str::to_owned).collect();
        let Some(child) = spawn(&dir, &under, address, -1) else {
            skipped("nats-server is not installed", "`apt-get install nats-server` does it");
            return None;
        };
        let mut nats = Self { child, dir, port: 0, under, address };
        nats.port = eventually("NATS says its port", || nats.said_port(), String::new);
        Some(nats)
    }

    /// Starts one that shows the certificate `own.pem`, which this command makes where it runs.
    pub(crate) fn secure(prepare: &str, configuration: &str) -> Option<Self> {
        let mut nats = Self::start("")?;
        let (code, said) = super::shell(&format!("cd '{}' && {prepare}", nats.dir.display()));
        assert_eq!(code, 0, "{said}");
        let tls = "tls { cert_file: \"own.pem\", key_file: \"own.key\" }\n";
        nats.start_again_with(&format!("{tls}{configuration}"));
        Some(nats)
    }

    /// Starts one that is in a cluster with this one.
    pub(crate) fn join(&self) -> Option<Self> {
        Self::join_at(&self.cluster_address())
    }

    /// Returns where the servers of its cluster come to it.
    pub(crate) fn cluster_address(&self) -> String {
        self.said("cluster").expect("it is in a cluster")
    }

    /// Starts one that is in a cluster with what is there.
    pub(crate) fn join_at(routes: &str) -> Option<Self> {
        Self::start(&cluster("127.0.0.1:-1", &format!("routes: [\"nats-route://{routes}\"]")))
    }

    /// Starts the first one of a cluster.
    pub(crate) fn start_cluster() -> Option<Self> {
        let nats = Self::start(&cluster("127.0.0.1:-1", ""))?;
        // Its successor is where the others know it.
        let listen = nats.cluster_address();
        let configuration = cluster(&listen, "");
        std::fs::write(nats.dir.join("nats.conf"), configuration).expect("a file can be written");
        Some(nats)
    }

    /// Starts it again where it was, with this configuration.
    pub(crate) fn start_again_with(&mut self, configuration: &str) {
        std::fs::write(self.dir.join("nats.conf"), configuration).expect("a file can be written");
        self.start_again();
        eventually("NATS says its port", || self.said("nats"), String::new);
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns where it runs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns what it has logged, if it was told to log into `nats.log`.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("nats.log")).unwrap_or_default()
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        let port = i32::from(self.port);
        self.child = spawn(&self.dir, &self.under, self.address, port).expect("it is installed");
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), signal).expect("it runs");
    }

    fn said_port(&self) -> Option<u16> {
        self.said("nats")?.rsplit(':').next()?.parse().ok()
    }

    /// Returns where it listens for what has this name, without the scheme.
    fn said(&self, what: &str) -> Option<String> {
        let file = self.dir.join(format!("nats-server_{}.ports", self.child.id()));
        let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let url = ports[what][0].as_str()?;
        Some(url.rsplit('/').next().unwrap_or(url).to_owned())
    }
}

fn cluster(listen: &str, keys: &str) -> String {
    format!("cluster {{ name: it, listen: \"{listen}\", {keys} }}")
}

fn spawn(dir: &Path, under: &[String], address: &str, port: i32) -> Option<Child> {
    let places = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
    let program = places.into_iter().find(|it| Path::new(it).exists());
    let mut words = under.iter().map(String::as_str).chain([program.unwrap_or("nats-server")]);
    #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
    let mut command = Command::new(words.next().expect("the program is the last of them"));
    command.args(words).args(["-a", address, "-p", &port.to_string(), "-c", "nats.conf"]);
    command.args(["--ports_file_dir", "."]).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}
