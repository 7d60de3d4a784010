//! The rules of one pool.
//!
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{correlation, group, progress, python, spread, stream};
use crate::base::ByteRegex;
use crate::base::pattern::Pattern;
use crate::base::units::show_duration;
use crate::config::callers::KeysSettings;
use crate::config::file::{
    File, FramingFile, HelloFile, MatchingText, PoolFile, ProbeFile, RecycleFile,
};
use crate::config::findings::Findings;
use crate::config::framing::{Framing, Framings, Matching};
use crate::config::pool::{
    Greeting, Import, InFlight, LaunchSettings, PoolSettings, Probe, ProgramSettings,
    PythonSettings, QueueSettings, RecycleSettings, ReplyShape, RuleSettings, SHARE_WHOLE,
    StartSettings, WireSettings,
};
use crate::config::problem::Place;
use crate::config::scalar::{InFlightText, Time, inline_table};
use crate::config::server::AccessSettings;
use crate::config::shape::nearest;
use crate::config::spread::SpreadSettings;
use crate::config::stamp::Stamps;
use crate::config::tls::TlsSettings;
use crate::config::tree::KeyPath;

/// The least age at which workers are replaced. With less, a pool would do little else than
/// start processes.
const AGE_LEAST: Duration = Duration::from_secs(1);

/// What the check is told about the machine it runs on.
#[derive(Clone, Debug)]
pub struct Host {
    /// How many workers a pool has that does not say it; 1 or more.
    pub processors: usize,
    /// What starts the workers of each pool; a pool whose program was refused is missing.
    pub launches: BTreeMap<String, LaunchSettings>,
    /// What the files of each program look like.
    pub files: BTreeMap<String, Stamps>,
    /// Where requests are logged.
    pub access: AccessSettings,
    /// What each pool with `python` serves, and how that was found.
    pub pythons: BTreeMap<String, (PythonSettings, Import)>,
    /// Callers may read why and where a function failed.
    pub tells_details: bool,
    /// The keys of callers, if a file with them is named and good.
    pub keys: Option<KeysSettings>,
    /// The certificate, if one is named and good.
    pub tls: Option<TlsSettings>,
    /// The NATS server, if one is named and good.
    pub spread: Option<SpreadSettings>,
}

/// The pools in the order of `names`; `None` where one cannot be used.
pub(super) fn pools(
    findings: &mut Findings<'_>,
    file: &File,
    names: &[&String],
    host: &Host,
) -> Vec<Option<PoolSettings>> {
    names.iter().map(|name| pool(findings, name, file, host)).collect()
}

fn pool(
    findings: &mut Findings<'_>,
    name: &str,
    whole: &File,
    host: &Host,
) -> Option<PoolSettings> {
    let file = &whole.pool[name];
    let path = KeyPath::of(&["pool", name]);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(is_plain) {
        let message = format!("a pool cannot be called `{}`", name.escape_debug());
        findings.refuse(&path, message, "use letters, digits, `_`, `-` and `.`");
    }
    python::excluded(findings, &path, file);
    let facts = spread::facts(findings, &path, file, whole);
    if file.python.is_some() {
        return functions(findings, &path, file, host, facts);
    }
    let reply = reply(findings, &path, file.reply.as_deref());
    let has_one_call = matches!(file.framing.reply(), "turn" | "eof");
    let in_flight = in_flight(file, reply.repeats_question() && !has_one_call);
    let wire = wire(findings, &path, file, reply, in_flight);
    if let Some(wire) = &wire {
        spread::possible(findings, &path, file, wire);
    }
    let start = start(findings, &path, file);
    let mut rules = rules(findings, &path, file, host.processors, in_flight);
    if wire.as_ref().is_some_and(WireSettings::ends_with_answer) {
        ends_with_answer(findings, &path, file);
        rules.recycle.calls = Some(1);
    }
    let launch = host.launches.get(name)?.clone();
    let (version, spread) = (file.version.clone(), facts);
    let program = ProgramSettings { launch, start, wire: wire?, python: None, version, spread };
    let files = host.files.get(name).cloned().unwrap_or_default();
    Some(PoolSettings { name: name.to_owned(), program, rules, files, import: None })
}

/// A pool that serves functions.
fn functions(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    host: &Host,
    facts: Option<Arc<[(&'static str, String)]>>,
) -> Option<PoolSettings> {
    let name = path.last_key();
    let Some((python, import)) = host.pythons.get(name) else {
        // What follows from the functions cannot be checked.
        rules(findings, path, file, host.processors, InFlight::Fixed(1));
        return None;
    };
    let wire = python::wire(findings, path, file, python);
    spread::possible(findings, path, file, &wire);
    let wire = WireSettings { tells_details: host.tells_details, ..wire };
    let in_flight = python::in_flight(findings, path, file, python);
    let mut rules = rules(findings, path, file, host.processors, in_flight);
    rules.group = python::group(file, python);
    let launch = host.launches.get(name)?.clone();
    let (start, python) = (python::start(), Some(Arc::new(python.clone())));
    let (version, spread) = (file.version.clone(), facts);
    let program = ProgramSettings { launch, start, wire, python, version, spread };
    let files = host.files.get(name).cloned().unwrap_or_default();
    let import = Some(Arc::new(import.clone()));
    Some(PoolSettings { name: name.to_owned(), program, rules, files, import })
}

fn wire(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    reply: ReplyShape,
    in_flight: InFlight,
) -> Option<WireSettings> {
    let framing = framings(findings, path, &file.framing);
    let is_eof = framing.as_ref().is_some_and(|framing| framing.reply == Framing::Eof);
    if framing.as_ref().is_some_and(|framing| framing.send == Framing::Eof && !is_eof) {
        let message = "a program whose input has ended can answer only once";
        findings.refuse(&path.key("framing"), message, "write `framing = \"eof\"`");
    }
    let error_is_stderr = is_eof && file.error.as_deref() == Some("stderr");
    let error = file.error.as_deref().filter(|_| !error_is_stderr);
    let error = pattern(findings, &path.key("error"), error);
    let matching = matching(findings, path, file.matching, &reply);
    nonce_ends(findings, path, framing.as_ref(), matching);
    let is_proven = reply.repeats_question() || matching != Matching::Order;
    let needs_turns = framing.as_ref().is_some_and(|framing| framing.reply == Framing::Turn);
    if needs_turns || is_eof {
        turns(findings, path, matching, in_flight);
    }
    let takes_turns = needs_turns || (!is_proven && !is_eof);
    let has_one_call = in_flight == InFlight::Fixed(1);
    if takes_turns && !needs_turns && !has_one_call && file.stream.is_none() {
        let message =
            "with several calls in a worker, nothing shows which answer is for which call";
        let hint = "leave `in_flight` out, or let each answer repeat its question (`{input}` in \
                    `reply`), or use `matching = \"tag\"` or `\"json-id\"`";
        findings.refuse(&path.key("in_flight"), message, hint);
    }
    let stream = stream::stream(findings, path, file, &reply);
    let cancel = stream::cancel(findings, path, file);
    let id = correlation::id(findings, path, file);
    let is_json_rpc = correlation::is_json_rpc(findings, path, file, &id);
    let drops_strays = correlation::drops_strays(findings, path, file);
    let group = group::shape(findings, path, file, framing.as_ref());
    let message_max = findings.positive_size(&path.key("message_max"), file.message_max).0;
    let progress = progress::progress(findings, path, file, framing.as_ref(), takes_turns);
    Some(WireSettings {
        framing: framing?,
        matching,
        reply,
        error,
        error_is_stderr,
        error_status: file.error_status,
        progress,
        takes_turns,
        takes_back: false,
        message_max: usize::try_from(message_max).unwrap_or(usize::MAX),
        written_max: usize::try_from(message_max).unwrap_or(usize::MAX),
        stream,
        cancel,
        id,
        is_json_rpc,
        drops_strays,
        tells_details: false,
        group,
    })
}

fn start(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) -> StartSettings {
    let greeting = |hello: &HelloFile| Greeting { send: hello.send.clone(), answer: hello.answer };
    let probe = |probe: &ProbeFile| Probe { send: probe.send.clone(), reply: probe.reply.clone() };
    StartSettings {
        ready: file.ready.as_deref().and_then(|text| regex(findings, &path.key("ready"), text)),
        hello: file.hello.iter().map(greeting).collect(),
        probe: file.probe.as_ref().map(probe),
    }
}

fn rules(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    processors: usize,
    in_flight: InFlight,
) -> RuleSettings {
    let (workers_least, workers_most) = workers(findings, path, file, processors);
    RuleSettings {
        processors,
        workers_least,
        workers_most,
        in_flight,
        timeout: findings.positive_time(&path.key("timeout"), file.timeout),
        abandoned: file.abandoned.0,
        record: file.record as usize,
        slow: file.slow.map(|slow| findings.positive_time(&path.key("slow"), slow)),
        queue: queue(findings, &path.key("queue"), file),
        retries: file.retries,
        start_timeout: findings.positive_time(&path.key("start_timeout"), file.start_timeout),
        stop_grace: file.stop_grace.0,
        recycle: recycle(findings, &path.key("recycle"), file.recycle.as_ref()),
        share: share(findings, &path.key("share"), file.share),
        group: group::rules(findings, path, file),
    }
}

fn workers(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    processors: usize,
) -> (usize, usize) {
    let Some(workers) = &file.workers else { return (processors, processors) };
    let name = findings.name(&path.key("workers"));
    let bounds = workers.bounds().and_then(|(least, most)| {
        if least == 0 && !(most == 0 && file.spread) {
            let hint = "write 1 or more: a pool without workers answers nothing, unless other hosts \
                        have some (`spread = true`)";
            let message = match most {
                0 => format!("`{name}` cannot be 0"),
                _ => "0 workers cannot answer a call".to_owned(),
            };
            return Err((message, hint.to_owned()));
        }
        Ok((least, most))
    });
    bounds.unwrap_or_else(|(message, hint)| {
        findings.refuse(&path.key("workers"), message, hint);
        (1, 1)
    })
}

/// Returns a part of the whole in thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
fn share(findings: &mut Findings<'_>, path: &KeyPath, share: f64) -> u32 {
    if !(0.0..=1.0).contains(&share) {
        let message = format!("a share of {share} is not a part of the workers");
        findings.refuse(path, message, "write a number from 0 to 1, such as `share = 0.5`");
        return 0;
    }
    (share * f64::from(SHARE_WHOLE)).round() as u32
}

fn in_flight(file: &PoolFile, repeats: bool) -> InFlight {
    match &file.in_flight {
        // A worker has one group.
        _ if file.batch.is_some() => InFlight::Fixed(1),
        Some(InFlightText::Number(number)) => InFlight::Fixed(*number),
        Some(InFlightText::Text(_)) => InFlight::Auto,
        None if repeats && file.stream.is_none() => InFlight::Auto,
        None => InFlight::Fixed(1),
    }
}

fn reply(findings: &mut Findings<'_>, path: &KeyPath, text: Option<&str>) -> ReplyShape {
    match text {
        None => ReplyShape::Plain,
        Some("json") => ReplyShape::Json,
        Some("http") => ReplyShape::Http,
        Some(word) if let Some(hint) = meant(word) => {
            let message = format!("`{word}` is not a shape of answers");
            findings.refuse(&path.key("reply"), message, hint);
            ReplyShape::Plain
        }
        text => pattern(findings, &path.key("reply"), text)
            .map_or(ReplyShape::Plain, ReplyShape::Pattern),
    }
}

/// What to write instead of a word that names no shape; `None`: it may be a pattern.
fn meant(word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    let of_route =
        |kind: &str| format!("leave `reply` out, and set `content_type = \"{kind}\"` at the route");
    match lower.as_str() {
        "text" | "plain" | "raw" | "string" | "bytes" | "binary" | "none" | "body" => {
            Some("leave `reply` out: the whole answer is then passed on as it is".to_owned())
        }
        "xml" => Some(of_route("application/xml")),
        "html" => Some(of_route("text/html; charset=utf-8")),
        "csv" => Some(of_route("text/csv")),
        "yaml" => Some(of_route("application/yaml")),
        _ if !word.bytes().all(|byte| byte.is_ascii_alphabetic()) => None,
        _ => nearest(&lower, ["json", "http"].into_iter())
            .map(|near| format!("did you mean \"{near}\"?")),
    }
}

fn pattern(findings: &mut Findings<'_>, path: &KeyPath, text: Option<&str>) -> Option<Pattern> {
    match Pattern::parse(text?) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            let message = format!("`{}` is not a pattern", findings.name(path));
            findings.refuse(path, message, problem.to_string());
            None
        }
    }
}

fn framings(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    framing: &FramingFile,
) -> Option<Framings> {
    let path = path.key("framing");
    let mut read = |path: &KeyPath, text: &str| match Framing::parse(text) {
        Ok(framing) => Some(framing),
        Err(_) if text.starts_with('{') => {
            let is_option = matches!(findings.places.value(path), Place::Option(_));
            let (message, hint) = table_as_text(text, &findings.name(path), is_option);
            findings.refuse(path, message, hint);
            None
        }
        Err((message, hint)) => {
            findings.refuse(path, message, hint);
            None
        }
    };
    match framing {
        FramingFile::Both(text) => {
            let framing = read(&path, text)?;
            Some(Framings { send: framing.clone(), reply: framing })
        }
        FramingFile::Each(each) => {
            let send = read(&path.key("send"), &each.send);
            let reply = read(&path.key("reply"), &each.reply);
            Some(Framings { send: send?, reply: reply? })
        }
    }
}

/// What is wrong with a table of framings that was written as a text, and what to write.
fn table_as_text(text: &str, name: &str, is_option: bool) -> (String, String) {
    const TABLE: &str = "{ send = \"line\", reply = \"block\" }";
    let hint = match (is_option, inline_table(text)) {
        (true, _) => format!("write '{TABLE}'"),
        (false, Some(_)) => format!("write it without quotes around it: {text}"),
        (false, None) => format!("write {TABLE}"),
    };
    (format!("`{name}` has a table that cannot be read"), hint)
}

fn matching(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    matching: MatchingText,
    reply: &ReplyShape,
) -> Matching {
    match matching {
        MatchingText::Order => Matching::Order,
        MatchingText::Tag => Matching::Tag,
        MatchingText::JsonId => Matching::JsonId,
        MatchingText::Echo => {
            if !reply.repeats_question() && !findings.was_refused(&path.key("reply")) {
                findings.refuse(
                    &path.key("matching"),
                    "`echo` needs a `reply` that holds `{input}`",
                    "add `reply = \"{input}|{result}\"`, in the shape of the program's answers",
                );
            }
            Matching::Echo
        }
    }
}

/// An answer that ends with its turn must be the only one in its worker.
fn turns(findings: &mut Findings<'_>, path: &KeyPath, matching: Matching, in_flight: InFlight) {
    if matching != Matching::Order {
        let message = "answers that end with a turn, or with the program, belong to one question";
        findings.refuse(&path.key("matching"), message, "remove `matching`");
    }
    if in_flight != InFlight::Fixed(1) {
        let message =
            "a worker whose answers end with a turn, or with itself, has one call at a time";
        findings.refuse(&path.key("in_flight"), message, "remove `in_flight`");
    }
}

/// A program that ends with its answer can be asked only once.
fn ends_with_answer(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) {
    let mut refuse = |key: &str, is_there: bool| {
        if is_there {
            let message = format!("`{key}` cannot be used with `eof`: a process has one question");
            findings.refuse(&path.key(key), message, format!("remove `{key}`"));
        }
    };
    refuse("hello", !file.hello.is_empty());
    refuse("probe", file.probe.is_some());
    refuse("cancel", file.cancel.is_some());
    let recycles = file.recycle.as_ref().is_some_and(|it| it.calls.is_some_and(|calls| calls != 1));
    refuse("recycle", recycles);
    if file.stream.is_some() {
        let message = "`stream` cannot be used with `eof`: only the end of the process shows whether \
                       its answer is good";
        let hint = "remove `stream`; for output as it comes, let the program answer question after \
                    question, with `framing = { send = \"line\", reply = \"turn\" }` and \
                    `stream = \"turn\"`";
        findings.refuse(&path.key("stream"), message, hint);
    }
    let is_mixed = matches!(&file.framing, FramingFile::Each(each) if each.send != each.reply);
    if is_mixed {
        let message = "answers end with the program only if questions end with its input";
        findings.refuse(&path.key("framing"), message, "write `framing = \"eof\"`");
    }
}

/// Answers that end with a nonce need `order`: their reader must know which nonce to look for.
fn nonce_ends(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    framing: Option<&Framings>,
    matching: Matching,
) {
    let ends_answers = framing.is_some_and(Framings::reply_ends_with_nonce);
    if ends_answers && matching != Matching::Order {
        findings.refuse(
            &path.key("matching"),
            "answers can end with `{nonce}` only if they come in the order of the questions",
            "leave `matching` out, or end the answers with something else",
        );
    }
}

fn queue(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) -> QueueSettings {
    QueueSettings {
        length: file.queue.length,
        bytes: findings.positive_size(&path.key("bytes"), file.queue.bytes),
        wait: findings.positive_time(&path.key("wait"), file.queue.wait),
    }
}

fn recycle(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: Option<&RecycleFile>,
) -> RecycleSettings {
    let Some(file) = file else { return RecycleSettings::default() };
    RecycleSettings {
        calls: file.calls,
        memory: file.memory.map(|size| findings.positive_size(&path.key("memory"), size)),
        age: file.age.map(|time| age(findings, &path.key("age"), time)),
    }
}

fn age(findings: &mut Findings<'_>, path: &KeyPath, time: Time) -> Duration {
    let age = findings.positive_time(path, time);
    if !age.is_zero() && age < AGE_LEAST {
        let message = format!("`age` cannot be {}", show_duration(age));
        findings.refuse(path, message, "write 1s or more");
    }
    age
}

fn regex(findings: &mut Findings<'_>, path: &KeyPath, text: &str) -> Option<ByteRegex> {
    match ByteRegex::new(text) {
        Ok(regex) => Some(regex),
        Err(hint) => {
            let message = format!("`{}` is not a regular expression", findings.name(path));
            findings.refuse(path, message, hint);
            None
        }
    }
}
