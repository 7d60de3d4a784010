//! Forms with files (`multipart/form-data`): real clients send them, and programs get their bytes.

use crate::support::{Browser, Plan, Server, shell, skipped};

/// Answers with the bytes of the file, with their base64, and with the fields. `top` is put before
/// everything, `routes` behind it.
fn uploads(top: &str, routes: &str) -> Plan {
    Server::config(&format!(
        r#"{top}
[pool.bytes]
command = ["cat"]
framing = "eof"

[pool.lines]
command = ["cat"]
workers = 1

[[route]]
match = "POST /bytes?doc={{doc:file}}"
pool = "bytes"

[[route]]
match = "POST /both?doc={{doc:file}}&q={{q}}"
pool = "bytes"
send = "{{q}}\n{{doc}}"

[[route]]
match = "POST /base64?doc={{doc:file}}"
pool = "lines"
send = "{{doc:base64}}"

[[route]]
match = "POST /field?q={{q}}&n={{n:int}}"
pool = "lines"
send = "{{n}} {{q}}"
params = {{ n = {{ default = 1 }} }}

[[route]]
match = "POST /json?doc={{doc:file}}&q={{q}}"
pool = "lines"
send = "json"

[[route]]
match = "POST /any"
pool = "lines"
send = "json"

[[route]]
match = "POST /body"
pool = "bytes"

{routes}
"#
    ))
}

#[test]
fn what_curl_uploads_reaches_the_program_byte_for_byte() {
    let server = uploads("", "")
        .prepare_with("head -c 3000000 /dev/urandom >all; printf 'a\\r\\n--b\\0\\377' >'o \"d;d\\.bin'; : >none")
        .start();
    let dir = server.dir().display();
    let url = server.url();
    let curl = |options: &str, target: &str| {
        shell(&format!("cd '{dir}' && curl -sS {options} '{url}{target}'"))
    };
    for name in ["all", "o \"d;d\\.bin", "none", "httpipe.toml"] {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        for more in ["", "-H Transfer-Encoding:chunked", "-H 'Expect: 100-continue' -F other=1"] {
            let options = format!("-F 'doc=@\"{quoted}\"' {more} -o got");
            assert_eq!(curl(&options, "/bytes"), (0, String::new()), "{name} {more}");
            let (code, said) = shell(&format!("cd '{dir}' && cmp got '{name}'"));
            assert_eq!(code, 0, "{name} {more}: {said}");
        }
        let options = format!("-F 'doc=@\"{quoted}\"' -F q=hello -o got");
        assert_eq!(curl(&options, "/both"), (0, String::new()), "{name}");
        let check = format!("cd '{dir}' && {{ echo hello; cat '{name}'; }} | cmp got -");
        assert_eq!(shell(&check), (0, String::new()), "{name}");
    }
    let small = "-F 'doc=@\"o \\\"d;d\\\\.bin\"'";
    assert_eq!(curl(small, "/base64"), (0, "YQ0KLS1iAP8=".to_owned()));
    assert_eq!(
        curl(&format!("{small} -F q=é"), "/json"),
        (0, r#"{"doc":"YQ0KLS1iAP8=","q":"é"}"#.to_owned())
    );
    let any = curl(&format!("{small} -F 'q=a\"b'"), "/any?x=1");
    assert_eq!(any, (0, r#"{"x":"1","doc":"YQ0KLS1iAP8=","q":"a\"b"}"#.to_owned()));
    assert_eq!(curl("-F q=two -F n=007", "/field"), (0, "7 two".to_owned()));
    assert_eq!(curl("-F 'q=<none'", "/field?n=3"), (0, "3 ".to_owned()));
    let whole = curl("-F q=two -H 'Content-Type: multipart/form-data; boundary=b'", "/body").1;
    assert!(whole.contains("name=\"q\"\r\n\r\ntwo\r\n"), "a body that is asked for: {whole}");
}

/// Sends what a form of this body, of boundary `b`, is answered with: the status, the code of the
/// failure, and the problem.
fn posted(server: &Server, target: &str, body: &str) -> (u16, String, String) {
    let form = ["Content-Type: multipart/form-data; boundary=b"];
    let answer = server.client().request("POST", target, &form, body);
    (answer.status, answer.header("httpipe-failure").to_owned(), answer.body)
}

fn part(disposition: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

#[test]
fn a_field_cannot_forge_a_line_and_what_is_no_form_is_refused() {
    let server = uploads("limits = { body = \"20KiB\" }", "").start();
    let q = part("name=q", "1");
    let many = part("name=x", "").repeat(1001);
    let refused: &[(&str, String, u16, &str, &str)] = &[
        ("/field", part("name=q", "1\n2") + "--b--", 400, "unsendable", "a line feed"),
        ("/field", part("name=q", "1\r2") + "--b--", 400, "unsendable", "a carriage return"),
        ("/field", part("name=q", "\0") + "--b--", 400, "unsendable", "a NUL byte"),
        ("/field", part("name=q; filename=x", "1\n") + "--b--", 400, "unsendable", "a line feed"),
        ("/field", q.clone() + &q + "--b--", 400, "bad_parameter", "given twice"),
        ("/field?q=1", q.clone() + "--b--", 400, "bad_parameter", "given twice"),
        ("/field", part("name=p", "1") + "--b--", 400, "bad_parameter", "`q` is missing"),
        ("/field", q.clone(), 400, "bad_request", "breaks off"),
        ("/field", part("x=q", "1") + "--b--", 400, "bad_request", "has no `Content-Disposition"),
        ("/field", q.replace("--b", "--c") + "--c--", 400, "bad_request", "no part of the form"),
        ("/any", many + "--b--", 413, "body_too_large", "20480 bytes"),
        (
            "/field",
            q.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n") + "--b--",
            415,
            "unsupported_media_type",
            "as they are",
        ),
        (
            "/field",
            q.replace("\r\n\r\n", "\r\nContent-Type: text/plain; charset=latin1\r\n\r\n") + "--b--",
            415,
            "unsupported_media_type",
            "`charset`",
        ),
        (
            "/field",
            q.replace("\r\n\r\n", "\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n")
                + "--b--",
            415,
            "unsupported_media_type",
            "parts of its own",
        ),
        ("/bytes", part("name=doc; filename=\"\"", "") + "--b--", 400, "bad_parameter", "missing"),
    ];
    for (target, body, status, code, why) in refused {
        let told = posted(&server, target, body);
        assert_eq!((told.0, told.1.as_str()), (*status, *code), "{body:?}: {}", told.2);
        assert!(told.2.contains(why), "{why}: {}", told.2);
    }
    let form = ["Content-Type: multipart/form-data"];
    let told = server.client().request("POST", "/field", &form, &(q.clone() + "--b--"));
    assert_eq!(told.header("httpipe-failure"), "bad_request");
    assert!(told.body.contains("names no `boundary`"), "{}", told.body);
    assert_eq!(posted(&server, "/field", &(q + "--b--")).2, "1 1", "it serves on");
}

#[test]
fn a_file_in_lines_is_a_problem_that_says_what_to_write() {
    let told = Server::with("").worker("cat").route("match = \"POST /?doc={doc:file}\"").refused();
    assert_eq!(told.code, 2, "{told:?}");
    let why = "`doc` is a file, and a question of this pool cannot hold all bytes";
    assert!(told.stderr.contains(why) && told.stderr.contains("{doc:base64}"), "{}", told.stderr);
}

/// Uploads with `requests`, and with nothing but what Python brings, in pieces of any size.
const CLIENTS: &str = r#"
import email.message, email.policy, http.client, os, random, sys, urllib.request
url, name = sys.argv[1], sys.argv[2]
random.seed(7)
def content():
    alphabet = [b"\r\n", b"--", b"\r\n--", b"\0", b"\xff", b"Content-Disposition: form-data", os.urandom(9)]
    return b"".join(random.choice(alphabet) for _ in range(random.randrange(40)))
def split(data):
    while data:
        size = random.choice([1, 2, 7, 100])
        yield data[:size]
        data = data[size:]
for number in range(100):
    data = content()
    if name == "requests":
        import requests
        file = random.choice(["a.bin", "a\"b;c.bin", "\u65e5\u672c\r\n.txt", "a\\"])
        got = requests.post(url + "/both", files={"doc": (file, data)}, data={"q": "\u00e9"})
        got, status = got.content, got.status_code
    else:
        boundary = "----form%d" % random.getrandbits(64)
        body = ("--%s\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"x\"\r\n\r\n" % boundary).encode()
        body += data + ("\r\n--%s\r\ncontent-disposition:form-data;name=q\r\n\r\n\u00e9\r\n--%s--" % (boundary, boundary)).encode()
        connection = http.client.HTTPConnection(url.split("//")[1])
        kind = {"Content-Type": "multipart/form-data; boundary=" + boundary}
        connection.request("POST", "/both", split(body), kind, encode_chunked=True)
        got = connection.getresponse()
        got, status = got.read(), got.status
    assert (status, got) == (200, "\u00e9\n".encode() + data), (number, status, data, got)
print("all of them")
"#;

#[test]
fn what_python_uploads_in_any_pieces_is_exactly_what_the_program_gets() {
    let server = uploads("", "").file("clients.py", CLIENTS).start();
    let run = |client: &str| {
        let script = server.dir().join("clients.py");
        shell(&format!("python3 '{}' {} {client}", script.display(), server.url()))
    };
    assert_eq!(run("stdlib"), (0, "all of them\n".to_owned()));
    if shell("python3 -c 'import requests'").0 != 0 {
        skipped(
            "the Python package `requests` is not installed",
            "`apt-get install python3-requests` does it",
        );
        return;
    }
    assert_eq!(run("requests"), (0, "all of them\n".to_owned()));
}

/// Sends a form with a file of all bytes, and says what came back.
const PAGE: &str = r#"<p id="said">waiting</p>
<script>
const bytes = Uint8Array.from({ length: 5000 }, (_, at) => at % 256);
const form = new FormData();
form.append("doc", new Blob([bytes]), "o\"dd\r\n.bin");
form.append("q", "é");
const say = text => { document.getElementById("said").textContent = text; };
fetch("/both", { method: "POST", body: form }).then(it => it.arrayBuffer()).then(it => {
  const got = new Uint8Array(it), head = new TextEncoder().encode("é\n");
  const all = [...head, ...bytes];
  say(got.length == all.length && all.every((byte, at) => byte == got[at]) ? "the same" : "others");
}, say);
</script>"#;

#[test]
fn what_a_browser_uploads_is_what_the_program_gets() {
    let Some(browser) = Browser::start() else { return };
    let text = serde_json::to_string(PAGE).expect("a text is JSON, and TOML");
    let page = format!(
        "[[route]]\nmatch = \"GET /page\"\ntext = {text}\ncontent_type = \"text/html; charset=utf-8\""
    );
    let server = uploads("", &page).start();
    browser.navigate(&format!("{}/page", server.url()));
    browser.wait_until("document.getElementById('said')?.textContent === 'the same'");
}
