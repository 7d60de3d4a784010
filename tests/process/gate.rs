//! What a program does while it is imported decides whether workers can be forked from it. The
//! reasons are those that the log and `httpipe check` show.

use crate::python::{Program, WORKER, described};
use crate::support::guard;

/// Returns why workers cannot be forked from a program that begins like this; empty: they can.
async fn unsafe_of(begin: &str) -> String {
    let program = Program::new(&format!("{begin}\ndef answer(line: str): return line"));
    let (_server, description) = described(WORKER, &program, &guard()).await;
    let (_, behind) = description.split_once(r#""unsafe":"#).expect("it says it");
    let (reason, _) = behind.split_once(",\"files\"").expect("the next member");
    if reason == "null" { String::new() } else { reason.trim_matches('"').to_owned() }
}

#[tokio::test]
async fn an_ordinary_import_is_safe() {
    assert_eq!(
        unsafe_of("import json, sqlite3, subprocess, tempfile, threading, asyncio").await,
        ""
    );
    let used = "\
import asyncio, concurrent.futures, logging, mmap, os, socket, sqlite3, subprocess, tempfile, threading
async def nothing(): pass
asyncio.run(nothing())
with concurrent.futures.ThreadPoolExecutor(3) as pool: list(pool.map(abs, range(9)))
threading.Thread(target=print).start()
subprocess.run(['true'])
with tempfile.TemporaryDirectory() as place: pass
with socket.socket() as it: pass
sqlite3.connect(':memory:')";
    assert_eq!(unsafe_of(used).await, "", "what is closed, joined and removed leaves nothing");
}

#[tokio::test]
async fn open_files_that_workers_can_share_are_safe() {
    let begin = "\
import logging, mmap, os, tempfile
log, name = tempfile.mkstemp(); os.close(log)
logging.basicConfig(filename=name)
with open('/etc/passwd', 'rb') as file: passwords = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
null, here = open(os.devnull, 'w'), os.open('/', os.O_RDONLY)
os.unlink(name)";
    assert_eq!(unsafe_of(begin).await, "");
}

#[tokio::test]
async fn threads_are_unsafe() {
    let holds_a_lock = "\
import threading, time
lock = threading.Lock()
def refresh():
    while True:
        with lock: time.sleep(0.5)
threading.Thread(target=refresh, daemon=True, name='refresher').start()";
    assert_eq!(unsafe_of(holds_a_lock).await, "the import started threads: refresher");
    let executor = "\
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
pool.submit(int).result()";
    let reason = unsafe_of(executor).await;
    assert!(reason.starts_with("the import started threads: ThreadPoolExecutor"), "{reason}");
    let many = "\
import threading
for n in range(9): threading.Thread(target=threading.Event().wait, daemon=True, name=f't{n}').start()";
    let reason = "the import started threads: t0, t1, t2, t3, t4 and 4 more";
    assert_eq!(unsafe_of(many).await, reason);
}

/// Starts a thread that Python does not know, as OpenMP, polars and other libraries do.
const FOREIGN: &str = "\
import ctypes, os
c = ctypes.CDLL(None)
thread = ctypes.c_ulong()
c.pthread_create(ctypes.byref(thread), None, c.pause, None)
";

#[tokio::test]
async fn a_thread_of_a_library_is_unsafe_unless_the_library_ends_it_before_a_fork() {
    let reason = "the import left 1 thread of a library, which may hold a lock";
    assert_eq!(unsafe_of(FOREIGN).await, reason);
    // As OpenBLAS does.
    let ends = format!(
        "{FOREIGN}
def end():
    global thread
    if thread: c.pthread_cancel(thread); c.pthread_join(thread, None); thread = None
os.register_at_fork(before=end)"
    );
    assert_eq!(unsafe_of(&ends).await, "");
    let hangs = format!("{FOREIGN}\nos.register_at_fork(after_in_child=c.pause)");
    assert_eq!(unsafe_of(&hangs).await, "a process that was forked on trial hung");
}

#[tokio::test]
async fn descriptors_that_workers_would_share_are_unsafe() {
    for (begin, reason) in [
        ("import socket; pair = socket.socketpair()", "a socket, a socket"),
        ("import os; pipe = os.pipe()", "a pipe, a pipe"),
        ("import select; poll = select.epoll()", "anon_inode:[eventpoll]"),
        ("file = open('/etc/passwd'); file.readline()", "the file /etc/passwd"),
        ("import os; terminal = os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)", "/dev/ptmx"),
    ] {
        let whole = format!("the import left open: {reason}");
        let got = unsafe_of(begin).await.replace("/dev/pts/ptmx", "/dev/ptmx");
        assert_eq!(got, whole, "{begin}");
    }
    let strange = "\
import os, tempfile
place = tempfile.mkdtemp().encode()
file = os.open(place + b'/\\xff', os.O_RDWR | os.O_CREAT)
os.unlink(place + b'/\\xff'); os.rmdir(place)";
    let reason = unsafe_of(strange).await;
    assert!(reason.ends_with("/? (deleted)"), "any bytes may be in a path: {reason}");
    let database = "\
import os, sqlite3, tempfile
place = tempfile.mkdtemp()
database = sqlite3.connect(place + '/data')
database.execute('create table t (n)')
os.unlink(place + '/data'); os.rmdir(place)";
    let reason = unsafe_of(database).await;
    assert!(reason.starts_with("the import left open: the file /"), "{reason}");
}

#[tokio::test]
async fn what_one_worker_would_take_from_the_others_is_unsafe() {
    for (begin, reason) in [
        ("import asyncio; loop = asyncio.new_event_loop()", "the import made an event loop"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 1000)", "the import started a timer"),
        (
            "import subprocess; child = subprocess.Popen(['sleep', '1000'])",
            "the import started processes: sleep (",
        ),
        (
            "import tempfile; place = tempfile.TemporaryDirectory()",
            "the import made a temporary directory, which the first worker to end would remove: /",
        ),
        (
            "import tempfile; file = tempfile.NamedTemporaryFile()",
            "the import made a temporary file, which the first worker to end would remove: /",
        ),
    ] {
        let got = unsafe_of(begin).await;
        assert!(got.starts_with(reason), "{begin}: {got}");
    }
}
