//! What the kernel says about processes: whose they are, what they hold, whether they are gone.

use std::fs;
use std::time::Duration;

/// The variable by which every process of one server under test is known, even after its
/// parents have gone.
pub(super) const MARK: &str = "TEST_SERVER";

/// Every living process that inherited this mark; zombies have no environment left.
pub(super) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let has_mark = |environment: &[u8]| {
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    all()
        .filter(|id| fs::read(format!("/proc/{id}/environ")).is_ok_and(|all| has_mark(&all)))
        .collect()
}

/// The children of a process, in state Z too.
pub(super) fn children(parent: u32) -> Vec<u32> {
    all().filter(|id| stat(*id).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// Has it ended without being reaped?
pub(super) fn is_zombie(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'Z')
}

/// Does it stand still, told to by a signal?
pub(super) fn is_stopped(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'T')
}

/// The words it was started with.
pub(super) fn arguments(id: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into());
    words.filter(|word: &String| !word.is_empty()).collect()
}

/// Its threads: their ids and names.
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

/// Who traces this thread; 0: nobody.
pub(super) fn tracer(thread: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap_or("0");
    line.trim().parse().expect("the kernel writes a number")
}

/// Where its descriptors 0, 1 and 2 lead.
pub(super) fn standard_descriptors(id: u32) -> Vec<String> {
    let target = |number| fs::read_link(format!("/proc/{id}/fd/{number}"));
    let targets = (0..3).map(|number| target(number).unwrap_or_default());
    targets.map(|path| path.to_string_lossy().into_owned()).collect()
}

/// How much time on a processor it has used, its threads included.
pub(super) fn processor_time(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    // A tick is 10 ms wherever this runs.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// How many descriptors it holds.
pub(super) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Its resident memory, in bytes.
pub(super) fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    let kibibytes = line.trim().trim_end_matches("kB").trim();
    kibibytes.parse::<u64>().expect("the kernel writes a number") * 1024
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// State and parent of a process.
fn stat(id: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything, so what counts is behind its end.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}
