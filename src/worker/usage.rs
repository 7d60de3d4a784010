//! What one process uses, read from `/proc`.
//!
//! Processes that it started do not count.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::process::Pid;

use crate::base::ByteSize;

/// Room for a file of the kernel.
const FILE_ROOM: usize = 4 << 10;
/// Most bytes of such a file that are read.
const FILE_MOST: u64 = 64 << 10;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, including the parts shared with other processes.
    pub memory: ByteSize,
    /// CPU time since its start, to the hundredth of a second.
    pub cpu: Duration,
}

/// Returns what the process `id` uses; a zombie uses no memory. Fails if there is no such process.
pub fn of(id: u32) -> io::Result<Usage> {
    let memory = ByteSize(resident_bytes(&read(id, "status")?));
    Ok(Usage { memory, cpu: cpu_of(id)? })
}

/// Returns the CPU time that the process `id` has used since its start.
pub fn cpu_of(id: u32) -> io::Result<Duration> {
    let cpu = cpu_time(&read(id, "stat")?);
    cpu.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns what the main thread of a process does: `R` while it computes or waits for a processor.
pub(super) fn state_of(id: u32) -> Option<char> {
    after_name(&read(id, "stat").ok()?)?.next()?.chars().next()
}

fn read(id: u32, file: &str) -> io::Result<Vec<u8>> {
    // Room for all of it at once: the size that such a file has is not told.
    let mut text = Vec::with_capacity(FILE_ROOM);
    File::open(format!("/proc/{id}/{file}"))?.take(FILE_MOST).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads `VmRSS` from a `status` file. A zombie has none.
fn resident_bytes(status: &[u8]) -> u64 {
    let kibibytes = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"VmRSS:"))
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

/// Reads fields 14 and 15 of a `stat` file.
fn cpu_time(stat: &[u8]) -> Option<Duration> {
    let mut fields = after_name(stat)?.skip(14 - 3);
    cpu_of_ticks(fields.next()?, fields.next()?)
}

/// Returns the fields of a `stat` file from field 3 on. Field 2, the name, may hold spaces and
/// parentheses.
fn after_name(stat: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    Some(std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace())
}

fn cpu_of_ticks(user: &str, system: &str) -> Option<Duration> {
    // The kernel reports hundredths of a second, whatever the rate of its own clock.
    const TICKS_A_SECOND: u64 = 100;
    let ticks = user.parse::<u64>().ok()?.saturating_add(system.parse().ok()?);
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_A_SECOND)))
}

/// Returns the most resident memory that a child of this process ever had, in bytes. It has ended,
/// and is not reaped. What it shared with its parent until it became another program counts, too.
#[expect(unsafe_code, reason = "no safe call waits for a child and tells what it has used")]
pub(super) fn peak_of(id: Pid) -> Option<u64> {
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    let id = id.as_raw_pid().cast_unsigned();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let no_details = std::ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the kernel writes at most one `rusage` to where `used` is, and nothing else.
    let waited = unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PID, id, no_details, options, used.as_mut_ptr())
    };
    // SAFETY: all its bytes are zero at least, which is a `rusage`.
    let used = unsafe { used.assume_init() };
    let kibibytes = u64::try_from(used.ru_maxrss).ok().filter(|most| waited == 0 && *most > 0)?;
    Some(kibibytes.saturating_mul(1024))
}

/// Opens the `stat` file of a process, to be read again and again.
pub(super) fn open_stat(id: u32) -> io::Result<File> {
    File::open(format!("/proc/{id}/stat"))
}

/// What a `stat` file says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its parent.
    pub(super) parent: u32,
    /// CPU time since its start, to the hundredth of a second.
    pub(super) cpu: Duration,
    /// When it started, in ticks since the start of the machine.
    pub(super) born: u64,
    /// Resident memory, including the parts shared with other processes.
    pub(super) memory: ByteSize,
}

impl Stat {
    /// Reads fields 4, 14, 15, 22 and 24 of a `stat` file.
    pub(super) fn parse(stat: &[u8]) -> Option<Self> {
        let mut fields = after_name(stat)?.skip(4 - 3);
        let parent = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(14 - 5);
        let cpu = cpu_of_ticks(fields.next()?, fields.next()?)?;
        let mut fields = fields.skip(22 - 16);
        let born = fields.next()?.parse().ok()?;
        let pages: u64 = fields.nth(24 - 23)?.parse().ok()?;
        let memory = ByteSize(pages.saturating_mul(rustix::param::page_size() as u64));
        Some(Self { parent, cpu, born, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_resident_set_in_bytes() {
        let status = b"Name:\tVmRSS: 7 kB\nVmHWM:\t  99 kB\nVmRSS:\t    2048 kB\nRssAnon:\t 8 kB\n";
        assert_eq!(resident_bytes(status), 2048 * 1024);
        assert_eq!(resident_bytes(b"Name:\tzombie\nState:\tZ (zombie)\n"), 0);
        assert_eq!(resident_bytes(b"VmRSS:\t 99999999999999999999 kB\n"), 0);
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = b"7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 17 900 900 20 0 1 0 5 6 7";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(2670)));
        assert_eq!(cpu_time(b"7 (short) S 1 7"), None);
        assert_eq!(cpu_time(b""), None);
    }

    #[test]
    fn the_fields_of_a_stat_file_are_found_by_their_numbers() {
        let stat = b"7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 17 900 900 20 0 1 0 5005 6 7 8";
        let found = Stat::parse(stat).expect("it is one");
        assert_eq!((found.parent, found.born), (1, 5005));
        assert_eq!(found.cpu, Duration::from_millis(2670));
        assert_eq!(found.memory.0, 7 * rustix::param::page_size() as u64);
        assert_eq!(Stat::parse(b"7 (short) S 1 7"), None);
    }

    #[test]
    fn our_own_process_uses_something() {
        let usage = of(std::process::id()).expect("we are there");
        assert!(usage.memory.0 > 100 * 1024, "{usage:?}");
        assert!(of(u32::MAX).is_err());
    }
}
