//! No caller gets the answer of another, even without an echo: a question is handed over only to a
//! program that waits for its input, and the output until it waits again is the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Answer, Server, passed_over, shell, skipped};

/// Each answers `answer QUESTION`; they differ in what else they write.
const ANSWERS: &str = "for line in sys.stdin: print('answer ' + line.strip(), flush=True)";
const LOADS: &str = "time.sleep(1)\nprint('Loading model...', flush=True)\n";
const EVENTS: &str = "def events():\n    while True:\n        time.sleep(PAUSE)\n        \
                      print('EVENT', flush=True)\n\
                      threading.Thread(target=events, daemon=True).start()\n";
const DEBUGS: &str = "for number, line in enumerate(sys.stdin):\n    \
                      if number % 3 == 0:\n        print('debug', flush=True)\n    \
                      time.sleep(PAUSE)\n    print('answer ' + line.strip(), flush=True)";

fn python(script: &str, pause: &str) -> String {
    format!("import sys, threading, time\n{}", script.replace("PAUSE", pause))
}

fn serves(script: &str, keys: &str) -> crate::support::Plan {
    Server::with(keys).file("worker.py", script).worker("python3 worker.py")
}

/// Lets `callers` callers ask `calls` questions each, and checks every answer with its question.
fn crowd(server: &Server, callers: usize, calls: usize, check: impl Fn(&str, &Answer) + Sync) {
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let check = &check;
            scope.spawn(move || {
                let mut connection = server.client().connect();
                for call in 0..calls / callers {
                    let question = format!("c{caller}-{call}");
                    check(&question, &connection.post("/", &question));
                }
            });
        }
    });
}

/// Checks that this is the answer to the question, or an honest failure.
fn its_own_or_none(question: &str, answer: &Answer) {
    match answer.status {
        200 => assert_eq!(answer.body, format!("answer {question}")),
        _ => assert!(matches!(answer.code().as_str(), "bad_answer" | "worker_lost"), "{answer:?}"),
    }
}

#[test]
fn output_before_the_first_question_is_no_answer() {
    let script = python(&format!("{LOADS}{ANSWERS}"), "0");
    let server = serves(&script, "workers = 1").start_unready();
    crowd(&server, 3, 9, |question, answer| {
        assert_eq!((answer.status, &answer.body), (200, &format!("answer {question}")));
    });
    let said = server.wait_for_log("before its first question");
    assert!(said.contains("Loading model..."), "{said}");
    assert_eq!(server.metric("httpipe_messages_dropped_total{reason=\"banner\"}"), 1.0);
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0, "no worker is lost for it");
}

#[test]
fn lines_that_a_thread_writes_by_the_clock_are_no_answers() {
    let keys = "workers = 1\nqueue = { wait = \"60s\" }";
    let server = serves(&python(&format!("{EVENTS}{ANSWERS}"), "0.02"), keys).start();
    crowd(&server, 8, 240, its_own_or_none);
}

#[test]
fn a_line_too_many_fails_its_own_call_and_no_other() {
    let server = serves(&python(DEBUGS, "0.02"), "workers = 1").start();
    crowd(&server, 6, 60, its_own_or_none);
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0, "its pairing is not in doubt");
    let said = server.wait_for_log("2 messages");
    assert!(said.contains("debug") && said.contains("answer c"), "both are in the log: {said}");
}

#[test]
#[ignore = "takes minutes: ten thousand calls to each of the three scripts"]
fn ten_thousand_calls_meet_no_answer_of_another() {
    for (script, pause) in [
        (format!("{LOADS}{ANSWERS}"), "0"),
        (format!("{EVENTS}{ANSWERS}"), "1"),
        (DEBUGS.to_owned(), "0.002"),
    ] {
        let server = serves(&python(&script, pause), "workers = 2").start();
        crowd(&server, 8, 10_000, its_own_or_none);
    }
}

/// Silence is seen when the program waits again, not at its timeout. The program may wait for the
/// rest of the question, so it gets no other one.
#[test]
fn a_program_that_writes_nothing_fails_its_call_at_once() {
    let silent = [
        ("grep --line-buffered x", "no match"),
        ("sed s/a/b/", "held back"),
        ("python3 -c 'import sys\nfor line in sys.stdin: pass'", "ignored"),
        ("sh -c 'while read line; do :; done'", "by a shell"),
        ("sh -c 'sed -u d | cat'", "by a pipeline"),
    ];
    for (program, question) in silent {
        let server = Server::with("workers = 1").worker(program).start();
        let answer = server.answers(question);
        assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{program}");
        assert!(answer.detail().contains("wrote nothing"), "{answer:?}");
        assert!(answer.is_within(Duration::from_secs(5)), "{program}: {answer:?}");
        server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 1.0);
    }
}

#[test]
fn half_a_line_fails_its_call_at_once() {
    let script = "import sys\nfor line in sys.stdin:\n    sys.stdout.write('half')\n    \
                  sys.stdout.flush()";
    let server = serves(script, "workers = 1").start();
    let answer = server.answers("a");
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"));
    assert!(answer.detail().contains("end"), "{answer:?}");
    assert!(answer.is_within(Duration::from_secs(5)), "{answer:?}");
}

#[test]
fn output_of_a_waiting_worker_ends_it_and_reaches_no_call() {
    let script = "import os, sys, threading, time\n\
                  def late():\n    \
                  while not os.path.exists('go'): time.sleep(0.005)\n    \
                  print('late', flush=True)\n\
                  for line in sys.stdin:\n    \
                  if 'more' in line: threading.Thread(target=late).start()\n    \
                  print('answer ' + line.strip(), flush=True)";
    let server = serves(script, "workers = 1").start();
    assert_eq!(server.answers("more").body, "answer more");
    // Only now: had it come before the turn was over, it would belong to the turn.
    server.put("go");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"unasked_output\"}", 1.0);
    assert_eq!(server.answers("next").body, "answer next");
}

/// A bad answer is one call's failure: the program answered, whatever it said.
#[test]
fn an_answer_that_is_no_json_costs_no_worker() {
    let script = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)";
    let server = serves(script, "workers = 1\nreply = \"json\"").start();
    let answer = server.answers("not json");
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"));
    assert_eq!(server.answers("[1]").body, "[1]");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn programs_in_other_processes_take_turns_too() {
    let inner = "import sys, time\nfor line in sys.stdin:\n    time.sleep(0.01)\n    \
                 print('answer ' + line.strip(), flush=True)";
    let by_child = "import subprocess, sys\nfor line in sys.stdin:\n    \
                    subprocess.run(['sh', '-c', 'sleep 0.01; echo answer \"$1\"', 'sh', line.strip()])";
    for command in [
        "python3 worker.py",
        "sh -c 'python3 worker.py'",
        "sh -c 'python3 worker.py | cat | cat'",
        "sh -c 'while read line; do sleep 0.01; echo answer $line; done | cat'",
        "python3 by_child.py",
    ] {
        let server = Server::with("workers = 2")
            .file("worker.py", inner)
            .file("by_child.py", by_child)
            .worker(command)
            .start();
        crowd(&server, 4, 80, |question, answer| {
            let got = (answer.status, answer.body.clone());
            assert_eq!(got, (200, format!("answer {question}")), "{command}");
        });
    }
}

/// Node waits in `epoll`, where the questions are all that can wake it.
#[test]
fn a_program_of_events_takes_turns_too() {
    if shell("command -v node >/dev/null").0 != 0 {
        return skipped("node is not installed", "`apt-get install nodejs` does it");
    }
    let script = "require('readline').createInterface({ input: process.stdin }).on('line', line => {\n\
                  if (line.endsWith('2')) console.log('debug');\n\
                  console.log('answer ' + line);\n});";
    let server = Server::with("workers = 2\nqueue = { wait = \"60s\" }")
        .file("worker.js", script)
        .worker("node worker.js")
        .start();
    crowd(&server, 4, 120, |question, answer| {
        if answer.status == 200 {
            return assert_eq!(answer.body, format!("answer {question}"));
        }
        assert!(question.ends_with('2') && answer.code() == "bad_answer", "{question}: {answer:?}");
    });
}

/// The kernel shows nothing of a process that must not be traced, unless to root.
#[test]
fn a_program_that_the_kernel_hides_is_served_and_told_of_once() {
    if shell("test $(id -u) = 0 && command -v setpriv >/dev/null").0 != 0 {
        return passed_over("only root can start a server as somebody else", "run it as root");
    }
    let script = "import ctypes, sys\nctypes.CDLL(None).prctl(4, 0)\n\
                  for line in sys.stdin: print('answer ' + line.strip(), flush=True)";
    let server = serves(script, "workers = 2")
        .under("setpriv --reuid=65534 --regid=65534 --clear-groups")
        .start();
    crowd(&server, 4, 80, |question, answer| {
        assert_eq!((answer.status, &answer.body), (200, &format!("answer {question}")));
    });
    server.wait_for_log("the kernel does not show what it does");
    let server = serves(script, "workers = 1\nframing = \"turn\"")
        .under("setpriv --reuid=65534 --regid=65534 --clear-groups")
        .start_unready();
    server.wait_for_log("use another framing than `turn`");
}

/// Without a look, nothing ends an answer that ends with its turn.
#[test]
fn a_program_that_never_waits_is_not_ready_and_the_log_says_so() {
    let keys = "workers = 1\nstart_timeout = \"500ms\"\nframing = \"turn\"";
    let server = Server::with(keys).worker("sh -c 'while :; do :; done'").start_unready();
    server.wait_for_log("it was not ready within `start_timeout`");
    assert_eq!(server.admin().get("/ready").status, 503);
}

/// A program that waits for its input and for a connection at once cannot be told from one that
/// waits for the connection alone. It is served, and the log says where the promise ends.
#[test]
fn a_program_that_cannot_be_looked_at_is_served_and_logged_once() {
    let script = "import asyncio, sys\n\
        async def main():\n    reader = asyncio.StreamReader()\n    \
        loop = asyncio.get_running_loop()\n    \
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)\n    \
        while line := await reader.readline():\n        await asyncio.sleep(0.002)\n        \
        print('answer ' + line.decode().strip(), flush=True)\nasyncio.run(main())";
    let server = serves(script, "workers = 2").start();
    crowd(&server, 4, 400, |question, answer| {
        assert_eq!((answer.status, &answer.body), (200, &format!("answer {question}")));
    });
    server.wait_for_log("cannot be seen to wait");
    let lines = server.log_lines();
    let told = lines.iter().filter(|line| line.contains("cannot be seen to wait")).count();
    assert_eq!(told, 1, "once for the pool");
}

#[test]
fn an_off_by_one_of_a_program_that_cannot_be_looked_at_is_found_within_64_calls() {
    let script = "import asyncio, sys\n\
        async def main():\n    reader = asyncio.StreamReader()\n    \
        loop = asyncio.get_running_loop()\n    \
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)\n    \
        count = 0\n    \
        while line := await reader.readline():\n        count += 1\n        \
        if count == 3: print('stray', flush=True)\n        \
        await asyncio.sleep(0.002)\n        \
        print('answer ' + line.decode().strip(), flush=True)\nasyncio.run(main())";
    let server = serves(script, "workers = 1").start();
    let wrong = AtomicUsize::new(0);
    let found = "httpipe_worker_exits_total";
    server.wait_until("it was found", |server| {
        crowd(server, 8, 200, |question, answer| {
            if answer.status == 200 && answer.body != format!("answer {question}") {
                wrong.fetch_add(1, Ordering::Relaxed);
            }
        });
        server.metric(found) > 0.0
    });
    let wrong = wrong.into_inner();
    // A worker that gets no processor in its rest is found in the next one.
    // Each worker after the first one starts its count anew.
    let workers = 1.0 + server.metric(found);
    assert!(wrong <= 3 * 64 * workers as usize, "{wrong} wrong answers of {workers} workers");
}

/// One program that has no terminator at all, and a question with the answer that it must get.
struct Calculator {
    command: &'static str,
    needs: &'static str,
    question: fn(usize) -> String,
    answer: fn(usize) -> String,
}

/// Answers of no line, of one and of several, without a sentinel.
const CALCULATORS: &[Calculator] = &[
    Calculator {
        command: "bc -q",
        needs: "bc",
        question: |n| match n % 3 {
            0 => format!("x = {n}"),
            1 => format!("for (j = 0; j < 3; j++) {n} + j"),
            _ => format!("{n} * 2"),
        },
        answer: |n| match n % 3 {
            0 => String::new(),
            1 => format!("{n}\n{}\n{}", n + 1, n + 2),
            _ => format!("{}", n * 2),
        },
    },
    Calculator {
        command: "dc",
        needs: "dc",
        question: |n| if n % 2 == 0 { format!("{n} sa") } else { format!("{n} 1 + p {n} p") },
        answer: |n| if n % 2 == 0 { String::new() } else { format!("{}\n{n}", n + 1) },
    },
    Calculator {
        command: "grep --line-buffered 7",
        needs: "grep",
        question: |n| n.to_string(),
        answer: |n| Some(n.to_string()).filter(|text| text.contains('7')).unwrap_or_default(),
    },
    Calculator {
        command: "sqlite3",
        needs: "sqlite3",
        question: |n| match n % 2 {
            0 => format!("create table if not exists t{n}(a);"),
            _ => format!("select {n}; select {n} + 1;"),
        },
        answer: |n| if n % 2 == 0 { String::new() } else { format!("{n}\n{}", n + 1) },
    },
    Calculator {
        command: "gdb -q -nx -ex 'set prompt'",
        needs: "gdb",
        question: |n| if n % 2 == 0 { format!("set $x = {n}") } else { format!("output {n} * 2") },
        answer: |n| if n % 2 == 0 { String::new() } else { (n * 2).to_string() },
    },
    Calculator {
        command: "swipl -q",
        needs: "swipl",
        question: |n| match n % 2 {
            0 => format!("forall(between(1, 2, X), (Y is X + {n}, writeln(Y)))."),
            _ => format!("X is {n} + 1."),
        },
        answer: |n| match n % 2 {
            0 => format!("{}\n{}\ntrue.\n", n + 1, n + 2),
            _ => format!("X = {}.\n", n + 1),
        },
    },
    Calculator {
        command: "sh -c 'exec python3 -iq 2>/dev/null'",
        needs: "python3",
        question: |n| if n % 2 == 0 { format!("y = {n}") } else { format!("print({n}); {n} + 1") },
        answer: |n| if n % 2 == 0 { String::new() } else { format!("{n}\n{}", n + 1) },
    },
];

#[test]
fn programs_without_any_terminator_answer_each_caller_rightly() {
    for calculator in CALCULATORS {
        let Calculator { command, needs, question, answer } = calculator;
        if shell(&format!("command -v {needs} >/dev/null")).0 != 0 {
            skipped(&format!("{needs} is not installed"), "tests/programs/install.sh does it");
            continue;
        }
        // Each empty answer costs a start.
        let keys = "workers = 2\nframing = \"turn\"\nqueue = { wait = \"60s\" }";
        let server = Server::with(keys).worker(command).start();
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let server = &server;
                scope.spawn(move || {
                    for n in (1..=104).filter(|n| n % 8 == caller) {
                        let got = server.answers(&question(n));
                        assert_eq!((got.status, got.body), (200, answer(n)), "{command}: {n}");
                    }
                });
            }
        });
    }
}

/// An open quote makes a program wait for more, and it would take the next question for that.
#[test]
fn a_program_that_may_wait_for_more_gets_no_other_question() {
    let script = "import sys\ntext = ''\nfor line in sys.stdin:\n    text += line.strip()\n    \
                  if text.count('\"') % 2 == 0:\n        \
                  print('answer ' + text, flush=True)\n        text = ''";
    for keys in ["", "framing = { send = \"line\", reply = \"turn\" }"] {
        let server = serves(script, &format!("workers = 1\n{keys}")).start();
        server.answers("select \"abc");
        assert_eq!(server.answers("next").body, "answer next", "{keys}");
    }
}

/// With a probe it can show that it waits for a new question and not for the rest of the last.
#[test]
fn a_program_that_answers_the_probe_after_it_wrote_nothing_stays() {
    let script = "import sys\ntext = ''\nfor line in sys.stdin:\n    text += line.strip()\n    \
                  if text.count('\"') % 2 == 0:\n        \
                  if 'silent' not in text: print('answer ' + text, flush=True)\n        text = ''";
    let probe = "probe = { send = \"up\", reply = \"answer up\" }";
    for (keys, silent) in [("", (502, "")), ("framing = \"turn\"", (200, ""))] {
        let server = serves(script, &format!("workers = 1\n{keys}\n{probe}")).start();
        for round in 0..5 {
            let answer = server.answers("silent");
            assert_eq!(answer.status, silent.0, "{answer:?}");
            assert_eq!(server.answers(&format!("{round}")).body, format!("answer {round}"));
        }
        assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0, "{keys}");
        server.answers("select \"abc");
        assert_eq!(server.answers("next").body, "answer next", "{keys}");
        assert_eq!(server.metric("httpipe_worker_starts_total"), 2.0, "an open quote costs it");
    }
}

#[test]
fn nothing_in_an_answer_ends_it_but_the_turn() {
    let script = "import sys\nfor line in sys.stdin:\n    \
                  print('a\\n\\n> EOS\\n' + line.strip(), flush=True)";
    let server =
        serves(script, "workers = 1\nframing = { send = \"line\", reply = \"turn\" }").start();
    assert_eq!(server.answers("x").body, "a\n\n> EOS\nx");
}

#[test]
fn the_parts_of_a_turn_are_passed_on_as_they_come() {
    let script = "import sys, time\nfor line in sys.stdin:\n    for part in range(3):\n        \
                  print(line.strip(), part, flush=True)\n        time.sleep(0.05)";
    let keys = "workers = 1\nframing = { send = \"line\", reply = \"turn\" }\nstream = \"turn\"";
    let server = serves(script, keys).start();
    for question in ["a", "b"] {
        let answer = server.answers(question);
        let whole = format!("{question} 0\n{question} 1\n{question} 2\n");
        assert_eq!((answer.status, answer.body), (200, whole));
    }
}

/// It never blocks in a write: it waits for room in its output and for its input at once.
#[test]
fn a_program_that_waits_for_room_in_its_output_has_not_ended_its_turn() {
    let script = "import os, select\nos.set_blocking(1, False)\nout = b''\nwhile True:\n    \
                  reads, writes, _ = select.select([0], [1] if out else [], [])\n    \
                  if writes: out = out[os.write(1, out):]\n    \
                  if reads: out += os.read(0, 99).strip() * 100_000 + b'\\n'";
    for keys in ["", "framing = { send = \"line\", reply = \"turn\" }"] {
        let server = serves(script, &format!("workers = 1\n{keys}")).start();
        for question in ["abc", "de"] {
            let answer = server.answers(question);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.body == question.repeat(100_000), "{} bytes", answer.body.len());
        }
    }
}

/// For a shell both are the same read of descriptor 0.
#[test]
fn a_shell_that_reads_something_else_in_place_of_its_input_works() {
    let script = "mkfifo fifo\nwhile :; do\n    read q; read a < fifo; echo \"answer $q $a\"\ndone";
    let server = Server::with("workers = 1").file("worker.sh", script);
    let server = server.worker("sh worker.sh").start();
    let write = format!("(sleep 0.1; echo x) > {}", server.dir().join("fifo").display());
    for question in ["a", "b", "c"] {
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(shell(&write).0, 0));
            let answer = server.answers(question);
            assert_eq!((answer.status, answer.body), (200, format!("answer {question} x")));
        });
    }
}

/// A stopped process looks as before it was stopped, also to somebody who has seen an answer.
#[test]
fn what_a_stopped_worker_has_not_read_is_not_answered() {
    let script = "mkfifo fifo\n(read x < fifo; echo stray) &\n\
                  while read l; do echo \"answer $l\"; done";
    let server = Server::with("workers = 1").file("worker.sh", script);
    let server = server.worker("sh worker.sh").start();
    let worker = server.workers()[0];
    server.signal_worker(worker, "STOP");
    let write = format!("sleep 0.2; echo x > {}; sleep 0.2", server.dir().join("fifo").display());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            shell(&write);
            server.signal_worker(worker, "CONT");
        });
        let answer = server.answers("a");
        assert_eq!(answer.status, 502, "it is not the answer to this question: {answer:?}");
        assert!(answer.detail().contains("2 messages"), "{answer:?}");
    });
}

/// The answer comes from a process whose parent has ended.
#[test]
fn a_process_without_its_parent_belongs_to_its_worker() {
    let script = "while read l; do ( (sleep 0.02; echo \"answer $l\") & ) ; done";
    let server = Server::with("workers = 2").file("worker.sh", script).worker("sh worker.sh");
    let server = server.start();
    crowd(&server, 4, 40, |question, answer| {
        assert_eq!((answer.status, &answer.body), (200, &format!("answer {question}")));
    });
    server.wait_until("they are reaped", |server| server.zombies() == 0);
}
