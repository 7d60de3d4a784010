//! `examples/kubernetes`: the server runs with the configuration in the manifest, its probes are
//! answered, and a pod has time to end. `.ci/run` checks the manifest against the schemas.

use crate::support::Server;

/// The only manifest.
const MANIFEST: &str = include_str!("../../examples/kubernetes/httpipe.yaml");

/// Returns a file of the config map.
fn file(name: &str) -> String {
    let start = format!("\n  {name}: |\n");
    let (_, rest) = MANIFEST.split_once(&start).expect("the manifest has it");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.flat_map(|line| [line.strip_prefix("    ").unwrap_or_default(), "\n"]).collect()
}

/// Returns the number after the first `key: ` in this text.
fn number(text: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(key).expect("it has the key");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn the_configuration_of_the_manifest_serves_and_its_probes_are_answered() {
    let mut text = file("httpipe.toml");
    for (old, new) in [
        ("\"0.0.0.0:3000\"", "\"0.0.0.0:0\""),
        ("\"0.0.0.0:3001\"", "\"0.0.0.0:0\""),
        ("/run/httpipe/token", "token"),
    ] {
        assert!(text.contains(old), "no {old} in {text}");
        text = text.replace(old, new);
    }
    let server = Server::config(&text)
        .file("calculate.py", &file("calculate.py"))
        .file("token", "0123456789abcdef0123456789abcdef\n")
        .start();
    assert_eq!(server.client().get("/fib?num=10").json(), 55);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let (_, part) = MANIFEST.split_once(probe).expect("the manifest has it");
        let (_, path) = part.split_once("path: ").expect("a probe has a path");
        let path = path.lines().next().expect("a line");
        assert_eq!(server.admin().get(path).status, 200, "{probe} {path}");
    }
    assert_eq!(
        server.admin().get("/metrics").status,
        401,
        "strangers in the cluster learn nothing"
    );
}

#[test]
fn a_pod_has_time_for_the_wait_before_the_signal_the_drain_and_the_end() {
    let grace = number(MANIFEST, "terminationGracePeriodSeconds: ");
    let wait = number(MANIFEST, "command: [\"sleep\", \"");
    let drain = number(&file("httpipe.toml"), "drain = \"");
    assert!(wait >= 5 && grace >= wait + drain + 5, "{grace} {wait} {drain}");
    assert_eq!(number(MANIFEST, "maxUnavailable: "), 0);
}
