//! Reads from `/proc` which processes belong to a server, what they hold, and whether they run.

use std::fs;
use std::time::Duration;

/// The environment variable that marks every process of one server under test. It is inherited, so
/// it finds processes whose parents have ended.
pub(super) const MARK: &str = "TEST_SERVER";

/// Returns every process with this mark. Zombies have no environment and are not among them.
pub(super) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let has_mark = |environment: &[u8]| {
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    all()
        .filter(|id| fs::read(format!("/proc/{id}/environ")).is_ok_and(|all| has_mark(&all)))
        .collect()
}

/// Returns the children of a process, zombies included.
pub(super) fn children(parent: u32) -> Vec<u32> {
    all().filter(|id| stat(*id).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// Returns true if the process has ended and was not reaped.
pub(super) fn is_zombie(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'Z')
}

/// Returns true if a signal has stopped the process.
pub(super) fn is_stopped(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'T')
}

/// Returns the name of a process, as lists of processes show it.
pub(super) fn name(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// Returns the command line of a process.
pub(super) fn arguments(id: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into());
    words.filter(|word: &String| !word.is_empty()).collect()
}

/// Returns the threads of a process, with ids and names.
pub(super) fn threads(id: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{id}/task")).expect("the process is there");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            Some((path.file_name()?.to_str()?.parse().ok()?, name.trim_end().to_owned()))
        })
        .collect()
}

/// Returns the id of the thread of this name in this process.
pub(super) fn thread(id: u32, name: &str) -> Option<u32> {
    threads(id).into_iter().find_map(|(thread, its_name)| (its_name == name).then_some(thread))
}

/// Returns the number of the system call that a thread is in; `None`: it is in none.
pub(super) fn system_call(thread: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Returns how many filters of system calls a thread has; `None`: the kernel does not tell.
pub(super) fn filters(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    line?.trim().parse().ok()
}

/// Returns how many times threads of this process went to sleep by themselves so far: each is
/// followed by a waking.
pub(super) fn wakings(id: u32) -> u64 {
    let count = |(thread, _): (u32, String)| {
        let path = format!("/proc/{id}/task/{thread}/status");
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads(id).into_iter().map(count).sum()
}

/// Returns the process that traces this thread; 0 if none does.
pub(super) fn tracer(thread: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap_or("0");
    line.trim().parse().expect("the kernel writes a number")
}

/// Returns the targets of descriptors 0, 1 and 2 of a process.
pub(super) fn standard_descriptors(id: u32) -> Vec<String> {
    let target = |number| fs::read_link(format!("/proc/{id}/fd/{number}"));
    let targets = (0..3).map(|number| target(number).unwrap_or_default());
    targets.map(|path| path.to_string_lossy().into_owned()).collect()
}

/// Returns the CPU time that a process has used with all its threads.
pub(super) fn processor_time(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    // A tick is 10 ms wherever this runs.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Returns how many descriptors a process has open.
pub(super) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Returns the resident memory of a process, in bytes.
pub(super) fn memory(id: u32) -> u64 {
    status_bytes(id, "VmRSS:")
}

/// Returns the most resident memory that a process ever had, in bytes.
pub(super) fn peak_memory(id: u32) -> u64 {
    status_bytes(id, "VmHWM:")
}

fn status_bytes(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0 kB");
    let kibibytes = line.trim().trim_end_matches("kB").trim();
    kibibytes.parse::<u64>().expect("the kernel writes a number") * 1024
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Returns the state and the parent of a process.
fn stat(id: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may contain anything, so the fields are read after the last `)`.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}
