//! Workers that run as another user than their server, which root has started.

use std::path::Path;
use std::time::Duration;

use super::sandbox::{PROGRAM, has_landlock};
use super::{NOBODY, without_privileges};
use crate::support::{
    Pending, Plan, SYS_PTRACE, Server, has_capability, passed_over, shell, whole_machine,
};

/// A pool whose programs run as `nobody`.
const AS_NOBODY: &str = "workers = 1\nsandbox = { user = \"nobody\" }";

/// The capabilities without which a server refuses to run programs as another user. These numbers and those
/// below are those of `linux/capability.h`.
const NEEDED: [u32; 6] = [0, 1, 3, 5, 6, 7];
const SETPCAP: u32 = 8;
const SYS_NICE: u32 = 23;

/// Returns true if root can start a server whose programs run as another user, and that has these capabilities.
/// Otherwise the test is skipped: not every container gives them to root.
fn can_change_user_with(capabilities: &[u32]) -> bool {
    let is_root = shell("id -u").1.trim() == "0";
    let can = is_root && NEEDED.iter().chain(capabilities).all(|number| has_capability(*number));
    if !can {
        passed_over(
            "this user cannot run a program as another one",
            &format!("it takes root with the capabilities {NEEDED:?} and {capabilities:?}"),
        );
    }
    can && without_privileges().is_some() && has_landlock()
}

fn can_change_user() -> bool {
    can_change_user_with(&[])
}

fn evaluates(pool: &str) -> Option<Plan> {
    let plan =
        || Server::with(pool).worker("/usr/bin/python3 worker.py").file("worker.py", PROGRAM);
    can_change_user().then(plan)
}

/// What a worker asks of itself or tries, and the answer.
const TRIES: [(&str, &str); 18] = [
    ("os.getresuid() == (os.stat('/proc/self').st_uid,) * 3 and os.getuid() > 0", "True"),
    ("os.getgroups() == os.getgrouplist('nobody', os.getgid())", "True"),
    ("os.environ['USER'], os.environ['LOGNAME']", "('nobody', 'nobody')"),
    ("os.environ['HOME'] == os.path.expanduser('~nobody')", "True"),
    ("tempfile.TemporaryFile('w').write('x')", "1"),
    ("open('/proc/self/fd/1', 'w').write('')", "0"),
    ("open('/proc/self/fd/2', 'w').write('')", "0"),
    ("open('/etc/shadow').read()", "EACCES"),
    ("os.setuid(0)", "EPERM"),
    ("os.setgroups([0])", "EPERM"),
    ("os.kill(SERVER, 9)", "EPERM"),
    ("os.setpriority(os.PRIO_PROCESS, SERVER, 19)", "EPERM"),
    ("open(f'/proc/{SERVER}/environ').read()", "EACCES"),
    ("open('worker.py', 'a')", "EACCES"),
    ("open('/proc/self/status').read().split('CapPrm:')[1].split()[0]", "0000000000000000"),
    ("open('/proc/self/status').read().split('CapAmb:')[1].split()[0]", "0000000000000000"),
    // The end of the server is still its own (`PR_GET_PDEATHSIG`).
    ("ctypes.CDLL(None).prctl(2, ctypes.byref(number := ctypes.c_int())) or number.value", "9"),
    ("1 + 1", "2"),
];

#[test]
fn a_program_runs_as_another_user_and_dies_with_its_server() {
    let Some(plan) = evaluates(AS_NOBODY) else { return };
    let mut server = plan.start();
    for (attempt, expected) in TRIES {
        assert_eq!(server.answers(attempt).body, expected, "{attempt}");
    }
    let dir = server.answers("TMP").body;
    let worker = server.workers()[0];
    server.signal("KILL");
    server.exit_code();
    server.wait_until("its worker is gone", |it| !it.is_alive(worker));
    server.wait_until("its files are removed", |_| !Path::new(&dir).exists());
}

#[test]
fn a_program_of_another_user_is_killed_when_it_takes_too_long() {
    let pool = "workers = 1\ntimeout = \"500ms\"\nretries = 0\n\
                queue = { wait = \"60s\" }\nsandbox = { user = \"nobody\" }";
    let Some(plan) = evaluates(pool) else { return };
    let server = plan.start();
    let worker = server.workers()[0];
    let stubborn = "[__import__('signal').signal(n, 1) for n in (2, 15)] and \
                    __import__('time').sleep(1000)";
    assert_eq!(server.answers(stubborn).status, 504);
    server.wait_until("it is gone", |it| !it.is_alive(worker));
    assert_eq!(server.answers("1 + 1").body, "2");
}

/// A look takes `ptrace` rights over a process, and a turn ends by a look.
#[test]
fn the_server_sees_when_a_program_of_another_user_waits() {
    let plan = evaluates(&format!("{AS_NOBODY}\nframing = \"turn\""));
    let Some(plan) = plan.filter(|_| can_change_user_with(&[SYS_PTRACE])) else { return };
    let server = plan.start();
    assert_eq!(server.answers("print('a') or 'b'").body, "a\nb");
    let lines = server.log_lines();
    assert!(!lines.iter().any(|line| line.contains("does not show")), "{lines:?}");
}

#[test]
fn a_program_of_another_user_gives_way_while_it_computes() {
    if !can_change_user_with(&[SYS_NICE]) {
        return;
    }
    let _machine = whole_machine();
    let processors = std::thread::available_parallelism().expect("Linux tells").get();
    let pool = format!("workers = {processors}\nsandbox = {{ user = \"nobody\" }}");
    let server = Server::with(&pool).start();
    server.wait_for_count("httpipe_workers{state=\"ready\"}", processors as f64);
    let long = |number| server.client().post_later("/", &format!("burn 2000 {number}"));
    let long: Vec<Pending> = (0..processors).map(long).collect();
    let nice = |id: &u32| shell(&format!("ps -o ni= -p {id}")).1.trim().parse::<i32>();
    let own = nice(&std::process::id()).expect("a number");
    server.wait_until("one has stepped back", |it| {
        it.workers().iter().any(|id| nice(id).is_ok_and(|nice| nice > own))
    });
    for (number, call) in long.into_iter().enumerate() {
        assert_eq!(call.answer().body, format!("burn 2000 {number}"));
    }
}

const FUNCTIONS: &str = "
import os
def who() -> list[int]:
    with open(os.environ['TMPDIR'] + '/x', 'w') as file, open('/proc/self/fd/1', 'w'):
        return [os.getuid(), os.getpid()]
";

#[test]
fn functions_are_forked_as_another_user() {
    if !can_change_user() {
        return;
    }
    let config = "[pool.who]\npython = \"who.py:who\"\n\
                  interpreter = \"/usr/bin/python3\"\nworkers = 2\n\
                  sandbox = { user = \"nobody\" }";
    let mut server = Server::config(config).file("who.py", FUNCTIONS).start();
    server.wait_for_log("fork: import");
    server.wait_for_count("httpipe_workers{state=\"ready\"}", 2.0);
    let nobody = shell("id -u nobody").1;
    let answer = server.client().post("/who", "{}");
    assert!(answer.body.starts_with(&format!("[{},", nobody.trim())), "{answer:?}");
    let offspring = server.offspring();
    assert!(offspring.len() >= 3, "a fork server and its workers: {offspring:?}");
    server.signal("KILL");
    server.exit_code();
    server.wait_until("all are gone", |it| offspring.iter().all(|id| !it.is_alive(*id)));
}

/// The variables of a worker but for those that differ from worker to worker.
const VARIABLES: &str = "[it for it in open('/proc/self/environ', 'rb').read().split(b'\\0')[:-1] \
                         if not it.startswith(b'TMPDIR=')]";

/// Runs a program with a variable twice, an empty one, and one that is no text.
const ODD: &str = "import ctypes, os, sys
texts = lambda words: (ctypes.c_char_p * (len(words) + 1))(*words)
variables = [b'TWICE=1', b'EMPTY=', b'ODD=\\xff=\\n', b'TWICE=2', b'_=LD_PRELOAD=x']
variables += [name + b'=' + value for name, value in os.environb.items() if name != b'_']
words = [os.fsencode(word) for word in sys.argv[1:]]
ctypes.CDLL(None).execve(words[0], texts(words), texts(variables))
";

/// What runs before the program is of our own binary and runs as root. The loader of a process obeys `LD_PRELOAD`
/// and its like, and with `LD_DEBUG_OUTPUT` leaves a file that shows whose loader it was.
#[test]
fn the_environment_of_a_pool_means_nothing_to_what_runs_as_root() {
    if !can_change_user() {
        return;
    }
    let own = "env = { LD_DEBUG = \"libs\", LD_DEBUG_OUTPUT = \"said/by\", HOME = \"/\", \
               USER = \"u\", LOGNAME = \"u\" }\ncommand = [\"/usr/bin/python3\", \"worker.py\"]\nworkers = 1";
    let config = format!(
        "[pool.own]\n{own}\nsandbox = {{ user = \"nobody\", write = [\"said\"] }}\n\
         [pool.usual]\n{own}\nsandbox = {{ write = [\"said\"] }}\n\
         [[route]]\nmatch = \"POST /own\"\npool = \"own\"\n\
         [[route]]\nmatch = \"POST /usual\"\npool = \"usual\""
    );
    let server = Server::config(&config)
        .file("worker.py", PROGRAM)
        .file("odd.py", ODD)
        .prepare_with("mkdir said && chmod 777 said")
        .under("/usr/bin/python3 odd.py")
        .start();
    let [own, usual] = ["/own", "/usual"].map(|path| server.client().post(path, VARIABLES).body);
    assert_eq!(own, usual);
    let odd = "[b'TWICE=1', b'EMPTY=', b'ODD=\\xff=\\n', b'TWICE=2', b'_=LD_PRELOAD=x', ";
    assert!(own.starts_with(odd), "{own}");
    let id = server.client().post("/own", "os.getpid()").body;
    let said = server.dir().join(format!("said/by.{id}"));
    let owner = std::os::unix::fs::MetadataExt::uid(&said.metadata().expect("its loader wrote it"));
    assert_eq!(owner.to_string(), shell("id -u nobody").1.trim(), "whose loader wrote it");
}

/// A program that fails in its sandbox and works outside. A tool lies where its pool looks for programs.
const FAILS_INSIDE: &str = r#"[pool.it]
command = ["sh", "-c", "id -u >> who || exit 3; exec cat"]
env = { PATH = "DIR/tools:/usr/bin:/bin" }
sandbox = { user = "nobody" }
"#;

#[test]
fn a_check_by_root_runs_nothing_of_a_pool_as_root() {
    if !can_change_user() {
        return;
    }
    let name = format!("checked-by-root-{}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(dir.join("tools")).expect("the build directory can be written");
    let file = |name: &str, text: &str| {
        let text = text.replace("DIR", &dir.display().to_string());
        std::fs::write(dir.join(name), text).expect("a file can be written");
    };
    file("httpipe.toml", FAILS_INSIDE);
    file("tools/strace", "#!/bin/sh\ntouch DIR/ran\n");
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let (code, said) = shell(&format!(
        "cd {} && chmod 755 tools/strace && touch who && chmod 666 who && {binary} check httpipe.toml",
        dir.display()
    ));
    let who = std::fs::read_to_string(dir.join("who")).expect("it was made");
    let has_run = dir.join("ran").exists();
    std::fs::remove_dir_all(&dir).expect("it is ours");
    assert!(code == 2 && said.contains("pool `it` works without its sandbox"), "{said}");
    let nobody = shell("id -u nobody").1;
    assert!(!who.is_empty() && who.lines().all(|id| id == nobody.trim()), "{who}");
    assert!(!has_run, "a tool of the pool was run");
}

/// Without the right to kill others, a worker would outlive its server.
#[test]
fn a_server_that_could_not_end_its_programs_is_refused() {
    if !can_change_user_with(&[SETPCAP]) {
        return;
    }
    let pool = "workers = 1\nsandbox = { user = \"nobody\" }";
    for (under, why) in [
        (NOBODY, "this is user 65534, who cannot end the processes of others"),
        ("setpriv --bounding-set=-kill", "this root has no CAP_KILL"),
        ("setpriv --bounding-set=-dac_override", "this root has no CAP_DAC_OVERRIDE"),
    ] {
        let ended = Server::with(pool).under(under).refused();
        let (code, stderr) = (ended.code, ended.stderr);
        assert_eq!(code, 2, "{stderr}");
        let what = "a program can run as user `nobody` only where root starts the server";
        assert!(stderr.contains(what) && stderr.contains(why), "{stderr}");
    }
    for (user, what) in [
        ("root", "`root` is root, who no program in a sandbox is to be"),
        ("no-such-user", "there is no user `no-such-user` on this machine"),
    ] {
        let pool = pool.replace("nobody", user);
        let ended = Server::with(&pool).refused();
        assert!(ended.code == 2 && ended.stderr.contains(what), "{}", ended.stderr);
    }
}

#[test]
fn a_program_that_its_user_cannot_reach_says_why_it_does_not_start() {
    if !can_change_user() {
        return;
    }
    let server = Server::with(&format!("{AS_NOBODY}\ndir = \"closed\""))
        .prepare_with("mkdir -m 700 closed")
        .worker("cat")
        .start_unready();
    server.wait_for_log("closed` as user ");
    assert_eq!(server.metric("httpipe_workers{state=\"ready\"}"), 0.0);
    assert!(server.admin().get("/ready").is_within(Duration::from_secs(3)));
}
