//! httpipe serves any program that reads questions on stdin and writes answers on stdout as an
//! HTTP service.
//!
//! This is the library behind the program, not one for others: everything but [`main`] and
//! [`own_process`] is private, so that the compiler sees what nothing uses.
//!
//! Modules in reading order: what things are called, what was asked for, how bytes become
//! messages, what one process is, how a pool decides, and the two listeners on top.

// What other rooms can see is documented, not every helper: `clippy.toml` says so.
#![warn(clippy::missing_docs_in_private_items)]

mod admin;
mod agent;
mod base;
mod cache;
mod call;
mod cli;
mod config;
mod doctor;
mod front;
mod gate;
mod jobs;
mod map;
mod net;
mod observe;
mod openapi;
mod policy;
mod pool;
mod python;
mod report;
mod server;
mod spread;
mod sync;
mod systemd;
mod watch;
mod wire;
mod worker;

pub use cli::main;
pub use worker::own_process;

/// What the simulation, the benchmarks, the fuzz targets and the tests of processes need, each
/// where it is inside. Nothing else may use it, and it may change at any time.
#[doc(hidden)]
pub mod testing {
    pub mod base {
        pub use crate::base::{
            ByteRegex, ByteSize, CallId, Conduct, Failure, NodeId, Question, Reply, ReplyForm,
            RunId, Tenant, TenantId, WorkerId,
        };
        pub mod pattern {
            pub use crate::base::pattern::Pattern;
        }
    }
    pub mod cache {
        pub use crate::cache::{Cache, Key, Scope, Stored};
        pub mod shared {
            pub use crate::cache::shared::{read, write};
        }
    }
    pub mod config {
        pub use crate::config::{
            CacheSettings, Config, ConfigSource, Fence, Framing, GroupShape, InFlight, KeyList,
            LaunchSettings, Matching, PoolSettings, ProgressShape, ReplyShape, RouteAction,
            Sandbox, StreamEnd, Trust,
        };
    }
    pub mod front {
        pub mod parameters {
            pub use crate::front::parameters::{Body, Sources};
        }
        pub mod question {
            pub use crate::front::question::{Material, ask, uses_body};
        }
        pub mod sender {
            pub use crate::front::sender::KeyField;
        }
        pub mod routes {
            pub use crate::front::routes::{Found, RouteTable};
        }
    }
    pub mod gate {
        pub use crate::gate::ShownKey;
        pub use crate::gate::forwarded::caller;
        pub use crate::gate::key::hash_of;
    }
    pub mod net {
        pub use crate::net::proxy::{ProxyStart, START};
    }
    pub mod observe {
        pub mod metrics {
            pub mod names {
                pub use crate::observe::metrics::names::{ALL, Metric, MetricKind};
            }
        }
    }
    pub mod policy {
        pub use crate::policy::Fingerprint;
    }
    pub mod pool {
        pub mod actions {
            pub use crate::pool::actions::{Action, Ended, Loss, NewCall, StopReason};
        }
        pub mod away {
            pub use crate::pool::away::{AwayLoss, GRACE, Granted, Hunger};
        }
        pub mod groups {
            pub use crate::pool::grouping::{GroupRules, HalfId};
        }
        pub mod rules {
            pub use crate::pool::rules::Rules;
        }
        pub mod state {
            pub use crate::pool::state::State;
        }
        pub mod sight {
            pub use crate::pool::sight::Sight;
        }
    }
    pub mod spread {
        pub use crate::spread::few::Few;
        pub use crate::spread::host::{EndSize, GuestEnd, GuestId, HostDesk, HostStep, Seating};
        pub use crate::spread::message;
        pub use crate::spread::nats;
        pub use crate::spread::node::Seal;
        pub use crate::spread::owner::{OwnerDesk, OwnerStep};
        pub use crate::spread::said::{PartOfAnswer, SentBefore, ToHost, ToOwner};
        pub use crate::spread::subject::Subjects;
        pub use crate::spread::transfer::{self, Sizes};
        pub use crate::spread::{hosts, told};
    }
    pub mod wire {
        pub use crate::wire::{
            BatchForm, Broken, Correlator, CutItem, Decoder, Encoder, ItemCutter, Judge, Received,
            Share, Verdict, group,
        };
    }
    pub mod worker {
        pub use crate::worker::{kill, reaper};
        pub mod fence {
            pub use crate::worker::fence::spec::{Spec, read, words};
        }
        pub mod fork_server {
            pub use crate::worker::fork_server::{ForkServer, NotForked, Started};
        }
        pub mod guard {
            pub use crate::worker::guard::Guard;
        }
        pub mod look {
            pub use crate::worker::look::{Look, Watcher};
        }
        pub mod process {
            pub use crate::worker::process::{Exit, Process};
        }
        pub mod spawn {
            pub use crate::worker::spawn::{Streams, spawn};
        }
        pub mod stderr {
            pub use crate::worker::stderr::{LastWords, pump};
        }
        pub mod turn {
            pub use crate::worker::turn::{NextLook, Over, Start, Turn, TurnShape};
        }
    }
}
