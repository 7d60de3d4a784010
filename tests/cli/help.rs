//! What `--help` says.

use crate::Room;

#[test]
fn the_commands_are_listed() {
    insta::assert_snapshot!(Room::new().run(&["--help"]), @r##"
exit 0
--- stdout
Serves any program that reads questions on stdin and writes answers on stdout as an HTTP service

Usage: httpipe <COMMAND>

Commands:
  run          Serve one program, or all pools of a configuration file
  check        Validate the configuration, ask a worker of each pool and report what it does
  map          Ask the lines of a file, or of stdin, and write an answer for each
  init         Write the httpipe.toml that `run` with the same options stands for
  reload       Make a running server deploy its configuration and programs, and report the outcome
  top          Show live what a running server does
  status       Show what a running server does at this moment
  tap          Show what a running server writes to its workers and reads from them
  open         Open the page of a running server in the browser
  key          Make keys for callers
  openapi      Print the OpenAPI document of a configuration, without starting a server
  completions  Print a script that completes commands and options
  man          Print a manual page, for `man -l -`

Options:
  -h, --help     Print help
  -V, --version  Print version
"##);
}

#[test]
fn run_lists_its_options() {
    let help = Room::new().run(&["run", "--help"]);
    // What follows is made from the keys of the file, and tested there.
    let (by_hand, _) = help.split_once("\nMore of the server:\n").expect("the other keys");
    insta::assert_snapshot!(by_hand, @r##"
exit 0
--- stdout
Serve one program, or all pools of a configuration file

Usage: httpipe run [OPTIONS] [CONFIG] [-- <PROGRAM>...]

Arguments:
  [CONFIG]      The configuration file, or the functions to serve, as in calculate.py:fib;
                ./httpipe.toml if no program is given either
  [PROGRAM]...  The program to serve and its arguments

Options:
      --watch[=<PATTERN>]  Reload by itself when the configuration or a file of a program changes:
                           the files that the command names, and those of PATTERN; may be repeated
      --fail-fast          End with exit code 1 if a pool does not start, as on a terminal, instead
                           of trying again
  -h, --help               Print help

Server:
      --listen <ADDRESS>  Where callers connect: `127.0.0.1:3000` or `unix:/path`; may be repeated
      --admin <ADDRESS>   Where operators connect: an address, or off
      --hosts <NAME>      A name that requests may be for besides loopback, or any; may be repeated
      --cors <ORIGIN>     An origin of web pages that may ask and read, or '*'; may be repeated
      --threads <NUMBER>  Threads that handle connections
      --log <WORDS>       Format and level of the log: json, debug or both as json,debug

Pool:
      --workers <NUMBERS>    Workers kept ready, and the most under load: 4 or 2..8
      --framing <FRAMING>    How bytes are cut into messages: line, u32, until:TEXT and others
      --matching <MATCHING>  How an answer finds its call: order, echo, tag or json-id
      --in-flight <NUMBER>   Calls in one worker at once: a number, or auto
      --reply <PATTERN>      What an answer looks like: '{input}|{result}', json or http
      --error <PATTERN>      What the program's own error looks like: 'e|{input}|{message}'
      --timeout <TIME>       Longest time that one call may take in a worker
      --queue <LIMITS>       What may wait for a worker: how many and how long, as 1024,5s
      --probe <PROBE>        A question that a new worker must answer, and the answer: '1=>1|1'
      --env <K=V>            An environment variable of the program; may be repeated
      --dir <PATH>           The directory that the program runs in

Routes:
      --route <MATCH>    Which requests become calls: 'GET /fib?num={num:int}'; may be repeated
      --send <TEMPLATE>  What the question is made of: '{num}', json or http
      --cache <TIME>     How long a good answer to GET is kept
"##);
}

#[test]
fn check_init_reload_and_completions_explain_themselves() {
    let room = Room::new();
    let short = |command: &str| {
        let help = room.run(&[command, "--help"]);
        help.lines().take(5).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(short("check"), @r##"
exit 0
--- stdout
Validate the configuration, ask a worker of each pool and report what it does

Usage: httpipe check [OPTIONS] [CONFIG] [-- <PROGRAM>...]
"##);
    insta::assert_snapshot!(short("init"), @r##"
exit 0
--- stdout
Write the httpipe.toml that `run` with the same options stands for

Usage: httpipe init [OPTIONS] [TARGET] [-- <PROGRAM>...]
"##);
    insta::assert_snapshot!(room.run(&["reload", "--help"]), @r##"
exit 0
--- stdout
Make a running server deploy its configuration and programs, and report the outcome

Usage: httpipe reload [OPTIONS] [ADMIN_URL]

Arguments:
  [ADMIN_URL]  The admin listener of the server, as `http://127.0.0.1:3001` or `unix:/path`; without
               it, the one server of this user, or else that address

Options:
      --token <TOKEN>     The admin token; without it, the key that the server keeps for its user is
                          sent [env: HTTPIPE_ADMIN_TOKEN]
      --workers [<POOL>]  Replace the workers of this pool, or of all pools, changed or not
  -h, --help              Print help
"##);
    insta::assert_snapshot!(room.run(&["completions", "--help"]), @r##"
exit 0
--- stdout
Print a script that completes commands and options

Usage: httpipe completions <SHELL>

Arguments:
  <SHELL>  The shell that the script is for [possible values: bash, elvish, fish, powershell, zsh]

Options:
  -h, --help  Print help
"##);
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    insta::assert_snapshot!(Room::new().run(&["run", "--wrkers", "3", "--", "cat"]), @r##"
exit 2
--- stderr
error: unexpected argument '--wrkers' found

  tip: a similar argument exists: '--workers'
  tip: to pass '--wrkers' as a value, use '-- --wrkers'

Usage: httpipe run --workers <NUMBERS> [CONFIG] [-- <PROGRAM>...]

For more information, try '--help'.
"##);
}

#[test]
fn every_option_has_an_environment_variable() {
    let room = Room::new();
    let help = room.run(&["run", "--help"]);
    assert!(help.contains("HTTPIPE_TIMEOUT=5s"), "{help}");
    let room = room.variable("HTTPIPE_MESSAGE_MAX", "x").variable("HTTPIPE_RETRIES", "999");
    let said = room.run(&["run", "--", "cat"]);
    assert!(said.contains("error: `HTTPIPE_MESSAGE_MAX` cannot be \"x\""), "{said}");
    assert!(said.contains("error: `HTTPIPE_RETRIES` cannot be 999"), "{said}");
}
