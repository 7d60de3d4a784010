//! What a program finds when it starts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use httpipe::testing::config::{Fence, LaunchSettings};
use httpipe::testing::worker::process::Exit;
use httpipe::testing::worker::spawn::spawn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{BINARY, guard, read_line, read_to_end, run, shell};

#[tokio::test]
async fn a_program_has_no_descriptor_but_its_three_streams() {
    // Inheritable on purpose, as a careless parent of the server would leave it.
    let stray = std::fs::File::open("/etc/passwd").expect("a file");
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).expect("inheritable");
    // 3 is the directory that `ls` itself reads; it must be the lowest free number.
    let outcome = run(&shell("exec ls /proc/self/fd")).await;
    assert_eq!(outcome.stdout, "0\n1\n2\n3\n");
    let outcome = run(&shell("readlink /proc/self/fd/3")).await;
    assert_eq!(outcome.stdout, "");
    drop(stray);
}

#[tokio::test]
async fn a_program_never_becomes_another_user_unless_its_fence_is_off() {
    let most = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: most, maximum: most }).expect("it may be raised");
    let core = most.map_or("unlimited".to_owned(), |most| (most / 512).to_string());
    for (fence, expected) in [
        (Fence::Usual, "0\nNoNewPrivs:\t1\n".to_owned()),
        (Fence::Off, format!("{core}\nNoNewPrivs:\t0\n")),
    ] {
        let script = "ulimit -Sc; grep NoNewPrivs /proc/self/status";
        let launch = LaunchSettings { fence, ..shell(script) };
        assert_eq!(run(&launch).await.stdout, expected);
    }
}

#[tokio::test]
async fn a_program_has_exactly_the_environment_it_was_given() {
    let mut launch = shell("");
    launch.program = "/usr/bin/env".into();
    launch.arguments = vec!["-0".into()];
    launch.env = vec![("A".into(), "1".into()), ("B".into(), "two\nlines".into())].into();
    let outcome = run(&launch).await;
    let found: BTreeSet<_> = outcome.stdout.split_terminator('\0').collect();
    assert_eq!(found, BTreeSet::from(["A=1", "B=two\nlines"]));
}

#[tokio::test]
async fn name_arguments_and_directory_are_as_told() {
    let mut launch = shell("echo \"$0|$1|$2\"; pwd -P; tr '\\0' ' ' < /proc/$$/cmdline");
    launch.name = "my-shell".into();
    launch.arguments.extend(["zero".into(), "a b".into(), String::new()]);
    launch.dir = "/usr".into();
    let outcome = run(&launch).await;
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["zero|a b|", "/usr"]);
    assert!(lines[2].starts_with("my-shell -c "), "{lines:?}");
}

#[tokio::test]
async fn a_program_leads_its_own_group() {
    let (process, streams) =
        spawn(&shell("cut -d' ' -f5 /proc/$$/stat; read wait"), &guard()).await.expect("starts");
    let group = read_line(&streams.stdout).await;
    assert_eq!(group.trim(), process.id().to_string());
}

#[tokio::test]
async fn stdin_reaches_it_and_its_end_is_seen() {
    let (process, streams) = spawn(&shell("exec cat"), &guard()).await.expect("starts");
    rustix::io::write(streams.stdin.get_ref(), b"some words\n").expect("room in the pipe");
    drop(streams.stdin);
    assert_eq!(read_to_end(&streams.stdout).await, "some words\n");
    process.ended().await;
    assert_eq!(process.reap(), Exit::Code(0));
}

#[tokio::test]
async fn a_terminal_neither_echoes_nor_changes_bytes() {
    let mut launch = shell("test -t 1 && printf 'a\\nb\\tc\\r\\n\\003\\004'; stty -a <&1 >&2");
    launch.tty = true;
    let (process, streams) = spawn(&launch, &guard()).await.expect("starts");
    let modes = read_to_end(&streams.stderr).await;
    assert_eq!(read_to_end(&streams.stdout).await, "a\nb\tc\r\n\u{3}\u{4}");
    assert!(modes.contains("-echo ") && modes.contains("-icanon"), "{modes}");
    process.ended().await;
    assert_eq!(process.reap(), Exit::Code(0));
}

/// Runs the shim from a process that ignores and blocks every signal it can.
#[test]
fn signals_are_neither_ignored_nor_blocked_whatever_the_server_was_started_with() {
    let python = "\
import os, signal, sys
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
os.execv(sys.argv[1], sys.argv[1:])";
    let server = std::process::id().to_string();
    let output = Command::new("python3")
        .args([
            "-c",
            python,
            BINARY,
            "__exec",
            "t0",
            &server,
            "0",
            "keep",
            "/",
            "/bin/grep",
            "grep",
        ])
        .args(["-E", "Sig(Ign|Blk)", "/proc/self/status"])
        .output()
        .expect("python3 starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let sets: Vec<_> = text.lines().map(|line| line.split_once(":\t").expect("a set")).collect();
    // The C library reserves 32 and 33 and lets no program change them.
    let of_the_library = 0b11 << 31;
    for (name, set) in sets {
        let set = u64::from_str_radix(set, 16).expect("hexadecimal");
        assert_eq!(set & !of_the_library, 0, "{name}: {set:x}");
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn the_shim_does_not_run_the_program_of_a_server_that_has_gone() {
    let output = Command::new(BINARY)
        .args(["__exec", "t0", "1", "0", "keep", "/", "/bin/echo", "echo", "alive"])
        .output()
        .expect("the shim starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.code(), Some(126));
}

#[test]
fn the_umask_is_left_alone() {
    let server = std::process::id().to_string();
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "umask 0027; exec \"$@\"",
        "sh",
        BINARY,
        "__exec",
        "t0",
        &server,
        "0",
        "keep",
        "/",
    ]);
    let output = shell.args(["/bin/sh", "sh", "-c", "umask"]).output().expect("sh starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0027\n");
}

/// Returns the shim's message for a program that cannot be run, and its exit.
async fn refusal(program: &str, dir: &str) -> (String, Exit) {
    let mut launch = shell("");
    launch.program = program.into();
    launch.dir = dir.into();
    let outcome = run(&launch).await;
    let line = outcome.stderr.strip_prefix("httpipe ").expect("the mark");
    let (token, text) = line.split_once(": ").expect("the text after the token");
    assert_eq!(token.len(), 32, "{token}");
    (text.to_owned(), outcome.exit)
}

#[tokio::test]
async fn the_reason_why_a_program_cannot_run_is_said_in_words() {
    assert_eq!(
        refusal("/no/such/program", "/").await,
        ("cannot run `/no/such/program`: it does not exist\n".into(), Exit::Code(127))
    );
    assert_eq!(
        refusal("/etc/passwd", "/").await,
        ("cannot run `/etc/passwd`: permission denied\n".into(), Exit::Code(126))
    );
    assert_eq!(
        refusal("/bin/sh", "/no/such").await,
        ("cannot enter the directory `/no/such`: it does not exist\n".into(), Exit::Code(126))
    );
}

#[tokio::test]
async fn a_script_whose_interpreter_is_missing_is_not_called_missing_itself() {
    let path = std::env::temp_dir().join(format!("httpipe-script-{}", std::process::id()));
    {
        let mut script = std::fs::File::create(&path).expect("a file");
        script.write_all(b"#!/no/such/interpreter\n").expect("written");
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("executable");
    let (text, exit) = refusal(path.to_str().expect("text"), "/").await;
    std::fs::remove_file(&path).expect("removed");
    assert!(text.contains("the interpreter or loader that it names does not exist"), "{text}");
    assert_eq!(exit, Exit::Code(127));
}

/// The child shares the memory of the server until it becomes the program.
#[tokio::test]
async fn making_a_process_changes_nothing_of_the_server() {
    let seen = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("it is there");
        let signals: Vec<String> = status
            .lines()
            .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"))
            .map(str::to_owned)
            .collect();
        let limits = std::fs::read_to_string("/proc/self/limits").expect("it is there");
        let group = rustix::process::getpgrp();
        (signals, limits, group, std::env::current_dir().expect("there is one"))
    };
    let before = seen();
    assert_eq!(run(&shell("pwd")).await.stdout, "/\n");
    assert_eq!(seen(), before);
    refusal("/no/such/program", "/").await;
    assert_eq!(seen(), before, "nor if it fails");
}

#[tokio::test]
async fn every_process_has_a_token_of_its_own() {
    let guard = guard();
    let (_one_process, one) = spawn(&shell("read wait"), &guard).await.expect("starts");
    let (_two_process, two) = spawn(&shell("read wait"), &guard).await.expect("starts");
    assert_ne!(one.token, two.token);
}

#[tokio::test]
async fn a_missing_binary_of_our_own_is_an_error_of_the_start() {
    let mut command = Command::new(BINARY);
    command.arg0("httpipe").arg("__guard").stdin(Stdio::null());
    assert!(command.status().expect("the guard starts").success());
    let guard = httpipe::testing::worker::guard::Guard::start(OsString::from("/no/such/httpipe"));
    assert!(guard.is_err());
}
