//! The stderr of workers goes into the log, with the name of the pool, within limits.

use std::time::Duration;

use crate::support::Server;

#[test]
fn a_workers_words_are_in_the_log_under_its_pools_name() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("stderr hello log").status, 200);
    let line = server.wait_for_log("stderr hello log");
    assert!(line.contains("main"), "{line}");
}

#[test]
fn a_flood_neither_stalls_the_worker_nor_fills_the_log() {
    let server = Server::with("workers = 1").start();
    let answer = server.answers("stderr-flood 10MiB a");
    assert_eq!(answer.body, "stderr-flood 10MiB a");
    assert!(answer.is_within(Duration::from_secs(8)), "{answer:?}");
    assert_eq!(server.answers("stderr marker").status, 200);
    let lines = server.log_lines();
    let flood = lines.iter().filter(|line| line.contains("eeeeeeee")).count();
    assert!(flood < 10_000, "{flood} lines of the flood are in the log");
    assert!(lines.iter().all(|line| line.len() < 64 * 1024));
}

#[test]
fn control_characters_cannot_change_the_look_of_the_log() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("stderr \u{1b}[31mred").status, 200);
    server.wait_for_log("red");
    assert!(server.log_lines().iter().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn a_process_that_leaves_the_group_and_keeps_stderr_costs_no_descriptor() {
    // It lacks the mark of this test. Only the file ends it, or the end of half a minute.
    let stray = "for n in $(seq 300); do [ -e over ] && exit; sleep 0.1; done";
    let program = format!(
        "while read -r x; do env -u TEST_SERVER setsid sh -c '{stray}' </dev/null >/dev/null & \
         echo \"$x\"; exit 3; done"
    );
    let server =
        Server::with("workers = 1").worker("sh leaves.sh").file("leaves.sh", &program).start();
    let before = server.descriptors();
    for round in 0..5 {
        server.wait_until("the next one answers", |s| s.answers(&round.to_string()).status == 200);
    }
    server.wait_until("none is held for them", |s| s.descriptors() <= before);
    server.put("over");
}

/// Writes the question to stderr, as `printf` takes it, and then answers with it.
const COMPLAINS: &str = "while read -r x; do printf -- \"$x\" >&2; printf '%s\\n' \"$x\"; done";

/// A worker that cannot write its complaint cannot answer either.
#[test]
fn a_line_without_an_end_neither_stalls_the_worker_nor_fills_the_log_or_the_memory() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("warm").status, 200);
    let memory = server.memory();
    for round in 0..3 {
        let question = format!("stderr-endless 10MiB {round}");
        let answer = server.answers(&question);
        assert_eq!((answer.status, &answer.body), (200, &question));
        assert!(answer.is_within(Duration::from_secs(8)), "{answer:?}");
    }
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more");
    // This ends the long line, of which only the beginning is kept.
    assert_eq!(server.answers("stderr end").status, 200);
    let cut = server.wait_for_log("eeeeeeee");
    assert!(cut.contains("(cut)"), "{cut}");
    assert_eq!(server.answers("stderr after").status, 200);
    server.wait_for_log("\"line\":\"stderr after\"");
    let lines = server.log_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("eeee")).count(), 1, "one line is one");
    assert!(lines.iter().all(|line| line.len() < 8 * 1024), "and not a long one");
}

/// Texts that control a terminal, end a line or look like another line of the log, and how the log
/// shows them.
const DISGUISED: [(&str, &str); 7] = [
    (r"\033[31mred\033[0m\n", r"\u{1b}[31mred\u{1b}[0m"),
    (r"\033]0;title\007\033[2J\n", r"\u{1b}]0;title\u{7}\u{1b}[2J"),
    (r"one\rtwo\n", r"one\rtwo"),
    (r"\302\233 31m\n", r"\u{9b} 31m"),
    (r"\342\200\256evil\n", r"\u{202e}evil"),
    (r"\342\200\250separated\n", r"\u{2028}separated"),
    (r"\000 and \177\n", r"\u{0} and \u{7f}"),
];

fn disguises_are_shown(server: &Server, as_json: bool) {
    for (written, shown) in DISGUISED {
        let answer = server.answers(written);
        assert_eq!((answer.status, answer.body.as_str()), (200, written));
        // In quotes, in either format, where a backslash is doubled.
        server.wait_for_log(&shown.replace('\\', "\\\\"));
    }
    let forged = r#"\n{"level":"error","message":"forged"}\n"#;
    assert_eq!(server.answers(forged).status, 200);
    server.wait_for_log("forged");
    for line in server.log_lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if as_json {
            let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
            assert_ne!(line["message"], "forged", "a worker's line is a field of ours");
        } else {
            assert!(line.starts_with("20"), "it begins with the time: {line:?}");
        }
    }
}

#[test]
fn nothing_that_a_worker_writes_is_a_line_or_a_command_of_its_own() {
    let complains = || Server::with("workers = 1").worker("sh says").file("says", COMPLAINS);
    disguises_are_shown(&complains().start(), true);
    let text = complains()
        .top("listen = \"unix:callers\"\nadmin = \"unix:operators\"\nlog = { format = \"text\" }")
        .start_mute("unix:callers", "unix:operators");
    text.wait_until("it listens", |s| !s.client().is_refused() && !s.admin().is_refused());
    text.wait_until_ready();
    disguises_are_shown(&text, false);
}

#[test]
fn the_log_says_how_much_of_a_last_flood_was_left_out() {
    let script = "import os, sys\n\
                  for line in sys.stdin:\n    \
                  os.write(2, b'e\\n' * 1000)\n    sys.exit(3)";
    let server = Server::with("workers = 1\nretries = 0")
        .worker("python3 w.py")
        .file("w.py", script)
        .start();
    server.answers("a");
    let line = server.wait_for_log("lines on stderr were left out");
    assert!(line.contains("\"lines\":800"), "{line}");
}
