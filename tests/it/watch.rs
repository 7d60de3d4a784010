//! `run --watch`: a change is live by itself, without a lost call, and a bad one changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::deploy::{script, swap_link};
use crate::support::{Over, Plan, Server, has_strace, shell, whole_machine};

fn plan(pool: &str) -> Plan {
    Server::with(pool).worker("sh worker.sh").file("worker.sh", &script("v1")).option("--watch")
}

/// Waits until this version answers, under a caller who loses nothing.
fn becomes(server: &Server, version: &str) {
    server.wait_until(&format!("{version} answers"), |server| {
        let answer = server.answers("x");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.trim_end() == format!("{version} x")
    });
}

#[test]
fn an_edited_script_is_live_by_itself_and_no_call_is_lost() {
    let _alone = whole_machine();
    let server = plan("workers = 2").start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut caller = server.client().connect();
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(caller.post("/", "y").status, 200);
                }
            });
        }
        let _over = Over(&over);
        becomes(&server, "v1");
        for version in ["v2", "v3", "v4"] {
            server.write("worker.sh", &script(version));
            becomes(&server, version);
        }
    });
    server.wait_for_log("reloaded: main: 2 of 2 workers replaced");
}

#[test]
fn whatever_way_an_editor_writes_it_is_seen() {
    let server = plan("workers = 1").start();
    let path = server.dir().join("worker.sh");
    // In place, as `echo > FILE` and nano.
    std::fs::write(&path, script("v2")).expect("it can be written");
    becomes(&server, "v2");
    // The old one becomes a backup, and a new file takes its name, as vim.
    std::fs::rename(&path, server.dir().join("worker.sh~")).expect("it is there");
    std::fs::write(&path, script("v3")).expect("it can be written");
    becomes(&server, "v3");
    // A new file replaces the old one, as VS Code and `git checkout`.
    server.write("worker.sh", &script("v4"));
    becomes(&server, "v4");
}

#[test]
fn a_link_that_is_swapped_is_seen() {
    let server = Server::with("workers = 1")
        .worker("sh current/worker.sh")
        .option("--watch")
        .prepare_with(&format!(
            "mkdir 1 2; printf '%s' '{}' > 1/worker.sh; printf '%s' '{}' > 2/worker.sh; ln -s 1 current",
            script("v1"),
            script("v2")
        ))
        .start();
    becomes(&server, "v1");
    swap_link(server.dir(), "2");
    becomes(&server, "v2");
    std::fs::write(server.dir().join("2/worker.sh"), script("v3")).expect("it can be written");
    becomes(&server, "v3");
}

#[test]
fn a_directory_that_vanishes_and_comes_back_is_watched_again() {
    let server = plan("workers = 1\nwatch = [\"lib/**\"]")
        .file("worker.sh", ". ./lib/words\nwhile read -r line; do echo \"$word $line\"; done\n")
        .prepare_with("mkdir lib; echo word=v1 > lib/words")
        .start();
    becomes(&server, "v1");
    let lib = server.dir().join("lib");
    std::fs::remove_dir_all(&lib).expect("it is there");
    server.wait_for_log("no worker of the new pool `main` became ready");
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    std::fs::create_dir(&lib).expect("it is not there");
    std::fs::write(lib.join("words"), "word=v2\n").expect("it can be written");
    becomes(&server, "v2");
    std::fs::create_dir_all(lib.join("a/b")).expect("it can be made");
    std::fs::write(lib.join("words"), "word=v3\n").expect("it can be written");
    becomes(&server, "v3");
}

#[test]
fn a_broken_version_is_told_and_the_old_one_goes_on() {
    let server = plan("workers = 1").start();
    server.write("worker.sh", "echo broken >&2; exit 3\n");
    server.wait_for_log("no worker of the new pool `main` became ready (exit code 3)");
    server.wait_for_log("broken");
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    server.write("worker.sh", &script("v2"));
    becomes(&server, "v2");
}

#[test]
fn a_configuration_that_is_bad_for_a_while_is_taken_once_it_is_good() {
    let server = plan("workers = 1")
        .prepare_with(&format!("mkdir made; printf '%s' '{}' > made/worker.sh", script("v2")))
        .start();
    server.rewrite("workers = 1", "workrs = 1");
    let line = server.wait_for_log("workrs");
    assert!(line.contains("httpipe.toml:") && line.contains("did you mean `workers`"), "{line}");
    server.wait_for_log("not reloaded");
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    server.rewrite("workrs = 1", "workers = 1\ndir = \"away\"");
    server.wait_for_log("cannot run in");
    // What only the refused configuration names was not watched before.
    std::fs::rename(server.dir().join("made"), server.dir().join("away")).expect("it is there");
    becomes(&server, "v2");
    server.rewrite("\"worker.sh\"", "\"other.sh\"");
    server.wait_for_log("no worker of the new pool");
    server.write("away/other.sh", &script("v3"));
    becomes(&server, "v3");
}

/// What only the refused configuration names is not watched, and may become good just after it was
/// looked at.
#[test]
fn a_configuration_that_becomes_good_while_it_is_refused_is_taken() {
    if !has_strace() {
        return;
    }
    let calls = "?open,openat";
    let slow = format!(
        "strace -D -f --seccomp-bpf -qq -o /dev/null -P ./httpipe.toml -e trace={calls} \
         -e inject={calls}:delay_enter=500000"
    );
    let server = plan("workers = 1").under(&slow).start();
    server.rewrite("workers = 1", "workers = 1\ndir = \"away\"");
    server.wait_for_log("cannot run in");
    std::fs::create_dir(server.dir().join("away")).expect("it is not there");
    server.wait_for_log("no worker of the new pool");
}

#[test]
fn a_new_program_that_changes_its_files_for_a_while_is_taken_once_it_no_longer_does() {
    let server = plan("workers = 1").file("starts", "").start();
    let fickle = "test $(wc -l < starts) -ge 7 || echo >> starts\n";
    server.write("fickle.sh", &format!("{fickle}{}", script("v2")));
    server.rewrite("\"worker.sh\"", "\"fickle.sh\"]\nwatch = [\"starts\"");
    server.wait_for_log("the files of pool `main` keep changing while its workers start");
    becomes(&server, "v2");
}

#[test]
fn without_a_file_patterns_are_given_on_the_command_line() {
    let lines = ". ./words\nwhile read -r line; do echo \"$word $line\"; done\n";
    let server = Server::args(&["--watch=w*ds", "--workers", "1", "--", "sh", "worker.sh"])
        .file("worker.sh", lines)
        .file("words", "word=v1\n")
        .start();
    becomes(&server, "v1");
    server.write("words", "word=v2\n");
    becomes(&server, "v2");
    server.write("worker.sh", &script("v3"));
    becomes(&server, "v3");
}

/// Where a user has no more instances of inotify, files are looked at instead.
#[test]
fn without_inotify_the_files_are_looked_at_every_second() {
    let Some(without) = without_inotify() else { return };
    let server = plan("workers = 1").under(&without).start();
    server.wait_for_log("the files are looked at every second");
    server.write("worker.sh", &script("v2"));
    becomes(&server, "v2");
}

/// Returns a command under which a server gets no inotify and every other program does: in a user
/// namespace with a limit of its own, or by a system call that fails. `None`: the test is skipped.
fn without_inotify() -> Option<String> {
    let limited = "unshare --user --map-root-user sh -c \
                   'echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"' sh";
    if shell(&format!("{limited} true")).0 == 0 {
        return Some(limited.to_owned());
    }
    let fails = "strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=inotify_init1 \
                 -e inject=inotify_init1:error=EMFILE";
    has_strace().then(|| fails.to_owned())
}
