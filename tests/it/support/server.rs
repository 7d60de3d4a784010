//! One running server with its workers, in its own directory. It ends with the test.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use httpipe::testing::observe::metrics::names::{ALL, MetricKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::{Answer, Client};
use super::command::outputs;
use super::output::Output;
use super::plan::Plan;
use super::system::SystemFault;
use super::{SYS_PTRACE, eventually, has_capability, passed_over, processes};

/// The name that a fork server gives itself.
const FORK_SERVER: &str = "httpipe-forks";

/// A running server. Dropping this kills it, and fails the test if any of its processes survives.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The process id of the server, which may be a descendant of `child`.
    id: u32,
    stdout: Output,
    stderr: Output,
    dir: PathBuf,
    mark: String,
    address: String,
    admin: String,
}

impl Server {
    /// Plans a server with these keys in its only pool. Without [`Plan::route`] it has the two
    /// routes of the command line: the body of `POST /`, and `input` of `GET /?input=`.
    pub(crate) fn with(pool: &str) -> Plan {
        Plan { pool: pool.to_owned(), ..Plan::default() }.worker("demo-worker")
    }

    /// Plans a server with this whole configuration; `$httpipe` in it is the binary under test.
    pub(crate) fn config(text: &str) -> Plan {
        Plan { whole: Some(text.to_owned()), ..Plan::default() }
    }

    /// Plans a server that is configured by arguments of `run` only.
    pub(crate) fn args(arguments: &[&str]) -> Plan {
        Plan { arguments: arguments.iter().map(ToString::to_string).collect(), ..Plan::default() }
    }

    /// Wraps a process that is the server, or that starts it.
    pub(super) fn of(mut child: Child, dir: PathBuf, mark: String) -> Self {
        let (stdout, stderr) = outputs(&mut child);
        let (address, admin) = (String::new(), String::new());
        Self { id: child.id(), child, stdout, stderr, dir, mark, address, admin }
    }

    /// Waits until the log has its addresses.
    pub(super) fn wait_until_announced(&mut self) {
        let (address, admin) =
            (self.announced("listening on"), self.announced("admin listening on"));
        self.is_told(&address, &admin);
        let is_server = |id: u32| {
            let words = processes::arguments(id);
            words.first().is_some_and(|word| word == env!("CARGO_BIN_EXE_httpipe"))
        };
        if !is_server(self.id) {
            let found = processes::children(self.id).into_iter().find(|id| is_server(*id));
            self.id = found.expect("the program that started it is its parent");
        }
    }

    /// Waits until the log has the address of operators.
    #[cfg(feature = "nats")]
    pub(super) fn wait_until_hosting(&mut self) {
        let admin = self.announced("admin listening on");
        self.is_told("", &admin);
    }

    /// Sets its addresses, without waiting for the log.
    pub(super) fn is_told(&mut self, listen: &str, admin: &str) {
        let absolute = |address: &str| match address.strip_prefix("unix:") {
            Some(name) => format!("unix:{}", self.dir.join(name).display()),
            None => address.to_owned(),
        };
        (self.address, self.admin) = (absolute(listen), absolute(admin));
    }

    /// Returns the directory where it and its workers run.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes system calls of one of its threads fail until the result is dropped. `what` is as
    /// `strace -e inject=` takes it. The thread `httpipe` does everything except writing the log.
    pub(crate) fn inject(&self, thread: &str, what: &str) -> SystemFault {
        SystemFault::new(self.id, thread, what)
    }

    /// Returns the targets of its descriptors 0, 1 and 2. A server hides them: `None`, and a line that says so,
    /// where this process may not look.
    pub(crate) fn standard_descriptors(&self) -> Option<Vec<String>> {
        sees_descriptors().then(|| processes::standard_descriptors(self.id))
    }

    /// Returns the CPU time that it has used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        processes::processor_time(self.id)
    }

    /// Returns the names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        processes::threads(self.id).into_iter().map(|(_, name)| name).collect()
    }

    /// Returns true if its thread of this name is about to make a process.
    pub(crate) fn makes_process(&self, thread: &str) -> bool {
        let clone = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
        processes::thread(self.id, thread).and_then(processes::system_call) == Some(clone)
    }

    /// Returns how many filters of system calls its thread of this name has; `None`: the kernel does not tell.
    pub(crate) fn filters_of(&self, thread: &str) -> Option<u32> {
        let thread = processes::thread(self.id, thread);
        processes::filters(thread.unwrap_or_else(|| panic!("{:?}", self.threads())))
    }

    /// Returns how many times its threads went to sleep by themselves so far.
    pub(crate) fn wakings(&self) -> u64 {
        processes::wakings(self.id)
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(&self.address)
    }

    /// Returns a caller that speaks TLS and believes any certificate.
    #[cfg(feature = "tls")]
    pub(crate) fn secure_client(&self) -> Client {
        Client::of(&format!("tls:{}", self.address))
    }

    /// Returns where callers connect.
    #[cfg(feature = "tls")]
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns a caller of the listener for operators.
    pub(crate) fn admin(&self) -> Client {
        Client::of(&self.admin)
    }

    /// Returns the URL of the listener for callers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the URL of the listener for operators.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Returns where load balancers ask.
    pub(crate) fn agent_address(&self) -> String {
        let address = self.announced("agent listening on");
        match address.strip_prefix("unix:") {
            Some(name) => format!("unix:{}", self.dir.join(name).display()),
            None => address,
        }
    }

    /// Returns the file of the operator's key.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.join("httpipe").join(format!("{}.key", self.admin))
    }

    /// Returns the operator's key.
    pub(crate) fn key(&self) -> String {
        std::fs::read_to_string(self.key_file()).expect("a key")
    }

    /// Returns the sum of all samples of this name with at least these labels: `name{label="x"}`.
    /// Panics on an unknown name or label, whose sum would always be 0.
    pub(crate) fn metric(&self, wanted: &str) -> f64 {
        let answer = self.admin().get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
        let labels: Vec<&str> =
            labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
        assert_is_metric(name, &labels);
        let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value.parse::<f64>().expect("a sample is a number"))
            .sum()
    }

    /// Returns the document at `/status.json`.
    pub(crate) fn status(&self) -> Value {
        self.admin().get("/status.json").json()
    }

    /// Waits until `is_so` returns true. `what` completes the sentence "waited in vain until".
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        eventually(what, || is_so(self).then_some(()), || format!("\n{}", self.log()));
    }

    /// Waits until this metric has this value. The exit of a worker is counted only after a wait
    /// for its last words on stderr, when its callers have long been answered.
    pub(crate) fn wait_for_count(&self, metric: &str, count: f64) {
        self.wait_until(&format!("{metric} is {count}"), |server| server.metric(metric) == count);
    }

    /// Waits until `/ready` says so and every worker runs the program. Without a probe, a worker
    /// counts as ready a moment before it runs the program.
    pub(crate) fn wait_until_ready(&self) {
        self.wait_until("it is ready", |server| server.admin().get("/ready").status == 200);
        self.wait_until("its workers run the program", |server| {
            let of_children = processes::children(server.id).into_iter().map(processes::arguments);
            !of_children.into_iter().any(|words| words.get(1).is_some_and(|word| word == "__exec"))
        });
    }

    /// Waits for a line of the log that contains this text, and returns the line.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let find = || self.log_lines().into_iter().find(|line| line.contains(text));
        eventually(&format!("the log says {text:?}"), find, || format!("\n{}", self.log()))
    }

    /// Returns the lines that it wrote to stderr so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.stderr.lines()
    }

    fn log(&self) -> String {
        self.log_lines().join("\n")
    }

    /// Sends it a signal by name, as `TERM`. With `STOP`, waits until it has stopped.
    pub(crate) fn signal(&self, name: &str) {
        self.send_signal(self.id, name);
    }

    /// Sends a signal to one of its workers or other processes.
    pub(crate) fn signal_worker(&self, worker: u32, name: &str) {
        assert!(processes::marked(&self.mark).contains(&worker), "{worker} is not ours");
        self.send_signal(worker, name);
    }

    fn send_signal(&self, process: u32, name: &str) {
        send_signal(process, name);
        if name == "STOP" {
            // On a busy machine it takes effect a while after it was sent.
            self.wait_until("it stands still", |_| processes::is_stopped(process));
        }
    }

    /// Sends a signal to one of its processes, which may have ended meanwhile.
    pub(crate) fn signal_if_alive(&self, worker: u32, name: &str) {
        if processes::marked(&self.mark).contains(&worker) {
            send_signal(worker, name);
        }
    }

    /// Waits until it ends and its log was read. Returns its exit code; -1 if a signal ended it.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let (child, stderr) = (&mut self.child, &self.stderr);
        let log = || format!("\n{}", stderr.lines().join("\n"));
        let ended = || child.try_wait().expect("a child can be waited for");
        let status = eventually("the server ended", ended, log);
        eventually("its log was read to the end", || stderr.is_ended().then_some(()), log);
        status.code().unwrap_or(-1)
    }

    /// Returns the ids of its workers: its children that already run the program.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let is_ours = |id: &u32| {
            // The shim and the guard are our own binary with a first argument like `__guard`.
            processes::arguments(*id).get(1).is_some_and(|word| word.starts_with("__"))
        };
        let children = processes::children(self.id).into_iter();
        let is_worker = |id: &u32| {
            !is_ours(id) && !processes::is_zombie(*id) && processes::name(*id) != FORK_SERVER
        };
        children.filter(is_worker).collect()
    }

    /// Returns the id of the fork server, if there is one.
    pub(crate) fn fork_server(&self) -> Option<u32> {
        let is_it = |id: &u32| processes::name(*id) == FORK_SERVER;
        processes::children(self.id).into_iter().find(is_it)
    }

    /// Returns the id of the guard process.
    pub(crate) fn guard(&self) -> Option<u32> {
        let is_guard =
            |id: &u32| processes::arguments(*id).get(1).is_some_and(|it| it == "__guard");
        processes::children(self.id).into_iter().find(is_guard)
    }

    /// Kills the guard process, and returns its id.
    pub(crate) fn kill_guard(&self) -> u32 {
        let guard = self.guard().expect("there is one");
        send_signal(guard, "KILL");
        guard
    }

    /// Returns all processes that it has caused: workers, what they left behind, and the guard.
    pub(crate) fn offspring(&self) -> Vec<u32> {
        let mut all = processes::marked(&self.mark);
        all.retain(|id| *id != self.id);
        all
    }

    /// Returns how many of its children have ended and were not reaped.
    pub(crate) fn zombies(&self) -> usize {
        processes::children(self.id).into_iter().filter(|id| processes::is_zombie(*id)).count()
    }

    /// Returns true if this process of the server still runs.
    pub(crate) fn is_alive(&self, id: u32) -> bool {
        processes::marked(&self.mark).contains(&id)
    }

    /// Returns how many descriptors it has open; 0, and a line that says so, where this process may not look.
    pub(crate) fn descriptors(&self) -> usize {
        if sees_descriptors() { processes::descriptors(self.id) } else { 0 }
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        processes::memory(self.id)
    }

    /// Returns the most resident memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        processes::peak_memory(self.id)
    }

    /// Replaces text in its configuration file. A reload makes the change effective.
    pub(crate) fn rewrite(&self, old: &str, new: &str) {
        let path = self.dir.join("httpipe.toml");
        let text = std::fs::read_to_string(&path).expect("it was started with a file");
        assert!(text.contains(old), "no {old:?} in\n{text}");
        // The file must be complete at every moment, because a reload may be reading it.
        let fresh = path.with_extension("fresh");
        std::fs::write(&fresh, text.replace(old, new)).expect("the file can be written");
        std::fs::rename(&fresh, &path).expect("a file can be replaced");
    }

    /// Creates an empty file in the directory where its workers run.
    pub(crate) fn put(&self, name: &str) {
        std::fs::write(self.dir.join(name), "").expect("a file can be written");
    }

    /// Replaces a file in that directory at once, so that no reader sees a part of it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let fresh = self.dir.join(format!("{name}.fresh"));
        std::fs::write(&fresh, text).expect("a file can be written");
        std::fs::rename(&fresh, self.dir.join(name)).expect("a file can be replaced");
    }

    /// Returns true if that directory has this file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    /// Returns the text of a file in that directory; empty if there is no such file.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Returns the questions that its workers noted: `demo-worker --journal seen`.
    pub(crate) fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("seen")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Posts this text to `/` and returns the answer.
    pub(crate) fn answers(&self, text: &str) -> Answer {
        self.client().post("/", text)
    }
}

fn assert_is_metric(name: &str, labels: &[&str]) {
    let parts = ["_bucket", "_sum", "_count"];
    let known = ALL.iter().find(|metric| {
        let is_part = |part: &&str| name.strip_suffix(*part) == Some(metric.name);
        metric.name == name || (metric.kind == MetricKind::Histogram && parts.iter().any(is_part))
    });
    let known = known.unwrap_or_else(|| panic!("there is no metric `{name}`"));
    for label in labels {
        let label = label.split('=').next().unwrap_or_default();
        let is_known = known.labels.contains(&label) || label == "le";
        assert!(is_known, "`{name}` has no label `{label}`, only {:?}", known.labels);
    }
}

#[test]
#[should_panic(expected = "there is no metric `httpipe_worker_exit_total`")]
fn a_metric_that_is_misspelt() {
    assert_is_metric("httpipe_worker_exit_total", &[]);
}

#[test]
#[should_panic(expected = "has no label `reasons`")]
fn a_label_that_is_misspelt() {
    assert_is_metric("httpipe_worker_exits_total", &["pool=\"a\"", "reasons=\"x\""]);
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            // The test runner captures this and shows it because the test has failed.
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

impl Server {
    /// Waits for the log line whose message begins with this, and returns its address.
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

/// Returns true if this process may look at the descriptors of servers, which hide them. Otherwise a test looks at all
/// but these, and says so once.
fn sees_descriptors() -> bool {
    thread_local! {
        static IS_TOLD: Cell<bool> = const { Cell::new(false) };
    }
    let sees = has_capability(SYS_PTRACE);
    if !sees && !IS_TOLD.replace(true) {
        let hint = "it takes root with CAP_SYS_PTRACE";
        passed_over("in part, since the descriptors of a server are hidden", hint);
    }
    sees
}

/// Returns a field of a log line, from its top or from its `fields`.
fn field(line: &Value, name: &str) -> Option<String> {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

pub(super) fn send_signal(id: u32, name: &str) {
    let signal = match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "USR1" => Signal::USR1,
        "WINCH" => Signal::WINCH,
        other => panic!("no test sends {other}"),
    };
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process has an id");
    // It may have ended meanwhile, which is what the signal was for.
    kill_process(id, signal).ok();
}

#[expect(clippy::print_stderr, reason = "the test runner shows this when a test fails")]
fn eprintln_lines(title: &str, lines: &[String]) {
    for line in lines {
        eprintln!("{title}: {line}");
    }
}
