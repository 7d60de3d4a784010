//! One process of a worker and its threads, with files that stay open between two looks.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, fstat};

use super::source::PipeNames;
use super::thread::{Seen, Thread};

/// Most threads of one process whose files are kept open between two looks.
const KEPT_MAX: usize = 16;

/// One process.
#[derive(Debug)]
pub(super) struct WatchedProcess {
    pub(super) id: u32,
    /// Its directory of threads; the number of links tells how many there are. `None`: not open.
    directory: Option<OwnedFd>,
    links: u64,
    threads: Vec<Thread>,
    /// How many threads it had at the last look.
    count: usize,
}

impl WatchedProcess {
    pub(super) fn new(id: u32) -> Self {
        Self { id, directory: None, links: 0, threads: Vec::new(), count: 0 }
    }

    /// Returns how many threads it had at the last look.
    pub(super) fn threads(&self) -> usize {
        self.count
    }

    /// Closes the files of a process with many threads after a look, because descriptors are few. The
    /// next look opens them anew.
    pub(super) fn let_go(&mut self) {
        if self.count > KEPT_MAX {
            self.threads = Vec::new();
            self.directory = None;
        }
    }

    /// Looks once at each thread, and adds the children of the process. `counts`: notes before how
    /// often each has run.
    pub(super) fn look(
        &mut self,
        pipes: &PipeNames,
        counts: bool,
        children: &mut Vec<u32>,
    ) -> io::Result<Seen> {
        if self.is_stale()? {
            self.open()?;
        }
        if counts {
            self.threads.iter_mut().for_each(Thread::note_runs);
        }
        match self.look_at_each(pipes, children) {
            // A thread has ended since its files were opened.
            Err(error) if is_gone(&error) => {
                self.is_stale()?;
                self.open()?;
                self.look_at_each(pipes, children)
            }
            seen => seen,
        }
    }

    fn look_at_each(&mut self, pipes: &PipeNames, children: &mut Vec<u32>) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for thread in &mut self.threads {
            seen.add_all(thread.look(pipes, children)?);
        }
        Ok(seen)
    }

    /// Returns true if no thread has run since it was looked at: all were blocked at the same time.
    pub(super) fn has_not_run(&self) -> bool {
        let links = self.directory.as_ref().map(links);
        let is_stale = links
            .is_none_or(|links| links.is_ok_and(|links| links != self.threads.len() as u64 + 2));
        !is_stale && self.threads.iter().all(Thread::has_not_run)
    }

    /// Returns true if there are other threads than at the last look, or if it has ended.
    pub(super) fn has_new_threads(&self) -> bool {
        self.is_stale().unwrap_or(true)
    }

    /// Returns true if every thread sleeps.
    pub(super) fn is_asleep(&self) -> bool {
        self.threads.iter().all(Thread::is_asleep)
    }

    fn open(&mut self) -> io::Result<()> {
        let path = format!("/proc/{}/task", self.id);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty())?;
        let links = links(&directory)?;
        self.threads.clear();
        for entry in fs::read_dir(&path)? {
            let thread = format!("{path}/{}", entry?.file_name().to_string_lossy());
            self.threads.extend(unless_gone(Thread::open(thread))?);
        }
        if self.threads.is_empty() && links > 2 {
            // It has threads, so this kernel has no such files.
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.count = self.threads.len();
        self.links = links;
        self.directory = Some(directory);
        Ok(())
    }

    /// Returns true if there are other threads than those whose files are open.
    fn is_stale(&self) -> io::Result<bool> {
        match self.directory.as_ref().map(links).transpose()? {
            // It has ended, and another process may have its number.
            Some(..=2) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            Some(links) => Ok(links != self.links),
            None => Ok(true),
        }
    }
}

/// How many links a directory of threads has: two, and one for each thread.
fn links(directory: &OwnedFd) -> io::Result<u64> {
    Ok(fstat(directory)?.st_nlink as u64)
}

/// Returns `None` if the thread has ended meanwhile.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns true if the process or thread is not there any longer.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}
