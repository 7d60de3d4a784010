//! Which workers of a pool are tried, and with what: first as configured, then with other questions
//! or with remedies, depending on what the last one did.

use std::io;
use std::time::Duration;

use super::diagnosis::misfit;
use super::examination::{Examination, RemedyResults};
use super::framings::{cuts_one, fittings};
use super::questions::{Plan, Planned};
use super::record::{Exchange, Record, TrialEnd, TrialPhase};
use super::trial::{Limits, TrialContext, try_one};
use crate::config::{Matching, PoolSettings};
use crate::doctor::remedy::{self, Remedy};
use crate::doctor::stdbuf_of;
use crate::worker::process::Exit;

/// The time that a worker with a remedy has beside what the first one took.
const REMEDY_EXTRA: Duration = Duration::from_secs(2);

/// Tries one worker of a pool, and more of them where that tells what to change.
pub(super) async fn examine(
    pool: &PoolSettings,
    plan: &Plan,
    context: &TrialContext,
) -> io::Result<Examination> {
    let limits = Limits { start: pool.rules.start_timeout, answer: pool.rules.timeout };
    let questions = plan.questions(0);
    let first = try_all(pool, &questions, limits, context).await?;
    let is_question = may_be_the_question(pool, &first);
    let groups = match is_question {
        true => plan.groups(),
        // An error may have several lines.
        false if is_misframed_sample(&first) => plan.groups().min(2),
        false => 1,
    };
    for group in 1..groups {
        let questions = plan.questions(group);
        let record = try_all(pool, &questions, limits, context).await?;
        let is_better = is_question && !may_be_the_question(pool, &record);
        if is_better || is_good(pool, &record) {
            let examination = Box::pin(remedied(pool, record, &questions, context)).await?;
            return Ok(Examination { other: Some(first), ..examination });
        }
    }
    Box::pin(remedied(pool, first, &questions, context)).await
}

/// Returns true if every question was answered as the configuration says.
fn is_good(pool: &PoolSettings, record: &Record) -> bool {
    record.is_passed() && record.exchanges.iter().all(|it| misfit(pool, it).is_none())
}

/// Returns true if the output after a sample was not one answer.
fn is_misframed_sample(record: &Record) -> bool {
    let is_sample = match &record.end {
        TrialEnd::Stalled(stall) => stall.phase == TrialPhase::Sample,
        _ => record.exchanges.last().is_some_and(|last| last.phase == TrialPhase::Sample),
    };
    is_sample && !record.misframed().is_empty()
}

/// Asks all questions: of one worker, or each of another where a worker gets only one.
async fn try_all(
    pool: &PoolSettings,
    questions: &[Planned],
    limits: Limits,
    context: &TrialContext,
) -> io::Result<Record> {
    if !pool.program.wire.ends_with_answer() {
        return try_one(pool, questions, limits, context).await;
    }
    let mut asked: Vec<Exchange> = Vec::new();
    loop {
        let rest = questions.get(asked.len()..asked.len() + 1).unwrap_or_default();
        let mut record = try_one(pool, rest, limits, context).await?;
        asked.append(&mut record.exchanges);
        let is_repeated =
            |next: &Planned| asked.last().is_some_and(|last| last.question == next.question.text);
        let next = questions.get(asked.len()).filter(|next| !is_repeated(next));
        if next.is_none() || !matches!(record.end, TrialEnd::Passed) {
            record.exchanges = asked;
            return Ok(record);
        }
    }
}

/// Returns true if the worker may have failed only because it cannot answer what it was asked.
fn may_be_the_question(pool: &PoolSettings, record: &Record) -> bool {
    match &record.end {
        TrialEnd::Passed => {
            let samples = record.exchanges.iter().filter(|it| it.phase == TrialPhase::Sample);
            record.is_passed() && samples.clone().any(|it| misfit(pool, it).is_some())
        }
        TrialEnd::Ended { phase: TrialPhase::Sample, exit, question, .. } => {
            // Not as intended, after its answer.
            let last = record.exchanges.last();
            *exit != Exit::Code(0) || last.is_none_or(|last| last.question != *question)
        }
        TrialEnd::OutOfStep { phase, .. } => *phase == TrialPhase::Sample,
        TrialEnd::Stalled(stall) => {
            stall.phase == TrialPhase::Sample && stall.is_silent() && stall.output_at_end.is_empty()
        }
        _ => false,
    }
}

/// Tries remedies against what this record shows, each on a new worker, until one helps.
async fn remedied(
    pool: &PoolSettings,
    record: Record,
    questions: &[Planned],
    context: &TrialContext,
) -> io::Result<Examination> {
    let mut results = RemedyResults::default();
    let mut better = None;
    let limits = remedy_limits(pool, &record);
    for remedy in remedies(pool, &record) {
        let tried = try_all(&remedy.settings, questions, limits, context).await?;
        if tried.is_passed() {
            results.worked = Some(remedy);
            break;
        }
        if is_better(&record, &tried) && better.is_none() {
            better = Some(remedy);
        } else {
            results.failed.push(remedy.name);
        }
    }
    results.worked = results.worked.or(better);
    Ok(Examination { record, other: None, remedies: results })
}

/// Returns true if the second worker got further than the first, which was silent.
fn is_better(before: &Record, after: &Record) -> bool {
    let has_banner = after.banner.taken.is_some() && before.banner.taken.is_none();
    let has_answer = after.exchanges.len() > before.exchanges.len();
    before.is_silent() && (has_banner || has_answer) && after.output_at_end.is_empty()
}

/// Returns the remedies that may help, likeliest first.
fn remedies(pool: &PoolSettings, record: &Record) -> Vec<Remedy> {
    if pool.program.wire.ends_with_answer() {
        return Vec::new();
    }
    if record.is_silent() {
        let mut remedies =
            remedy::against_silence(pool, stdbuf_of(&pool.program.launch).as_deref());
        remedies.extend(remedy::one_question(pool).filter(|_| !record.late_output().is_empty()));
        return remedies;
    }
    let outputs = record.misframed();
    let is_one = |framing: &str| outputs.iter().all(|output| cuts_one(framing, output));
    let current = pool.program.wire.framing.reply.to_string();
    if outputs.iter().any(|output| cuts_one(&current, output)) {
        // The framing fits, and something else is written at times.
        return Vec::new();
    }
    let prompt = record.prompt().and_then(|prompt| std::str::from_utf8(prompt).ok());
    let mut names: Vec<String> = prompt.iter().map(|prompt| format!("until:{prompt}")).collect();
    names.extend(outputs.first().into_iter().flat_map(|it| fittings(it)).map(|(name, _)| name));
    names.retain(|name| is_one(name));
    names.dedup();
    if names.is_empty() && outputs.is_empty() {
        return Vec::new();
    }
    if pool.program.wire.matching == Matching::Order && record.doubt.is_none() {
        // Lines can only be counted if every answer has as many.
        let place = names.iter().position(|name| name.starts_with("lines:"));
        names.insert(place.unwrap_or(names.len()), "turn".to_owned());
    }
    names.iter().filter_map(|name| remedy::framed(pool, name)).collect()
}

/// How long a worker with a remedy may take: much longer than the one without needed, and no longer
/// than any may.
fn remedy_limits(pool: &PoolSettings, record: &Record) -> Limits {
    let waited = match &record.end {
        TrialEnd::Stalled(stall) if stall.waits => stall.waited,
        _ => Duration::ZERO,
    };
    let took = record.exchanges.iter().map(|exchange| exchange.took).max().unwrap_or_default();
    let start = 2 * (record.start + waited) + REMEDY_EXTRA;
    let answer = 4 * took.max(waited) + REMEDY_EXTRA;
    Limits { start: start.min(pool.rules.start_timeout), answer: answer.min(pool.rules.timeout) }
}
