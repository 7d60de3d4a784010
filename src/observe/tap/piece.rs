//! One piece of what goes through the pipes of a worker, as a tap keeps it.
//!
//! It is made for each read and write, so it is cheap to make. What an operator sees is written when
//! it is read.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::mask::{masked, shown};
use crate::base::{CallId, WorkerId};
use crate::config::PoolSettings;
use crate::observe::metrics::RouteMetrics;
use crate::report::{TapEvent, TapKind};

/// Most bytes of one piece that are kept.
pub const PIECE_MOST: usize = 4 << 10;

/// One piece of what goes through the pipes of a worker.
#[derive(Clone, Debug)]
pub struct Piece {
    /// When.
    pub at: SystemTime,
    /// What happened.
    pub kind: TapKind,
    /// The settings of its pool, which have its name.
    pub pool: Arc<PoolSettings>,
    /// The worker, if the call had one.
    pub worker: Option<WorkerId>,
    /// The call, where it is known.
    pub call: Option<CallId>,
    /// Its route, where it is known.
    pub route: Option<Arc<RouteMetrics>>,
    /// How many bytes there were.
    pub count: usize,
    /// The first of them.
    pub bytes: Box<[u8]>,
    /// How it ended, how its call was found, or why it answers no call.
    pub outcome: Option<&'static str>,
    /// How long the call was in its worker.
    pub work: Option<Duration>,
}

impl Piece {
    /// Creates a piece with no bytes, which happens now.
    pub fn new(kind: TapKind, pool: Arc<PoolSettings>, worker: Option<WorkerId>) -> Self {
        Self {
            at: SystemTime::now(),
            kind,
            pool,
            worker,
            call: None,
            route: None,
            count: 0,
            bytes: Box::default(),
            outcome: None,
            work: None,
        }
    }

    /// Adds what was said.
    pub fn with(self, bytes: &[u8]) -> Self {
        let kept = &bytes[..bytes.len().min(PIECE_MOST)];
        Self { count: bytes.len(), bytes: kept.into(), ..self }
    }

    /// Returns how much memory it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// Writes it for a reader. `contents`: who may see contents.
    pub(super) fn event(&self, contents: bool, dropped: u64) -> TapEvent {
        let since_epoch = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        TapEvent {
            at: since_epoch.as_secs_f64(),
            kind: self.kind,
            pool: self.pool.name.clone().into(),
            worker: self.worker.map(|worker| worker.0),
            call: self.call.map(CallId::name),
            route: self.route.as_ref().map(|route| route.label().to_owned().into()),
            bytes: self.count,
            text: if contents { shown(&self.bytes) } else { masked(&self.bytes) },
            outcome: self.outcome.map(Into::into),
            work: self.work,
            dropped,
        }
    }
}
