//! The words everything else is written in: calls, replies, failures, names and units.
//!
//! Imports only `sync`; knows neither HTTP nor processes nor the clock.

pub mod call;
pub mod caller;
pub mod code;
pub mod conduct;
pub mod example;
pub mod failure;
pub mod ids;
pub mod json;
pub mod parameter;
pub mod pattern;
pub mod places;
pub mod progress;
pub mod regexes;
pub mod reply_header;
pub mod template;
pub mod units;
pub mod worker;

pub use call::{
    AwayTime, Call, Cancels, Class, Errand, Outcome, OwnName, PartForm, PartGate, PartSender,
    Parts, Question, Reply, ReplyForm, Speaker, Timing, Word, answer_in_parts,
};
pub use caller::{Neighbourhood, NoRate, Rate, Tenant, TenantId};
pub use code::Code;
pub use conduct::Conduct;
pub use failure::Failure;
pub use ids::{BatchId, CallId, HostTag, NodeId, PlaceId, RouteId, RunId, WorkerCount, WorkerId};
pub use progress::Progress;
pub use regexes::{ByteRegex, WholeRegex};
pub use units::ByteSize;
pub use worker::{ExitReason, WorkerCounts};
