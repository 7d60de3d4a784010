//! What may be written about one pool: every key, its type and its default.
//!
//! Pure. The doc comments are the reference, as those of the rest of the file are.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretFile;
use crate::config::scalar::{InFlightText, Size, Time, Workers};

/// One program and how its workers are run and asked.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["command"] }, { "required": ["python"] }]))]
pub struct PoolFile {
    /// The program and its arguments. No shell is involved. A program without a slash is looked up
    /// in `PATH`; one with a slash is relative to `dir`.
    #[schemars(length(min = 1), extend("examples" = [["python3", "worker.py"]]))]
    pub command: Vec<String>,
    /// The functions that are served, in place of a program: `"calculate.py:fib"`, several
    /// (`"calculate.py:fib,add"`), all that the module defines (`"calculate.py:*"`), a class whose
    /// methods are served (`"package.module:Class"`), or a script that calls `httpipe.serve`
    /// (`"script.py"`). A file is relative to `dir`. Signatures say what callers may send. A pool
    /// that no route names gets routes of its own: `POST /NAME`, and `GET /NAME` where every
    /// parameter is a scalar.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["calculate.py:fib"]))]
    pub python: Option<String>,
    /// The version of the program, in words of your own: `"2026-11-26"`. Another version is another
    /// program: a reload that changes it replaces the workers, and answers that were kept before are not
    /// given any longer. Say it where servers share answers (`shared` of `[cache]`): they share those of
    /// programs with the same command and the same `version`, whatever their variables and files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["2026-11-26"]))]
    pub version: Option<String>,
    /// Whether other hosts may answer its calls, and its workers those of others (docs/spread.md), through the
    /// NATS server of `[spread]`. Hosts share calls where `framing`, `matching`, `reply`, `error`,
    /// `version` and what belongs to them are the same; the other keys may differ. JSON-RPC that is passed on
    /// stays on the server that was asked.
    pub spread: bool,
    /// The Python that runs the functions, relative to `dir`. If absent: that of `$VIRTUAL_ENV`,
    /// else `.venv/bin/python` beside the module or this file, else `python3` in `PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = [".venv/bin/python"]))]
    pub interpreter: Option<String>,
    /// Whether workers are forked from a process that has imported the module, which takes
    /// milliseconds and shares memory. If absent: where the import left nothing behind that a fork
    /// would break, such as threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork: Option<bool>,
    /// How many workers are kept ready and how many there may be under load: `"2..8"`; `4` means
    /// `"4..4"`. If absent, one for each CPU that the server may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Most calls in one worker at once: a number, or `"auto"`, which sends the next call ahead
    /// only while calls are much shorter than waking an idle worker takes. If absent: `"auto"` if
    /// `reply` contains `{input}`, else 1. With `python`: `"auto"` for plain functions, where a call
    /// that is not begun is taken back from a slow worker; the size of a batch; 64 for `async`
    /// functions; 1 for functions that yield; and the least of these for several. More than 1 needs
    /// answers that show which call they belong to; other workers take turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightText>,
    /// A worker that becomes free gets several of the calls that wait, as one question with one answer.
    /// With `framing = "block"`, each question is a line, and so is each answer; with other framings the
    /// program gets a JSON array of the questions, and answers with an array of as many answers in the
    /// same order. Only idempotent calls go together. Needs `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchFile>,
    /// How bytes are cut into messages: `line`, `nul`, `lines:N`, `block`, `until:TEXT`,
    /// `last-line:REGEX`, `u16`, `u32`, `u32le`, `netstring`, `content-length`, `eof` or `turn`. With
    /// `eof`, each process gets one question: it reads to the end of its input, and its answer is all
    /// that it writes until it ends with exit code 0. Another exit code is an error of the program.
    /// As many processes as `workers` says wait for their questions, and as many may run. With
    /// `turn`, an answer is all that the program writes until it waits for its input again, without
    /// one line end at its end, and a question is a line. After an empty answer the worker is
    /// replaced, for it may wait for the rest of the question; with `probe`, only if it does not
    /// answer that. Questions and answers may differ: `{ send = "block", reply = "turn" }`. With
    /// `matching = "order"`, answers may end with `{nonce}`, as in `until:{nonce}\n`.
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
    /// tried before `reply`. With `framing = "eof"`, `"stderr"` says that callers may read the last
    /// five lines that the program wrote to stderr before it ended with another exit code than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The HTTP status of an answer that `error` matches, and of another exit code with `eof`.
    #[schemars(range(min = 400, max = 599))]
    pub error_status: u16,
    /// What a message looks like that says how far a call is: text with `{input}`, the question, and
    /// a number, `{percent}` or `{fraction}`, as in `"p|{input}|{percent}|{text}"`; or `"json"`: a
    /// JSON object whose `progress` is a number from 0 to 1, or an object of at most 4 KiB. It is tried
    /// before `error` and `reply`, is no answer, and gives the call no more time. `{input}` may be left
    /// out where workers take turns, and with `tag`. Who looks at a job sees it, and so does a caller
    /// who takes an answer in parts as `text/event-stream`: as `event: progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Longest time that one call may take in a worker; then the caller gets 504. With `tag`, `echo`
    /// and `json-id` the worker goes on, unless it answers nobody; with `order` it is stopped.
    pub timeout: Time,
    /// How long a call may go on running after its caller has left; then it ends as if it had taken
    /// longer than `timeout`.
    pub abandoned: Time,
    /// A call that takes longer than this, its wait included, is kept for operators among the last 16
    /// slow ones, and has a line in the log: at most one a second, which counts the others. If
    /// absent: calls of more than 1 s are kept, and none is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Time>,
    /// How many of the last exchanges with each worker are kept, with contents, for the record of a
    /// worker that is lost: at most 64 KiB a worker, in memory only. The last 8 records of the pool
    /// are kept for operators. With 0, records hold no contents.
    #[schemars(range(max = 1000))]
    pub record: u32,
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
    /// Environment variables of the program, in addition to those of the server except `HTTPIPE_*`
    /// and those of its service manager (`NOTIFY_SOCKET`, `LISTEN_*`, `WATCHDOG_*`).
    /// `PYTHONUNBUFFERED=1` is added unless it is set here; `""` leaves it out. A secret is better kept
    /// elsewhere: `{ DB_PASSWORD = { file = "db.pw" } }`, or `{ credential = "db.pw" }`, as with
    /// `admin_token`. A reload reads it again, and replaces the workers if it has changed.
    pub env: BTreeMap<String, SecretFile>,
    /// A file with more such variables, relative to this file: a `NAME=VALUE` on each line, the value
    /// in quotes or not; `#` begins a line that is a comment. `env` goes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["fib.env"]))]
    pub env_file: Option<String>,
    /// Do not pass on the environment of the server; the program gets only what is added to it.
    pub clear_env: bool,
    /// Whether workers are fenced in: `true`, or a table with what they may do besides. In a sandbox a
    /// program reads the system (`/usr`, `/etc` and others), its own installation and `dir`, writes
    /// only temporary files of its own (`TMPDIR`), and has no network. Needs Landlock (Linux 5.13).
    /// If absent: a program that is set-uid does not become another user, and leaves no core file.
    /// `false` allows both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxFile>,
    /// The directory that the program runs in, relative to this file.
    pub dir: String,
    /// How long a worker may take to exit after SIGTERM; then it gets SIGKILL.
    pub stop_grace: Time,
    /// Most bytes of one question or one answer; a worker that writes a longer answer is stopped.
    pub message_max: Size,
    /// Connect the stdout of the worker to a pseudo-terminal, for programs that buffer their output
    /// on a pipe.
    pub tty: bool,
    /// Files of the program that `command` does not name, relative to `dir`: `["*.py", "model/**",
    /// "!model/cache/**"]`. A reload replaces the workers if one of these, or a file that `command`
    /// names, has changed. `**` stands for any directories except hidden ones, `__pycache__` and
    /// `node_modules`; `!` leaves files out, those of `command` too.
    pub watch: Vec<String>,
    /// When a healthy worker is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recycle: Option<RecycleFile>,
    /// The part of the workers that background work (items of batches, jobs) may hold, from 0 to 1. It begins
    /// where no call waits; after 30 s of load, one worker is for it in any case. With a single
    /// worker, or one place where workers have several, it needs 1, and calls may then wait behind
    /// it.
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// How an answer that comes in several messages ends: `until:TEXT` (at a message that is
    /// exactly TEXT, which is not passed on), `more` (at the first JSON document without `"more":
    /// true` at its top level) or `turn` (when the program waits for its input again). Each message
    /// is passed on as it comes. If absent, an answer is one message.
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
    /// Which member of a JSON object holds the id of a call: a name, as in `"requestId"`, or one
    /// each way, as in `{ send = "seq", reply = "request_seq" }`; only with `matching = "json-id"`.
    /// With any name but `id`, a message of the program with `"type": "event"` answers nothing, and
    /// one with `"type": "request"` is a question of its own. If absent: `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<IdFile>,
    /// Whether a question that is passed on as it came must be one of JSON-RPC: with a `method`. If
    /// absent: true with `matching = "json-id"`, unless `id` names another member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jsonrpc: Option<bool>,
    /// What becomes of a worker that writes a message which is no answer, such as a debug line.
    /// `stop`: it is stopped, and the calls in it fail. `drop`: the message is dropped, counted and
    /// logged; only where each answer says whose it is (`tag`, `echo`, `json-id`). With `json-id`,
    /// what is no JSON object is dropped in any case.
    pub stray: StrayText,
}

/// Calls that a worker gets together.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchFile {
    /// Most calls that a worker gets together. It gets as many of those that wait as each free worker
    /// would.
    #[schemars(range(min = 1, max = 1000))]
    pub most: u32,
    /// How long a call may wait for others although a worker is free: at most a tenth of `queue.wait`.
    /// It is not delayed beyond a deadline of its own, nor where it would go alone.
    pub wait: Time,
}

impl Default for BatchFile {
    fn default() -> Self {
        Self { most: 16, wait: Time(Duration::ZERO) }
    }
}

/// A switch, or what a program in a sandbox may do besides.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum SandboxFile {
    /// Fence it in, or do not.
    Switch(bool),
    /// Fence it in, and allow this.
    Table(SandboxTable),
}

/// What a program in a sandbox may do besides.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxTable {
    /// Files and directories that it may read and execute, relative to this file.
    pub read: Vec<String>,
    /// Files and directories that it may read, execute and write, relative to this file. If there is
    /// none, it writes no file of more than 1 GiB.
    pub write: Vec<String>,
    /// It may use the network, and sockets in files.
    pub network: bool,
    /// Most memory of each worker with all that it starts, where the server may make control groups (version 2;
    /// `Delegate=memory` in a unit of systemd); else of each process, as the kernel counts data
    /// (`RLIMIT_DATA`). `httpipe check` and the log say which holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Most processes and threads of the program's user, all together (`RLIMIT_NPROC`); root has no
    /// such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub processes: Option<u64>,
    /// The name of the user that it runs as, with the groups of that user and `HOME`, `USER` and
    /// `LOGNAME`. Only a server that root has started can do that. If absent: the user of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["nobody"]))]
    pub user: Option<String>,
}

/// Which member of a JSON object holds the id of a call.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum IdFile {
    /// The same both ways.
    Both(String),
    /// Each way its own.
    Each(IdsFile),
}

/// Which member holds the id of a call, each way its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdsFile {
    /// In a question.
    pub send: String,
    /// In an answer.
    pub reply: String,
}

/// What becomes of a worker that writes a message which is no answer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("type" = "string"))]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "a documented variant makes the schema a list of alternatives"
)]
pub enum StrayText {
    Stop,
    Drop,
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
    /// Most calls that wait at once; further ones get 503. With `0` none waits: a call that finds no
    /// worker with room for it gets 503.
    #[schemars(range(min = 0, max = 1_000_000))]
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

impl Default for PoolFile {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            python: None,
            version: None,
            spread: false,
            interpreter: None,
            fork: None,
            workers: None,
            in_flight: None,
            batch: None,
            framing: FramingFile::Both("line".to_owned()),
            matching: MatchingText::Order,
            reply: None,
            error: None,
            error_status: 422,
            progress: None,
            timeout: Time::seconds(30),
            abandoned: Time::seconds(10),
            slow: None,
            record: 0,
            queue: QueueFile::default(),
            retries: 1,
            start_timeout: Time::seconds(30),
            ready: None,
            hello: Vec::new(),
            probe: None,
            env: BTreeMap::new(),
            env_file: None,
            clear_env: false,
            sandbox: None,
            dir: ".".to_owned(),
            stop_grace: Time::seconds(2),
            message_max: Size::mebibytes(16),
            tty: false,
            watch: Vec::new(),
            recycle: None,
            share: 0.5,
            stream: None,
            stream_buffer: Size::mebibytes(1),
            cancel: None,
            id: None,
            jsonrpc: None,
            stray: StrayText::Stop,
        }
    }
}

impl Default for FramingsFile {
    fn default() -> Self {
        Self { send: "line".to_owned(), reply: "line".to_owned() }
    }
}

impl Default for IdsFile {
    fn default() -> Self {
        Self { send: "id".to_owned(), reply: "id".to_owned() }
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
