//! Binary protocols, whose messages say their length first: `u16`, `u32`, `u32le`, `netstring`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::serve::serve;

#[test]
fn the_resolver_of_erlang_answers_bytes() {
    let Some(server) = serve("inet_gethost", &["erl"]) else { return };
    for _ in 0..3 {
        let answer = server.client().get("/resolve?name=localhost").json();
        let text = answer["answer"].as_str().expect("a text");
        let bytes = STANDARD.decode(text).expect("base64");
        // The serial number, the length of an address, how many there are, the address.
        assert_eq!(bytes[..13], [0, 0, 0, 1, 4, 0, 0, 0, 1, 127, 0, 0, 1], "{bytes:?}");
        assert!(bytes.ends_with(b"localhost\0"), "{bytes:?}");
    }
    assert_eq!(server.client().get("/resolve?name=").code(), "bad_parameter");
    assert_eq!(server.client().get("/resolve?name=a%00b").code(), "bad_parameter");
}

#[test]
fn a_script_for_ejabberd_says_yes_and_no() {
    let needs = ["python3", "python/ejabberd_extauth.py"];
    let Some(server) = serve("ejabberd-extauth", &needs) else { return };
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let ask = |body: &str| server.client().request("POST", "/auth", &form, body);
    for _ in 0..2 {
        assert_eq!(ask("user=joe&password=secret").status, 200);
        let no = ask("user=joe&password=guess");
        assert_eq!((no.status, no.code().as_str()), (403, "program_error"));
    }
    assert_eq!(ask("user=joe:x&password=secret").code(), "bad_parameter");
}

#[test]
fn netstrings_carry_any_text() {
    let needs = ["python3", "python/pynetstring.py"];
    let Some(server) = serve("netstring", &needs) else { return };
    let ask = |text: &str| server.client().post("/reverse", text).body;
    assert_eq!(ask("two\nlines"), "senil\nowt");
    assert_eq!(ask("5:hello,"), ",olleh:5");
    let long = "ab".repeat(100_000);
    assert_eq!(ask(&long), "ba".repeat(100_000));
}

#[test]
fn a_host_of_a_browser_extension_answers_over_http() {
    let Some(server) = serve("native-messaging", &["python3"]) else { return };
    let headers = ["Content-Type: application/json"];
    let ask = |body: &str| server.client().request("POST", "/ask", &headers, body);
    assert_eq!(ask(r#"{"text":"hello"}"#).body, r#"{"length":5}"#);
    assert_eq!(ask(r#"{"text":"\"\nö"}"#).body, r#"{"length":3}"#);
    let answer = ask(r#"{"text":""}"#);
    assert_eq!((answer.status, answer.detail().as_str()), (422, "no text"));
}
