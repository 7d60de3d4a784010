//! Reads a worker's stderr into our log, at a limited rate, and keeps the last lines.
//!
//! It always reads everything, because a full pipe would stop the program. One line of the program
//! becomes at most one line of the log, without control characters that could disturb a terminal.

use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::own::{Token, shim_line_prefix};
use super::process::Exit;
use crate::base::WorkerId;

/// Longest line that is shown, in bytes as the program wrote them. The rest of it is cut off.
const LINE_MAX: usize = 4096;
/// Lines a second that one worker may write into our log in the long run.
const LINES_A_SECOND: u32 = 100;
/// Lines that it may write at once after a silence.
const BURST: u32 = 200;
/// How often the log reports the number of suppressed lines while there are more of them.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Lines kept for the report of a crash.
const KEPT_LINES: usize = 20;
/// Lines kept from the beginning, to know them again.
const BEGIN_MOST: usize = 200;
/// Most bytes of the lines kept for the report of a crash.
const KEPT_BYTES: usize = 8 * 1024;

/// The last lines that a worker wrote to its stderr. They can be read at any time, and are complete
/// once [`pump`] has returned. Clones share the lines.
#[derive(Clone, Debug)]
pub struct LastWords {
    shared: Arc<Mutex<Words>>,
    pool: Arc<str>,
    /// `None`: it is the fork server.
    worker: Option<WorkerId>,
}

#[derive(Debug)]
struct Words {
    cutter: Cutter,
    /// The beginning of the shim's own line.
    shim_prefix: String,
    not_run: Option<String>,
    lines: VecDeque<String>,
    bytes: usize,
    /// The first lines.
    begin: Vec<String>,
    /// No line is logged.
    is_quiet: bool,
    /// Lines that are not logged.
    left_out: HashSet<String>,
}

/// Cuts bytes into lines of limited length.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
    /// The line was too long; the rest of it is skipped.
    skips: bool,
}

/// How many lines may still be written.
#[derive(Debug)]
struct Allowance {
    left: f64,
    since: Instant,
    suppressed: u64,
}

impl LastWords {
    /// Starts with no lines. `pool` and `worker` are what the log calls the process, and `token`
    /// marks the message of its shim.
    pub fn new(pool: Arc<str>, worker: WorkerId, token: &Token) -> Self {
        Self::with_token(pool, worker, token.as_str())
    }

    /// Starts with no lines of the fork server of a pool.
    pub fn of_fork_server(pool: Arc<str>, token: &Token) -> Self {
        Self { worker: None, ..Self::with_token(pool, WorkerId(0), token.as_str()) }
    }

    /// Starts with no lines, and logs none.
    pub fn unlogged(token: &Token) -> Self {
        let words = Self::with_token(Arc::from(""), WorkerId(0), token.as_str());
        words.lock().is_quiet = true;
        words
    }

    fn with_token(pool: Arc<str>, worker: WorkerId, token: &str) -> Self {
        let words = Words {
            cutter: Cutter::default(),
            shim_prefix: shim_line_prefix(token),
            not_run: None,
            lines: VecDeque::new(),
            bytes: 0,
            begin: Vec::new(),
            is_quiet: false,
            left_out: HashSet::new(),
        };
        Self { shared: Arc::new(Mutex::new(words)), pool, worker: Some(worker) }
    }

    /// Returns at most 20 lines and an unfinished one, oldest first, without control characters.
    pub fn lines(&self) -> Vec<String> {
        let words = self.lock();
        let unfinished = (!words.cutter.line.is_empty()).then(|| shown(&words.cutter.line, false));
        words.lines.iter().cloned().chain(unfinished).collect()
    }

    /// Logs none of these lines: it has them from a worker before, which ended as this one may.
    pub fn leave_out(&self, lines: HashSet<String>) {
        self.lock().left_out = lines;
    }

    /// Returns the first lines, in no more than a few hundred.
    pub fn begin(&self) -> Vec<String> {
        self.lock().begin.clone()
    }

    /// Returns what [`LastWords::lines`] does, without the lines that are left out.
    pub fn news(&self) -> Vec<String> {
        let mut lines = self.lines();
        let words = self.lock();
        lines.retain(|line| !words.left_out.contains(line));
        lines
    }

    /// Returns [`Exit::NotRun`] if the shim said that it could not run the program, else `exit`.
    /// Only the shim's message tells a program that ended with 127 from one that was not found.
    pub fn explain(&self, exit: Exit) -> Exit {
        match &self.lock().not_run {
            Some(reason) => Exit::NotRun(reason.clone()),
            None => exit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read, and logs the lines that are complete.
    fn take(&self, bytes: &[u8], allowance: &mut Allowance) {
        let words = &mut *self.lock();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, behind) = words.cutter.next(rest);
            rest = behind;
            let Some(line) = line.and_then(|line| words.keep(line)) else { continue };
            let now = Instant::now();
            if allowance.take(now) {
                self.report(allowance);
                self.log(&line);
            }
        }
    }

    /// Takes the end of the stream. The last line needs no line end.
    fn finish(&self, allowance: &mut Allowance) {
        let words = &mut *self.lock();
        if let Some(line) = words.cutter.finish().and_then(|line| words.keep(line)) {
            self.log(&line);
        }
        self.report(allowance);
    }

    fn log(&self, line: &str) {
        tracing::info!(target: "worker", pool = &*self.pool, worker = self.worker.map(|it| it.0), line);
    }

    fn report(&self, allowance: &mut Allowance) {
        let lines = std::mem::take(&mut allowance.suppressed);
        if lines > 0 {
            tracing::warn!(
                target: "worker",
                pool = &*self.pool,
                worker = self.worker.map(|it| it.0),
                lines,
                "lines on stderr were left out, more than {LINES_A_SECOND} a second"
            );
        }
    }
}

/// Reads a worker's stderr to its end, into the log and into `words`.
///
/// The stream ends when the last process that holds it has gone, which may be long after the
/// worker. So wait only a moment after the end of the worker, then drop this future. Dropping it
/// is safe at any time and loses no line that was read.
pub async fn pump(stderr: AsyncFd<OwnedFd>, words: LastWords) {
    let mut allowance = Allowance::full(Instant::now());
    // A small buffer gives other tasks their turn soon while a worker floods its stderr.
    let mut buffer = [0; 8 * 1024];
    loop {
        let readable = tokio::select! {
            readable = stderr.readable() => readable,
            () = tokio::time::sleep(REPORT_EVERY), if allowance.suppressed > 0 => {
                words.report(&mut allowance);
                continue;
            }
        };
        let Ok(mut ready) = readable else { return };
        match ready.try_io(|stderr| Ok(rustix::io::read(stderr.get_ref(), &mut buffer)?)) {
            Ok(Ok(0) | Err(_)) => return words.finish(&mut allowance),
            Ok(Ok(length)) => words.take(&buffer[..length], &mut allowance),
            Err(_would_block) => {}
        }
    }
}

impl Words {
    /// Keeps a line, unless it is the shim's. Returns it if it is to be logged.
    fn keep(&mut self, line: String) -> Option<String> {
        if let Some(reason) = line.strip_prefix(&self.shim_prefix) {
            self.not_run = Some(reason.to_owned());
            return None;
        }
        self.bytes += line.len();
        if self.begin.len() < BEGIN_MOST {
            self.begin.push(line.clone());
        }
        self.lines.push_back(line.clone());
        while self.lines.len() > KEPT_LINES || (self.bytes > KEPT_BYTES && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |gone| gone.len());
        }
        (!self.is_quiet && !self.left_out.contains(&line)).then_some(line)
    }
}

impl Cutter {
    /// Takes bytes up to the next line end. Returns the line if it is complete, or its beginning as
    /// soon as it is too long, and the bytes that follow.
    fn next<'a>(&mut self, bytes: &'a [u8]) -> (Option<String>, &'a [u8]) {
        let end = memchr::memchr(b'\n', bytes);
        let (part, behind) = match end {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (bytes, &[][..]),
        };
        if self.skips {
            self.skips = end.is_none();
            return (None, behind);
        }
        let room = LINE_MAX - self.line.len();
        if part.len() > room {
            self.line.extend_from_slice(&part[..room]);
            self.skips = end.is_none();
            return (Some(self.give(true)), behind);
        }
        self.line.extend_from_slice(part);
        (end.map(|_| self.give(false)), behind)
    }

    /// Returns the last line if it had no line end.
    fn finish(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.give(false))
    }

    fn give(&mut self, cut: bool) -> String {
        let text = shown(&self.line, cut);
        self.line.clear();
        text
    }
}

/// Turns bytes of a program into text that cannot disturb a terminal.
fn shown(line: &[u8], cut: bool) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(line).chars() {
        if character == '\t' {
            text.push(' ');
        } else if character.is_control() || reorders(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    if cut {
        text.push_str(" … (cut)");
    }
    text
}

/// Returns true for characters that are no control characters but change the order or the lines of
/// what is shown.
fn reorders(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Allowance {
    fn full(now: Instant) -> Self {
        Self { left: f64::from(BURST), since: now, suppressed: 0 }
    }

    /// Returns true if one more line may be written. If not, counts it as suppressed.
    fn take(&mut self, now: Instant) -> bool {
        let gained = (now - self.since).as_secs_f64() * f64::from(LINES_A_SECOND);
        self.left = (self.left + gained).min(f64::from(BURST));
        self.since = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        } else {
            self.suppressed += 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> LastWords {
        LastWords::with_token("calc".into(), WorkerId(7), "t0")
    }

    /// Returns the lines kept of these parts, each from a read of its own.
    fn kept(parts: &[&[u8]]) -> Vec<String> {
        let words = words();
        let mut allowance = Allowance::full(Instant::now());
        for part in parts {
            words.take(part, &mut allowance);
        }
        words.lines()
    }

    #[test]
    fn lines_are_cut_at_line_ends_however_they_were_read() {
        assert_eq!(kept(&[b"one\ntwo\r\n\nfour\n"]), ["one", "two", "", "four"]);
        assert_eq!(kept(&[b"o", b"ne", b"\ntw", b"o"]), ["one", "two"]);
    }

    #[test]
    fn what_would_move_a_terminal_is_escaped() {
        assert_eq!(kept(&[b"\x1b[31mred\x07\ta\x00b\rc"]), [r"\u{1b}[31mred\u{7} a\u{0}b\rc"]);
        assert_eq!(kept(&["\u{202e}evil \u{9b}31m é".as_bytes()]), [r"\u{202e}evil \u{9b}31m é"]);
        assert_eq!(kept(&[b"\xff\xfe ok\n"]), ["\u{fffd}\u{fffd} ok"]);
    }

    #[test]
    fn a_line_without_end_is_cut_once_and_its_rest_passed_over() {
        let part = [b'x'; 3000];
        let lines = kept(&[&part, &part, &part, b"tail\nnext\n"]);
        assert_eq!(lines, ["x".repeat(LINE_MAX) + " … (cut)", "next".to_owned()]);
        let exact = [&[b'y'; LINE_MAX][..], b"\nnext\n"].concat();
        assert_eq!(kept(&[&exact]), ["y".repeat(LINE_MAX), "next".to_owned()]);
        let longer = [&[b'z'; LINE_MAX + 1][..], b"\nnext\n"].concat();
        assert_eq!(kept(&[&longer]), ["z".repeat(LINE_MAX) + " … (cut)", "next".to_owned()]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let many = (0..50).map(|number| number.to_string()).collect::<Vec<_>>().join("\n") + "\n";
        let lines = kept(&[many.as_bytes()]);
        assert_eq!((lines.len(), &*lines[0], &*lines[19]), (20, "30", "49"));
        let wide = [&[b'w'; 3000][..], b"\n"].concat().repeat(9);
        assert_eq!(kept(&[&wide]).len(), 2, "bytes are limited too");
    }

    #[test]
    fn only_the_line_with_the_token_means_that_nothing_was_run() {
        let words = words();
        let mut allowance = Allowance::full(Instant::now());
        words.take(b"httpipe t1: cannot run `x`\n", &mut allowance);
        assert_eq!(words.explain(Exit::Code(127)), Exit::Code(127));
        words.take(b"httpipe t0: cannot run `x`: it does not exist\n", &mut allowance);
        let exit = Exit::NotRun("cannot run `x`: it does not exist".into());
        assert_eq!(words.explain(Exit::Code(127)), exit);
        assert_eq!(words.lines(), ["httpipe t1: cannot run `x`"]);
    }

    #[test]
    fn what_is_not_logged_is_kept_all_the_same() {
        let words = words();
        words.leave_out(["known".to_owned()].into());
        assert_eq!(words.lock().keep("known".to_owned()), None);
        assert_eq!(words.lock().keep("new".to_owned()).as_deref(), Some("new"));
        assert_eq!(
            (words.lines(), words.news()),
            (vec!["known".into(), "new".into()], vec!["new".into()])
        );
        let quiet = LastWords::unlogged(&Token::random());
        assert_eq!(quiet.lock().keep("anything".to_owned()), None);
        assert_eq!(quiet.lines(), ["anything"]);
    }

    #[test]
    fn short_lines_after_long_ones_are_kept_in_full_number() {
        let wide = [&[b'w'; 3000][..], b"\n"].concat().repeat(9);
        assert_eq!(kept(&[&wide, &b"x\n".repeat(50)]).len(), KEPT_LINES);
    }

    #[test]
    fn a_flood_is_counted_and_silence_gives_room_again() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        let written = (0..1000).filter(|_| allowance.take(start)).count();
        assert_eq!((written, allowance.suppressed), (200, 800));
        let later = start + Duration::from_millis(505);
        assert_eq!((0..1000).filter(|_| allowance.take(later)).count(), 50);
        let much_later = start + Duration::from_hours(1);
        assert_eq!((0..1000).filter(|_| allowance.take(much_later)).count(), 200);
    }
}
