//! `/events`: what those who look are told, and when.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

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
        let mut tick = self.status();
        let configured = take_configured(&mut tick);
        let known = self.known.replace(configured);
        if known == *self.known.borrow() {
            self.audience.tick(&tick);
        } else {
            self.audience.greet(&self.hello());
        }
    }

    /// Returns the document at `/status.json`.
    pub(super) async fn status_page(&self) -> PageResponse {
        self.operator.measure().await;
        json(StatusCode::OK, JSON, &self.status())
    }

    fn status(&self) -> Status {
        let (viewers, taps) = (self.audience.len(), self.operator.taps());
        Status { viewers, taps, ..self.operator.status() }
    }

    fn hello(&self) -> Status {
        let (viewers, taps) = (self.audience.len(), self.operator.taps());
        Status { viewers, taps, ..self.operator.hello() }
    }

    /// Begins a stream of events.
    pub(super) async fn events(&self) -> PageResponse {
        self.operator.measure().await;
        let hello = self.hello();
        let Some(viewer) = self.audience.enter(&hello) else {
            let detail = "as many look already as may: close a page or a `top` that is not needed";
            return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        };
        if self.audience.len() == 1 {
            *self.known.borrow_mut() = take_configured(&mut { hello });
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
