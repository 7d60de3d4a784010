//! Control groups (version 2) that bound the memory of workers, each with all that it starts, where the
//! system lets the server make some.
//!
//! A group that has processes cannot hand the memory controller to groups below it. So the server, with all
//! that it has started, first moves into a group of its own below that in which it was started.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::fence::PROCESSES;
use super::guard::{Guard, remove_group};
use super::usage::Stat;
use crate::base::ByteSize;

/// The group of the server itself.
const OWN: &str = "httpipe";
/// How often the list of processes is read until all of them have moved.
const MOVES: usize = 20;

/// The group below which the server makes those of its workers.
#[derive(Debug)]
pub struct MemoryGroups {
    dir: PathBuf,
    made: AtomicU64,
}

/// Returns where groups can be made, or why nowhere. The first call finds it out, and moves the server.
pub fn groups() -> Result<&'static MemoryGroups, &'static str> {
    static GROUPS: OnceLock<Result<MemoryGroups, String>> = OnceLock::new();
    let groups = GROUPS.get_or_init(|| {
        let opened = open();
        match &opened {
            Ok(groups) => {
                let dir = groups.dir.display().to_string();
                tracing::info!(dir, "`memory` of `sandbox` bounds each worker, by control groups");
            }
            Err(why) => {
                tracing::info!(why, "`memory` of `sandbox` bounds each process, by `RLIMIT_DATA`");
            }
        }
        opened
    });
    groups.as_ref().map_err(String::as_str)
}

fn open() -> Result<MemoryGroups, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (groups, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
    let Some((dir, own)) = find(&groups, &mounts) else {
        return Err("this system has no control groups of version 2".to_owned());
    };
    let shown = dir.display();
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_ascii_whitespace().any(|name| name == "memory") {
        return Err(format!("the group {shown} has no memory controller"));
    }
    let is_writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    if !is_writable(&dir) || !is_writable(&dir.join(PROCESSES)) || !is_delegated(&dir, own) {
        return Err(format!("the group {shown} is not delegated to this server"));
    }
    let hand_out = || {
        let handed = fs::write(dir.join("cgroup.subtree_control"), "+memory");
        handed.map_err(|error| format!("the group {shown} does not hand out memory: {error}"))
    };
    // Only the first group of the system has no type, and may have processes beside groups.
    if dir.join("cgroup.type").exists() {
        settle(&dir, hand_out)?;
    } else {
        hand_out()?;
    }
    Ok(MemoryGroups { dir, made: AtomicU64::new(0) })
}

/// Returns the directory of the group that a process is in, and the name of the group. The texts are those of
/// its files `cgroup` and `mountinfo`.
fn find<'a>(groups: &'a str, mounts: &str) -> Option<(PathBuf, &'a str)> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let dir = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let below = Path::new(own).strip_prefix(root).ok()?;
        let is_ours = kind.split(' ').next() == Some("cgroup2") && !own.contains("/..");
        // Without a slash at its end.
        is_ours.then(|| Path::new(point).join(below).components().collect())
    })?;
    Some((dir, own))
}

/// Returns true if a group that can be written was given to the server. Root can write all of them, and most
/// belong to systemd, which marks those that it gives away. That of a container is the first that is seen there.
fn is_delegated(dir: &Path, own: &str) -> bool {
    let is_marked = |name| {
        let mut room = [0_u8; 8];
        rustix::fs::getxattr(dir, name, &mut room).is_ok_and(|length| room[..length] == *b"1")
    };
    !geteuid().is_root()
        || own == "/"
        || is_marked("trusted.delegate")
        || is_marked("user.delegate")
}

/// Moves the processes of a group into one below it, so that it can hand out what is for groups only. If
/// that fails, or there are others in it, it stays as it was.
fn settle(group: &Path, hand_out: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    refuse_others(group, &processes(group)?)?;
    let own = group.join(OWN);
    let settled = move_into(group, &own).and_then(|()| hand_out());
    settled.inspect_err(|_| move_back(&own, group))
}

/// Returns the numbers of the processes in a group.
fn processes(group: &Path) -> Result<Vec<String>, String> {
    let list =
        fs::read_to_string(group.join(PROCESSES)).map_err(|error| unusable(group, &error))?;
    Ok(list.split_ascii_whitespace().map(str::to_owned).collect())
}

fn unusable(group: &Path, error: &io::Error) -> String {
    format!("the group {} cannot be used: {error}", group.display())
}

/// Refuses a group with processes that are none of the server: another server may have it, or an operator
/// who checks that server's file.
fn refuse_others(group: &Path, processes: &[String]) -> Result<(), String> {
    let is_other =
        |id: &&String| !id.parse().is_ok_and(is_ours) && Path::new(&format!("/proc/{id}")).exists();
    processes.iter().find(is_other).map_or(Ok(()), |id| {
        Err(format!("process {id} in the group {} is none of this server", group.display()))
    })
}

/// Moves the processes of a group into another one, unless some of them are not those of the server.
fn move_into(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: io::Error| unusable(to, &error);
    if let Err(error) = fs::create_dir(to)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed(error));
    }
    for _ in 0..MOVES {
        let list = processes(from)?;
        if list.is_empty() {
            return Ok(());
        }
        refuse_others(from, &list)?;
        for id in list {
            match fs::write(to.join(PROCESSES), id) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(failed(error));
                }
                _ => {}
            }
        }
    }
    Err(format!("processes start in the group {} again and again", from.display()))
}

/// Undoes what [`move_into`] has done before it failed, as far as that is possible.
fn move_back(from: &Path, to: &Path) {
    for id in processes(from).unwrap_or_default() {
        if id.parse().is_ok_and(is_ours) {
            fs::write(to.join(PROCESSES), id).ok();
        }
    }
    // It stays if others are in it.
    fs::remove_dir(from).ok();
}

/// Returns true if this process is the server or descends from it.
fn is_ours(id: u32) -> bool {
    let own = std::process::id();
    let (mut id, mut seen) = (id, HashSet::new());
    while id != own && seen.insert(id) {
        let Ok(stat) = fs::read(format!("/proc/{id}/stat")) else { return false };
        let Some(stat) = Stat::parse(&stat) else { return false };
        id = stat.parent;
    }
    id == own
}

impl MemoryGroups {
    /// Makes the group of a worker that has at most so much memory.
    pub(super) fn make(&self, most: ByteSize, guard: &Guard) -> io::Result<MemoryGroup> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{OWN}-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        guard.note_group(&path);
        let group = MemoryGroup { path, guard: guard.clone() };
        group.set("memory.max", &most.0.to_string())?;
        // Not there without swap.
        group.set("memory.swap.max", "0").ok();
        // All its processes end together.
        group.set("memory.oom.group", "1").ok();
        Ok(group)
    }
}

/// The group of one worker. Dropping it kills what is left in it and removes it; if the server ends before,
/// the guard does.
#[derive(Debug)]
pub(super) struct MemoryGroup {
    path: PathBuf,
    guard: Guard,
}

impl MemoryGroup {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A group that is there.
    #[cfg(test)]
    pub(super) fn at(path: PathBuf, guard: &Guard) -> Self {
        Self { path, guard: guard.clone() }
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(name), value)
    }

    /// Takes in a process that was made elsewhere. May take some hundredths of a second.
    pub(super) fn take(&self, id: u32) -> io::Result<()> {
        self.set(PROCESSES, &id.to_string())
    }

    /// Returns true if the kernel has ended a process of it for its memory.
    pub(super) fn ran_out(&self) -> bool {
        fs::read_to_string(self.path.join("memory.events")).is_ok_and(|events| has_killed(&events))
    }
}

fn has_killed(events: &str) -> bool {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count > 0)
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Mostly it is empty.
        if fs::remove_dir(&self.path).is_ok() {
            return self.guard.forget_group(&self.path);
        }
        let (path, guard) = (std::mem::take(&mut self.path), self.guard.clone());
        let remove = move || remove(&path, &guard);
        std::thread::Builder::new().name("remove".into()).spawn(remove).ok();
    }
}

/// Kills what is in a group and removes it. If it stays, the guard tries again when the server ends.
fn remove(path: &Path, guard: &Guard) {
    match remove_group(path) {
        Ok(()) => guard.forget_group(path),
        Err(error) => {
            let path = path.display().to_string();
            tracing::warn!(path, %error, "the control group of a worker cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str =
        "30 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "25 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          31 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_group_of_a_process_is_found_below_its_mount() {
        let dir = |groups: &str, mounts: &str| {
            find(groups, mounts).map(|(dir, _)| dir.display().to_string())
        };
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(dir("0::/\n", UNIFIED), found("/sys/fs/cgroup"));
        let unit = "4:memory:/a\n0::/system.slice/fib.service\n";
        assert_eq!(dir(unit, UNIFIED), found("/sys/fs/cgroup/system.slice/fib.service"));
        assert_eq!(dir(unit, HYBRID), found("/sys/fs/cgroup/unified/system.slice/fib.service"));
        // A container may see a part of the tree, and no more than that.
        let part = UNIFIED.replace(" / /", " /system.slice /");
        assert_eq!(dir(unit, &part), found("/sys/fs/cgroup/fib.service"));
        assert_eq!(dir("0::/../other\n", UNIFIED), None);
        assert_eq!(dir("0::/elsewhere\n", &part), None);
        assert_eq!(dir("4:memory:/a\n", HYBRID), None);
        assert_eq!(dir("0::/\n", ""), None);
    }

    /// A directory that stands for a group with these processes.
    fn group(name: &str, processes: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("httpipe-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join(PROCESSES), processes).expect("a file");
        dir
    }

    #[test]
    fn a_group_with_processes_of_others_is_left_as_it_is() {
        let own = std::process::id();
        let dir = group("others", &format!("{own}\n1\n"));
        let moved = settle(&dir, || Ok(()));
        let is_made = dir.join(OWN).exists();
        fs::remove_dir_all(&dir).expect("it is ours");
        let why = moved.expect_err("process 1 is none of ours");
        assert!(why.starts_with("process 1 in the group "), "{why}");
        assert!(!is_made, "a group was made in it");
    }

    #[test]
    fn the_server_moves_back_where_its_group_hands_out_no_memory() {
        let dir = group("back", "");
        let own = std::process::id().to_string();
        let moved = settle(&dir, || {
            fs::write(dir.join(OWN).join(PROCESSES), &own).expect("a file");
            Err("no".to_owned())
        });
        let back = fs::read_to_string(dir.join(PROCESSES)).expect("a file");
        fs::remove_dir_all(&dir).expect("it is ours");
        assert_eq!((moved, back), (Err("no".to_owned()), own));
    }

    /// A group is a directory in which no file can be removed.
    #[test]
    fn the_guard_keeps_in_mind_a_group_that_could_not_be_removed() {
        let guard = Guard::start("/bin/true").expect("a process");
        let path = group("kept", "");
        guard.note_group(&path);
        remove(&path, &guard);
        assert!(guard.has_noted_group(&path));
        fs::remove_dir_all(&path).expect("it is ours");
        remove(&path, &guard);
        assert!(!guard.has_noted_group(&path));
    }

    #[test]
    fn a_group_has_run_out_of_memory_if_the_kernel_has_killed_in_it() {
        assert!(!has_killed("low 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0\n"));
        assert!(has_killed("low 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n"));
        assert!(!has_killed(""));
    }

    #[test]
    fn only_processes_of_the_server_are_moved() {
        assert!(is_ours(std::process::id()));
        assert!(!is_ours(1) && !is_ours(0) && !is_ours(u32::MAX));
    }
}
