//! A line worker with switchable faults: the hidden subcommand `demo-worker`.
//!
//! It answers each line with that line, and misbehaves as tests, the soak and curious operators
//! tell it to. A fault is switched on for every question (`--crash`), for questions that contain
//! a word (`--crash-on boom`), or by the question itself (`crash abc`). The parser, the dispatcher
//! and the help all use `TABLE`. The worker is synchronous on purpose: it answers all lines of one
//! read in one write, so a benchmark with it measures the server.

mod acts;
mod system;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::{Child, ExitCode};
use std::time::Duration;

use self::system::{
    burn, contains, descriptors, ignore_term, number, sleep, status, time, write_all,
};
use rustix::process::Signal;

/// The exit code of a crash on purpose.
const CRASHED: i32 = 101;
/// The most bytes of one read.
const READ_MAX: usize = 64 * 1024;

/// What follows a fault.
enum Next {
    /// The other faults, then the answer.
    Answer,
    /// Nothing: the fault has dealt with the answer.
    Nothing,
}

/// What a trick changes.
enum Effect {
    /// The whole process. Such a trick is a flag only.
    Process(fn(&mut Settings, &str)),
    /// The treatment of one question.
    Question(fn(&mut DemoWorker, &[u8], &str) -> Next),
}

/// A fault or a report. `name` is its flag and the first word of its question; `argument` follows.
struct Trick {
    name: &'static str,
    argument: &'static str,
    help: &'static str,
    kind: Effect,
}

const fn process(
    name: &'static str,
    argument: &'static str,
    help: &'static str,
    set: fn(&mut Settings, &str),
) -> Trick {
    Trick { name, argument, help, kind: Effect::Process(set) }
}

const fn question(
    name: &'static str,
    argument: &'static str,
    help: &'static str,
    act: fn(&mut DemoWorker, &[u8], &str) -> Next,
) -> Trick {
    Trick { name, argument, help, kind: Effect::Question(act) }
}

/// Every trick of the worker.
const TABLE: &[Trick] = &[
    process("pair", "", "answers `{input}|{input}` instead of `{input}`", |s, _| s.pair = true),
    process("banner", "TEXT", "writes a line before it reads", |s, a| s.banner = Some(a.into())),
    process("slow-start", "TIME", "waits before it reads", |s, a| s.slow_start = time(a)),
    process("exit-at-once", "CODE", "ends before it reads", |s, a| s.exit = a.parse().ok()),
    process("never-reads", "", "stays, and reads nothing", |s, _| s.never_reads = true),
    process("ignore-term", "", "ignores TERM", |_, _| ignore_term()),
    process("ignore-eof", "", "stays after stdin has ended", |s, _| s.ignore_eof = true),
    process("once", "NAME", "faults only in the process that creates this file", |s, a| {
        s.once = Some(a.into());
    }),
    process("after", "COUNT", "faults only after this many questions", |s, a| s.after = number(a)),
    process("journal", "NAME", "appends every question to this file", |s, a| {
        s.journal = Some(a.into());
    }),
    question("sleep", "TIME", "answers later", |_, _, a| {
        sleep(time(a));
        Next::Answer
    }),
    question("burn", "TIME", "answers later, keeps a processor busy until then", |_, _, a| {
        burn(time(a));
        Next::Answer
    }),
    question("crash", "", "dies before the answer", |w, _, _| w.exit(CRASHED)),
    question("crash-during", "", "dies in the middle of the answer", |w, q, _| {
        w.half(q);
        w.exit(CRASHED)
    }),
    question("crash-after", "", "answers, then dies", |w, q, _| {
        w.answer(q);
        w.exit(CRASHED)
    }),
    question("exit", "CODE", "ends with this code", |w, _, a| w.exit(a.parse().unwrap_or(0))),
    question("kill-self", "", "ends by KILL", |w, _, _| w.signal_self(Signal::KILL)),
    question("abort", "", "ends by ABRT, as a failed assertion in C would", |w, _, _| {
        w.signal_self(Signal::ABORT)
    }),
    question("stop-self", "", "stops itself, as a debugger would", |w, _, _| {
        w.signal_self(Signal::STOP)
    }),
    question("hang", "", "never answers, stops reading", |w, _, _| w.stay()),
    question("spin", "", "never answers, keeps a processor busy", |w, _, _| w.spin()),
    question("twice", "", "answers twice at once", |w, q, _| {
        w.answer(q);
        Next::Answer
    }),
    question("again", "TIME", "answers, and answers again after this time", |w, q, a| {
        w.answer(q);
        w.flush();
        sleep(time(a));
        Next::Answer
    }),
    question("unasked", "TIME", "answers, and says something else after this time", |w, q, a| {
        w.answer(q);
        w.flush();
        sleep(time(a));
        w.line(b"nobody asked");
        Next::Nothing
    }),
    question("silent", "", "writes nothing, and reads on", |_, _, _| Next::Nothing),
    question("half-stall", "", "writes half an answer, then nothing", |w, q, _| {
        w.half(q);
        w.stay()
    }),
    question("dribble", "TIME", "answers one byte at a time, with this pause", |w, q, a| {
        w.dribble(q, time(a));
        Next::Nothing
    }),
    question("wrong", "", "answers another question", |w, _, _| {
        w.answer(b"another question");
        Next::Nothing
    }),
    question("garbage", "", "answers meaningless bytes", |w, _, _| {
        w.line(b"\x00\x01\x02 garbage \x7f");
        Next::Nothing
    }),
    question("invalid-utf8", "", "answers bytes that are not UTF-8", |w, q, _| {
        w.report(q, b"\xff\xfe\x80");
        Next::Nothing
    }),
    question("empty", "", "answers an empty line", |w, _, _| {
        w.line(b"");
        Next::Nothing
    }),
    question("error", "", "answers `e|{input}|it cannot be done`", |w, q, _| {
        w.line(&[b"e|", q, b"|it cannot be done"].concat());
        Next::Nothing
    }),
    question("endless", "", "writes a line that never ends", |w, _, _| w.endless()),
    question("huge", "BYTES", "answers a line of this length", |w, q, a| {
        w.huge(q, number(a));
        Next::Nothing
    }),
    question("close-stdout", "", "closes stdout and stays", |w, _, _| w.close_stdout()),
    question("stop-reading", "", "answers, then stops reading", |w, q, _| {
        w.answer(q);
        w.stay()
    }),
    question("grandchild", "", "leaves a process behind that holds its pipes", |w, _, _| {
        w.leave_behind(1);
        Next::Answer
    }),
    question("fork", "COUNT", "leaves this many processes behind", |w, _, a| {
        w.leave_behind(number(a));
        Next::Answer
    }),
    question(
        "orphan-and-crash",
        "",
        "leaves a process behind that holds its pipes, and dies",
        |w, _, _| {
            w.leave_behind(1);
            w.exit(CRASHED)
        },
    ),
    question(
        "orphan-and-hang",
        "",
        "leaves a process behind that holds its pipes, and hangs",
        |w, _, _| {
            w.leave_behind(1);
            w.stay()
        },
    ),
    question("stderr", "", "writes the question to stderr too", |w, q, _| {
        w.complain(&[q, b"\n"].concat());
        Next::Answer
    }),
    question("stderr-flood", "BYTES", "first writes this much to stderr", |w, _, a| {
        w.flood(number(a));
        Next::Answer
    }),
    question(
        "stderr-endless",
        "BYTES",
        "first writes this much to stderr, without a line end",
        |w, _, a| {
            w.complain(&vec![b'e'; number(a)]);
            Next::Answer
        },
    ),
    question("leak", "BYTES", "keeps this much memory for ever", |w, _, a| {
        w.kept.push(vec![1; number(a)]);
        Next::Answer
    }),
    question("fds", "", "answers with its open descriptors", |w, q, _| w.say(q, &descriptors())),
    question("env", "NAME", "answers with a variable, `-` if it is not set", |w, q, a| {
        let value = std::env::var_os(a).unwrap_or_else(|| "-".into());
        w.say(q, &value.to_string_lossy())
    }),
    question("pid", "", "answers with its process id", |w, q, _| {
        w.say(q, &std::process::id().to_string())
    }),
    question("cwd", "", "answers with its directory", |w, q, _| {
        let dir = std::env::current_dir().unwrap_or_default();
        w.say(q, &dir.to_string_lossy())
    }),
    question(
        "status",
        "FIELD",
        "answers with a field of /proc/self/status, such as SigBlk",
        |w, q, a| w.say(q, &status(a)),
    ),
];

/// What the flags ask for.
#[derive(Default)]
struct Settings {
    pair: bool,
    banner: Option<String>,
    slow_start: Duration,
    exit: Option<u8>,
    never_reads: bool,
    ignore_eof: bool,
    once: Option<String>,
    after: usize,
    journal: Option<String>,
    faults: Vec<ActiveFault>,
}

/// A fault that a flag switched on.
struct ActiveFault {
    act: fn(&mut DemoWorker, &[u8], &str) -> Next,
    argument: String,
    /// If set, only questions that contain this word.
    word: Option<String>,
}

/// The running worker.
struct DemoWorker {
    settings: Settings,
    faulty: bool,
    asked: usize,
    /// Answers that are not written yet.
    out: Vec<u8>,
    /// Memory that the `leak` fault keeps.
    kept: Vec<Vec<u8>>,
    /// Processes that outlive the worker.
    left_behind: Vec<Child>,
    names: HashMap<&'static [u8], &'static Trick>,
}

/// Runs the worker with the arguments after `demo-worker` until stdin ends.
///
/// Exits with 2 and a message on stderr if an argument is unknown.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    if words.iter().any(|word| word == "--help") {
        write_all(rustix::stdio::stdout(), help().as_bytes());
        return ExitCode::SUCCESS;
    }
    let settings = match parse(&words) {
        Ok(settings) => settings,
        Err(unknown) => {
            let text = format!("error: {unknown}\n\nhint: `demo-worker --help` lists all faults\n");
            write_all(rustix::stdio::stderr(), text.as_bytes());
            return ExitCode::from(2);
        }
    };
    if let Some(code) = settings.exit {
        write_all(rustix::stdio::stderr(), b"told to exit at once\n");
        return ExitCode::from(code);
    }
    sleep(settings.slow_start);
    let mut worker = DemoWorker::new(settings);
    if let Some(banner) = worker.settings.banner.take() {
        worker.line(banner.as_bytes());
        worker.flush();
    }
    if worker.settings.never_reads {
        worker.stay();
    }
    worker.run();
    ExitCode::SUCCESS
}

/// The text of `--help`.
fn help() -> String {
    let mut text = String::from(
        "Answers each line with that line, and misbehaves as told.\n\n\
         --FAULT [ARGUMENT]          for every question\n\
         --FAULT-on WORD [ARGUMENT]  for questions that contain WORD\n\
         FAULT [ARGUMENT] ...        as a question: for this question only\n\n",
    );
    for (title, of_process) in [("The process:\n", true), ("Faults and reports:\n", false)] {
        text.push_str(title);
        for entry in TABLE {
            if matches!(entry.kind, Effect::Process(_)) == of_process {
                let usage = format!("{} {}", entry.name, entry.argument);
                text.push_str("  ");
                writeln!(text, "{usage:<22}{}", entry.help).expect("a string grows");
            }
        }
    }
    text
}

fn parse(words: &[String]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = word.strip_prefix("--").ok_or(format!("unexpected argument `{word}`"))?;
        let (name, is_for_word) =
            flag.strip_suffix("-on").map_or((flag, false), |stripped| (stripped, true));
        let entry = TABLE
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| format!("unknown fault `{word}`"))?;
        let mut next = || words.next().cloned().ok_or(format!("`{word}` needs an argument"));
        let for_word = if is_for_word { Some(next()?) } else { None };
        let argument = if entry.argument.is_empty() { String::new() } else { next()? };
        match entry.kind {
            Effect::Process(set) => set(&mut settings, &argument),
            Effect::Question(act) => {
                settings.faults.push(ActiveFault { act, argument, word: for_word });
            }
        }
    }
    Ok(settings)
}

impl DemoWorker {
    fn new(settings: Settings) -> Self {
        let faulty = settings.once.as_ref().is_none_or(|name| {
            std::fs::OpenOptions::new().write(true).create_new(true).open(name).is_ok()
        });
        let names = TABLE.iter().map(|entry| (entry.name.as_bytes(), entry)).collect();
        let (out, kept, left_behind) = (Vec::new(), Vec::new(), Vec::new());
        Self { settings, faulty, asked: 0, out, kept, left_behind, names }
    }

    /// Answers until stdin ends.
    fn run(&mut self) {
        let mut read = vec![0; READ_MAX];
        let mut pending = Vec::new();
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut read) {
                Ok(0) if self.settings.ignore_eof => self.stay(),
                Ok(0) => return,
                Ok(length) => pending.extend_from_slice(&read[..length]),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            let Some(end) = pending.iter().rposition(|&byte| byte == b'\n') else { continue };
            let rest = pending.split_off(end + 1);
            for line in pending[..end].split(|&byte| byte == b'\n') {
                self.question(line);
            }
            pending = rest;
            self.flush();
        }
    }

    fn question(&mut self, line: &[u8]) {
        self.asked += 1;
        self.write_journal(line);
        if !self.faulty || self.asked <= self.settings.after {
            return self.answer(line);
        }
        let mut faults: Vec<_> = Vec::new();
        for fault in &self.settings.faults {
            let applies = fault.word.as_ref().is_none_or(|word| contains(line, word.as_bytes()));
            if applies {
                faults.push((fault.act, fault.argument.clone()));
            }
        }
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let entry = words.next().and_then(|first| self.names.get(first));
        if let Some(Trick { kind: Effect::Question(act), .. }) = entry {
            let argument = String::from_utf8_lossy(words.next().unwrap_or_default());
            faults.push((*act, argument.into_owned()));
        }
        for (act, argument) in faults {
            if matches!(act(self, line, &argument), Next::Nothing) {
                return;
            }
        }
        self.answer(line);
    }

    fn write_journal(&self, line: &[u8]) {
        use std::io::Write as _;
        let Some(name) = &self.settings.journal else { return };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(name);
        let written = file.and_then(|mut file| file.write_all(&[line, b"\n"].concat()));
        written.expect("the journal can be written where the worker runs");
    }

    /// Gives the right answer.
    fn answer(&mut self, line: &[u8]) {
        self.report(line, line);
    }

    /// Gives an answer of the agreed shape with another result.
    fn report(&mut self, line: &[u8], result: &[u8]) {
        if self.settings.pair {
            self.out.extend_from_slice(line);
            self.out.push(b'|');
        }
        self.line(result);
    }

    fn say(&mut self, line: &[u8], result: &str) -> Next {
        self.report(line, result.as_bytes());
        Next::Nothing
    }

    fn line(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(words: &[&str]) -> DemoWorker {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        DemoWorker::new(parse(&words).unwrap_or_else(|error| panic!("{error}")))
    }

    fn answers(words: &[&str], line: &str) -> String {
        let mut worker = worker(words);
        worker.question(line.as_bytes());
        String::from_utf8(worker.out).expect("text in, text out")
    }

    #[test]
    fn it_answers_each_line_with_that_line() {
        assert_eq!(answers(&[], "hello"), "hello\n");
        assert_eq!(answers(&["--pair"], "hello"), "hello|hello\n");
    }

    #[test]
    fn a_fault_is_switched_on_for_all_for_a_word_or_by_the_question() {
        assert_eq!(answers(&["--twice"], "a"), "a\na\n");
        assert_eq!(answers(&["--twice-on", "boom"], "a"), "a\n");
        assert_eq!(answers(&["--twice-on", "boom"], "a boom b"), "a boom b\na boom b\n");
        assert_eq!(answers(&[], "twice a"), "twice a\ntwice a\n");
        assert_eq!(answers(&["--after", "1"], "twice a"), "twice a\n");
    }

    #[test]
    fn an_unknown_flag_or_a_missing_argument_is_refused() {
        for words in [&["--nonsense"][..], &["--sleep"], &["--crash-on"], &["crash"]] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(time("50ms"), Duration::from_millis(50));
        assert_eq!(time("50"), Duration::from_millis(50));
        assert_eq!(time("2s"), Duration::from_secs(2));
        assert_eq!(number("2KiB"), 2048);
        assert_eq!(number("7"), 7);
    }

    #[test]
    fn the_help_names_every_entry() {
        let help = help();
        for entry in TABLE {
            assert!(help.contains(entry.name), "{}", entry.name);
        }
    }
}
