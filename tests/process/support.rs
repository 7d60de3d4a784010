//! What these tests share: programs to start, their outcome, and waiting with a limit.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use httpipe::testing::config::{Fence, LaunchSettings};
use httpipe::testing::worker::guard::Guard;
use httpipe::testing::worker::process::Exit;
use httpipe::testing::worker::spawn::spawn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::unix::AsyncFd;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_httpipe");

pub(crate) fn guard() -> Guard {
    Guard::start(BINARY).expect("the guard starts")
}

/// Returns the launch of a shell that runs this script in `/` with only a PATH.
pub(crate) fn shell(script: &str) -> LaunchSettings {
    LaunchSettings {
        program: PathBuf::from("/bin/sh"),
        name: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        dir: PathBuf::from("/"),
        env: vec![(OsString::from("PATH"), OsString::from("/usr/bin:/bin"))].into(),
        tty: false,
        watch: vec![],
        files: None,
        fence: Fence::default(),
    }
}

/// What a program without input wrote, and how it ended.
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

/// Runs a program to its end.
pub(crate) async fn run(launch: &LaunchSettings) -> Outcome {
    let (process, streams) = spawn(launch, &guard()).await.expect("the shim starts");
    drop(streams.stdin);
    let stdout = read_to_end(&streams.stdout).await;
    let stderr = read_to_end(&streams.stderr).await;
    process.ended().await;
    Outcome { stdout, stderr, exit: process.reap() }
}

/// Reads up to the end of the stream.
pub(crate) async fn read_to_end(stream: &AsyncFd<OwnedFd>) -> String {
    let mut all = Vec::new();
    while let Some(part) = read(stream).await {
        all.extend(part);
    }
    String::from_utf8(all).expect("text")
}

/// Reads the next bytes, up to and including a line end.
pub(crate) async fn read_line(stream: &AsyncFd<OwnedFd>) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(read(stream).await.expect("a line before the end"));
    }
    String::from_utf8(line).expect("text")
}

/// Reads the next bytes; `None`: the end.
pub(crate) async fn read(stream: &AsyncFd<OwnedFd>) -> Option<Vec<u8>> {
    let mut buffer = [0; 4096];
    loop {
        let mut ready = stream.readable().await.expect("a runtime");
        match ready.try_io(|stream| Ok(rustix::io::read(stream.get_ref(), &mut buffer)?)) {
            // EIO: the other end of a pseudo-terminal has gone.
            Ok(Err(error)) if error.raw_os_error() == Some(5) => return None,
            Ok(read) => {
                let length = read.expect("readable");
                return (length > 0).then(|| buffer[..length].to_vec());
            }
            Err(_would_block) => {}
        }
    }
}

/// Looks until `is_so`. Panics after ten seconds.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "{what} has not happened");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Returns the state letter of a process, or `None` if there is no such process.
pub(crate) fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Returns true if this process runs. A zombie that its parent has not reaped yet does not.
pub(crate) fn runs(id: u32) -> bool {
    state(id).is_some_and(|state| state != 'Z')
}

/// This test binary, run once more.
pub(crate) struct Helper(pub(crate) Child);

const ROLE: &str = "HTTPIPE_TEST_ROLE";

/// Runs one test of this binary as its own process, which can be killed, starved, or made the
/// parent of orphans. That test does nothing unless [`is_role`] returns true for it.
pub(crate) fn helper(role: &str) -> Helper {
    let child = Command::new(std::env::current_exe().expect("our path"))
        .args(["--exact", role, "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary starts");
    Helper(child)
}

pub(crate) fn is_role(role: &str) -> bool {
    std::env::var_os(ROLE).is_some_and(|wanted| wanted == *role)
}

impl Helper {
    /// Waits for its end. Panics with its output if it failed.
    pub(crate) fn succeeds(self) {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

/// Lets a little time pass between two looks at a process.
pub(crate) async fn moment() {
    tokio::time::sleep(Duration::from_micros(500)).await;
}

/// Starts something again and again, in a process that may open one descriptor more each time, until
/// there are enough. A start that fails fails for want of descriptors and leaves none open; `and_then`
/// sees what else is left after each.
///
/// Changes the limit of the whole process: for tests that run in a [`helper`].
pub(crate) async fn with_every_limit_of_descriptors<T>(
    mut start: impl AsyncFnMut() -> std::io::Result<T>,
    mut and_then: impl FnMut(),
) {
    let before = descriptors();
    let before_as_limit = u64::try_from(before).expect("few");
    let maximum = getrlimit(Resource::Nofile).maximum;
    let allow = |current| {
        let current = Some(current);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("below the maximum");
    };
    let (mut failures, mut started) = (0, false);
    for limit in 3..before_as_limit + 16 {
        allow(limit);
        match start().await {
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "{error}");
                failures += 1;
            }
            Ok(_) => started = true,
        }
        allow(200);
        assert_eq!(descriptors(), before, "limit {limit}");
        and_then();
    }
    // The limit grew by one each time, so every step of a start failed once.
    assert!(failures >= 7 && started, "{failures} failures");
}

/// Returns how many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("readable").count()
}
