//! What the keeper does besides what it is asked for: it gets over faults of the disk, ends what is over
//! time, and sees to copies.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::copying::Copying;
use super::super::job::JobState;
use super::super::request::{StoreDone, StoreFailed, StoreRequest, StoreWork};
use super::super::schema;
use super::super::store::{JobViewer, Store};
use super::super::upkeep::Expired;
use super::{Keeper, OVER_MOST, RESERVE, is_full};

impl Keeper {
    /// Notes that a group failed. What of it reached the disk is not known.
    pub(super) fn fail(&mut self, group: &[StoreRequest], error: &rusqlite::Error) {
        if !self.board.is_failing() {
            tracing::error!(%error, file = %self.lock.path.display(), "the jobs cannot be written");
        }
        self.board.set_failing(true);
        // Where the disk is full, the group was rolled back; else nobody knows what the disk has.
        let is_known = is_full(error);
        self.note_begun(group);
        for asked in group {
            match &asked.work {
                // Only starts that this group made are undone, and those that were told have begun.
                StoreWork::Claim(_) if asked.tell.is_none() => {}
                StoreWork::Claim(_) if !is_known => self.unclaimed.extend(asked.start),
                StoreWork::Accept(new) if !is_known => self.refused.push(new.id),
                StoreWork::Retry(id) if !is_known => self.retried.push(*id),
                _ => {}
            }
        }
        if !is_known {
            self.stop_copy();
            self.store = None;
        }
        // `look_for_room` finds out when a full disk has room again.
    }

    /// Notes the jobs that run although their start is not in the file: it was told before.
    pub(super) fn note_begun(&mut self, group: &[StoreRequest]) {
        let told = group.iter().filter(|asked| asked.tell.is_none());
        self.begun.extend(told.filter_map(|asked| asked.start));
    }

    /// Opens the file again if it failed. Returns false if it still does.
    pub(super) fn reopen(&mut self) -> bool {
        if self.store.is_some() {
            return true;
        }
        match self.reopened() {
            Ok(store) => {
                self.store = Some(store);
                self.lock.forget_log();
                self.refused.clear();
                self.unclaimed.clear();
                self.begun.clear();
                self.queue_retried();
                self.writes_again();
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the file of the jobs cannot be opened again yet");
                false
            }
        }
    }

    /// Lets those jobs go next that wait again although it was said that they do not.
    fn queue_retried(&mut self) {
        for id in std::mem::take(&mut self.retried) {
            let found = self.store.as_ref().and_then(|it| it.look(id, JobViewer::Operator).ok()?);
            if let Some(job) = found.filter(|job| job.state == JobState::Queued) {
                self.board.queue(&job);
            }
        }
    }

    fn reopened(&mut self) -> Result<Store, Box<dyn std::error::Error>> {
        let mut store = Store::new(schema::open(&self.lock)?)?;
        store.connection().execute_batch("BEGIN IMMEDIATE")?;
        store.undo(&self.refused, &self.unclaimed)?;
        self.begun.iter().try_for_each(|start| store.begin(*start))?;
        store.connection().execute_batch("COMMIT")?;
        Ok(store)
    }

    /// Ends jobs whose time is over, and posts those that go next.
    pub(in super::super) fn look_for_ended(&mut self) {
        if !self.reopen() {
            return;
        }
        if self.board.is_failing() {
            self.look_for_room();
        }
        let now = self.clock.now();
        let Some(store) = self.store.as_mut().filter(|_| !self.rests) else { return };
        store.tally.begin();
        let transaction = store.connection().execute_batch("BEGIN IMMEDIATE");
        let over = transaction.and_then(|()| {
            // Before those are failed that seem to wait.
            self.begun.iter().try_for_each(|start| store.begin(*start))?;
            let over = store.expire(now, OVER_MOST)?;
            store.connection().execute_batch("COMMIT")?;
            Ok(over)
        });
        match over {
            Ok(Expired { failed, unreadable, .. }) => {
                self.begun.clear();
                for job in failed {
                    self.board.unqueue(&job);
                    self.board.tell(job.id, Some(&job));
                }
                let shrunk = store.shrink();
                let is_empty = store.tally.is_empty();
                for (seq, error) in unreadable {
                    self.count_unreadable(seq, &error);
                }
                match shrunk {
                    Ok(is_slim) => self.rests = is_slim && is_empty,
                    Err(error) => self.fail(&[], &error),
                }
            }
            Err(error) => {
                store.tally.roll_back();
                store.connection().execute_batch("ROLLBACK").ok();
                self.fail(&[], &error);
            }
        }
    }

    /// The disk was full. Says so no longer once it has room and something could be written.
    fn look_for_room(&mut self) {
        let has_room = self.has_room();
        let Some(store) = self.store.as_ref().filter(|_| has_room) else { return };
        match schema::write_again(store.connection()) {
            Ok(()) => self.writes_again(),
            Err(error) => self.fail(&[], &error),
        }
    }

    fn writes_again(&self) {
        tracing::info!(file = %self.lock.path.display(), "the jobs can be written again");
        self.board.set_failing(false);
    }

    /// Posts how many jobs there are and which go next.
    pub(super) fn post(&self) {
        let Some(store) = &self.store else { return };
        self.board.post(store.tally.pools());
        for (pool, owner, from, most) in self.board.wanting() {
            match store.waiting((&pool, &owner), from, most) {
                Ok(jobs) => self.board.extend(&pool, &owner, jobs, most),
                Err(error) => tracing::error!(%error, "the next jobs cannot be read"),
            }
        }
    }

    /// Begins to write a copy; `finish_copy` answers.
    pub(super) fn back_up(&mut self, path: &Path, mut group: Vec<StoreRequest>) {
        let started = self.start_copy(path);
        match (started, group.pop().and_then(|asked| asked.tell)) {
            (Ok(copying), Some(tell)) => self.copying = Some((copying, tell)),
            (Ok(copying), None) => copying.stop(),
            (Err(error), Some(tell)) => drop(tell.send(Ok(StoreDone::Copied(Err(error))))),
            (Err(_), None) => {}
        }
    }

    fn start_copy(&mut self, path: &Path) -> io::Result<Copying> {
        if self.copying.is_some() {
            return Err(io::Error::other("another copy is being written"));
        }
        let free = self.free();
        let store = self.store.as_ref().ok_or(io::ErrorKind::ResourceBusy)?;
        let size = store.bytes().map_err(io::Error::other)?;
        if free < RESERVE + size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        store.rest_file().map_err(io::Error::other)?;
        let copying = Copying::start(Arc::clone(&self.lock.file), path.to_owned());
        if copying.is_err() {
            store.use_file().map_err(io::Error::other)?;
        }
        copying
    }

    /// Answers those who asked for a copy, once it is there.
    pub(super) fn finish_copy(&mut self) {
        let Some((copying, tell)) = self.copying.take_if(|(copying, _)| copying.has_ended()) else {
            return;
        };
        if let Some(Err(error)) = self.store.as_ref().map(Store::use_file) {
            self.fail(&[], &error);
        }
        tell.send(Ok(StoreDone::Copied(copying.end()))).ok();
    }

    /// The file is about to change under a copy.
    pub(super) fn stop_copy(&mut self) {
        if let Some((copying, tell)) = self.copying.take() {
            copying.stop();
            tell.send(Err(StoreFailed)).ok();
        }
    }

    /// Looks whether the file is still where it was.
    pub(super) fn look_for_file(&mut self) {
        if self.store.is_none() {
            // Closed, it need not have a log.
            return;
        }
        let is_there = self.lock.is_in_place();
        if is_there == self.board.set_misplaced(!is_there) {
            let file = self.lock.path.display();
            if is_there {
                tracing::info!(%file, "the file of the jobs is in its place again");
            } else {
                tracing::error!(
                    %file, "the file of the jobs, or its log, was removed or replaced while the server \
                    uses it: no job is accepted or begun. Put it back, or write what the server has \
                    with `POST /jobs/backup`, stop the server, put the copy in the place of the file, \
                    and start again"
                );
            }
        }
    }
}
