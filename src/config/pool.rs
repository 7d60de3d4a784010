//! The settings of one pool, in parts: each room takes only the part it needs.
//!
//! The struct that a key sits in decides what a reload does with a change of it: a change of
//! [`ProgramSettings`] replaces the workers, a change of [`RuleSettings`] keeps them.
//!
//! Pure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use super::fence::Fence;
use super::framing::{Framing, Framings, IdNames, Matching};
use super::glob::Glob;
use super::stamp::Stamps;
use super::words::shell_word;
use crate::base::pattern::Pattern;
use crate::base::{ByteRegex, ByteSize};
use crate::python::{Function, PythonTarget};

/// One program, and how its workers are run and asked.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The name after `pool.`.
    pub name: String,
    /// What is run and how it is spoken to. If it changes, the workers are replaced.
    pub program: ProgramSettings,
    /// How many workers there are and what limits them. If it changes, the workers stay.
    pub rules: RuleSettings,
    /// What the files of the program looked like when the settings were loaded. If one of them has
    /// changed, the workers are replaced.
    pub files: Stamps,
    /// How its functions were found.
    pub import: Option<Arc<Import>>,
}

/// What is run and how it is spoken to. Two that are equal can share their workers.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramSettings {
    /// The process that is started.
    pub launch: LaunchSettings,
    /// What is said before the first call.
    pub start: StartSettings,
    /// How questions and answers are written.
    pub wire: WireSettings,
    /// The functions that are served, if that is what the program is for.
    pub python: Option<Arc<PythonSettings>>,
    /// What the operator calls this state of the program; two with different ones are never the same.
    pub version: Option<String>,
    /// What servers must have in common to share its calls, each by the name of a key; `None`: they are
    /// not shared.
    pub spread: Option<Arc<[(&'static str, String)]>>,
}

/// Functions of a module that are served.
#[derive(Clone, Debug, PartialEq)]
pub struct PythonSettings {
    /// The module and the names in it.
    pub target: PythonTarget,
    /// Whether workers are forked; `None`: where the import left it safe.
    pub fork: Option<bool>,
    /// The version of Python.
    pub version: String,
    /// What is served.
    pub functions: Vec<Function>,
}

/// How the functions of a pool were found. No reason to replace a worker.
#[derive(Clone, Debug)]
pub struct Import {
    /// Why it is this Python.
    pub why: String,
    /// Where that Python is installed.
    pub prefix: String,
    /// How long the import took, in milliseconds.
    pub took_ms: f64,
}

/// The process behind a worker. All paths are absolute, so starting it needs no look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSettings {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// `argv[0]`: the program as the operator wrote it.
    pub name: String,
    /// The arguments after `argv[0]`.
    pub arguments: Vec<String>,
    /// The absolute directory that it runs in.
    pub dir: PathBuf,
    /// The whole environment it gets.
    pub env: Environment,
    /// Its stdout is a raw pseudo-terminal instead of a pipe.
    pub tty: bool,
    /// Which files, besides those that the command names, make the program another one.
    pub watch: Vec<Glob>,
    /// The files that `arguments` stand for; `None`: the arguments themselves may name files.
    pub files: Option<Vec<PathBuf>>,
    /// What it is kept from.
    pub fence: Fence,
}

impl LaunchSettings {
    /// Returns the program and its arguments as a command of a shell.
    pub fn command_line(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.arguments);
        words.map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }
}

/// What is said to a new worker before its first call.
#[derive(Clone, Debug, PartialEq)]
pub struct StartSettings {
    /// The banner is what the worker writes up to the end of the first match.
    pub ready: Option<ByteRegex>,
    /// Messages that are sent after the banner and before the probe.
    pub hello: Vec<Greeting>,
    /// The question that a worker must answer before it is ready.
    pub probe: Option<Probe>,
}

/// How questions and answers are written.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact, and any of them may hold")]
pub struct WireSettings {
    /// How bytes are cut into messages.
    pub framing: Framings,
    /// How an answer finds its call.
    pub matching: Matching,
    /// What an answer looks like.
    pub reply: ReplyShape,
    /// What an error that the program reports looks like; tried before `reply`.
    pub error: Option<Pattern>,
    /// The HTTP status of an answer that `error` matches; 400 to 599.
    pub error_status: u16,
    /// What a message looks like that says how far a call is; tried before `error` and `reply`.
    /// `None`: there are none.
    pub progress: Option<ProgressShape>,
    /// What a program says of its error is the last lines that it writes to stderr.
    pub error_is_stderr: bool,
    /// Most bytes of one question or answer.
    pub message_max: usize,
    /// Most bytes that a worker writes as one message, which may be the answers of a group.
    pub written_max: usize,
    /// Its workers take turns: a question is handed over only to a program that waits for its
    /// input, and what it writes until it waits again is the answer.
    pub takes_turns: bool,
    /// How answers that come in parts end; `None`: an answer is one message.
    pub stream: Option<StreamSettings>,
    /// What a worker is told when a call is cancelled, with `{id}` in place of the call's id or
    /// tag. With `json-id` the call ends with it; with `tag` the worker still answers.
    pub cancel: Option<String>,
    /// Which members hold the id of a call; only with `json-id`.
    pub id: IdNames,
    /// A question that is passed on as it came must be one of JSON-RPC.
    pub is_json_rpc: bool,
    /// Workers read one question at a time and begin with it at once. So what one has not read can
    /// be taken back.
    pub takes_back: bool,
    /// A message that is no answer is dropped, and the worker kept; not with `order`. With
    /// `json-id`, what is no JSON object is dropped in any case.
    pub drops_strays: bool,
    /// Callers may read where in the program a failure happened: a developer tries it out.
    pub tells_details: bool,
    /// What the questions and the answer of several calls look like; `None`: a worker gets one call at a
    /// time.
    pub group: Option<GroupShape>,
}

/// How many workers there are, and the limits of workers, calls and the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Processors that the server may use; 1 or more.
    pub processors: usize,
    /// Workers kept ready; 0 only where there are none at all, and other hosts have some.
    pub workers_least: usize,
    /// Most workers under load; `workers_least` or more.
    pub workers_most: usize,
    /// Calls in one worker at once.
    pub in_flight: InFlight,
    /// Longest time of one call inside a worker.
    pub timeout: Duration,
    /// How long a call whose caller has left may run on.
    pub abandoned: Duration,
    /// A call that takes longer is slow, and logged; `None`: none is logged.
    pub slow: Option<Duration>,
    /// How many exchanges with each worker are kept for its record; 0: none.
    pub record: usize,
    /// Limits of the queue.
    pub queue: QueueSettings,
    /// How many times a call is tried again when its worker is lost.
    pub retries: u32,
    /// Longest time for banner, hello and probe together.
    pub start_timeout: Duration,
    /// From TERM to KILL.
    pub stop_grace: Duration,
    /// When a healthy worker is replaced.
    pub recycle: RecycleSettings,
    /// The part of the places in workers that background work may hold, in thousandths.
    pub share: u32,
    /// How many calls a worker gets together; `None`: one at a time.
    pub group: Option<GroupSettings>,
}

/// All places in workers, in thousandths.
pub const SHARE_WHOLE: u32 = 1000;

impl RuleSettings {
    /// How many of these places in workers background work may hold: its share, but one at least, and
    /// none where there is just one and callers have a part in it.
    pub fn background_places(share: u32, places: usize) -> usize {
        if share == 0 || places == 0 || (places == 1 && share < SHARE_WHOLE) {
            return 0;
        }
        (places.saturating_mul(share as usize) / SHARE_WHOLE as usize).max(1)
    }
}

impl PoolSettings {
    /// How many places in workers background work may hold while all workers serve.
    pub fn background_most(&self) -> usize {
        let places = self.rules.workers_most.saturating_mul(self.places_each());
        RuleSettings::background_places(self.rules.share, places)
    }

    /// How many pieces of background work can be in workers while all workers serve: in each place a
    /// group of them.
    pub fn background_calls_most(&self) -> usize {
        let each = self.rules.group.map_or(1, |group| group.most);
        self.background_most().saturating_mul(each)
    }

    /// How many calls a worker works on at once.
    pub fn places_each(&self) -> usize {
        match self.rules.in_flight {
            InFlight::Fixed(calls) if self.program.wire.matching != Matching::Order => {
                calls as usize
            }
            InFlight::Fixed(_) | InFlight::Auto => 1,
        }
    }
}

/// What the questions of several calls look like as one, and their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupShape {
    /// Each on a line of its own.
    Lines,
    /// The elements of a JSON array.
    Array,
    /// Each after its length, as the worker loop for Python reads and writes them.
    Frames,
}

/// How many calls a worker gets together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Most calls; 1 or more.
    pub most: usize,
    /// How long a call may wait for others although a worker is free.
    pub wait: Duration,
    /// Calls that may not run twice go together as well: the program wants it so.
    pub mixes_all: bool,
}

/// Calls in one worker at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// Never more than this; 1 or more.
    Fixed(u32),
    /// Several while calls are much shorter than waking an idle worker takes, else one.
    Auto,
}

/// Limits of the calls that wait for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most calls that wait at once.
    pub length: usize,
    /// Most bytes of questions that wait at once.
    pub bytes: ByteSize,
    /// Longest time that a call may wait before it is first given to a worker.
    pub wait: Duration,
}

/// What an answer looks like, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyShape {
    /// Bytes as they are.
    Plain,
    /// A pattern of literal text and captures.
    Pattern(Pattern),
    /// A JSON document, passed on.
    Json,
    /// JSON with `status`, `headers` and `body` or `body_base64`.
    Http,
    /// The first byte says what it is.
    Kinds,
}

/// What a message looks like that says how far a call is.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgressShape {
    /// A pattern whose `percent` is a number from 0 to 100.
    Percent(Pattern),
    /// A pattern whose `fraction` is a number from 0 to 1.
    Fraction(Pattern),
    /// A JSON object with a `progress`.
    Json,
    /// The first byte says what it is.
    Kind,
}

/// One message that is sent to a new worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The text, without the end that the framing adds.
    pub send: String,
    /// Whether the worker answers it.
    pub answer: bool,
}

/// A question that a new worker must answer before it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The text, without the end that the framing adds.
    pub send: String,
    /// The answer it must give; `None`: any.
    pub reply: Option<String>,
}

/// When a healthy worker is replaced; each limit is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecycleSettings {
    /// After this many calls.
    pub calls: Option<u64>,
    /// When its resident memory exceeds this.
    pub memory: Option<ByteSize>,
    /// After this time.
    pub age: Option<Duration>,
}

/// Answers that come in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// How the end of an answer is recognized.
    pub end: StreamEnd,
    /// Most bytes of one answer that wait for the client; then the worker's output is not
    /// read. 1 or more.
    pub buffer: usize,
}

/// How the end of an answer in parts is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// By a message after the last part that is exactly this text.
    Until(String),
    /// By a last part that is JSON without `"more": true` at its top level.
    More,
    /// The program waits for its input again.
    Turn,
    /// The first byte of each message says whether it is a part, the end, or all of the answer.
    Kind,
}

impl WireSettings {
    /// Returns true if nothing but the end of its turn ends an answer or its parts.
    pub fn needs_turns(&self) -> bool {
        let ends_stream = |stream: &StreamSettings| stream.end == StreamEnd::Turn;
        self.framing.reply == Framing::Turn || self.stream.as_ref().is_some_and(ends_stream)
    }

    /// Returns true if each process gets one question, and ends with its answer.
    pub fn ends_with_answer(&self) -> bool {
        self.framing.reply == Framing::Eof
    }

    /// Returns true if what a worker says to a caller before its answer may be passed on. Then the
    /// worker gets tokens of ours in place of the caller's.
    pub fn has_asides(&self) -> bool {
        self.is_json_rpc && self.matching == Matching::JsonId && self.id.are_of_json_rpc()
    }

    /// Returns true if each answer shows by itself which call it is for.
    pub fn proves_question(&self) -> bool {
        self.reply.repeats_question() || self.matching != Matching::Order
    }
}

impl ReplyShape {
    /// Returns true if each answer holds its question.
    pub fn repeats_question(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.has_input())
    }
}

#[cfg(test)]
impl PoolSettings {
    /// A pool `it` of one worker with the defaults of the file, for tests to change.
    pub(crate) fn for_tests() -> Self {
        let launch = LaunchSettings {
            program: PathBuf::from("/bin/cat"),
            name: "cat".to_owned(),
            arguments: vec![],
            dir: PathBuf::from("/"),
            env: Environment::default(),
            tty: false,
            watch: vec![],
            files: None,
            fence: Fence::default(),
        };
        let start = StartSettings { ready: None, hello: vec![], probe: None };
        let wire = WireSettings {
            framing: Framings { send: Framing::Line, reply: Framing::Line },
            matching: Matching::Order,
            reply: ReplyShape::Plain,
            error: None,
            error_status: 422,
            progress: None,
            error_is_stderr: false,
            message_max: 1024,
            written_max: 1024,
            takes_turns: true,
            takes_back: false,
            stream: None,
            cancel: None,
            id: IdNames::default(),
            is_json_rpc: false,
            drops_strays: false,
            tells_details: false,
            group: None,
        };
        let queue =
            QueueSettings { length: 1024, bytes: ByteSize(64 << 20), wait: Duration::from_secs(5) };
        let rules = RuleSettings {
            processors: 2,
            workers_least: 1,
            workers_most: 1,
            in_flight: InFlight::Fixed(1),
            timeout: Duration::from_secs(30),
            abandoned: Duration::from_secs(10),
            slow: None,
            record: 0,
            queue,
            retries: 1,
            start_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(2),
            recycle: RecycleSettings::default(),
            share: 500,
            group: None,
        };
        let program =
            ProgramSettings { launch, start, wire, python: None, version: None, spread: None };
        let (name, files) = ("it".to_owned(), Stamps::default());
        Self { name, program, rules, files, import: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;
    use crate::config::SpreadSettings;
    use crate::config::check::{Host, check};
    use crate::config::file::File;
    use crate::config::launch::{Site, resolve};
    use crate::config::schema::schema;
    use crate::config::tree::{KeyPath, Tree};

    /// Every key of a pool with what to write for it, and what must stand beside it.
    const CHANGES: [(&str, &str, &str); 37] = [
        ("spread", "true", ""),
        ("command", "[\"cat\", \"-\"]", ""),
        ("version", "\"2\"", ""),
        ("workers", "2", ""),
        ("in_flight", "3", r#"reply = "{input}|{result}""#),
        ("framing", "\"nul\"", ""),
        ("matching", "\"tag\"", ""),
        ("reply", "\"json\"", ""),
        ("error", "\"e|{message}\"", ""),
        ("error_status", "500", ""),
        ("progress", "\"json\"", ""),
        ("timeout", "\"1s\"", ""),
        ("abandoned", "\"1s\"", ""),
        ("slow", "\"1s\"", ""),
        ("record", "3", ""),
        ("queue", "{ length = 1 }", ""),
        ("retries", "0", ""),
        ("start_timeout", "\"1s\"", ""),
        ("ready", "\"> \"", ""),
        ("hello", "[{ send = \"x\" }]", ""),
        ("probe", "{ send = \"x\" }", ""),
        ("env", "{ A = \"x\" }", ""),
        ("clear_env", "true", ""),
        ("sandbox", "false", ""),
        ("dir", "\"/\"", ""),
        ("stop_grace", "\"1s\"", ""),
        ("message_max", "\"1KiB\"", ""),
        ("tty", "true", ""),
        ("watch", "[\"*.py\"]", ""),
        ("recycle", "{ calls = 3 }", ""),
        ("share", "1", ""),
        ("stream", "\"more\"", ""),
        ("stream_buffer", "\"1KiB\"", "stream = \"more\""),
        ("cancel", "'{\"cancel\": {id}}'", "matching = \"json-id\""),
        ("id", "\"seq\"", "matching = \"json-id\""),
        ("jsonrpc", "false", "matching = \"json-id\""),
        ("stray", "\"drop\"", "matching = \"tag\""),
    ];

    /// Of these, the keys whose change keeps the workers.
    const RULES: [&str; 12] = [
        "workers",
        "in_flight",
        "timeout",
        "abandoned",
        "slow",
        "record",
        "queue",
        "retries",
        "start_timeout",
        "stop_grace",
        "recycle",
        "share",
    ];

    fn pool(keys: &str) -> PoolSettings {
        let command = if keys.contains("command") { "" } else { "command = [\"cat\"]" };
        let text = format!("[spread]\nnats = \"a\"\n[pool.a]\n{command}\n{keys}");
        let (tree, _) = Tree::parse(&text).expect("valid TOML");
        let file: File = tree.values.try_into().expect("its shape is right");
        let inherited = vec![("PATH".into(), "/usr/bin:/bin".into())].into();
        let path = KeyPath::of(&["pool", "a"]);
        let site = Site { base: Path::new("/tmp"), inherited: &inherited, hidden: &[] };
        let launch = resolve(&file.pool["a"], &path, &tree.places, site);
        let launches = BTreeMap::from([("a".to_owned(), launch.expect("cat is there"))]);
        let host = Host { spread: Some(SpreadSettings::for_tests()), ..Host::for_tests(launches) };
        let config = check(&file, &tree.places, &host, vec![]).expect(&text);
        (*config.pools[0]).clone()
    }

    #[test]
    fn each_key_is_either_of_the_program_or_a_rule() {
        for (key, value, beside) in CHANGES {
            let (old, new) = (pool(beside), pool(&format!("{beside}\n{key} = {value}")));
            let is_rule = RULES.contains(&key);
            assert_eq!(old.program == new.program, is_rule, "the program, with another `{key}`");
            assert_eq!(old.rules == new.rules, !is_rule, "the rules, with another `{key}`");
        }
    }

    #[test]
    fn the_same_file_is_the_same_program() {
        let keys = "reply = \"{input}|{n:int}\"\nerror = \"e|{message}\"\nready = \"[>] \"\n\
                    framing = \"last-line:^EOS$\"";
        assert_eq!(pool(keys).program, pool(keys).program);
        for (old, new) in [("{n:int}", "{n}"), ("e|", "f|"), ("[>]", ">"), ("EOS", "END")] {
            assert_ne!(pool(keys).program, pool(&keys.replace(old, new)).program, "{new}");
        }
    }

    #[test]
    fn groups_may_grow_without_new_workers_and_not_begin_or_end() {
        let none = pool("framing = \"block\"");
        let some = pool("framing = \"block\"\nbatch = { most = 4 }");
        let more = pool("framing = \"block\"\nbatch = { most = 8, wait = \"5ms\" }");
        assert_ne!(none.program, some.program);
        assert_eq!(some.program, more.program);
        assert_ne!(some.rules, more.rules);
    }

    #[test]
    fn no_key_is_forgotten() {
        let schema = schema();
        let pool = &schema["properties"]["pool"]["additionalProperties"]["properties"];
        let keys = pool.as_object().expect("pools have keys").keys().map(String::as_str);
        // `config::check::python` tests those of functions, and `config::secret` reads the variables.
        // Part of `batch` is of the program, and part of the rules.
        let functions = ["python", "interpreter", "fork", "env_file", "batch"];
        let tried = CHANGES.iter().map(|(key, _, _)| *key).chain(functions);
        assert_eq!(keys.collect::<BTreeSet<_>>(), tried.collect());
    }
}
