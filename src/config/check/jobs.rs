//! The rules of jobs.
//!
//! Pure.

use std::path::PathBuf;

use crate::config::file::{File, JobRulesFile, RouteJobsFile};
use crate::config::findings::Findings;
use crate::config::jobs::{JobRules, JobsSettings};
use crate::config::pool::{InFlight, PoolSettings};
use crate::config::route::{CallSettings, PathPart, RouteSettings};
use crate::config::tree::KeyPath;

/// With this share, background work may have all workers.
const SHARE_WHOLE: u32 = 1000;

/// Where jobs are kept, if any are. The path of the file is as it was written.
pub(super) fn jobs(findings: &mut Findings<'_>, file: &File) -> Option<JobsSettings> {
    let jobs = file.jobs.as_ref()?;
    let path = KeyPath::of(&["jobs"]);
    let result = findings.positive_size(&path.key("result"), jobs.result);
    let bytes = findings.positive_size(&path.key("bytes"), jobs.bytes);
    if bytes < result {
        let message = format!("`bytes` of {bytes} has no room for a `result` of {result}");
        findings.refuse(&path.key("bytes"), message, format!("write {result} or more"));
    }
    Some(JobsSettings { file: PathBuf::from(&jobs.file), length: jobs.length, bytes, result })
}

/// The rules of the jobs of a route; `None`: its calls are no jobs.
pub(super) fn rules(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    jobs: Option<&RouteJobsFile>,
) -> Option<JobRules> {
    let path = path.key("jobs");
    let file = match jobs? {
        RouteJobsFile::Switch(false) => return None,
        RouteJobsFile::Switch(true) => JobRulesFile::default(),
        RouteJobsFile::Rules(rules) => rules.clone(),
    };
    Some(JobRules {
        timeout: findings.positive_time(&path.key("timeout"), file.timeout),
        wait: findings.positive_time(&path.key("wait"), file.wait),
        keep: findings.positive_time(&path.key("keep"), file.keep),
        priority: file.priority,
    })
}

/// The rules of jobs that say nothing else.
pub(super) fn usual() -> JobRules {
    let JobRulesFile { timeout, wait, keep, priority } = JobRulesFile::default();
    JobRules { timeout: timeout.0, wait: wait.0, keep: keep.0, priority }
}

/// Returns why calls of a route cannot be jobs, and what to do.
pub(super) fn no_jobs(
    file: &File,
    call: &CallSettings,
    (pool, streams): (&PoolSettings, bool),
) -> Option<(String, String)> {
    let found = |message: &str, hint: &str| Some((message.to_owned(), hint.to_owned()));
    if file.jobs.is_none() {
        found(
            "`jobs` needs a file that keeps them, and there is no `[jobs]`",
            "add a table `[jobs]`, which may be empty, or `--jobs-file jobs.db`",
        )
    } else if streams {
        found(
            "`jobs` cannot be used where answers come in parts",
            "remove `jobs`, or let another pool answer them",
        )
    } else if call.passes_json_rpc_on(&pool.program.wire) {
        found(
            "`jobs` cannot be used where JSON-RPC is passed on",
            "remove `jobs`: such calls are answered as they come",
        )
    } else if pool.rules.workers_most == 0 {
        let message =
            format!("`jobs` would never run: `{}` has no workers on this server", pool.name);
        found(&message, "write `workers = 1` or more, or leave `jobs` out here")
    } else if !has_room(pool) {
        let message = format!(
            "`jobs` would never run: `{}` has one worker, and `share` leaves it to other calls",
            pool.name
        );
        let hint = format!("write `workers = 2` or `share = 1` in `[pool.{}]`", pool.name);
        found(&message, &hint)
    } else {
        None
    }
}

/// Returns true if a worker of the pool may be given to jobs.
fn has_room(pool: &PoolSettings) -> bool {
    let rules = &pool.rules;
    let places = match rules.in_flight {
        InFlight::Fixed(calls) => calls as usize,
        InFlight::Auto => 1,
    };
    rules.share >= SHARE_WHOLE || (rules.share > 0 && rules.workers_most * places > 1)
}

/// Reports routes that take nothing but paths of jobs.
pub(super) fn reserve(findings: &mut Findings<'_>, file: &File, routes: &[RouteSettings]) {
    if file.jobs.is_none() {
        return;
    }
    for route in routes {
        let is = |at: usize, text: &str| matches!(route.path.get(at), Some(PathPart::Literal(literal)) if literal == text);
        if is(0, "-") && is(1, "jobs") && (route.rest || route.path.len() > 2) {
            let path = KeyPath::of(&["route"]).index(usize::from(route.id.0)).key("match");
            let message = format!("`{}` can never match: `[jobs]` takes the path", route.label);
            findings.refuse(&path, message, "give it a path that does not begin with `/-/jobs/`");
        }
    }
}
