//! What may be written in a configuration file: every key, its type and its default.
//!
//! Pure. The doc comments below are the reference: `reference` makes the JSON schema and
//! `docs/reference/config.md` of them, `shape` checks a file against that schema, and the
//! defaults of an absent key are the ones of the `Default` implementations here.

mod callers;
mod jobs;
mod pool;
mod spread;
mod tls;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{AddressText, Scalar, Size, Time};
use super::secret::Secret;

pub use callers::AnonymousFile;
pub use jobs::{JobRulesFile, JobsFile, RouteJobsFile};
pub use pool::{
    BatchFile, FramingFile, HelloFile, IdFile, MatchingText, PoolFile, ProbeFile, RecycleFile,
    SandboxFile, SandboxTable, StrayText,
};
pub use spread::SpreadFile;
pub use tls::TlsFile;

/// The configuration of one server.
///
/// Durations and sizes are strings with a unit: `"800ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`;
/// `"64KiB"`, `"16MiB"`, `"1GB"`. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "httpipe.toml")]
pub struct File {
    /// Where callers connect: `"127.0.0.1:3000"`, `"[::1]:3000"`, `"unix:/path"`, or a list of
    /// those. A port alone (`3000`, `":3000"`) and `"localhost:3000"` mean 127.0.0.1, which only
    /// this machine can reach; `"0.0.0.0:3000"` is for everybody. Port 0 takes any free port. A
    /// socket file is made with mode 0660, replaces one that no server listens on, and is removed
    /// on exit. Sockets that a service manager passes (`LISTEN_FDS`) take its place; one that is
    /// named `admin` takes the place of `admin`. With `"off"` there is none: such a server works for the
    /// callers of others (`spread`).
    pub listen: ListenFile,
    /// Where operators connect, for health, metrics and reload; `"off"` switches it off. If it is
    /// not set and port 3001 is taken, any free port is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "127.0.0.1:3001"))]
    pub admin: Option<AddressText>,
    /// The Bearer token that operators must send. Required if `admin` is not a loopback address. Better
    /// than the text itself is where it is kept: `{ file = "token" }`, relative to this file, or
    /// `{ credential = "token" }`, a file of that name in `$CREDENTIALS_DIRECTORY`, where a unit of
    /// systemd with `LoadCredential=` puts it. A line end at its end does not count. A reload reads it
    /// again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<SecretFile>,
    /// Where load balancers ask how many calls this server can take now: an address as in `listen`. Each
    /// connection gets one line, `ready up maxconn:N` or `drain`, as HAProxy's `agent-check` wants it; a
    /// balancer that is one of K sends `share=K` first and gets its part (docs/scale.md). If it is not a
    /// loopback address, only those that `trust` names are answered. If absent or `"off"`, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["127.0.0.1:3002"]))]
    pub agent: Option<AddressText>,
    /// The certificate by which callers know this server. With it, every address of `listen` that is
    /// not a socket file speaks HTTPS, and no plain HTTP.
    pub tls: TlsFile,
    /// Who may ask: a file with their keys (`"keys.toml"`, relative to this file), or `"anyone"`. With
    /// keys, every request needs one, in `Authorization: Bearer KEY`, `X-API-Key: KEY` or
    /// `Authorization: Basic` with its name; else it gets 401 `unauthorized`. `httpipe key new NAME`
    /// makes a key, and docs/guard.md says what its entry may hold. The file is read again when it
    /// changes, within ten seconds. If absent, anyone on this machine may ask, and `listen` may not
    /// name an address that other machines reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["keys.toml", "anyone"]))]
    pub callers: Option<String>,
    /// What each address may do that shows no key. An IPv6 address stands for its /64 network. If
    /// absent: nothing where there are keys, everything where there are none.
    pub anonymous: AnonymousFile,
    /// Proxies whose `X-Forwarded-For` counts: addresses, networks, and `"unix"` for those that
    /// connect by a socket file. The field is read from its end, over trusted proxies only; the
    /// first address that is none is the caller's, in the log and for `anonymous`. If absent, nobody
    /// is trusted, and the caller is who connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = [["10.0.0.0/8", "unix"]]))]
    pub trust: Option<Vec<String>>,
    /// Whether those that `trust` names say for whom they connect by the PROXY protocol, version 2
    /// (HAProxy: `send-proxy-v2`). A connection of theirs that does not begin with it is closed; from
    /// others it is not read. Takes effect at the start.
    pub proxy_protocol: bool,
    /// Names by which this server is asked, besides the loopback ones: `["api.example"]`. On a
    /// loopback listener, callers' or operators', a request for another host, or from a web page of
    /// another site, gets 403 `forbidden_origin`, so that no page in a browser here can use the
    /// server. Needed behind a proxy on this machine that passes `Host` on. `"any"` switches the
    /// check off. Socket files and other listeners have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["api.example"]]))]
    pub hosts: Option<OneOrMany>,
    /// Web pages of other origins that may ask and read answers: `["https://app.example"]`, or `"*"`
    /// for all. Preflights are answered by the server. A route may have its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["https://app.example"]]))]
    pub cors: Option<OneOrMany>,
    /// Where callers find a page with a form for each route; `"off"`: nowhere. The same switch holds
    /// for `/openapi.json`, which describes the routes for programs. If absent, the page is at
    /// `/docs`, provided that callers can reach the server only from this machine, and that no route
    /// takes the path. Operators have both pages in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["/docs", "off"]))]
    pub docs: Option<String>,
    /// Threads that handle connections. The pipes of all workers are handled by one of them.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: usize,
    /// How long accepted calls may take to finish once the server is told to stop. Calls that are
    /// still open then are answered with 503.
    pub drain: Time,
    /// What is logged, and in which format. The log goes to stderr; the lines of requests may have a
    /// file of their own.
    pub log: LogFile,
    /// Limits of one connection and one request.
    pub limits: LimitsFile,
    /// The pools by name. Each is one program and the workers that run it.
    pub pool: BTreeMap<String, PoolFile>,
    /// Which requests become which calls. The first route in the file that matches is taken. With
    /// one pool and no route, `POST /` sends the body and `GET /?input={input}` sends the
    /// parameter.
    pub route: Vec<RouteFile>,
    /// How much memory kept answers may take, and where servers share them.
    pub cache: CacheFile,
    /// Where jobs are kept, and how many. If absent, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobsFile>,
    /// Through which NATS server calls are shared with other hosts. If absent, all workers are on this
    /// machine. A change takes effect after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadFile>,
}

/// One address, or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum ListenFile {
    /// A port of this machine.
    Port(u16),
    /// One address.
    One(String),
    /// Several; at least one.
    Many(#[schemars(length(min = 1))] Vec<AddressText>),
}

/// A secret, or where it is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum SecretFile {
    /// The secret itself.
    Text(Secret),
    /// Where it is kept.
    Elsewhere(SecretPlace),
}

/// Where a secret is kept: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretPlace {
    /// In this regular file of at most 64 KiB, relative to the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub file: Option<String>,
    /// In the file of this name in `$CREDENTIALS_DIRECTORY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub credential: Option<String>,
}

impl SecretFile {
    /// Returns the secret; empty while it is elsewhere.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(secret) => secret.reveal(),
            Self::Elsewhere(_) => "",
        }
    }
}

impl Default for SecretFile {
    fn default() -> Self {
        Self::Text(Secret::from(String::new()))
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several; at least one.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

/// What is logged, and in which format.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogFile {
    /// `text` is for people; `json` is one object per line; `auto` is `json`, but on a terminal short
    /// coloured lines without their times.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
    /// Whether one line is logged for each request; or the file that these lines are added to,
    /// whatever the level, relative to this file. It is opened again on SIGHUP and on any reload, so
    /// that `logrotate` can move it. Lines that cannot be written are dropped and counted.
    #[schemars(extend("examples" = ["access.log"]))]
    pub access: AccessFile,
}

/// A switch, or a file.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum AccessFile {
    /// Log them, or do not.
    Switch(bool),
    /// Log them in this file.
    Path(#[schemars(length(min = 1))] String),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("type" = "string"))]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "a documented variant makes the schema a list of alternatives"
)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("type" = "string"))]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "a documented variant makes the schema a list of alternatives"
)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Limits of one connection and one request.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsFile {
    /// Most bytes of a request head (request line and headers); a larger one gets 431.
    pub header: Size,
    /// Most bytes of a request body; a larger one gets 413.
    pub body: Size,
    /// Most bytes of request bodies, questions and answers that all connections hold together while
    /// the bodies arrive, the questions wait or run and the answers are sent; then 503. Those of at
    /// most 16 KiB are not counted. A kept
    /// answer is counted once while it is sent, to however many callers. Of an answer in parts only the
    /// first part can be refused. Without room for a later one, its worker is not read until its reader
    /// has caught up. Where callers have keys, those of one key take at most a quarter, or a single body
    /// or answer.
    pub memory: Size,
    /// Longest time from the first byte of a request head to its last.
    pub header_timeout: Time,
    /// Longest time from the end of the head to the last byte of the body; then 408.
    pub body_timeout: Time,
    /// Longest time that the client may take none of the bytes of a response; then the connection
    /// is closed.
    pub write_timeout: Time,
    /// Longest time that a connection may be idle between requests.
    pub idle_timeout: Time,
    /// Most connections open at once. Above it, the connection that has been idle longest is closed
    /// for a new one; while none is idle, new ones wait.
    #[schemars(range(min = 1))]
    pub connections: usize,
    /// Most connections open at once from one address, and from one /64 network of IPv6. One more is
    /// closed at once. Proxies in `trust` and socket files have no such limit. If absent, 256, and
    /// connections from this machine are not counted.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_address: Option<usize>,
}

/// How much memory kept answers may take.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheFile {
    /// Most bytes of kept answers, including their keys and bookkeeping.
    pub memory: Size,
    /// A Redis or Valkey (6.0 or later) where servers share kept answers, and where one of them runs what
    /// several are asked at once: `"redis://user@host:6379/0"`, `"rediss://…"` with TLS, or
    /// `"unix:/path"`. User, port and database may be left out. Whatever is wrong with it, a call only
    /// misses it (docs/scale.md). Needs the Cargo feature `redis`; takes effect at the start. If absent,
    /// each server keeps answers for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["rediss://httpipe@redis.internal:6379/0"]))]
    pub shared: Option<String>,
    /// The password for it, in the variable `HTTPIPE_CACHE_SHARED_PASSWORD` or, as with `admin_token`,
    /// where it is kept: `{ file = "redis.pw" }` or `{ credential = "redis.pw" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_password: Option<SecretFile>,
    /// The file of the certificates that a `rediss://` must be signed by, relative to this file. If
    /// absent: those that this machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["ca.pem"]))]
    pub shared_ca: Option<String>,
    /// How long a look into it may take; then the call runs without it.
    pub shared_timeout: Time,
}

/// Which requests become which calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["match"]))]
pub struct RouteFile {
    /// The method, or `ANY` for all, the path, and the parameters with their types: `"GET
    /// /fib?num={num:int}"`, `"PUT /words/{word}"`. `/*` at the end takes the rest of the path. Types are `text` (the default),
    /// `int`, `float`, `bool`, `json` and `file`, which is any bytes, as a form uploads them.
    #[serde(rename = "match")]
    #[schemars(length(min = 1), extend("examples" = ["GET /path?key={key}"]))]
    pub match_text: String,
    /// The pool that answers. May be left out if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// A fixed answer instead of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the question is made of: text with slots, where a slot is a parameter or `{body}`,
    /// `{nonce}`, `{header.NAME}`, `{method}`, `{path}`,
    /// `{caller}`; `{kept:json}` writes the answers that are kept; `{name:json}` writes a text as a JSON string,
    /// `{body:line}` a JSON document on one line, `{name:base64}` any bytes; `{{name}` stands for
    /// these letters; `"json"`: the parameters as an object;
    /// `"http"`: the whole request as JSON. If absent: the only parameter, or the body if there are
    /// no parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// The function that answers, in a pool with `python`. May be left out if the pool has only one.
    /// Parameters in `match` take their types from its signature; what `match` does not name comes
    /// from the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub function: Option<String>,
    /// Bounds and defaults of the parameters, by name.
    pub params: BTreeMap<String, ParameterFile>,
    /// How long a good answer is kept. With `reply = "http"`, an answer is good if its status is
    /// below 400 and not 304. If absent, answers are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Time>,
    /// Most bytes of the JSON object that `{kept:json}` in `send` stands for: answers that `cache` keeps
    /// for this route, the newest first. If absent, 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Size>,
    /// Web pages of other origins that may use this route: a list of origins, `"*"`, or `"off"`. If
    /// absent, the `cors` at the top holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["https://app.example"]]))]
    pub cors: Option<OneOrMany>,
    /// Whether a call may run twice. If absent: true for GET and HEAD, else false; with `python` true
    /// only for functions marked `@httpipe.pure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Most items of one batch request: a body of `application/jsonl` or `application/x-ndjson`, or a JSON array
    /// where the route takes parameters, of which each item is answered as a request with that body
    /// would be. The answers come as JSON lines in the order of the items, with `Prefer: unordered` as they
    /// end. Items wait until a worker has nothing else to do, see `share`. If absent, batches are not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub items: Option<u64>,
    /// Whether a caller may have a call done later, as a job: `Prefer: respond-async` is then answered
    /// with 202 and where the job is found (docs/jobs.md). `true`, or a table with their rules. Needs
    /// `[jobs]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<RouteJobsFile>,
    /// The content type of `text`, or of an answer that is passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("default" = "text/plain; charset=utf-8"))]
    pub content_type: Option<String>,
    /// What the route is for, in a few words: the heading in `/docs` and in `/openapi.json`. If
    /// absent, a function has the first line of its docstring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub summary: Option<String>,
    /// What a caller should know of the route, in `/docs` and in `/openapi.json`. If absent, a
    /// function has the rest of its docstring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub description: Option<String>,
}

/// Bounds and default of one parameter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterFile {
    /// Least value of an `int` or `float`. Write a string for an integer beyond 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Scalar>,
    /// Greatest value of an `int` or `float`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Scalar>,
    /// Most characters of a `text`, 4096 if absent; most bytes of a `file`, which else only
    /// `limits.body` bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_length: Option<usize>,
    /// A regular expression that must match the whole value of a `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The only values that a `text` may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub one_of: Option<Vec<String>>,
    /// The value if the request does not have the parameter, which makes it optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// What a caller who left the parameter out is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: ListenFile::One("127.0.0.1:3000".to_owned()),
            admin: None,
            admin_token: None,
            agent: None,
            tls: TlsFile::default(),
            callers: None,
            anonymous: AnonymousFile::default(),
            trust: None,
            proxy_protocol: false,
            hosts: None,
            cors: None,
            docs: None,
            threads: 1,
            drain: Time::seconds(30),
            log: LogFile::default(),
            limits: LimitsFile::default(),
            pool: BTreeMap::new(),
            route: Vec::new(),
            cache: CacheFile::default(),
            jobs: None,
            spread: None,
        }
    }
}

impl Default for LogFile {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: LogLevel::Info, access: AccessFile::Switch(true) }
    }
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            header: Size::kibibytes(32),
            body: Size::mebibytes(16),
            memory: Size::mebibytes(256),
            header_timeout: Time::seconds(10),
            body_timeout: Time::seconds(30),
            write_timeout: Time::seconds(30),
            idle_timeout: Time::seconds(75),
            connections: 10_000,
            per_address: None,
        }
    }
}

impl Default for CacheFile {
    fn default() -> Self {
        Self {
            memory: Size::mebibytes(64),
            shared: None,
            shared_password: None,
            shared_ca: None,
            shared_timeout: Time(std::time::Duration::from_millis(10)),
        }
    }
}
