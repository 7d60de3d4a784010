//! The plan of a server under test: its configuration, its files, and how it is started.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use super::command::{Ended, binary_under, ended, shell};
use super::manager::{self, LentSocket};
use super::processes;
use super::server::Server;

/// The plan of a server under test. Starting it gives a [`Server`].
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(super) top: String,
    pub(super) pool: String,
    pub(super) routes: String,
    pub(super) command: Vec<String>,
    pub(super) whole: Option<String>,
    pub(super) arguments: Vec<String>,
    pub(super) files: Vec<(String, String)>,
    pub(super) preparation: String,
    pub(super) environment: Vec<(String, String)>,
    pub(super) dir: Option<PathBuf>,
    pub(super) under: Vec<String>,
    pub(super) lent: Vec<OwnedFd>,
}

impl Plan {
    /// Sets the program. `demo-worker` as the first word is the one in the binary under test.
    /// Single quotes keep words together.
    pub(crate) fn worker(mut self, command: &str) -> Self {
        self.command = words(command);
        if self.command.first().is_some_and(|word| word == "demo-worker") {
            self.command.insert(0, env!("CARGO_BIN_EXE_httpipe").to_owned());
        }
        self
    }

    /// Adds keys outside of any table.
    pub(crate) fn top(mut self, keys: &str) -> Self {
        self.top.push_str(keys);
        self.top.push('\n');
        self
    }

    /// Adds a `[[route]]` with these keys. If neither `pool` nor `text` is among them, adds `pool`.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        let pool = if keys.contains("pool =") || keys.contains("text =") {
            ""
        } else {
            "pool = \"main\"\n"
        };
        self.routes.extend(["[[route]]\n", pool, keys, "\n"]);
        self
    }

    /// Adds a file in the directory where the server and its workers run.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Runs a shell command in that directory before the start, after the files were written.
    pub(crate) fn prepare_with(mut self, line: &str) -> Self {
        line.clone_into(&mut self.preparation);
        self
    }

    /// Adds an argument of `run`.
    pub(crate) fn option(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// Adds a variable to the environment of the server.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server in the directory of the project instead of its own.
    pub(crate) fn in_project(mut self) -> Self {
        self.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        self
    }

    /// Starts the server with another program that takes a command line, as `prlimit --nofile=64`.
    pub(crate) fn under(mut self, command: &str) -> Self {
        self.under = words(command);
        self
    }

    /// Passes these sockets to the server as a service manager does. `names` is `LISTEN_FDNAMES`;
    /// empty: there are no names.
    pub(crate) fn lend(mut self, sockets: &[&LentSocket], names: &str) -> Self {
        self.lent = sockets.iter().map(|socket| manager::copy(socket)).collect();
        self.under = manager::STARTER.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            self = self.env("LISTEN_FDNAMES", names);
        }
        let count = sockets.len().to_string();
        self.env("LISTEN_FDS", &count)
    }

    /// Tells the server that this is its service manager.
    pub(crate) fn tell(self, told: &manager::Told) -> Self {
        self.env("NOTIFY_SOCKET", told.address())
    }

    /// Starts the server and waits until every pool has a ready worker.
    pub(crate) fn start(self) -> Server {
        let server = self.start_unready();
        server.wait_until_ready();
        server
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn start_unready(self) -> Server {
        let (child, dir, mark) = self.spawn();
        let mut server = Server::of(child, dir, mark);
        server.wait_until_announced();
        server
    }

    /// Starts a server that has no listener for callers, and waits until operators can connect.
    #[cfg(feature = "nats")]
    pub(crate) fn start_host(self) -> Server {
        let (child, dir, mark) = self.spawn();
        let mut server = Server::of(child, dir, mark);
        server.wait_until_hosting();
        server
    }

    /// Starts the server and does not wait, because it may not be able to write its log. `listen`
    /// and `admin` are its configured addresses.
    pub(crate) fn start_mute(self, listen: &str, admin: &str) -> Server {
        let (child, dir, mark) = self.spawn();
        let mut server = Server::of(child, dir, mark);
        server.is_told(listen, admin);
        server
    }

    fn spawn(self) -> (Child, PathBuf, String) {
        let mark = new_mark();
        let (dir, arguments) = self.prepare(&mark);
        let mut command = binary_under(&self.under, self.dir.as_ref().unwrap_or(&dir));
        // The operator's key goes there, too.
        command.args(arguments).env(processes::MARK, &mark).env("XDG_RUNTIME_DIR", &dir);
        command.env_remove("RUNTIME_DIRECTORY");
        command.envs(self.environment);
        if self.lent.is_empty() {
            return (command.spawn().expect("the binary can be run"), dir, mark);
        }
        let (ours, theirs) = UnixStream::pair().expect("there are free descriptors");
        let child = command.stdin(OwnedFd::from(theirs)).spawn().expect("there is a Python");
        manager::pass(&ours, &self.lent);
        (child, dir, mark)
    }

    /// Runs the server, which must refuse to start.
    pub(crate) fn refused(self) -> Ended {
        let (child, dir, _) = self.spawn();
        let ended = ended(child);
        drop(std::fs::remove_dir_all(dir));
        ended
    }

    /// Writes the files. Returns their directory and the arguments that start the server.
    fn prepare(&self, mark: &str) -> (PathBuf, Vec<String>) {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(mark);
        std::fs::create_dir_all(&dir).expect("the build directory can be written");
        for (name, text) in &self.files {
            std::fs::write(dir.join(name), text).expect("a file can be written");
        }
        if !self.preparation.is_empty() {
            let (code, said) = shell(&format!("cd {}; {}", dir.display(), self.preparation));
            assert_eq!(code, 0, "{said}");
        }
        let mut arguments = vec!["run".to_owned()];
        if self.whole.is_some() || !self.command.is_empty() {
            let path = dir.join("httpipe.toml");
            std::fs::write(&path, self.configuration()).expect("a file can be written");
            arguments.push(path.to_string_lossy().into_owned());
        }
        let given = self.arguments.iter().map(|word| resolved(word));
        let (options, program): (Vec<_>, Vec<_>) = {
            let all: Vec<String> = given.collect();
            let split = all.iter().position(|word| word == "--").unwrap_or(all.len());
            (all[..split].to_vec(), all[split..].to_vec())
        };
        arguments.extend(options);
        for flag in ["--listen", "--admin"] {
            if !self.configuration().contains(&format!("{} =", &flag[2..]))
                && !arguments.iter().any(|word| word == flag)
            {
                arguments.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
            }
        }
        arguments.extend(program);
        (dir, arguments)
    }

    fn configuration(&self) -> String {
        if let Some(whole) = &self.whole {
            return resolved(whole);
        }
        let routes = if self.routes.is_empty() {
            "[[route]]\nmatch = \"POST /\"\npool = \"main\"\n\n\
             [[route]]\nmatch = \"GET /?input={input}\"\npool = \"main\"\n"
        } else {
            &self.routes
        };
        let command = serde_json::to_string(&self.command).expect("words are JSON, and so TOML");
        format!("{}\n[pool.main]\ncommand = {command}\n{}\n\n{routes}", self.top, self.pool)
    }
}

fn resolved(text: &str) -> String {
    text.replace("$httpipe", env!("CARGO_BIN_EXE_httpipe"))
}

fn new_mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("server-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Splits a command line into words; single quotes keep words together.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
