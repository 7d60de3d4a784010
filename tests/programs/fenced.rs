//! Every example in a sandbox: it works there, or `check` says what it misses.

use crate::serve::environment;
use crate::support::{Server, shell, skipped};

/// Examples that need no more than every program in a sandbox may use.
const CONTENT: [&str; 22] = [
    "addr2line",
    "cs2cs",
    "cxxfilt",
    "dot",
    "exiftool",
    "factor",
    "fib",
    "gawk",
    "gp",
    "hunspell",
    "inet_gethost",
    "jq",
    "native-messaging",
    "pandoc",
    "sed",
    "sed-nul",
    "sort",
    "sqlite3",
    "squid-auth",
    "squid-rewrite",
    "units",
    "xargs",
];

/// Examples whose dictionaries are where no program of a sandbox may read, and the line for them.
const WANTING: [(&str, &str); 2] = [
    ("aspell", "sandbox = { read = [\"/var/lib/aspell/"),
    ("mecab", "sandbox = { read = [\"/var/lib/mecab/"),
];

/// Returns how `httpipe check` ends in the directory of an example, and what it says.
fn checked(name: &str, options: &str) -> (i32, String) {
    let (path, python) = environment();
    let (root, binary) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_httpipe"));
    shell(&format!(
        "cd '{root}/examples/{name}' && PATH='{path}' PYTHONPATH='{python}' '{binary}' check {options} 2>&1"
    ))
}

/// Returns true if the program is there, and this kernel has sandboxes. Else the example is skipped.
fn is_ready(name: &str) -> bool {
    let (code, told) = checked(name, "");
    if code != 0 {
        assert!(!told.contains("panicked"), "{name}: {told}");
        skipped(
            &format!("{name}: its program is missing"),
            "tests/programs/install.sh installs it",
        );
    }
    code == 0
}

#[test]
fn examples_work_in_a_sandbox_or_are_told_what_to_allow() {
    if checked("sed", "--sandbox").1.contains("no Landlock") {
        return skipped("this kernel has no Landlock", "it takes Linux 5.13");
    }
    for name in CONTENT.into_iter().filter(|name| is_ready(name)) {
        let (code, told) = checked(name, "--sandbox");
        assert_eq!(code, 0, "{name}: {told}");
    }
    let has_strace = shell("command -v strace").0 == 0;
    for (name, line) in WANTING.into_iter().filter(|(name, _)| is_ready(name)) {
        let (code, told) = checked(name, "--sandbox");
        assert_eq!(code, 2, "{name}: {told}");
        assert!(told.contains("works without its sandbox"), "{name}: {told}");
        assert!(!has_strace || told.contains(line), "{name}: {told}");
    }
}

const NUMPY: &str = "
import sys, numpy
for line in sys.stdin:
    print(numpy.linalg.inv(numpy.eye(int(line))).sum(), flush=True)
";

/// It makes threads, and looks at the processor.
#[test]
fn numpy_works_in_a_sandbox() {
    let (path, python) = environment();
    if !std::fs::exists(format!("{python}/numpy")).unwrap_or(false) {
        return skipped("numpy is missing", "tests/programs/install.sh installs it");
    }
    if checked("sed", "--sandbox").1.contains("no Landlock") {
        return skipped("this kernel has no Landlock", "it takes Linux 5.13");
    }
    let server = Server::with(&format!("workers = 1\nsandbox = {{ read = [{python:?}] }}"))
        .worker("python3 numbers_.py")
        .file("numbers_.py", NUMPY)
        .env("PATH", &path)
        .env("PYTHONPATH", &python)
        .start();
    assert_eq!(server.answers("200").body, "200.0");
}
