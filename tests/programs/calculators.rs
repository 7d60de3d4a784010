//! Programs that calculate, one of them on a terminal and one asked in two lines.

use crate::serve::{encoded, serve};

#[test]
fn cs2cs_converts_coordinates_and_says_where_it_cannot() {
    let Some(server) = serve("cs2cs", &["cs2cs"]) else { return };
    let answer = server.client().get("/mercator?latitude=12&longitude=55");
    assert_eq!(answer.body, r#"{"x":6122571.99,"y":1345708.41,"z":0.00}"#);
    let answer = server.client().get("/mercator?latitude=north&longitude=55");
    assert_eq!(answer.code(), "bad_parameter");
}

#[test]
fn gp_calculates_and_runs_nothing() {
    let Some(server) = serve("gp", &["gp"]) else { return };
    let ask = |text: &str| server.client().get(&format!("/gp?expression={}", encoded(text)));
    assert_eq!(ask("2^100").body, "1267650600228229401496703205376");
    assert_eq!(server.client().get("/factors?number=12").body, "[2, 2; 3, 1]");
    for dangerous in ["system(\"id\")", "read(\"/etc/passwd\")", "%", "1\\q", "1\",0)"] {
        assert_eq!(ask(dangerous).code(), "bad_parameter", "{dangerous}");
    }
    for (wrong, why) in [("1/0", "e_INV"), ("2^", "e_SYNTAX"), (")", "e_SYNTAX")] {
        let answer = ask(wrong);
        assert_eq!((answer.code().as_str(), answer.detail().as_str()), ("program_error", why));
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn factor_answers_at_once_on_a_terminal() {
    let Some(server) = serve("factor", &["factor"]) else { return };
    assert_eq!(server.client().get("/factor?number=12").body, r#"{"factors":"2 2 3"}"#);
    // It repeats the number without its leading zeros, which are not sent either.
    assert_eq!(server.client().get("/factor?number=0097").body, r#"{"factors":"97"}"#);
    assert_eq!(server.client().get("/factor?number=foo").code(), "bad_parameter");
    assert_eq!(server.client().get("/factor?number=6%208").code(), "bad_parameter");
}

#[test]
fn units_reads_two_lines_for_one_question() {
    let Some(server) = serve("units", &["units"]) else { return };
    for _ in 0..3 {
        let answer = server.client().get("/convert?amount=10&from=km&to=miles");
        assert_eq!(answer.body, r#"{"result":6.2137119}"#);
        let answer = server.client().get("/convert?amount=1&from=miles&to=feet");
        assert_eq!(answer.body, r#"{"result":5280}"#);
    }
    for wrong in ["amount=1&from=nonsense&to=m", "amount=1e400&from=km&to=m"] {
        assert_eq!(server.client().get(&format!("/convert?{wrong}")).code(), "bad_parameter");
    }
}
