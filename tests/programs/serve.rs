//! Starts the server of an example, if the programs it needs are installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::{Plan, Server, shell, skipped};

/// Starts the server of `examples/NAME/httpipe.toml`. Returns `None`, and reports the test as
/// skipped, if a program is missing.
pub(crate) fn serve(name: &str, needs: &[&str]) -> Option<Server> {
    serve_with(name, needs, &[])
}

/// Starts the server of an example as [`serve`] does, with more options of `run`.
pub(crate) fn serve_with(name: &str, needs: &[&str], options: &[&str]) -> Option<Server> {
    let file = format!("examples/{name}/httpipe.toml");
    let plan = options.iter().fold(Server::args(&[&file]), |plan, option| plan.option(option));
    start(plan.in_project(), needs)
}

/// Starts a server with any configuration if everything in `needs` is installed: commands, or paths
/// below the directory that `install.sh` fills.
pub(crate) fn start(plan: Plan, needs: &[&str]) -> Option<Server> {
    for need in needs {
        if !is_there(need) {
            skipped(&format!("{need} is not installed"), "tests/programs/install.sh installs it");
            return None;
        }
    }
    let (path, python) = environment();
    Some(plan.env("PATH", &path).env("PYTHONPATH", &python).start())
}

/// Runs a scenario of `mcp_client.mjs` with the SDK of the Model Context Protocol against a server.
/// Returns what its clients saw.
pub(crate) fn mcp_clients(server: &Server, scenario: &str) -> Value {
    let modules = programs().join("node_modules");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/mcp_client.mjs");
    let (client, modules, url) = (client.display(), modules.display(), server.url());
    let (code, said) = shell(&format!("timeout 60 node {client} {modules} {url}/ {scenario} 2>&1"));
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Runs `mcp_client.py`, whose clients are made with the SDK for Python. Returns what they saw.
pub(crate) fn python_mcp_clients(server: &Server) -> Value {
    let modules = programs().join("mcp");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/mcp_client.py");
    let (client, modules, url) = (client.display(), modules.display(), server.url());
    let (code, said) =
        shell(&format!("PYTHONPATH={modules} timeout 60 python3 {client} {url}/ 2>&1"));
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Encodes a value for a query or a form.
pub(crate) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// Returns true if this is installed: a command, or a path below the directory that `install.sh` fills.
pub(crate) fn is_there(need: &str) -> bool {
    if need.contains('/') {
        return programs().join(need).exists();
    }
    std::env::split_paths(&search_path()).any(|dir| dir.join(need).is_file())
}

/// Returns the directory where `install.sh` puts packages from npm and pip.
pub(crate) fn programs() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs");
    std::env::var_os("TEST_PROGRAMS").map_or(ours, PathBuf::from)
}

/// Returns what `PATH` and `PYTHONPATH` are for programs that `install.sh` installed.
pub(crate) fn environment() -> (String, String) {
    (text(search_path()), text(programs().join("python").into()))
}

fn search_path() -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let ours = programs().join("node_modules/.bin");
    let all = std::iter::once(ours).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).expect("no directory has a colon in its name")
}

fn text(value: OsString) -> String {
    value.into_string().expect("the paths of a build are text")
}
