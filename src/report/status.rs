//! One server at one moment, and how `/ready` follows from it.
//!
//! Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::background::BackgroundStatus;
use super::pool::PoolStatus;
use super::seconds;
use super::spread::SpreadStatus;

/// The version of the shape of [`Status`].
pub const VERSION: u32 = 2;

/// One server at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`VERSION`].
    pub version: u32,
    /// The time of this picture, in seconds since 1970.
    pub at: f64,
    /// The time since the server started.
    #[serde(rename = "uptime_seconds", with = "seconds")]
    pub uptime: Duration,
    /// The server is stopping and accepts no new call.
    pub draining: bool,
    /// Where callers connect, as in `127.0.0.1:3000` or `unix:/path`, with the real ports.
    pub listen: Vec<String>,
    /// How many connections of callers are open.
    pub connections: i64,
    /// What runs.
    pub server: ServerStatus,
    /// What an operator should know, the worst first.
    pub notices: Vec<Notice>,
    /// The pools, in file order.
    pub pools: Vec<PoolStatus>,
    /// The agent port; `null` if there is none.
    pub agent: Option<AgentStatus>,
    /// The other servers that share calls; `None` if calls are shared with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadStatus>,
    /// Jobs, batch requests, and calls that go together; `None` if there is nothing of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<BackgroundStatus>,
    /// The cache of answers.
    pub cache: CacheStatus,
    /// How many log lines were lost since the start.
    pub log_dropped: u64,
    /// How many readers `/events` has.
    pub viewers: usize,
    /// How many readers `/tap` has.
    pub taps: usize,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The version of the program, as in `httpipe --version`.
    pub version: Cow<'static, str>,
    /// Its process id.
    pub pid: u32,
    /// The configuration file; `null` if there is none.
    pub config: Option<String>,
    /// The time since the configuration was last loaded.
    #[serde(rename = "loaded_seconds", with = "seconds")]
    pub loaded: Duration,
    /// How many threads serve connections.
    pub threads: usize,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How bad it is.
    pub level: NoticeLevel,
    /// One word for its kind: `holds_output`, `tripped`, `poisonous`, …
    pub code: Cow<'static, str>,
    /// The pool it is about; `null` if it is about the server.
    pub pool: Option<String>,
    /// The worker it is about.
    pub worker: Option<u64>,
    /// A sentence that says what is wrong.
    pub text: String,
    /// What to write into the configuration or to run against it; `null` if nothing is known.
    pub fix: Option<String>,
}

/// How bad something is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeLevel {
    /// Calls fail, or will.
    Bad,
    /// Calls may fail.
    Warn,
    /// Nothing fails.
    Info,
}

/// The agent port, where load balancers ask how many calls the server can take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Where it is, as in `127.0.0.1:3002`, with the real port.
    pub listen: String,
    /// How many addresses have asked lately.
    pub balancers: usize,
    /// What the last of them was told, as in `ready up maxconn:4`; `null` if none has asked.
    pub said: Option<String>,
    /// The time since then.
    #[serde(rename = "said_seconds", with = "seconds::optional")]
    pub said_ago: Option<Duration>,
}

/// The cache of answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// How many bytes it takes, with keys and book-keeping.
    pub bytes: u64,
    /// How many bytes it may take.
    pub limit: u64,
    /// How many answers it keeps.
    pub entries: usize,
    /// Where servers share answers; `null` if they do not.
    #[serde(default)]
    pub shared: Option<SharedCacheStatus>,
}

/// The cache that several servers share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedCacheStatus {
    /// Where it is, as in `redis://cache:6379`, without a user.
    pub server: String,
    /// It can be asked.
    pub connected: bool,
    /// The time since `connected` has changed.
    #[serde(rename = "since_seconds", with = "seconds")]
    pub since: Duration,
    /// Why it cannot be asked; `null` if it can, or was not tried yet.
    pub error: Option<String>,
    /// Searches that ended with an answer of another server.
    pub hits: u64,
    /// Searches that ended with the outcome of another server's run.
    pub followed: u64,
    /// Searches after which this server ran the question, because nobody had an answer.
    pub misses: u64,
    /// All other searches, after which this server ran the question as well.
    pub others: u64,
}

impl Status {
    /// Takes out what only operators may see of jobs. What they may see of commands is in `about`.
    pub fn hide_contents(&mut self) {
        if let Some(background) = &mut self.background {
            background.hide_contents();
        }
    }

    /// Returns why the server is not ready for calls; `None` if it is.
    pub fn not_ready(&self) -> Option<String> {
        if self.draining {
            return Some("the server is stopping".to_owned());
        }
        let serves = |pool: &PoolStatus| {
            let away = pool.away.as_ref().map_or(0, |away| away.slots);
            pool.states.ready + pool.states.busy + away > 0
        };
        let without = self.pools.iter().filter(|pool| !serves(pool));
        let names: Vec<String> = without.map(|pool| format!("`{}`", pool.name)).collect();
        match names.len() {
            0 => None,
            1 => Some(format!("pool {} has no worker that is ready", names[0])),
            _ => Some(format!("pools {} have no worker that is ready", names.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{full, status};
    use super::*;

    #[test]
    fn every_pool_needs_a_worker_that_is_ready_or_busy() {
        let said = |pools: &[(&str, usize, usize)]| status(pools).not_ready();
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[("a", 1, 0), ("b", 0, 1)]), None);
        let one = said(&[("a", 1, 0), ("b", 0, 0)]);
        assert_eq!(one.as_deref(), Some("pool `b` has no worker that is ready"));
        let two = said(&[("a", 0, 0), ("b", 0, 0)]);
        assert_eq!(two.as_deref(), Some("pools `a`, `b` have no worker that is ready"));
    }

    #[test]
    fn a_server_that_stops_is_not_ready() {
        let status = Status { draining: true, ..status(&[("a", 1, 0)]) };
        assert_eq!(status.not_ready().as_deref(), Some("the server is stopping"));
    }

    #[test]
    fn the_document_has_this_shape() {
        insta::assert_snapshot!("hello", serde_json::to_string_pretty(&full()).expect("JSON"));
        let tick = status(&[("fib", 1, 0)]);
        insta::assert_snapshot!("tick", serde_json::to_string_pretty(&tick).expect("JSON"));
    }

    #[test]
    fn a_reader_gets_back_what_was_written() {
        for status in [full(), status(&[("a", 1, 0)])] {
            let text = serde_json::to_string(&status).expect("JSON");
            assert_eq!(serde_json::from_str::<Status>(&text).expect("a status"), status);
        }
    }

    #[test]
    fn names_and_words_of_jobs_are_for_operators() {
        let mut status = full();
        status.hide_contents();
        let job = &status.background.expect("jobs").running[0];
        assert_eq!((&job.id, &job.text, job.fraction), (&None, &None, Some(0.4)));
    }

    #[test]
    fn what_a_later_server_adds_does_no_harm() {
        let mut document = serde_json::to_value(full()).expect("JSON");
        document["new"] = serde_json::json!({"x": [1.5, null]});
        document["pools"][0]["workers"][0]["new"] = 1.into();
        let read: Status = serde_json::from_str(&document.to_string()).expect("a status");
        assert_eq!(read, full());
    }
}
