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

use rustix::fs::{Mode, OFlags, fstat};

use doing::{Doing, PollSet, doing, polled, selected, watched};

/// A worker with more processes than this cannot be looked at.
const PROCESSES_MAX: usize = 64;
/// Most threads of one process whose files are kept open between two looks.
const KEPT_MAX: usize = 16;
/// Most bytes of descriptors in a program's memory that are read.
const SET_MAX: usize = 8 << 10;

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
    /// The inode of the pipe that its questions come through.
    pipe: u64,
    /// The first process and its descendants, as they were found last.
    processes: Vec<Watched>,
}

/// One process, with files that stay open between two looks.
#[derive(Debug)]
struct Watched {
    id: u32,
    /// Its directory of threads; the number of links tells how many there are. `None`: not open.
    threads: Option<OwnedFd>,
    links: u64,
    files: Vec<ThreadFiles>,
}

/// The files of one thread.
#[derive(Debug)]
struct ThreadFiles {
    call: File,
    children: File,
    /// What `call` said when the thread was seen reading the questions. The same line again, its
    /// stack and its place in the code included, is the same read of the same descriptor.
    reads: Option<Box<str>>,
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
        let pipe = fstat(stdin).map_or(0, |stat| stat.st_ino);
        Self { pipe, processes: vec![Watched::new(leader)] }
    }

    /// Returns what the worker does now. A look costs a few microseconds for each thread.
    pub fn look(&mut self) -> Look {
        self.try_look().unwrap_or(Look::Hidden)
    }

    fn try_look(&mut self) -> io::Result<Look> {
        // Bytes on their way from one process to another may be missed by one look at each
        // process. They pass at most through all processes, so there are as many looks.
        let mut looks = 0;
        loop {
            let look = self.look_once()?;
            looks += 1;
            if look != Look::Waits || looks >= self.processes.len() {
                return Ok(look);
            }
        }
    }

    fn look_once(&mut self) -> io::Result<Look> {
        let mut seen = Seen::default();
        let mut children = Vec::new();
        let mut next = 0;
        while let Some(process) = self.processes.get_mut(next) {
            children.clear();
            match process.look(&mut seen, self.pipe, &mut children) {
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

    fn add(&mut self, children: &[u32]) -> io::Result<()> {
        for child in children {
            if self.processes.iter().all(|process| process.id != *child) {
                self.processes.push(Watched::new(*child));
            }
        }
        if self.processes.len() > PROCESSES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }
}

impl Watched {
    fn new(id: u32) -> Self {
        Self { id, threads: None, links: 0, files: Vec::new() }
    }

    /// Looks once at each thread, and adds the children of the process.
    fn look(&mut self, seen: &mut Seen, pipe: u64, children: &mut Vec<u32>) -> io::Result<()> {
        if self.is_stale()? {
            self.open()?;
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

    fn threads_do(&mut self, pipe: u64, children: &mut Vec<u32>) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut room = [0; 1024];
        for thread in &mut self.files {
            let line = read_text(&thread.call, &mut room)?;
            if thread.reads.as_deref() == Some(line) {
                seen.reads = true;
            } else {
                let doing = doing(line);
                let reads_now = seen.add(doing, self.id, pipe);
                thread.reads = reads_now.then(|| line.into());
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
            let path = thread?.path();
            let call = unless_gone(File::open(path.join("syscall")))?;
            let children = unless_gone(File::open(path.join("children")))?;
            let files = call.zip(children);
            self.files.extend(files.map(|(call, children)| ThreadFiles {
                call,
                children,
                reads: None,
            }));
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

impl Seen {
    fn add_all(&mut self, other: Self) {
        self.reads |= other.reads;
        self.polls |= other.polls;
        self.runs |= other.runs;
        self.goes_on |= other.goes_on;
    }

    /// Adds what one thread does. Returns true if it is blocked reading the questions.
    fn add(&mut self, doing: Doing, process: u32, pipe: u64) -> bool {
        match doing {
            Doing::Runs => self.runs = true,
            Doing::Parked => {}
            Doing::Sleeps => self.goes_on = true,
            Doing::Reads(descriptor) => match Source::of(process, descriptor, pipe) {
                Source::Questions => {
                    self.reads = true;
                    return true;
                }
                Source::Inside => {}
                Source::Outside => self.goes_on = true,
            },
            Doing::Polls { set, is_timed } => {
                let sources = descriptors(process, set)
                    .into_iter()
                    .map(|descriptor| Source::of(process, descriptor, pipe));
                let sources: Vec<Source> = sources.collect();
                self.polls |= sources.contains(&Source::Questions);
                self.goes_on |=
                    is_timed || sources.is_empty() || sources.contains(&Source::Outside);
            }
        }
        false
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
    fn of(process: u32, descriptor: i32, pipe: u64) -> Self {
        let path = format!("/proc/{process}/fd/{descriptor}");
        let Ok(target) = fs::read_link(&path) else { return Self::Outside };
        let target = target.to_string_lossy();
        if let Some(inode) = target.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']')) {
            let is_ours = inode.parse() == Ok(pipe);
            return if is_ours { Self::Questions } else { Self::Inside };
        }
        match target.as_ref() {
            "anon_inode:[eventfd]" | "anon_inode:[signalfd]" => Self::Inside,
            _ => Self::Outside,
        }
    }
}

/// The descriptors that a thread waits for; empty if they cannot be read.
fn descriptors(process: u32, set: PollSet) -> Vec<i32> {
    match set {
        PollSet::Epoll(epoll) => {
            let fdinfo = fs::read_to_string(format!("/proc/{process}/fdinfo/{epoll}"));
            fdinfo.map(|text| watched(&text)).unwrap_or_default()
        }
        PollSet::Poll { address, count } => {
            let bytes = usize::try_from(count).unwrap_or(SET_MAX).saturating_mul(8);
            memory(process, address, bytes).map(|memory| polled(&memory)).unwrap_or_default()
        }
        PollSet::Select { address, count } => {
            let bytes = usize::try_from(count).unwrap_or(SET_MAX).div_ceil(8);
            memory(process, address, bytes)
                .map(|memory| selected(&memory, count))
                .unwrap_or_default()
        }
    }
}

fn memory(process: u32, address: u64, bytes: usize) -> io::Result<Vec<u8>> {
    if address == 0 || bytes > SET_MAX {
        return Ok(Vec::new());
    }
    let mut memory = vec![0; bytes];
    File::open(format!("/proc/{process}/mem"))?.read_exact_at(&mut memory, address)?;
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
