//! The guard: a process that kills the groups of all workers when the server has gone.
//!
//! The kernel kills a worker when the server dies, but not the processes that the worker started.
//! So a second process of our own binary reads from a pipe. The server writes one line to it for
//! each change: `+PID` when a worker was started, `-PID` before it is reaped; and `>PATH` when a directory
//! of temporary files was made, `<PATH` when it was removed; `{PATH` and `}PATH` are about control groups. When the pipe ends, for whatever reason
//! the server ended, the guard kills every group and removes every directory that is left on its list.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::births::{Births, ChildId};
use super::ending::{end_of, has_ended, watched};
use super::own::{self, start_guard};
use super::shim;

/// How long to wait before the next guard is watched, so that one that cannot live is not started
/// without pause.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// How often, and with which pause, a directory or a control group is removed.
const REMOVALS: usize = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// Most directories that are made ahead: where each call is a process of its own, the next one starts while the
/// place of the last is not filled yet.
const SPARES_MOST: usize = 2;

/// The server's connection to its guard process, and its list of the children that are workers.
///
/// Clones share one connection. A guard that died is replaced by [`Guard::keep`], which sees its
/// end, or when the next worker ends.
#[derive(Clone, Debug)]
pub struct Guard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    binary: PathBuf,
    state: Mutex<GuardState>,
    /// A fork is over, so strangers that were held back may be reaped.
    fork_over: Notify,
    /// Directories for temporary files that were made before a worker needs one.
    spares: Mutex<Vec<PathBuf>>,
}

#[derive(Debug)]
struct GuardState {
    connection: Option<Connection>,
    left: LeftBehind,
    births: Births,
}

/// What must go with the server.
#[derive(Debug, Default)]
struct LeftBehind {
    groups: HashSet<Pid>,
    scratch: BTreeSet<PathBuf>,
    memory_groups: BTreeSet<PathBuf>,
}

/// A fork is open as long as this lives.
#[derive(Debug)]
pub(super) struct OpenFork {
    number: u64,
    guard: Guard,
}

/// A child is being made as long as this lives. Before this goes, the child is put on the list, if there is one.
#[derive(Debug)]
pub(super) struct Start {
    id: ChildId,
    guard: Guard,
}

/// One guard process and the pipe to it.
#[derive(Debug)]
struct Connection {
    pipe: OwnedFd,
    child: Child,
}

impl Guard {
    /// Starts the guard process from `binary`, a path to our own binary. The shim is run from it
    /// too.
    pub fn start(binary: impl Into<PathBuf>) -> io::Result<Self> {
        let binary = binary.into();
        let connection = Connection::start(&binary)?;
        let (left, births) = (LeftBehind::default(), Births::default());
        let state = Mutex::new(GuardState { connection: Some(connection), left, births });
        let (fork_over, spares) = (Notify::new(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { binary, state, fork_over, spares }) })
    }

    /// Returns the binary that guard and shim are run from.
    pub fn binary(&self) -> &Path {
        &self.shared.binary
    }

    /// Returns the process id of the guard.
    pub fn id(&self) -> Option<u32> {
        self.lock().connection.as_ref().map(|connection| connection.child.id())
    }

    /// Starts another guard as soon as one has died, until it is cancelled. Without it, nobody would
    /// notice until the next worker ends, and what workers start could outlive the server.
    pub async fn keep(&self) {
        loop {
            match self.end() {
                Ok(Some(end)) => {
                    if end.readable().await.is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot watch the guard process"),
            }
            self.replace_if_dead();
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    /// Returns a descriptor that becomes readable when the guard ends. There may be no guard.
    fn end(&self) -> io::Result<Option<AsyncFd<OwnedFd>>> {
        let state = self.lock();
        let Some(connection) = &state.connection else { return Ok(None) };
        let end = end_of(Pid::from_child(&connection.child))?;
        watched(end, Interest::READABLE).map(Some)
    }

    /// Starts another guard if there is none that lives.
    fn replace_if_dead(&self) {
        let mut state = self.lock();
        let is_alive = |connection: &Connection| !has_ended(Pid::from_child(&connection.child));
        if !state.connection.as_ref().is_some_and(is_alive) {
            self.replace(&mut state, "it ended");
        }
    }

    /// Notes that a worker is about to be made by a thread of the server. It counts as a worker from the
    /// moment at which the kernel makes it.
    pub(super) fn begin_start(&self) -> Start {
        Start { id: self.lock().births.begin_start(), guard: self.clone() }
    }

    /// Puts the group of a new worker on the list. The worker is a child that leads it. A guard that does not take it
    /// is ended, and not replaced by the thread that calls this, whose filter the next one would have:
    /// [`Guard::keep`] starts that, or what is told next, and it is told the whole list.
    pub(super) fn register(&self, id: Pid) {
        let mut state = self.lock();
        state.left.groups.insert(id);
        state.births.is_listed(id);
        let is_lost = |connection: &Connection| connection.write(&line('+', id)).is_err();
        if state.connection.as_ref().is_some_and(is_lost) {
            state.connection = None;
        }
    }

    /// Notes that a fork server is about to make a worker. The worker becomes our child before we
    /// know its id: until the fork is over, a child that ends may be that worker, and
    /// [`Guard::reap_stranger`] leaves it alone.
    pub(super) fn open_fork(&self) -> OpenFork {
        let number = self.lock().births.begin_fork();
        OpenFork { number, guard: self.clone() }
    }

    /// Waits until a fork is over. The end of one that nobody waits for is kept.
    pub(super) async fn fork_over(&self) {
        self.shared.fork_over.notified().await;
    }

    /// Returns true if this child is on the list, or is about to be.
    pub(super) fn knows(&self, id: Pid) -> bool {
        self.lock().knows(id)
    }

    /// Takes a group off the list and reaps its leader with `reap`. The kernel may give the id to
    /// another process afterwards.
    pub(super) fn release<T>(&self, id: Pid, reap: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.left.groups.remove(&id);
        self.tell(&mut state, &line('-', id));
        reap()
    }

    /// Reaps a child that has ended, unless it is a worker, may be one that is being forked, or is
    /// the guard. Returns true if it did.
    pub(super) fn reap_stranger(&self, id: Pid) -> bool {
        let mut state = self.lock();
        let guard = state.connection.as_ref().map(|connection| Pid::from_child(&connection.child));
        if guard == Some(id) || state.knows(id) {
            return false;
        }
        if !has_ended(id) || state.births.may_have_forked(id) {
            return false;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::Pid(id), options), Ok(Some(_)))
    }

    /// Notes a directory that must go with the server. A path that is no line is left to the server.
    pub(super) fn note_scratch(&self, path: &Path) {
        if !path.as_os_str().as_bytes().contains(&b'\n') {
            let mut state = self.lock();
            state.left.scratch.insert(path.to_owned());
            self.tell(&mut state, &path_line(b'>', path));
        }
    }

    /// Forgets a directory that was removed.
    pub(super) fn forget_scratch(&self, path: &Path) {
        let mut state = self.lock();
        if state.left.scratch.remove(path) {
            self.tell(&mut state, &path_line(b'<', path));
        }
    }

    /// Returns a directory that was made ahead, if there is one.
    pub(super) fn take_spare(&self) -> Option<PathBuf> {
        let mut spares = self.spares();
        // The oldest, so that none lies there for long.
        (!spares.is_empty()).then(|| spares.remove(0))
    }

    /// Returns true if there is room for another directory that is made ahead.
    pub(super) fn wants_spare(&self) -> bool {
        self.spares().len() < SPARES_MOST
    }

    /// Keeps a directory that was made ahead.
    pub(super) fn keep_spare(&self, path: PathBuf) {
        self.spares().push(path);
    }

    fn spares(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a control group that must go with the server.
    pub(super) fn note_group(&self, path: &Path) {
        if !path.as_os_str().as_bytes().contains(&b'\n') {
            let mut state = self.lock();
            state.left.memory_groups.insert(path.to_owned());
            self.tell(&mut state, &path_line(b'{', path));
        }
    }

    /// Forgets a control group that was removed.
    pub(super) fn forget_group(&self, path: &Path) {
        let mut state = self.lock();
        if state.left.memory_groups.remove(path) {
            self.tell(&mut state, &path_line(b'}', path));
        }
    }

    /// Returns true if a control group is to go with the server.
    #[cfg(test)]
    pub(super) fn has_noted_group(&self, path: &Path) -> bool {
        self.lock().left.memory_groups.contains(path)
    }

    fn lock(&self) -> MutexGuard<'_, GuardState> {
        // Each single step leaves the list consistent, so a panic of another thread does no harm.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the guard of one change. If it has died, starts another and tells that one the whole
    /// list.
    fn tell(&self, state: &mut GuardState, line: &[u8]) {
        if let Some(connection) = &state.connection {
            let Err(error) = connection.write(line) else { return };
            self.replace(state, &error.to_string());
        } else {
            self.replace(state, "it could not be started before");
        }
    }

    /// Starts another guard and tells it the whole list.
    fn replace(&self, state: &mut GuardState, why: &str) {
        state.connection = match Connection::restart(self.binary(), &state.left) {
            Ok(connection) => {
                tracing::warn!(why, "the guard process was lost; another has started");
                Some(connection)
            }
            Err(error) => {
                tracing::error!(
                    why,
                    %error,
                    "the guard process was lost, and no other can be started: what workers start may outlive a server that is killed"
                );
                None
            }
        };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for path in self.spares.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // Nobody has used it.
            std::fs::remove_dir(path).ok();
        }
    }
}

impl GuardState {
    fn knows(&self, id: Pid) -> bool {
        self.left.groups.contains(&id) || self.births.is_start(id)
    }
}

impl Start {
    /// Returns where the kernel is to write the process id of the child.
    pub(super) fn id(&self) -> &ChildId {
        &self.id
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        self.guard.lock().births.end_start(&self.id);
    }
}

impl Drop for OpenFork {
    fn drop(&mut self) {
        self.guard.lock().births.end_fork(self.number);
        self.guard.shared.fork_over.notify_one();
    }
}

impl Connection {
    fn start(binary: &Path) -> io::Result<Self> {
        let (theirs, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        // The pipe has room for thousands of lines. If it is full, the guard hangs, and the write
        // fails, and the guard is replaced: the server never waits for it.
        ioctl_fionbio(&pipe, true)?;
        let child = start_guard(binary, theirs)?;
        Ok(Self { pipe, child })
    }

    fn restart(binary: &Path, left: &LeftBehind) -> io::Result<Self> {
        let connection = Self::start(binary)?;
        left.groups.iter().try_for_each(|group| connection.write(&line('+', *group)))?;
        left.scratch.iter().try_for_each(|path| connection.write(&path_line(b'>', path)))?;
        let groups = &left.memory_groups;
        groups.iter().try_for_each(|path| connection.write(&path_line(b'{', path)))?;
        Ok(connection)
    }

    /// Writes one line. It is no longer than `PIPE_BUF`, so the kernel writes all of it or none.
    fn write(&self, line: &[u8]) -> io::Result<()> {
        rustix::io::retry_on_intr(|| rustix::io::write(&self.pipe, line))?;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The guard is replaced, or has nothing to do: a holder of a worker holds the guard, too. If it
        // saw the pipe close, it would kill workers that live, so it must end first. KILL, so that
        // reaping it does not block.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs the guard process, `httpipe __guard`. It ends only when its stdin ends.
pub fn main() -> ExitCode {
    // The name that `ps` shows. Started as `/proc/self/exe`, it would be called `exe`.
    rustix::thread::set_name(c"httpipe-guard").ok();
    shim::close_inherited();
    own::hide_memory();
    let mut left = LeftBehind::default();
    for line in io::stdin().lock().split(b'\n') {
        // After a read error no further line can be trusted, so it counts as the end.
        let Ok(line) = line else { break };
        note(&mut left, &line);
    }
    for group in left.groups {
        kill_process_group(group, Signal::KILL).ok();
    }
    for path in left.memory_groups {
        remove_group(&path).ok();
    }
    for path in left.scratch {
        remove(&path);
    }
    ExitCode::SUCCESS
}

/// Removes a directory. What a killed process was about to make may come into it meanwhile.
#[expect(clippy::disallowed_methods, reason = "the guard has no runtime to block")]
fn remove(path: &Path) {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            _ => return,
        }
    }
}

/// Kills the processes of a control group and removes it.
#[expect(clippy::disallowed_methods, reason = "only threads that have nothing else to do call it")]
pub(super) fn remove_group(path: &Path) -> io::Result<()> {
    let mut removed = std::fs::remove_dir(path);
    for _ in 0..REMOVALS {
        match &removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            _ => return Ok(()),
        }
        // Since Linux 5.14. Before that, those that have left the group of the worker stay.
        std::fs::write(path.join("cgroup.kill"), "1").ok();
        std::thread::sleep(REMOVAL_PAUSE);
        removed = std::fs::remove_dir(path);
    }
    removed
}

/// Writes a line about a group.
fn line(sign: char, id: Pid) -> Vec<u8> {
    format!("{sign}{}\n", id.as_raw_pid()).into_bytes()
}

/// Writes a line about a directory.
fn path_line(sign: u8, path: &Path) -> Vec<u8> {
    [&[sign], path.as_os_str().as_bytes(), b"\n"].concat()
}

/// Applies one line of the server to the list. Ignores lines that are no orders.
fn note(left: &mut LeftBehind, line: &[u8]) {
    let Some((sign, rest)) = line.split_first() else { return };
    let path = || Path::new(OsStr::from_bytes(rest));
    match sign {
        b'>' if path().is_absolute() => {
            left.scratch.insert(path().to_owned());
        }
        b'<' => {
            left.scratch.remove(path());
        }
        b'{' if path().is_absolute() => {
            left.memory_groups.insert(path().to_owned());
        }
        b'}' => {
            left.memory_groups.remove(path());
        }
        _ => {}
    }
    // Group 1 is that of the system's first process, and 0 would mean our own.
    let number = std::str::from_utf8(rest).ok().and_then(|number| number.parse().ok());
    let Some(id) = number.filter(|raw| *raw > 1).and_then(Pid::from_raw) else { return };
    match sign {
        b'+' => left.groups.insert(id),
        b'-' => left.groups.remove(&id),
        _ => false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_after(lines: &[&str]) -> Vec<i32> {
        let mut left = LeftBehind::default();
        for line in lines {
            note(&mut left, line.as_bytes());
        }
        let mut numbers: Vec<_> = left.groups.into_iter().map(Pid::as_raw_pid).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn a_group_is_known_from_plus_to_minus() {
        assert_eq!(groups_after(&["+12", "+30"]), [12, 30]);
        assert_eq!(groups_after(&["+12", "+30", "-12"]), [30]);
    }

    #[test]
    fn a_child_that_is_being_made_is_no_stranger() {
        let guard = Guard::start("/bin/true").expect("a process");
        let mut child = own::command(Path::new("/bin/true")).spawn().expect("a process");
        let id = Pid::from_child(&child);
        let start = guard.begin_start();
        start.id().set(id);
        while !has_ended(id) {
            std::thread::yield_now();
        }
        assert!(guard.knows(id) && !guard.reap_stranger(id));
        drop(start);
        assert!(!guard.knows(id) && guard.reap_stranger(id));
        assert!(child.wait().is_err(), "nothing is left of it");
    }

    #[test]
    fn a_directory_is_known_until_it_is_removed() {
        let mut left = LeftBehind::default();
        for line in [">/tmp/a", ">/tmp/b", "</tmp/a", ">tmp", ">", "<"] {
            note(&mut left, line.as_bytes());
        }
        assert_eq!(left.scratch, BTreeSet::from([PathBuf::from("/tmp/b")]));
        for line in ["{/sys/a", "{/sys/b", "}/sys/a", "{sys", "{", "}"] {
            note(&mut left, line.as_bytes());
        }
        assert_eq!(left.memory_groups, BTreeSet::from([PathBuf::from("/sys/b")]));
        assert_eq!(left.scratch.len(), 1);
    }

    #[test]
    fn numbers_that_are_no_workers_group_are_never_killed() {
        let none: [i32; 0] = [];
        assert_eq!(groups_after(&["+0", "+1", "+-1", "+-12", "+", "", "12", "+x", "é"]), none);
    }
}
