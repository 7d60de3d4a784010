//! `httpipe map`: asks the lines of a file, and writes an answer for each.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{FAILED, REFUSED, complain, complain_with_hint, is_terminal, shown};
use crate::base::{ByteSize, RouteId};
use crate::cache::{Scope, fingerprint};
use crate::config::map_flags::MapOptions;
use crate::config::{
    Config, ConfigSource, LogLevel, PoolSettings, RouteAction, RouteSettings, Secrets,
};
use crate::front::items::Items;
use crate::map::{
    self, Hash, ItemInput, ItemOutput, MapPlan, NoOutput, OutputPlaces, RunEnd, Separator, Showing,
};
use crate::server::run_alone;
use crate::worker::describe::before_start;

/// The exit code of a run that a signal stopped, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;
/// How long an item may wait for a worker: its run has all the time it needs.
const WAIT: Duration = Duration::from_hours(365 * 24);

/// Asks all items, and says how that went.
pub(super) fn run(options: &MapOptions, source: &ConfigSource) -> ExitCode {
    let config = match source.load(&before_start(source.own_binary())) {
        Ok(config) => config,
        Err(problems) => {
            let is_terminal = is_terminal(&std::io::stderr());
            complain(&shown(&problems, source, Secrets::Shown, is_terminal));
            return ExitCode::from(REFUSED);
        }
    };
    let (config, plan) = match prepared(options, config) {
        Ok(prepared) => prepared,
        Err(NotBegun { message, hint }) => {
            complain_with_hint(&message, &hint);
            return ExitCode::from(REFUSED);
        }
    };
    let can_resume = plan.output.can_resume();
    match run_alone(&config, source, async |alone| map::run(plan, alone).await) {
        Ok(ended) => told(options.quiet, can_resume, &ended),
        Err(error) => {
            complain(&format!("error: {error}\n"));
            ExitCode::from(if error.is_of_usage() { REFUSED } else { FAILED })
        }
    }
}

/// Why nothing was begun.
struct NotBegun {
    message: String,
    hint: String,
}

impl NotBegun {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Opens the files, and chooses the route whose pool answers.
fn prepared(options: &MapOptions, config: Config) -> Result<(Config, MapPlan), NotBegun> {
    let index = chosen(options.ask.as_deref(), &config)?;
    let config = narrowed(config, index);
    let (route, pool) = (&config.routes[0], &config.pools[0]);
    if pool.rules.workers_most == 0 {
        let message = format!("pool `{}` has no workers on this machine", pool.name);
        return Err(NotBegun::new(message, "give it some: `httpipe map` asks no other machine"));
    }
    let wire = &pool.program.wire;
    let items = Items::new(route.clone(), wire.clone()).map_err(|why| {
        let message = format!("`{}` cannot be asked line by line: {why}", route.label);
        NotBegun::new(message, "ask another route, with `--ask ROUTE`")
    })?;
    let separator = if options.null { Separator::Nul } else { Separator::Line };
    let path = options.input.as_deref();
    let mut input = ItemInput::open(path, separator, items.most()).map_err(|error| {
        let path = path.unwrap_or("stdin".as_ref()).display();
        NotBegun::new(format!("cannot read `{path}`: {error}"), "name a file that can be read")
    })?;
    let places = OutputPlaces {
        out: options.output.clone(),
        failed: options.failed.clone(),
        input: input.id(),
        separator,
        unordered: options.unordered,
        tell: complain,
    };
    let recipe = recipe(pool, route, &places);
    let output =
        ItemOutput::open(&places, recipe, options.resume).map_err(|error| refused(&error))?;
    match input.skip(output.checkpoint()) {
        Ok(true) => {}
        Ok(false) => {
            let message = "the input is not the one that the earlier run read";
            let hint = "give it the same input again, or begin anew without `--resume`";
            return Err(NotBegun::new(message, hint));
        }
        Err(error) => {
            let message = format!("cannot read the input again: {error}");
            return Err(NotBegun::new(message, "name a file that can be read"));
        }
    }
    let showing = if options.quiet { Showing::Quiet } else { Showing::of_stderr() };
    let (unordered, tell) = (options.unordered, complain as fn(&str));
    let plan = MapPlan { items, input, output, separator, unordered, showing, tell };
    Ok((config, plan))
}

/// Returns the index of the route that is asked.
fn chosen(wanted: Option<&str>, config: &Config) -> Result<usize, NotBegun> {
    let routes = config.routes.iter().enumerate();
    let calls: Vec<(usize, &RouteSettings)> =
        routes.filter(|(_, route)| matches!(route.action, RouteAction::Call(_))).collect();
    let labels: Vec<_> = calls.iter().map(|(_, route)| format!("`{}`", route.label)).collect();
    let known = || format!("its routes are {}", labels.join(", "));
    if calls.is_empty() {
        return Err(NotBegun::new("no route asks a program", "add one with a `send`"));
    }
    let is_wanted = |route: &RouteSettings| wanted.is_none_or(|wanted| is_called(route, wanted));
    let found: Vec<_> = calls.iter().filter(|(_, route)| is_wanted(route)).collect();
    let Some((first, route)) = found.first() else {
        let message = format!("there is no route `{}`", wanted.unwrap_or_default());
        return Err(NotBegun::new(message + " that asks a program", known()));
    };
    if found.iter().any(|(_, other)| path(other) != path(route)) {
        let hint = format!("name one with `--ask`; {}", known());
        return Err(NotBegun::new("there are several routes", hint));
    }
    // What can be asked by GET and by POST is one thing.
    let by_post = found.iter().find(|(_, route)| route.method == "POST");
    Ok(by_post.map_or(*first, |(index, _)| *index))
}

/// Returns true if the text names this route: by its match text, or without its query, or by its path
/// alone.
fn is_called(route: &RouteSettings, text: &str) -> bool {
    [&*route.label, method_and_path(route), path(route)].contains(&text)
}

fn method_and_path(route: &RouteSettings) -> &str {
    route.label.split('?').next().unwrap_or_default()
}

fn path(route: &RouteSettings) -> &str {
    let text = method_and_path(route);
    text.split_once(' ').map_or(text, |(_, path)| path)
}

/// Leaves of a configuration one route and its pool, whose queue takes whatever comes.
fn narrowed(mut config: Config, index: usize) -> Config {
    let mut route = config.routes.swap_remove(index);
    route.id = RouteId(0);
    let RouteAction::Call(call) = &mut route.action else { unreachable!("it asks a program") };
    let mut pool = PoolSettings::clone(&config.pools[call.pool]);
    call.pool = 0;
    let queue = &mut pool.rules.queue;
    (queue.length, queue.bytes, queue.wait) = (usize::MAX, ByteSize(u64::MAX), WAIT);
    // What a server tells of its day is of no interest here.
    config.log.level = match config.log.level {
        LogLevel::Info => LogLevel::Warn,
        level => level,
    };
    Config { routes: vec![route], pools: vec![Arc::new(pool)], ..config }
}

/// Returns what two runs must have in common for one to go on with the other's output.
fn recipe(pool: &PoolSettings, route: &RouteSettings, places: &OutputPlaces) -> Hash {
    let program = fingerprint(&(&pool.program, &pool.files));
    let Scope(asked) = Scope::new(program, route);
    let failed = places.failed.as_deref().map(std::path::absolute);
    Hash(fingerprint(&(asked, places.separator, failed)))
}

fn refused(error: &NoOutput) -> NotBegun {
    let hint = match error {
        NoOutput::Open { .. } => "name a file in a directory that can be written",
        NoOutput::Twice { .. } => "name a file that is nothing else",
        NoOutput::Busy(_) => "wait until it has ended, or name another file",
        NoOutput::Unfinished(_) => {
            "go on with `--resume`, or remove the file with `.progress` after its name to begin anew"
        }
        NoOutput::Finished(_) => "begin anew without `--resume`",
        NoOutput::Journal { .. } | NoOutput::Short(_) => {
            "remove the file with `.progress` after its name to begin anew"
        }
    };
    NotBegun::new(error.to_string(), hint)
}

/// Says how a run ended. Returns the exit code.
fn told(is_quiet: bool, can_resume: bool, ended: &RunEnd) -> ExitCode {
    let again = if can_resume { "; `--resume` goes on there" } else { "" };
    match ended {
        RunEnd::Whole { summary, failed } => {
            if !is_quiet {
                complain(&format!("{summary}\n"));
            }
            ExitCode::from(if *failed == 0 { 0 } else { FAILED })
        }
        RunEnd::NotBegun(None) => {
            complain("stopped; nothing was written\n");
            ExitCode::from(INTERRUPTED)
        }
        RunEnd::NotBegun(Some(error)) => {
            complain(&format!("error: cannot write the output: {error}\n"));
            ExitCode::from(FAILED)
        }
        RunEnd::Interrupted => {
            complain(&format!("stopped{again}\n"));
            ExitCode::from(INTERRUPTED)
        }
        RunEnd::Unreadable(error) => {
            complain(&format!("error: cannot read the input any further: {error}{again}\n"));
            ExitCode::from(FAILED)
        }
        RunEnd::Unwritable(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::from(FAILED)
        }
        RunEnd::Unwritable(error) => {
            complain(&format!("error: cannot write the output: {error}{again}\n"));
            ExitCode::from(FAILED)
        }
    }
}
