//! When a program or the server ends, nothing is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

use httpipe::testing::worker::guard::Guard;
use httpipe::testing::worker::process::Exit;
use httpipe::testing::worker::spawn::spawn;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    descriptors, guard, helper, is_role, read_line, run, runs, shell, state, wait_until,
    with_every_limit_of_descriptors,
};

const WITH_ONE_WORKER: &str = "death::role_of_a_server_with_one_worker";
const LOST_ITS_GUARD: &str = "death::role_of_a_server_that_lost_its_guard";
const IMPATIENT: &str = "death::role_of_a_server_that_does_not_wait";
const WITHOUT_DESCRIPTORS: &str = "death::role_of_a_server_without_descriptors";

#[tokio::test]
async fn the_exit_is_the_code_or_the_signal() {
    assert_eq!(run(&shell("exit 7")).await.exit, Exit::Code(7));
    assert_eq!(run(&shell("kill -SEGV $$")).await.exit, Exit::Signal(11));
}

#[tokio::test]
async fn no_zombie_is_left_by_reaping() {
    let guard = guard();
    let (process, _streams) = spawn(&shell("exit 0"), &guard).await.expect("starts");
    let id = process.id();
    process.ended().await;
    assert_eq!(state(id), Some('Z'), "it is not reaped before we say so");
    process.reap();
    assert_eq!(state(id), None);
}

#[tokio::test]
async fn dropping_a_process_kills_and_reaps_it_and_its_group() {
    let guard = guard();
    let script = "sleep 1000 & echo $!; trap '' TERM; wait";
    let (process, streams) = spawn(&shell(script), &guard).await.expect("starts");
    let id = process.id();
    let other = read_line(&streams.stdout).await.trim().parse().expect("a number");
    drop(process);
    wait_until("the end of the leader", || state(id).is_none());
    wait_until("the end of its child", || !runs(other));
}

#[tokio::test]
async fn reaping_kills_what_is_left_of_the_group() {
    let guard = guard();
    let script = "sleep 1000 & echo $!; exit 3";
    let (process, streams) = spawn(&shell(script), &guard).await.expect("starts");
    let other = read_line(&streams.stdout).await.trim().parse().expect("a number");
    process.ended().await;
    assert!(runs(other));
    assert_eq!(process.reap(), Exit::Code(3));
    wait_until("the end of its child", || !runs(other));
}

#[tokio::test]
async fn a_guard_whose_workers_were_all_reaped_ends_with_its_last_user() {
    let guard = guard();
    let id = guard.id().expect("a guard");
    let (process, _streams) = spawn(&shell("exit 0"), &guard).await.expect("starts");
    process.ended().await;
    process.reap();
    drop(guard);
    assert_eq!(state(id), None, "it has no group to kill, so it is ended and reaped");
}

#[tokio::test]
async fn role_of_a_server_with_one_worker() {
    if is_role(WITH_ONE_WORKER) {
        serve(async |_| {}).await;
    }
}

#[tokio::test]
async fn role_of_a_server_that_lost_its_guard() {
    if !is_role(LOST_ITS_GUARD) {
        return;
    }
    serve(async |guard| {
        let dead = guard.id().expect("a guard");
        send(dead, Signal::KILL);
        wait_until("the end of the guard", || !runs(dead));
        // The server notices it when the next worker ends.
        let (second, _streams) = spawn(&shell("exec cat"), guard).await.expect("starts");
        drop(second);
        wait_until("another guard", || guard.id().is_some_and(|guard| guard != dead));
        assert_eq!(state(dead), None, "the dead one is reaped");
    })
    .await;
}

/// Runs a worker that ignores the end of its stdin, with a child in its group. Prints all ids, and
/// never returns.
async fn serve(then: impl AsyncFnOnce(&Guard)) {
    let guard = guard();
    let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exec sleep 1000";
    let (process, streams) = spawn(&shell(script), &guard).await.expect("starts");
    let other = read_line(&streams.stdout).await;
    then(&guard).await;
    let guard_id = guard.id().expect("a guard");
    // Not with `print`, which the test harness captures.
    let news = format!("ids {} {guard_id} {other}", process.id());
    rustix::io::write(rustix::stdio::stdout(), news.as_bytes()).expect("told");
    std::future::pending::<()>().await;
}

fn server_with_one_worker() -> (Child, [u32; 3]) {
    server_in_role(WITH_ONE_WORKER)
}

/// Starts a server. Returns it with the ids of its worker, its guard and the worker's child.
fn server_in_role(role: &str) -> (Child, [u32; 3]) {
    let mut server = helper(role).0;
    let stdout = BufReader::new(server.stdout.take().expect("piped"));
    let line = stdout
        .lines()
        .map(|line| line.expect("text"))
        .find_map(|line| line.split_once("ids ").map(|(_, ids)| ids.to_owned()))
        .expect("the ids");
    let ids: Vec<_> = line.split(' ').map(|id| id.parse().expect("a number")).collect();
    (server, ids.try_into().expect("three ids"))
}

fn send(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("small")).expect("not zero");
    kill_process(id, signal).expect("it is there");
}

#[test]
fn nothing_outlives_a_server_that_was_killed() {
    let (mut server, [worker, guard, other]) = server_with_one_worker();
    server.kill().expect("killed");
    wait_until("the end of the worker", || !runs(worker));
    wait_until("the end of the worker's child", || !runs(other));
    wait_until("the end of the guard", || !runs(guard));
    server.wait().expect("reaped");
}

#[test]
fn the_kernel_kills_a_worker_even_where_the_guard_is_gone() {
    let (mut server, [worker, guard, other]) = server_with_one_worker();
    send(guard, Signal::KILL);
    server.kill().expect("killed");
    wait_until("the end of the worker", || !runs(worker));
    send(other, Signal::KILL);
    server.wait().expect("reaped");
}

#[test]
fn the_guard_is_deaf_to_what_ends_servers_and_holds_none_of_its_descriptors() {
    let (mut server, [_, guard, _]) = server_with_one_worker();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        send(guard, signal);
    }
    let group = fs::read_to_string(format!("/proc/{guard}/stat")).expect("it runs");
    assert_eq!(group.split(' ').nth(4), Some(guard.to_string().as_str()), "its own group");
    let descriptors = || fs::read_dir(format!("/proc/{guard}/fd")).map_or(0, Iterator::count);
    wait_until("it closed what it inherited", || descriptors() == 3);
    let mut targets: Vec<_> = fs::read_dir(format!("/proc/{guard}/fd"))
        .expect("readable")
        .map(|entry| fs::read_link(entry.expect("there").path()).expect("a link"))
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    targets.sort();
    assert_eq!(targets[..2], ["/dev/null", "/dev/null"]);
    assert!(targets[2].starts_with("pipe:") && targets.len() == 3, "{targets:?}");
    assert!(runs(guard));
    server.kill().expect("killed");
    let status = server.wait().expect("reaped");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_guard_that_died_is_replaced_and_told_everything() {
    let (mut server, [worker, guard, other]) = server_in_role(LOST_ITS_GUARD);
    server.kill().expect("killed");
    wait_until("the end of the worker", || !runs(worker));
    wait_until("the end of the worker's child", || !runs(other));
    wait_until("the end of the guard", || !runs(guard));
    server.wait().expect("reaped");
}

#[tokio::test]
async fn role_of_a_server_that_does_not_wait() {
    if !is_role(IMPATIENT) {
        return;
    }
    let guard = guard();
    let launch = shell("exec sleep 1000");
    drop(spawn(&launch, &guard).await.expect("starts"));
    let own = guard.id().expect("a guard");
    let is_alone = || children() == [own];
    wait_until("only the guard is left", is_alone);
    let before = descriptors();
    let (mut started, mut given_up) = (0, 0);
    for patience in 0..300 {
        tokio::select! {
            biased;
            process = spawn(&launch, &guard) => {
                drop(process.expect("starts"));
                started += 1;
            }
            () = moments(patience % 60) => given_up += 1,
        }
    }
    assert!(given_up > 10, "{started} started, {given_up} given up");
    wait_until("only the guard is left again", is_alone);
    wait_until("nothing is open", || descriptors() == before);
}

/// Lets others run so many times.
async fn moments(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_start_that_nobody_waits_for_leaves_nothing_behind() {
    helper(IMPATIENT).succeeds();
}

#[tokio::test]
async fn role_of_a_server_without_descriptors() {
    if !is_role(WITHOUT_DESCRIPTORS) {
        return;
    }
    let guard = guard();
    with_every_limit_of_descriptors(
        async || spawn(&shell("exec cat"), &guard).await,
        || {
            let own = guard.id().expect("a guard");
            wait_until("only the guard is left", || children() == [own]);
        },
    )
    .await;
}

fn children() -> Vec<u32> {
    fs::read_dir("/proc/self/task")
        .expect("readable")
        .map(|task| task.expect("there").path().join("children"))
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|id| id.parse().expect("a number"))
        .collect()
}

#[test]
fn a_start_that_fails_halfway_leaves_nothing_behind() {
    helper(WITHOUT_DESCRIPTORS).succeeds();
}
