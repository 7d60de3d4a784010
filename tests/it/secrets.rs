//! Logs and responses name the place and the reason of a problem, never the text of the file.

use crate::support::Server;

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];
const SECRET: &str = "hunter2";

/// A line that replaces `env = { A = "a" }`, and a part of the message about it.
const FAULTS: [(&str, &str); 8] = [
    ("env = { DB_PASSWORD = \"hunter2\", X = 1 }", "`X` must be a string or a table, not a number"),
    ("env = { X = [\"hunter2\"] }", "`X` must be a string or a table, not a list"),
    ("env = { \"A=hunter2\" = \"b\" }", "no process can be given this"),
    ("env = { A = \"hunter2 }", "this is not TOML"),
    ("env = { A = hunter2 }", "this is not TOML"),
    ("evn = { A = \"hunter2\" }", "did you mean `env`?"),
    ("hello = \"hunter2\"", "`hello` must be a list, not a string"),
    ("workrs = 2\nenv = { A = \"hunter2\" }", "did you mean `workers`?"),
];

fn log(server: &Server) -> String {
    server.log_lines().join("\n")
}

#[test]
fn a_refused_reload_says_where_and_why_without_the_text_of_the_file() {
    let server = Server::with("workers = 1\nenv = { A = \"a\" }").start();
    let mut now = "env = { A = \"a\" }";
    for (number, (fault, words)) in FAULTS.into_iter().enumerate() {
        server.rewrite(now, fault);
        now = fault;
        let refused = server.admin().later("POST", "/reload", OPERATOR, "").answer();
        assert_eq!(refused.status, 409, "{fault}: {refused:?}");
        assert!(refused.body.contains(words), "{fault}: {refused:?}");
        assert!(refused.body.contains("httpipe.toml:5:"), "{fault}: {refused:?}");
        assert!(!refused.body.contains(SECRET), "{fault}: {refused:?}");
        server.signal("HUP");
        let refusals = |s: &Server| log(s).matches("not reloaded").count();
        server.wait_until("it is refused again", |s| refusals(s) == number + 1);
        assert!(log(&server).contains(words), "{fault}: {}", log(&server));
    }
    server.rewrite(now, "env = { A = \"a\" }");
    assert_eq!(server.answers("env A").body, "a");
    assert!(!log(&server).contains(SECRET), "{}", log(&server));
}

#[test]
fn arguments_of_a_program_are_not_logged() {
    let server = Server::with("workers = 1").worker("demo-worker --crash-on hunter2").start();
    server.wait_for_log("running");
    assert!(!log(&server).contains(SECRET), "{}", log(&server));
}

/// Under systemd and in containers the log is what is written to stderr.
#[test]
fn a_refused_start_writes_no_secrets_into_what_is_not_a_terminal() {
    for (fault, words) in FAULTS {
        let ended = Server::with(fault).refused();
        let words =
            words.replace("no process can be given this", "cannot be put into an environment");
        assert!(ended.stderr.contains(&words), "{fault}: {}", ended.stderr);
        assert!(!ended.stderr.contains(SECRET), "{fault}: {}", ended.stderr);
    }
}
