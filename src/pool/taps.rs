//! Lets those who tap hear what goes through the pipes of the workers of a pool.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Pool;
use super::links::Link;
use crate::base::{CallId, ExitReason, Timing, WorkerId};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::observe::tap::Tap;
use crate::report::{TapEvent, TapKind};
use crate::worker::listener::{StrayReason, WireListener};
use crate::worker::pipes::Pipes;

/// The taps of one pool.
#[derive(Debug, Default)]
pub(super) struct Taps(RefCell<Vec<Rc<Tap>>>);

/// Tells the taps of a pool what goes through the pipes of one of its workers.
#[derive(Debug)]
struct WorkerListener {
    pool: Weak<Pool>,
    worker: WorkerId,
}

impl Pool {
    /// Lets a tap hear the workers of this pool until its reader leaves.
    pub fn attach_tap(self: &Rc<Self>, tap: &Rc<Tap>) {
        self.taps.0.borrow_mut().push(Rc::clone(tap));
        self.listen_to_all();
        let pool = Rc::downgrade(self);
        tap.at_end(move || {
            if let Some(pool) = pool.upgrade() {
                pool.taps.0.borrow_mut().retain(|tap| !tap.is_over());
                pool.listen_to_all();
            }
        });
    }

    /// Lets those who tap hear the pipes of a worker.
    pub(super) fn let_hear(self: &Rc<Self>, link: &Link, pipes: &mut Pipes) {
        pipes.listen(self.listener(link.worker));
    }

    /// Puts the pipes of a worker in place, from now on to be given calls.
    pub(super) fn put_in_place(self: &Rc<Self>, link: &Link, mut pipes: Pipes) {
        self.let_hear(link, &mut pipes);
        *link.pipes.borrow_mut() = Some(pipes);
    }

    fn listen_to_all(self: &Rc<Self>) {
        for link in self.links.all() {
            // A reader leaves between two steps of any worker, so no pipes are in use.
            if let Ok(mut pipes) = link.pipes.try_borrow_mut()
                && let Some(pipes) = pipes.as_mut()
            {
                pipes.listen(self.listener(link.worker));
            }
        }
    }

    fn listener(self: &Rc<Self>, worker: WorkerId) -> Option<Rc<dyn WireListener>> {
        if self.taps.0.borrow().is_empty() {
            return None;
        }
        Some(Rc::new(WorkerListener { pool: Rc::downgrade(self), worker }))
    }

    /// Tells taps that a call has ended.
    pub(super) fn tap_end(&self, route: &RouteMetrics, timing: Timing, outcome: CallOutcome) {
        for tap in &*self.taps.0.borrow() {
            let mut event = self.tap_event(TapKind::End, timing.worker, timing.call, &[], tap);
            event.route = Some(route.label().to_owned().into());
            event.outcome = Some(outcome.label().into());
            event.work = Some(timing.work);
            tap.push(event);
        }
    }

    /// Tells taps that a worker has ended.
    pub(super) fn tap_exit(&self, worker: WorkerId, reason: ExitReason) {
        for tap in &*self.taps.0.borrow() {
            let mut event = self.tap_event(TapKind::Exit, Some(worker), None, &[], tap);
            event.outcome = Some(reason.label().into());
            tap.push(event);
        }
    }

    /// Returns true if anybody taps.
    pub(super) fn is_tapped(&self) -> bool {
        !self.taps.0.borrow().is_empty()
    }

    fn tap_event(
        &self,
        kind: TapKind,
        worker: Option<WorkerId>,
        call: Option<CallId>,
        bytes: &[u8],
        tap: &Tap,
    ) -> TapEvent {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // While the books are in use, the call is known by its name only.
        let route = self
            .state
            .try_borrow()
            .ok()
            .and_then(|state| Some(state.payload(call?)?.route.label().to_owned().into()));
        TapEvent {
            at: now.as_secs_f64(),
            kind,
            pool: self.name().into(),
            worker: worker.map(|worker| worker.0),
            call: call.map(CallId::name),
            route,
            bytes: bytes.len(),
            text: tap.text(bytes),
            outcome: None,
            work: None,
            dropped: 0,
        }
    }
}

impl WorkerListener {
    fn tell(&self, kind: TapKind, bytes: &[u8], call: Option<CallId>) {
        let Some(pool) = self.pool.upgrade() else { return };
        for tap in &*pool.taps.0.borrow() {
            tap.push(pool.tap_event(kind, Some(self.worker), call, bytes, tap));
        }
    }
}

impl WireListener for WorkerListener {
    fn wrote(&self, bytes: &[u8], call: Option<CallId>) {
        self.tell(TapKind::Write, bytes, call);
    }

    fn read(&self, bytes: &[u8]) {
        self.tell(TapKind::Read, bytes, None);
    }

    fn cut(&self, message: &[u8], call: CallId) {
        self.tell(TapKind::Answer, message, Some(call));
    }

    fn stray(&self, message: &[u8], why: StrayReason) {
        let Some(pool) = self.pool.upgrade() else { return };
        for tap in &*pool.taps.0.borrow() {
            let mut event = pool.tap_event(TapKind::Stray, Some(self.worker), None, message, tap);
            event.outcome = Some(why.label().into());
            tap.push(event);
        }
    }
}
