//! Values of several lines: sent where they cannot forge the framing, refused with the two ways
//! that work where they could.

use crate::support::{Plan, Server};

/// Answers a block with how many lines it had, and a block again.
const BLOCKS: &str = r#"
import sys
lines = []
for line in sys.stdin:
    if line == "\n":
        print(len(lines), "|".join(one.rstrip("\n") for one in lines), end="\n\n", flush=True)
        lines = []
    else:
        lines.append(line)
"#;

fn blocks(route: &str) -> Plan {
    Server::with("workers = 1\nframing = \"block\"")
        .worker("python3 blocks.py")
        .file("blocks.py", BLOCKS)
        .route(route)
}

#[test]
fn a_block_carries_lines_but_none_that_ends_it() {
    let server = blocks("match = \"POST /\"\nsend = \"q: {body}\"").start();
    assert_eq!(server.answers("a\nb\nc").body, "3 q: a|b|c");
    assert_eq!(server.answers("a\nb\n").body, "2 q: a|b");
    for forged in ["a\n\nb", "a\n\n", "a\r\n\r\nb", "\n\n"] {
        let answer = server.answers(forged);
        assert_eq!((answer.status, answer.header("httpipe-failure")), (400, "unsendable"));
    }
    let around = blocks("match = \"POST /\"\nsend = \"q\\n{body}\\nend\"").start();
    assert_eq!(around.answers("a").body, "3 q|a|end");
    for forged in ["\na", "a\n\n", "", "\n"] {
        assert_eq!(around.answers(forged).status, 400, "{forged:?}");
    }
    assert_eq!(around.answers("a\nb").body, "4 q|a|b|end", "nothing of the forged is left");
}

#[test]
fn a_json_document_of_several_lines_goes_in_one() {
    let server = Server::with("workers = 1")
        .route("match = \"POST /line\"\nsend = \"{body:line}\"")
        .route("match = \"POST /json\"\nsend = \"{body:json}\"")
        .route("match = \"POST /base64\"\nsend = \"{body:base64}\"")
        .start();
    let ask = |target, body| server.client().post(target, body);
    assert_eq!(ask("/line", "{\n  \"a\": 1.0,\r\n  \"b\\n\": \"x y\"\n}\n").body, {
        "{\"a\":1.0,\"b\\n\":\"x y\"}"
    });
    for wrong in ["", "{", "a\nb", "1 2"] {
        let answer = ask("/line", wrong);
        assert_eq!(answer.status, 400, "{wrong:?}");
        assert!(answer.body.contains("is not JSON"), "{answer:?}");
    }
    assert_eq!(ask("/json", "a\nb").body, "\"a\\nb\"");
    assert_eq!(ask("/base64", "a\nb").body, "YQpi");
}

#[test]
fn the_refusal_of_a_line_feed_names_the_ways_that_work() {
    let server = Server::with("workers = 1").start();
    let answer = server.answers("a\nb");
    assert_eq!(answer.status, 400);
    for way in ["{body:json}", "{body:line}"] {
        assert!(answer.body.contains(way), "{answer:?}");
    }
    let answer = server.client().get("/?input=a%0Ab");
    assert!(answer.body.contains("{input:json}"), "{answer:?}");
}

#[test]
fn a_byte_order_mark_before_json_is_named() {
    let server = Server::with("workers = 1")
        .route("match = \"POST /line\"\nsend = \"{body:line}\"")
        .route("match = \"POST /parameters?a={a}\"")
        .start();
    for target in ["/line", "/parameters"] {
        let json = ["Content-Type: application/json"];
        let answer = server.client().request("POST", target, &json, "\u{feff}{\"a\":\"1\"}");
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.body.contains("byte order mark"), "{answer:?}");
    }
}

#[test]
fn a_byte_order_mark_before_the_first_answer_is_dropped() {
    let program = "import sys\nsys.stdout.reconfigure(encoding=\"utf-8-sig\")\n\
                   sys.stdin.reconfigure(encoding=\"utf-8\")\nfor line in sys.stdin: \
                   print(line.strip(\"\\n\") + \"|\" + line.strip(\"\\n\").upper())";
    let worker = format!("python3 -uc '{program}'");
    let server = Server::with("workers = 1\nreply = \"{input}|{result}\"").worker(&worker).start();
    assert_eq!(server.answers("a").json()["result"], "A");
    let marked = server.answers("\u{feff}b");
    assert_eq!(marked.json()["result"], "\u{feff}B", "only at the very start: {marked:?}");
}
