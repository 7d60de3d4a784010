//! Any bytes as a request's method, target, content type and body, against a table of routes.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use httpipe::testing::base::Failure;
use httpipe::testing::config::ConfigSource;
use httpipe::testing::config::{Config, RouteAction};
use httpipe::testing::front::parameters::{Body, Sources};
use httpipe::testing::front::question::{self, Material};
use httpipe::testing::front::routes::{Found, RouteTable};
use libfuzzer_sys::fuzz_target;

const ROUTES: &str = r#"
[pool.line]
command = ["/bin/cat"]
message_max = "4KiB"

[pool.nul]
command = ["/bin/cat"]
framing = "nul"

[[route]]
match = "GET /a/{x}/{n:int}?f={f:float}&b={b:bool}"
pool = "line"
send = "{x} {n} {f} {b}"

[[route]]
match = "POST /form?x={x}&y={y:json}"
pool = "line"
send = "{x} {y}"

[[route]]
match = "POST /file?x={x}&y={y:file}"
pool = "line"
send = "{x} {y:base64}"

[[route]]
match = "POST /all"
pool = "line"
send = "json"

[[route]]
match = "POST /http"
pool = "line"
send = "http"

[[route]]
match = "POST /quoted"
pool = "line"
send = '{"q": {body:json}}'

[[route]]
match = "POST /nul"
pool = "nul"
send = "{method} {path} {body}"

[[route]]
match = "GET /rest/*"
pool = "line"
send = "{path}"
"#;

/// The configuration, read once from a file as an operator's is.
fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let path: PathBuf =
            std::env::temp_dir().join(format!("routes-{}.toml", std::process::id()));
        std::fs::write(&path, ROUTES).expect("a temporary file can be written");
        let config = ConfigSource::new(Some(path.clone()), Vec::new(), Vec::new())
            .load(&|_, _| unreachable!("it has no `python`"));
        std::fs::remove_file(path).expect("it was just written");
        config.unwrap_or_else(|problems| panic!("{problems}"))
    })
}

fuzz_target!(|data: &[u8]| {
    let config = config();
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else { return };
    let kind = lines.next().unwrap_or_default();
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default());
    // An HTTP parser hands on only text.
    let (Ok(method), Ok(kind)) = (std::str::from_utf8(method), std::str::from_utf8(kind)) else {
        return;
    };
    let Ok(uri) = Uri::try_from(target) else { return };
    let table = RouteTable::new(&config.routes);
    let found = table.find(method, uri.path());
    assert_eq!(found, table.find(method, uri.path()), "the same request takes the same route");
    let Found::Route(index) = found else { return };
    let route = &config.routes[index];
    assert!(method == route.method || (method == "HEAD" && route.method == "GET"));
    let RouteAction::Call(call) = &route.action else { return };
    let pool = &config.pools[call.pool];
    let read =
        if question::uses_body(&call.send) { Body::Nothing } else { Body::of(Some(kind), &body) };
    let sources = Sources { path: uri.path(), query: uri.query().unwrap_or_default(), body: read };
    let headers = HeaderMap::new();
    let material =
        Material { route, method, sources, headers: &headers, body: &body, caller: None };
    match question::ask(call, &pool.program.wire, material, "") {
        Ok(asked) => {
            let text = &asked.question.text;
            assert!(text.len() <= pool.program.wire.message_max, "no question is above the limit");
            let ends: &[u8] = if pool.name == "nul" { b"\0" } else { b"\n\r\0" };
            let is_whole = !text.iter().any(|byte| ends.contains(byte));
            assert!(is_whole, "a caller forged an end: {text:?}");
        }
        Err(failure) => {
            let is_callers = matches!(
                failure,
                Failure::BadRequest { .. }
                    | Failure::BadParameter { .. }
                    | Failure::Unsendable { .. }
                    | Failure::BodyTooLarge { .. }
                    | Failure::UnsupportedMediaType { .. }
            );
            assert!(is_callers, "{failure:?} is no fault of a caller");
        }
    }
});
