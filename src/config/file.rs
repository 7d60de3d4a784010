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
    /// those. Port 0 takes any free port. A socket file has mode 0660; a stale one is replaced,
    /// and it is removed on exit.
    pub listen: OneOrMany,
    /// Where operators connect, for health, metrics and reload; `"off"` switches it off. If it
    /// is not set and the port is taken, any free one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "127.0.0.1:3001"))]
    pub admin: Option<String>,
    /// The Bearer token that operators must send. Needed where `admin` is not loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub admin_token: Option<String>,
    /// Threads that own connections and pipes.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: usize,
    /// How long accepted calls may take to finish once the server is told to stop. What is left
    /// then is answered with 503.
    pub drain: Time,
    /// Where and how the log is written; it always goes to stderr.
    pub log: LogFile,
    /// What one connection and one request may cost.
    pub limits: LimitsFile,
    /// The pools by their names. Each is one program and the workers that run it.
    pub pool: BTreeMap<String, PoolFile>,
    /// Which requests become which calls. The first that matches, in file order, wins. With one
    /// pool and no route, `POST /` sends the body and `GET /?input={input}` sends the parameter.
    pub route: Vec<RouteFile>,
    /// Where answers are kept.
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

/// Where and how the log is written.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogFile {
    /// `text` is for people, `json` is one object a line; `auto` is text on a terminal, else
    /// JSON.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
    /// One line for each request.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("type" = "string"))]
#[allow(missing_docs, reason = "a documented variant makes the schema a list of alternatives")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("type" = "string"))]
#[allow(missing_docs, reason = "a documented variant makes the schema a list of alternatives")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What one connection and one request may cost.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsFile {
    /// Most bytes of a request's head; beyond it, 431.
    pub header: Size,
    /// Most bytes of a request's body; beyond it, 413.
    pub body: Size,
    /// From a head's first byte to its last.
    pub header_timeout: Time,
    /// From the head's end to the body's last byte; beyond it, 408.
    pub body_timeout: Time,
    /// Longest time a response may make no progress towards its reader.
    pub write_timeout: Time,
    /// Longest time a connection may be silent between requests.
    pub idle_timeout: Time,
    /// Most connections at once.
    #[schemars(range(min = 1))]
    pub connections: usize,
}

/// Where answers are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheFile {
    /// Most bytes of kept answers, keys and book-keeping included.
    pub memory: Size,
}

/// One program and how its workers are run and asked.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["command"]))]
pub struct PoolFile {
    /// The program and its arguments. No shell reads it. A program without a slash is looked up
    /// in `PATH`; one with a slash is relative to `dir`.
    #[schemars(length(min = 1), extend("examples" = [["python3", "worker.py"]]))]
    pub command: Vec<String>,
    /// Workers kept ready, and most under load: `"2..8"`; `4` is `"4..4"`. If absent, as many
    /// as there are CPUs that this process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Calls in one worker at once: a number, or `"auto"`, which sends ahead only while calls
    /// are far shorter than the wake-up of an idle worker. If absent: `"auto"` where `reply`
    /// holds `{input}`, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightText>,
    /// How bytes are cut into messages: `line`, `nul`, `lines:N`, `block`, `until:TEXT`,
    /// `last-line:REGEX`, `u16`, `u32`, `u32le`, `netstring` or `content-length`. Questions and
    /// answers may differ: `{ send = "line", reply = "block" }`. Answers may end with `{nonce}`
    /// (`until:{nonce}\n`) where they come in `order`.
    pub framing: FramingFile,
    /// How an answer finds its call: `order` (the oldest call in that worker), `echo` (the call
    /// whose question it repeats; needs a `reply` that holds `{input}`), `tag` (the call whose
    /// tag it begins with), `json-id` (the call with that JSON `id`).
    pub matching: MatchingText,
    /// What an answer looks like: text with captures, as in `"{input}|{result}"`, which becomes
    /// a JSON object; `"json"`: a JSON document, passed on; `"http"`: JSON with `status`,
    /// `headers` and `body` or `body_base64`. If absent, the whole answer is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// What the program's own error looks like, as in `"e|{input}|{message}"`. It is tried
    /// before `reply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The HTTP status of such an error.
    #[schemars(range(min = 400, max = 599))]
    pub error_status: u16,
    /// Longest time of one call inside a worker; then the worker is stopped and the caller gets
    /// 504.
    pub timeout: Time,
    /// How long a call that nobody waits for any more may run on before its worker is stopped.
    pub abandoned: Time,
    /// What may wait for a worker.
    pub queue: QueueFile,
    /// How often an idempotent call is tried again after its worker was lost.
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// Longest time until a new worker is ready: banner, hello and probe together.
    pub start_timeout: Time,
    /// A regular expression: what the worker writes up to the end of its first match, and a
    /// line end right after, is its banner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// What is sent once to a new worker, after its banner and before the probe. Each is
    /// answered before the next is sent, unless it has no answer.
    pub hello: Vec<HelloFile>,
    /// The question that shows that a worker works: it is ready once this was answered. If
    /// absent, it is ready when it runs and its banner and hello are through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeFile>,
    /// Environment variables, added to those the server was started with less `HTTPIPE_*`.
    /// `PYTHONUNBUFFERED=1` is added too unless it is set here; `""` leaves it out.
    pub env: BTreeMap<String, String>,
    /// Start from an empty environment instead.
    pub clear_env: bool,
    /// The directory the program runs in, relative to this file.
    pub dir: String,
    /// From TERM to KILL when a worker is stopped.
    pub stop_grace: Time,
    /// Most bytes of one question or answer; a worker that writes more is stopped.
    pub message_max: Size,
    /// The worker's stdout is a pseudo-terminal, for programs that hold their output back on a
    /// pipe.
    pub tty: bool,
    /// When a worker is replaced although nothing is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recycle: Option<RecycleFile>,
    /// The answer comes in several messages, which are passed on as they come: `until:TEXT`
    /// (each message is a part, until one is exactly TEXT, which is none) or `more` (each is a
    /// JSON document, and all but the last have `"more": true` at their top level). If absent,
    /// an answer is one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Most bytes of one streamed answer that wait for a slow reader; beyond it the worker's
    /// output is not read until the reader catches up.
    pub stream_buffer: Size,
    /// What a worker is told when nobody waits for one of its calls any more, where `{id}` is
    /// the call's; only with `matching = "json-id"`. The call has ended then; what still comes
    /// of its answer is dropped.
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

/// How bytes are cut into messages, each way its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FramingsFile {
    /// Of questions.
    pub send: String,
    /// Of answers.
    pub reply: String,
}

/// How an answer finds its call.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("type" = "string"))]
#[allow(missing_docs, reason = "a documented variant makes the schema a list of alternatives")]
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
    /// Most calls that wait at once; the next gets 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub length: usize,
    /// Most bytes of questions that wait at once; beyond it, 503.
    pub bytes: Size,
    /// Longest time from acceptance to the first hand-over; then 503.
    pub wait: Time,
}

/// One thing said to a new worker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HelloFile {
    /// The text, without the end that the framing adds. `{nonce}` in it is fresh each time.
    pub send: String,
    /// Does the worker answer it?
    #[serde(default = "yes")]
    pub answer: bool,
}

/// The question that shows that a worker works.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// The text, without the end that the framing adds. `{nonce}` in it is fresh each time.
    pub send: String,
    /// The answer it must give; if absent, any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// When a worker is replaced although nothing is wrong with it. Each is optional and jittered;
/// the new worker is ready before the old one leaves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecycleFile {
    /// After so many calls; it serves on until the new one is ready. With 1 it does not: each
    /// worker is given one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub calls: Option<u64>,
    /// When its resident memory is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// After this time, 1 s at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Time>,
}

/// Which requests become which calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["match"]))]
pub struct RouteFile {
    /// The method and the path, and the parameters with their types:
    /// `"GET /fib?num={num:int}"`, `"PUT /words/{word}"`. `/*` at the end takes the rest of the
    /// path. Types are `text` (if none is given), `int`, `float`, `bool` and `json`.
    #[serde(rename = "match")]
    #[schemars(length(min = 1), extend("examples" = ["GET /path?key={key}"]))]
    pub match_text: String,
    /// The pool that is asked. May be left out where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// A fixed answer instead of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the question is made of: text with slots, where a slot is a parameter or `{body}`,
    /// `{nonce}`, `{header.NAME}`, `{method}`, `{path}`; `"json"`: the parameters as an object;
    /// `"http"`: the whole request as JSON. If absent: the only parameter, else the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Bounds and defaults of the parameters, by their names.
    pub params: BTreeMap<String, ParameterFile>,
    /// How long a good answer is kept; with `reply = "http"` a status below 400 is good, but for
    /// 304. If absent, it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Time>,
    /// May a call run twice? If absent: yes for GET and HEAD, else no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// The content type of `text`, and of an answer that is passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("default" = "text/plain; charset=utf-8"))]
    pub content_type: Option<String>,
}

/// Bounds and default of one parameter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterFile {
    /// Least value, of `int` and `float`. A string holds an integer of any size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Scalar>,
    /// Greatest value, of `int` and `float`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Scalar>,
    /// Most characters, of `text`. 4096 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_length: Option<usize>,
    /// A regular expression that the whole value must match, of `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The only values allowed, of `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub one_of: Option<Vec<String>>,
    /// Taken where the request does not have the parameter, which makes it optional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// What a caller is told who left it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: OneOrMany::One("127.0.0.1:3000".to_owned()),
            admin: None,
            admin_token: None,
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
