//! The command line: every subcommand and option, and what each option sets.
//!
//! Options are not interpreted here. [`Typed`] holds what was typed, as values for the same
//! tree that the file is read into, so that one check serves both.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Parser, Subcommand, parser::ValueSource};
use toml::Value;

use super::{key_entry::KeyArguments, map_flags::MapOptions, scalar::inline_table};

/// Serves any program that reads questions on stdin and writes answers on stdout as an HTTP
/// service.
#[derive(Debug, Parser)]
#[command(name = "httpipe", version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve one program, or all pools of a configuration file
    Run(RunArguments),
    /// Validate the configuration, ask a worker of each pool and report what it does
    Check(CheckArguments),
    /// Ask the lines of a file, or of stdin, and write an answer for each
    Map {
        /// What is asked, and where the answers go.
        #[command(flatten)]
        what: MapOptions,
        /// What `run` takes too.
        #[command(flatten)]
        serve: ServeArguments,
    },
    /// Write the httpipe.toml that `run` with the same options stands for
    Init(InitArguments),
    /// Make a running server deploy its configuration and programs, and report the outcome
    Reload(ReloadArguments),
    /// Show live what a running server does
    Top(TopArguments),
    /// Show what a running server does at this moment
    Status(StatusArguments),
    /// Show what a running server writes to its workers and reads from them
    Tap(TapArguments),
    /// Open the page of a running server in the browser
    Open(ServerArguments),
    /// Make keys for callers
    Key(KeyArguments),
    /// Print the OpenAPI document of a configuration, without starting a server
    Openapi(ServeArguments),
    /// Print a script that completes commands and options
    Completions(CompletionsArguments),
    /// Print a manual page, for `man -l -`
    Man(ManArguments),
}

/// What `run` and `check` take.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The configuration file, or the functions to serve, as in calculate.py:fib; ./httpipe.toml if
    /// no program is given either
    pub config: Option<PathBuf>,
    /// The program to serve and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
    /// Options that mirror keys of the file.
    #[command(flatten)]
    pub options: Options,
}

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Reload by itself when the configuration or a file of a program changes: the files that the
    /// command names, and those of PATTERN; may be repeated
    #[arg(
        long,
        value_name = "PATTERN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub watch: Vec<String>,
    /// End with exit code 1 if a pool does not start, as on a terminal, instead of trying again
    #[arg(long)]
    pub fail_fast: bool,
    /// What `check` takes too.
    #[command(flatten)]
    pub serve: ServeArguments,
}

impl RunArguments {
    /// Returns the patterns of `--watch`, as the key of the only pool.
    pub fn patterns(&self) -> Option<Typed> {
        let given: Vec<String> = self.watch.iter().filter(|it| !it.is_empty()).cloned().collect();
        let target = Target::Pool(&["watch"]);
        let typed = || Typed { name: "--watch".to_owned(), target, value: list(&given) };
        (!given.is_empty()).then(typed)
    }
}

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Ask no questions of its own; without it, a pool without `probe` is asked two
    #[arg(long)]
    pub no_ask: bool,
    /// What `run` takes too.
    #[command(flatten)]
    pub serve: ServeArguments,
}

/// Options that mirror keys of the file. They beat the environment, which beats the file.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    pool: PoolOptions,
    #[command(flatten)]
    routes: RouteOptions,
}

/// Keys at the top of the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct ServerOptions {
    /// Where callers connect: `127.0.0.1:3000` or `unix:/path`; may be repeated
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HTTPIPE_LISTEN",
        hide_env = true,
        value_delimiter = ','
    )]
    listen: Vec<String>,
    /// Where operators connect: an address, or off
    #[arg(long, value_name = "ADDRESS", env = "HTTPIPE_ADMIN", hide_env = true)]
    admin: Option<String>,
    /// A name that requests may be for besides loopback, or any; may be repeated
    #[arg(
        long,
        value_name = "NAME",
        env = "HTTPIPE_HOSTS",
        hide_env = true,
        value_delimiter = ','
    )]
    hosts: Vec<String>,
    /// An origin of web pages that may ask and read, or '*'; may be repeated
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "HTTPIPE_CORS",
        hide_env = true,
        value_delimiter = ','
    )]
    cors: Vec<String>,
    /// Threads that handle connections
    #[arg(long, value_name = "NUMBER", env = "HTTPIPE_THREADS", hide_env = true)]
    threads: Option<String>,
    /// Format and level of the log: json, debug or both as json,debug
    #[arg(long, value_name = "WORDS", env = "HTTPIPE_LOG", hide_env = true)]
    log: Option<String>,
}

/// Keys of the only pool.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pool")]
struct PoolOptions {
    /// Workers kept ready, and the most under load: 4 or 2..8
    #[arg(long, value_name = "NUMBERS", env = "HTTPIPE_WORKERS", hide_env = true)]
    workers: Option<String>,
    /// How bytes are cut into messages: line, u32, until:TEXT and others
    #[arg(long, value_name = "FRAMING", env = "HTTPIPE_FRAMING", hide_env = true)]
    framing: Option<String>,
    /// How an answer finds its call: order, echo, tag or json-id
    #[arg(long, value_name = "MATCHING", env = "HTTPIPE_MATCHING", hide_env = true)]
    matching: Option<String>,
    /// Calls in one worker at once: a number, or auto
    #[arg(long, value_name = "NUMBER", env = "HTTPIPE_IN_FLIGHT", hide_env = true)]
    in_flight: Option<String>,
    /// What an answer looks like: '{input}|{result}', json or http
    #[arg(long, value_name = "PATTERN", env = "HTTPIPE_REPLY", hide_env = true)]
    reply: Option<String>,
    /// What the program's own error looks like: 'e|{input}|{message}'
    #[arg(long, value_name = "PATTERN", env = "HTTPIPE_ERROR", hide_env = true)]
    error: Option<String>,
    /// Longest time that one call may take in a worker
    #[arg(long, value_name = "TIME", env = "HTTPIPE_TIMEOUT", hide_env = true)]
    timeout: Option<String>,
    /// What may wait for a worker: how many and how long, as 1024,5s
    #[arg(long, value_name = "LIMITS", env = "HTTPIPE_QUEUE", hide_env = true)]
    queue: Option<String>,
    /// A question that a new worker must answer, and the answer: '1=>1|1'
    #[arg(long, value_name = "PROBE", env = "HTTPIPE_PROBE", hide_env = true)]
    probe: Option<String>,
    /// An environment variable of the program; may be repeated
    #[arg(long = "env", value_name = "K=V", env = "HTTPIPE_ENV", hide_env = true)]
    variables: Vec<String>,
    /// The directory that the program runs in
    #[arg(long, value_name = "PATH", env = "HTTPIPE_DIR", hide_env = true)]
    dir: Option<String>,
}

/// The routes and their keys.
#[derive(Debug, Args)]
#[command(next_help_heading = "Routes")]
struct RouteOptions {
    /// Which requests become calls: 'GET /fib?num={num:int}'; may be repeated
    #[arg(long, value_name = "MATCH", env = "HTTPIPE_ROUTE", hide_env = true)]
    route: Vec<String>,
    /// What the question is made of: '{num}', json or http
    #[arg(long, value_name = "TEMPLATE", env = "HTTPIPE_SEND", hide_env = true)]
    send: Option<String>,
    /// How long a good answer to GET is kept
    #[arg(long, value_name = "TIME", env = "HTTPIPE_CACHE", hide_env = true)]
    cache: Option<String>,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The functions to write into the file, as in calculate.py:fib
    #[arg(value_name = "TARGET")]
    pub target: Option<PathBuf>,

    /// The program to write into the file, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,

    /// What the file is to say, in the words of `run`.
    #[command(flatten)]
    pub options: Options,
}

/// Which running server a command is for.
#[derive(Clone, Debug, Args)]
pub struct ServerArguments {
    /// The admin listener of the server, as `http://127.0.0.1:3001` or `unix:/path`; without it, the
    /// one server of this user, or else that address
    #[arg(value_name = "ADMIN_URL")]
    pub url: Option<String>,
    /// The admin token; without it, the key that the server keeps for its user is sent
    #[arg(long, env = "HTTPIPE_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// What `top` takes.
#[derive(Debug, Args)]
pub struct TopArguments {
    /// Which server.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Show one moment and end, as `status` does
    #[arg(long)]
    pub once: bool,
    /// Write each second as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Which server.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Write it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `tap` takes.
#[derive(Debug, Args)]
pub struct TapArguments {
    /// Which server.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Only the workers of this pool
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Only this worker, by its number in `top` and in the log
    #[arg(long, value_name = "NUMBER")]
    pub worker: Option<u64>,
    /// Only calls of this route, by its match text
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,
    /// Only calls that failed
    #[arg(long)]
    pub failed: bool,
    /// Show what is known of this worker, which was lost, and end
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["pool", "worker", "route", "failed"])]
    pub record: Option<u64>,
    /// Write texts as they are, with what would move a terminal
    #[arg(long)]
    pub raw: bool,
    /// Write each event as a line of JSON
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
}

/// What `reload` takes.
#[derive(Debug, Args)]
pub struct ReloadArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Replace the workers of this pool, or of all pools, changed or not
    #[arg(long, value_name = "POOL", num_args = 0..=1, default_missing_value = "")]
    workers: Option<String>,
}

impl ReloadArguments {
    /// Returns the server and the pool whose workers are to be replaced, empty for all. In
    /// `--workers 127.0.0.1:3001` the address is taken for a pool first; no pool has a colon in its
    /// name.
    pub fn server_and_workers(&self) -> (ServerArguments, Option<&str>) {
        match self.workers.as_deref() {
            Some(workers) if workers.contains(':') => {
                let url = Some(workers.to_owned());
                (ServerArguments { url, ..self.server.clone() }, Some(""))
            }
            workers => (self.server.clone(), workers),
        }
    }
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell that the script is for
    pub shell: clap_complete::Shell,
}

/// What `man` takes.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// `httpipe`, a command as `run`, or `httpipe.toml` for the configuration file
    #[arg(value_name = "PAGE", default_value = "httpipe")]
    pub page: String,
}

/// One option that was typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// `--timeout`, or `HTTPIPE_TIMEOUT`.
    pub name: String,
    /// What it sets.
    pub target: Target,
    /// The value it sets.
    pub value: Value,
}

/// What an option sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A key at the top, by its path.
    Server(&'static [&'static str]),
    /// A key of the only pool, by its path in there.
    Pool(&'static [&'static str]),
    /// One variable of the only pool's environment: `K=V`.
    Variable,
    /// All routes: a list of match texts.
    Routes,
    /// `send` of the routes.
    Send,
    /// `cache` of the routes whose answers may be kept.
    Cache,
    /// Another key of the routes.
    RouteKey(&'static str),
}

/// An option with one value: its id, what was typed, what it sets, how it is read.
type Single<'a> = (&'static str, &'a Option<String>, Target, fn(&str) -> Value);

impl Options {
    /// All options that were given, with the names they were given by. `matches` are the
    /// matches that `self` was read from.
    pub fn typed(&self, matches: &ArgMatches) -> Vec<Typed> {
        let Self { server, pool, routes } = self;
        let name = |id: &str| {
            let upper = id.to_ascii_uppercase();
            match matches.value_source(id) {
                Some(ValueSource::EnvVariable) if id == "variables" => "HTTPIPE_ENV".to_owned(),
                Some(ValueSource::EnvVariable) => format!("HTTPIPE_{upper}"),
                _ if id == "variables" => "--env".to_owned(),
                _ => format!("--{}", id.replace('_', "-")),
            }
        };
        let mut typed = Vec::new();
        let mut add = |id: &str, target: Target, value: Value| {
            typed.push(Typed { name: name(id), target, value });
        };
        let singles: [Single<'_>; 13] = [
            ("admin", &server.admin, Target::Server(&["admin"]), text),
            ("threads", &server.threads, Target::Server(&["threads"]), number_or_text),
            ("workers", &pool.workers, Target::Pool(&["workers"]), number_or_text),
            ("framing", &pool.framing, Target::Pool(&["framing"]), table_or_text),
            ("matching", &pool.matching, Target::Pool(&["matching"]), text),
            ("in_flight", &pool.in_flight, Target::Pool(&["in_flight"]), number_or_text),
            ("reply", &pool.reply, Target::Pool(&["reply"]), text),
            ("error", &pool.error, Target::Pool(&["error"]), text),
            ("timeout", &pool.timeout, Target::Pool(&["timeout"]), text),
            ("probe", &pool.probe, Target::Pool(&["probe"]), probe),
            ("dir", &pool.dir, Target::Pool(&["dir"]), absolute),
            ("send", &routes.send, Target::Send, text),
            ("cache", &routes.cache, Target::Cache, text),
        ];
        if !server.listen.is_empty() {
            add("listen", Target::Server(&["listen"]), list(&server.listen));
        }
        if !server.hosts.is_empty() {
            add("hosts", Target::Server(&["hosts"]), one_or_list(&server.hosts));
        }
        if !server.cors.is_empty() {
            add("cors", Target::Server(&["cors"]), one_or_list(&server.cors));
        }
        for (id, value, target, read) in singles {
            if let Some(value) = value {
                add(id, target, read(value));
            }
        }
        for part in pool.queue.iter().flat_map(|queue| queue.split(',')) {
            let (key, value) = queue_part(part.trim());
            add("queue", Target::Pool(key), value);
        }
        for part in server.log.iter().flat_map(|log| log.split(',')) {
            let is_format = matches!(part.trim(), "auto" | "text" | "json");
            let key: &[&str] = if is_format { &["log", "format"] } else { &["log", "level"] };
            add("log", Target::Server(key), text(part.trim()));
        }
        for variable in &pool.variables {
            add("variables", Target::Variable, text(variable));
        }
        if !routes.route.is_empty() {
            add("route", Target::Routes, list(&routes.route));
        }
        typed
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn list(values: &[String]) -> Value {
    Value::Array(values.iter().map(|value| text(value)).collect())
}

/// One value as a text, which may be a word such as `any`.
fn one_or_list(values: &[String]) -> Value {
    if let [one] = values { text(one) } else { list(values) }
}

fn number_or_text(value: &str) -> Value {
    value.parse().map_or_else(|_| text(value), Value::Integer)
}

/// A table as a file has it, or a text.
fn table_or_text(value: &str) -> Value {
    inline_table(value).map_or_else(|| text(value), Value::Table)
}

/// `1=>1|1`: the question and its answer; without `=>`, any answer will do.
fn probe(value: &str) -> Value {
    let mut table = toml::Table::new();
    let (send, reply) = match value.split_once("=>") {
        Some((send, reply)) => (send, Some(reply)),
        None => (value, None),
    };
    table.insert("send".to_owned(), text(send));
    table.extend(reply.map(|reply| ("reply".to_owned(), text(reply))));
    Value::Table(table)
}

/// A directory on the command line is relative to where that was typed, not to the file.
fn absolute(value: &str) -> Value {
    let path = std::path::absolute(value).ok();
    text(path.as_deref().and_then(std::path::Path::to_str).unwrap_or(value))
}

/// Reads a part of `--queue`: a length (`1024`), a size (`64MiB`) or a time to wait (`5s`).
fn queue_part(part: &str) -> (&'static [&'static str], Value) {
    if let Ok(length) = part.parse() {
        (&["queue", "length"], Value::Integer(length))
    } else if part.ends_with('B') {
        (&["queue", "bytes"], text(part))
    } else {
        (&["queue", "wait"], text(part))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    fn typed(arguments: &[&str]) -> Vec<String> {
        let matches = CommandLine::command().get_matches_from(arguments);
        let line = CommandLine::from_arg_matches(&matches).expect("valid");
        let Command::Run(RunArguments { serve, .. }) = line.command else { panic!("not run") };
        let (_, matches) = matches.subcommand().expect("run");
        let shown = |typed: Typed| format!("{} {:?} {}", typed.name, typed.target, typed.value);
        serve.options.typed(matches).into_iter().map(shown).collect()
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_become_values_of_the_tree() {
        let line = [
            "httpipe",
            "run",
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "2..8",
            "--in-flight",
            "4",
            "--queue",
            "10,5s,1MiB",
            "--probe",
            "1=>1|1",
            "--log",
            "json,debug",
            "--env",
            "A=b=c",
            "--route",
            "GET /",
            "--cache",
            "1h",
            "--",
            "sed",
            "-u",
            "s/a/b/",
        ];
        insta::assert_snapshot!(typed(&line).join("\n"), @r##"
--listen Server(["listen"]) ["127.0.0.1:0"]
--workers Pool(["workers"]) "2..8"
--in-flight Pool(["in_flight"]) 4
--probe Pool(["probe"]) { reply = "1|1", send = "1" }
--cache Cache "1h"
--queue Pool(["queue", "length"]) 10
--queue Pool(["queue", "wait"]) "5s"
--queue Pool(["queue", "bytes"]) "1MiB"
--log Server(["log", "format"]) "json"
--log Server(["log", "level"]) "debug"
--env Variable "A=b=c"
--route Routes ["GET /"]
"##);
    }
}
