//! Workers that a fork server makes: they are the server's own children, like any others.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use httpipe::testing::worker::fork_server::{ForkServer, NotForked};
use httpipe::testing::worker::guard::Guard;
use httpipe::testing::worker::process::{Exit, Process};
use httpipe::testing::worker::reaper;
use httpipe::testing::worker::spawn::{Streams, spawn};
use rustix::process::{Pid, Signal, getpgid, kill_process};

use crate::python::{LONG, Program, WORKER, described};
use crate::support::{
    guard, helper, is_role, moment, read, runs, shell, wait_until, with_every_limit_of_descriptors,
};

const OF_A_HANGING_ONE: &str = "forks::role_of_a_server_whose_fork_server_hangs";
const OF_EARLY_DEATHS: &str = "forks::role_of_a_server_whose_workers_die_early";
const WITHOUT_DESCRIPTORS: &str = "forks::role_of_a_server_that_forks_without_descriptors";
const WITH_A_FORK_SERVER: &str = "forks::role_of_a_server_with_a_fork_server";

/// Starts a fork server that loads this program.
async fn fork_server(program: &str, guard: &Guard) -> ForkServer {
    fork_server_of(WORKER, program, guard).await
}

/// Starts a fork server whose text is changed in one place.
async fn changed_fork_server(from: &str, to: &str, guard: &Guard) -> ForkServer {
    fork_server_of(&changed(from, to), UPPER, guard).await
}

fn changed(from: &str, to: &str) -> String {
    assert_eq!(WORKER.matches(from).count(), 1, "`{from}` is there once");
    WORKER.replace(from, to)
}

async fn fork_server_of(worker: &str, program: &str, guard: &Guard) -> ForkServer {
    let program = Program::new(program);
    let (server, description) = described(worker, &program, guard).await;
    assert!(description.contains(r#""unsafe":null"#), "{description}");
    server
}

type Worker = (Process, Streams);

/// Asks a worker. Returns the result without the quotes of a string.
async fn ask(worker: &Worker, line: &str) -> String {
    put(worker, line);
    let mut answer = Vec::new();
    while answer.len() < 4 || answer.len() < 4 + usize::from(answer[3]) {
        answer.extend(read(&worker.1.stdout).await.expect("an answer before the end"));
    }
    let answer = String::from_utf8(answer.split_off(4)).expect("text");
    let result = answer.strip_prefix("1 =").unwrap_or_else(|| panic!("{answer}"));
    result.trim_matches('"').to_owned()
}

/// Sends a question.
fn put((_, streams): &Worker, line: &str) {
    let question = format!("1 answer {{\"line\":{line:?}}}");
    let length = u32::try_from(question.len()).expect("short").to_be_bytes();
    let message = [&length, question.as_bytes()].concat();
    rustix::io::write(streams.stdin.get_ref(), &message).expect("room");
}

/// Lets a worker leave at the end of its input.
async fn leave((process, streams): Worker) -> Exit {
    drop(streams);
    process.ended().await;
    process.reap()
}

fn send(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("small")).expect("not zero");
    kill_process(id, signal).expect("it is there");
}

const UPPER: &str = "def answer(line: str): return line.upper()";
/// A program that evaluates what it is asked.
const EVAL: &str = "\
import os, ctypes, random
def answer(line): return eval(line)";

#[tokio::test]
async fn a_forked_worker_answers_and_its_end_is_seen() {
    let guard = guard();
    let server = fork_server(UPPER, &guard).await;
    let worker = server.fork(&guard).await.expect("forks");
    assert_eq!(ask(&worker, "some words").await, "SOME WORDS");
    assert_eq!(leave(worker).await, Exit::Code(0));
}

#[tokio::test]
async fn a_forked_worker_is_our_child_leads_its_group_and_has_its_three_streams() {
    let guard = guard();
    let server = fork_server(EVAL, &guard).await;
    let worker = server.fork(&guard).await.expect("forks");
    let id = worker.0.id().to_string();
    assert_eq!(ask(&worker, "os.getpid()").await, id);
    assert_eq!(ask(&worker, "os.getppid()").await, std::process::id().to_string());
    assert_eq!(ask(&worker, "os.getpgid(0)").await, id);
    // 3 is the directory that is being listed. The last two are the questions and the answers.
    let descriptors = "' '.join(sorted(os.listdir('/proc/self/fd'), key=int))";
    assert_eq!(ask(&worker, descriptors).await, "0 1 2 3 1000 1001");
    let kinds =
        "' '.join(os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in (0, 1, 2, 1000, 1001))";
    assert_eq!(ask(&worker, kinds).await, "/dev/null pipe pipe pipe pipe");
    let signal = "[ctypes.CDLL(None).prctl(2, ctypes.byref(n := ctypes.c_int())), n.value][1]";
    assert_eq!(ask(&worker, signal).await, "9", "the kernel kills it with the server");
    let other = server.fork(&guard).await.expect("forks");
    let draw = "random.random()";
    assert_ne!(ask(&worker, draw).await, ask(&other, draw).await, "each draws its own numbers");
}

#[tokio::test]
async fn workers_that_are_forked_at_once_do_not_mix() {
    let guard = guard();
    let program =
        "import os\nloaded = os.getpid()\ndef answer(line): return f'{loaded} {os.getpid()}'";
    let server = fork_server(program, &guard).await;
    let forks =
        async { tokio::join!(server.fork(&guard), server.fork(&guard), server.fork(&guard)) };
    let (one, two, three) = forks.await;
    let mut ids = BTreeSet::new();
    for worker in [one, two, three] {
        let worker = worker.expect("forks");
        assert_eq!(ask(&worker, "").await, format!("{} {}", server.id(), worker.0.id()));
        ids.insert(worker.0.id());
        assert_eq!(leave(worker).await, Exit::Code(0));
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn reaping_kills_what_a_forked_worker_left_in_its_group() {
    let guard = guard();
    let program = "import subprocess\n\
        def answer(line): return subprocess.Popen(['sleep', '1000']).pid";
    let server = fork_server(program, &guard).await;
    let worker = server.fork(&guard).await.expect("forks");
    let other = ask(&worker, "").await.parse().expect("a number");
    send(worker.0.id(), Signal::SEGV);
    worker.0.ended().await;
    assert!(runs(other));
    assert_eq!(worker.0.reap(), Exit::Signal(11));
    wait_until("the end of its child", || !runs(other));
}

#[tokio::test]
async fn workers_go_on_when_their_fork_server_was_killed() {
    let guard = guard();
    let server = fork_server(UPPER, &guard).await;
    let worker = server.fork(&guard).await.expect("forks");
    send(server.id(), Signal::KILL);
    server.ended().await;
    assert_eq!(ask(&worker, "a").await, "A");
    assert!(matches!(server.fork(&guard).await, Err(NotForked::Lost(_))));
    assert_eq!(server.stop().await, Exit::Signal(9));
    assert_eq!(ask(&worker, "b").await, "B");
    assert_eq!(leave(worker).await, Exit::Code(0));
}

#[test]
fn a_fork_server_that_hangs_is_given_up_and_its_late_worker_ends_unborn() {
    helper(OF_A_HANGING_ONE).succeeds();
}

#[tokio::test]
async fn role_of_a_server_whose_fork_server_hangs() {
    if !is_role(OF_A_HANGING_ONE) {
        return;
    }
    let guard = guard();
    let path = format!("{}/httpipe-forks-{}", std::env::temp_dir().display(), std::process::id());
    let program = format!(
        "import os\n\
         class Answer:\n def setup(self): open('{path}', 'a').write(f'{{os.getpid()}} ')\n \
         def answer(self, line: str): return line.upper()\n\
         answer = Answer"
    );
    let server = fork_server(&program, &guard).await;
    send(server.id(), Signal::STOP);
    // The clock jumps to the limit, since nothing else happens.
    tokio::time::pause();
    let forked = server.fork(&guard).await;
    assert!(matches!(forked, Err(NotForked::Lost("did not fork in time"))), "{forked:?}");
    tokio::time::resume();
    let children = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id()));
    send(server.id(), Signal::CONT);
    // It forks for nobody, and then for us.
    let worker = server.fork(&guard).await.expect("forks");
    assert_eq!(ask(&worker, "a").await, "A");
    assert_eq!(children().expect("it runs"), "");
    let id = worker.0.id();
    assert_eq!(leave(worker).await, Exit::Code(0));
    let both = BTreeSet::from([server.id(), guard.id().expect("a guard")]);
    wait_until("only the fork server and the guard are left", || {
        children_of_this_process().into_iter().filter(|id| runs(*id)).collect::<BTreeSet<_>>()
            == both
    });
    let begun = std::fs::read_to_string(&path).expect("readable");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(begun, format!("{id} "), "the late worker ran nothing of the program");
}

/// Returns the children of this process, those that ended and were not reaped included.
fn children_of_this_process() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("readable");
    let lists = tasks.map(|task| task.expect("there").path().join("children"));
    let lists = lists.filter_map(|path| std::fs::read_to_string(path).ok());
    let ids = lists.flat_map(|list| {
        list.split_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<_>>()
    });
    ids.collect()
}

#[tokio::test]
async fn a_fork_that_the_system_refuses_is_an_error_of_that_fork_alone() {
    let guard = guard();
    let program = "\
import os, errno
true_fork, forks = os.fork, []
def fork():
    forks.append(1)
    if len(forks) == 1: raise OSError(errno.EAGAIN, 'no more processes')
    return true_fork()
os.fork = fork
def answer(line): return line";
    let server = fork_server(program, &guard).await;
    match server.fork(&guard).await {
        Err(NotForked::Failed(why)) => assert!(why.contains("no more processes"), "{why}"),
        other => panic!("{other:?}"),
    }
    let worker = server.fork(&guard).await.expect("forks");
    assert_eq!(ask(&worker, "a").await, "a");
}

#[tokio::test]
async fn a_worker_that_dies_before_it_has_said_its_id_is_an_error() {
    let guard = guard();
    let server = changed_fork_server("    os.setpgid(0, 0)\n", "    os._exit(3)\n", &guard).await;
    for _ in 0..3 {
        let forked = server.fork(&guard).await;
        assert!(matches!(forked, Err(NotForked::Failed(_))), "{forked:?}");
    }
}

#[tokio::test]
async fn a_fork_server_that_names_a_strange_process_is_given_up() {
    let guard = guard();
    let say = "    _tell(birth, str(os.getpid()))\n";
    let own = std::process::id();
    for lie in ["1", &own.to_string(), "0", "-7", "x", "99999999999"] {
        let server =
            changed_fork_server(say, &format!("    _tell(birth, '{lie}')\n"), &guard).await;
        let forked = server.fork(&guard).await;
        assert!(matches!(forked, Err(NotForked::Lost(_))), "{lie}: {forked:?}");
    }
}

/// Starts processes that a lying fork server could name: a worker that we have, a child of ours
/// that leads no group, and a process of somebody else that leads one.
#[tokio::test]
async fn a_process_that_another_has_made_is_never_taken_for_a_forked_worker() {
    let guard = guard();
    let (worker, _streams) = spawn(&shell("exec sleep 1000"), &guard).await.expect("starts");
    let run = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().expect("starts")
    };
    let mut ours = run("exec sleep 1000");
    let mut parent = run("setsid sleep 1000 >&2 & echo $!; read x");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("piped")).read_line(&mut line).expect("an id");
    let stranger: u32 = line.trim().parse().expect("a number");
    let leads = |id: u32| {
        let id = Pid::from_raw(i32::try_from(id).expect("small")).expect("not zero");
        getpgid(Some(id)) == Ok(id)
    };
    wait_until("the stranger leads a group", || leads(stranger));
    let say = "    _tell(birth, str(os.getpid()))\n";
    for lie in [worker.id(), ours.id(), stranger] {
        let server =
            changed_fork_server(say, &format!("    _tell(birth, '{lie}')\n"), &guard).await;
        let forked = server.fork(&guard).await;
        assert!(matches!(forked, Err(NotForked::Lost(_))), "{lie}: {forked:?}");
        assert!(runs(lie), "it is left alone");
    }
    send(stranger, Signal::KILL);
    for child in [&mut ours, &mut parent] {
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}

#[test]
fn the_end_of_a_worker_that_comes_before_its_id_is_not_lost_to_the_reaper() {
    helper(OF_EARLY_DEATHS).succeeds();
}

/// Has its own process, because it reaps strangers.
#[tokio::test]
async fn role_of_a_server_whose_workers_die_early() {
    if !is_role(OF_EARLY_DEATHS) {
        return;
    }
    reaper::expect_children();
    let guard = guard();
    // The fork server says that the worker is ours only when the reaper had time to see its end.
    let dies = "    _tell(birth, str(os.getpid()))\n    os.kill(os.getpid(), 9)\n";
    let source = changed("    _tell(birth, str(os.getpid()))\n", dies);
    let late = "        signal.sigtimedwait([], 0.05)\n        _tell(birth, \".\")\n";
    let source = source.replace("        _tell(birth, \".\")\n", late);
    let server = fork_server_of(&source, UPPER, &guard).await;
    let strangers = reaper::reap_strangers(guard.clone());
    let forking = async {
        for _ in 0..5 {
            let (process, _streams) = server.fork(&guard).await.expect("forks");
            process.ended().await;
            assert_eq!(process.reap(), Exit::Signal(9));
        }
        while children_of_this_process().len() > 2 {
            moment().await;
        }
    };
    tokio::select! {
        _ = strangers => panic!("it never ends"),
        done = tokio::time::timeout(LONG, forking) => done.expect("in time"),
    }
}

/// Runs a worker that does not see the end of its input, with a child in its group. Prints all
/// ids, and never returns.
#[tokio::test]
async fn role_of_a_server_with_a_fork_server() {
    if !is_role(WITH_A_FORK_SERVER) {
        return;
    }
    let guard = guard();
    let program = "\
import subprocess, signal
def answer(line: str):
    if line == 'pause': signal.pause()
    return subprocess.Popen(['sleep', '1000'], stdin=-3, stdout=-3, stderr=-3).pid";
    let server = fork_server(program, &guard).await;
    let worker = server.fork(&guard).await.expect("forks");
    let other = ask(&worker, "").await;
    put(&worker, "pause");
    let guard_id = guard.id().expect("a guard");
    let news = format!("ids {} {} {guard_id} {other}\n", server.id(), worker.0.id());
    rustix::io::write(rustix::stdio::stdout(), news.as_bytes()).expect("told");
    std::future::pending::<()>().await;
}

#[test]
fn nothing_that_was_forked_outlives_a_server_that_was_killed() {
    let mut server = helper(WITH_A_FORK_SERVER).0;
    let stdout = BufReader::new(server.stdout.take().expect("piped"));
    let line = stdout
        .lines()
        .map(|line| line.expect("text"))
        .find_map(|line| line.split_once("ids ").map(|(_, ids)| ids.to_owned()))
        .expect("the ids");
    let ids: Vec<u32> = line.split(' ').map(|id| id.parse().expect("a number")).collect();
    assert_eq!(ids.len(), 4);
    server.kill().expect("killed");
    for (id, what) in ids.iter().zip(["fork server", "worker", "guard", "worker's child"]) {
        wait_until(&format!("the end of the {what}"), || !runs(*id));
    }
    server.wait().expect("reaped");
}

#[test]
fn a_fork_that_fails_halfway_leaves_nothing_behind() {
    helper(WITHOUT_DESCRIPTORS).succeeds();
}

#[tokio::test]
async fn role_of_a_server_that_forks_without_descriptors() {
    if !is_role(WITHOUT_DESCRIPTORS) {
        return;
    }
    let guard = guard();
    let server = fork_server(UPPER, &guard).await;
    let fork = async || match server.fork(&guard).await {
        Ok(made) => Ok(made),
        Err(NotForked::System(error)) => Err(error),
        Err(other) => panic!("{other}"),
    };
    with_every_limit_of_descriptors(fork, || {
        let both = BTreeSet::from([server.id(), guard.id().expect("a guard")]);
        wait_until("only the fork server and the guard are left", || {
            children_of_this_process().into_iter().collect::<BTreeSet<_>>() == both
        });
    })
    .await;
}
