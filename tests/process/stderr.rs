//! What becomes of a worker's stderr.

use std::time::Duration;

use httpipe::testing::base::WorkerId;
use httpipe::testing::config::LaunchSettings;
use httpipe::testing::worker::kill;
use httpipe::testing::worker::process::Exit;
use httpipe::testing::worker::spawn::spawn;
use httpipe::testing::worker::stderr::{LastWords, pump};

use crate::support::{guard, read_line, shell};

/// Runs a program to its end. Returns its last words and its exit.
async fn complaints(launch: &LaunchSettings) -> (Vec<String>, Exit) {
    let (process, streams) = spawn(launch, &guard()).await.expect("starts");
    drop(streams.stdin);
    let words = LastWords::new("calc".into(), WorkerId(1), &streams.token);
    pump(streams.stderr, words.clone()).await;
    process.ended().await;
    (words.lines(), words.explain(process.reap()))
}

#[tokio::test]
async fn the_last_words_of_a_crash_are_there() {
    let (lines, exit) = complaints(&shell("echo one >&2; printf 'two' >&2; exit 3")).await;
    assert_eq!((lines, exit), (vec!["one".into(), "two".into()], Exit::Code(3)));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_from_one_that_ends_with_127() {
    let (_, exit) = complaints(&shell("exit 127")).await;
    assert_eq!(exit, Exit::Code(127));
    let mut launch = shell("");
    launch.program = "/no/such".into();
    let (lines, exit) = complaints(&launch).await;
    assert_eq!(exit, Exit::NotRun("cannot run `/no/such`: it does not exist".into()));
    assert!(lines.is_empty(), "the shim's own line is not the program's: {lines:?}");
}

#[tokio::test]
async fn a_flood_on_stderr_never_stops_the_program() {
    let script = "head -c 20000000 /dev/zero >&2; yes flood | head -n 200000 >&2; echo end >&2";
    let (lines, exit) = complaints(&shell(script)).await;
    assert_eq!((lines.last().map(String::as_str), exit), (Some("end"), Exit::Code(0)));
}

#[tokio::test]
async fn a_stranger_that_holds_stderr_does_not_hold_the_end_of_the_worker() {
    let guard = guard();
    let script = "setsid sh -c 'echo $$ >&2; echo $$; exec sleep 1000 >/dev/null' & exec cat";
    let (process, streams) = spawn(&shell(script), &guard).await.expect("starts");
    let stranger = read_line(&streams.stdout).await;
    let words = LastWords::new("calc".into(), WorkerId(1), &streams.token);
    let exit = {
        let mut pump = std::pin::pin!(pump(streams.stderr, words.clone()));
        tokio::select! {
            () = &mut pump => panic!("the stranger still holds it"),
            exit = kill::stop(process, streams.stdin, Duration::from_secs(10)) => {
                let rest = tokio::time::timeout(Duration::from_millis(50), pump).await;
                assert!(rest.is_err(), "the stranger still holds it");
                exit
            }
        }
    };
    // The line read last is not lost with the pump.
    assert_eq!(words.lines(), [stranger.trim()]);
    let stranger = stranger.trim().parse().expect("a number");
    let stranger = rustix::process::Pid::from_raw(stranger).expect("not zero");
    rustix::process::kill_process(stranger, rustix::process::Signal::KILL).expect("it lives");
    assert!(matches!(exit, Exit::Code(0) | Exit::Signal(15)), "{exit:?}");
}
