//! The guard: a process that kills the groups of all workers when the server has gone.
//!
//! The kernel kills a worker when the server dies, but not the processes that the worker started.
//! So a second process of our own binary reads from a pipe. The server writes one line to it for
//! each change: `+PID` when a worker was started, `-PID` before it is reaped; and `>PATH` when a directory
//! of temporary files was made, `<PATH` when it was removed; `{PATH` and `}PATH` are about control groups. When the pipe ends, for whatever reason
//! the server ended, the guard kills every group and removes every directory that is left on its list.

use std::collections::{BTreeSet, HashMap, HashSet};
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
/// end, or when the next worker starts or ends.
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
    forks: OpenForks,
}

/// What must go with the server.
#[derive(Debug, Default)]
struct LeftBehind {
    groups: HashSet<Pid>,
    scratch: BTreeSet<PathBuf>,
    memory_groups: BTreeSet<PathBuf>,
}

/// The forks whose worker is not on the list yet, and the ended children that may be theirs.
#[derive(Debug, Default)]
struct OpenForks {
    /// How many forks have begun.
    begun: u64,
    /// Those of them that are still open, by number.
    open: BTreeSet<u64>,
    /// Children that were seen to have ended, each with `begun` at that time.
    ended: HashMap<Pid, u64>,
}

/// A fork is open as long as this lives.
#[derive(Debug)]
pub(super) struct OpenFork {
    number: u64,
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
        let (left, forks) = (LeftBehind::default(), OpenForks::default());
        let state = Mutex::new(GuardState { connection: Some(connection), left, forks });
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
    /// notice until the next worker starts or ends, and what workers start could outlive the server.
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

    /// Starts a worker and puts its group on the list. `start` returns the process id of a new
    /// child that leads its own group, however it made it. Both happen under the lock, so that
    /// [`Guard::reap_stranger`] never sees a worker that is not on the list.
    pub(super) fn register(&self, start: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
        let mut state = self.lock();
        let id = start()?;
        state.left.groups.insert(id);
        state.forks.ended.remove(&id);
        self.tell(&mut state, &line('+', id));
        Ok(id)
    }

    /// Notes that a fork server is about to make a worker. The worker becomes our child before we
    /// know its id: until the fork is over, a child that ends may be that worker, and
    /// [`Guard::reap_stranger`] leaves it alone.
    pub(super) fn open_fork(&self) -> OpenFork {
        let number = self.lock().forks.begin();
        OpenFork { number, guard: self.clone() }
    }

    /// Waits until a fork is over. The end of one that nobody waits for is kept.
    pub(super) async fn fork_over(&self) {
        self.shared.fork_over.notified().await;
    }

    /// Returns true if this child is on the list.
    pub(super) fn knows(&self, id: Pid) -> bool {
        self.lock().left.groups.contains(&id)
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
        if guard == Some(id) || state.left.groups.contains(&id) {
            return false;
        }
        if !has_ended(id) || state.forks.may_have_made(id) {
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

impl OpenForks {
    fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.open.insert(self.begun);
        self.begun
    }

    /// Returns true if this child, which has ended and is on no list, may be the worker of a fork
    /// that is open. A fork that began after the child was seen to have ended has not made it, so
    /// no child is held back for ever however many forks follow each other.
    fn may_have_made(&mut self, id: Pid) -> bool {
        let Some(oldest) = self.open.first() else {
            self.ended.clear();
            return false;
        };
        let begun = *self.ended.entry(id).or_insert(self.begun);
        if *oldest <= begun {
            return true;
        }
        self.ended.remove(&id);
        false
    }
}

impl Drop for OpenFork {
    fn drop(&mut self) {
        self.guard.lock().forks.open.remove(&self.number);
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
    fn an_ended_child_is_held_back_for_the_forks_that_may_have_made_it_and_no_others() {
        let mut forks = OpenForks::default();
        let child = |raw| Pid::from_raw(raw).expect("not zero");
        assert!(!forks.may_have_made(child(7)), "no fork is open");
        let first = forks.begin();
        assert!(forks.may_have_made(child(7)));
        // Forks follow each other, and one is always open.
        let second = forks.begin();
        assert!(forks.may_have_made(child(7)) && forks.may_have_made(child(8)));
        forks.open.remove(&first);
        assert!(!forks.may_have_made(child(7)), "it had ended before the second began");
        assert!(forks.may_have_made(child(8)));
        forks.open.remove(&second);
        assert!(!forks.may_have_made(child(8)) && forks.ended.is_empty());
    }

    #[test]
    fn numbers_that_are_no_workers_group_are_never_killed() {
        let none: [i32; 0] = [];
        assert_eq!(groups_after(&["+0", "+1", "+-1", "+-12", "+", "", "12", "+x", "é"]), none);
    }
}
