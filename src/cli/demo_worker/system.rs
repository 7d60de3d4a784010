//! The demo worker's dealings with the system: words, times, signals, output, and what the kernel
//! reports about the process.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len().max(1)).any(|window| window == word)
}

/// Reads `50`, `50ms` or `2s`; tests use no other forms.
pub(super) fn time(text: &str) -> Duration {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Duration::from_millis(number(milliseconds) as u64);
    }
    match text.strip_suffix('s') {
        Some(seconds) => Duration::from_secs(number(seconds) as u64),
        None => Duration::from_millis(number(text) as u64),
    }
}

/// Reads a count or a size: `3`, `10KiB`, `1MiB`, `1GiB`. Returns 1 for anything else.
pub(super) fn number(text: &str) -> usize {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = units
        .iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, *shift)))
        .unwrap_or((text, 0));
    digits.parse::<usize>().unwrap_or(1) << shift
}

#[expect(clippy::disallowed_methods, reason = "this process has nothing else to do meanwhile")]
pub(super) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

pub(super) fn burn(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Installs a handler for TERM that does nothing. Unlike `SIG_IGN` it does not survive an exec, so
/// the processes that the worker leaves behind still end on TERM.
pub(super) fn ignore_term() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made at start");
    let _inside = runtime.enter();
    let stream = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    // The handler stays for the life of the process, with or without the stream.
    drop(stream.expect("TERM can be handled"));
}

pub(super) fn write_all(to: impl std::os::fd::AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            // The reader has gone.
            Err(_) => std::process::exit(0),
        }
    }
}

/// Returns the numbers of the open descriptors, without the one that lists them.
pub(super) fn descriptors() -> String {
    let names = std::fs::read_dir("/proc/self/fd").and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    let names: Vec<String> = names.unwrap_or_else(|error: io::Error| vec![error.to_string()]);
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    // The descriptor of the listing is closed by now.
    numbers.retain(|number| Path::new(&format!("/proc/self/fd/{number}")).exists());
    numbers.sort_unstable();
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or("-").trim().to_owned()
}
