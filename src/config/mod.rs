//! What the operator asked for, checked and complete.
//!
//! Two stages: `file` and `flags` hold what was typed; [`Config`] holds what it means. The
//! rest of the server sees only the second, and each room only its own struct of it.
//! Everything in a [`Config`] is valid by construction: `check` makes it or reports
//! problems.

pub mod access_log;
pub mod callers;
pub mod check;
pub mod environment;
pub mod fence;
pub mod file;
pub mod findings;
pub mod flags;
pub mod framing;
pub mod glob;
#[cfg_attr(not(feature = "tls"), path = "no_identity.rs")]
pub mod identity;
pub mod jobs;
pub mod key_entry;
pub mod key_flags;
pub mod launch;
pub mod load;
pub mod map_flags;
pub mod nats_login;
pub mod origins;
pub mod paths;
pub mod pool;
pub mod problem;
pub mod python;
pub mod reference;
pub mod regular;
pub mod route;
pub mod route_text;
pub mod sandbox;
pub mod scalar;
pub mod schema;
pub mod secret;
pub mod secret_files;
pub mod secrets;
pub mod server;
pub mod shape;
pub mod shared;
pub mod spread;
pub mod stamp;
pub mod tls;
mod tls_files;
pub mod tree;
mod user;
#[cfg(feature = "tls")]
mod validity;
pub mod words;
pub mod written;

pub use callers::{CallersSettings, KeyEntry, KeyHash, KeyList, Trust, WhoMayAsk};
#[cfg(test)]
pub use environment::Environment;
pub use fence::{Fence, OtherUser, Sandbox};
pub use file::{LogFormat, LogLevel};
pub use framing::{Framing, IdNames, Matching};
pub use jobs::{JobRules, JobsSettings};
pub use load::ConfigSource;
#[cfg(feature = "nats")]
pub use nats_login::{NatsLogin, NkeySeed};
pub use origins::{Cors, Hosts};
#[cfg(test)]
pub use pool::StreamSettings;
pub use pool::{
    GroupShape, InFlight, LaunchSettings, PoolSettings, ProgressShape, ReplyShape, StreamEnd,
    WireSettings,
};
pub use problem::{Problems, Secrets, Warning};
pub use python::NotDescribed;
#[cfg(feature = "nats")]
pub use regular::read_regular;
#[cfg(test)]
pub use route::RouteAbout;
pub use route::{
    Argument, CallSettings, FunctionCall, PathPart, RouteAction, RouteSettings, SendShape,
};
pub use secret::Secret;
pub use server::{
    AccessSettings, AdminSettings, CacheSettings, Config, DocsSettings, LimitSettings,
    ListenAddress, LogSettings, PerAddressSettings,
};
pub use shared::SharedCacheSettings;
#[cfg(feature = "redis")]
pub use shared::SharedPlace;
#[cfg(feature = "nats")]
pub use spread::NatsServer;
#[cfg(any(test, feature = "nats"))]
pub use spread::SpreadSettings;
pub use tls::TlsSettings;
pub use user::wanted_privileges;
