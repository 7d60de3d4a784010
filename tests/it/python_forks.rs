//! Workers of functions come from a fork server, unless the import made that unsafe.

use crate::support::{Plan, Server};

/// Plans a server of the functions `f`, and of `pid`, of a module that begins like this.
fn module(begin: &str, options: &[&str]) -> Plan {
    let text = format!("import os\n{begin}\ndef pid() -> int: return os.getpid()\n");
    let arguments = [&["program.py:*"], options].concat();
    Server::args(&arguments).file("program.py", &text)
}

const FORKED: &str = "httpipe_worker_forks_total{pool=\"program\"}";
const STARTED: &str = "httpipe_worker_starts_total{pool=\"program\"}";
const LOST: &str = "httpipe_fork_servers_lost_total{pool=\"program\"}";

/// Waits until this many workers are ready.
fn wait_for_workers(server: &Server, count: usize) {
    server.wait_until("the workers are ready", |server| {
        server.metric("httpipe_workers{pool=\"program\",state=\"ready\"}") >= count as f64
    });
}

#[test]
fn workers_are_forked_from_one_import() {
    let begin = "\
print('imported by', os.getpid())
loaded = os.getpid()
def loader() -> list[int]: return [loaded, os.getppid()]";
    let server = module(begin, &["--workers", "4"]).start();
    wait_for_workers(&server, 4);
    assert_eq!(server.workers().len(), 4);
    let fork_server = server.fork_server().expect("there is one");
    let told = server.client().get("/loader").body;
    assert!(told.starts_with(&format!("[{fork_server},")), "{told} and not {fork_server}");
    server.wait_for_log("fork: import ");
    assert_eq!((server.metric(FORKED), server.metric(STARTED)), (4.0, 4.0));
    let said = server.wait_for_log(&format!("imported by {fork_server}"));
    assert!(!said.contains("\"worker\":"), "a line of the fork server is none of a worker: {said}");
    let pid: u32 = server.client().get("/pid").body.parse().expect("a number");
    assert!(server.workers().contains(&pid));
}

#[test]
fn a_forked_worker_that_crashes_is_replaced_and_its_lines_are_its_own() {
    let begin = "\
import signal
def crash():
    print('last words', flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)";
    let server = module(begin, &["--workers", "1"]).start();
    wait_for_workers(&server, 1);
    let before = server.workers();
    let lost = server.client().get("/crash");
    assert_eq!((lost.status, lost.code().as_str()), (502, "worker_lost"), "{lost:?}");
    assert!(server.wait_for_log("last words").contains("\"worker\":1"));
    let after: u32 = server.client().get("/pid").body.parse().expect("a number");
    assert!(!before.contains(&after));
    assert_eq!(server.metric(FORKED), 2.0);
}

#[test]
fn a_fork_server_that_dies_costs_no_call_and_is_replaced() {
    let server = module("", &["--workers", "2"]).start();
    wait_for_workers(&server, 2);
    let workers = server.workers();
    let fork_server = server.fork_server().expect("there is one");
    server.signal_worker(fork_server, "KILL");
    let pid: u32 = server.client().get("/pid").body.parse().expect("a number");
    assert!(workers.contains(&pid), "the workers go on");
    server.wait_for_log("there is no fork server");
    server.wait_until("there is another", |server| {
        server.fork_server().is_some_and(|id| id != fork_server)
    });
    server.wait_for_count(LOST, 1.0);
    assert_eq!(server.workers(), workers);
    server.signal_worker(workers[0], "KILL");
    server.wait_for_count(STARTED, 3.0);
    wait_for_workers(&server, 2);
    assert_eq!(server.client().get("/pid").status, 200);
}

#[test]
fn a_fork_server_that_hangs_is_replaced_and_no_caller_waits_for_it() {
    let server = module("", &["--workers", "1"]).start();
    wait_for_workers(&server, 1);
    let (worker, hanging) = (server.workers()[0], server.fork_server().expect("there is one"));
    server.signal_worker(hanging, "STOP");
    server.signal_worker(worker, "KILL");
    server.wait_for_log("there is no fork server");
    server.wait_until("it is killed", |server| !server.is_alive(hanging));
    assert_eq!(server.client().get("/pid").status, 200);
}

#[test]
fn what_the_import_did_may_make_workers_start_by_themselves() {
    let holds_a_lock = "\
import threading, time
lock = threading.Lock()
def hold():
    while True:
        with lock: time.sleep(0.01)
threading.Thread(target=hold, daemon=True, name='refresher').start()
def use() -> str:
    with lock: return 'used'";
    let server = module(holds_a_lock, &["--workers", "2"]).start();
    wait_for_workers(&server, 2);
    server.wait_for_log("fork: no, the import started threads: refresher");
    for _ in 0..4 {
        assert_eq!(server.client().get("/use").body, "\"used\"");
    }
    assert_eq!((server.metric(FORKED), server.metric(STARTED)), (0.0, 2.0));
    server.wait_until("the fork server has gone", |server| server.fork_server().is_none());
}

#[test]
fn forks_can_be_switched_off_and_insisted_on() {
    let server = module("", &["--workers", "1", "--fork=false"]).start();
    wait_for_workers(&server, 1);
    assert_eq!((server.metric(FORKED), server.fork_server()), (0.0, None));
    let begin = "pipe = os.pipe()";
    let server = module(begin, &["--workers", "1", "--fork=true"]).start();
    wait_for_workers(&server, 1);
    server
        .wait_for_log("fork: although the import left open: a pipe, a pipe, since `fork` is true");
    assert_eq!(server.metric(FORKED), 1.0);
}

#[test]
fn a_setup_runs_in_each_worker_and_the_rest_of_a_class_once() {
    let begin = "\
class Model:
    def __init__(self): self.made = os.getpid()
    def setup(self): self.set_up = os.getpid()
    def ids(self) -> list[int]: return [self.made, self.set_up, os.getpid()]";
    let text = format!("import os\n{begin}\n");
    let server = Server::args(&["program.py:Model", "--workers", "1"]).file("program.py", &text);
    let server = server.start();
    wait_for_workers(&server, 1);
    let ids = server.client().get("/ids").json();
    let [made, set_up, own] = [0, 1, 2].map(|n| ids[n].as_u64().expect("an id"));
    assert_eq!(u64::from(server.fork_server().expect("there is one")), made);
    assert_eq!(set_up, own);
}

#[test]
fn a_reload_forks_from_a_new_import() {
    let server = module("def word() -> str: return 'old'", &["--workers", "2"]).start();
    wait_for_workers(&server, 2);
    let before = server.fork_server();
    server.write("program.py", "import os\ndef word() -> str: return 'new'\n");
    server.signal("HUP");
    server.wait_until("the new code answers", |server| {
        server.client().get("/word").body == "\"new\""
    });
    server.wait_until("the old fork server has gone", |server| {
        server.fork_server().is_some() && server.fork_server() != before
    });
    assert_eq!(server.metric(LOST), 0.0);
}

#[test]
fn a_script_forks_where_it_serves() {
    let text = "\
import os
import httpipe
loaded = os.getpid()
def loader() -> list[int]: return [loaded, os.getpid()]
if __name__ == '__main__':
    httpipe.serve(loader)
    print('after the last call')
";
    let server = Server::args(&["program.py", "--workers", "2"]).file("program.py", text).start();
    wait_for_workers(&server, 2);
    let told = server.client().get("/loader").json();
    assert_eq!(told[0].as_u64(), server.fork_server().map(u64::from));
    assert_ne!(told[0], told[1]);
}

#[test]
fn nothing_of_a_pool_with_a_fork_server_is_left_when_the_server_is_killed() {
    let mut server = module("", &["--workers", "2"]).start();
    wait_for_workers(&server, 2);
    assert_eq!(server.offspring().len(), 3, "two workers and the fork server");
    server.signal("KILL");
    server.exit_code();
    server.wait_until("all are gone", |server| server.offspring().is_empty());
}

#[test]
fn a_module_that_closed_its_standard_streams_has_forked_workers() {
    for begin in ["os.close(0)", "os.closerange(0, 3)"] {
        let server = module(begin, &["--workers", "2"]).start();
        wait_for_workers(&server, 2);
        assert_eq!(server.client().get("/pid").status, 200, "{begin}");
        assert_eq!((server.metric(FORKED), server.metric(STARTED)), (2.0, 2.0), "{begin}");
    }
}
