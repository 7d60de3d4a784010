//! Which tenant has its turn.
//!
//! Pure.
//!
//! Tenants stand on a ring, each at a place, and a hand goes round from one to the next. The tenant
//! that it reaches gets one call to a worker, and moves ahead of the hand by the time that its calls
//! usually take, divided by its weight. When the call leaves its worker, the tenant is moved to where
//! it belongs by the time that the call did take. So all tenants that have calls waiting get the same
//! worker time per weight, whatever their calls cost, and what one of them leaves over is shared by
//! the others. A tenant whose calls begin to wait takes its place at the hand: nothing is saved up
//! while none waits. With a single tenant the hand only follows it, and the ring decides nothing.
//!
//! This is fair queueing by virtual time (Demers, Keshav and Shenker 1989), where the hand is the
//! time and the cost of a call is guessed first and set right later.
//!
//! How far a tenant is ahead of the hand is its debt. A debt is no longer than eight of its quanta, of
//! which each is the mean time of a call: of its own or of the pool, whichever is longer. So one call
//! that hung does not lock its tenant out for all that time. A debt is remembered while the tenant has
//! no call, until the hand has passed it or no call of anybody waits; then the tenant is forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use super::WaitRule;
use super::tenant::{Nanos, TenantBook, TenantSlot, TenantTurn};
use crate::base::{CallId, Tenant, TenantId};

/// What a tenant has paid for a call that a worker got.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Charge {
    pub(in crate::pool) seat: TenantSlot,
    paid: Nanos,
}

/// The tenants of one pool.
#[derive(Debug, Default)]
pub(super) struct Ring {
    books: Slab<TenantBook>,
    seats: BTreeMap<TenantId, TenantSlot>,
    /// The turns of the tenants with calls that wait, and of those that have none but a debt. Empty
    /// while there is one tenant only, which needs nobody to take turns with.
    turns: BTreeSet<TenantTurn>,
    hand: Nanos,
    /// How many turns were ever taken.
    turns_taken: u64,
    /// The tenant that came last. It is not forgotten, so a pool with one tenant never looks it up.
    last: Option<TenantSlot>,
    /// Tenants whose calls have changed since the last look at their waits.
    stirred: Vec<TenantSlot>,
    /// How many queues stand.
    overloaded: usize,
    /// By what was looked last.
    last_rule: Option<WaitRule>,
}

impl Ring {
    pub(super) fn book(&self, seat: TenantSlot) -> &TenantBook {
        &self.books[seat.0]
    }

    fn book_mut(&mut self, seat: TenantSlot) -> &mut TenantBook {
        &mut self.books[seat.0]
    }

    /// How many tenants' queues stand.
    pub(super) fn overloaded(&self) -> usize {
        self.overloaded
    }

    /// The calls that wait, marks included: a list a tenant, oldest first.
    pub(super) fn lists(&self) -> impl Iterator<Item = &VecDeque<CallId>> {
        self.books.iter().map(|(_, book)| &book.order)
    }

    pub(super) fn books(&self) -> impl Iterator<Item = (TenantSlot, &TenantBook)> {
        self.books.iter().map(|(key, book)| (TenantSlot(key), book))
    }

    /// Returns true if this is the tenant that came last.
    pub(super) fn is_last(&self, seat: TenantSlot) -> bool {
        self.last == Some(seat)
    }

    /// Returns true if a tenant has this turn.
    pub(super) fn has(&self, turn: TenantTurn) -> bool {
        self.books.len() == 1 || self.turns.contains(&turn)
    }

    /// Checks that the tenants and their turns fit.
    ///
    /// # Errors
    ///
    /// Returns what does not fit.
    pub(super) fn check(&self) -> Result<(), String> {
        let stand = self.books.iter().filter(|(_, book)| book.turn.is_some()).count();
        let overloaded = self.books.iter().filter(|(_, book)| book.overload.is_on()).count();
        let expected = if self.books.len() > 1 { stand } else { 0 };
        if expected != self.turns.len() || self.seats.len() != self.books.len() {
            return Err(format!("{stand} tenants have a turn: {self:?}"));
        }
        if overloaded != self.overloaded {
            return Err(format!("{overloaded} queues stand: {self:?}"));
        }
        Ok(())
    }

    /// Where a tenant is, or would be if one of its calls began to wait.
    pub(super) fn place_of(&self, book: &TenantBook) -> Nanos {
        if book.turn.is_some() { book.place } else { book.place.max(self.hand) }
    }

    /// Ties a call to its tenant.
    pub(super) fn enter(&mut self, tenant: Tenant) -> TenantSlot {
        let seat = match self.last {
            Some(last) if self.book(last).id == tenant.id => last,
            _ => self.look_up(tenant),
        };
        let book = self.book_mut(seat);
        book.weight = tenant.weight;
        book.ties += 1;
        seat
    }

    fn look_up(&mut self, tenant: Tenant) -> TenantSlot {
        let seat = match self.seats.get(&tenant.id) {
            Some(seat) => *seat,
            None => self.add(tenant),
        };
        if let Some(before) = self.last.replace(seat) {
            self.forget_if_gone(before);
        }
        seat
    }

    fn add(&mut self, tenant: Tenant) -> TenantSlot {
        if let Some(alone) = self.alone() {
            self.turns.extend(self.book(alone).turn);
        }
        let seat = TenantSlot(self.books.insert(TenantBook::new(tenant, self.hand)));
        self.seats.insert(tenant.id, seat);
        if let Some(before) = self.last {
            self.stir(before);
        }
        seat
    }

    /// The tenant, if there is no other one.
    fn alone(&self) -> Option<TenantSlot> {
        self.last.filter(|_| self.books.len() == 1)
    }

    /// A call leaves the books, or a worker: its tie is undone.
    pub(super) fn untie(&mut self, seat: TenantSlot) {
        let hand = self.hand;
        let book = self.book_mut(seat);
        book.ties -= 1;
        if book.ties > 0 || book.turn.is_some() {
            return;
        }
        let owes = book.place > hand;
        if owes && !self.turns.is_empty() {
            // Others wait, so it must not come back without its debt.
            self.stand(seat);
        } else {
            self.forget_if_gone(seat);
        }
    }

    fn forget_if_gone(&mut self, seat: TenantSlot) {
        if self.last == Some(seat) {
            return;
        }
        let book = self.book(seat);
        if book.ties == 0 && book.turn.is_none() {
            let (id, was_overloaded) = (book.id, book.overload.is_on());
            self.overloaded -= usize::from(was_overloaded);
            self.seats.remove(&id);
            self.books.remove(seat.0);
            self.stirred.retain(|other| *other != seat);
            self.note_alone();
        }
    }

    /// One tenant that is left has nobody to take turns with, and owes nobody.
    fn note_alone(&mut self) {
        let Some(seat) = self.alone() else { return };
        self.turns.clear();
        let book = self.book_mut(seat);
        book.turn = book.turn.filter(|_| book.waiting > 0);
    }

    /// A call of a tenant begins to wait.
    pub(super) fn join(&mut self, seat: TenantSlot, id: CallId, bytes: usize) {
        let hand = self.hand;
        let book = self.book_mut(seat);
        book.order.push_back(id);
        book.waiting += 1;
        book.bytes += bytes as u64;
        if book.turn.is_none() {
            book.place = book.place.max(hand);
            self.stand(seat);
        }
        self.stir(seat);
    }

    /// A call of this tenant goes to a worker at once, as if it had joined and had been next. Returns
    /// false, and changes nothing, if there is another tenant, or calls of this one wait.
    pub(super) fn passes(&mut self, seat: TenantSlot) -> bool {
        if self.alone() != Some(seat) {
            return false;
        }
        let book = &mut self.books[seat.0];
        if book.waiting > 0 || book.overload.newest_first() {
            return false;
        }
        self.hand = self.hand.max(book.place);
        book.place = self.hand;
        true
    }

    /// A call of a tenant no longer waits.
    pub(super) fn left(&mut self, seat: TenantSlot, bytes: usize, waits: impl Fn(CallId) -> bool) {
        let book = self.book_mut(seat);
        book.left(bytes, waits);
        let turn = if book.waiting == 0 { book.turn.take() } else { None };
        if let Some(turn) = turn.filter(|_| self.books.len() > 1) {
            self.turns.remove(&turn);
        }
        self.stir(seat);
    }

    /// Moves a call that waits to another tenant if its turn comes sooner there. Returns true if so.
    pub(super) fn move_over(
        &mut self,
        (id, bytes): (CallId, usize),
        [from, to]: [TenantSlot; 2],
        usual: Nanos,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> bool {
        let order = &self.book(from).order;
        let Some(position) = order.iter().position(|other| *other == id) else { return false };
        let (before, behind) = (position, order.len() - 1 - position);
        let now = self.turn_after(from, [before, behind], usual);
        if now <= self.turn_after(to, [self.book(to).waiting, 0], usual) {
            return false;
        }
        self.look_before(from, &since);
        self.book_mut(from).order.remove(position);
        self.left(from, bytes, |id| since(id).is_some());
        self.join(to, id, bytes);
        true
    }

    /// The place at which the turn of a call comes before which its tenant has so many others:
    /// `[older, newer]`.
    fn turn_after(&self, seat: TenantSlot, others: [usize; 2], usual: Nanos) -> (Nanos, usize) {
        let book = self.book(seat);
        let before = others[usize::from(book.overload.newest_first())];
        let way = book.way(book.cost(usual).saturating_mul(before as u64));
        (self.place_of(book).saturating_add(way), before)
    }

    fn stand(&mut self, seat: TenantSlot) {
        self.turns_taken += 1;
        let number = self.turns_taken;
        let book = self.book_mut(seat);
        let turn = TenantTurn { place: book.place, number, seat };
        book.turn = Some(turn);
        if self.books.len() > 1 {
            self.turns.insert(turn);
        }
    }

    /// The next call of the tenant that the hand reaches. `since` returns when a call began to wait,
    /// and `None` for marks.
    pub(super) fn next(
        &mut self,
        rule: WaitRule,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<CallId> {
        self.last_rule = Some(rule);
        if let Some(seat) = self.alone() {
            return self.look(seat, rule, since);
        }
        while let Some(seat) = self.stirred.pop() {
            self.book_mut(seat).is_stirred = false;
            self.look(seat, rule, &since);
        }
        let seat = self.first()?;
        self.look(seat, rule, since)
    }

    /// The tenant that the hand reaches next. Debts before that are paid.
    fn first(&mut self) -> Option<TenantSlot> {
        while let Some(turn) = self.turns.first().copied() {
            let book = self.book_mut(turn.seat);
            if book.waiting > 0 {
                return Some(turn.seat);
            }
            book.turn = None;
            self.turns.remove(&turn);
            self.forget_if_gone(turn.seat);
        }
        // All others may have been forgotten just now.
        self.alone().filter(|seat| self.book(*seat).waiting > 0)
    }

    /// Looks whether the queue of a tenant stands. Returns the call of its turn: the oldest or, while
    /// the queue stands, the newest.
    fn look(
        &mut self,
        seat: TenantSlot,
        rule: WaitRule,
        since: impl Fn(CallId) -> Option<Instant>,
    ) -> Option<CallId> {
        let book = &mut self.books[seat.0];
        let was_on = book.overload.is_on();
        let oldest = book.oldest(&since);
        // While the program loads, nobody can know how long calls would wait.
        let waits_since = oldest.zip(rule.first_ready).map(|((_, since), ready)| since.max(ready));
        book.overload.look(rule.at, waits_since, rule.wait, rule.grows);
        let is_on = book.overload.is_on();
        self.overloaded = self.overloaded + usize::from(is_on) - usize::from(was_on);
        if book.overload.newest_first() {
            book.newest(|id| since(id).is_some())
        } else {
            oldest.map(|(id, _)| id)
        }
    }

    /// Looks at every queue once more as it was at the last look, by the rule that held then, and lets
    /// the next look be at all of them.
    pub(super) fn change_rule(&mut self, since: impl Fn(CallId) -> Option<Instant>) {
        let seats: Vec<_> = self.books().map(|(seat, _)| seat).collect();
        for seat in seats {
            self.look_before(seat, &since);
            self.stir(seat);
        }
    }

    /// A call of this tenant is about to leave. Tenants whose turn is far are looked at only when their
    /// calls change; this look finds what one at the time of the last would have found.
    pub(super) fn look_before(
        &mut self,
        seat: TenantSlot,
        since: impl Fn(CallId) -> Option<Instant>,
    ) {
        if let Some(rule) = self.last_rule.filter(|_| self.books.len() > 1) {
            self.look(seat, rule, since);
        }
    }

    fn stir(&mut self, seat: TenantSlot) {
        // A single tenant is looked at in any case. It is stirred when another one comes.
        if self.books.len() > 1 && !std::mem::replace(&mut self.book_mut(seat).is_stirred, true) {
            self.stirred.push(seat);
        }
    }

    /// A worker gets the call of this tenant that [`Ring::next`] returned: the hand is there.
    pub(super) fn taken(&mut self, seat: TenantSlot, id: CallId) {
        let book = self.book_mut(seat);
        book.taken(id);
        let place = book.place;
        self.hand = self.hand.max(place);
    }

    /// A tenant pays for a call that a worker gets.
    pub(super) fn charge(&mut self, seat: TenantSlot, usual: Nanos) -> Charge {
        self.turns_taken += 1;
        let number = self.turns_taken;
        let (hand, book) = (self.hand, &mut self.books[seat.0]);
        let turn = book.turn;
        book.ties += 1;
        let paid = book.cost(usual);
        book.go(hand, usual, book.place.saturating_add(book.way(paid)));
        // Among tenants at one place it is the last.
        if let Some(turn) = &mut book.turn {
            turn.number = number;
        }
        self.retake_turn(turn, seat);
        Charge { seat, paid }
    }

    /// A call left its worker: its tenant has paid too much or too little.
    pub(super) fn settle(&mut self, charge: Charge, took: Option<Duration>, usual: Nanos) {
        let Charge { seat, paid } = charge;
        let (hand, book) = (self.hand, &mut self.books[seat.0]);
        let turn = book.turn;
        let took = took.map(nanos);
        if let Some(took) = took {
            book.learn(took);
        }
        let took = took.unwrap_or_default();
        let more = book.way(took.saturating_sub(paid));
        let less = book.way(paid.saturating_sub(took));
        book.go(hand, usual, book.place.saturating_add(more).saturating_sub(less));
        self.retake_turn(turn, seat);
        self.untie(seat);
    }

    /// A tenant has moved: its turn `before` is now another one.
    fn retake_turn(&mut self, before: Option<TenantTurn>, seat: TenantSlot) {
        if let Some(before) = before.filter(|_| self.books.len() > 1) {
            let after = self.book(seat).turn;
            self.turns.remove(&before);
            self.turns.extend(after);
        }
    }
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
