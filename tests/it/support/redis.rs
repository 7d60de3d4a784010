//! A real Redis in a directory of its own. It ends with the test.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::processes;
use super::server::send_signal;
use super::{eventually, skipped};

/// A Redis that runs until dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    dir: PathBuf,
    port: u16,
    arguments: Vec<String>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Redis {
    /// Starts one with these arguments, on a port of this machine and on a socket file; `None`: it is
    /// not installed, and the test is skipped.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_in(new_dir(), free_port(), arguments)
    }

    fn start_in(dir: PathBuf, port: u16, arguments: &[&str]) -> Option<Self> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let Some(child) = spawn(&dir, port, &arguments) else {
            skipped("redis-server is not installed", "`apt-get install redis-server` does it");
            return None;
        };
        let redis = Self { child, dir, port, arguments };
        redis.wait_until_up();
        Some(redis)
    }

    /// Starts one that speaks TLS, with the certificate of this name that `prepare` makes where it runs.
    #[cfg(feature = "tls")]
    pub(crate) fn secure(prepare: &str, name: &str) -> Option<Self> {
        let dir = new_dir();
        let (code, said) = super::shell(&format!("cd '{}' && {prepare}", dir.display()));
        assert_eq!(code, 0, "{said}");
        let port = free_port();
        let [cert, key, own] = [format!("{name}.pem"), format!("{name}.key"), port.to_string()];
        let places = ["--port", "0", "--tls-port", &own, "--tls-auth-clients", "no"];
        let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
        Self::start_in(dir, port, &[places, files].concat())
    }

    /// Returns its address, as `shared` takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns its port.
    #[cfg(feature = "tls")]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// Returns where it runs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again, where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.dir, self.port, &self.arguments).expect("it was there before");
        self.wait_until_up();
    }

    /// Starts it again with these arguments as well, and does not wait until it has loaded.
    pub(crate) fn start_with(&mut self, arguments: &[&str]) {
        let more = arguments.iter().map(ToString::to_string);
        let arguments: Vec<String> = self.arguments.iter().cloned().chain(more).collect();
        self.child = spawn(&self.dir, self.port, &arguments).expect("it was there before");
        let is_up = || self.try_ask(&[&[b"PING"]]).map(|_| ());
        eventually("Redis listens", is_up, String::new);
    }

    /// Sends it a signal by name, as `STOP`, and waits until it has stopped.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id();
        send_signal(id, name);
        if name == "STOP" {
            eventually("it stands still", || processes::is_stopped(id).then_some(()), String::new);
        }
    }

    /// Asks it something, as `redis-cli` would, and returns what it says.
    pub(crate) fn ask(&self, words: &[&[u8]]) -> Vec<u8> {
        self.try_ask(&[words]).expect("it answers")
    }

    /// Asks it something in words, and returns what it says.
    pub(crate) fn says(&self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.ask(&words)).into_owned()
    }

    /// Asks it something with its password, and returns what it says.
    pub(crate) fn ask_as(&self, password: &str, words: &[&[u8]]) -> Vec<u8> {
        let said = self.try_ask(&[&[b"AUTH", password.as_bytes()], words]).expect("it answers");
        said.strip_prefix(b"+OK\r\n").expect("it is the password").to_vec()
    }

    /// Returns what it has under this key.
    pub(crate) fn value(&self, key: &str) -> Vec<u8> {
        let said = self.ask(&[b"GET", key.as_bytes()]);
        let end = said.iter().position(|byte| *byte == b'\n').expect("a length") + 1;
        said[end..said.len() - 2].to_vec()
    }

    /// Returns the keys that match a pattern.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let said = self.ask(&[b"KEYS", pattern.as_bytes()]);
        let said = String::from_utf8(said).expect("keys are texts");
        said.split("\r\n").filter(|line| line.starts_with("hp1:")).map(str::to_owned).collect()
    }

    fn wait_until_up(&self) {
        let is_up = || {
            let said = self.try_ask(&[&[b"PING"]])?;
            (said.starts_with(b"+PONG") || said.starts_with(b"-NOAUTH")).then_some(())
        };
        eventually("Redis answers", is_up, String::new);
    }

    fn try_ask(&self, commands: &[&[&[u8]]]) -> Option<Vec<u8>> {
        let mut socket = UnixStream::connect(self.socket()).ok()?;
        let mut text = Vec::new();
        for words in commands {
            text.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in *words {
                text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                text.extend_from_slice(word);
                text.extend_from_slice(b"\r\n");
            }
        }
        socket.write_all(&text).ok()?;
        // It answers what it has read, and closes then.
        socket.shutdown(Shutdown::Write).ok()?;
        let mut said = Vec::new();
        socket.read_to_end(&mut said).ok()?;
        Some(said)
    }
}

fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Option<Child> {
    #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--unixsocket", "redis.sock"]);
    command.args(["--daemonize", "no"]);
    if !arguments.iter().any(|it| it == "--port") {
        command.args(["--port", &port.to_string()]);
    }
    command.args(arguments).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// A directory of its own. Its name is short, for the path of a socket has an end.
fn new_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("hp-redis-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory can be made");
    dir
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}
