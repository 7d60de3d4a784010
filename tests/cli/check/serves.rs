//! What `check` says of a program is what `run` then does with it.

use super::says;
use crate::Room;
use crate::served::Served;

/// Runs `check` for a program on the command line.
fn checked(room: &Room, program: &[&str]) -> String {
    room.run(&[&["check", "--"], program].concat())
}

/// The command that a hint recommends: "write `-- stdbuf -oL tr a b`".
fn recommended(said: &str) -> Vec<String> {
    let (_, rest) = said.split_once("write `-- ").unwrap_or_else(|| panic!("no command in {said}"));
    let (command, _) = rest.split_once('`').expect("the hint ends");
    command.split(' ').map(str::to_owned).collect()
}

fn serve(room: &Room, program: &[&str]) -> Served {
    Served::start(room, &[&["--workers", "1", "--"], program].concat())
}

#[test]
fn a_program_that_holds_back_is_refused_and_serves_with_the_recommended_command() {
    let programs: [(&[&str], &str, &str); 6] = [
        (&["tr", "a-z", "A-Z"], "A B", "stdbuf -oL tr a-z A-Z"),
        (&["rev"], "b a", "stdbuf -oL rev"),
        (&["cut", "-c1"], "a", "stdbuf -oL cut -c1"),
        (&["fold"], "a b", "stdbuf -oL fold"),
        (&["sed", "s/a/X/"], "X b", "sed -u s/a/X/"),
        (&["perl", "-ne", "$|=0;print"], "a b", ""),
    ];
    for (program, answer, remedy) in programs {
        let room = Room::new();
        let said = checked(&room, program);
        says(&said, 2, &["it read the question, wrote nothing, and waits", "when its input ended"]);
        assert_eq!(serve(&room, program).ask("a b").0, 502, "{program:?}");
        if remedy.is_empty() {
            says(&said, 2, &["helps     `tty = true`"]);
            continue;
        }
        let better = recommended(&said);
        assert_eq!(better.join(" "), remedy);
        let better: Vec<&str> = better.iter().map(String::as_str).collect();
        says(&checked(&room, &better), 0, &["no errors in 1 pool"]);
        let server = serve(&room, &better);
        assert_eq!(server.ask("a b"), (200, answer.to_owned()), "{better:?}");
        assert_eq!(server.ask("a b"), (200, answer.to_owned()), "{better:?}, asked again");
    }
}

#[test]
fn a_program_that_answers_at_the_end_of_its_input_gets_a_process_for_each_question() {
    for (program, late) in [
        (&["wc", "-w"][..], "2\n"),
        (&["sort"], "a b\n"),
        (&["tac"], "a b\n"),
        // It writes equal lines once, so writing each at once does not help.
        (&["uniq"], "a b\n"),
        (&["python3", "-c", "import sys; print(len(sys.stdin.read()))"], "4\n"),
    ] {
        let room = Room::new();
        let said = checked(&room, program);
        let at_end = format!("\"{}\", when its input ended", late.escape_default());
        says(&said, 2, &["no help   ", &at_end, "hint: it answers when its input ends"]);
        says(&said, 2, &["write `--framing eof`"]);
        assert_eq!(serve(&room, program).ask("a b").0, 502, "{program:?}");
        let options = [&["--framing", "eof", "--"], program].concat();
        let said = room.run(&[&["check"][..], &options].concat());
        says(&said, 0, &["\"a b\" answered after ", "no errors in 1 pool"]);
        let answer = if program[0] == "python3" { "3\n" } else { late };
        let server = Served::start(&room, &options);
        for _ in 0..2 {
            let (status, body) = server.ask("a b");
            assert_eq!((status, body.trim_end()), (200, answer.trim_end()), "{program:?}");
        }
    }
}

#[test]
fn a_program_that_does_not_end_with_its_input_cannot_have_one_question() {
    let keys = "command = [\"sh\", \"-c\", \"read a; echo $a; exec sleep 1000\"]\ntimeout = \"1s\"";
    let file = format!("[pool.it]\n{keys}\nframing = \"eof\"\n[[route]]\nmatch = \"POST /\"\n");
    let room = Room::new().file("httpipe.toml", file);
    says(&room.run(&["check"]), 2, &["does not end after its question", "\"a b\\n\"", "`timeout`"]);
    assert_eq!(Served::start(&room, &["httpipe.toml"]).ask("a b").0, 504);
}

#[test]
fn a_program_that_is_silent_at_a_question_it_had_before_is_found() {
    // With its lines written at once, `uniq` still writes equal ones once.
    let said = checked(&Room::new(), &["stdbuf", "-oL", "uniq"]);
    says(&said, 2, &["asked     \"c d\"", "wrote nothing"]);
}

#[test]
fn a_program_without_an_answer_is_refused_and_serves_where_silence_is_one() {
    let room = Room::new();
    let program = ["grep", "--line-buffered", "x"];
    let said = checked(&room, &program);
    says(&said, 2, &["where no output is an answer, write `--framing turn`", "`--probe QUESTION`"]);
    assert_eq!(serve(&room, &program).ask("a b").0, 502);
    let options = ["--framing", "turn", "--"];
    says(&room.run(&[&["check"][..], &options, &program].concat()), 0, &["\"a b\" answered"]);
    let server = Served::start(&room, &[&options[..], &program].concat());
    assert_eq!(server.ask("a b"), (200, String::new()));
    assert_eq!(server.ask("x y"), (200, "x y".to_owned()));
}

#[test]
fn an_empty_answer_is_none_if_it_comes_when_the_input_ends() {
    let said = Room::new().run(&["check", "--framing", "turn", "--", "tr", "a", "b"]);
    says(&said, 2, &["answers only when its input ends", "write `-- stdbuf -oL tr a b`"]);
}

#[test]
fn a_debug_line_is_told_of_and_can_be_a_part_of_the_answer() {
    let script = "import sys\nfor line in sys.stdin:\n    print('debug', flush=True)\n    \
                  print('answer', line.strip(), flush=True)\n";
    let room = Room::new().file("debug.py", script);
    let program = ["python3", "debug.py"];
    let said = checked(&room, &program);
    says(
        &said,
        2,
        &[
            "more than one answer",
            "\"debug\\nanswer a b\\n\"",
            "write logs to stderr",
            "`--framing turn`",
        ],
    );
    assert_eq!(serve(&room, &program).ask("a b").0, 502);
    let options = ["--framing", "turn", "--", "python3", "debug.py"];
    says(&room.run(&[&["check"][..], &options].concat()), 0, &["no errors in 1 pool"]);
    let server = Served::start(&room, &options);
    assert_eq!(server.ask("a b"), (200, "debug\nanswer a b".to_owned()));
}

#[test]
fn a_line_too_many_now_and_then_gets_no_framing() {
    let script = "import sys\nfor number, line in enumerate(sys.stdin):\n    \
                  if number == 1: print('debug', flush=True)\n    print(line.strip(), flush=True)\n";
    let room = Room::new().file("debug.py", script);
    let said = checked(&room, &["python3", "debug.py"]);
    says(
        &said,
        2,
        &["more than one answer", "asked \"a b\", it wrote only \"a b\\n\"", "to stderr"],
    );
    assert!(!said.contains("framing ="), "{said}");
}

#[test]
fn a_prompt_ends_answers_and_is_no_banner() {
    let script = "while True: print('got', input('number: '))\n";
    let room = Room::new().file("prompt.py", script);
    let said = checked(&room, &["python3", "prompt.py"]);
    let framing = "{ send = \"line\", reply = \"until:number: \" }";
    let option = format!("write `--framing '{framing}'`");
    says(&said, 2, &["\"got a b\\nnumber: \"", &option]);
    assert!(!said.contains("note:"), "{said}");
    assert_eq!(serve(&room, &["python3", "prompt.py"]).ask("7").0, 502);
    let file = format!("[pool.it]\ncommand = [\"python3\", \"prompt.py\"]\nframing = {framing}\n");
    let room = room.file("httpipe.toml", file + "[[route]]\nmatch = \"POST /\"\n");
    says(&room.run(&["check"]), 0, &["\"a b\" answered", "no errors in 1 pool and 1 route\n"]);
    let server = Served::start(&room, &["httpipe.toml"]);
    assert_eq!(server.ask("7"), (200, "got 7\n".to_owned()));
    assert_eq!(server.ask("8"), (200, "got 8\n".to_owned()));
}

#[test]
fn a_program_that_loads_is_waited_for_and_serves() {
    let script = "import sys, time\ntime.sleep(5)\nprint('Loading', flush=True)\n\
                  for line in sys.stdin: print('answer', line.strip(), flush=True)\n";
    let room = Room::new().file("slow.py", script);
    let program = ["python3", "slow.py"];
    let said = checked(&room, &program);
    says(
        &said,
        0,
        &[
            "and waits for its input",
            ": \"answer a b\"\n",
            "which is dropped",
            "write `--ready Loading`",
        ],
    );
    assert_eq!(serve(&room, &program).ask("a b"), (200, "answer a b".to_owned()));
}

#[test]
fn output_that_nobody_asked_for_is_told_of() {
    // It comes a while after each answer, so not together with one.
    let script = "import sys, threading, time\nasked = threading.Semaphore(0)\ndef events():\n    \
                  while True:\n        asked.acquire()\n        time.sleep(0.1)\n        \
                  print('EVENT', flush=True)\n\
                  threading.Thread(target=events, daemon=True).start()\n\
                  for line in sys.stdin: print(line.strip(), flush=True); asked.release()\n";
    let room = Room::new().file("events.py", script);
    let said = checked(&room, &["python3", "events.py"]);
    says(&said, 2, &["writes while nothing is asked", "EVENT", "write to stderr"]);
    assert!(!said.contains("framing ="), "{said}");
}

#[test]
fn an_end_before_any_question_is_waited_for() {
    let room = Room::new().file("dies.py", "import time\ntime.sleep(2)\nraise SystemExit('no')\n");
    let program = ["python3", "dies.py"];
    says(&checked(&room, &program), 2, &["no worker", "exit code 1 after 2", "stderr    no\n"]);
}

#[test]
fn a_program_that_never_reads_is_told_of() {
    let keys = "command = [\"python3\", \"deaf.py\"]\nstart_timeout = \"2s\"\ntimeout = \"1s\"";
    let file = format!("[pool.it]\n{keys}\n[[route]]\nmatch = \"POST /\"\n");
    let room = Room::new().file("deaf.py", "import signal\nsignal.pause()\n");
    let room = room.file("httpipe.toml", file);
    says(
        &room.run(&["check"]),
        2,
        &["does not answer", "unread for ", "must read its questions from stdin"],
    );
    assert_eq!(Served::start(&room, &["httpipe.toml"]).ask("a").0, 504);
}

#[test]
fn a_question_that_the_program_cannot_answer_is_a_warning_while_it_answers_others() {
    let script = "import sys\nfor line in sys.stdin: print(2 * int(line), flush=True)\n";
    let room = Room::new().file("double.py", script);
    let program = ["python3", "double.py"];
    let said = checked(&room, &program);
    says(&said, 0, &["\"1\" answered", "a question ends the program", "asked     \"a b\""]);
    let server = serve(&room, &program);
    assert_eq!(server.ask("a b").0, 502);
    assert_eq!(server.ask("21"), (200, "42".to_owned()));
}

#[test]
fn an_error_of_several_lines_is_a_warning_while_other_questions_have_one() {
    let script = "import sys\nfor line in sys.stdin:\n    try: print(2 * int(line), flush=True)\n    \
                  except ValueError as why: print(f'error:\\n{why}', flush=True)\n";
    let room = Room::new().file("double.py", script);
    let said = checked(&room, &["python3", "double.py"]);
    says(&said, 0, &["\"1\" answered", "several messages for a question", "\"error:\\ninvalid"]);
    assert_eq!(serve(&room, &["python3", "double.py"]).ask("21"), (200, "42".to_owned()));
}

#[test]
fn a_program_that_no_question_suits_is_to_be_given_one() {
    let script =
        "import sys\nfor line in sys.stdin: print(line.split('=')[1].strip(), flush=True)\n";
    let room = Room::new().file("pick.py", script);
    let said = checked(&room, &["python3", "pick.py"]);
    says(&said, 2, &["ends at a question", "IndexError", "write `--probe QUESTION`"]);
    let said = room.run(&["check", "--probe", "a=b", "--", "python3", "pick.py"]);
    says(&said, 0, &["\"a=b\" answered"]);
}

#[test]
fn a_program_that_cannot_be_seen_to_wait_is_told_of_in_one_sentence() {
    let script = "import sys, threading, time\n\
                  threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n\
                  for line in sys.stdin: print(line.strip(), flush=True)\n";
    let room = Room::new().file("clock.py", script);
    let program = ["python3", "clock.py"];
    says(
        &checked(&room, &program),
        0,
        &["warning: pool `clock` cannot be seen to wait for its input", "`{input}` in `reply`"],
    );
    let said = room.run(&["check", "--reply", "{input}", "--", "python3", "clock.py"]);
    says(&said, 0, &["no errors in 1 pool and 2 routes\n"]);
}
