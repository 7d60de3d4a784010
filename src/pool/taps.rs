//! Lets those who tap hear what goes through the pipes of the workers of a pool.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::Pool;
use super::links::Link;
use crate::base::{CallId, ExitReason, Timing, WorkerId};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::observe::tap::{Piece, Recorder, Tap};
use crate::report::TapKind;
use crate::worker::listener::{FoundBy, StrayReason, WireListener};
use crate::worker::pipes::Pipes;

/// The taps of one pool.
#[derive(Debug, Default)]
pub(super) struct Taps(RefCell<Vec<Rc<Tap>>>);

/// Tells the taps of a pool what goes through the pipes of one of its workers.
#[derive(Debug)]
struct WorkerListener {
    pool: Weak<Pool>,
    worker: WorkerId,
    /// Where what goes through is kept for the record of the worker.
    contents: Option<Rc<Recorder>>,
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
        pipes.listen(self.listener(link));
    }

    /// Puts the pipes of a worker in place, from now on to be given calls.
    pub(super) fn put_in_place(self: &Rc<Self>, link: &Link, mut pipes: Pipes) {
        self.let_hear(link, &mut pipes);
        *link.pipes.borrow_mut() = Some(pipes);
    }

    /// Lets those hear all workers who want to now, and nobody else.
    pub(super) fn listen_to_all(self: &Rc<Self>) {
        for link in self.links.all() {
            // A reader leaves between two steps of any worker, so no pipes are in use.
            if let Ok(mut pipes) = link.pipes.try_borrow_mut()
                && let Some(pipes) = pipes.as_mut()
            {
                pipes.listen(self.listener(&link));
            }
        }
    }

    fn listener(self: &Rc<Self>, link: &Link) -> Option<Rc<dyn WireListener>> {
        link.traces.keep(self.settings.borrow().rules.record);
        let contents = link.traces.contents();
        if contents.is_none() && !self.is_tapped() {
            return None;
        }
        Some(Rc::new(WorkerListener { pool: Rc::downgrade(self), worker: link.worker, contents }))
    }

    /// Tells taps that a call has ended.
    pub(super) fn tap_end(&self, route: &Arc<RouteMetrics>, timing: Timing, outcome: CallOutcome) {
        self.tap(|| Piece {
            call: timing.call,
            route: Some(Arc::clone(route)),
            outcome: Some(outcome.label()),
            work: Some(timing.work),
            ..Piece::new(TapKind::End, self.settings(), timing.worker)
        });
    }

    /// Tells taps that a worker has ended.
    pub(super) fn tap_exit(&self, worker: WorkerId, reason: ExitReason) {
        self.tap(|| Piece {
            outcome: Some(reason.label()),
            ..Piece::new(TapKind::Exit, self.settings(), Some(worker))
        });
    }

    /// Returns true if anybody taps.
    pub(super) fn is_tapped(&self) -> bool {
        !self.taps.0.borrow().is_empty()
    }

    /// Gives each tap a piece.
    fn tap(&self, piece: impl Fn() -> Piece) {
        for tap in &*self.taps.0.borrow() {
            tap.push(piece());
        }
    }

    /// Returns the route of a call, unless the books are in use.
    fn route_of(&self, call: CallId) -> Option<Arc<RouteMetrics>> {
        Some(Arc::clone(&self.state.try_borrow().ok()?.payload(call)?.route))
    }
}

impl WorkerListener {
    fn tell(
        &self,
        kind: TapKind,
        bytes: &[u8],
        call: Option<CallId>,
        outcome: Option<&'static str>,
    ) {
        let Some(pool) = self.pool.upgrade() else { return };
        let route = call.and_then(|call| pool.route_of(call));
        let piece = || Piece {
            call,
            route: route.clone(),
            outcome,
            ..Piece::new(kind, pool.settings(), Some(self.worker)).with(bytes)
        };
        if let Some(contents) = &self.contents {
            contents.push(piece());
        }
        pool.tap(piece);
    }
}

impl WireListener for WorkerListener {
    fn wrote(&self, bytes: &[u8], call: Option<CallId>) {
        self.tell(TapKind::Write, bytes, call, None);
    }

    fn read(&self, bytes: &[u8]) {
        self.tell(TapKind::Read, bytes, None, None);
    }

    fn cut(&self, message: &[u8], call: CallId, by: FoundBy) {
        self.tell(TapKind::Answer, message, Some(call), Some(by.label()));
    }

    fn stray(&self, message: &[u8], why: StrayReason) {
        self.tell(TapKind::Stray, message, None, Some(why.label()));
    }
}
