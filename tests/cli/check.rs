//! What `check` reports about a worker that it tries, and what it recommends.

mod serves;

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use crate::Room;

/// Runs `check` on a configuration whose pool `it` has these keys.
fn checked(room: Room, pool: &str) -> String {
    let text = format!("[pool.it]\n{pool}\n[[route]]\nmatch = \"POST /\"\n");
    room.file("httpipe.toml", text).run(&["check"])
}

#[track_caller]
fn says(said: &str, code: i32, parts: &[&str]) {
    assert!(said.starts_with(&format!("exit {code}\n")), "{said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

/// Returns true if this program is installed. In CI it must be.
fn has(program: &str) -> bool {
    let found =
        ["/usr/bin", "/bin"].iter().any(|dir| std::path::Path::new(dir).join(program).exists());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} must be installed here");
        #[expect(clippy::print_stderr, reason = "it tells the developer what was skipped")]
        {
            eprintln!("SKIPPED: {program} is not installed");
        }
    }
    found
}

const PYTHON_THAT_HOLDS_BACK: &str =
    "import sys\nfor line in sys.stdin:\n    print(line.strip() + '|' + line.strip())\n";

#[test]
fn a_good_program_is_told_with_its_times_and_its_answer() {
    let said = Room::new()
        .run(&["check", "--reply", "{input}", "--probe", "a", "--", "sed", "-u", "s/b/c/"]);
    says(&said, 0, &["pool `sed`: sed -u s/b/c/\n  start     after ", "\"a\" answered after "]);
    assert!(said.ends_with(": \"a\"\n\nno errors in 1 pool and 2 routes\n"), "{said}");
}

#[test]
fn without_a_probe_it_asks_what_run_says_to_try() {
    let said = checked(Room::new(), "command = [\"cat\"]\nreply = \"{input}\"");
    says(&said, 0, &["question  \"a b\" answered after ", "question  \"c d\" answered after "]);
    let file = "[pool.it]\ncommand = [\"cat\"]\n[[route]]\nmatch = \"GET /f?n={n:int}\"\n\
                params.n = { min = 20 }\nsend = \"f {n}\"\n";
    let said = Room::new().file("httpipe.toml", file).run(&["check"]);
    says(&said, 0, &["\"f 20\" answered"]);
}

#[test]
fn a_program_of_groups_is_asked_several_questions_as_one() {
    let told = |program: &str| {
        let file = format!(
            "[pool.it]\ncommand = [\"sed\", \"-u\", \"{program}\"]\nreply = \"json\"\nbatch = {{}}\n\
             [[route]]\nmatch = \"GET /f?n={{n:int}}\"\nsend = \"{{n}}\"\nidempotent = true\n"
        );
        Room::new().file("httpipe.toml", file).run(&["check"])
    };
    says(&told("s/,/, /g"), 0, &["\"[10,1,1]\" answered after ", "\"[10, 1, 1]\""]);
    let few = told("s/,.*/]/");
    says(&few, 2, &["the program gave 1 answer for 3 calls", "as many elements, in their order"]);
}

#[test]
fn a_program_of_groups_that_no_question_can_be_made_up_for_is_told_of() {
    let told = |pool: &str| {
        let file = format!(
            "[pool.it]\ncommand = [\"sed\", \"-u\", \"s/,.*/]/\"]\nreply = \"json\"\nbatch = {{}}\n{pool}\n\
             [[route]]\nmatch = \"POST /f\"\nsend = \"{{body}}\"\nidempotent = true\n"
        );
        Room::new().file("httpipe.toml", file).run(&["check"])
    };
    let untried =
        ["was asked nothing, so whether its `batch` works is not known", "[QUESTION, QUESTION]"];
    says(&told(""), 0, &untried);
    says(&told("probe = { send = \"[1,2]\" }"), 2, &["the program gave 1 answer for 2 calls"]);
}

#[test]
fn what_may_be_asked_in_the_background_stands_with_the_routes_of_a_function() {
    let text =
        "import httpipe\n@httpipe.route(items=9, jobs=True)\ndef draw(n: int) -> int: return n\n";
    let check = ["check", "draw.py:draw", "--workers", "2", "--jobs-file", "jobs.db"];
    let said = Room::new().file("draw.py", text).run(&check);
    says(&said, 0, &["GET /draw (jobs), POST /draw (9 items, jobs)\n"]);
}

#[test]
fn it_asks_nothing_of_its_own_where_that_is_not_wanted_or_not_known() {
    let said = Room::new().run(&["check", "--no-ask", "--", "cat"]);
    says(&said, 0, &["probe     not configured, so no question was asked\n"]);
    let said = Room::new().run(&["check", "--route", "DELETE /", "--", "cat"]);
    says(&said, 0, &["no question could be made up\n"]);
    let said = Room::new().run(&["check", "--matching", "json-id", "--", "cat"]);
    says(&said, 0, &["questions with an `id` are not made up\n"]);
}

#[test]
fn several_calls_in_one_worker_whose_answers_prove_nothing_are_refused() {
    for calls in ["2", "\"auto\""] {
        let said = checked(Room::new(), &format!("command = [\"cat\"]\nin_flight = {calls}"));
        says(&said, 2, &["nothing shows which answer is for which call", "`{input}` in `reply`"]);
    }
    let proven = "command = [\"cat\"]\nin_flight = 2\nreply = \"{input}\"";
    says(&checked(Room::new(), proven), 0, &[]);
}

#[test]
fn python_that_holds_its_output_back_is_told_to_run_unbuffered() {
    let room = Room::new().file("held.py", PYTHON_THAT_HOLDS_BACK);
    let pool = "command = [\"python3\", \"held.py\"]\nenv = { PYTHONUNBUFFERED = \"\" }\n\
                probe = { send = \"1\" }";
    let said = checked(room, pool);
    says(
        &said,
        2,
        &[
            "error: no worker of pool `it` became ready\n  command   python3 held.py  (httpipe.toml:2)\n",
            "it read the question, wrote nothing, and waits for the next",
            "it wrote  \"1|1\\n\", when its input ended",
            "hint: it holds its output back: write `command = [\"python3\", \"-u\", \"held.py\"]` in `[pool.it]`",
        ],
    );
}

#[test]
fn other_programs_that_hold_their_output_back_are_run_by_stdbuf() {
    let said = Room::new().run(&["check", "--probe", "a", "--", "tr", "a", "b"]);
    says(&said, 2, &["hint: it holds its output back: write `-- stdbuf -oL tr a b`"]);
    if has("gawk") {
        let said =
            checked(Room::new(), "command = [\"gawk\", \"{print}\"]\nprobe = { send = \"1\" }");
        says(&said, 2, &["command = [\"stdbuf\", \"-oL\", \"gawk\", \"{print}\"]"]);
    }
}

#[test]
fn a_program_that_stdbuf_cannot_reach_is_given_a_terminal() {
    // It flushes only if its output is a terminal.
    let script = "import os, sys\nfor line in sys.stdin:\n    if os.isatty(1):\n        \
                  os.write(1, line.encode())\n";
    let room = Room::new().file("shy.py", script);
    let pool = "command = [\"python3\", \"shy.py\"]\nprobe = { send = \"1\" }";
    says(
        &checked(room, pool),
        2,
        &["no help   `stdbuf -oL`\n", "write `tty = true` in `[pool.it]`"],
    );
}

#[test]
fn one_that_answers_at_the_end_of_its_input_gets_one_question() {
    let room = Room::new();
    let said = checked(room, "command = [\"wc\", \"-c\"]\nprobe = { send = \"1\" }");
    says(
        &said,
        2,
        &["no help   `stdbuf -oL`, `tty = true`\n", "`framing = \"eof\"`", "`probe` has to go"],
    );
}

#[test]
fn a_banner_that_nobody_configured_gets_a_ready() {
    let script = "echo 'Calc 1.2'; while read -r a; do echo $a; done";
    let pool = format!("command = [\"sh\", \"-c\", \"{script}\"]\nprobe = {{ send = \"1\" }}");
    let said = checked(Room::new(), &pool);
    let ready = r"ready = 'Calc [0-9]+\.[0-9]+'";
    let note = "note: pool `it` writes before the first question, which is dropped";
    says(&said, 0, &[note, "\"Calc 1.2\\n\"", ready]);
    // The recommended `ready` works.
    says(&checked(Room::new(), &format!("{pool}\n{ready}")), 0, &["banner    \"Calc 1.2\\n\""]);
}

#[test]
fn one_that_writes_without_end_is_told_of_it_as_soon_as_that_is_clear() {
    let begin = std::time::Instant::now();
    let said = checked(Room::new(), "command = [\"yes\"]\nprobe = { send = \"1\" }");
    says(&said, 2, &["what it writes before the first question does not end"]);
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn an_answer_of_several_lines_gets_a_framing() {
    let script = "while read -r a; do echo $a; echo more; echo; done";
    let pool = format!("command = [\"sh\", \"-c\", \"{script}\"]\nprobe = {{ send = \"1\" }}");
    let framing = "framing = { send = \"line\", reply = \"block\" }";
    let said = checked(Room::new(), &pool);
    says(&said, 2, &["more than one answer to one question", "\"more\\n\\n\"", framing]);
    says(&checked(Room::new(), &format!("{pool}\n{framing}")), 0, &[": \"1\\nmore\"\n"]);
}

#[test]
fn an_answer_that_never_ends_gets_a_framing() {
    let pool = "command = [\"cat\"]\nprobe = { send = \"1\" }";
    let framing = "framing = { send = \"line\", reply = \"block\" }";
    let said = checked(Room::new(), &format!("{pool}\n{framing}"));
    says(
        &said,
        2,
        &["never ends under `block`", "framing = { send = \"line\", reply = \"line\" }"],
    );
}

#[test]
fn a_prompt_gets_an_until() {
    let script = "printf '> '; while read -r a; do printf '%s\\\\n> ' $a; done";
    let pool = format!("command = [\"sh\", \"-c\", \"{script}\"]\nprobe = {{ send = \"1\" }}");
    let framing = "framing = { send = \"line\", reply = \"until:> \" }";
    let said = checked(Room::new(), &pool);
    says(&said, 2, &[framing]);
    assert!(!said.contains("ready ="), "the prompt is no banner: {said}");
    let said = checked(Room::new(), &format!("{pool}\n{framing}"));
    says(&said, 0, &[": \"1\\n\"\n"]);
    assert!(!said.contains("note:"), "{said}");
}

#[test]
fn a_probe_that_is_answered_otherwise_shows_both() {
    let said = Room::new().run(&["check", "--probe", "1=>2", "--", "cat"]);
    says(&said, 2, &["  expected  \"2\"\n  got       \"1\"\n", "write `--probe '1=>1'`"]);
}

#[test]
fn an_answer_that_does_not_fit_reply_gets_one_that_does() {
    let pool = "command = [\"sed\", \"-u\", \"s/.*/& = x/\"]\nprobe = { send = \"1\" }";
    let said = checked(Room::new(), &format!("{pool}\nreply = \"{{input}}|{{result}}\""));
    says(&said, 2, &["does not fit", "got       \"1 = x\"", "reply = \"{input} = {result}\""]);
    let said = checked(Room::new(), &format!("{pool}\nreply = \"json\""));
    says(&said, 2, &["the answer is not JSON", "remove `reply = \"json\"`"]);
}

#[test]
fn a_program_that_ends_at_once_is_told_with_its_last_words() {
    let room = Room::new().file("crash.py", "import no_such_module\n");
    let said = checked(room, "command = [\"python3\", \"crash.py\"]");
    let words = "ModuleNotFoundError: No module named 'no_such_module'\n";
    says(&said, 2, &["  ended     exit code 1 after ", words, "hint: install `no_such_module`"]);
}

#[test]
fn a_program_for_one_question_is_told_to_be_replaced_after_it() {
    let said =
        checked(Room::new(), "command = [\"head\", \"-n\", \"1\"]\nprobe = { send = \"1\" }");
    says(&said, 2, &["ends after its first answer", "recycle = { calls = 1 }"]);
}

#[test]
fn one_that_computes_too_long_is_told_from_one_that_does_not_read() {
    let busy = "import sys\nfor line in sys.stdin:\n    while True: pass\n";
    let deaf = "import signal\nsignal.pause()\n";
    let room = |script: &str| Room::new().file("it.py", script);
    let pool =
        "command = [\"python3\", \"it.py\"]\nprobe = { send = \"1\" }\nstart_timeout = \"3s\"";
    says(&checked(room(busy), pool), 2, &["it was still computing", "raise `start_timeout` (3s)"]);
    says(
        &checked(room(deaf), pool),
        2,
        &["bytes of the question unread for ", "must read its questions from stdin"],
    );
}

#[test]
fn an_interrupted_check_leaves_no_worker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let script = "import signal, socket, sys\n\
                  held = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                  signal.pause()\n";
    let room = Room::new().file("it.py", script);
    let mut command =
        room.command(&["check", "--probe", "1", "--", "python3", "it.py", port.as_str()]);
    let mut check = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let (mut worker, _) = listener.accept().expect("the worker calls");
    let id = rustix::process::Pid::from_child(&check);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be told");
    assert_eq!(check.wait().expect("it ends").code(), Some(1));
    // The end of its connection is the end of the worker.
    assert_eq!(worker.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn how_workers_of_functions_are_made_is_shown() {
    let fork = |begin: &str, options: &[&str]| {
        let text = format!("{begin}\ndef fib(n: int) -> int: return n\n");
        let arguments = [&["check", "calculate.py:fib"], options].concat();
        let said = Room::new().file("calculate.py", text).run(&arguments);
        says(&said, 0, &["no errors in 1 pool"]);
        let row = said.lines().find_map(|line| line.strip_prefix("  fork      "));
        row.unwrap_or_else(|| panic!("no row in\n{said}")).to_owned()
    };
    let row = fork("", &[]);
    let (import, worker) = row.split_once(", ").expect("two times");
    let is_time = |text: &str| text.strip_suffix(" ms").is_some_and(|ms| ms.parse::<u32>().is_ok());
    let times = [import.strip_prefix("import "), worker.strip_prefix("worker ")];
    assert!(times.iter().all(|time| time.is_some_and(is_time)), "{row}");
    let begin = "import os\npipe = os.pipe()";
    assert_eq!(fork(begin, &[]), "no, the import left open: a pipe, a pipe");
    assert!(fork(begin, &["--fork=true"]).starts_with("import "));
    assert_eq!(fork("", &["--fork=false"]), "no, `fork` is false");
}

#[test]
fn what_functions_take_and_give_is_shown_as_callers_see_it() {
    let text = r#"
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Iterator, Literal, Optional

@dataclass
class Order: items: list[str]

def total(order: Order, on: Optional[date] = None, mode: Literal["a", "b"] = "a", **more: int) -> float: return 1.0
def blur(data: bytes, radius: int = 2) -> Annotated[bytes, "image/png"]: return data
def words(text: str) -> Iterator[str]: yield text
def same(value, other=print): return value
def length(text: list[str]) -> list[int]: return [len(one) for one in text]
length.batch = 8
"#;
    let room = Room::new().file("shop.py", text);
    let said = room.run(&["check", "shop.py:total,blur,words,same,length"]);
    let about = |said: &str| {
        let lines = said.lines().skip_while(|line| !line.starts_with("  function"));
        let lines = lines.take_while(|line| !line.starts_with("  start"));
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(about(&said), @r##"
function  total(order: Order, on: date | null = null, mode: "a" | "b" = "a", **) -> number
          POST /total
function  blur(data: bytes, radius: integer = 2) -> bytes
          POST /blur
function  words(text: string) -> parts: string
          GET /words, POST /words
function  same(value, other = …)
          POST /same
function  length(text: string) -> integer
          GET /length, POST /length
calls     one at a time in each worker
"##);
    for (functions, calls) in [
        ("blur", "one at a time in each worker, short ones sent ahead"),
        ("words", "one at a time in each worker"),
        ("length", "one batch at a time in each worker, of up to 8 calls"),
    ] {
        let said = room.run(&["check", &format!("shop.py:{functions}")]);
        says(&said, 0, &[&format!("\n  calls     {calls}\n")]);
    }
}

#[test]
fn which_python_serves_functions_is_shown_with_the_reason() {
    let fib = || Room::new().file("fib.py", "def fib(n: int) -> int: return n\n");
    let link = |room: &Room, venv: &str| {
        let bin = room.dir.join(venv).join("bin");
        std::fs::create_dir_all(&bin).expect("a directory");
        std::os::unix::fs::symlink("/usr/bin/python3", bin.join("python")).expect("a link");
    };
    let check = ["check", "fib.py:fib"];
    let in_path = fib();
    says(&in_path.run(&check), 0, &["  python    /usr/bin/python3, in PATH\n"]);
    link(&in_path, ".venv");
    let beside = "  python    [dir]/.venv/bin/python, .venv beside the module\n";
    says(&in_path.run(&check), 0, &[beside]);
    let named = [&check[..], &["--interpreter", "/usr/bin/python3"]].concat();
    says(&in_path.run(&named), 0, &["/usr/bin/python3, named by `interpreter`\n"]);
    link(&in_path, "active");
    let active = in_path.dir.join("active").display().to_string();
    let in_path = in_path.variable("VIRTUAL_ENV", &active);
    says(&in_path.run(&check), 0, &["[dir]/active/bin/python, $VIRTUAL_ENV\n"]);
    says(&in_path.run(&named), 0, &["named by `interpreter`\n"]);

    let below = Room::new();
    std::fs::create_dir(below.dir.join("app")).expect("a directory");
    let config = "[pool.app]\npython = \"app/fib.py:fib\"\n";
    let below = below.file("app/fib.py", "def fib(n: int) -> int: return n\n");
    let below = below.file("httpipe.toml", config);
    link(&below, ".venv");
    let by_config = "[dir]/.venv/bin/python, .venv beside the configuration\n";
    says(&below.run(&["check"]), 0, &[by_config]);
    link(&below, "app/.venv");
    says(&below.run(&["check"]), 0, &["[dir]/app/.venv/bin/python, .venv beside the module\n"]);
}

/// Only root can give a file away.
#[test]
fn a_program_that_loses_its_privilege_is_told_with_the_way_out() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let room = Room::new();
    let program = room.dir.join("become");
    std::fs::copy("/bin/cat", &program).expect("it can be copied");
    if chown(&program, Some(65_534), None).is_err() {
        #[expect(clippy::print_stderr, reason = "it tells the developer what was skipped")]
        {
            eprintln!("SKIPPED: only root can give a file away");
        }
        return;
    }
    let set_uid = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(&program, set_uid).expect("it is ours to change");
    let said = room.run(&["check", "--", "./become"]);
    says(&said, 0, &["become` is set-uid, which has no effect in a worker", "`sandbox = false`"]);
    let said = room.run(&["check", "--", "env", "./become"]);
    says(&said, 0, &["become` is set-uid"]);
    let said = room.run(&["check", "--sandbox=false", "--", "./become"]);
    assert!(!said.contains("set-uid"), "{said}");
}

#[test]
fn a_program_that_works_without_its_sandbox_only_is_told_so() {
    let outside = format!("outside-{}", std::process::id());
    let room = Room::new();
    let path = room.dir.parent().expect("it is in one").join(&outside);
    std::fs::write(&path, "x\n").expect("a file can be written");
    let script = format!("read -r x < ../{outside} || exit 3; exec cat");
    let pool = format!("command = [\"sh\", \"-c\", \"{script}\"]\nsandbox = true");
    let said = checked(room, &pool);
    std::fs::remove_file(&path).expect("it is ours");
    if said.contains("no Landlock") {
        return;
    }
    says(&said, 2, &["exit code", "note: pool `it` works without its sandbox", "read = ["]);
    if said.contains("With `strace` installed") {
        #[expect(clippy::print_stderr, reason = "it tells the developer what was skipped")]
        {
            eprintln!("SKIPPED: strace is not there to name the path (apt-get install strace)");
        }
        return;
    }
    let line = format!("`sandbox = {{ read = [\"{}\"] }}`", path.display());
    says(&said, 2, &["  read ", &line]);
}
