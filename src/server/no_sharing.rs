//! What stands for other servers in a build without the feature `nats`: there are none.

use std::rc::Rc;

use crate::config::Config;
use crate::pool::{Pool, Services};
use crate::report::spread::SpreadStatus;

/// Other servers that no build without NATS has.
#[derive(Clone, Debug)]
pub(super) enum Sharing {}

impl Sharing {
    /// Shares nothing.
    pub(super) fn start(
        _config: &Config,
        _has_callers: bool,
        _services: &Services,
    ) -> Option<Self> {
        None
    }

    /// Is never called, as all below.
    pub(super) fn join(&self, _pool: &Rc<Pool>) {
        match *self {}
    }

    pub(super) fn leave(&self, _: &Rc<Pool>) {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "its twin waits")]
    pub(super) async fn has_left(&self, _: &Pool) {
        match *self {}
    }

    pub(super) fn drain(&self) {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "its twin waits")]
    pub(super) async fn becomes_empty(&self) {
        match *self {}
    }

    pub(super) fn refresh_gauges(&self) {
        match *self {}
    }

    pub(super) fn status(&self) -> SpreadStatus {
        match *self {}
    }
}
