//! Reads the items of a batch as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Body;

use super::super::body;
use crate::base::Failure;
use crate::sync::memory::{Exhausted, Memory, Reservation};
use crate::wire::{BatchForm, CutItem, ItemCutter};

/// One item, or why it is none.
pub(super) type BatchItem = Result<Bytes, Failure>;

/// The items of a body.
pub(super) struct BatchInput<B> {
    /// `None` once it has ended, or where it was read before.
    body: Option<B>,
    cutter: ItemCutter,
    /// Most bytes of an item.
    most: usize,
    /// For how long nothing may come.
    patience: Duration,
    /// Since when it waits for the next piece; `None` while it is not asked to.
    since: Option<Instant>,
    /// An item that waits for memory.
    waiting: Option<CutItem>,
    /// Counts the item that is being read; `None`: the whole body was read and counted before.
    counted: Option<Reservation>,
    is_over: bool,
}

impl<B: Body<Data = Bytes> + Unpin> BatchInput<B> {
    /// The items of a body whose first bytes have come already, with the rest of it; `None`: that is
    /// all of it. What is read is counted in `memory`.
    pub(super) fn new(
        form: BatchForm,
        (first, body): (Bytes, Option<B>),
        most: usize,
        patience: Duration,
        memory: &Arc<Memory>,
    ) -> Self {
        let mut cutter = ItemCutter::new(form, most);
        cutter.push(first);
        let counted = body.is_some().then(|| memory.reservation());
        let (since, waiting, is_over) = (None, None, false);
        Self { body, cutter, most, patience, since, waiting, counted, is_over }
    }

    /// It is not asked for a while: the time does not count.
    pub(super) fn rests(&mut self) {
        self.since = None;
    }

    /// Returns the next item; `None` after the last. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// Why nothing more can be read. After `busy` it can be asked again.
    pub(super) async fn next(&mut self) -> Result<Option<BatchItem>, Failure> {
        loop {
            if let Some(cut) = self.waiting.take().or_else(|| self.cutter.cut()) {
                return self.item(cut).map(Some);
            }
            self.count(self.cutter.begun())?;
            if self.is_over {
                return Ok(None);
            }
            if let Some(piece) = self.piece().await? {
                self.cutter.push(piece);
                continue;
            }
            self.is_over = true;
            let last = self.cutter.end();
            return last.map(|cut| self.item(cut)).transpose();
        }
    }

    /// Makes room for this many bytes of one item.
    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        let Some(counted) = &mut self.counted else { return Ok(()) };
        counted.resize(bytes).map_err(|Exhausted| Failure::Busy)
    }

    fn item(&mut self, cut: CutItem) -> Result<BatchItem, Failure> {
        match cut {
            CutItem::Item(item) => {
                if let Err(busy) = self.count(item.len()) {
                    self.waiting = Some(CutItem::Item(item));
                    return Err(busy);
                }
                Ok(Ok(match &mut self.counted {
                    Some(counted) => counted.split().keep(item),
                    None => item,
                }))
            }
            CutItem::TooLong => Ok(Err(Failure::BodyTooLarge { limit: self.most as u64 })),
            CutItem::Broken(why) => Err(Failure::BadRequest { detail: why.into() }),
        }
    }

    /// Returns the next piece of the body; `None` after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let since = *self.since.get_or_insert_with(Instant::now);
        let mut body_now = Pin::new(body);
        let piece = body::piece(&mut body_now);
        let Ok(piece) = tokio::time::timeout_at((since + self.patience).into(), piece).await else {
            return Err(Failure::RequestTimeout);
        };
        self.since = None;
        let piece = piece?;
        if piece.is_none() {
            self.body = None;
        }
        Ok(piece)
    }
}
