//! A check that the line fits the calls and the workers.
//!
//! Pure.

use std::collections::HashMap;

use super::super::calls::CallBook;
use super::tenant::TenantBook;
use super::{Charge, Line, TenantSlot};

impl Line {
    /// Checks that every tenant has the calls and the turn that it should have.
    ///
    /// # Errors
    ///
    /// Returns what does not fit.
    pub(in crate::pool) fn check<'a, P: 'a>(
        &self,
        calls: impl Iterator<Item = &'a CallBook<P>>,
        paid: impl Iterator<Item = &'a Charge>,
    ) -> Result<(), String> {
        let mut fresh: HashMap<TenantSlot, (usize, u64)> = HashMap::new();
        let mut ties: HashMap<TenantSlot, usize> = HashMap::new();
        for call in calls {
            let Some(seat) = call.seat else { continue };
            *ties.entry(seat).or_default() += 1;
            if call.waits_until.is_some() && call.given.is_none() {
                let (calls, bytes) = fresh.entry(seat).or_default();
                *calls += 1;
                *bytes += call.bytes as u64;
            }
        }
        paid.for_each(|charge| *ties.entry(charge.seat).or_default() += 1);
        for (seat, book) in self.ring.books() {
            let expected = fresh.remove(&seat).unwrap_or_default();
            let found = (book.waiting, book.bytes);
            if expected != found {
                return Err(format!("{found:?} wait, the books say {expected:?}: {book:?}"));
            }
            let expected = ties.remove(&seat).unwrap_or_default();
            if expected != book.ties {
                return Err(format!("{expected} calls of a tenant are there: {book:?}"));
            }
            self.check_turn(seat, book)?;
        }
        match (fresh.len(), ties.len()) {
            (0, 0) => self.ring.check(),
            _ => Err(format!("calls of no tenant: {fresh:?} {ties:?}")),
        }
    }

    fn check_turn(&self, seat: TenantSlot, book: &TenantBook) -> Result<(), String> {
        let stands = book.turn.is_some();
        if book.waiting > 0 && !stands {
            return Err(format!("a tenant with calls does not stand in the ring: {book:?}"));
        }
        if book.ties == 0 && !stands && !self.ring.is_last(seat) {
            return Err(format!("a tenant without calls and debts is not forgotten: {book:?}"));
        }
        let is_right = |turn| self.ring.has(turn) && turn.place == book.place && turn.seat == seat;
        if book.turn.is_some_and(|turn| !is_right(turn)) {
            return Err(format!("a tenant stands in the wrong place: {book:?}"));
        }
        Ok(())
    }
}
