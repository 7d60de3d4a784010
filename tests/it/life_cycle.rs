//! Starting, reloading and stopping, as operators and other programs do it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Over, Pending, Server, Stopwatch, passed_over, pause, shell};

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];

fn reload(server: &Server) -> u16 {
    server.admin().later("POST", "/reload", OPERATOR, "").answer().status
}

/// Asks without a pause until `over`, each time with a new token. Every question must be answered.
/// Adds 1 to `asking` after the first answer.
fn ask_until(server: &Server, over: &AtomicBool, asking: &AtomicUsize, caller: usize) {
    let client = server.client();
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        let token = format!("sleep 1 token-{caller}-{round}");
        let answer = client.post("/", &token);
        assert_eq!((answer.status, answer.body.as_str()), (200, token.as_str()), "{answer:?}");
        asking.fetch_add(usize::from(round == 0), Ordering::Relaxed);
        round += 1;
    }
}

/// Runs `act` while four callers ask. All of them must get their answers.
fn under_load(server: &Server, act: impl FnOnce()) {
    let (over, asking) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (over, asking) = (&over, &asking);
        let callers: Vec<_> = (0..4)
            .map(|caller| scope.spawn(move || ask_until(server, over, asking, caller)))
            .collect();
        let until_here = Over(over);
        server.wait_until("all of them ask", |_| asking.load(Ordering::Relaxed) == 4);
        act();
        drop(until_here);
        for caller in callers {
            caller.join().expect("no caller noticed anything");
        }
    });
}

#[test]
fn fifty_hangups_in_a_second_lose_no_call() {
    let server = Server::with("workers = 2\nenv = { COLOUR = \"red\" }").start();
    let offspring = server.offspring().len();
    under_load(&server, || {
        for round in 0..50 {
            let (old, new) = if round % 2 == 0 { ("red", "blue") } else { ("blue", "red") };
            server.rewrite(old, new);
            server.signal("HUP");
            pause(Duration::from_millis(20), "fifty hang-ups in a second");
        }
        server.rewrite("\"red\"", "\"last\"");
        server.wait_until("the last reload is through", |s| reload(s) == 200);
    });
    server.wait_until("the last one answers", |s| s.answers("env COLOUR").body == "last");
    server.wait_until("no generation is left over", |s| {
        s.workers().len() == 2 && s.zombies() == 0 && s.offspring().len() == offspring
    });
}

#[test]
fn workers_stay_when_only_their_number_or_times_change() {
    let server = Server::with("workers = 2\ntimeout = \"9s\"").start();
    let old = server.workers();
    under_load(&server, || {
        server.rewrite("timeout = \"9s\"", "timeout = \"8s\"");
        assert_eq!(reload(&server), 200);
        assert_eq!(server.workers(), old, "other times need no other workers");
        server.rewrite("workers = 2", "workers = 4");
        assert_eq!(reload(&server), 200);
        server.wait_until("there are four", |s| s.workers().len() == 4);
        assert!(old.iter().all(|worker| server.workers().contains(worker)), "the old ones stay");
        server.rewrite("workers = 4", "workers = 1");
        assert_eq!(reload(&server), 200);
        server.wait_until("there is one", |s| s.workers().len() == 1);
    });
}

#[test]
fn another_program_replaces_the_old_one_without_a_lost_call() {
    let server = Server::with("workers = 2").worker("demo-worker --slow-start 0ms").start();
    let old = server.workers();
    under_load(&server, || {
        server.rewrite("\"0ms\"", "\"100ms\"");
        assert_eq!(reload(&server), 200);
        server.wait_until("the old ones have gone", |s| {
            s.workers().len() == 2 && s.workers().iter().all(|worker| !old.contains(worker))
        });
    });
}

#[test]
fn a_call_whose_caller_left_keeps_the_old_program_only_until_it_ends() {
    let server = Server::with("workers = 1\nprobe = { send = \"1\" }\nabandoned = \"9s\"")
        .worker("demo-worker --slow-start 0ms")
        .start();
    let old = server.workers();
    let caller = server.client().post_later("/", "sleep 2500 answer");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    caller.leave();
    server.rewrite("\"0ms\"", "\"1ms\"");
    assert_eq!(reload(&server), 200);
    server.wait_until("the old one has gone", |s| {
        s.workers().len() == 1 && !s.workers().contains(&old[0])
    });
}

/// Starts a process outside its group that keeps stderr open, and answers with the id of that
/// process. Ends at the second question.
const LEAVER: &str = "read -r x
setsid sh -c 'echo $$; exec sleep 1000 >/dev/null' </dev/null &
read -r y; exit 3";

#[test]
fn a_process_that_holds_the_stderr_of_a_dead_worker_costs_the_server_nothing() {
    let server =
        Server::with("workers = 1\nretries = 0").worker("sh leaver").file("leaver", LEAVER).start();
    let before = server.descriptors();
    let left: u32 = server.answers("leave").body.trim().parse().expect("an id");
    assert_eq!(server.answers("end").code(), "worker_lost");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    // The server has adopted the one that left.
    server.wait_until("there is another worker", |s| s.workers().iter().any(|id| *id != left));
    server.wait_until("nothing of the old one is held", |s| s.descriptors() <= before);
    assert!(server.is_alive(left), "it would have let go of it");
    server.signal_worker(left, "KILL");
}

#[test]
fn a_broken_file_changes_nothing_under_load() {
    let server = Server::with("workers = 2").start();
    let old = server.workers();
    under_load(&server, || {
        server.rewrite("[pool.main]", "[pool.main");
        assert_eq!(reload(&server), 409);
        server.signal("HUP");
        server.wait_for_log("httpipe.toml");
        server.rewrite("[pool.main", "[pool.main]");
        server.rewrite("demo-worker", "no-such-worker-at-all");
        server.rewrite(env!("CARGO_BIN_EXE_httpipe"), "/nowhere/httpipe");
        assert_eq!(reload(&server), 409);
    });
    assert_eq!(server.workers(), old);
}

#[test]
fn a_stop_under_load_answers_what_was_accepted() {
    let mut server = Server::with("workers = 2").start();
    let client = server.client();
    let waiting: Vec<Pending> =
        (0..40).map(|number| client.post_later("/", &format!("sleep 20 {number}"))).collect();
    server.wait_until("all are accepted", |s| s.metric("httpipe_queue_length") >= 30.0);
    server.signal("TERM");
    for (number, caller) in waiting.into_iter().enumerate() {
        let answer = caller.answer();
        let expected = format!("sleep 20 {number}");
        assert_eq!((answer.status, answer.body), (200, expected));
    }
    assert_eq!(server.exit_code(), 0);
    assert!(server.offspring().is_empty(), "{:?}", server.offspring());
}

#[test]
fn a_stop_in_the_middle_of_a_reload_ends_both_generations() {
    let mut server = Server::with("workers = 2\nprobe = { send = \"1\" }\nstop_grace = \"50ms\"")
        .worker("demo-worker --slow-start 0ms")
        .start();
    server.rewrite("\"0ms\"", "\"20s\"");
    server.signal("HUP");
    server.wait_until("the new ones start", |s| s.workers().len() > 2);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(server.offspring().is_empty(), "{:?}", server.offspring());
}

#[test]
fn a_server_killed_under_load_leaves_no_process() {
    let mut server =
        Server::with("workers = 3").worker("demo-worker --ignore-term --ignore-eof").start();
    let client = server.client();
    assert_eq!(server.answers("fork 3 a").status, 200);
    let waiting: Vec<Pending> = (0..10).map(|_| client.post_later("/", "hang")).collect();
    server.wait_until("all work", |s| s.metric("httpipe_workers{state=\"busy\"}") == 3.0);
    let killed = Stopwatch::start();
    server.signal("KILL");
    assert_eq!(server.exit_code(), -1);
    server.wait_until("all have gone", |s| s.offspring().is_empty());
    assert!(killed.took().is_below(Duration::from_secs(2)), "{:?}", killed.took());
    waiting.into_iter().for_each(Pending::leave);
}

/// In a container, the server may be process 1. It then becomes the parent of every orphan and
/// reaps it.
#[test]
fn a_server_that_is_process_1_reaps_strangers() {
    let (may, why) = shell("unshare --pid --fork --mount-proc true");
    if may != 0 {
        return passed_over(
            &format!("no process namespace: {why}"),
            "it takes root with CAP_SYS_ADMIN",
        );
    }
    // The worker's grandchild ends after its parent, which leaves it to the first process.
    let orphaning = "while read -r x; do (sleep 0.1 &) ; echo \"$x\"; done";
    let server = Server::with("workers = 1")
        .worker(&format!("sh -c '{orphaning}'"))
        .under("unshare --pid --fork --kill-child --mount-proc")
        .start();
    for round in 0..10 {
        let text = format!("round {round}");
        assert_eq!(server.answers(&text).body, text);
    }
    server.wait_until("they are reaped", |s| s.zombies() == 0 && s.offspring().len() <= 3);
}

/// Some parents leave signals ignored and descriptors closed.
#[test]
fn a_server_started_by_a_careless_parent_works() {
    let careless = "trap \"\" CHLD PIPE HUP; exec \"$@\" <&- >&-";
    let server =
        Server::with("workers = 1\nretries = 0").under(&format!("sh -c '{careless}' sh")).start();
    if let Some(standard) = server.standard_descriptors() {
        assert_eq!(standard[..2], ["/dev/null", "/dev/null"]);
    }
    assert_eq!(server.answers("fds").body, "0 1 2");
    assert_eq!(server.answers("crash").code(), "worker_lost");
    assert_eq!(server.answers("after").body, "after");
    // A caller that leaves in the middle of its answer would raise SIGPIPE.
    server.client().post_later("/", "sleep 30 left").leave();
    assert_eq!(server.answers("still").body, "still");
    server.wait_until("deaths are noticed", |s| s.zombies() == 0);
}

#[test]
fn with_all_three_descriptors_closed_no_pipe_takes_their_place() {
    let server = Server::with("workers = 1")
        .top("listen = \"unix:callers\"\nadmin = \"unix:operators\"")
        .under("sh -c 'exec \"$@\" <&- >&- 2>&-' sh")
        .start_mute("unix:callers", "unix:operators");
    server.wait_until("it listens", |s| !s.client().is_refused() && !s.admin().is_refused());
    server.wait_until_ready();
    if let Some(standard) = server.standard_descriptors() {
        assert_eq!(standard, ["/dev/null"; 3]);
    }
    assert_eq!(server.answers("fds").body, "0 1 2");
    assert_eq!(server.answers("stderr into nothing").status, 200);
}

#[test]
fn a_log_that_nobody_can_write_stops_nothing() {
    let server = Server::with("workers = 1\nretries = 0")
        .top("listen = \"unix:callers\"\nadmin = \"unix:operators\"")
        .under("sh -c 'exec \"$@\" >/dev/full 2>&1' sh")
        .start_mute("unix:callers", "unix:operators");
    server.wait_until("it listens", |s| !s.client().is_refused() && !s.admin().is_refused());
    for round in 0..20 {
        assert_eq!(server.answers(&format!("stderr {round}")).status, 200);
    }
    server.wait_until("what was lost is counted", |s| s.metric("httpipe_log_dropped_total") > 0.0);
}

#[test]
fn a_unix_socket_is_replaced_when_stale_and_named_when_in_use() {
    let mut first = Server::with("workers = 1").top("listen = \"unix:callers\"").start();
    assert_eq!(first.answers("hello").body, "hello");
    let path = first.dir().join("callers");
    let mode = shell(&format!("stat -c %a {}", path.display())).1;
    assert_eq!(mode.trim(), "660");

    let keys = format!("listen = \"unix:{}\"", path.display());
    let ended = Server::with("workers = 1").top(&keys).refused();
    assert!(matches!(ended.code, 1 | 2), "{ended:?}");
    assert!(ended.stderr.contains("callers"), "{}", ended.stderr);
    assert_eq!(first.answers("still").body, "still", "the live one keeps its socket");

    first.signal("KILL");
    first.exit_code();
    assert!(path.exists(), "a killed server cannot clean up");
    let mut second = Server::with("workers = 1").top(&keys).start();
    assert_eq!(second.answers("second").body, "second");
    second.signal("TERM");
    assert_eq!(second.exit_code(), 0);
    assert!(!path.exists(), "it goes with its server");
}
