//! A reload makes an edited program live. No call is lost, and the two versions never serve at the
//! same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Answer, Over, Plan, Server, shell, whole_machine};

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];

/// A line program that says which version it is.
pub(crate) fn script(version: &str) -> String {
    format!("while read -r line; do echo \"{version} $line\"; done\n")
}

fn plan(pool: &str) -> Plan {
    Server::with(pool).worker("sh worker.sh").file("worker.sh", &script("v1"))
}

fn reload(server: &Server, query: &str) -> Answer {
    server.admin().later("POST", &format!("/reload{query}"), OPERATOR, "").answer()
}

/// Returns exit code and output of `httpipe reload` with these arguments before the address.
fn reload_by_command(server: &Server, arguments: &str) -> (i32, String) {
    let binary = env!("CARGO_BIN_EXE_httpipe");
    shell(&format!("{binary} reload {arguments} {}", server.admin_url()))
}

/// Asks while `change` is made and until its effect is seen. All answers must be good. Returns how
/// many there were.
fn under_load(
    server: &Server,
    is_good: impl Fn(&str) -> bool + Sync,
    change: impl FnOnce(),
) -> usize {
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut caller = server.client().connect();
                while !over.load(Ordering::Relaxed) {
                    let answer = caller.post("/", "x");
                    assert!(answer.status == 200 && is_good(answer.body.trim_end()), "{answer:?}");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&over);
        server.wait_until("calls are answered", |_| answers.load(Ordering::Relaxed) > 20);
        change();
        let now = answers.load(Ordering::Relaxed);
        server.wait_until("calls go on", |_| answers.load(Ordering::Relaxed) > now + 20);
    });
    answers.load(Ordering::Relaxed)
}

#[test]
fn an_edited_script_is_live_after_a_reload_and_no_call_is_lost() {
    let _alone = whole_machine();
    let server = plan("workers = 2").start();
    let is_either = |body: &str| matches!(body, "v1 x" | "v2 x" | "v3 x");
    under_load(&server, is_either, || {
        for version in ["v2", "v3"] {
            server.write("worker.sh", &script(version));
            let answer = reload(&server, "");
            assert_eq!((answer.status, &*answer.body), (200, "main: 2 of 2 workers replaced\n"));
            for _ in 0..20 {
                assert_eq!(server.answers("y").body.trim_end(), format!("{version} y"));
            }
        }
    });
    server.wait_for_log("reloaded: main: 2 of 2 workers replaced");
    server.wait_until("the old workers have gone", |s| s.workers().len() == 2);
    assert_eq!(server.metric("httpipe_worker_exits_total{reason=\"crash\"}"), 0.0);
}

#[test]
fn a_pool_whose_program_is_unchanged_keeps_its_workers() {
    let two = "[pool.a]\ncommand = [\"sh\", \"a.sh\"]\nworkers = 2\n\n\
        [pool.b]\ncommand = [\"sh\", \"b.sh\"]\nworkers = 1\n\n\
        [[route]]\nmatch = \"POST /a\"\npool = \"a\"\n\n[[route]]\nmatch = \"POST /b\"\npool = \"b\"\n";
    let server =
        Server::config(two).file("a.sh", &script("v1")).file("b.sh", &script("v1")).start();
    let pids = |server: &Server, pool: usize| {
        let workers = server.status()["pools"][pool]["workers"].clone();
        let pids = workers.as_array().expect("a list").iter().map(|it| it["pid"].clone());
        pids.collect::<Vec<_>>()
    };
    let (a, b) = (pids(&server, 0), pids(&server, 1));
    assert_eq!(reload_by_command(&server, ""), (0, "nothing changed\n".to_owned()));
    assert_eq!((pids(&server, 0), pids(&server, 1)), (a.clone(), b.clone()));

    server.write("b.sh", &script("v2"));
    let said = "a: unchanged\nb: 1 of 1 workers replaced\n".to_owned();
    assert_eq!(reload_by_command(&server, ""), (0, said));
    assert_eq!(pids(&server, 0), a);
    assert_eq!(server.client().post("/b", "x").body.trim_end(), "v2 x");

    server.rewrite("workers = 2", "workers = 2\nretries = 3");
    let said = "a: workers kept, with new limits\nb: unchanged\n".to_owned();
    assert_eq!(reload_by_command(&server, ""), (0, said));
    assert_eq!(pids(&server, 0), a);
}

#[test]
fn reload_with_workers_replaces_unchanged_programs_too() {
    let two = "[pool.a]\ncommand = [\"cat\"]\nworkers = 2\n\n[pool.b]\ncommand = [\"cat\"]\nworkers = 1\n\n\
        [[route]]\nmatch = \"POST /a\"\npool = \"a\"\n\n[[route]]\nmatch = \"POST /b\"\npool = \"b\"\n";
    let server = Server::config(two).start();
    let before = server.workers();
    let said = "a: 2 of 2 workers replaced\nb: 1 of 1 workers replaced\n".to_owned();
    assert_eq!(reload_by_command(&server, "--workers"), (0, said.clone()));
    server.wait_until("all old ones have gone", |s| {
        s.workers().len() == 3 && s.workers().iter().all(|id| !before.contains(id))
    });
    let before = server.workers();
    let said = "a: unchanged\nb: 1 of 1 workers replaced\n".to_owned();
    assert_eq!(reload_by_command(&server, "--workers b"), (0, said));
    server.wait_until("one has gone", |s| {
        s.workers().len() == 3 && s.workers().iter().filter(|id| before.contains(id)).count() == 2
    });
    let (code, said) = reload_by_command(&server, "--workers c");
    assert!(code == 1 && said.contains("there is no pool `c`; the pools are `a`, `b`"), "{said}");
    assert_eq!(server.client().post("/b", "x").body, "x");
}

#[test]
fn a_new_version_that_does_not_come_up_is_refused_at_once_and_the_old_one_stays() {
    let server = plan("workers = 2\nstart_timeout = \"60s\"").start();
    let workers = server.workers();
    server.write("worker.sh", "echo broken >&2; exit 3\n");
    let refused = reload(&server, "");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body.contains("no worker of the new pool `main` became ready (exit code 3)"));
    assert!(!refused.body.contains("broken"), "what it wrote is for the log: {refused:?}");
    assert_eq!(server.workers(), workers);
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    server.write("worker.sh", &script("v2"));
    assert_eq!(reload(&server, "").body, "main: 2 of 2 workers replaced\n");
    assert_eq!(server.answers("x").body.trim_end(), "v2 x");
}

#[test]
fn without_a_configuration_file_the_program_is_replaced_too() {
    let server = Server::args(&["--workers", "2", "--", "sh", "worker.sh"])
        .file("worker.sh", &script("v1"))
        .start();
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    assert_eq!(reload(&server, "").body, "nothing changed\n");
    server.write("worker.sh", &script("v2"));
    assert!(reload(&server, "").body.ends_with(": 2 of 2 workers replaced\n"));
    assert_eq!(server.answers("x").body.trim_end(), "v2 x");
}

#[test]
fn files_that_watch_names_belong_to_the_program() {
    let server = plan("workers = 1\nwatch = [\"lib/**\", \"!lib/*.tmp\"]")
        .worker("sh worker.sh")
        .file("worker.sh", ". ./lib/words\nwhile read -r line; do echo \"$word $line\"; done\n")
        .prepare_with("mkdir lib; echo word=one > lib/words")
        .start();
    assert_eq!(server.answers("x").body.trim_end(), "one x");
    server.write("lib/other.tmp", "");
    assert_eq!(reload(&server, "").body, "nothing changed\n");
    server.write("lib/words", "word=two\n");
    assert_eq!(reload(&server, "").body, "main: 1 of 1 workers replaced\n");
    assert_eq!(server.answers("x").body.trim_end(), "two x");
    std::fs::remove_file(server.dir().join("lib/other.tmp")).expect("it is there");
    server.write("lib/more", "");
    assert_eq!(reload(&server, "").body, "main: 1 of 1 workers replaced\n");
}

#[test]
fn a_link_that_leads_elsewhere_now_is_another_program() {
    let server = Server::with("workers = 1")
        .worker("sh current/worker.sh")
        .prepare_with(&format!(
            "mkdir 1 2; printf '%s' '{}' > 1/worker.sh; printf '%s' '{}' > 2/worker.sh; ln -s 1 current",
            script("v1"),
            script("v2")
        ))
        .start();
    assert_eq!(server.answers("x").body.trim_end(), "v1 x");
    swap_link(server.dir(), "2");
    assert_eq!(reload(&server, "").body, "main: 1 of 1 workers replaced\n");
    assert_eq!(server.answers("x").body.trim_end(), "v2 x");
}

/// Makes `current` lead elsewhere at one moment, as deployments do.
pub(crate) fn swap_link(dir: &Path, to: &str) {
    std::os::unix::fs::symlink(to, dir.join("next")).expect("a link can be made");
    std::fs::rename(dir.join("next"), dir.join("current")).expect("a link can be replaced");
}

#[test]
fn answers_kept_from_the_old_version_are_not_given_for_the_new_one() {
    let server = plan("workers = 1").route("match = \"GET /?q={q}\"\ncache = \"1h\"").start();
    let ask = || server.client().get("/?q=x").body.trim_end().to_owned();
    assert_eq!((ask(), ask()), ("v1 x".to_owned(), "v1 x".to_owned()));
    server.write("worker.sh", &script("v2"));
    assert_eq!(reload(&server, "").status, 200);
    assert_eq!(ask(), "v2 x");
    let misses = server.metric("httpipe_cache_total{result=\"miss\"}");
    assert_eq!(reload(&server, "?workers").status, 200);
    assert_eq!(ask(), "v2 x");
    assert_eq!(server.metric("httpipe_cache_total{result=\"miss\"}"), misses + 1.0);
}
