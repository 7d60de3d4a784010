//! Looks at a worker through the kernel's files: does it wait for its input?
//!
//! `/proc/PID/task/TID/syscall` shows that a thread is blocked in a read. This is a fact, not a
//! guess from timing: once every thread of every process of a worker waits for input, the worker
//! writes nothing until it gets some. `docs/decisions` says what a look costs.
//!
//! Two kinds of programs cannot be told apart from outside, so they only [may wait](Look::MayWait):
//! those in which something beside the reader wakes up by itself (a clock, a connection), and those
//! that wait for their input and for something else at once.

mod alarm;
mod doing;
mod process;
mod source;
mod thread;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, getpgid};

use process::{WatchedProcess, is_gone};
use source::PipeNames;
use thread::{Seen, ids};

use super::usage;

/// How often a worker of several threads is looked at until none of them has run meanwhile.
const TRIES: u32 = 8;
/// A worker with more processes than this cannot be looked at.
const PROCESSES_MAX: usize = 64;
/// Most quick looks in a row.
const QUICK_MOST: u32 = 8;
/// One of this many looks that find a worker waiting also asks whether a timer may wake it.
const ALARMS_EVERY: u32 = 16;

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
    pipes: PipeNames,
    /// The first process, which leads the group.
    leader: u32,
    /// A thread ran, or waited for a processor, at the last look.
    saw_running: bool,
    /// The first process and its descendants, as they were found last.
    processes: Vec<WatchedProcess>,
    /// What [`ADOPTED`] said when its processes were found last.
    adopted: Vec<u8>,
    /// After how many looks that find it waiting it is asked again whether a timer may wake it.
    alarms_due: u32,
    /// A timer may wake it.
    has_alarm: bool,
    /// Looks in a row that saw its one thread run and nothing else.
    quick: u32,
}

impl Watcher {
    /// Looks at the process `leader` and its descendants. Questions come to them through the pipe
    /// that `stdin` is an end of, and answers leave through that of `stdout`.
    pub fn new(leader: u32, stdin: impl AsFd, stdout: impl AsFd) -> Self {
        Self {
            pipes: PipeNames::new(stdin, stdout),
            leader,
            saw_running: false,
            processes: vec![WatchedProcess::new(leader)],
            adopted: Vec::new(),
            alarms_due: 0,
            has_alarm: false,
            quick: 0,
        }
    }

    /// Returns true if a thread of the worker ran at the last look, or would have run if there had
    /// been a free processor: on a busy machine a program that works may use no CPU for long.
    pub fn saw_running(&self) -> bool {
        self.saw_running
    }

    /// Returns what the worker does now. A look costs a few microseconds for each thread.
    pub fn look(&mut self) -> Look {
        let look = self.look_at_all();
        self.let_go();
        look
    }

    /// Closes files that are too many to be kept until the next look.
    fn let_go(&mut self) {
        self.processes.iter_mut().for_each(WatchedProcess::let_go);
    }

    fn look_at_all(&mut self) -> Look {
        let look = self.try_look().unwrap_or(Look::Hidden);
        if look != Look::Waits {
            return look;
        }
        if self.alarms_due == 0 {
            self.alarms_due = ALARMS_EVERY;
            self.has_alarm = self.processes.iter().any(|process| alarm::may_ring(process.id));
        }
        self.alarms_due -= 1;
        if self.has_alarm { Look::MayWait { reads: true, runs: false } } else { Look::Waits }
    }

    /// Looks more closely than [`Watcher::look`] does, at a worker that would be taken for one that
    /// has nothing to say. One that was stopped the moment it had read its question, or that a
    /// debugger holds there, still shows the read.
    pub fn look_closely(&mut self) -> Look {
        self.alarms_due = 0;
        let look = self.look_at_all();
        let is_asleep = || self.processes.iter().all(WatchedProcess::is_asleep);
        let look = if look == Look::Waits && !is_asleep() { Look::Works } else { look };
        self.let_go();
        look
    }

    /// Looks at a worker that starts, as [`Watcher::look`] does, and asks of each thread whether it
    /// sleeps: one that was woken a moment ago still shows the call that it was blocked in, and one
    /// that was made a moment ago is not known yet. Both run.
    pub fn look_at_start(&mut self) -> Look {
        let look = self.look_at_all();
        let look = match look {
            Look::Waits if self.processes.iter().any(WatchedProcess::has_new_threads) => {
                Look::Works
            }
            Look::MayWait { reads, runs: false }
                if self.processes.iter().any(|it| it.has_new_threads() || !it.is_asleep()) =>
            {
                Look::MayWait { reads, runs: true }
            }
            look => look,
        };
        self.let_go();
        look
    }

    /// Returns the CPU time that the processes of the worker have used, as far as they live.
    pub fn cpu(&self) -> Duration {
        self.processes.iter().filter_map(|process| usage::cpu_of(process.id).ok()).sum()
    }

    /// Returns true if the worker has made its input one that never blocks. Then it asks for input
    /// again and again, which no look shows.
    pub fn never_blocks(&self) -> bool {
        self.processes.iter().any(|process| self.pipes.never_block(process.id))
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
        self.processes.iter().map(WatchedProcess::threads).sum::<usize>() > 1
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
            match process.look(&self.pipes, counts, &mut children) {
                Ok(done) => {
                    seen.add_all(done);
                    self.saw_running = seen.runs;
                }
                // A process that has ended does nothing. The end of the first is seen elsewhere.
                Err(error) if next > 0 && is_gone(&error) => {
                    self.processes.remove(next);
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.add(&children)?;
            next += 1;
            // Most looks that come too early see this. What else there is can wait for a moment.
            let is_quick = seen.runs && !counts && self.processes.len() == 1;
            self.quick = if is_quick { self.quick + 1 } else { 0 };
            if is_quick && self.quick < QUICK_MOST {
                return Ok(Look::Works);
            }
        }
        Ok(result(seen))
    }

    /// Adds processes of this worker whose parent has ended, unless they are known. Returns true if
    /// there were any.
    fn add_adopted(&mut self) -> io::Result<bool> {
        let Some(file) = &*ADOPTED else { return Ok(false) };
        let mut list = Vec::new();
        let mut room = [0; 1024];
        loop {
            let count = file.read_at(&mut room, list.len() as u64)?;
            list.extend_from_slice(&room[..count]);
            if count < room.len() {
                break;
            }
        }
        if list == self.adopted {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.adopted, list);
        let (before, list) = (text(&before), text(&self.adopted));
        let known: HashSet<u32> = ids(&before).collect();
        let new = ids(&list).filter(|id| !known.contains(id) && *id != self.leader);
        let ours: Vec<u32> = new.filter(|id| self.is_ours(*id)).collect();
        self.add(&ours)?;
        Ok(!ours.is_empty())
    }

    /// Returns true if this process, whose parent has ended, belongs to the worker: it is in its
    /// group, or can write its answers.
    fn is_ours(&self, id: u32) -> bool {
        let raw = i32::try_from(id).ok().and_then(Pid::from_raw);
        let group = raw.and_then(|id| getpgid(Some(id)).ok());
        group.is_some_and(|group| group.as_raw_nonzero().get().unsigned_abs() == self.leader)
            || self.pipes.can_answer(id)
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

/// Returns what the threads of a worker do together.
fn result(seen: Seen) -> Look {
    let Seen { reads, polls, runs, goes_on } = seen;
    if !reads && !polls {
        return Look::Works;
    }
    if !runs && !goes_on {
        return Look::Waits;
    }
    Look::MayWait { reads, runs }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
