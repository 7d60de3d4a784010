//! What may free the output that a program holds back.
//!
//! Pure: each remedy is a way to launch the program that is tried before it is recommended.

use std::path::Path;

use super::framings::quoted;
use crate::config::LaunchSettings;

/// Options of programs that write each line at once if told to.
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

/// One thing to try.
#[derive(Debug)]
pub(super) struct Remedy {
    /// What it is called.
    pub(super) name: String,
    /// What to write in the file.
    pub(super) change: String,
    /// The program with it.
    pub(super) launch: LaunchSettings,
}

/// What to try for this program, in this order. `stdbuf`: where that is, if there is one.
pub(super) fn remedies(launch: &LaunchSettings, stdbuf: Option<&Path>) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let file = Path::new(&launch.name).file_name().and_then(|name| name.to_str());
    let known = OPTIONS.iter().find(|(name, _)| file.is_some_and(|file| is_called(file, name)));
    if let Some((_, options)) = known
        && !launch.arguments.iter().any(|argument| argument == options[0])
    {
        let mut with = launch.clone();
        with.arguments.splice(0..0, options.iter().map(|option| (*option).to_owned()));
        remedies.push(Remedy { name: options.join(" "), change: command(&with), launch: with });
    }
    if let Some(stdbuf) = stdbuf {
        let mut with = launch.clone();
        with.program = stdbuf.to_owned();
        with.name = "stdbuf".to_owned();
        with.arguments.splice(0..0, ["-oL".to_owned(), launch.name.clone()]);
        let name = "stdbuf -oL".to_owned();
        remedies.push(Remedy { name, change: command(&with), launch: with });
    }
    if !launch.tty {
        let mut with = launch.clone();
        with.tty = true;
        let change = "tty = true".to_owned();
        remedies.push(Remedy { name: change.clone(), change, launch: with });
    }
    remedies
}

/// `python3.12` is called python.
fn is_called(file: &str, name: &str) -> bool {
    let version = file.strip_prefix(name);
    version.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

fn command(launch: &LaunchSettings) -> String {
    let words = std::iter::once(&launch.name).chain(&launch.arguments);
    let words: Vec<String> = words.map(|word| quoted(word)).collect();
    format!("command = [{}]", words.join(", "))
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
