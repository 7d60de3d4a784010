//! The log: buffered lines on stderr, text or JSON, dropped and counted when stderr blocks. The lines
//! of requests may have a file of their own.
//!
//! Events are logged through `tracing`, with a lower-case message and its values as fields. The
//! line of each request is written without `tracing`, by [`AccessLog`], because there may be a
//! hundred thousand of them a second.

mod file;
mod layer;
mod line;
mod sink;

use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use self::file::OwnFile;
use self::layer::EventLayer;
pub use self::line::KnownText;
use self::line::{Field, Format, LogLine, TimeText, field};
pub use self::sink::Sink;
use super::metrics::Metrics;
use crate::base::{CallId, HostTag, WorkerId};
use crate::config::{AccessSettings, LogFormat, LogLevel, LogSettings};

/// The log of one server.
#[derive(Clone, Debug)]
pub struct Log {
    sink: Arc<Sink>,
    format: Format,
    level: LevelFilter,
    access: AccessLog,
}

/// The message of the line of a request.
const REQUEST: Field = Field { text: " request", json: ",\"message\":\"request\"" };

/// Room for nearly every line of a request, without its path.
const LINE_ROOM: usize = 320;

/// Writes one line for each request, unless that is switched off. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// `None` if it is switched off.
    to: Option<(Arc<Sink>, Format)>,
}

/// The fields of the line of one request.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// When it was answered, or its caller left.
    pub at: Instant,
    /// The method, as it was received: a token of HTTP, or `-`.
    pub method: &'a str,
    /// The path as it was received, before decoding.
    pub path: &'a str,
    /// The response's status; `None`: the caller left before there was one.
    pub status: Option<u16>,
    /// The match text of the route, or `none`.
    pub route: &'a KnownText,
    /// How many bytes the response's body has.
    pub bytes: u64,
    /// From the end of the request's head to the response.
    pub duration: Duration,
    /// How long its call waited; `None` if there was no call.
    pub queue: Option<Duration>,
    /// How long its call was in a worker; `None` if there was no call.
    pub work: Option<Duration>,
    /// The worker that was given its call last; `None` if none was.
    pub worker: Option<WorkerId>,
    /// The other server that was given its call last; `None` if a worker here was, or nobody.
    pub host: Option<HostTag>,
    /// Its call; `None` if there was none, or several.
    pub call: Option<CallId>,
    /// The address of the caller, or a word of ours.
    pub peer: &'a str,
    /// What the caller is called; `None`: they showed no key.
    pub caller: Option<&'a str>,
    /// The address of the caller, if there is a gate: who connects, or for whom a trusted proxy asks.
    pub address: Option<IpAddr>,
    /// The value of `X-Request-Id` in the response: of letters, digits, `.`, `_` and `-`.
    pub request_id: &'a str,
    /// The failure code; `None` if it did not fail.
    pub code: Option<&'a str>,
    /// How many items a batch had, and how many of them failed; `None` for any other request.
    pub items: Option<(u64, u64)>,
}

/// Why a log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The thread that writes it cannot be started.
    #[error("cannot start the log: {0}\n\nhint: see `ulimit -u`")]
    Thread(io::Error),
    /// The file of requests cannot be opened.
    #[error("cannot log requests in `{path}`: {error}\n\nhint: name another file in `log.access`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Log {
    /// The log on stderr.
    pub fn stderr(settings: &LogSettings, metrics: &Arc<Metrics>) -> Result<Self, LogError> {
        let terminal = io::stderr().is_terminal();
        let sink = Sink::stderr(metrics).map_err(LogError::Thread)?;
        Self::new(settings, terminal, Arc::new(sink), metrics)
    }

    /// The log in `sink`; `terminal` decides what the format `auto` means.
    fn new(
        settings: &LogSettings,
        terminal: bool,
        sink: Arc<Sink>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, LogError> {
        let format = match settings.format {
            LogFormat::Auto if terminal => Format::Terminal { coloured: has_colours() },
            LogFormat::Text => Format::Text,
            LogFormat::Auto | LogFormat::Json => Format::Json,
        };
        let level = filter(settings.level);
        let access = match &settings.access {
            // Its lines have the level `info`, so a log of `warn` or `error` has none.
            AccessSettings::Log if level >= LevelFilter::INFO => Some((Arc::clone(&sink), format)),
            AccessSettings::Log | AccessSettings::Off => None,
            AccessSettings::File(path) => Some((own_file(path, metrics)?, format.of_file())),
        };
        Ok(Self { sink, format, level, access: AccessLog { to: access } })
    }

    /// Makes this the log of everything that `tracing` logs in this process. Returns false, and
    /// changes nothing, if the process has such a log already.
    pub fn take_all(&self) -> bool {
        tracing::subscriber::set_global_default(self.subscriber()).is_ok()
    }

    /// The subscriber that makes `tracing` log here.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let layer = EventLayer::new(Arc::clone(&self.sink), self.format);
        tracing_subscriber::registry().with(self.level).with(layer)
    }

    /// The log of requests.
    pub fn access(&self) -> AccessLog {
        self.access.clone()
    }

    /// Waits until every line so far is written, at most for `patience`; see [`Sink::flush`]. Must
    /// be called before the process ends.
    pub fn flush(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        let events = self.sink.flush(patience);
        let left = patience.saturating_sub(begun.elapsed());
        self.access.to.as_ref().is_none_or(|(sink, _)| sink.flush(left)) && events
    }
}

/// The sink of a file of its own.
fn own_file(path: &Path, metrics: &Arc<Metrics>) -> Result<Arc<Sink>, LogError> {
    let opened = OwnFile::open(path);
    let file = opened.map_err(|error| LogError::File { path: path.to_owned(), error })?;
    let sink = Sink::new(file, metrics, Metrics::access_log_dropped).map_err(LogError::Thread)?;
    Ok(Arc::new(sink))
}

impl AccessLog {
    #[cfg(test)]
    /// A log that writes nothing.
    pub fn off() -> Self {
        Self { to: None }
    }

    /// Returns true if lines are written. If false, the caller need not make them.
    pub fn is_on(&self) -> bool {
        self.to.is_some()
    }

    /// Opens the file again that lines are written to: the old one may have been moved away.
    pub fn open_again(&self) {
        if let Some((sink, _)) = &self.to {
            sink.open_again();
        }
    }

    /// Writes the line of one request. Never waits.
    pub fn write(&self, access: &AccessLine<'_>) {
        let Some((sink, format)) = &self.to else { return };
        sink.line_of(access.at, |to, clock, since_epoch| {
            to.reserve(LINE_ROOM + access.path.len());
            let time = (clock, since_epoch);
            // A copy of the code for each format, in which the format is a constant.
            match *format {
                Format::Json => whole(begun(to, Format::Json, time), access),
                Format::Text => whole(begun(to, Format::Text, time), access),
                terminal @ Format::Terminal { .. } => short(begun(to, terminal, time), access),
            }
        });
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "each caller has a constant format")]
fn begun<'a>(
    to: &'a mut Vec<u8>,
    format: Format,
    (clock, since_epoch): (&mut TimeText, Duration),
) -> LogLine<'a> {
    LogLine::begin(to, format, clock, since_epoch, "info")
}

/// Writes all that is known of a request.
#[inline(always)]
#[expect(clippy::inline_always, reason = "each caller has a constant format")]
fn whole(mut line: LogLine<'_>, access: &AccessLine<'_>) {
    line.name(REQUEST);
    line.bare(field!("method"), access.method);
    line.text(field!("path"), access.path);
    match access.status {
        Some(status) => line.number(field!("status"), status),
        None => line.text(field!("outcome"), "abandoned"),
    }
    line.known(field!("route"), access.route);
    line.number(field!("bytes"), access.bytes);
    line.millis(field!("duration_ms"), access.duration);
    if let Some(queue) = access.queue {
        line.millis(field!("queue_ms"), queue);
    }
    if let Some(work) = access.work {
        line.millis(field!("work_ms"), work);
    }
    if let Some(worker) = access.worker {
        line.number(field!("worker"), worker.0);
    }
    if let Some(host) = access.host {
        line.bare(field!("host"), &host.to_string());
    }
    if let Some(call) = access.call {
        line.hexadecimal(field!("call"), call.ordinal());
    }
    if let Some((items, failed)) = access.items {
        line.number(field!("items"), items);
        line.number(field!("failed"), failed);
    }
    line.bare(field!("peer"), access.peer);
    if let Some(caller) = access.caller {
        line.text(field!("caller"), caller);
    }
    if let Some(address) = access.address {
        line.text(field!("addr"), &address.to_string());
    }
    line.bare(field!("request_id"), access.request_id);
    if let Some(code) = access.code {
        line.bare(field!("code"), code);
    }
    line.end();
}

/// Writes the line of a request for somebody who sits before it.
fn short(mut line: LogLine<'_>, access: &AccessLine<'_>) {
    let status = access.status.map_or("left".to_owned(), |status| status.to_string());
    line.message(&format!("{status} {} {}", access.method, access.path));
    line.millis(field!("ms"), access.duration);
    if let Some((items, failed)) = access.items {
        line.number(field!("items"), items);
        line.number(field!("failed"), failed);
    }
    if let Some(code) = access.code {
        line.text(field!("code"), code);
        line.text(field!("request_id"), access.request_id);
    }
    line.end();
}

/// <https://no-color.org>: any value of the variable counts, except an empty one.
fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::sink::tests::Memory;
    use super::*;
    use crate::base::NodeId;

    fn log(format: LogFormat, level: LogLevel, access: bool) -> (Log, Memory) {
        let access = if access { AccessSettings::Log } else { AccessSettings::Off };
        let (log, memory) = logging(&LogSettings { format, level, access }, false);
        (log.expect("a thread"), memory)
    }

    fn logging(settings: &LogSettings, terminal: bool) -> (Result<Log, LogError>, Memory) {
        let (memory, metrics) = (Memory::default(), Metrics::new());
        let sink = Sink::new(memory.clone(), &metrics, Metrics::log_dropped).expect("a thread");
        (Log::new(settings, terminal, Arc::new(sink), &metrics), memory)
    }

    fn written(log: &Log, memory: &Memory) -> String {
        assert!(log.flush(Duration::from_secs(10)));
        memory.text()
    }

    static ROUTE: LazyLock<KnownText> = LazyLock::new(|| KnownText::new("GET /fib"));

    fn line() -> AccessLine<'static> {
        AccessLine {
            at: Instant::now(),
            method: "GET",
            path: "/fib",
            status: Some(504),
            route: &ROUTE,
            bytes: 15,
            duration: Duration::from_micros(1_234),
            queue: Some(Duration::from_micros(5)),
            work: Some(Duration::from_millis(1)),
            worker: Some(WorkerId(3)),
            host: None,
            call: Some(CallId(0x005a_01c7 << CallId::PLACE_BITS)),
            peer: "127.0.0.1:40312",
            caller: None,
            address: None,
            request_id: "r-1",
            code: Some("timeout"),
            items: None,
        }
    }

    #[test]
    fn a_request_is_one_json_line_with_all_its_fields() {
        let (log, memory) = log(LogFormat::Json, LogLevel::Info, true);
        log.access().write(&line());
        let text = written(&log, &memory);
        let rest = text.split_once("Z\",").expect("a time").1;
        assert_eq!(
            rest,
            "\"level\":\"info\",\"message\":\"request\",\"method\":\"GET\",\"path\":\"/fib\",\
             \"status\":504,\"route\":\"GET /fib\",\"bytes\":15,\"duration_ms\":1.234,\
             \"queue_ms\":0.005,\"work_ms\":1.000,\"worker\":3,\"call\":\"5a01c7\",\
             \"peer\":\"127.0.0.1:40312\",\"request_id\":\"r-1\",\"code\":\"timeout\"}\n"
        );
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    }

    #[test]
    fn a_call_of_another_server_names_it_in_the_place_of_the_worker() {
        let (log, memory) = log(LogFormat::Text, LogLevel::Info, true);
        let host = Some(NodeId(0x0a1b_2c3d << 96 | 7).tag());
        log.access().write(&AccessLine { worker: None, host, ..line() });
        let text = written(&log, &memory);
        assert!(text.contains(" work_ms=1.000 host=0a1b2c3d call=5a01c7 "), "{text}");
    }

    #[test]
    fn a_request_without_a_call_has_nothing_of_one() {
        let (log, memory) = log(LogFormat::Text, LogLevel::Info, true);
        let (queue, work, worker, call) = (None, None, None, None);
        log.access().write(&AccessLine { queue, work, worker, call, code: None, ..line() });
        let text = written(&log, &memory);
        let rest = text.split_once('Z').expect("a time").1;
        assert_eq!(
            rest,
            "  INFO request method=GET path=/fib status=504 route=\"GET /fib\" bytes=15 \
             duration_ms=1.234 peer=127.0.0.1:40312 request_id=r-1\n"
        );
    }

    #[test]
    fn requests_are_logged_only_where_that_is_wanted() {
        for (level, access, on) in [
            (LogLevel::Info, true, true),
            (LogLevel::Debug, true, true),
            (LogLevel::Warn, true, false),
            (LogLevel::Error, true, false),
            (LogLevel::Info, false, false),
        ] {
            let (log, memory) = log(LogFormat::Json, level, access);
            assert_eq!(log.access().is_on(), on, "{level:?} {access}");
            log.access().write(&line());
            assert_eq!(written(&log, &memory).is_empty(), !on, "{level:?} {access}");
        }
        assert!(!AccessLog::off().is_on());
    }

    #[test]
    fn a_file_of_its_own_has_lines_whatever_the_level() {
        let path = std::env::temp_dir().join(format!("requests-{}.log", std::process::id()));
        let access = AccessSettings::File(path.clone());
        let settings = LogSettings { format: LogFormat::Auto, level: LogLevel::Error, access };
        let (log, memory) = logging(&settings, true);
        let log = log.expect("a thread and a file");
        log.access().write(&line());
        assert_eq!(written(&log, &memory), "");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("{\"time\"") && text.ends_with("}\n"), "{text}");
        std::fs::remove_file(path).expect("it was just read");
        let access = AccessSettings::File("/nowhere/requests.log".into());
        let refused = logging(&LogSettings { access, ..settings }, true).0;
        assert!(matches!(refused, Err(LogError::File { .. })));
    }

    #[test]
    fn auto_means_text_on_a_terminal_and_json_elsewhere() {
        let access = AccessSettings::Log;
        let settings = LogSettings { format: LogFormat::Auto, level: LogLevel::Info, access };
        let on_terminal = Format::Terminal { coloured: has_colours() };
        for (terminal, format) in [(true, on_terminal), (false, Format::Json)] {
            assert_eq!(logging(&settings, terminal).0.expect("a thread").format, format);
        }
    }

    #[test]
    fn events_become_lines_with_their_fields_as_they_are() {
        let (log, memory) = log(LogFormat::Json, LogLevel::Info, true);
        tracing::subscriber::with_default(log.subscriber(), || {
            let error = io::Error::other("no\nway");
            tracing::warn!(
                pool = "fib",
                pid = 7,
                negative = -7_i64,
                alive = true,
                half = 0.5,
                shown = %"a b",
                debugged = ?Some("x"),
                error = &error as &dyn std::error::Error,
                "worker {} ended",
                3
            );
            tracing::debug!("not of this level");
        });
        let text = written(&log, &memory);
        let rest = text.split_once("Z\",").expect("a time").1;
        assert_eq!(
            rest,
            "\"level\":\"warn\",\"message\":\"worker 3 ended\",\"pool\":\"fib\",\"pid\":7,\
             \"negative\":-7,\"alive\":true,\"half\":0.5,\"shown\":\"a b\",\
             \"debugged\":\"Some(\\\"x\\\")\",\"error\":\"no\\nway\"}\n"
        );
    }

    #[test]
    fn an_event_for_people_reads_as_a_sentence_with_fields() {
        let (log, memory) = log(LogFormat::Text, LogLevel::Trace, true);
        tracing::subscriber::with_default(log.subscriber(), || {
            tracing::info!(address = "127.0.0.1:3000", "listening on http://127.0.0.1:3000");
            tracing::trace!(pid = 7);
        });
        let text = written(&log, &memory);
        let mut lines = text.lines().map(|line| line.split_once('Z').expect("a time").1);
        let first = "  INFO listening on http://127.0.0.1:3000 address=127.0.0.1:3000";
        assert_eq!((lines.next(), lines.next()), (Some(first), Some(" TRACE pid=7")));
    }

    #[test]
    fn two_logs_in_one_process_keep_their_lines_apart() {
        let ((one, first), (two, second)) = (
            log(LogFormat::Text, LogLevel::Info, true),
            log(LogFormat::Text, LogLevel::Info, true),
        );
        one.access().write(&AccessLine { path: "/one", ..line() });
        two.access().write(&AccessLine { path: "/two", ..line() });
        assert!(written(&one, &first).contains("/one") && !first.text().contains("/two"));
        assert!(written(&two, &second).contains("/two") && !second.text().contains("/one"));
    }
}
