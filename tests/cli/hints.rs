//! What the first mistakes of an operator are told: each hint must work as it stands.

use crate::Room;

/// What `check` says of a file that begins with these lines and has one pool.
fn told(text: &str) -> String {
    let pool = if text.contains("[pool.") { "" } else { "[pool.a]\ncommand = [\"cat\"]\n" };
    Room::new().file("httpipe.toml", format!("{text}\n{pool}")).run(&["check"])
}

/// What `check` says of these keys of a pool that runs `cat`.
fn told_of_pool(keys: &str) -> String {
    told(&format!("[pool.a]\ncommand = [\"cat\"]\n{keys}"))
}

#[track_caller]
fn says(said: &str, part: &str) {
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(said.contains(part), "no {part:?} in\n{said}");
}

#[track_caller]
fn is_fine(said: &str) {
    assert!(said.starts_with("exit 0\n"), "{said}");
}

#[test]
fn a_command_in_one_string_is_cut_into_its_words() {
    let said = told("[pool.a]\ncommand = \"cat -u\"");
    says(&said, "hint: write [\"cat\", \"-u\"]\n");
    let said = told("[pool.a]\ncommand = \"sed -u 's/a b/c/'\"");
    says(&said, "hint: write [\"sed\", \"-u\", \"s/a b/c/\"]\n");
    // Only a shell understands these.
    let said = told("[pool.a]\ncommand = \"sort | uniq\"");
    says(&said, "hint: write [\"sh\", \"-c\", \"sort | uniq\"]\n");
}

#[test]
fn a_command_in_one_word_is_cut_into_its_words() {
    let said = told("[pool.a]\ncommand = [\"cat -u\"]");
    says(&said, "hint: write each word by itself: [\"cat\", \"-u\"]\n");
    let said = Room::new().run(&["run", "--", "cat -u"]);
    says(&said, "hint: write each word by itself: -- cat -u\n");
}

#[test]
fn a_port_alone_is_an_address() {
    for listen in ["3000", "\"3000\"", "\":3000\"", "\"localhost:3000\"", "[3000, \":3001\"]"] {
        is_fine(&told(&format!("listen = {listen}")));
    }
    for admin in ["3001", "\":3001\"", "\"localhost:3001\""] {
        is_fine(&told(&format!("admin = {admin}")));
    }
    let line = ["check", "--listen", "3000,localhost:3002", "--admin", ":3001", "--", "cat"];
    is_fine(&Room::new().run(&line));
    says(&told("listen = 70000"), "`listen` cannot be 70000");
    says(&told("listen = \"*:3000\""), "hint: write 0.0.0.0:3000, which everybody can reach\n");
    // It is this machine alone, so no token is asked for; and the same port twice is seen.
    says(&told("listen = 3000\nadmin = \"localhost:3000\""), "give it another port");
}

#[test]
fn zero_is_no_way_to_say_without_a_limit() {
    let unlimited = "hint: there is no \"unlimited\": write a time, as in \"30s\" or \"1d\"\n";
    let said = told_of_pool("timeout = 0");
    says(&said, "error: `timeout` cannot be 0\n");
    says(&said, unlimited);
    let said = Room::new().run(&["check", "--timeout", "0", "--", "cat"]);
    says(&said, "error: `--timeout` cannot be 0\n");
    says(&told_of_pool("message_max = 0"), "hint: there is no \"unlimited\": write a size");
    // Where zero has a meaning it needs no unit.
    is_fine(&told_of_pool("abandoned = 0\nstop_grace = \"0\""));
    is_fine(&told("drain = 0"));
}

#[test]
fn a_program_without_dashes_is_told_to_take_them() {
    let room = || Room::new().file("foo.py", "print(input())\n");
    let said = room().run(&["run", "python3", "foo.py"]);
    says(&said, "hint: put `--` before the program: httpipe run -- python3 foo.py\n");
    let said = room().run(&["check", "--workers", "2", "sed", "-u", "s/a b/c/"]);
    says(&said, "put `--` before the program: httpipe check --workers 2 -- sed -u 's/a b/c/'\n");
    let said = room().run(&["run", "foo.py"]);
    says(&said, "error: `foo.py` is a program, not a configuration file\n");
    says(&said, "hint: put `--` before the program: httpipe run -- python3 foo.py\n");
    let said = room().run(&["check", "cat"]);
    says(&said, "hint: put `--` before the program, as in `httpipe run -- cat`\n");
    // A mistake of another kind keeps its own words.
    let said = room().run(&["run", "--wrkers", "3", "--", "cat"]);
    says(&said, "tip: a similar argument exists: '--workers'\n");
    let said = room().run(&["run", "httpipe.toml", "other.toml"]);
    says(&said, "unexpected argument 'other.toml' found\n");
}

#[test]
fn a_route_that_stands_twice_is_told_so() {
    let twice = |first: &str, second: &str| {
        told_of_pool(&format!("[[route]]\nmatch = \"{first}\"\n[[route]]\nmatch = \"{second}\""))
    };
    let said = twice("GET /a", "GET /a");
    says(&said, "error: `GET /a` is there twice\n");
    says(&said, "hint: leave one out\n");
    let said = twice("GET /a?x={x}", "GET /a?y={y}");
    says(&said, "`GET /a?y={y}` can never match: `GET /a?x={x}` takes the same requests");
    says(&said, "hint: parameters of the query do not tell routes apart: give one another path\n");
    says(&twice("GET /{a}", "GET /b"), "hint: put the one with the narrower path first\n");
}

#[test]
fn a_framing_of_each_way_can_be_an_option() {
    let framing = "{ send = \"line\", reply = \"block\" }";
    is_fine(&Room::new().run(&["check", "--no-ask", "--framing", framing, "--", "cat"]));
    let hint = "hint: write '{ send = \"line\", reply = \"block\" }'\n";
    for wrong in ["{send=line}", "{…}", "{ send: line, reply: block }"] {
        says(&Room::new().run(&["check", "--framing", wrong, "--", "cat"]), hint);
    }
    // In a file it is no text.
    let said = told_of_pool("framing = '{ send = \"line\", reply = \"block\" }'");
    says(
        &said,
        "hint: write it without quotes around it: { send = \"line\", reply = \"block\" }\n",
    );
}

#[test]
fn a_table_in_one_word_is_shown_as_a_table() {
    says(&told_of_pool("queue = 5"), "hint: write { length = 5 }\n");
    says(&told_of_pool("probe = \"1\""), "hint: write { send = \"1\" }\n");
    says(&told_of_pool("recycle = \"1h\""), "hint: write { age = \"1h\" }\n");
    says(&told_of_pool("env = \"A=1\""), "hint: write { A = \"1\" }\n");
    says(&told_of_pool("hello = \"x\""), "hint: write [{ send = \"x\" }]\n");
}

#[test]
fn a_prompt_is_what_an_answer_ends_with() {
    let script = "while True:\n    print(2 * int(input('number: ')))\n";
    let room = Room::new().file("ask.py", script);
    let said = room.run(&["check", "--probe", "1", "--", "python3", "ask.py"]);
    says(&said, "reply = \"until:number: \"");
    assert!(!said.contains("ready ="), "{said}");
}

/// What `check` says of a program on the command line, with these options.
fn told_of_program(options: &[&str], script: &str, program: &[&str]) -> String {
    let line = [&["check"], options, &["--"], program].concat();
    Room::new().file("worker.py", script).run(&line)
}

#[test]
fn without_a_file_a_hint_is_an_option_that_works_as_it_stands() {
    let prompt = "while True:\n    print(int(input('number: ')) * 2)\n";
    let banner = "print('Loading', flush=True)\nwhile True:\n    print(input(), flush=True)\n";
    let python = ["python3", "worker.py"];
    for (script, program, options, typed) in [
        (
            prompt,
            &python[..],
            &["--framing", "{ send = \"line\", reply = \"until:number: \" }"][..],
            "`--framing '{ send = \"line\", reply = \"until:number: \" }'`",
        ),
        (banner, &python, &["--ready", "Loading"], "`--ready Loading`"),
        ("", &["factor"], &["--tty"], "`--tty`"),
    ] {
        let said = told_of_program(&[], script, program);
        assert!(said.contains(typed), "no {typed:?} in\n{said}");
        assert!(!said.contains("configuration file"), "{said}");
        let said = told_of_program(options, script, program);
        assert!(said.contains("\nno errors in 1 pool"), "{typed}: {said}");
    }
}
