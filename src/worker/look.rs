//! Looks at a worker through the kernel's files: does it wait for its input?
//!
//! `/proc/PID/task/TID/syscall` shows that a thread is blocked in a read. This is a fact, not a
//! guess from timing: once every thread of every process of a worker waits for input, the worker
//! writes nothing until it gets some. `docs/decisions` says what a look costs.
//!
//! Two kinds of programs cannot be told apart from outside, so they only [may wait](Look::MayWait):
//! those in which something beside the reader wakes up by itself (a clock, a connection), and those
//! that wait for their input and for something else at once.

mod doing;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use rustix::fs::{Mode, OFlags, fstat};
use rustix::process::{Pid, getpgid};

use doing::{Doing, PollSet, doing, polled, selected, watched};

/// How often a worker of several threads is looked at until none of them has run meanwhile.
const TRIES: u32 = 8;
/// A worker with more processes than this cannot be looked at.
const PROCESSES_MAX: usize = 64;
/// Most threads of one process whose files are kept open between two looks.
const KEPT_MAX: usize = 16;
/// Most bytes of descriptors in a program's memory that are read.
const SET_MAX: usize = 8 << 10;

/// Lists the children of our first thread, which adopts processes of workers (`worker::reaper`).
static ADOPTED: LazyLock<Option<File>> = LazyLock::new(|| {
    let id = std::process::id();
    File::open(format!("/proc/{id}/task/{id}/children")).ok()
});

/// What a worker does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It waits for its input, and nothing in it goes on before there is some.
    Waits,
    /// It would notice input, but something in it may go on by itself.
    MayWait {
        /// A thread is blocked reading the input and nothing else.
        reads: bool,
        /// Some thread runs at this moment.
        runs: bool,
    },
    /// Nothing in it would notice input now: it works.
    Works,
    /// The kernel does not show what it does: another user's process, no `/proc`, a sandbox.
    Hidden,
}

impl Look {
    /// Says, for operators, why this look does not show that the program waits for its input.
    pub fn doubt(self) -> &'static str {
        match self {
            Self::MayWait { reads: true, .. } => {
                "something beside the thread that reads goes on by itself"
            }
            Self::MayWait { reads: false, .. } => {
                "it waits for its input and for something else at once"
            }
            Self::Hidden => "the kernel does not show what it does",
            Self::Waits | Self::Works => "it reads its input in an unknown way",
        }
    }
}

/// Looks at one worker, again and again.
#[derive(Debug)]
pub struct Watcher {
    /// The pipe that its questions come through, as links to it name it.
    pipe: String,
    /// The first process, which leads the group.
    leader: u32,
    /// The first process and its descendants, as they were found last.
    processes: Vec<WatchedProcess>,
    /// What [`ADOPTED`] said when its processes were found last.
    adopted: Vec<u8>,
}

/// One process, with files that stay open between two looks.
#[derive(Debug)]
struct WatchedProcess {
    id: u32,
    /// Its directory of threads; the number of links tells how many there are. `None`: not open.
    threads: Option<OwnedFd>,
    links: u64,
    files: Vec<ThreadFiles>,
}

/// The files of one thread.
#[derive(Debug)]
struct ThreadFiles {
    /// Its directory.
    path: String,
    call: File,
    children: File,
    /// Tells how often it ran. `None`: it is the only thread of the worker, or the kernel does not
    /// count.
    runs: Option<File>,
    /// How often it had run before the last look.
    had_run: Option<u64>,
    /// What `call` said when the thread was seen reading the questions, and the link of the
    /// descriptor that it read.
    reads: Option<(Box<str>, String)>,
}

/// What the threads seen so far do together.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact, and any of them may hold")]
struct Seen {
    /// One is blocked reading questions.
    reads: bool,
    /// One waits for questions and perhaps for something else.
    polls: bool,
    /// One runs.
    runs: bool,
    /// One will be woken by a clock, a device or another process.
    goes_on: bool,
}

impl Watcher {
    /// Looks at the process `leader` and its descendants, whose questions come through the pipe
    /// that `stdin` is an end of.
    pub fn new(leader: u32, stdin: impl AsFd) -> Self {
        // Without an inode nothing is ever seen to read its input.
        let pipe =
            fstat(stdin).map_or_else(|_| String::new(), |it| format!("pipe:[{}]", it.st_ino));
        Self { pipe, leader, processes: vec![WatchedProcess::new(leader)], adopted: Vec::new() }
    }

    /// Returns what the worker does now. A look costs a few microseconds for each thread.
    pub fn look(&mut self) -> Look {
        self.try_look().unwrap_or(Look::Hidden)
    }

    fn try_look(&mut self) -> io::Result<Look> {
        // A thread that was seen blocked may be given its work before the next one is looked at.
        for _ in 0..TRIES {
            let look = self.look_once()?;
            let mut processes = self.processes.iter();
            let is_sure = look != Look::Waits || !self.has_several();
            if is_sure || processes.all(WatchedProcess::has_not_run) {
                return Ok(look);
            }
        }
        Ok(Look::MayWait { reads: true, runs: true })
    }

    /// Returns true if the worker has more than one thread.
    fn has_several(&self) -> bool {
        self.processes.iter().map(|process| process.files.len()).sum::<usize>() > 1
    }

    fn look_once(&mut self) -> io::Result<Look> {
        let mut seen = Seen::default();
        let mut children = Vec::new();
        let mut next = 0;
        let counts = self.has_several();
        loop {
            let Some(process) = self.processes.get_mut(next) else {
                // Last, because a process that has ended by now has left its children to us.
                if self.add_adopted()? {
                    continue;
                }
                break;
            };
            children.clear();
            match process.look(&mut seen, &self.pipe, counts, &mut children) {
                Ok(()) => {}
                // A process that has ended does nothing. The end of the first is seen elsewhere.
                Err(error) if next > 0 && is_gone(&error) => {
                    self.processes.remove(next);
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.add(&children)?;
            next += 1;
        }
        Ok(seen.result())
    }

    /// Adds processes of the group whose parent has ended, unless they are known. Returns true if
    /// there were any.
    fn add_adopted(&mut self) -> io::Result<bool> {
        let Some(file) = &*ADOPTED else { return Ok(false) };
        let mut list = Vec::new();
        let mut room = [0; 1024];
        while let count @ 1.. = file.read_at(&mut room, list.len() as u64)? {
            list.extend_from_slice(&room[..count]);
        }
        if list == self.adopted {
            return Ok(false);
        }
        let is_ours = |id: &u32| {
            let id = i32::try_from(*id).ok().and_then(Pid::from_raw);
            let group = id.and_then(|id| getpgid(Some(id)).ok());
            group.is_some_and(|group| group.as_raw_nonzero().get().unsigned_abs() == self.leader)
        };
        let ours: Vec<u32> = ids(&String::from_utf8_lossy(&list)).filter(is_ours).collect();
        self.adopted = list;
        self.add(&ours)?;
        Ok(!ours.is_empty())
    }

    fn add(&mut self, children: &[u32]) -> io::Result<()> {
        for child in children {
            if self.processes.iter().all(|process| process.id != *child) {
                self.processes.push(WatchedProcess::new(*child));
            }
        }
        if self.processes.len() > PROCESSES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }
}

impl WatchedProcess {
    fn new(id: u32) -> Self {
        Self { id, threads: None, links: 0, files: Vec::new() }
    }

    /// Looks once at each thread, and adds the children of the process.
    fn look(
        &mut self,
        seen: &mut Seen,
        pipe: &str,
        counts: bool,
        children: &mut Vec<u32>,
    ) -> io::Result<()> {
        if self.is_stale()? {
            self.open()?;
        }
        if counts {
            self.count_runs();
        }
        match self.threads_do(pipe, children) {
            // A thread has ended since its files were opened.
            Err(error) if is_gone(&error) => {
                self.is_stale()?;
                self.open()?;
                children.clear();
                seen.add_all(self.threads_do(pipe, children)?);
            }
            done => seen.add_all(done?),
        }
        Ok(())
    }

    /// Notes how often each thread has run, before it is looked at.
    fn count_runs(&mut self) {
        for thread in &mut self.files {
            if thread.runs.is_none() {
                thread.runs = File::open(format!("{}/schedstat", thread.path)).ok();
            }
            thread.had_run = thread.count_runs();
        }
    }

    /// Returns true if no thread has run since it was looked at: all were blocked at the same time.
    fn has_not_run(&self) -> bool {
        let is_stale = self
            .threads
            .as_ref()
            .map(links)
            .is_none_or(|links| links.is_ok_and(|links| links != self.files.len() as u64 + 2));
        !is_stale
            && self
                .files
                .iter()
                .all(|thread| thread.is_asleep() && thread.had_run == thread.count_runs())
    }

    fn threads_do(&mut self, pipe: &str, children: &mut Vec<u32>) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut room = [0; 1024];
        for thread in &mut self.files {
            let line = read_text(&thread.call, &mut room)?;
            if thread.reads_again(line, pipe) {
                seen.reads = true;
            } else {
                let source = seen.add(doing(line), &thread.path, pipe);
                thread.reads = source.map(|link| (line.into(), link));
            }
            children.extend(ids(read_text(&thread.children, &mut room)?));
        }
        Ok(seen)
    }

    fn open(&mut self) -> io::Result<()> {
        let directory = format!("/proc/{}/task", self.id);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let threads = rustix::fs::open(&directory, flags, Mode::empty())?;
        let links = links(&threads)?;
        self.files.clear();
        for thread in fs::read_dir(&directory)? {
            let thread = thread?.file_name();
            let path = format!("{directory}/{}", thread.to_string_lossy());
            let call = unless_gone(File::open(format!("{path}/syscall")))?;
            let children = unless_gone(File::open(format!("{path}/children")))?;
            let files = call.zip(children);
            self.files.extend(files.map(|(call, children)| ThreadFiles {
                path,
                call,
                children,
                runs: None,
                had_run: None,
                reads: None,
            }));
        }
        if self.files.is_empty() && links > 2 {
            // It has threads, so this kernel has no such files.
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Descriptors are few: with many threads the files are opened anew for each look.
        self.links = if self.files.len() > KEPT_MAX { 0 } else { links };
        self.threads = Some(threads);
        Ok(())
    }

    /// Returns true if there are other threads than those whose files are open.
    fn is_stale(&self) -> io::Result<bool> {
        match self.threads.as_ref().map(links).transpose()? {
            // It has ended, and another process may have its number.
            Some(..=2) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            Some(links) => Ok(links != self.links),
            None => Ok(true),
        }
    }
}

impl ThreadFiles {
    /// Returns true if the thread is blocked in the same read as before, and the descriptor is
    /// still the pipe of questions: a shell puts something else in its place for a while.
    fn reads_again(&self, line: &str, pipe: &str) -> bool {
        self.reads.as_ref().is_some_and(|(before, link)| {
            before.as_ref() == line
                && rustix::fs::readlink(link, Vec::new())
                    .is_ok_and(|it| it.as_bytes() == pipe.as_bytes())
        })
    }

    /// Returns true if the thread has not even been woken. One that was woken and has not run yet
    /// still shows the call that it was blocked in, but its state is that of one that runs.
    fn is_asleep(&self) -> bool {
        let stat = fs::read_to_string(format!("{}/stat", self.path)).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        self.had_run.is_some() && matches!(state, Some('S' | 'Z' | 'X'))
    }

    /// Returns how often the thread has run, if the kernel counts it.
    fn count_runs(&self) -> Option<u64> {
        let mut room = [0; 128];
        let text = read_text(self.runs.as_ref()?, &mut room).ok()?;
        // A thread that is there has run at least once.
        text.split_ascii_whitespace().nth(2)?.parse().ok().filter(|runs| *runs > 0)
    }
}

impl Seen {
    fn add_all(&mut self, other: Self) {
        self.reads |= other.reads;
        self.polls |= other.polls;
        self.runs |= other.runs;
        self.goes_on |= other.goes_on;
    }

    /// Adds what the thread with this directory does. Returns the link of the descriptor if it is
    /// blocked reading the questions.
    fn add(&mut self, doing: Doing, thread: &str, pipe: &str) -> Option<String> {
        match doing {
            Doing::Runs => self.runs = true,
            Doing::Parked => {}
            Doing::Sleeps => self.goes_on = true,
            Doing::Reads(descriptor) => match Source::of(thread, descriptor, pipe) {
                Source::Questions => {
                    self.reads = true;
                    return Some(link_of(thread, descriptor));
                }
                Source::Inside => {}
                Source::Outside => self.goes_on = true,
            },
            Doing::Polls { set, is_timed } => {
                let sources = descriptors(thread, set)
                    .into_iter()
                    .map(|descriptor| Source::of(thread, descriptor, pipe));
                let sources: Vec<Source> = sources.collect();
                self.polls |= sources.contains(&Source::Questions);
                self.goes_on |=
                    is_timed || sources.is_empty() || sources.contains(&Source::Outside);
            }
        }
        None
    }

    fn result(self) -> Look {
        if !self.reads && !self.polls {
            return Look::Works;
        }
        if !self.runs && !self.goes_on {
            return Look::Waits;
        }
        Look::MayWait { reads: self.reads, runs: self.runs }
    }
}

/// The source of the event for which a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// From the server: the next question.
    Questions,
    /// From a process or thread of the same worker, which is looked at itself.
    Inside,
    /// From a clock, a device or another process.
    Outside,
}

impl Source {
    fn of(thread: &str, descriptor: i32, pipe: &str) -> Self {
        let Ok(target) = fs::read_link(link_of(thread, descriptor)) else { return Self::Outside };
        let target = target.to_string_lossy();
        if target == pipe {
            return Self::Questions;
        }
        let inside = ["pipe:[", "anon_inode:[eventfd]", "anon_inode:[signalfd]"];
        let is_inside = inside.iter().any(|begin| target.starts_with(begin));
        if is_inside { Self::Inside } else { Self::Outside }
    }
}

/// The link that names what a descriptor is. The descriptors of a process can be seen through
/// each of its threads, but not through its first one once that has ended.
fn link_of(thread: &str, descriptor: i32) -> String {
    format!("{thread}/fd/{descriptor}")
}

/// The descriptors that a thread waits for; empty if they cannot be read.
fn descriptors(thread: &str, set: PollSet) -> Vec<i32> {
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

/// How many links a directory of threads has: two, and one for each thread.
fn links(threads: &OwnedFd) -> io::Result<u64> {
    Ok(fstat(threads)?.st_nlink as u64)
}

/// Reads a short file from its begin.
fn read_text<'a>(file: &File, room: &'a mut [u8]) -> io::Result<&'a str> {
    let count = file.read_at(room, 0)?;
    std::str::from_utf8(&room[..count]).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn ids(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|id| id.parse().ok())
}

/// Returns `None` if the thread has ended meanwhile.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}
