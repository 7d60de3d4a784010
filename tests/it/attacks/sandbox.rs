//! What a program in a sandbox may do, and what common programs do not notice of it.

use super::without_privileges;
use crate::keys::bearer;
use crate::support::{Plan, Server, has_strace, passed_over, shell};

pub(super) const PROGRAM: &str = include_str!("evaluates.py");

/// A server whose worker does what it is told, in a sandbox.
fn sandboxed(pool: &str) -> Option<Plan> {
    let under = without_privileges()?;
    if !has_landlock() {
        return None;
    }
    let plan = Server::with(pool).worker("python3 worker.py").file("worker.py", PROGRAM);
    Some(plan.under(under))
}

/// Returns the version of Landlock in this kernel; 0: there is none.
fn landlock() -> i64 {
    let ask = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))";
    shell(&format!("python3 -c '{ask}'")).1.trim().parse().unwrap_or(0)
}

/// Returns true if this kernel can fence programs in. Otherwise the test is skipped.
pub(crate) fn has_landlock() -> bool {
    let has = landlock() > 0;
    if !has {
        passed_over("this kernel has no Landlock", "it takes Linux 5.13");
    }
    has
}

/// Refused since the sixth version.
const KILL: &str = "os.kill(SERVER, 9)";

/// What a worker tries, and the answer.
const TRIES: [(&str, &str); 25] = [
    // Files.
    ("open('worker.py').read(3)", "\"\"\""),
    ("open('/etc/passwd').read(4)", "root"),
    ("open('written', 'w')", "EACCES"),
    ("os.truncate('worker.py', 0)", "EACCES"),
    ("os.rename('worker.py', 'other.py')", "EACCES"),
    ("os.listdir('/tmp')", "EACCES"),
    ("os.listdir('/home')", "EACCES"),
    ("open('/dev/null', 'w').write('x')", "1"),
    ("tempfile.TemporaryFile('w').write('x')", "1"),
    ("os.symlink(os.getcwd(), TMP + '/trap') or open(TMP + '/trap/written', 'w')", "EACCES"),
    ("open(TMP + '/large', 'wb').truncate(10 << 30)", "EFBIG"),
    // The network, the admin listener, and sockets in files such as that of docker.
    ("socket.socket()", "EACCES"),
    ("socket.socket(socket.AF_UNIX)", "EACCES"),
    ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "EACCES"),
    ("socket.socketpair(type=socket.SOCK_DGRAM)", "EACCES"),
    ("len(socket.socketpair())", "2"),
    // The server and its other workers.
    (KILL, "EPERM"),
    ("open(f'/proc/{SERVER}/environ').read()", "EACCES"),
    ("ctypes.CDLL(None).ptrace(16, SERVER, 0, 0)", "-1"),
    // The kernel: `bpf`, `unshare` for a user of its own, `clone3`, `io_uring_setup`, `mount`.
    ("call(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)", "EPERM"),
    ("call(272 if os.uname().machine == 'x86_64' else 97, 0x10000000)", "EPERM"),
    ("call(435, 0, 0)", "ENOSYS"),
    ("call(425, 0, 0)", "ENOSYS"),
    ("call(165 if os.uname().machine == 'x86_64' else 40, 0, 0, 0, 0, 0)", "EPERM"),
    ("open('/proc/self/status').read().split('CapPrm:')[1].split()[0]", "0000000000000000"),
];

#[test]
fn a_program_in_a_sandbox_is_kept_to_itself() {
    let Some(plan) = sandboxed("workers = 1\nsandbox = true") else { return };
    let server = plan.start();
    let keeps_signals = landlock() >= 6;
    for (attempt, expected) in TRIES.iter().filter(|(attempt, _)| keeps_signals || *attempt != KILL)
    {
        assert_eq!(server.answers(attempt).body, *expected, "{attempt}");
    }
    assert_eq!(server.answers("1 + 1").body, "2", "the server is well");
}

/// How many filters of system calls a process has.
const FILTERS: &str = "open('/proc/self/status').read().split('Seccomp_filters:')[1].split()[0]";

/// The kernel checks and compiles a filter each time that one is installed.
#[test]
fn the_filter_is_installed_once_for_all_workers_and_the_server_has_none() {
    let Some(plan) = sandboxed("workers = 2\nsandbox = true") else { return };
    let server = plan.start();
    // Since Linux 5.10 the kernel tells how many there are.
    let [Some(main), Some(starter)] = ["httpipe", "starter-fenced"].map(|it| server.filters_of(it))
    else {
        return;
    };
    assert_eq!(starter, main + 1);
    assert_eq!(server.answers(FILTERS).body, starter.to_string(), "a worker has installed none");
    let ours = shell(&format!("python3 -c \"print({FILTERS})\"")).1;
    assert_eq!(ours.trim(), main.to_string(), "the server has as many as who started it");
}

/// What a server keeps beside the directory of its program, which is `program`.
const KEPT: [&str; 4] = ["keys.toml", "token", "httpipe.toml", "alice"];

#[test]
fn it_reads_no_keys_and_no_secrets_of_its_server() {
    let Some(under) = without_privileges() else { return };
    if !has_landlock() {
        return;
    }
    let httpipe = env!("CARGO_BIN_EXE_httpipe");
    let prepare =
        format!("mkdir program && {httpipe} key new alice >alice 2>told && chmod 644 keys.toml");
    let server = Server::with("workers = 1\ndir = \"program\"\nsandbox = true")
        .top("callers = \"keys.toml\"\nadmin_token = { file = \"token\" }")
        .worker("python3 ../worker.py")
        .file("worker.py", PROGRAM)
        .file("token", "t")
        .prepare_with(&prepare)
        .under(under)
        .start();
    let field = bearer(&server, "alice");
    let answers = |attempt: &str| server.client().request("POST", "/", &[&field], attempt).body;
    for name in KEPT {
        assert_eq!(answers(&format!("open('../{name}').read()")), "EACCES", "{name}");
    }
    assert_eq!(answers("open('../worker.py').read(3)"), "\"\"\"", "its own file is open");
}

#[test]
fn its_temporary_files_go_with_it_and_what_its_links_lead_to_stays() {
    let Some(plan) = sandboxed("workers = 1\nsandbox = true") else { return };
    let server = plan.start();
    let dir = server.answers("TMP").body;
    assert_eq!(server.answers("os.symlink(os.getcwd(), TMP + '/trap')").body, "None");
    assert_eq!(server.answers("os.mkdir(TMP + '/below')").body, "None");
    let is_there = || std::fs::exists(&dir).expect("it can be looked for");
    assert!(is_there());
    assert_eq!(server.answers("os._exit(1)").status, 502);
    server.wait_until("its files are removed", |_| !is_there());
    assert!(server.has("worker.py"));
    assert_ne!(server.answers("TMP").body, dir, "another worker has another directory");
}

#[test]
fn it_may_do_what_it_is_allowed_and_has_its_limits() {
    let pool = "workers = 1\nsandbox = { read = [\"/srv\"], write = [\"out\"], network = true, \
                memory = \"256MiB\", processes = 400 }";
    let Some(plan) = sandboxed(pool) else { return };
    let server = plan.prepare_with("mkdir out; chmod 777 out").start();
    for (attempt, expected) in [
        ("open('out/written', 'w').write('x')", "1"),
        ("open('written', 'w')", "EACCES"),
        ("isinstance(os.listdir('/srv'), list)", "True"),
        ("socket.socket().fileno() > 2", "True"),
        ("len(bytearray(600 << 20))", "MemoryError"),
        ("1 <= fork_bomb() < 400", "True"),
        ("1 + 1", "2"),
    ] {
        assert_eq!(server.answers(attempt).body, expected, "{attempt}");
    }
}

/// The guard outlives a server that is killed.
#[test]
fn no_temporary_files_are_left_by_a_server_that_is_killed() {
    let Some(plan) = sandboxed("workers = 2\nsandbox = true") else { return };
    let mut server = plan.start();
    let dir = server.answers("os.mkdir(TMP + '/below') or TMP").body;
    let is_there = || std::fs::exists(&dir).expect("it can be looked for");
    assert!(is_there());
    server.signal("KILL");
    server.exit_code();
    server.wait_until("its files are removed", |_| !is_there());
}

/// Programs, a question, and the answer.
const COMMON: [(&str, &str, &str); 7] = [
    ("sh -c 'while read -r x; do echo $x | tr a-z A-Z; done'", "abc", "ABC"),
    ("python3 worker.py", "multiprocessing.Pool(2).map(abs, [-1, 2])", "[1, 2]"),
    ("python3 worker.py", "subprocess.run(['echo', 'x'], capture_output=True).stdout", "b'x\\n'"),
    (
        "python3 worker.py",
        "__import__('sqlite3').connect(':memory:').execute('select 7').fetchone()",
        "(7,)",
    ),
    ("perl -ne '$| = 1; print lc'", "ABC", "abc"),
    ("node worker.js", "require('child_process').execSync('echo x')", "x"),
    ("java Worker.java", "abc", "ABC"),
];

const NODE: &str = "require('readline').createInterface({ input: process.stdin })\
    .on('line', line => console.log(String(eval(line)).trim()))";
const JAVA: &str = "public class Worker { public static void main(String[] words) {\
    new java.util.Scanner(System.in).forEachRemaining(word -> \
    { System.out.println(word.toUpperCase()); System.out.flush(); }); } }";

#[test]
fn common_programs_do_not_notice() {
    let Some(under) = without_privileges() else { return };
    if !has_landlock() {
        return;
    }
    for (program, question, expected) in COMMON {
        let name = program.split(' ').next().unwrap_or_default();
        if shell(&format!("PATH=/usr/bin:/bin command -v {name}")).0 != 0 {
            passed_over(&format!("{name} is not installed"), "it is one of several");
            continue;
        }
        let server = Server::with("workers = 1\nsandbox = true\nstart_timeout = \"60s\"")
            .worker(program)
            .file("worker.py", PROGRAM)
            .file("worker.js", NODE)
            .file("Worker.java", JAVA)
            .under(under)
            .start();
        assert_eq!(server.answers(question).body, expected, "{program}");
    }
}

/// A kernel before 5.13 does not know the call.
#[test]
fn without_landlock_its_pool_does_not_start_and_says_why() {
    if !has_strace() {
        return;
    }
    let old = "strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=landlock_create_ruleset \
               -e inject=landlock_create_ruleset:error=ENOSYS";
    let server = Server::with("workers = 1\nsandbox = true")
        .worker("python3 worker.py")
        .file("worker.py", PROGRAM)
        .under(old)
        .start_unready();
    server.wait_for_log("this kernel has no Landlock, which `sandbox` needs");
    assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 0.0);
}

const FUNCTIONS: &str = "
import socket, tempfile
def kept(x: int) -> str:
    try:
        socket.socket()
    except PermissionError:
        return tempfile.gettempdir()
    return 'open'
";

/// The fork server is fenced in, and what it forks inherits that.
#[test]
fn functions_of_python_are_forked_inside() {
    let Some(under) = without_privileges() else { return };
    if !has_landlock() {
        return;
    }
    let config = "[pool.kept]\npython = \"kept.py:kept\"\nworkers = 2\nsandbox = true\n";
    let server = Server::config(config).file("kept.py", FUNCTIONS).under(under).start();
    let answer = server.client().get("/kept?x=1");
    assert!(answer.body.contains("/httpipe-"), "{answer:?}");
    server.wait_for_log("fork: import");
}
