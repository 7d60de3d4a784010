//! Secrets that a configuration names by their place reach the program, and nothing else.

use crate::support::{Server, binary, shell};

/// What every secret of these tests begins with.
const CANARY: &str = "canary";

const POOL: &str = "workers = 1\nenv = { DB = { file = \"db.pw\" } }\nenv_file = \"main.env\"";

fn start() -> Server {
    Server::with(POOL)
        .top("admin_token = { credential = \"token\" }\nlog = { level = \"debug\" }")
        .file("token", "canary-token\n")
        .file("db.pw", "canary-db\r\n")
        .file("main.env", "# canary-comment\nexport API='canary api'\nDB=canary-beaten\n")
        .env("CREDENTIALS_DIRECTORY", ".")
        .start()
}

/// Sends a request to the admin listener with this token. Returns status and body.
fn operate(server: &Server, method: &str, path: &str, token: &str) -> (u16, String) {
    let header = format!("Authorization: Bearer {token}");
    let answer = server.admin().later(method, path, &[&header], "").answer();
    (answer.status, answer.body)
}

#[test]
fn they_reach_the_program_and_are_seen_nowhere() {
    let server = start();
    for (name, value) in [("DB", "canary-db"), ("API", "canary api")] {
        assert_eq!(server.answers(&format!("env {name}")).body, value);
    }
    assert_eq!(server.answers("env CREDENTIALS_DIRECTORY").body, "-");
    let mut seen = Vec::new();
    for path in ["/", "/status.json", "/metrics", "/docs", "/openapi.json", "/ready", "/no"] {
        seen.push(operate(&server, "GET", path, "canary-token").1);
        seen.push(operate(&server, "GET", path, "wrong").1);
    }
    seen.push(operate(&server, "POST", "/reload", "canary-token").1);
    assert!(seen.iter().any(|text| text.contains("nothing changed")), "{seen:?}");
    seen.push(server.client().get("/no").body);
    seen.push(server.answers("crash").body);
    server.wait_for_log("crash");
    server.signal("HUP");
    server.wait_until("it is reloaded again", |s| {
        s.log_lines().join("\n").matches("reload: nothing changed").count() == 2
    });
    for command in [&["check"][..], &["status", "--json"]] {
        let ended = binary(&server, command);
        seen.extend([ended.stdout, ended.stderr]);
    }
    seen.extend(server.log_lines());
    let told: Vec<_> = seen.iter().filter(|text| text.contains(CANARY)).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_reload_reads_them_again() {
    let server = start();
    let worker = server.workers()[0];
    server.write("db.pw", "canary-new");
    let (status, said) = operate(&server, "POST", "/reload", "canary-token");
    assert_eq!((status, said.as_str()), (200, "main: 1 of 1 workers replaced\n"));
    assert_ne!(server.workers(), [worker]);
    assert_eq!(server.answers("env DB").body, "canary-new");
    server.write("token", "canary-next");
    assert_eq!(operate(&server, "POST", "/reload", "canary-token").0, 200);
    assert_eq!(operate(&server, "GET", "/metrics", "canary-token").0, 401);
    assert_eq!(operate(&server, "GET", "/metrics", "canary-next").0, 200);
    // One that is no longer configured holds until a restart: all would be open without it.
    server.rewrite("admin_token = { credential = \"token\" }\n", "");
    let (_, said) = operate(&server, "POST", "/reload", "canary-next");
    assert!(said.contains("admin: changed; takes effect after a restart"), "{said}");
    assert_eq!(operate(&server, "GET", "/metrics", "wrong").0, 401);
    assert_eq!(operate(&server, "GET", "/metrics", "canary-next").0, 200);
}

/// What is made of the file of the secret, and what the message says.
const FAULTS: [(&str, &str); 6] = [
    ("rm db.pw", "cannot be read"),
    ("rm db.pw; mkfifo db.pw", "is not a regular file"),
    ("rm db.pw; mkdir db.pw", "is not a regular file"),
    (": > db.pw", "the secret is empty"),
    ("printf 'canary\\0' > db.pw", "the secret holds a NUL byte"),
    ("head -c 70000 /dev/zero | tr '\\0' c > db.pw", "it has more than 65536 bytes"),
];

#[test]
fn one_that_cannot_be_read_is_told_by_its_place() {
    let server = start();
    for (fault, words) in FAULTS {
        let (code, said) =
            shell(&format!("cd {}; rm -rf db.pw; echo x > db.pw; {fault}", server.dir().display()));
        assert_eq!(code, 0, "{said}");
        let (status, said) = operate(&server, "POST", "/reload", "canary-token");
        assert_eq!(status, 409, "{fault}: {said}");
        assert!(said.contains(words) && said.contains("httpipe.toml:"), "{fault}: {said}");
        assert!(!said.contains(CANARY) && !said.contains("db.pw\""), "{fault}: {said}");
    }
    server.write("main.env", "canary-without-a-sign\n");
    let (_, said) = operate(&server, "POST", "/reload", "canary-token");
    assert!(said.contains("line 1 of the file has no `=`"), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    assert_eq!(server.answers("env DB").body, "canary-db", "what ran before goes on");
}

#[test]
fn one_that_every_user_can_read_is_warned_of() {
    let plan =
        || Server::with("workers = 1\nenv = { DB = { file = \"db.pw\" } }").file("db.pw", "canary");
    let open = plan().prepare_with("chmod 644 db.pw").start();
    let line = open.wait_for_log("every user of this machine can read");
    assert!(line.contains("db.pw") && line.contains("chmod o-r"), "{line}");
    let closed = plan().prepare_with("chmod 640 db.pw").start();
    assert!(!closed.log_lines().join("\n").contains("every user"), "{:?}", closed.log_lines());
}

#[test]
fn a_credential_needs_a_service_manager_and_a_name() {
    for (place, words) in [
        ("{ credential = \"token\" }", "`CREDENTIALS_DIRECTORY` is not set"),
        ("{ credential = \"../token\" }", "a credential has a name, not a path"),
        ("{ file = \"a\", credential = \"b\" }", "must have one place"),
        ("{ file = \"none\" }", "cannot be read"),
        ("{ flie = \"token\" }", "did you mean `file`?"),
    ] {
        let ended = Server::with("workers = 1").top(&format!("admin_token = {place}")).refused();
        assert_eq!(ended.code, 2, "{place}: {ended:?}");
        assert!(ended.stderr.contains(words), "{place}: {}", ended.stderr);
    }
}
