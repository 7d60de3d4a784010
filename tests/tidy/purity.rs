//! Pure files: those whose header says `Pure`. They have no clock, no randomness and no I/O.

use crate::paths::Source;
use crate::source::{shipped, tokens};

/// What a pure file may not name, whatever it calls it. One name is a whole crate.
const IMPURE_PATHS: &[&[&str]] = &[
    &["std", "*"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "hash", "RandomState"],
    &["std", "io", "stderr"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "os"],
    &["std", "process"],
    &["std", "sync", "mpsc"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["fastrand"],
    &["getrandom"],
    &["hyper_util"],
    &["libc"],
    &["rand"],
    &["rustix"],
    &["tokio"],
    &["tokio_util"],
    &["tracing"],
];

/// What a pure file may not call, as a method or as the last name of a path.
const IMPURE_CALLS: &[&str] = &["now", "elapsed", "spawn", "spawn_local", "sleep", "random"];

/// Macros that read, write or log.
const IMPURE_MACROS: &[&str] = &[
    "dbg",
    "debug",
    "eprint",
    "eprintln",
    "error",
    "event",
    "info",
    "print",
    "println",
    "trace",
    "thread_local",
    "warn",
];

pub(crate) fn impurities(path: &str, text: &str) -> Vec<String> {
    if !says_pure(text) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for names in Source::read(path, text).absolute_paths() {
        let is_banned = |banned: &&&[&str]| {
            names.len() >= banned.len() && names.iter().zip(**banned).all(|(a, b)| a == b)
        };
        if IMPURE_PATHS.iter().any(|banned| is_banned(&banned)) {
            found.push(names.join("::"));
        }
    }
    let code = shipped(path, text);
    let tokens = tokens(&code);
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", |before| tokens[before]);
        let after = tokens.get(index + 1).copied().unwrap_or_default();
        if IMPURE_CALLS.contains(token) && matches!(before, "." | "::") && after != "::" {
            found.push(format!("{before}{token}"));
        }
        if IMPURE_MACROS.contains(token) && after == "!" {
            found.push(format!("{token}!"));
        }
        if *token == "unsafe" || (*token == "static" && after == "mut") {
            found.push((*token).to_owned());
        }
    }
    found.sort();
    found.dedup();
    found.iter().map(|what| format!("says it is pure and uses `{what}`")).collect()
}

/// Returns true if the header has `Pure` as a word of its own.
fn says_pure(text: &str) -> bool {
    let header = text.lines().take_while(|line| line.starts_with("//!"));
    header
        .into_iter()
        .any(|line| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Pure"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURE: &str = "//! Sums.\n//!\n//! Pure: no clock, no `tokio::`.\n\n";

    fn refused(code: &str) -> bool {
        !impurities("src/policy/x.rs", &format!("{PURE}{code}")).is_empty()
    }

    #[test]
    fn each_word_is_refused() {
        for path in IMPURE_PATHS {
            let written = path.join("::");
            for code in [format!("use {written};"), format!("fn f() {{ {written}::g(); }}")] {
                let is_possible = path.len() > 1 || !code.starts_with("fn");
                assert!(!is_possible || written.contains('*') || refused(&code), "{code}");
            }
        }
        for call in IMPURE_CALLS {
            assert!(refused(&format!("fn f() {{ x.{call}() }}")), "{call}");
            assert!(refused(&format!("fn f() {{ g(Thing::{call}) }}")), "{call}");
        }
        for name in IMPURE_MACROS {
            assert!(refused(&format!("fn f() {{ {name}!(\"x\") }}")), "{name}");
        }
    }

    #[test]
    fn sabotage_is_seen_however_it_is_written() {
        for code in [
            "fn f() { std::time::Instant::now(); }",
            "use std::time::Instant as Clock; fn f() { Clock::now(); }",
            "fn f(since: Instant) { since.elapsed(); }",
            "use std::{env, time::Duration}; fn f() { env::var(\"x\"); }",
            "use std::fs as disk;",
            "use std as s; fn f() { s::fs::read(\"x\"); }",
            "use std::*; fn f() { fs::read(\"x\"); }",
            "fn f() { fastrand::u64(..); }",
            "use fastrand::u64 as number;",
            "fn f() { std::thread::spawn(|| ()); }",
            "fn f(scope: &Scope) { scope.spawn(|| ()); }",
            "use std::time::{self, SystemTime};",
            "fn f() { tokio::spawn(g()); }",
            "fn f() { ::tokio::spawn(g()); }",
            "fn f() { tracing::info!(\"x\"); }",
            "fn f() { warn!(\"x\"); }",
            "mod inside { pub fn f() { std::process::id(); } }",
            "#[cfg(test)]\nmod tests {}\nfn f() { std::process::id(); }",
            "static mut COUNT: u64 = 0;",
        ] {
            assert!(refused(code), "{code}");
        }
    }

    #[test]
    fn what_is_pure_is_left_alone() {
        for code in [
            "// tokio::spawn\nconst A: &str = \"tokio::\";",
            "fn f(now: Instant, later: impl Fn() -> Instant) { later() - now }",
            "fn f(address: std::net::Ipv6Addr, brand: rand_like::X) {}",
            "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }",
            "fn info() { self.info() }",
            "use std::sync::Mutex; use std::io;",
            "use crate::worker::process::Exit;",
        ] {
            assert!(!refused(code), "{code}");
        }
    }

    #[test]
    fn however_a_header_says_it() {
        let code = "\nfn f() { std::process::id(); }";
        for header in ["Pure: no clock.", "Sums. Pure.", "Pure, with one lock.", "Pure"] {
            assert_eq!(impurities("src/x.rs", &format!("//! {header}{code}")).len(), 1, "{header}");
        }
        assert!(impurities("src/x.rs", &format!("//! Not for Purely{code}")).is_empty());
    }
}
