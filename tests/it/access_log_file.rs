//! Requests that are logged in a file of their own: moved, emptied, deleted, full, unreadable.

use serde_json::Value;

use crate::support::{Plan, Server, shell, skipped};

fn logged(name: &str) -> Plan {
    Server::with("workers = 1").top(&format!("log = {{ access = \"{name}\" }}"))
}

/// Asks once, under this id.
fn ask(server: &Server, id: &str) {
    let id = format!("X-Request-Id: {id}");
    assert_eq!(server.client().request("POST", "/", &[&id], "hello").status, 200);
}

/// Returns the ids in the lines of a file. Each line must be whole.
fn ids(server: &Server, name: &str) -> Vec<String> {
    if !server.has(name) {
        return vec![];
    }
    let id = |line: &str| {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        line["request_id"].as_str().expect("an id").to_owned()
    };
    server.read(name).lines().map(id).collect()
}

fn wait_for(server: &Server, name: &str, wanted: &[&str]) {
    server.wait_until(&format!("{wanted:?} are there"), |server| ids(server, name) == wanted);
}

fn lost(server: &Server) -> f64 {
    server.metric("httpipe_access_log_dropped_total")
}

#[test]
fn lines_go_to_the_file_and_nowhere_else() {
    let server = logged("requests.log").start();
    ask(&server, "one");
    ask(&server, "two");
    wait_for(&server, "requests.log", &["one", "two"]);
    assert!(server.log_lines().iter().all(|line| !line.contains("\"one\"")));
    let (_, mode) = shell(&format!("stat -c %a '{}/requests.log'", server.dir().display()));
    assert!(mode.starts_with('6') && mode.trim().ends_with('0'), "not for everybody: {mode}");
}

#[test]
fn what_is_in_the_file_stays_and_the_command_line_may_name_it() {
    let server = Server::with("workers = 1")
        .file("old.log", "{\"request_id\":\"before\"}\n")
        .option("--log-access")
        .option("/proc/self/cwd/old.log")
        .start();
    ask(&server, "one");
    wait_for(&server, "old.log", &["before", "one"]);
}

#[test]
fn a_moved_file_is_left_at_a_hang_up_and_no_line_is_lost() {
    let server = logged("requests.log").start();
    ask(&server, "one");
    wait_for(&server, "requests.log", &["one"]);
    let rename = format!("cd '{}' && mv requests.log requests.log.1", server.dir().display());
    assert_eq!(shell(&rename).0, 0);
    ask(&server, "two");
    wait_for(&server, "requests.log.1", &["one", "two"]);
    server.signal("HUP");
    server.wait_until("a new file is there", |server| server.has("requests.log"));
    ask(&server, "three");
    wait_for(&server, "requests.log", &["three"]);
    assert_eq!(ids(&server, "requests.log.1"), ["one", "two"]);
    // A reload that is refused opens it too.
    assert_eq!(shell(&rename).0, 0);
    server.rewrite("workers = 1", "workers = false");
    server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    server.wait_until("a new file is there", |server| server.has("requests.log"));
    assert_eq!(lost(&server), 0.0);
}

#[test]
fn a_file_that_is_copied_and_emptied_has_whole_lines() {
    let server = logged("requests.log").start();
    ask(&server, "one");
    wait_for(&server, "requests.log", &["one"]);
    let empty =
        format!("cd '{}' && cp requests.log copy && : >requests.log", server.dir().display());
    assert_eq!(shell(&empty).0, 0);
    ask(&server, "two");
    wait_for(&server, "requests.log", &["two"]);
    assert_eq!(ids(&server, "copy"), ["one"]);
}

#[test]
fn a_deleted_file_is_made_again_and_a_deleted_directory_said_once() {
    let server = logged("logs/requests.log").prepare_with("mkdir logs").start();
    ask(&server, "one");
    wait_for(&server, "logs/requests.log", &["one"]);
    let dir = server.dir().display();
    assert_eq!(shell(&format!("rm '{dir}/logs/requests.log'")).0, 0);
    ask(&server, "two");
    wait_for(&server, "logs/requests.log", &["two"]);
    assert_eq!(shell(&format!("rm -r '{dir}/logs'")).0, 0);
    for (count, id) in [(1.0, "three"), (2.0, "four"), (3.0, "five")] {
        ask(&server, id);
        server.wait_until("the line is counted", |server| lost(server) == count);
    }
    let said = server.wait_for_log("cannot write the access log");
    assert!(said.contains("No such file") && said.contains("requests.log"), "{said}");
    let count = |text: &str| server.log_lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("cannot write the access log"), 1);
    assert_eq!(shell(&format!("mkdir '{dir}/logs'")).0, 0);
    ask(&server, "six");
    wait_for(&server, "logs/requests.log", &["six"]);
    server.signal("HUP");
    server.wait_for_log("reload");
    assert_eq!(lost(&server), 3.0);
}

#[test]
fn a_full_disk_costs_lines_and_no_call() {
    let server = logged("/dev/full").start();
    for count in [1.0, 2.0] {
        ask(&server, "one");
        server.wait_until("the line is counted", |server| lost(server) == count);
    }
    let said = server.wait_for_log("cannot write the access log");
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(server.metric("httpipe_log_dropped_total"), 0.0, "that is another log");
}

#[test]
fn a_reader_that_does_not_read_stops_no_call_and_no_end() {
    let mut server = logged("pipe")
        .prepare_with(
            "mkfifo pipe; (exec 3<>pipe; exec sleep 60) >/dev/null 2>&1 & echo $! >reader",
        )
        .start();
    let long = "x".repeat(900);
    let mut connection = server.client().connect();
    // More than fits into the pipe and the buffer.
    for _ in 0..1_000 {
        for _ in 0..4 {
            connection.ask("GET", &format!("/{long}"), &[], "");
        }
        for _ in 0..4 {
            assert_eq!(connection.answer().status, 404);
        }
    }
    server.wait_until("lines are dropped and counted", |server| lost(server) > 0.0);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    shell(&format!("kill $(cat '{}/reader')", server.dir().display()));
}

#[test]
fn a_file_that_cannot_be_written_is_a_problem_before_anything_starts() {
    for (name, why) in [
        ("no/where.log", "no such file or directory"),
        (".", "is a directory"),
        ("httpipe.toml/a", "not a directory"),
        ("off", "write false without quotes, or ./off"),
        ("", "`access`"),
    ] {
        let told = logged(name).refused();
        assert_eq!(told.code, 2, "{name}: {told:?}");
        assert!(told.stderr.to_lowercase().contains(why), "{name}: {}", told.stderr);
        assert!(told.stderr.contains("httpipe.toml:1:"), "{name}: {}", told.stderr);
    }
    let told = logged("pipe").prepare_with("mkfifo pipe").refused();
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("cannot log requests in"), "{}", told.stderr);
}

/// The lines between the fences of the page that begin a rotation.
fn snippet() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/concepts/access-log.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let blocks = page.split("```").skip(1).step_by(2);
    let rotation = |block: &&str| block.contains("postrotate");
    blocks.into_iter().find(rotation).expect("a rotation").trim().to_owned()
}

#[test]
fn the_rotation_of_the_docs_works() {
    if shell("logrotate --version").0 != 0 {
        skipped("logrotate is not installed", "`apt-get install logrotate` does it");
        return;
    }
    let server = logged("access.log").start();
    let dir = server.dir().display();
    ask(&server, "one");
    wait_for(&server, "access.log", &["one"]);
    let rotation = snippet()
        .replace("/var/log/httpipe", &dir.to_string())
        .replace("pkill -HUP -o -x httpipe", &format!("touch '{dir}/rotated'"));
    assert!(rotation.contains("touch"), "{rotation}");
    server.write("rotation", &format!("{rotation}\n"));
    let rotate = || {
        let line =
            "chmod 755 . && chmod 644 rotation && logrotate -f -s state rotation && rm rotated";
        assert_eq!(shell(&format!("cd '{dir}' && {line}")), (0, String::new()));
        server.signal("HUP");
        server.wait_until("a new file is there", |server| server.has("access.log"));
    };
    rotate();
    ask(&server, "two");
    wait_for(&server, "access.log", &["two"]);
    assert_eq!(ids(&server, "access.log.1"), ["one"]);
    rotate();
    assert!(server.has("access.log.2.gz") && ids(&server, "access.log.1") == ["two"]);
    assert_eq!(lost(&server), 0.0);
}
