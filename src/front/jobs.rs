//! Jobs over HTTP: a call that is accepted now and answered later, and the paths where its caller
//! looks for it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;

use super::body::random;
use super::incoming::Matched;
use super::job_answer;
use super::job_events::{self, JobStream};
use super::job_page::document;
pub use super::job_page::moment;
use super::job_said::{JobBody, JobSaid};
use super::parts::wants_events;
use super::preference::{PREFERENCE_APPLIED, Preference};
use super::said::Said;
use super::sender::RequestSender;
use super::{Front, Served, problem};
use crate::base::Failure;
use crate::call::{Calls, Request as Asking};
use crate::config::JobRules;
use crate::config::jobs::JobsSettings;
use crate::jobs::{
    Acceptance, Job, JobDesk, JobId, JobRefusal, JobRemoval, NewJob, RepeatKey, StoreFailed,
};
use crate::sync::memory::Memory;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest `Idempotency-Key`.
const KEY_MAX: usize = 255;
/// When callers should look again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The methods of a job, and of its answer.
const OF_JOB: &str = "GET, HEAD, DELETE, OPTIONS";
const OF_RESULT: &str = "GET, HEAD, OPTIONS";

/// Where a front finds jobs.
#[derive(Clone, Debug)]
pub struct FrontJobs {
    desk: JobDesk,
    tasks: TaskTracker,
}

impl FrontJobs {
    /// The jobs of a desk; what outlives its request runs among `tasks`.
    pub fn new(desk: JobDesk, tasks: TaskTracker) -> Self {
        Self { desk, tasks }
    }

    /// Answers a request about a job.
    pub(super) async fn attend(
        &self,
        path: JobPath,
        head: &Parts,
        (sender, memory): (RequestSender<'_>, &Arc<Memory>),
        request_id: &str,
    ) -> Said {
        let caller: Option<Arc<str>> = sender.name().map(Arc::from);
        let said = match (path, &head.method) {
            (JobPath::Job(_), &Method::OPTIONS) => return Said::Options(OF_JOB.into(), None),
            (JobPath::Answer(_), &Method::OPTIONS) => return Said::Options(OF_RESULT.into(), None),
            (JobPath::Job(Some(id)), &Method::DELETE) => remove(self, id, caller).await,
            (JobPath::Job(Some(id)), &Method::GET | &Method::HEAD) => {
                look(self, id, caller, head, request_id).await
            }
            (JobPath::Answer(Some(id)), &Method::GET | &Method::HEAD) => {
                let wait = Preference::of(&head.headers).wait;
                if let Some(wait) = wait
                    && let Err(failure) = wait_for_id(&self.desk, id, caller.clone(), wait).await
                {
                    return Said::Failure(None, failure);
                }
                let kept = job_answer::read(&self.desk, id, caller, memory).await;
                kept.map(|kept| Said::Kept(None, Box::new(kept)))
            }
            (JobPath::Job(None) | JobPath::Answer(None), _) => Err(Failure::NoJob),
            (JobPath::Job(_), _) => Err(Failure::MethodNotAllowed { allow: OF_JOB.into() }),
            (JobPath::Answer(_), _) => Err(Failure::MethodNotAllowed { allow: OF_RESULT.into() }),
        };
        said.unwrap_or_else(|failure| Said::Failure(None, failure))
    }
}

/// What a path says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobPath {
    /// The job itself; `None`: what cannot be the name of one.
    Job(Option<JobId>),
    /// Its answer.
    Answer(Option<JobId>),
}

impl JobPath {
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(JobsSettings::PATH)?;
        let id = |text| JobId::from_str(text).ok();
        Some(match rest.strip_suffix("/result") {
            Some(name) => Self::Answer(id(name)),
            None => Self::Job(id(rest)),
        })
    }
}

impl Front {
    /// Lets callers make jobs, and look for them.
    #[must_use]
    pub fn with_jobs(self, jobs: Option<FrontJobs>) -> Self {
        Self { jobs: jobs.map(Box::new), ..self }
    }

    /// Returns the jobs of this front, and what the path says of one, if it is about jobs.
    pub(super) fn about_job(&self, head: &Parts) -> Option<(&FrontJobs, JobPath)> {
        Some((self.jobs.as_deref()?, JobPath::of(head.uri.path())?))
    }

    /// Returns the route at this index.
    pub(super) fn served(&self, index: Option<usize>) -> Option<&Served> {
        index.map(|index| &self.routes[index])
    }

    /// Accepts a call as a job, if its caller and its route want that; else makes the call.
    pub(super) async fn asked<C: Calls>(
        &self,
        calls: &C,
        matched: Matched<'_>,
        asking: Box<Asking>,
    ) -> Said {
        let preference = Preference::of(&matched.head.headers);
        let (Some(rules), Some(jobs), true) =
            (matched.call.jobs, self.jobs.as_deref(), preference.respond_async)
        else {
            return Said::Answer(matched.index, calls.call(asking).await);
        };
        let said = match self.new_job(matched, rules, &asking) {
            Ok(new) => accept(jobs, new, preference, matched).await,
            Err(failure) => Err(failure),
        };
        said.unwrap_or_else(|failure| Said::Failure(Some(matched.index), failure))
    }

    fn new_job(
        &self,
        matched: Matched<'_>,
        rules: JobRules,
        asking: &Asking,
    ) -> Result<NewJob, Failure> {
        let pool = &self.pools[asking.pool];
        let question = &asking.call.question;
        let nonce = question.nonce.clone();
        let hash = hash_of(&question.text, nonce.as_deref());
        let repeat = repeat_key(&matched.head.headers)?;
        let idempotent = asking.call.idempotent;
        let retries = if idempotent { pool.rules.retries } else { 0 };
        Ok(NewJob {
            id: JobId(random()),
            pool: pool.name.as_str().into(),
            route: Arc::clone(&matched.route.label),
            owner: matched.sender.name().map(Arc::from),
            has_share: self.has_share(matched.sender),
            idempotent,
            starts_most: retries.saturating_add(1),
            priority_minutes: rules.priority,
            wait: rules.wait,
            keep: rules.keep,
            repeat: repeat.map(|text| RepeatKey { text, hash }),
            text: question.text.clone(),
            nonce,
            request_id: matched.request_id.into(),
        })
    }
}

async fn accept(
    jobs: &FrontJobs,
    new: NewJob,
    preference: Preference,
    matched: Matched<'_>,
) -> Result<Said, Failure> {
    let (index, caller) = (matched.index, new.owner.clone());
    let job = match jobs.desk.accept(new).await? {
        Ok(Acceptance::New(job) | Acceptance::Known(job)) => job,
        Err(refusal) => return Err(refused(refusal)),
    };
    let job = match preference.wait {
        None => job,
        // The job is there whatever fails from here on, and its caller must learn its name.
        Some(wait) => match wait_for_end(&jobs.desk, job.clone(), caller.clone(), wait).await {
            Err(Failure::StoreFailed) => job,
            ended => ended?,
        },
    };
    if preference.wait.is_some() && job.state.has_ended() {
        match job_answer::read(&jobs.desk, job.id, caller, matched.memory).await {
            Err(Failure::Busy | Failure::StoreFailed) => {}
            kept => return Ok(Said::Kept(Some(index), Box::new(kept?))),
        }
    }
    let applied = match preference.wait {
        Some(wait) => format!("respond-async, wait={}", wait.as_secs()),
        None => "respond-async".to_owned(),
    };
    let location = format!("{}{}", JobsSettings::PATH, job.id);
    let mut said = shown(&jobs.desk, &job, StatusCode::ACCEPTED);
    said.headers.push((header::LOCATION, text(&location)));
    said.headers.push((PREFERENCE_APPLIED, text(&applied)));
    Ok(Said::Job(Some(index), Box::new(said)))
}

fn refused(refusal: JobRefusal) -> Failure {
    let retry_after = LOOK_AGAIN;
    let detail = match refusal {
        JobRefusal::KeyReused => return Failure::KeyReused,
        JobRefusal::Misplaced => return Failure::StoreFailed,
        JobRefusal::Length(most) => format!("{most} jobs wait or run, as many as may"),
        JobRefusal::Bytes(most) => format!("questions and answers take all of {most} bytes"),
        JobRefusal::OwnLength(most) => {
            format!("{most} jobs of one caller wait or run, as many as may")
        }
        JobRefusal::OwnBytes(most) => {
            format!("questions and answers of one caller take all of {most} bytes")
        }
        JobRefusal::Disk => "the disk has no room for more jobs".to_owned(),
    };
    Failure::JobsFull { detail: detail.into(), retry_after }
}

impl From<StoreFailed> for Failure {
    fn from(StoreFailed: StoreFailed) -> Self {
        Self::StoreFailed
    }
}

/// Waits until the job of this name has ended, at most this long.
async fn wait_for_id(
    desk: &JobDesk,
    id: JobId,
    caller: Option<Arc<str>>,
    wait: Duration,
) -> Result<(), Failure> {
    let job = desk.look(id, caller.clone()).await?.ok_or(Failure::NoJob)?;
    wait_for_end(desk, job, caller, wait).await.map(|_| ())
}

/// Waits until a job has ended, at most this long. Returns it as it is then.
async fn wait_for_end(
    desk: &JobDesk,
    job: Job,
    caller: Option<Arc<str>>,
    wait: Duration,
) -> Result<Job, Failure> {
    let mut watch = desk.board().watch(job.id);
    // It may have changed before it was watched.
    let Some(mut job) = desk.look(job.id, caller).await? else { return Err(Failure::NoJob) };
    let until_end = async {
        while !job.state.has_ended() {
            match watch.changed().await {
                Ok(Some(changed)) => job = changed,
                Ok(None) => return Err(Failure::NoJob),
                // The server is about to end, and this is its last answer.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    };
    if let Ok(Err(failure)) = tokio::time::timeout(wait, until_end).await {
        return Err(failure);
    }
    Ok(job)
}

async fn look(
    jobs: &FrontJobs,
    id: JobId,
    caller: Option<Arc<str>>,
    head: &Parts,
    request_id: &str,
) -> Result<Said, Failure> {
    let desk = &jobs.desk;
    let watch = desk.board().watch(id);
    let Some(job) = desk.look(id, caller.clone()).await? else { return Err(Failure::NoJob) };
    if wants_events(&head.headers) && head.method == Method::GET {
        let (stream, body) = JobStream::new(watch, job, request_id);
        jobs.tasks.spawn_local(stream.run());
        return Ok(Said::Job(None, Box::new(job_events::response(body))));
    }
    drop(watch);
    let preference = Preference::of(&head.headers);
    let job = match preference.wait.filter(|_| !job.state.has_ended()) {
        Some(wait) => wait_for_end(desk, job, caller, wait).await?,
        None => job,
    };
    let mut said = shown(desk, &job, StatusCode::OK);
    if let Some(wait) = preference.wait {
        let applied = format!("wait={}", wait.as_secs());
        said.headers.push((PREFERENCE_APPLIED, text(&applied)));
    }
    Ok(Said::Job(None, Box::new(said)))
}

async fn remove(jobs: &FrontJobs, id: JobId, caller: Option<Arc<str>>) -> Result<Said, Failure> {
    match jobs.desk.remove(id, caller).await? {
        JobRemoval::Canceled(job) => {
            Ok(Said::Job(None, Box::new(shown(&jobs.desk, &job, StatusCode::OK))))
        }
        JobRemoval::Removed(_) => {
            let status = StatusCode::NO_CONTENT;
            let body = JobBody::Whole(Bytes::new());
            Ok(Said::Job(None, Box::new(JobSaid { status, headers: Vec::new(), body })))
        }
        JobRemoval::Unknown => Err(Failure::NoJob),
    }
}

/// Shows a job.
fn shown(desk: &JobDesk, job: &Job, status: StatusCode) -> JobSaid {
    let progress = desk.board().progress(job.id);
    let json = HeaderValue::from_static("application/json");
    let mut headers = vec![
        (header::CONTENT_TYPE, json),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if !job.state.has_ended() {
        let seconds = problem::whole_seconds(LOOK_AGAIN);
        headers.push((header::RETRY_AFTER, seconds.into()));
    }
    JobSaid { status, headers, body: JobBody::Whole(document(job, progress.as_ref()).into()) }
}

/// Returns the `Idempotency-Key` of a request.
fn repeat_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_good = |text: &&str| {
        (1..=KEY_MAX).contains(&text.len())
            && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    };
    let text = value.to_str().ok().filter(is_good);
    if let (Some(text), None) = (text, values.next()) {
        return Ok(Some(text.into()));
    }
    let detail = "`Idempotency-Key` must be one text of 1 to 255 visible characters";
    Err(Failure::BadRequest { detail: detail.into() })
}

/// Returns a hash of a question without its nonce, which differs each time.
fn hash_of(text: &Bytes, nonce: Option<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut rest = &text[..];
    if let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty()) {
        while let Some(at) = memchr::memmem::find(rest, nonce) {
            hash.update(&rest[..at]);
            rest = &rest[at + nonce.len()..];
        }
    }
    hash.update(rest);
    hash.finalize().into()
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_makes_no_other_question() {
        let hash = |text: &'static str, nonce: Option<&[u8]>| hash_of(&text.into(), nonce);
        assert_eq!(hash("a n1 b n1", Some(b"n1")), hash("a n22 b n22", Some(b"n22")));
        assert_ne!(hash("a", None), hash("b", None));
    }

    #[test]
    fn keys_are_visible_and_not_endless() {
        let key = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a header value");
            repeat_key(&[(IDEMPOTENCY_KEY, value)].into_iter().collect())
        };
        assert_eq!(repeat_key(&HeaderMap::new()), Ok(None));
        assert_eq!(key("8f-a"), Ok(Some("8f-a".into())));
        for wrong in ["", "a b", &"x".repeat(256)] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_name_a_job_or_its_answer() {
        let id = JobId([0xab; 16]);
        assert_eq!(JobPath::of(&format!("/-/jobs/{id}")), Some(JobPath::Job(Some(id))));
        let answer = format!("/-/jobs/{id}/result");
        assert_eq!(JobPath::of(&answer), Some(JobPath::Answer(Some(id))));
        assert_eq!(JobPath::of("/-/jobs/x"), Some(JobPath::Job(None)));
        assert_eq!(JobPath::of("/-/jobs"), None);
        assert_eq!(JobPath::of("/fib"), None);
    }
}
