//! How workers are made to leave, and how the server reaps strangers.

use std::process::Command;
use std::time::{Duration, Instant};

use httpipe::testing::worker::process::Exit;
use httpipe::testing::worker::spawn::spawn;
use httpipe::testing::worker::{kill, reaper};

use crate::support::{BINARY, guard, helper, is_role, read_line, runs, shell, state, wait_until};

const LONG: Duration = Duration::from_secs(1000);

#[tokio::test]
async fn a_program_is_told_to_leave_and_its_own_exit_is_seen() {
    let script = "trap 'exit 5' TERM; echo up; while :; do read line || :; done";
    let (process, streams) = spawn(&shell(script), &guard()).await.expect("starts");
    read_line(&streams.stdout).await;
    assert_eq!(kill::stop(process, streams.stdin, LONG).await, Exit::Code(5));
}

#[tokio::test]
async fn a_program_that_stays_is_killed_after_the_grace_with_its_group() {
    let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait";
    let (process, streams) = spawn(&shell(script), &guard()).await.expect("starts");
    let other = read_line(&streams.stdout).await.trim().parse().expect("a number");
    let start = Instant::now();
    let exit = kill::stop(process, streams.stdin, Duration::from_millis(100)).await;
    assert_eq!(exit, Exit::Signal(9));
    assert!(start.elapsed() >= Duration::from_millis(100));
    wait_until("the end of its child", || !runs(other));
}

#[tokio::test]
async fn a_stopped_program_can_be_killed() {
    let (process, streams) =
        spawn(&shell("echo up; kill -STOP $$"), &guard()).await.expect("starts");
    read_line(&streams.stdout).await;
    wait_until("the stop", || state(process.id()) == Some('T'));
    assert_eq!(kill::kill_now(process).await, Exit::Signal(9));
}

#[test]
fn strangers_are_reaped_and_workers_are_left_to_those_who_wait() {
    helper(ROLE_OF_A_REAPER).succeeds();
}

const ROLE_OF_A_REAPER: &str = "leaving::role_of_a_reaper";

fn pid(id: u32) -> rustix::process::Pid {
    i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).expect("an id")
}

/// The kernel gives orphans to a subreaper as it gives them to process 1. This role has its own
/// process, because it would reap the children of other tests.
#[tokio::test]
async fn role_of_a_reaper() {
    if !is_role(ROLE_OF_A_REAPER) {
        return;
    }
    reaper::expect_children();
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).expect("allowed");
    let guard = guard();
    let (worker, _streams) = spawn(&shell("exit 6"), &guard).await.expect("starts");
    worker.ended().await;
    // The orphan is killed with the group when its parent is reaped, and becomes our zombie.
    let script = "sleep 1000 & echo $!";
    let (parent, streams) = spawn(&shell(script), &guard).await.expect("starts");
    let orphan = read_line(&streams.stdout).await.trim().parse().expect("a number");
    parent.ended().await;
    parent.reap();
    wait_until("the orphan is ours, and dead", || state(orphan) == Some('Z'));
    let guard_id = guard.id().expect("a guard");
    rustix::process::kill_process(pid(guard_id), rustix::process::Signal::KILL).expect("there");
    wait_until("the end of the guard", || !runs(guard_id));
    let reaping = reaper::reap_strangers(guard.clone());
    let seeing = async {
        while state(orphan).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = reaping => panic!("it never ends"),
        gone = tokio::time::timeout(Duration::from_secs(10), seeing) => gone.expect("reaped"),
    }
    assert_eq!(state(guard_id), Some('Z'), "the guard is no stranger");
    assert_eq!(worker.reap(), Exit::Code(6));
}

#[test]
fn closed_descriptors_of_the_server_are_open_before_any_pipe() {
    // The shim is the shortest way through the start of the real binary.
    let server = std::process::id().to_string();
    let script = "exec \"$0\" \"$@\" <&- 2>&-";
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            BINARY,
            "__exec",
            "t0",
            &server,
            "0",
            "keep",
            "/",
            "/bin/readlink",
            "readlink",
        ])
        .args(["/proc/self/fd/0", "/proc/self/fd/2"])
        .output()
        .expect("sh starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/null\n/dev/null\n");
}
