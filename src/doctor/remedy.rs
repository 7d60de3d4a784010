//! Remedies: other ways to launch a program, or to read its answers.
//!
//! Pure. `check` tries a remedy before it recommends it; a server that runs can only name it.

use std::path::Path;

use crate::config::framing::Framings;
use crate::config::words::quoted;
use crate::config::{Framing, LaunchSettings, Matching, PoolSettings};

/// The variable that makes Python write at once.
const PYTHON: &str = "PYTHONUNBUFFERED";

/// Options that make a program write each line at once.
const OPTIONS: &[(&str, &[&str])] = &[
    ("python", &["-u"]),
    ("pypy", &["-u"]),
    ("sed", &["-u"]),
    ("gsed", &["-u"]),
    ("grep", &["--line-buffered"]),
    ("egrep", &["--line-buffered"]),
    ("jq", &["--unbuffered"]),
    ("mawk", &["-W", "interactive"]),
];

/// A remedy.
#[derive(Debug)]
pub struct Remedy {
    /// Its name in the report.
    pub name: String,
    /// The line to write in the configuration file.
    pub change: String,
    /// What to write on the command line instead, if that can say it.
    pub option: Option<String>,
    /// The pool with this remedy.
    pub settings: PoolSettings,
}

/// Returns the remedies against output that is held back, in the order to try them. `stdbuf`: its
/// path, if it is installed.
pub fn against_silence(pool: &PoolSettings, stdbuf: Option<&Path>) -> Vec<Remedy> {
    let launch = &pool.program.launch;
    let mut remedies = Vec::new();
    if let Some(options) = missing_options(launch) {
        let mut with = launch.clone();
        with.arguments.splice(0..0, options.iter().map(|option| (*option).to_owned()));
        remedies.push(Remedy::of_command(pool, options.join(" "), with));
    }
    if !is_python_unbuffered(launch) {
        let mut with = launch.clone();
        with.env.retain(|(name, _)| name != PYTHON);
        with.env.push((PYTHON.into(), "1".into()));
        let name = format!("{PYTHON}=1");
        let change = format!("env = {{ {PYTHON} = \"1\" }}");
        let option = Some(format!("`--env {name}`"));
        remedies.push(Remedy { name, change, option, settings: launched(pool, with) });
    }
    if let Some(stdbuf) = stdbuf {
        let (program, name) = (stdbuf.to_owned(), "stdbuf".to_owned());
        let mut with = LaunchSettings { program, name, ..launch.clone() };
        with.arguments.splice(0..0, ["-oL".to_owned(), launch.name.clone()]);
        remedies.push(Remedy::of_command(pool, "stdbuf -oL".to_owned(), with));
    }
    if !launch.tty {
        let mut with = launch.clone();
        with.tty = true;
        let change = "tty = true".to_owned();
        let settings = launched(pool, with);
        remedies.push(Remedy { name: change.clone(), change, option: None, settings });
    }
    remedies
}

/// Returns the change that most likely helps a program that holds its output back and cannot be
/// tried out, as a line of the configuration. `…` stands for the arguments of the command.
pub fn likeliest(pool: &PoolSettings, stdbuf: Option<&Path>) -> Option<String> {
    let launch = &pool.program.launch;
    let command = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let more = if launch.arguments.is_empty() { "" } else { ", …" };
        format!("command = [{}{more}]", words.join(", "))
    };
    if let Some(options) = missing_options(launch) {
        return Some(command(&[&[&*launch.name], options].concat()));
    }
    let is_script = Path::new(&launch.name).extension().is_some_and(|end| end == "py");
    if is_script && !is_python_unbuffered(launch) {
        return Some(format!("env = {{ {PYTHON} = \"1\" }}"));
    }
    if stdbuf.is_some() && !launch.name.ends_with("stdbuf") {
        return Some(command(&["stdbuf", "-oL", &launch.name]));
    }
    (!launch.tty).then(|| "tty = true".to_owned())
}

/// Returns the remedy of giving each process one question: it answers at the end of its input.
pub fn one_question(pool: &PoolSettings) -> Option<Remedy> {
    if !pool.program.start.hello.is_empty() || pool.program.wire.stream.is_some() {
        return None;
    }
    let mut settings = pool.clone();
    let wire = &mut settings.program.wire;
    wire.framing = Framings { send: Framing::Eof, reply: Framing::Eof };
    wire.matching = Matching::Order;
    wire.takes_turns = false;
    settings.program.start.probe = None;
    settings.rules.recycle.calls = Some(1);
    let change = "framing = \"eof\"".to_owned();
    let option = Some("`--framing eof`".to_owned());
    Some(Remedy { name: change.clone(), change, option, settings })
}

/// Returns options with which this program, if it is known, would write each line at once.
pub fn missing_options(launch: &LaunchSettings) -> Option<&'static [&'static str]> {
    let file = Path::new(&launch.name).file_name().and_then(|name| name.to_str())?;
    let (known, options) = OPTIONS.iter().find(|(known, _)| is_called(file, known))?;
    let is_python = matches!(*known, "python" | "pypy");
    let is_there = launch.arguments.iter().any(|argument| argument == options[0])
        || (is_python && is_python_unbuffered(launch));
    (!is_there).then_some(*options)
}

fn is_python_unbuffered(launch: &LaunchSettings) -> bool {
    launch.env.value(PYTHON).is_some_and(|value| !value.is_empty())
}

/// Returns the remedy of reading answers in this framing.
pub fn framed(pool: &PoolSettings, reply: &str) -> Option<Remedy> {
    let framing = Framing::parse(reply).ok()?;
    let wire = &pool.program.wire;
    let change = framing_change(&wire.framing.send, reply);
    // Both directions are framed alike: the command line has a word for that.
    let is_both = wire.framing.send == Framing::Line && framing == Framing::Turn;
    let option = is_both.then(|| format!("`--framing {reply}`"));
    let mut settings = pool.clone();
    settings.program.wire.takes_turns |= framing == Framing::Turn;
    settings.program.wire.framing.reply = framing;
    Some(Remedy { name: reply.to_owned(), change, option, settings })
}

/// Writes the framing of questions and answers as a line of the configuration file.
pub fn framing_change(send: &Framing, reply: &str) -> String {
    format!("framing = {{ send = {}, reply = {} }}", quoted(&send.to_string()), quoted(reply))
}

fn launched(pool: &PoolSettings, launch: LaunchSettings) -> PoolSettings {
    let mut settings = pool.clone();
    settings.program.launch = launch;
    settings
}

impl Remedy {
    /// Makes a remedy that changes the command.
    fn of_command(pool: &PoolSettings, name: String, launch: LaunchSettings) -> Self {
        let words = std::iter::once(&launch.name).chain(&launch.arguments);
        let words: Vec<String> = words.map(|word| quoted(word)).collect();
        let change = format!("command = [{}]", words.join(", "));
        let option = Some(format!("`-- {}`", launch.command_line()));
        Self { name, change, option, settings: launched(pool, launch) }
    }
}

/// Returns true if the file has this name, with or without a version: `python3.12` is `python`.
fn is_called(file: &str, name: &str) -> bool {
    let version = file.strip_prefix(name);
    version.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(name: &str, arguments: &[&str], stdbuf: bool) -> Vec<String> {
        let mut pool = PoolSettings::for_tests();
        let launch = &mut pool.program.launch;
        launch.name = name.to_owned();
        launch.arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let value = if name.contains("3.12") { "" } else { "1" };
        launch.env = vec![(PYTHON.into(), value.into())].into();
        let stdbuf = stdbuf.then_some(Path::new("/usr/bin/stdbuf"));
        against_silence(&pool, stdbuf).into_iter().map(|remedy| remedy.change).collect()
    }

    #[test]
    fn the_least_change_is_tried_first() {
        assert_eq!(
            changes("python3.12", &["a.py"], true),
            [
                r#"command = ["python3.12", "-u", "a.py"]"#,
                "env = { PYTHONUNBUFFERED = \"1\" }",
                r#"command = ["stdbuf", "-oL", "python3.12", "a.py"]"#,
                "tty = true"
            ]
        );
        assert_eq!(changes("/usr/bin/python3", &["-u", "a.py"], false), ["tty = true"]);
        assert_eq!(changes("pythonic", &[], false), ["tty = true"]);
    }

    #[test]
    fn the_likeliest_change_fits_the_program_and_tells_no_argument() {
        let stdbuf = Path::new("/usr/bin/stdbuf");
        let change = |name: &str, arguments: &[&str], stdbuf| {
            let mut pool = PoolSettings::for_tests();
            pool.program.launch.name = name.to_owned();
            pool.program.launch.arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
            likeliest(&pool, stdbuf).expect("a change")
        };
        let secret = &["-k", "secret"];
        assert_eq!(change("python3", secret, None), r#"command = ["python3", "-u", …]"#);
        assert_eq!(change("./a.py", secret, None), r#"env = { PYTHONUNBUFFERED = "1" }"#);
        assert_eq!(change("a", secret, Some(stdbuf)), r#"command = ["stdbuf", "-oL", "a", …]"#);
        assert_eq!(change("a", &[], Some(stdbuf)), r#"command = ["stdbuf", "-oL", "a"]"#);
        assert_eq!(change("a", secret, None), "tty = true");
        assert_eq!(change("stdbuf", secret, Some(stdbuf)), "tty = true");
    }
}
