//! `httpipe check`: validates a configuration and tries one worker of each pool.

mod advice;
mod denials;
mod diagnosis;
mod examination;
mod examine;
mod fenced;
mod finding;
mod framings;
mod functions;
mod jobs;
mod privileges;
mod process;
mod questions;
mod record;
mod shared;
#[cfg(feature = "nats")]
mod spread;
mod trial;
mod without;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use super::{FAILED, REFUSED, complain, is_terminal, say, shown};
use crate::config::tree::{KeyPath, Tree};
use crate::config::{Config, ConfigSource, PoolSettings, Secrets, Warning, problem};
use crate::worker::describe::before_start;
use crate::worker::fork_trial::{ForkTimes, try_fork};
use crate::worker::guard::Guard;
use crate::worker::reaper;

use diagnosis::{CommandPlace, Diagnosis};
use examine::examine;
use questions::Plan;
use trial::TrialContext;

pub use finding::{Finding, Weight};

/// Checks a configuration and prints what is wrong, or that nothing is. `asks`: questions may be
/// made up for pools without a probe.
pub(super) fn run(source: &ConfigSource, asks: bool) -> ExitCode {
    let config = match source.load(&before_start(source.own_binary())) {
        Ok(config) => config,
        Err(problems) => {
            say(&shown(&problems, source, Secrets::Shown, is_terminal(&std::io::stdout())));
            return ExitCode::from(REFUSED);
        }
    };
    for Warning { message, hint } in &config.warnings {
        say(&Finding::warning(message.as_str()).hint(hint.as_str()).shown());
    }
    let about_jobs = jobs::report(&config);
    if let Some(finding) = &about_jobs {
        say(&finding.shown());
    }
    let findings = match check_pools(&config, source, asks) {
        Ok(Some(findings)) => findings,
        Ok(None) => {
            complain("stopped; not everything was checked\n");
            return ExitCode::from(FAILED);
        }
        Err(error) => {
            complain(&format!("error: cannot start a worker: {error}\n"));
            return ExitCode::from(FAILED);
        }
    };
    let all = || findings.iter().chain(&about_jobs);
    let count = |weight| all().filter(|finding| finding.weight == weight).count();
    let warnings = match count(Weight::Warning) + config.warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    let errors = count(Weight::Error);
    let pools = counted(config.pools.len(), "pool");
    let routes = counted(config.routes.len(), "route");
    let said = if errors > 0 { counted(errors, "error") } else { "no errors".to_owned() };
    say(&format!("{said} in {pools} and {routes}{warnings}\n"));
    if errors > 0 { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
}

/// Tries workers of each pool; `None`: a signal stopped the check.
fn check_pools(
    config: &Config,
    source: &ConfigSource,
    asks: bool,
) -> io::Result<Option<Vec<Finding>>> {
    reaper::expect_children();
    let guard = Guard::start(source.own_binary())?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let file = ConfigFile::read(source);
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let context = TrialContext { guard, tasks: TaskTracker::new(), traced: None };
        let checking = async {
            let mut findings = Vec::new();
            for (number, pool) in config.pools.iter().enumerate() {
                if pool.rules.workers_most == 0 {
                    let name = &pool.name;
                    say(&format!(
                        "pool `{name}`: no worker here, other hosts answer its calls\n\n"
                    ));
                    continue;
                }
                let plan = Plan::new(config, number, asks);
                let about = |ready| functions::report(config, number, ready);
                let place = file.command_of(pool);
                findings.extend(check_pool(pool, &plan, &place, &context, about).await?);
            }
            if let Some(settings) = &config.cache.shared {
                findings.extend(shared::findings(settings).await);
            }
            #[cfg(feature = "nats")]
            if let Some(settings) = &config.spread {
                let has_callers = !config.listen.is_empty();
                findings.extend(spread::findings(settings, &config.pools, has_callers).await);
            }
            Ok(Some(findings))
        };
        // Dropping a trial kills its worker.
        tokio::select! {
            findings = checking => findings,
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })
}

/// Tries one pool and prints the findings.
async fn check_pool(
    pool: &PoolSettings,
    plan: &Plan,
    place: &CommandPlace,
    context: &TrialContext,
    about_functions: impl Fn(Duration) -> Option<String>,
) -> io::Result<Vec<Finding>> {
    let examination = Box::pin(examine(pool, plan, context)).await?;
    let why_not_asked = plan.why_none;
    let diagnosis = Diagnosis { settings: pool, place, examination: &examination, why_not_asked };
    let record = &examination.record;
    let asked: Duration = record.exchanges.iter().map(|exchange| exchange.took).sum();
    let report = about_functions(record.start + asked).unwrap_or_else(|| diagnosis.report());
    say(&report);
    if pool.program.python.is_some() && examination.record.is_started {
        say(&finding::row("fork", &forks(pool, context).await));
    }
    for (name, text) in fenced::rows(pool) {
        say(&finding::row(name, &text));
    }
    say("
");
    let mut findings = diagnosis.findings();
    findings.extend(privileges::findings(pool));
    findings.extend(privileges::lost(pool));
    if findings.iter().any(|finding| finding.weight == Weight::Error) {
        findings.extend(without::sandbox(pool, plan, place, context).await?);
    }
    for finding in &findings {
        say(&finding.shown());
    }
    Ok(findings)
}

/// Prints whether workers of a pool of functions are forked.
async fn forks(pool: &PoolSettings, context: &TrialContext) -> String {
    match Box::pin(try_fork(pool, &context.guard)).await {
        Ok(ForkTimes { import, worker }) => {
            let (import, worker) = (import.as_millis(), worker.as_millis().max(1));
            format!("import {import} ms, worker {worker} ms")
        }
        Err(why) => format!("no, {why}"),
    }
}

/// Writes a count with its noun: `1 pool`, `2 pools`.
fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// The configuration file, read a second time for the lines of its keys.
struct ConfigFile {
    /// Its path, text and keys; `None`: there is no file.
    file: Option<(String, String, Tree)>,
}

impl ConfigFile {
    /// Reads the file again. It was valid a moment ago, when the configuration was loaded.
    fn read(source: &ConfigSource) -> Self {
        let read = || {
            let path = source.path.as_ref()?;
            let text = std::fs::read_to_string(path).ok()?;
            let (tree, _) = Tree::parse(&text).ok()?;
            Some((path.display().to_string(), text, tree))
        };
        Self { file: read() }
    }

    /// Returns where the file sets the `command` of a pool.
    fn command_of(&self, pool: &PoolSettings) -> CommandPlace {
        let Some((path, text, tree)) = &self.file else { return CommandPlace::default() };
        let key = KeyPath::of(&["pool", &pool.name, "command"]);
        let command = match tree.places.value(&key) {
            problem::Place::File(span) => {
                let before = text.get(..span.start).unwrap_or_default();
                format!("{path}:{}", before.matches('\n').count() + 1)
            }
            problem::Place::Option(_) | problem::Place::Nowhere => path.clone(),
        };
        CommandPlace { command: Some(command) }
    }
}
