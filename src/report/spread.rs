//! What the server tells of the other servers that share its calls.
//!
//! Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// The connection to NATS, and the other servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpreadStatus {
    /// There is a connection.
    pub connected: bool,
    /// The NATS server that is connected, or was last.
    pub server: Option<String>,
    /// For how long there has been a connection, or none; `null` before the first.
    #[serde(rename = "since_seconds", with = "seconds::optional")]
    pub since: Option<Duration>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The other servers.
    pub hosts: Vec<HostStatus>,
}

/// One other server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name, which it draws at its start. The log names it by the first eight digits.
    pub node: String,
    /// What its machine is called.
    pub machine: String,
    /// It takes no further calls.
    pub draining: bool,
    /// How long ago it was heard.
    #[serde(rename = "heard_seconds", with = "seconds")]
    pub heard: Duration,
    /// Its pools.
    pub pools: Vec<HostPoolStatus>,
}

/// One pool of another server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostPoolStatus {
    /// The name after `pool.`.
    pub name: String,
    /// Its workers that are ready or busy.
    pub workers: u32,
    /// Those that are busy.
    pub busy: u32,
    /// It is what this server has under the name, so they share calls.
    pub shares: bool,
    /// The keys in which it differs from what this server has under the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

/// The calls of a pool on other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwayStatus {
    /// How many calls other servers can have at once.
    pub slots: usize,
    /// How many are there.
    pub calls: usize,
}
