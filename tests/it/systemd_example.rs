//! `examples/systemd`: the unit is good, and what it starts serves with the secret that systemd hands over.

use std::path::Path;

use crate::attacks::sandbox::has_landlock;
use crate::support::{Server, passed_over, shell};

const UNIT: &str = include_str!("../../examples/systemd/fib.service");
const CONFIG: &str = include_str!("../../examples/systemd/fib.toml");
const PROGRAM: &str = include_str!("../../examples/fib/calculate.py");
const PACKAGED: &str = include_str!("../../packaging/systemd/httpipe.service");

#[test]
fn what_it_starts_serves_with_its_credential_as_the_only_secret() {
    if !has_landlock() {
        return;
    }
    let config = CONFIG.replace("127.0.0.1:3000", "127.0.0.1:0");
    let server = Server::config(&format!("admin = \"127.0.0.1:0\"\n{config}"))
        .env("CREDENTIALS_DIRECTORY", "credentials")
        .prepare_with("mkdir credentials; printf 'opensesame\\n' > credentials/token; chmod 400 credentials/token")
        .file("calculate.py", PROGRAM)
        .start();
    let answer = server.client().get("/fib?num=10");
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"result\":\"55\"}"));
    let reload = |token: &str| {
        let fields = [&*format!("Authorization: Bearer {token}"), "Httpipe-Admin: 1"];
        server.admin().request("POST", "/reload", &fields, "").status
    };
    assert_eq!((reload("opensesame"), reload("wrong")), (200, 401));
    for worker in server.workers() {
        let environment = std::fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!environment.contains("CREDENTIALS_DIRECTORY"), "{environment}");
    }
}

/// Where systemd is older than 255, `@system-service` has no call of Landlock.
#[test]
fn units_let_the_calls_pass_that_a_sandbox_needs() {
    let wanted =
        ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"];
    for unit in [UNIT, PACKAGED] {
        let lines = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
        let allowed: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        assert!(wanted.iter().all(|call| allowed.contains(call)), "{allowed:?}");
    }
}

#[test]
fn the_unit_is_good_and_exposes_little() {
    if shell("systemd-analyze --version").0 != 0 {
        return passed_over("systemd-analyze is not installed", "apt-get install systemd");
    }
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let dir = std::env::temp_dir().join(format!("httpipe-unit-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("fib.service");
    let unit = UNIT.replace("/usr/bin/httpipe", binary).replace("/opt/fib", "/tmp");
    std::fs::write(&file, unit).expect("it can be written");
    let told = verified(&file);
    let (_, security) = shell(&format!(
        "systemd-analyze security --offline=true --no-pager {} 2>&1 | tail -1",
        file.display()
    ));
    std::fs::remove_dir_all(&dir).expect("it is ours");
    assert_eq!(told, "");
    let level = security.split("fib.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    let level: Option<f32> = level.and_then(|text| text.parse().ok());
    assert!(level.is_some_and(|level| level <= 2.0), "{security}");
}

/// Returns what `systemd-analyze verify` finds in a unit.
fn verified(file: &Path) -> String {
    let (_, told) = shell(&format!("systemd-analyze verify --man=no {} 2>&1", file.display()));
    // Units of the machine are none of this test.
    let own = told.lines().filter(|line| line.contains("fib.service"));
    own.collect::<Vec<_>>().join("\n")
}
