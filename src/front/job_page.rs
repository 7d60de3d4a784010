//! A job as its caller sees it.
//!
//! Pure.

use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::ProblemDocument;
use crate::base::Progress;
use crate::config::jobs::JobsSettings;
use crate::jobs::{Job, JobState, WallTime};

#[derive(Serialize)]
struct JobDocument<'a> {
    id: String,
    state: &'static str,
    route: &'a str,
    created: String,
    started: Option<String>,
    ended: Option<String>,
    expires: String,
    attempts: u32,
    progress: Option<Box<RawValue>>,
    result: Option<String>,
    problem: Option<Box<RawValue>>,
}

/// Returns a job as JSON. `progress` is what it has said of how far it is.
pub fn document(job: &Job, progress: Option<&Progress>) -> Vec<u8> {
    let problem = job.failure.as_ref().map(|failure| {
        let body = ProblemDocument::of(failure).body(&job.request_id);
        let text = String::from_utf8(body).expect("JSON is text");
        RawValue::from_string(text).expect("it is JSON")
    });
    let document = JobDocument {
        id: job.id.to_string(),
        state: job.state.as_str(),
        route: &job.route,
        created: moment(job.created),
        started: job.started.map(moment),
        ended: job.ended.map(moment),
        expires: moment(job.expires),
        attempts: job.attempts,
        progress: progress.filter(|_| job.state == JobState::Running).map(Progress::raw),
        result: job.state.has_ended().then(|| format!("{}{}/result", JobsSettings::PATH, job.id)),
        problem,
    };
    serde_json::to_vec(&document).expect("texts and numbers are always JSON")
}

/// Writes a moment as RFC 3339 has it, in UTC.
pub fn moment(WallTime(millis): WallTime) -> String {
    let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days in eras of 400 years that begin on the first of March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400 + i64::from(month >= 10), (month + 2) % 12 + 1);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_123, "2024-02-29T00:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(moment(WallTime(millis)), text);
        }
    }
}
