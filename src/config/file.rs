//! What may be written in a configuration file: every key, its type and its default.
//!
//! Pure. The doc comments below are the reference: `reference` makes the JSON schema and
//! `docs/reference/config.md` of them, `shape` checks a file against that schema, and the
//! defaults of an absent key are the ones of the `Default` implementations here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{InFlightText, Scalar, Size, Time, Workers};

/// The configuration of one server.
///
/// Durations and sizes are strings with a unit: `"800ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`;
/// `"64KiB"`, `"16MiB"`, `"1GB"`. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "httpipe.toml")]
pub struct File {
    /// Where callers connect: `"127.0.0.1:3000"`, `"[::1]:3000"`, `"unix:/path"`, or a list of
    /// those. Port 0 takes any free port. A socket file is made with mode 0660, replaces one that
    /// no server listens on, and is removed on exit.
    pub listen: OneOrMany,
    /// Where operators connect, for health, metrics and reload; `"off"` switches it off. If it is
    /// not set and port 3001 is taken, any free port is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "127.0.0.1:3001"))]
    pub admin: Option<String>,
    /// The Bearer token that operators must send. Required if `admin` is not a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub admin_token: Option<String>,
    /// Names by which this server is asked, besides the loopback ones: `["api.example"]`. On a
    /// loopback listener, callers' or operators', a request for another host, or from a web page of
    /// another site, gets 403 `forbidden_origin`, so that no page in a browser here can use the
    /// server. Needed behind a proxy on this machine that passes `Host` on. `"any"` switches the
    /// check off. Socket files and other listeners have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["api.example"]]))]
    pub hosts: Option<OneOrMany>,
    /// Threads that handle connections. The pipes of all workers are handled by one of them.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: usize,
    /// How long accepted calls may take to finish once the server is told to stop. Calls that are
    /// still open then are answered with 503.
    pub drain: Time,
    /// What is logged, and in which format. The log always goes to stderr.
    pub log: LogFile,
    /// Limits of one connection and one request.
    pub limits: LimitsFile,
    /// The pools by name. Each is one program and the workers that run it.
    pub pool: BTreeMap<String, PoolFile>,
    /// Which requests become which calls. The first route in the file that matches is taken. With
    /// one pool and no route, `POST /` sends the body and `GET /?input={input}` sends the
    /// parameter.
    pub route: Vec<RouteFile>,
    /// How much memory kept answers may take.
    pub cache: CacheFile,
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
    /// `text` is for people; `json` is one object per line; `auto` is `text` on a terminal, else
    /// `json`.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
    /// Log one line for each request.
    pub access: bool,
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
}

/// How much memory kept answers may take.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheFile {
    /// Most bytes of kept answers, including their keys and bookkeeping.
    pub memory: Size,
}

/// One program and how its workers are run and asked.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["command"]))]
pub struct PoolFile {
    /// The program and its arguments. No shell is involved. A program without a slash is looked up
    /// in `PATH`; one with a slash is relative to `dir`.
    #[schemars(length(min = 1), extend("examples" = [["python3", "worker.py"]]))]
    pub command: Vec<String>,
    /// How many workers are kept ready and how many there may be under load: `"2..8"`; `4` means
    /// `"4..4"`. If absent, one for each CPU that the server may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Most calls in one worker at once: a number, or `"auto"`, which sends the next call ahead
    /// only while calls are much shorter than waking an idle worker takes. If absent: `"auto"` if
    /// `reply` contains `{input}`, else 1. With 1, workers whose answers do not show which call
    /// they belong to take turns; with more, their output beyond one answer a question may reach
    /// wrong callers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightText>,
    /// How bytes are cut into messages: `line`, `nul`, `lines:N`, `block`, `until:TEXT`,
    /// `last-line:REGEX`, `u16`, `u32`, `u32le`, `netstring`, `content-length` or `turn`: an
    /// answer is all that the program writes until it waits for its input again, without one line
    /// end at its end, and a question is a line. After an empty answer the worker is replaced, for
    /// it may wait for the rest of the question. Questions and answers may differ: `{ send =
    /// "block", reply = "turn" }`. With `matching = "order"`, answers
    /// may end with `{nonce}`, as in `until:{nonce}\n`.
    pub framing: FramingFile,
    /// How an answer finds its call: `order` (the oldest call in that worker), `echo` (the call
    /// whose question it repeats; needs a `reply` that contains `{input}`), `tag` (the call whose
    /// tag it begins with), `json-id` (the call with the same JSON `id`).
    pub matching: MatchingText,
    /// What an answer looks like: text with captures, as in `"{input}|{result}"`, which becomes a
    /// JSON object; `"json"`: a JSON document, passed on as it is; `"http"`: JSON with `status`,
    /// `headers` and `body` or `body_base64`. If absent, the whole answer is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// What an error that the program reports looks like, as in `"e|{input}|{message}"`. It is
    /// tried before `reply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The HTTP status of an answer that `error` matches.
    #[schemars(range(min = 400, max = 599))]
    pub error_status: u16,
    /// Longest time that one call may take in a worker; then the worker is stopped and the caller
    /// gets 504.
    pub timeout: Time,
    /// How long a call may go on running after its caller has left; then its worker is stopped.
    pub abandoned: Time,
    /// What may wait for a worker.
    pub queue: QueueFile,
    /// How many times an idempotent call is tried again when its worker is lost.
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// Longest time until a new worker is ready: its banner, `hello` and `probe` together.
    pub start_timeout: Time,
    /// A regular expression for the banner. Everything that a new worker writes up to the end of
    /// the first match, and a line end right after it, is skipped. If absent, a new worker is
    /// asked once it waits for its input, and what it has written until then is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Messages that are sent to a new worker once, after its banner and before the probe. Each
    /// must be answered before the next is sent, unless it has `answer = false`.
    pub hello: Vec<HelloFile>,
    /// A question that a new worker must answer before it is ready. If absent, it is ready once it
    /// runs and its banner and `hello` are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeFile>,
    /// Environment variables of the program, in addition to those of the server except `HTTPIPE_*`.
    /// `PYTHONUNBUFFERED=1` is added unless it is set here; `""` leaves it out.
    pub env: BTreeMap<String, String>,
    /// Do not pass on the environment of the server; the program gets only what is added to it.
    pub clear_env: bool,
    /// The directory that the program runs in, relative to this file.
    pub dir: String,
    /// How long a worker may take to exit after SIGTERM; then it gets SIGKILL.
    pub stop_grace: Time,
    /// Most bytes of one question or one answer; a worker that writes a longer answer is stopped.
    pub message_max: Size,
    /// Connect the stdout of the worker to a pseudo-terminal, for programs that buffer their output
    /// on a pipe.
    pub tty: bool,
    /// When a healthy worker is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recycle: Option<RecycleFile>,
    /// How an answer that comes in several messages ends: `until:TEXT` (at a message that is
    /// exactly TEXT, which is not passed on), `more` (at the first JSON document without `"more":
    /// true` at its top level) or `turn` (when the program waits for its input again). Each message is passed on as it comes. If absent, an answer is one
    /// message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Most bytes of one streamed answer that wait for a slow client; beyond it the output of the
    /// worker is not read until the client catches up.
    pub stream_buffer: Size,
    /// A message that tells the worker to cancel a call whose caller has left, with `{id}` in place
    /// of the id of the call; only with `matching = "json-id"`. The call ends at once; what the
    /// worker still answers is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
}

/// How bytes are cut into messages.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum FramingFile {
    /// The same both ways.
    Both(String),
    /// Each way its own.
    Each(FramingsFile),
}

impl FramingFile {
    /// Of answers.
    pub fn reply(&self) -> &str {
        match self {
            Self::Both(text) => text,
            Self::Each(each) => &each.reply,
        }
    }
}

/// How bytes are cut into messages, each way its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FramingsFile {
    /// How questions are framed.
    pub send: String,
    /// How answers are framed.
    pub reply: String,
}

/// How an answer finds its call.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("type" = "string"))]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "a documented variant makes the schema a list of alternatives"
)]
pub enum MatchingText {
    Order,
    Echo,
    Tag,
    JsonId,
}

/// What may wait for a worker.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueFile {
    /// Most calls that wait at once; further ones get 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub length: usize,
    /// Most bytes of questions that wait at once; beyond it, calls get 503.
    pub bytes: Size,
    /// Longest time that a call may wait before it is first given to a worker; then 503. While no
    /// worker has been ready yet, `start_timeout` comes on top.
    pub wait: Time,
}

/// One message that is sent to a new worker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HelloFile {
    /// The text, without the end that the framing adds. `{nonce}` in it is replaced by a fresh
    /// random text.
    pub send: String,
    /// Whether the worker answers it.
    #[serde(default = "yes")]
    pub answer: bool,
}

/// A question that a new worker must answer before it is ready.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// The text, without the end that the framing adds. `{nonce}` in it is replaced by a fresh
    /// random text.
    pub send: String,
    /// The answer that the worker must give; if absent, any answer will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// When a healthy worker is replaced. Each limit is optional and varied at random, so that workers
/// are not replaced all at once. The new worker is ready before the old one leaves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecycleFile {
    /// After this many calls; the worker goes on serving until the new one is ready. With 1 it does
    /// not: each worker gets exactly one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub calls: Option<u64>,
    /// When its resident memory exceeds this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// After this time, at least 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Time>,
}

/// Which requests become which calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["match"]))]
pub struct RouteFile {
    /// The method, the path, and the parameters with their types: `"GET /fib?num={num:int}"`, `"PUT
    /// /words/{word}"`. `/*` at the end takes the rest of the path. Types are `text` (the default),
    /// `int`, `float`, `bool` and `json`.
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
    /// `{nonce}`, `{header.NAME}`, `{method}`, `{path}`; `"json"`: the parameters as an object;
    /// `"http"`: the whole request as JSON. If absent: the only parameter, or the body if there are
    /// no parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Bounds and defaults of the parameters, by name.
    pub params: BTreeMap<String, ParameterFile>,
    /// How long a good answer is kept. With `reply = "http"`, an answer is good if its status is
    /// below 400 and not 304. If absent, answers are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Time>,
    /// Whether a call may run twice. If absent: true for GET and HEAD, else false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// The content type of `text`, or of an answer that is passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("default" = "text/plain; charset=utf-8"))]
    pub content_type: Option<String>,
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
    /// Most characters of a `text`. If absent, 4096.
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
            listen: OneOrMany::One("127.0.0.1:3000".to_owned()),
            admin: None,
            admin_token: None,
            hosts: None,
            threads: 1,
            drain: Time::seconds(30),
            log: LogFile::default(),
            limits: LimitsFile::default(),
            pool: BTreeMap::new(),
            route: Vec::new(),
            cache: CacheFile::default(),
        }
    }
}

impl Default for LogFile {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: LogLevel::Info, access: true }
    }
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            header: Size::kibibytes(32),
            body: Size::mebibytes(16),
            header_timeout: Time::seconds(10),
            body_timeout: Time::seconds(30),
            write_timeout: Time::seconds(30),
            idle_timeout: Time::seconds(75),
            connections: 10_000,
        }
    }
}

impl Default for CacheFile {
    fn default() -> Self {
        Self { memory: Size::mebibytes(64) }
    }
}

impl Default for PoolFile {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            workers: None,
            in_flight: None,
            framing: FramingFile::Both("line".to_owned()),
            matching: MatchingText::Order,
            reply: None,
            error: None,
            error_status: 422,
            timeout: Time::seconds(30),
            abandoned: Time::seconds(10),
            queue: QueueFile::default(),
            retries: 1,
            start_timeout: Time::seconds(30),
            ready: None,
            hello: Vec::new(),
            probe: None,
            env: BTreeMap::new(),
            clear_env: false,
            dir: ".".to_owned(),
            stop_grace: Time::seconds(2),
            message_max: Size::mebibytes(16),
            tty: false,
            recycle: None,
            stream: None,
            stream_buffer: Size::mebibytes(1),
            cancel: None,
        }
    }
}

impl Default for FramingsFile {
    fn default() -> Self {
        Self { send: "line".to_owned(), reply: "line".to_owned() }
    }
}

impl Default for QueueFile {
    fn default() -> Self {
        Self { length: 1024, bytes: Size::mebibytes(64), wait: Time::seconds(5) }
    }
}

fn yes() -> bool {
    true
}
