//! Machines that show processes to few: `hidepid` of `/proc`, and Yama, which lets only root trace others.

use super::sandbox::{PROGRAM, has_landlock};
use super::{NOBODY, without_privileges};
use crate::support::{Server, can_inject, passed_over, shell};

/// Starts a command where each user sees only processes of their own. The word has a meaning since Linux 5.8;
/// before that, the option would hold for the whole machine.
const HIDING: &str = "mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"\n";

/// Returns true if processes can be hidden from a server. Otherwise the test is skipped.
fn can_hide() -> bool {
    let tried = "unshare --mount sh -c 'mount -t proc -o hidepid=invisible proc /proc'";
    let can = shell(tried).0 == 0;
    if !can {
        passed_over("no `/proc` can be mounted", "it takes root, `unshare` and Linux 5.8");
    }
    can && without_privileges().is_some()
}

#[test]
fn a_server_needs_to_see_no_processes_but_its_own() {
    if !can_hide() {
        return;
    }
    let pool = "workers = 1\nframing = \"turn\"\ntimeout = \"1s\"";
    let server = Server::with(pool)
        .worker("python3 worker.py")
        .file("worker.py", PROGRAM)
        .file("hide", HIDING)
        .under(&format!("unshare --mount sh hide {NOBODY}"))
        .start();
    assert_eq!(server.answers("os.path.exists('/proc/1')").body, "False", "it is hidden");
    assert_eq!(server.answers("print('a') or 'b'").body, "a\nb", "its turn is seen to end");
    let worker = server.workers()[0];
    assert_eq!(server.answers("__import__('time').sleep(1000)").status, 504);
    server.wait_until("it is gone", |it| !it.is_alive(worker));
    let lines = server.log_lines();
    assert!(!lines.iter().any(|line| line.contains("does not show")), "{lines:?}");
}

#[test]
fn a_program_of_another_user_does_not_see_its_server() {
    if !can_hide() || !has_landlock() {
        return;
    }
    let server = Server::with("workers = 1\nframing = \"turn\"\nsandbox = { user = \"nobody\" }")
        .worker("/usr/bin/python3 worker.py")
        .file("worker.py", PROGRAM)
        .file("hide", HIDING)
        .under("unshare --mount sh hide")
        .start();
    assert_eq!(server.answers("os.path.exists(f'/proc/{SERVER}')").body, "False");
    assert_eq!(server.answers("print('a') or 'b'").body, "a\nb", "the server sees it");
}

const SERVES: &str =
    "import sys\nfor line in sys.stdin: print('answer ' + line.strip(), flush=True)";

/// What a worker does can then be opened and not read. The answers are right, and the log says it.
#[test]
fn where_only_root_may_trace_programs_are_served_and_told_of() {
    if !can_inject() {
        return;
    }
    let server =
        Server::with("workers = 1").worker("python3 worker.py").file("worker.py", SERVES).start();
    assert_eq!(server.answers("0").body, "answer 0");
    let fault = server.inject("httpipe", "pread64:error=EPERM");
    for number in 1..20 {
        assert_eq!(server.answers(&number.to_string()).body, format!("answer {number}"));
    }
    server.wait_for_log("the kernel does not show what it does");
    fault.end();
}

/// The machine itself must be so: this is no setting that a test may change.
#[test]
fn yama_at_its_second_level_hides_programs_from_all_but_root() {
    let level = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let level = level.ok().and_then(|text| text.trim().parse::<u8>().ok());
    if level.is_none_or(|level| level < 2) {
        return passed_over(
            &format!("Yama is at level {level:?}"),
            "`sysctl kernel.yama.ptrace_scope=2` on a machine of your own",
        );
    }
    let Some(under) = without_privileges() else { return };
    let plan = || Server::with("workers = 1").worker("python3 w.py").file("w.py", SERVES);
    let server = plan().under(under).start();
    for number in 0..20 {
        assert_eq!(server.answers(&number.to_string()).body, format!("answer {number}"));
    }
    server.wait_for_log("the kernel does not show what it does");
    if under == NOBODY {
        let server = Server::with("workers = 1\nframing = \"turn\"")
            .worker("python3 worker.py")
            .file("worker.py", PROGRAM)
            .start();
        assert_eq!(server.answers("print('a') or 'b'").body, "a\nb", "root sees it");
    }
}

/// Makes `prctl(PR_GET_AUXV)` an unknown request, as it is before Linux 6.4.
const OLD: &str = "\
import ctypes, os, struct, sys
prctl = 157 if os.uname().machine == 'x86_64' else 167
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, prctl), (0x20, 0, 0, 16), (0x15, 0, 1, 0x41555856),
         (0x06, 0, 0, 0x00050016), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack('H6xQ', len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
os.execvp(sys.argv[1], sys.argv[1:])
";

/// A server that hides its memory cannot read `/proc/self/auxv` either.
#[test]
fn an_older_kernel_that_tells_a_server_little_of_itself_is_enough() {
    let Some(under) = without_privileges() else { return };
    let server = Server::with("workers = 1")
        .file("old.py", OLD)
        .under(&format!("{under} /usr/bin/python3 old.py"))
        .start();
    let worker = &server.status()["pools"][0]["workers"][0];
    assert!(worker["memory"].as_u64().is_some_and(|memory| memory > 100_000), "{worker}");
}
