//! What a sandbox refused a program, read from the lines of `strace`, and what would allow it.
//!
//! Pure: whether a file can be used outside of the sandbox is an argument.

use std::path::{Path, PathBuf};

/// How many things are named at most: the last ones, which are as a rule those that hurt.
const SHOWN_MOST: usize = 3;

/// Something that a sandbox refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FenceDenial {
    /// To read, list or execute this.
    Read(PathBuf),
    /// To write or create this.
    Write(PathBuf),
    /// To use the network.
    Network,
    /// A system call, which no line of the configuration allows.
    Call(String),
}

/// How a file may be used outside of the sandbox.
pub(super) trait Outside {
    /// Returns true if it can be read.
    fn reads(&self, path: &Path) -> bool;
    /// Returns true if it can be written or made.
    fn writes(&self, path: &Path) -> bool;
    /// Returns the path without links and detours.
    fn real(&self, path: &Path) -> PathBuf;
}

/// Returns what was refused, in order and each once. `dir` is where the program runs.
pub(super) fn denials(log: &str, dir: &Path, outside: &impl Outside) -> Vec<FenceDenial> {
    let mut found: Vec<FenceDenial> = Vec::new();
    for denial in log.lines().filter_map(|line| denial(line, dir, outside)) {
        found.retain(|other| *other != denial);
        found.push(denial);
    }
    found.split_off(found.len().saturating_sub(SHOWN_MOST))
}

/// Returns the words that allow these, for the table of `sandbox`; `None`: nothing does.
pub(super) fn remedy(denials: &[FenceDenial]) -> Option<String> {
    let list = |key: &str, paths: Vec<&PathBuf>| {
        let texts = paths.iter().map(|path| format!("{:?}", path.display().to_string()));
        let texts = texts.collect::<Vec<_>>().join(", ");
        (!texts.is_empty()).then(|| format!("{key} = [{texts}]"))
    };
    let of =
        |wanted: fn(&FenceDenial) -> Option<&PathBuf>| denials.iter().filter_map(wanted).collect();
    let read = of(|it| if let FenceDenial::Read(path) = it { Some(path) } else { None });
    let write = of(|it| if let FenceDenial::Write(path) = it { Some(path) } else { None });
    let network = denials.contains(&FenceDenial::Network).then(|| "network = true".to_owned());
    let words: Vec<_> =
        [list("read", read), list("write", write), network].into_iter().flatten().collect();
    (!words.is_empty()).then(|| format!("sandbox = {{ {} }}", words.join(", ")))
}

/// Reads `12 openat(AT_FDCWD, "/a", O_RDONLY) = -1 EACCES (Permission denied)`.
fn denial(line: &str, dir: &Path, outside: &impl Outside) -> Option<FenceDenial> {
    let (call, result) = line.rsplit_once(" = -1 ")?;
    if !result.starts_with("EACCES") && !result.starts_with("EPERM") {
        return None;
    }
    let call = call.trim_start_matches(|sign: char| sign.is_ascii_digit()).trim_start();
    let (name, arguments) = call.split_once('(')?;
    let path = quoted(arguments).map(|path| dir.join(path));
    match (name, path) {
        // Programs ask for it to read a password, and do without.
        (_, Some(path)) if path == Path::new("/dev/tty") => None,
        ("socket" | "connect" | "bind", _) => Some(FenceDenial::Network),
        (_, Some(path)) => {
            let makes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
            let is_open = name.starts_with("open");
            let only_reads = ["execve", "readlink", "chdir", "access", "stat"];
            let writes = if is_open {
                makes.iter().any(|flag| arguments.contains(flag))
            } else {
                !only_reads.iter().any(|known| name.contains(known))
            };
            if !writes {
                return outside.reads(&path).then(|| FenceDenial::Read(outside.real(&path)));
            }
            let place = || FenceDenial::Write(outside.real(&existing(&path, outside)));
            outside.writes(&path).then(place)
        }
        (_, None) => Some(FenceDenial::Call(name.to_owned())),
    }
}

/// Returns the file, or the directory in which it would be made.
fn existing(path: &Path, outside: &impl Outside) -> PathBuf {
    match path.parent() {
        Some(parent) if !outside.reads(path) => parent.to_owned(),
        _ => path.to_owned(),
    }
}

/// Returns the first text in quotes; `None` if it was cut or has signs that are written as others.
fn quoted(arguments: &str) -> Option<&str> {
    let (_, rest) = arguments.split_once('"')?;
    let (text, after) = rest.split_once('"')?;
    (!text.contains('\\') && !after.starts_with("...")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outside of the sandbox all below `/srv` can be used, and what is called `new` is not there.
    struct Srv;

    impl Outside for Srv {
        fn reads(&self, path: &Path) -> bool {
            path.starts_with("/srv") && !path.ends_with("new")
        }

        fn writes(&self, path: &Path) -> bool {
            path.starts_with("/srv")
        }

        fn real(&self, path: &Path) -> PathBuf {
            path.to_owned()
        }
    }

    fn found(log: &str) -> Vec<FenceDenial> {
        denials(log, Path::new("/srv/app"), &Srv)
    }

    #[test]
    fn what_the_sandbox_alone_refuses_is_found() {
        let denied = "= -1 EACCES (Permission denied)";
        for (call, expected) in [
            (
                "openat(AT_FDCWD, \"/srv/words\", O_RDONLY|O_CLOEXEC)",
                Some(FenceDenial::Read("/srv/words".into())),
            ),
            (
                "openat(AT_FDCWD, \"words\", O_RDONLY)",
                Some(FenceDenial::Read("/srv/app/words".into())),
            ),
            (
                "openat(AT_FDCWD, \"/srv/out/new\", O_WRONLY|O_CREAT, 0666)",
                Some(FenceDenial::Write("/srv/out".into())),
            ),
            (
                "openat(AT_FDCWD, \"/srv/out/log\", O_WRONLY|O_APPEND)",
                Some(FenceDenial::Write("/srv/out/log".into())),
            ),
            ("mkdir(\"/srv/new\", 0777)", Some(FenceDenial::Write("/srv".into()))),
            (
                "execve(\"/srv/tool\", [\"tool\"], 0x7ff /* 3 vars */)",
                Some(FenceDenial::Read("/srv/tool".into())),
            ),
            ("socket(AF_INET, SOCK_STREAM, IPPROTO_IP)", Some(FenceDenial::Network)),
            (
                "perf_event_open(0x7f, 0, -1, -1, 0)",
                Some(FenceDenial::Call("perf_event_open".into())),
            ),
            ("openat(AT_FDCWD, \"/dev/tty\", O_RDWR)", None),
            ("openat(AT_FDCWD, \"/root/.config\", O_RDONLY)", None),
        ] {
            let line = format!("123  {call} {denied}");
            assert_eq!(found(&line), expected.into_iter().collect::<Vec<_>>(), "{call}");
        }
        assert_eq!(
            found("1 openat(AT_FDCWD, \"/srv/x\", O_RDONLY) = -1 ENOENT (No such file)"),
            []
        );
        assert_eq!(found("garbage = -1 EACCES"), []);
    }

    #[test]
    fn the_line_to_add_has_the_last_three_things_each_once() {
        let open = |path: &str| {
            format!(
                "7 openat(AT_FDCWD, \"/srv/{path}\", O_RDONLY) = -1 EACCES (Permission denied)\n"
            )
        };
        let mut log: String = ["a", "b", "c", "b"].into_iter().map(open).collect();
        log.push_str("7 socket(AF_INET, SOCK_DGRAM, 0) = -1 EACCES (Permission denied)\n");
        let line = remedy(&found(&log)).expect("there is one");
        assert_eq!(line, "sandbox = { read = [\"/srv/c\", \"/srv/b\"], network = true }");
        assert_eq!(remedy(&[FenceDenial::Call("bpf".into())]), None);
    }
}
