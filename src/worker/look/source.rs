//! What a thread waits for: the questions, something inside the worker, or something outside.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirEntryExt, FileExt};

use rustix::fs::fstat;

use super::doing::{PollSet, polled, selected, watched};

/// Most bytes of descriptors in a program's memory that are read.
const SET_MAX: usize = 8 << 10;

/// The pipes between the server and a worker, by the names that the kernel shows for them.
#[derive(Debug)]
pub(super) struct PipeNames {
    /// What a link to the pipe of questions says.
    questions: String,
    /// What the `fdinfo` of each descriptor of the pipe of questions says after its flags. `None`:
    /// this kernel does not say there which file it is.
    info: Option<String>,
    /// What a link to the pipe of answers says.
    answers: String,
}

impl PipeNames {
    /// The names of the pipes that these are ends of.
    pub(super) fn new(stdin: impl AsFd, stdout: impl AsFd) -> Self {
        let descriptor = stdin.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"));
        let info = info.ok().and_then(|text| Some(identity(&text)?.to_owned()));
        Self { questions: link_to(stdin), info, answers: link_to(stdout) }
    }

    /// Returns true if a read of questions does not block in the process `id`, whose descriptor 0
    /// they come through.
    pub(super) fn never_block(&self, id: u32) -> bool {
        let text = fs::read_to_string(format!("/proc/{id}/fdinfo/0")).unwrap_or_default();
        let is_same = self.info.is_some() && identity(&text) == self.info.as_deref();
        is_same && !blocks(&text)
    }

    /// Returns true if the process `id` has a descriptor of the pipe of answers.
    pub(super) fn can_answer(&self, id: u32) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{id}/fd")) else { return false };
        descriptors.flatten().any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == self.answers.as_str())
        })
    }
}

/// Without an inode it is a link that nothing has.
fn link_to(pipe: impl AsFd) -> String {
    fstat(pipe).map_or_else(|_| String::new(), |it| format!("pipe:[{}]", it.st_ino))
}

/// The lines of an `fdinfo` file that say which file it is: the mount and the inode.
fn identity(fdinfo: &str) -> Option<&str> {
    let lines = &fdinfo[fdinfo.find("mnt_id:")?..];
    lines.contains("\nino:").then_some(lines)
}

/// Returns true if a read of this descriptor blocks, from its `fdinfo` file.
fn blocks(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_NONBLOCK == 0)
}

/// A descriptor of a thread that was seen to be the pipe of questions.
#[derive(Debug)]
pub(super) struct QuestionsEnd {
    link: String,
    /// Says which file it is, for a quarter of what a link costs.
    info: Option<File>,
}

impl QuestionsEnd {
    pub(super) fn new(thread: &str, descriptor: i32, pipes: &PipeNames) -> Self {
        let info = pipes.info.as_ref();
        let info = info.and_then(|_| File::open(format!("{thread}/fdinfo/{descriptor}")).ok());
        Self { link: link_of(thread, descriptor), info }
    }

    /// Returns true if the descriptor still is the pipe of questions: a shell puts something else
    /// in its place for a while.
    pub(super) fn is_still(&self, pipes: &PipeNames) -> bool {
        if let (Some(file), Some(info)) = (&self.info, &pipes.info) {
            let mut room = [0; 256];
            let text = read_text(file, &mut room);
            return text.is_ok_and(|text| identity(text) == Some(info));
        }
        let link = rustix::fs::readlink(&self.link, Vec::new());
        link.is_ok_and(|link| link.as_bytes() == pipes.questions.as_bytes())
    }
}

/// The source of the event for which a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From the server: the next question.
    Questions,
    /// From a process or thread of the same worker, which is looked at itself.
    Inside,
    /// From a clock, a device or another process.
    Outside,
}

impl Source {
    pub(super) fn of(thread: &str, descriptor: i32, pipes: &PipeNames) -> Self {
        let Ok(target) = fs::read_link(link_of(thread, descriptor)) else { return Self::Outside };
        let target = target.to_string_lossy();
        if target == pipes.questions {
            return Self::Questions;
        }
        let inside = ["pipe:[", "anon_inode:[eventfd]", "anon_inode:[signalfd]"];
        let is_inside = inside.iter().any(|begin| target.starts_with(begin));
        if is_inside { Self::Inside } else { Self::Outside }
    }

    /// The source of a lock at this address: any process may open a file that has a name. A file
    /// without one is shared by inheritance alone.
    pub(super) fn of_lock(thread: &str, address: u64) -> Self {
        let maps = fs::read_to_string(format!("{thread}/maps"));
        let Ok(memory) = maps.map(|maps| Mapping::of(&maps, address)) else { return Self::Outside };
        let is_named = match memory {
            Mapping::Unknown => true,
            Mapping::Own => false,
            Mapping::Shared { inode, path } => {
                // A semaphore is made under one name, and then gets another.
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                let files = fs::read_dir(format!("{thread}/root{directory}"));
                files
                    .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|it| it.ino() == inode)))
            }
        };
        if is_named { Self::Outside } else { Self::Inside }
    }
}

/// Whose the memory at one address is.
#[derive(Debug, PartialEq, Eq)]
enum Mapping {
    /// The process alone.
    Own,
    /// All that map this file.
    Shared { inode: u64, path: String },
    /// Nothing is known of it.
    Unknown,
}

impl Mapping {
    /// Reads a `maps` file.
    fn of(maps: &str, address: u64) -> Self {
        let around = maps.lines().find(|line| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            range.is_some_and(|(begin, end)| (number(begin)..number(end)).contains(&address))
        });
        let mut words = around.unwrap_or_default().split_ascii_whitespace().skip(1);
        let Some(rights) = words.next() else { return Self::Unknown };
        if !rights.ends_with('s') {
            return Self::Own;
        }
        let inode = words.nth(2).and_then(|inode| inode.parse().ok());
        match (inode, words.next()) {
            (Some(inode), Some(path)) => Self::Shared { inode, path: path.to_owned() },
            _ => Self::Unknown,
        }
    }
}

/// The link that names what a descriptor is. The descriptors of a process can be seen through
/// each of its threads, but not through its first one once that has ended.
fn link_of(thread: &str, descriptor: i32) -> String {
    format!("{thread}/fd/{descriptor}")
}

/// The descriptors that a thread waits for; empty if they cannot be read.
pub(super) fn descriptors(thread: &str, set: PollSet) -> Vec<i32> {
    match set {
        PollSet::Epoll(epoll) => {
            let fdinfo = fs::read_to_string(format!("{thread}/fdinfo/{epoll}"));
            fdinfo.map(|text| watched(&text)).unwrap_or_default()
        }
        PollSet::Poll { address, count } => {
            let bytes = usize::try_from(count).unwrap_or(SET_MAX).saturating_mul(8);
            memory(thread, address, bytes).map(|memory| polled(&memory)).unwrap_or_default()
        }
        PollSet::Select { address, count } => {
            let bytes = usize::try_from(count).unwrap_or(SET_MAX).div_ceil(8);
            memory(thread, address, bytes)
                .map(|memory| selected(&memory, count))
                .unwrap_or_default()
        }
        PollSet::Ring => Vec::new(),
    }
}

fn memory(thread: &str, address: u64, bytes: usize) -> io::Result<Vec<u8>> {
    if address == 0 || bytes > SET_MAX {
        return Ok(Vec::new());
    }
    let mut memory = vec![0; bytes];
    File::open(format!("{thread}/mem"))?.read_exact_at(&mut memory, address)?;
    Ok(memory)
}

/// Reads a short file from its begin.
pub(super) fn read_text<'a>(file: &File, room: &'a mut [u8]) -> io::Result<&'a str> {
    let count = file.read_at(room, 0)?;
    std::str::from_utf8(&room[..count]).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_own_or_shared_by_way_of_a_file() {
        let maps = "5000-6000 rw-p 00000000 00:00 0 \n\
            8000-9000 rw-s 00000000 00:01 12                  /dev/shm/sem.a (deleted)\n\
            b000-c000 rw-p 00000000 00:01 14                  /lib/libc.so\n";
        let shared = Mapping::Shared { inode: 12, path: "/dev/shm/sem.a".to_owned() };
        assert_eq!(Mapping::of(maps, 0x5008), Mapping::Own);
        assert_eq!(Mapping::of(maps, 0x8000), shared);
        assert_eq!(Mapping::of(maps, 0xbfff), Mapping::Own);
        assert_eq!(Mapping::of(maps, 0xc000), Mapping::Unknown);
    }

    #[test]
    fn a_file_is_known_by_its_mount_and_inode() {
        let ours = "pos:\t0\nflags:\t04001\nmnt_id:\t14\nino:\t7211\n";
        let theirs = "pos:\t0\nflags:\t00\nmnt_id:\t14\nino:\t7211\n";
        assert!(identity(ours).is_some() && identity(ours) == identity(theirs));
        assert_ne!(identity(ours), identity(&theirs.replace("7211", "7212")));
        assert!(!blocks(ours) && blocks(theirs) && blocks(""));
        assert_eq!(identity("pos:\t0\nflags:\t00\nmnt_id:\t14\n"), None, "an older kernel");
    }
}
