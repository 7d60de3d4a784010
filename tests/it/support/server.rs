//! One running server with its workers, in a directory of its own, gone with the test.

use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::{Answer, Client};
use super::command::{Ended, binary, httpipe, outputs};
use super::output::Output;
use super::{eventually, processes};

/// A server to be: what its configuration says.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    top: String,
    pool: String,
    routes: String,
    command: Vec<String>,
    whole: Option<String>,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    dir: Option<PathBuf>,
}

/// A running server. Dropping it kills it, and fails the test if any process of it survives.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdout: Output,
    stderr: Output,
    dir: PathBuf,
    mark: String,
    address: String,
    admin: String,
}

impl Server {
    /// A server with these keys in its only pool. Without [`Plan::route`] it has the two routes
    /// of the command line: the body of `POST /`, and `input` of `GET /?input=`.
    pub(crate) fn with(pool: &str) -> Plan {
        Plan { pool: pool.to_owned(), ..Plan::default() }.worker("demo-worker")
    }

    /// A server with this whole configuration; `$httpipe` in it is the binary under test.
    pub(crate) fn config(text: &str) -> Plan {
        Plan { whole: Some(text.to_owned()), ..Plan::default() }
    }

    /// A server that is told everything by arguments of `run`.
    pub(crate) fn args(arguments: &[&str]) -> Plan {
        Plan { arguments: arguments.iter().map(ToString::to_string).collect(), ..Plan::default() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(&self.address)
    }

    /// A caller of the listener for operators.
    pub(crate) fn admin(&self) -> Client {
        Client::of(&self.admin)
    }

    /// Where callers connect, as it announced it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The sum of all samples of this name with at least these labels: `name{label="x"}`.
    pub(crate) fn metric(&self, wanted: &str) -> f64 {
        let answer = self.admin().get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
        let labels: Vec<&str> =
            labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
        let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value.parse::<f64>().expect("a sample is a number"))
            .sum()
    }

    /// `/status.json`.
    pub(crate) fn status(&self) -> Value {
        self.admin().get("/status.json").json()
    }

    /// Waits until this is so; `what` completes the sentence "waited in vain until".
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        eventually(what, || is_so(self).then_some(()), || format!("\n{}", self.log()));
    }

    /// Waits until `/ready` says so.
    pub(crate) fn wait_until_ready(&self) {
        self.wait_until("it is ready", |server| server.admin().get("/ready").status == 200);
    }

    /// Waits for a line of the log that holds this text, and returns it.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let find = || self.log_lines().into_iter().find(|line| line.contains(text));
        eventually(&format!("the log says {text:?}"), find, || format!("\n{}", self.log()))
    }

    /// What it wrote on stderr so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.stderr.lines()
    }

    fn log(&self) -> String {
        self.log_lines().join("\n")
    }

    /// Sends a signal by its name, as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Sends a signal to one of its workers, or to another process of it.
    pub(crate) fn signal_worker(&self, worker: u32, name: &str) {
        assert!(processes::marked(&self.mark).contains(&worker), "{worker} is not ours");
        send_signal(worker, name);
    }

    /// The same where it may have ended meanwhile.
    pub(crate) fn signal_if_alive(&self, worker: u32, name: &str) {
        if processes::marked(&self.mark).contains(&worker) {
            send_signal(worker, name);
        }
    }

    /// Waits until it has ended by itself; -1 where a signal ended it.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let (child, stderr) = (&mut self.child, &self.stderr);
        let status = eventually(
            "the server ended",
            || child.try_wait().expect("a child can be waited for"),
            || format!("\n{}", stderr.lines().join("\n")),
        );
        status.code().unwrap_or(-1)
    }

    /// The ids of its workers: its children that run the program by now.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let is_ours = |id: &u32| {
            // The shim and the guard are our own binary with a word that nobody types.
            processes::arguments(*id).get(1).is_some_and(|word| word.starts_with("__"))
        };
        let children = processes::children(self.child.id()).into_iter();
        children.filter(|id| !is_ours(id) && !processes::is_zombie(*id)).collect()
    }

    /// Every other process that it caused to be: workers, what they left behind, its guard.
    pub(crate) fn offspring(&self) -> Vec<u32> {
        let mut all = processes::marked(&self.mark);
        all.retain(|id| *id != self.child.id());
        all
    }

    /// Children of it that ended and were not reaped.
    pub(crate) fn zombies(&self) -> usize {
        processes::children(self.child.id())
            .into_iter()
            .filter(|id| processes::is_zombie(*id))
            .count()
    }

    /// Is this process, seen earlier, still there?
    pub(crate) fn is_alive(&self, id: u32) -> bool {
        processes::marked(&self.mark).contains(&id)
    }

    /// How many descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        processes::descriptors(self.child.id())
    }

    /// Its resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        processes::memory(self.child.id())
    }

    /// Puts other text into its configuration file; it takes a reload for that to matter.
    pub(crate) fn rewrite(&self, old: &str, new: &str) {
        let path = self.dir.join("httpipe.toml");
        let text = std::fs::read_to_string(&path).expect("it was started with a file");
        assert!(text.contains(old), "no {old:?} in\n{text}");
        std::fs::write(&path, text.replace(old, new)).expect("the file can be written");
    }

    /// Puts an empty file into the directory where its workers run.
    pub(crate) fn put(&self, name: &str) {
        std::fs::write(self.dir.join(name), "").expect("a file can be written");
    }

    /// What its workers wrote into a file there; empty where it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// The questions that its workers noted: `demo-worker --journal seen`.
    pub(crate) fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("seen")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The answer to this text, posted to `/`.
    pub(crate) fn answers(&self, text: &str) -> Answer {
        self.client().post("/", text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            // Captured by the test runner, and shown because the test failed.
            eprintln_lines("stdout", &self.stdout.lines());
            eprintln_lines("stderr", &self.stderr.lines());
            for id in processes::marked(&self.mark) {
                send_signal(id, "KILL");
            }
        } else {
            let mark = self.mark.clone();
            let gone = || processes::marked(&mark).is_empty().then_some(());
            let left = || {
                let ids = processes::marked(&mark);
                let words = ids.iter().map(|id| format!("\n{id} {:?}", processes::arguments(*id)));
                words.collect::<Vec<_>>().concat()
            };
            eventually("every process of the server has gone", gone, left);
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Plan {
    /// The program; `demo-worker` as the first word is the one in the binary under test. Single
    /// quotes keep words together.
    pub(crate) fn worker(mut self, command: &str) -> Self {
        self.command = words(command);
        if self.command.first().is_some_and(|word| word == "demo-worker") {
            self.command.insert(0, env!("CARGO_BIN_EXE_httpipe").to_owned());
        }
        self
    }

    /// Keys outside of any table.
    pub(crate) fn top(mut self, keys: &str) -> Self {
        self.top.push_str(keys);
        self.top.push('\n');
        self
    }

    /// One more route: the keys of a `[[route]]`, `pool` included where it has none.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        let pool = if keys.contains("pool =") || keys.contains("text =") {
            ""
        } else {
            "pool = \"main\"\n"
        };
        self.routes.extend(["[[route]]\n", pool, keys, "\n"]);
        self
    }

    /// A file in the directory where the server and its workers run.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// One more argument of `run`.
    pub(crate) fn option(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// A variable in the server's own environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs in a directory of the project instead of one of its own.
    pub(crate) fn in_project(mut self) -> Self {
        self.dir = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        self
    }

    /// Starts it and waits until every pool has a worker.
    pub(crate) fn start(self) -> Server {
        let server = self.start_unready();
        server.wait_until_ready();
        server
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start_unready(self) -> Server {
        let mark = new_mark();
        let (dir, arguments) = self.prepare(&mark);
        let mut command = binary(self.dir.as_ref().unwrap_or(&dir));
        command.args(arguments).env(processes::MARK, &mark);
        command.envs(self.environment);
        let mut child = command.spawn().expect("the binary can be run");
        let (stdout, stderr) = outputs(&mut child);
        let (address, admin) = (String::new(), String::new());
        let mut server = Server { child, stdout, stderr, dir, mark, address, admin };
        server.address = server.announced("listening on");
        server.admin = server.announced("admin listening on");
        server
    }

    /// Runs it where it must refuse to start.
    pub(crate) fn refused(self) -> Ended {
        let mark = new_mark();
        let (dir, arguments) = self.prepare(&mark);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = httpipe(&dir, &arguments);
        drop(std::fs::remove_dir_all(dir));
        ended
    }

    /// Writes its files; the arguments that start it.
    fn prepare(&self, mark: &str) -> (PathBuf, Vec<String>) {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(mark);
        std::fs::create_dir_all(&dir).expect("the build directory can be written");
        for (name, text) in &self.files {
            std::fs::write(dir.join(name), text).expect("a file can be written");
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

impl Server {
    /// The address in the log line whose message begins so.
    fn announced(&self, message: &str) -> String {
        let find = || {
            let lines = self.stderr.lines();
            lines.iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                field(&line, "message")?.starts_with(message).then_some(())?;
                field(&line, "address")
            })
        };
        eventually(&format!("it says {message:?}"), find, || format!("\n{}", self.log()))
    }
}

/// A field of a log line, at its top or among its `fields`.
fn field(line: &Value, name: &str) -> Option<String> {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn send_signal(id: u32, name: &str) {
    let signal = match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no test sends {other}"),
    };
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process has an id");
    // It may have gone meanwhile, which is what was wanted of it.
    kill_process(id, signal).ok();
}

fn resolved(text: &str) -> String {
    text.replace("$httpipe", env!("CARGO_BIN_EXE_httpipe"))
}

fn new_mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("server-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::print_stderr, reason = "the test runner shows this when a test fails")]
fn eprintln_lines(title: &str, lines: &[String]) {
    for line in lines {
        eprintln!("{title}: {line}");
    }
}

/// The words of a command line; single quotes keep words together.
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
