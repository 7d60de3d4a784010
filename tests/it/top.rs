//! `httpipe top`, `status` and `open`: what an operator sees in a terminal.

use crate::support::{Server, Terminal, binary, pause};
use std::time::Duration;

const TAKEN: &str = "\x1b[?1049h";
const GIVEN_BACK: &str = "\x1b[?1049l";

fn server() -> Server {
    Server::config(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [pool.fib]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 2\n\
         [pool.spell]\ncommand = [\"$httpipe\", \"demo-worker\"]\nworkers = 1\n\
         [[route]]\nmatch = \"POST /fib\"\npool = \"fib\"\n\
         [[route]]\nmatch = \"GET /spell/{word}\"\npool = \"spell\"\nsend = \"{word}\"\n",
    )
    .start()
}

fn top(server: &Server) -> Terminal {
    Terminal::run(server, &["top", &server.admin_url()], (80, 24))
}

#[test]
fn top_shows_pools_and_what_a_worker_is_at_and_leaves_the_terminal_as_it_was() {
    let server = server();
    let mut terminal = top(&server);
    let picture = terminal.wait_for("spell");
    assert!(picture.starts_with("httpipe "), "{picture}");
    assert!(terminal.is_raw() && terminal.written().contains(TAKEN));
    let running = server.client().post_later("/fib", "sleep 4000 a");
    terminal.wait_for("1/2");
    terminal.wait_for("busy");
    terminal.press("q");
    assert_eq!(terminal.exit_code(), 0);
    assert!(!terminal.is_raw());
    terminal.wait_for_end(GIVEN_BACK);
    running.leave();
}

#[test]
fn keys_choose_a_pool_pause_and_help_and_a_larger_screen_shows_more() {
    let server = server();
    let terminal = top(&server);
    assert!(!terminal.wait_for("spell").contains("pid"));
    terminal.press("j\x1b[B");
    terminal.wait_for("\n> spell");
    terminal.press("p");
    let paused = terminal.wait_for("paused");
    pause(Duration::from_millis(1500), "a tick comes each second, and must change nothing");
    assert_eq!(terminal.picture(), paused);
    terminal.press("p?");
    terminal.wait_for("calls that ended in the last second");
    terminal.press("x");
    terminal.wait_for("\n> spell");
    terminal.resize(200, 50);
    terminal.wait_for("pid");
}

#[test]
fn whatever_ends_top_gives_the_terminal_back() {
    let server = server();
    for end in ["TERM", "INT", "HUP", "\x03"] {
        let mut terminal = top(&server);
        terminal.wait_for("spell");
        if end == "\x03" {
            terminal.press(end);
        } else {
            terminal.signal(end);
        }
        assert_eq!(terminal.exit_code(), 0, "{end}");
        assert!(!terminal.is_raw(), "{end}");
        terminal.wait_for_end(GIVEN_BACK);
    }
}

#[test]
fn a_server_that_goes_is_said_and_one_that_comes_back_is_shown_again() {
    let mut server = server();
    let terminal = top(&server);
    terminal.wait_for("spell");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    terminal.wait_for("trying again");
    terminal.wait_for("spell");
}

#[test]
fn what_is_no_screen_gets_the_picture_once() {
    let server = server();
    for arguments in [&["top"][..], &["top", "--once"], &["status"]] {
        let ended = binary(&server, &[arguments, &[&server.admin_url()]].concat());
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{ended:?}");
        assert!(ended.stdout.contains("\n  spell"), "{ended:?}");
        assert!(!ended.stdout.contains('\x1b'), "{ended:?}");
    }
    let ended = binary(&server, &["status", "--json", &server.admin_url()]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(document["pools"][1]["name"], "spell");
}

#[test]
fn without_an_address_the_only_server_of_this_user_is_found() {
    let server = server();
    let ended = binary(&server, &["status"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains(server.admin_url().trim_start_matches("http://")), "{ended:?}");
}

#[test]
fn open_prints_the_page_with_the_key_where_there_is_no_browser() {
    let server = server();
    let ended = binary(&server, &["open"]);
    let page = format!("{}/#key=", server.admin_url());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with(&page), "{ended:?}");
    assert_eq!(ended.stdout.trim_end().len(), page.len() + 32, "{ended:?}");
}

#[test]
fn what_is_in_the_way_is_said_with_what_to_do() {
    let server = Server::with("workers = 1").top("admin_token = \"secret\"").start();
    let ask = |arguments: &[&str]| {
        let ended = binary(&server, arguments);
        (ended.code, ended.stderr)
    };
    assert_eq!(ask(&["status", &server.admin_url()]).0, 0, "by the key");
    let (code, said) = ask(&["status", "--token", "wrong", &server.admin_url()]);
    assert!(code == 1 && said.contains("401") && said.contains("hint: run this as"), "{said}");
    let (code, said) = ask(&["status", &server.url()]);
    assert!(code == 1 && said.contains("404") && said.contains("`admin` address"), "{said}");
    let (code, said) = ask(&["top", "127.0.0.1:1"]);
    assert!(code == 1 && said.contains("Connection refused"), "{said}");
    let (code, said) = ask(&["top", "https://127.0.0.1:1"]);
    assert!(code == 2 && said.contains("http://127.0.0.1:3001"), "{said}");
}
