//! `/events`: what those who look are told, and when.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::access::Who;
use super::{Admin, EVENTS, JSON, Operator, PageBody, PageResponse, json, problem, reply};
use crate::report::{About, PoolStatus, Status};

/// How long after a second its tick comes, so that the second is surely over.
const AFTER_SECOND: Duration = Duration::from_millis(10);

impl<O: Operator> Admin<O> {
    /// Keeps the readers of `/events` informed, for ever. While there are none it only waits.
    pub async fn inform(&self) {
        loop {
            self.audience.wait_for_one().await;
            while self.audience.len() > 0 {
                tokio::time::sleep_until((self.operator.next_second() + AFTER_SECOND).into()).await;
                self.operator.measure().await;
                self.tick();
            }
        }
    }

    /// Tells the readers of `/events` what the last second was like.
    fn tick(&self) {
        let mut tick = self.status(true);
        let configured = take_configured(&mut tick);
        let known = self.known.replace(configured);
        if known == *self.known.borrow() {
            self.audience.tick(tick);
        } else {
            self.audience.greet(|whole| self.hello(whole));
        }
    }

    /// Returns the document at `/status.json`.
    pub(super) async fn status_page(&self, who: Who) -> PageResponse {
        self.operator.measure().await;
        json(StatusCode::OK, JSON, &self.status(who.is_operator()))
    }

    fn status(&self, whole: bool) -> Status {
        let (viewers, taps) = (self.audience.len(), self.operator.taps());
        Status { viewers, taps, ..self.operator.status(whole) }
    }

    fn hello(&self, whole: bool) -> Status {
        let (viewers, taps) = (self.audience.len(), self.operator.taps());
        Status { viewers, taps, ..self.operator.hello(whole) }
    }

    /// Begins a stream of events.
    pub(super) async fn events(&self, who: Who) -> PageResponse {
        self.operator.measure().await;
        let whole = who.is_operator();
        let hello = self.hello(whole);
        let Some(viewer) = self.audience.enter(&hello, whole) else {
            let detail = "as many look already as may: close a page or a `top` that is not needed";
            return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        };
        if self.audience.len() == 1 {
            let mut known = if whole { hello } else { self.status(true) };
            *self.known.borrow_mut() = take_configured(&mut known);
        }
        let mut reply = reply(StatusCode::OK, EVENTS, Bytes::new());
        *reply.body_mut() = PageBody::Events(viewer);
        reply
    }
}

/// Takes out of a picture what only a reload changes.
fn take_configured(status: &mut Status) -> Vec<(String, Option<About>)> {
    let take = |pool: &mut PoolStatus| (pool.name.clone(), pool.about.take());
    status.pools.iter_mut().map(take).collect()
}
