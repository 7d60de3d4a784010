//! The two commands of our own binary that the server runs as processes, and how it starts them.
//!
//! `httpipe __exec` is the shim, which becomes a program (`shim`); `httpipe __guard` is the guard
//! (`guard`). This is the only file in which the server makes a command.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::DumpableBehavior;

use super::child::{self, ChildEnvironment, Image, NewChild, TheirEnds};
use super::fence;
use crate::config::{Fence, LaunchSettings};

/// The first argument that makes our binary the shim.
pub(super) const SHIM: &str = "__exec";
/// What the shim is told about a program that keeps its user.
pub(super) const KEEPS_USER: &str = "keep";
/// What the shim is told about a program that may become another user.
const NO_FENCE: &str = "off";
/// The first argument that makes our binary the guard.
pub(super) const GUARD: &str = "__guard";

/// A random word that marks the shim's own message on a worker's stderr.
///
/// Each process has a new one. The program never learns it, so it cannot pretend to be the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(super) fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    /// Returns the token as it is passed to the shim.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the beginning of the one line that the shim may write.
pub(super) fn shim_line_prefix(token: &str) -> String {
    format!("httpipe {token}: ")
}

/// Makes a command. All commands are made here, so that every process can be found.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn command(program: &Path) -> Command {
    Command::new(program)
}

/// How long a program that opens something may take to say that it cannot.
const OPENING: Duration = Duration::from_secs(2);

/// Runs a program with one argument, which no shell reads. Returns true if it ended well, or still
/// runs after a moment: some become the browser itself.
pub fn opens(program: &str, argument: &str) -> bool {
    let mut command = command(Path::new(program));
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C in the terminal is not for a browser.
    let Ok(mut child) = command.process_group(0).spawn() else { return false };
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ended = child.wait();
        // Who asked may have left.
        send.send(ended.is_ok_and(|status| status.success())).ok();
    });
    receive.recv_timeout(OPENING).unwrap_or(true)
}

/// The soft limit of open files that this process was started with; 0 until it is noted.
static FILES_AT_START: AtomicU64 = AtomicU64::new(0);

/// Notes the soft limit of open files before it is raised, so that workers get it as it was.
pub fn note_file_limit(soft: u64) {
    FILES_AT_START.store(soft, Ordering::Relaxed);
}

/// Keeps other processes of this user from reading the memory, the environment and the descriptors of
/// this one, and from tracing it; only root can. So a worker cannot look into its server. A program
/// that this process starts does not inherit that.
pub fn hide_memory() {
    // Refused by no kernel that this runs on. Without it, everything else works.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
}

/// What a worker in a sandbox has of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerPlaces<'a> {
    /// The directory for its temporary files.
    pub(super) scratch: Option<&'a Path>,
    /// The control group that bounds its memory.
    pub(super) group: Option<&'a Path>,
}

/// Lays out the child that becomes a program with these streams.
pub(super) fn new_child(
    binary: &Path,
    launch: &LaunchSettings,
    token: &Token,
    streams: TheirEnds,
    places: WorkerPlaces<'_>,
) -> io::Result<NewChild> {
    let files = FILES_AT_START.load(Ordering::Relaxed);
    let (server, limit) = (std::process::id().to_string(), files.to_string());
    let WorkerPlaces { scratch, group } = places;
    let sandbox = launch.fence.sandbox().zip(scratch);
    let mut allowed = match sandbox {
        Some((sandbox, scratch)) => fence::words(sandbox, scratch, binary),
        None => Vec::new(),
    };
    allowed.extend(group.map(fence::group_word));
    let fence = sandbox.and_then(|_| fence::read(allowed.iter().cloned()));
    let needs_shim = group.is_some()
        || sandbox.is_some_and(|(sandbox, _)| sandbox.user.is_some() || fence.is_none());
    let count = allowed.len().to_string();
    let (keeps_user, first) = match (&launch.fence, sandbox) {
        (Fence::Off, _) => (false, NO_FENCE),
        (_, Some(_)) => (true, count.as_str()),
        (_, None) => (true, KEEPS_USER),
    };
    let name = OsStr::new(&launch.name);
    let arguments = || launch.arguments.iter().map(OsStr::new);
    let to_shim = [SHIM, token.as_str(), &server, &limit, first].map(OsStr::new);
    let to_shim = to_shim.into_iter().chain(allowed.iter().map(OsString::as_os_str));
    // The directory is an argument so that the shim can say in words what is wrong with it.
    let to_shim = std::iter::once(OsStr::new("httpipe")).chain(to_shim).chain([
        launch.dir.as_os_str(),
        launch.program.as_os_str(),
        name,
    ]);
    let temporary = scratch.map(|scratch| ("TMPDIR".into(), scratch.into()));
    let is_replaced = |name: &OsString| temporary.is_some() && name == "TMPDIR";
    let variables = launch.env.iter().filter(|(name, _)| !is_replaced(name)).chain(&temporary);
    let variables = variables.map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    Ok(NewChild {
        program: Image::new(launch.program.as_os_str(), std::iter::once(name).chain(arguments()))?,
        shim: Image::new(binary.as_os_str(), to_shim.chain(arguments()))?,
        environment: ChildEnvironment::hide(variables)?,
        dir: child::text(launch.dir.as_os_str())?,
        streams,
        files,
        keeps_user,
        fence: fence.filter(|_| !needs_shim),
        needs_shim,
        is_below: false,
    })
}

/// The signals that end a server, or stop it. They must not reach the guard.
const ENDINGS: [libc::c_int; 5] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP];

/// Starts the guard, which reads its orders from `stdin`. It has [`ENDINGS`] blocked from its
/// birth: one that comes before its `main` runs must not end it either.
pub(super) fn start_guard(binary: &Path, stdin: OwnedFd) -> io::Result<Child> {
    let mut command = command(binary);
    // Its own group keeps it out of reach of Ctrl-C. Without our stderr, readers of the server's
    // stderr see its end when the server ends. In `/` it keeps no file system busy.
    command
        .arg0("httpipe")
        .arg(GUARD)
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    with_endings_blocked(|| command.spawn())
}

/// Blocks [`ENDINGS`] in this thread while `run` runs. What it starts inherits that.
#[expect(unsafe_code, reason = "no safe call sets the mask")]
fn with_endings_blocked<T>(run: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are written before they are read.
    unsafe {
        let (mut endings, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut endings);
        for signal in ENDINGS {
            libc::sigaddset(&raw mut endings, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const endings, &raw mut before);
        let done = run();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        done
    }
}
