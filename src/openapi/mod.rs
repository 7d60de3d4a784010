//! What can be asked, as an OpenAPI 3.1 document of the configuration, and as a page for people.
//!
//! Pure. A document holds what callers may know: no command, no environment and no path of this
//! machine. The same configuration makes the same document, byte for byte.

mod answers;
mod bodies;
mod carries;
mod ecma;
mod failures;
mod functions;
mod hoist;
mod job_paths;
mod jobs;
mod operation;
pub mod page;
mod paths;
mod values;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Config, WhoMayAsk};
pub use failures::FailureWords;
use failures::Failures;
use hoist::Hoist;
use operation::Making;

/// The media type of a document, as RFC 9512 and its successors name it.
pub const CONTENT_TYPE: &str = "application/json";
/// Where callers and operators find the document.
pub const PATH: &str = "/openapi.json";

/// How a document begins that names no server.
const START: &str = r#"{"openapi":"3.1.1","servers":[{"url":"/"}],"#;
/// Most pools whose names make the title.
const NAMED_MOST: usize = 4;

/// A document, as it is sent.
#[derive(Clone, Debug)]
pub struct Document {
    text: Bytes,
    etag: String,
    /// Callers speak HTTPS.
    is_secure: bool,
}

impl Document {
    /// Describes a configuration.
    pub fn new(config: &Config, words: FailureWords) -> Self {
        let mut shared = Making {
            config,
            failures: Failures::new(words, &config.callers),
            hoist: Hoist::default(),
            json_rpc: None,
        };
        let mut paths = paths::paths(&mut shared);
        job_paths::add(&mut shared, &mut paths);
        let components = components(shared);
        let mut body = json!({ "paths": paths, "components": components });
        if let WhoMayAsk::Keys(_) = config.callers.who {
            body["components"]["securitySchemes"] = security_schemes();
            body["security"] = security(config.callers.anonymous.is_some());
        }
        let body = body.to_string();
        let version = format!("{:016x}", xxh3_64(body.as_bytes()));
        let info = json!({
            "title": title(config),
            "version": version,
            "description": "Served by httpipe.",
        });
        let text = format!("{START}\"info\":{info},{}", &body[1..]);
        let etag = format!("\"{:016x}\"", xxh3_64(text.as_bytes()));
        Self { text: text.into(), etag, is_secure: config.tls.is_some() }
    }

    /// The document. Paths begin where it was found.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Its entity tag, with quotes.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Returns the document for those who found it elsewhere: callers ask at these addresses, as in
    /// `127.0.0.1:3000` and `unix:/path`.
    pub fn of_callers_at(&self, addresses: &[String]) -> Bytes {
        let servers: Vec<Value> =
            addresses.iter().map(|address| server(address, self.is_secure)).collect();
        let rest = &self.text[START.len()..];
        let servers = Value::from(servers);
        let start = format!(r#"{{"openapi":"3.1.1","servers":{servers},"#);
        [start.as_bytes(), rest].concat().into()
    }
}

/// The ways to show a key.
fn security_schemes() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer" },
        "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The name of the key, and the key as the password",
        },
    })
}

/// What every operation asks for: a key in one of the ways, or none where strangers may ask.
fn security(lets_strangers_in: bool) -> Value {
    let mut ways = vec![json!({ "bearer": [] }), json!({ "key": [] }), json!({ "basic": [] })];
    if lets_strangers_in {
        ways.push(json!({}));
    }
    ways.into()
}

/// A server at an address.
fn server(address: &str, is_secure: bool) -> Value {
    if let Some(path) = address.strip_prefix("unix:") {
        return json!({
            "url": "http://localhost",
            "description": format!("by the socket file {path}"),
            "x-socket": path,
        });
    }
    // Everybody's address is nobody's.
    let host = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let scheme = if is_secure { "https" } else { "http" };
    json!({ "url": format!("{scheme}://{host}") })
}

fn title(config: &Config) -> String {
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    match names.len() {
        0 => "httpipe".to_owned(),
        1..=NAMED_MOST => names.join(", "),
        count => format!("{count} programs"),
    }
}

fn components(mut shared: Making<'_>) -> Value {
    let mut schemas = Map::new();
    schemas.insert(failures::PROBLEM.to_owned(), failures::problem_schema());
    if let Some(strictly) = shared.json_rpc {
        schemas.insert(bodies::MESSAGE.to_owned(), bodies::message_schema(strictly));
    }
    if jobs::are_any(shared.config) {
        schemas.insert(jobs::JOB.to_owned(), jobs::schema());
    }
    schemas.extend(shared.hoist.into_schemas());
    json!({
        "schemas": schemas,
        "responses": shared.failures.responses(),
        "parameters": operation::shared_parameters(),
        "headers": answers::headers(),
    })
}
