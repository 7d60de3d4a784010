//! `httpipe tap`: what goes through the pipes of workers, as lines.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Over, Server, Terminal, shell};

fn is_tapped(server: &Server) {
    server.wait_until("somebody taps", |server| server.status()["taps"] == 1);
}

#[test]
fn a_tap_shows_questions_and_answers_and_ends_at_ctrl_c() {
    let server = Server::with("workers = 1").start();
    let mut terminal = Terminal::run(&server, &["tap", &server.admin_url()], (120, 40));
    is_tapped(&server);
    assert_eq!(server.answers("hello \x1b[2J").status, 200);
    let shown = terminal.wait_for("ok after");
    for part in ["→", "POST /", "hello ␛[2J␊", "←", "= ", "answer, "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!terminal.written().contains("\x1b[2J"), "{shown}");
    terminal.signal("INT");
    assert_eq!(terminal.exit_code(), 0);
    server.wait_until("the tap is gone", |server| server.status()["taps"] == 0);
    assert!(server.wait_for_log("reads what workers are asked").contains("the operator's key"));
}

#[test]
fn without_the_key_letters_are_masked_and_that_is_said() {
    let server = Server::with("workers = 1").start();
    let nowhere = server.dir().join("nowhere");
    let nowhere = format!("XDG_RUNTIME_DIR={}", nowhere.display());
    let line = format!("exec env {nowhere} \"$@\" tap {}", server.admin_url());
    let command = ["sh", "-c", &line, "sh"];
    let terminal = Terminal::under(&server, &command, (120, 40));
    is_tapped(&server);
    assert_eq!(server.answers("Secret 42").status, 200);
    let shown = terminal.wait_for("ok after");
    assert!(shown.contains("masked") && shown.contains("aaaaaa 99"), "{shown}");
    assert!(!shown.contains("Secret") && !shown.contains("42␊"), "{shown}");
}

#[test]
fn a_tap_ends_when_nobody_reads_its_lines() {
    let server = Server::with("workers = 1").start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(server.answers("a").status, 200);
            }
        });
        let (binary, dir) = (env!("CARGO_BIN_EXE_httpipe"), server.dir().display());
        let line =
            format!("XDG_RUNTIME_DIR={dir} {binary} tap --json {} | head -n 1", server.admin_url());
        let (code, line) = shell(&line);
        assert_eq!(code, 0, "{line}");
        let event: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(event["pool"], "main");
    });
    server.wait_until("the tap is gone", |server| server.status()["taps"] == 0);
}
