//! Remedies against output that a program holds back.
//!
//! Pure. Each remedy is another way to launch the program; `check` tries it before it
//! recommends it.

use std::path::Path;

use super::framings::quoted;
use crate::config::LaunchSettings;

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
pub(super) struct Remedy {
    /// Its name in the report.
    pub(super) name: String,
    /// The line to write in the configuration file.
    pub(super) change: String,
    /// The new command line; `None`: the command stays the same.
    pub(super) command: Option<String>,
    /// How to launch the program with this remedy.
    pub(super) launch: LaunchSettings,
}

/// Returns the remedies for this program in the order to try them. `stdbuf`: its path, if it is
/// installed.
pub(super) fn remedies(launch: &LaunchSettings, stdbuf: Option<&Path>) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let file = Path::new(&launch.name).file_name().and_then(|name| name.to_str());
    let known = OPTIONS.iter().find(|(name, _)| file.is_some_and(|file| is_called(file, name)));
    if let Some((_, options)) = known
        && !launch.arguments.iter().any(|argument| argument == options[0])
    {
        let mut with = launch.clone();
        with.arguments.splice(0..0, options.iter().map(|option| (*option).to_owned()));
        remedies.push(Remedy::of_command(options.join(" "), with));
    }
    if let Some(stdbuf) = stdbuf {
        let (program, name) = (stdbuf.to_owned(), "stdbuf".to_owned());
        let mut with = LaunchSettings { program, name, ..launch.clone() };
        with.arguments.splice(0..0, ["-oL".to_owned(), launch.name.clone()]);
        remedies.push(Remedy::of_command("stdbuf -oL".to_owned(), with));
    }
    if !launch.tty {
        let mut with = launch.clone();
        with.tty = true;
        let change = "tty = true".to_owned();
        remedies.push(Remedy { name: change.clone(), change, command: None, launch: with });
    }
    remedies
}

impl Remedy {
    /// Makes a remedy that changes the command.
    fn of_command(name: String, launch: LaunchSettings) -> Self {
        let words = std::iter::once(&launch.name).chain(&launch.arguments);
        let words: Vec<String> = words.map(|word| quoted(word)).collect();
        let change = format!("command = [{}]", words.join(", "));
        Self { name, change, command: Some(command(&launch)), launch }
    }
}

/// Writes the program and its arguments as a shell command.
pub(super) fn command(launch: &LaunchSettings) -> String {
    let words = std::iter::once(&launch.name).chain(&launch.arguments);
    let words: Vec<String> = words.map(|word| shell_word(word)).collect();
    words.join(" ")
}

/// Quotes a text as one word of a shell.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=,:+@%".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.contains(char::is_control) {
        return format!("$'{}'", text.escape_debug());
    }
    format!("'{}'", text.replace('\'', "'\\''"))
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
        let launch = LaunchSettings {
            program: "/usr/bin/it".into(),
            name: name.to_owned(),
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            dir: "/".into(),
            env: Vec::new(),
            tty: false,
        };
        let stdbuf = stdbuf.then_some(Path::new("/usr/bin/stdbuf"));
        remedies(&launch, stdbuf).into_iter().map(|remedy| remedy.change).collect()
    }

    #[test]
    fn the_least_change_is_tried_first() {
        assert_eq!(
            changes("python3.12", &["a.py"], true),
            [
                r#"command = ["python3.12", "-u", "a.py"]"#,
                r#"command = ["stdbuf", "-oL", "python3.12", "a.py"]"#,
                "tty = true"
            ]
        );
        assert_eq!(changes("/usr/bin/python3", &["-u", "a.py"], false), ["tty = true"]);
        assert_eq!(changes("pythonic", &[], false), ["tty = true"]);
    }
}
