//! One thread of a worker, with files that stay open between two looks.

use std::fs::{self, File};
use std::io;

use super::doing::{Doing, PollSet, doing};
use super::source::{PipeNames, QuestionsEnd, Source, descriptors, read_text};

/// The files of one thread.
#[derive(Debug)]
pub(super) struct Thread {
    /// Its directory.
    path: String,
    call: File,
    children: File,
    /// Tells how often it ran. `None`: it is the only thread of the worker, or the kernel does not
    /// count.
    runs: Option<File>,
    /// How often it had run before the last look.
    had_run: Option<u64>,
    /// What `call` said at the last look, if that need not be looked into again.
    known: Option<(Box<str>, Known)>,
}

/// What was found out about one blocked call of a thread.
#[derive(Debug)]
enum Known {
    /// It reads the questions from this descriptor.
    Reads(QuestionsEnd),
    /// It waits for another thread of the worker.
    Parked,
}

/// What the threads seen so far do together.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact, and any of them may hold")]
pub(super) struct Seen {
    /// One is blocked reading questions.
    pub(super) reads: bool,
    /// One waits for questions and perhaps for something else.
    pub(super) polls: bool,
    /// One runs.
    pub(super) runs: bool,
    /// One will be woken by a clock, a device or another process.
    pub(super) goes_on: bool,
}

impl Seen {
    pub(super) fn add_all(&mut self, other: Self) {
        self.reads |= other.reads;
        self.polls |= other.polls;
        self.runs |= other.runs;
        self.goes_on |= other.goes_on;
    }
}

impl Thread {
    /// Opens the files of the thread with this directory.
    pub(super) fn open(path: String) -> io::Result<Self> {
        let call = File::open(format!("{path}/syscall"))?;
        let children = File::open(format!("{path}/children"))?;
        Ok(Self { path, call, children, runs: None, had_run: None, known: None })
    }

    /// Returns what the thread does, and adds the children that it started.
    pub(super) fn look(&mut self, pipes: &PipeNames, children: &mut Vec<u32>) -> io::Result<Seen> {
        let mut room = [0; 1024];
        let line = read_text(&self.call, &mut room)?;
        let seen = match &self.known {
            Some((before, Known::Parked)) if **before == *line => Seen::default(),
            Some((before, Known::Reads(end))) if **before == *line && end.is_still(pipes) => {
                Seen { reads: true, ..Seen::default() }
            }
            _ => {
                let (seen, known) = look_into(doing(line), &self.path, pipes);
                self.known = known.map(|known| (line.into(), known));
                seen
            }
        };
        children.extend(ids(read_text(&self.children, &mut room)?));
        Ok(seen)
    }

    /// Notes how often the thread has run, before it is looked at.
    pub(super) fn note_runs(&mut self) {
        if self.runs.is_none() {
            self.runs = File::open(format!("{}/schedstat", self.path)).ok();
        }
        self.had_run = self.count_runs();
    }

    /// Returns true if the thread has not run since [`Thread::note_runs`], nor been woken: one that
    /// was woken a moment ago may still show the call that it was blocked in.
    pub(super) fn has_not_run(&self) -> bool {
        self.is_asleep() && self.had_run.is_some() && self.had_run == self.count_runs()
    }

    /// Returns true if the thread sleeps until an event comes, or has ended. One that was stopped,
    /// or is traced, does not.
    pub(super) fn is_asleep(&self) -> bool {
        let stat = fs::read_to_string(format!("{}/stat", self.path)).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, Some('S' | 'Z' | 'X'))
    }

    /// Returns how often the thread has run, if the kernel counts it.
    fn count_runs(&self) -> Option<u64> {
        let mut room = [0; 128];
        let text = read_text(self.runs.as_ref()?, &mut room).ok()?;
        // A thread that is there has run at least once.
        text.split_ascii_whitespace().nth(2)?.parse().ok().filter(|runs| *runs > 0)
    }
}

/// Returns what the thread with this directory does, and what of it need not be found out again
/// while it is blocked in the same call.
fn look_into(doing: Doing, thread: &str, pipes: &PipeNames) -> (Seen, Option<Known>) {
    let mut seen = Seen::default();
    let mut known = None;
    match doing {
        Doing::Runs => seen.runs = true,
        Doing::Parked => {}
        Doing::Sleeps => seen.goes_on = true,
        Doing::Locked(address) => match Source::of_lock(thread, address) {
            Source::Outside => seen.goes_on = true,
            _ => known = Some(Known::Parked),
        },
        Doing::Reads(descriptor) => match Source::of(thread, descriptor, pipes) {
            Source::Questions => {
                seen.reads = true;
                known = Some(Known::Reads(QuestionsEnd::new(thread, descriptor, pipes)));
            }
            Source::Inside => {}
            Source::Outside => seen.goes_on = true,
        },
        Doing::Polls { set: PollSet::Ring, .. } => {
            seen.polls = true;
            seen.goes_on = true;
        }
        Doing::Polls { set, is_timed } => {
            let sources = descriptors(thread, set)
                .into_iter()
                .map(|descriptor| Source::of(thread, descriptor, pipes));
            let sources: Vec<Source> = sources.collect();
            seen.polls = sources.contains(&Source::Questions);
            seen.goes_on = is_timed || sources.is_empty() || sources.contains(&Source::Outside);
        }
    }
    (seen, known)
}

/// Returns the numbers in a list of processes.
pub(super) fn ids(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|id| id.parse().ok())
}
