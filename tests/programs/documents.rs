//! Databases, pictures and graphs: answers up to a sentinel or to a last line.

use crate::serve::{encoded, serve};

#[test]
fn sqlite3_ends_each_answer_with_a_word_that_nobody_knows() {
    let Some(server) = serve("sqlite3", &["sqlite3"]) else { return };
    let ask = |query: &str| {
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        let body = format!("query={}", encoded(query));
        server.client().request("POST", "/sql", &form, &body)
    };
    let answer = ask("select 1+1 as x");
    assert_eq!((answer.status, answer.body.trim_end()), (200, r#"[{"x":2}]"#));
    assert_eq!(ask("select 1 as x -- a comment").body.trim_end(), r#"[{"x":1}]"#);
    assert_eq!(ask("select 1 where 0").body, "", "no rows are an answer too");
    let answer = ask("select nope");
    assert_eq!(answer.code(), "program_error");
    assert!(answer.detail().starts_with("no such column: nope"), "{answer:?}");
    assert_eq!(ask(".shell id").code(), "bad_parameter");
    assert_eq!(ask("select 1\n.shell id").code(), "bad_parameter");
    // With -safe it ends rather than touch a file.
    let answer = ask("select writefile('/dev/null', 'x')");
    assert_eq!(answer.code(), "worker_lost", "{answer:?}");
    assert_eq!(ask("select 2 as x").body.trim_end(), r#"[{"x":2}]"#);
}

#[test]
fn exiftool_stays_open_and_goes_with_the_server() {
    let Some(server) = serve("exiftool", &["exiftool"]) else { return };
    for _ in 0..2 {
        let answer = server.client().get("/pictures/square.svg");
        assert_eq!(answer.json()[0]["ImageSize"], "8x8", "{answer:?}");
    }
    let answer = server.client().get("/pictures/none.svg");
    assert_eq!(answer.code(), "program_error");
    assert_eq!(answer.detail(), "File not found - pictures/none.svg");
    for outside in ["/pictures/-ver", "/pictures/a%0A-ver", "/pictures/..%2Fhttpipe.toml"] {
        assert_eq!(server.client().get(outside).code(), "bad_parameter", "{outside}");
    }
    // Dropping the server kills it, and no exiftool may be left, though it ignores an end of input.
}

#[test]
fn dot_draws_a_graph_of_ours() {
    let Some(server) = serve("dot", &["dot"]) else { return };
    let answer = server.client().get("/edge?from=a&to=b").body;
    assert!(answer.starts_with("graph 1 0.75 1.5\nnode a "), "{answer:?}");
    assert!(answer.ends_with("\nstop"), "{answer:?}");
    let wrong = server.client().get(&format!("/edge?from={}&to=b", encoded("\" shapefile=\"")));
    assert_eq!(wrong.code(), "bad_parameter");
}
