//! Files that are no configuration, or far too much of one: said at once, and nobody waits.

use std::time::Duration;

use crate::support::{Answer, Server, shell};

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];

fn reload(server: &Server) -> Answer {
    server.admin().later("POST", "/reload", OPERATOR, "").answer()
}

/// A server whose configuration was replaced by what this command makes of the path `$0`.
fn replaced(command: &str) -> Server {
    let server = Server::with("workers = 1").start();
    let path = server.dir().join("httpipe.toml");
    let (code, said) = shell(&format!("rm -f {0}; sh -c '{command}' {0}", path.display()));
    assert_eq!(code, 0, "{said}");
    server
}

#[test]
fn what_is_no_file_or_no_text_is_refused_without_a_wait() {
    for (command, words) in [
        ("mkfifo $0", "is not a regular file"),
        ("mkdir $0", "is a directory, not a file"),
        ("truncate -s 1500M $0", "is larger than 16 MiB"),
        ("printf \"# \\\\351\\\\n\" > $0", "is not UTF-8 in line 1"),
        ("true", "No such file or directory"),
    ] {
        let server = replaced(command);
        let before = server.memory();
        let refused = reload(&server);
        assert_eq!(refused.status, 409, "{command}: {refused:?}");
        assert!(refused.body.contains(words), "{command}: {refused:?}");
        let grown = server.memory().saturating_sub(before);
        assert!(grown < 64 << 20, "{command}: {grown} bytes");
        assert_eq!(server.answers("still here").body, "still here");
    }
}

#[test]
fn a_stop_is_heeded_whatever_the_configuration_has_become() {
    let mut server = replaced("mkfifo $0");
    server.signal("HUP");
    server.wait_for_log("is not a regular file");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
}

/// The first hundred problems are shown, each with no more of the file than its line.
#[test]
fn ten_thousand_problems_take_no_time_of_callers() {
    let server = replaced("seq -f \"key%.0f = 1\" 10000 > $0");
    let refused = reload(&server);
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("and 9900 more"), "{refused:?}");
    assert!(refused.is_within(Duration::from_secs(1)), "{:?}", refused.took);
    assert_eq!(server.answers("still here").body, "still here");
}

#[test]
fn more_routes_than_there_are_numbers_for_are_a_problem() {
    let server = Server::with("workers = 1").start();
    let route = |number| format!("[[route]]\nmatch = \"GET /{number}\"\ntext = \"a\"\n");
    let text: String = (0..65_540).map(route).collect();
    std::fs::write(server.dir().join("httpipe.toml"), text).expect("the file can be written");
    let refused = reload(&server);
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("there are 65540 routes; 65536"), "{refused:?}");
}
