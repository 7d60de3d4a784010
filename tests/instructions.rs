//! Counts the instructions that a call costs the server, with the real binary and one call after
//! the other on one connection. Unlike times, the counts repeat, so this shows on any machine that
//! a call has become a tenth more expensive.
//!
//! Callgrind counts the server only, not its workers. The result is the difference between a run
//! with few calls and one with many, so start and end do not matter. The expected counts are in
//! `tests/instructions.txt`; `UPDATE=1` writes them anew.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One worker that needs no start of its own, and a route of each kind.
const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"
admin = "off"

[pool.main]
command = ["sed", "-u", "s/.*/&|&/"]
workers = 1
reply = "{input}|{result}"
queue = { wait = "60s" }

[[route]]
match = "GET /call?num={num:int}"
pool = "main"

[[route]]
match = "GET /kept?num={num:int}"
pool = "main"
cache = "1h"

[[route]]
match = "GET /text"
text = "Ok"
"#;

/// The requests, by the name under which their count is stored.
const KINDS: &[(&str, &str)] =
    &[("call", "/call?num=10"), ("cache hit", "/kept?num=10"), ("fixed answer", "/text")];

/// A call, counted only in the thread that serves it.
const CALL_IN_THREAD: &str = "call, serving thread";

/// A call of a route that also makes jobs, while there are no jobs. It is counted in the serving thread
/// only: another thread looks for ended jobs each second, however many calls there are.
const WITH_JOBS: &str = "call with jobs, serving thread";

/// It may cost this many hundredths more than a call of a route that makes none.
const JOBS_PERCENT: u64 = 1;

/// Calls of each kind in every run, and further ones of the kind that is counted.
const FEW: u32 = 100;
const MORE: u32 = 2000;

/// A count may differ from the stored one by this many hundredths.
const TOLERANCE_PERCENT: u64 = 10;

#[test]
#[ignore = "makes a release build: cargo test --test instructions -- --ignored"]
fn a_call_costs_no_more_instructions_than_it_did() {
    if !has_valgrind() {
        say(
            "SKIPPED: there is no valgrind, so nothing was counted (Debian: apt-get install valgrind)",
        );
        assert!(std::env::var_os("CI").is_none(), "valgrind is missing where it must not be");
        return;
    }
    let binary = release_binary();
    let mut counts = BTreeMap::new();
    let base = instructions_of(&binary, CONFIGURATION, "");
    for (name, _) in KINDS {
        let each = instructions_of(&binary, CONFIGURATION, name).of_each(base);
        counts.insert((*name).to_owned(), each.all);
        if *name == "call" {
            counts.insert(CALL_IN_THREAD.to_owned(), each.serving);
        }
    }
    let base = instructions_of(&binary, &with_jobs(), "");
    let each = instructions_of(&binary, &with_jobs(), "call").of_each(base);
    counts.insert(WITH_JOBS.to_owned(), each.serving);
    let text: String = counts.iter().map(|(name, count)| line(name, *count)).collect();
    say(&format!("instructions of one call in the server:\n{text}"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(stored_path(), text).expect("the file can be written");
        return;
    }
    let stored = std::fs::read_to_string(stored_path()).expect("the counts are stored");
    let mut differences = differences(&stored, &counts);
    differences.extend(cost_of_jobs(&counts));
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn a_tenth_more_or_less_is_said() {
    let counts = BTreeMap::from([("call".to_owned(), 1000)]);
    assert!(differences("call 1000\n", &counts).is_empty());
    assert!(differences("call 910\n", &counts).is_empty());
    assert_eq!(differences("call 900\n", &counts).len(), 1, "slower");
    assert_eq!(differences("call 1120\n", &counts).len(), 1, "faster, and not stored");
    assert_eq!(differences("text 1000\n", &counts).len(), 1, "not stored at all");
}

#[test]
fn a_hundredth_more_for_jobs_is_said() {
    let counts = |with_jobs| {
        BTreeMap::from([(CALL_IN_THREAD.to_owned(), 1000), (WITH_JOBS.to_owned(), with_jobs)])
    };
    assert_eq!([990, 1000, 1010].map(|count| cost_of_jobs(&counts(count))), [None, None, None]);
    assert!(cost_of_jobs(&counts(1011)).is_some());
}

/// Returns what is wrong if a call costs more because its route makes jobs, too.
fn cost_of_jobs(counts: &BTreeMap<String, u64>) -> Option<String> {
    let (without, with) = (counts[CALL_IN_THREAD], counts[WITH_JOBS]);
    let is_more = with * 100 > without * (100 + JOBS_PERCENT);
    is_more.then(|| {
        format!(
            "{WITH_JOBS}: {with} instructions, and {without} without: more than {JOBS_PERCENT} % for \
             jobs of which there is none"
        )
    })
}

fn differences(stored: &str, counts: &BTreeMap<String, u64>) -> Vec<String> {
    let stored: BTreeMap<&str, u64> = stored
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect();
    let mut found = Vec::new();
    for (name, count) in counts {
        let Some(before) = stored.get(name.as_str()) else {
            found.push(format!("{name}: {count} instructions, and nothing is stored"));
            continue;
        };
        if count.abs_diff(*before) * 100 > before * TOLERANCE_PERCENT {
            let advice = if count > before {
                "find what was added, or say in docs/decisions why it is worth it"
            } else {
                "well done; let the test hold it"
            };
            found.push(format!(
                "{name}: {count} instructions, {before} were stored: {advice} (UPDATE=1 stores)"
            ));
        }
    }
    found
}

fn line(name: &str, count: u64) -> String {
    format!("{name} {count}\n")
}

fn stored_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt")
}

#[expect(clippy::print_stderr, reason = "it must be seen where the test is run by hand")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "valgrind is no worker")]
fn has_valgrind() -> bool {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The server as it is shipped: `HTTPIPE_RELEASED` if that is set, or else a new build. The one
/// that cargo makes for tests has features of its dependencies that only tests use.
#[expect(clippy::disallowed_methods, reason = "cargo is no worker")]
fn release_binary() -> PathBuf {
    if let Some(released) = std::env::var_os("HTTPIPE_RELEASED") {
        return released.into();
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--bin", "httpipe"]);
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.is_ok_and(|status| status.success()), "the release build failed");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in `target`");
    target.join("release/httpipe")
}

/// The configuration with a file of jobs, whose route for calls also makes jobs.
fn with_jobs() -> String {
    let (pool, route) = ("[pool.main]\n", "match = \"GET /call?num={num:int}\"\n");
    let with_file = CONFIGURATION.replace(pool, &format!("[jobs]\n\n{pool}share = 1\n"));
    with_file.replace(route, &format!("{route}jobs = true\n"))
}

/// How many instructions a server took.
#[derive(Clone, Copy)]
struct Instructions {
    all: u64,
    /// Those of its first thread, which serves all calls here.
    serving: u64,
}

impl Instructions {
    /// Those of each of [`MORE`] calls, where `base` is without them.
    fn of_each(self, base: Self) -> Self {
        let each = |more: u64, base: u64| more.saturating_sub(base) / u64::from(MORE);
        Self { all: each(self.all, base.all), serving: each(self.serving, base.serving) }
    }
}

/// The instructions of a server of this configuration that is asked [`FEW`] of each kind, and [`MORE`]
/// of one.
fn instructions_of(binary: &Path, configuration: &str, counted: &str) -> Instructions {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    // Without the file of jobs of an earlier run, so that each start makes one.
    std::fs::remove_dir_all(&dir).ok();
    std::fs::create_dir_all(&dir).expect("the build directory can be written");
    std::fs::write(dir.join("httpipe.toml"), configuration).expect("a file can be written");
    let (mut server, address) = start(binary, &dir);
    let mut caller = Caller::of(&address);
    for (name, path) in KINDS {
        let calls = if *name == counted { FEW + MORE } else { FEW };
        (0..calls).for_each(|_| caller.get(path));
    }
    drop(caller);
    let id = i32::try_from(server.id()).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(id, Signal::TERM).expect("it was not waited for");
    let status = server.wait().expect("a child can be waited for");
    assert!(status.success(), "the server ended with {status}");
    let threads: Vec<u64> = (1..).map_while(|thread| total(&dir, thread)).collect();
    Instructions { all: threads.iter().sum(), serving: threads[0] }
}

#[expect(clippy::disallowed_methods, reason = "the server is started as its users do")]
fn start(binary: &Path, dir: &Path) -> (Child, String) {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .args(["--log-file=valgrind.txt", "--callgrind-out-file=counted"])
        .arg(binary)
        .args(["run", "httpipe.toml"])
        // `/proc/self/exe` is valgrind here.
        .env("HTTPIPE_EXE", binary)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("valgrind can be run");
    let mut log = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    let address = announced(&mut log);
    // The server writes its access log until it ends, so the pipe must be read.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (child, address)
}

fn announced(log: &mut impl BufRead) -> String {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        let length = log.read_line(&mut seen).expect("the log is text");
        assert!(length > 0, "it never listened:\n{seen}");
        if let Some((_, rest)) = seen[start..].split_once("listening on http://") {
            return rest.split('"').next().unwrap_or_default().to_owned();
        }
    }
}

/// What callgrind counted in a thread, by a line such as `totals: 69546245`; `None`: there was no such
/// thread.
fn total(dir: &Path, thread: u32) -> Option<u64> {
    let counted = std::fs::read_to_string(dir.join(format!("counted-{thread:02}"))).ok()?;
    let totals = counted.lines().find_map(|line| line.strip_prefix("totals: "));
    Some(totals.and_then(|text| text.trim().parse().ok()).expect("callgrind wrote its totals"))
}

/// One connection on which one call follows the other.
struct Caller {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Caller {
    fn of(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a connection has options");
        Self { stream, received: Vec::new() }
    }

    /// Asks, and reads the whole answer.
    fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("the server reads");
        self.received.clear();
        let mut piece = [0; 4096];
        while !is_whole(&self.received) {
            let length = self.stream.read(&mut piece).expect("the server answers");
            assert!(length > 0, "the server closed the connection");
            self.received.extend_from_slice(&piece[..length]);
        }
        let is_good = self.received.starts_with(b"HTTP/1.1 200 ");
        assert!(is_good, "{}", String::from_utf8_lossy(&self.received));
    }
}

fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let mut headers = head.lines();
    let length = headers.find_map(|line| line.strip_prefix("content-length: "));
    body.len() == length.and_then(|text| text.parse().ok()).expect("answers have a length")
}
