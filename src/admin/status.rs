//! The document at `/status.json`, and how `/ready` follows from it.
//!
//! Pure: it shows one moment. Nothing in it is secret: no environment, no questions, no answers,
//! nothing that a worker wrote. Fields may be added; if the meaning of one changes, so does
//! [`VERSION`].

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::base::WorkerCounts;

/// The version of the shape of [`Status`].
pub const VERSION: u32 = 1;

/// One server at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Always [`VERSION`].
    pub version: u32,
    /// The time since the server started.
    #[serde(rename = "uptime_seconds", serialize_with = "seconds")]
    pub uptime: Duration,
    /// The server is stopping and accepts no new call.
    pub draining: bool,
    /// Where callers connect, as in `127.0.0.1:3000` or `unix:/path`, with the real ports.
    pub listen: Vec<String>,
    /// How many connections of callers are open.
    pub connections: i64,
    /// The pools, in file order.
    pub pools: Vec<PoolStatus>,
    /// The cache of answers.
    pub cache: CacheStatus,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// The name after `pool.`.
    pub name: String,
    /// How many workers are in each state.
    pub states: WorkerCounts,
    /// Every worker, in the order of their starts.
    pub workers: Vec<WorkerStatus>,
    /// The last starts failed. Calls are refused at once while no worker is ready.
    pub tripped: bool,
    /// The calls that wait.
    pub queue: QueueStatus,
    /// Questions that are refused because they cost several workers.
    pub poisonous: PoisonousStatus,
    /// How long a call is expected to be in a worker; `None` before the first answer.
    #[serde(rename = "service_seconds", serialize_with = "optional_seconds")]
    pub service_time: Option<Duration>,
    /// The last workers that ended, the latest first.
    pub last_exits: Vec<ExitStatus>,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It is not ready yet.
    Starting,
    /// It is ready and holds no call.
    Ready,
    /// It holds at least one call.
    Busy,
    /// It was told to stop.
    Leaving,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// The number that stands for it in the log.
    pub id: u64,
    /// Its process id.
    pub pid: u32,
    /// Its state.
    pub state: WorkerState,
    /// How many calls it has answered.
    pub calls: u64,
    /// How many calls it holds.
    pub in_flight: usize,
    /// The time since its start.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
}

/// The queue of a pool.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QueueStatus {
    /// How many calls wait.
    pub length: usize,
    /// How many bytes their questions have.
    pub bytes: u64,
    /// How long the oldest of them has waited; `None` if none waits.
    #[serde(rename = "oldest_wait_seconds", serialize_with = "optional_seconds")]
    pub oldest_wait: Option<Duration>,
    /// The oldest call has waited too long for a while, so the newest call is served first.
    pub overloaded: bool,
}

/// Questions that are refused. What was asked is not shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PoisonousStatus {
    /// How many there are.
    pub count: usize,
    /// The names that stand for them in the log. A restart changes them.
    pub fingerprints: Vec<String>,
}

/// How one worker ended.
#[derive(Clone, Debug, Serialize)]
pub struct ExitStatus {
    /// The number that stands for the worker in the log.
    pub worker: u64,
    /// Why, as in `httpipe_worker_exits_total`.
    pub reason: &'static str,
    /// How, in words: `exit code 1`, `signal 9`. Never what the worker wrote.
    pub exit: String,
    /// The time since then.
    #[serde(rename = "ago_seconds", serialize_with = "seconds")]
    pub ago: Duration,
}

/// The cache of answers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CacheStatus {
    /// How many bytes it takes, with keys and book-keeping.
    pub bytes: u64,
    /// How many answers it keeps.
    pub entries: usize,
}

impl Status {
    /// Returns why the server is not ready for calls; `None` if it is.
    pub fn not_ready(&self) -> Option<String> {
        if self.draining {
            return Some("the server is stopping".to_owned());
        }
        let without = self.pools.iter().filter(|pool| pool.states.ready + pool.states.busy == 0);
        let names: Vec<String> = without.map(|pool| format!("`{}`", pool.name)).collect();
        match names.len() {
            0 => None,
            1 => Some(format!("pool {} has no worker that is ready", names[0])),
            _ => Some(format!("pools {} have no worker that is ready", names.join(", "))),
        }
    }
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde hands references")]
fn optional_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn pool(name: &str, ready: usize, busy: usize) -> PoolStatus {
        PoolStatus {
            name: name.to_owned(),
            states: WorkerCounts { starting: 1, ready, busy, leaving: 2 },
            workers: Vec::new(),
            tripped: false,
            queue: QueueStatus::default(),
            poisonous: PoisonousStatus::default(),
            service_time: None,
            last_exits: Vec::new(),
        }
    }

    /// A server whose pools have these numbers of ready and busy workers.
    pub(crate) fn status(pools: &[(&str, usize, usize)]) -> Status {
        Status {
            version: VERSION,
            uptime: Duration::from_millis(1_500),
            draining: false,
            listen: vec!["127.0.0.1:3000".to_owned()],
            connections: 2,
            pools: pools.iter().map(|(name, ready, busy)| pool(name, *ready, *busy)).collect(),
            cache: CacheStatus { bytes: 600, entries: 1 },
        }
    }

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
        let mut status = status(&[("fib", 0, 1)]);
        status.pools[0].workers.push(WorkerStatus {
            id: 3,
            pid: 42,
            state: WorkerState::Busy,
            calls: 7,
            in_flight: 1,
            age: Duration::from_mins(1),
        });
        status.pools[0].tripped = true;
        status.pools[0].queue = QueueStatus {
            length: 1,
            bytes: 9,
            oldest_wait: Some(Duration::from_millis(250)),
            overloaded: true,
        };
        status.pools[0].poisonous =
            PoisonousStatus { count: 1, fingerprints: vec!["00000000000000ff".to_owned()] };
        status.pools[0].last_exits.push(ExitStatus {
            worker: 2,
            reason: "crash",
            exit: "signal 9".to_owned(),
            ago: Duration::from_secs(61),
        });
        let shown = serde_json::to_value(&status).expect("JSON");
        let expected = serde_json::json!({
            "version": 1,
            "uptime_seconds": 1.5,
            "draining": false,
            "listen": ["127.0.0.1:3000"],
            "connections": 2,
            "pools": [{
                "name": "fib",
                "states": {"starting": 1, "ready": 0, "busy": 1, "leaving": 2},
                "workers": [{
                    "id": 3, "pid": 42, "state": "busy", "calls": 7, "in_flight": 1,
                    "age_seconds": 60.0
                }],
                "queue": {"length": 1, "bytes": 9, "oldest_wait_seconds": 0.25, "overloaded": true},
                "tripped": true,
                "poisonous": {"count": 1, "fingerprints": ["00000000000000ff"]},
                "service_seconds": null,
                "last_exits": [
                    {"worker": 2, "reason": "crash", "exit": "signal 9", "ago_seconds": 61.0}
                ]
            }],
            "cache": {"bytes": 600, "entries": 1}
        });
        assert_eq!(shown, expected);
    }
}
