//! Who makes room in a full line.
//!
//! Pure.
//!
//! A newcomer whose tenant has fewer calls waiting, per weight, than the tenant with the most pushes
//! out that tenant's newest calls. So a flood by one tenant fills the line with its own calls only as
//! long as nobody else wants the room. The same holds for the bytes that wait.

use std::cmp::Ordering;

use super::tenant::TenantBook;
use super::{Line, TenantSlot};
use crate::base::CallId;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Room {
    /// Calls.
    pub(in crate::pool) calls: usize,
    /// Bytes of their questions.
    pub(in crate::pool) bytes: u64,
}

impl Line {
    /// Returns the calls that must leave to let a call of this size in, the newest first; `None` if
    /// the newcomer is refused. `bytes_of` returns the size of a call that waits, and `None` for
    /// marks.
    pub(in crate::pool) fn make_room(
        &self,
        seat: TenantSlot,
        bytes: usize,
        room: Room,
        bytes_of: impl Fn(CallId) -> Option<usize>,
    ) -> Option<Vec<CallId>> {
        let too_many = (self.waiting + 1).saturating_sub(room.calls);
        let too_long = (self.bytes + bytes as u64).saturating_sub(room.bytes);
        let size = |book: &TenantBook| if too_many > 0 { book.waiting as u64 } else { book.bytes };
        let added = if too_many > 0 { 1 } else { bytes as u64 };
        let newcomer = self.ring.book(seat);
        let others = self.ring.books().filter(|(other, _)| *other != seat).map(|(_, book)| book);
        let longest = others.max_by(|one, other| {
            let later = one.place.cmp(&other.place);
            compare(size(one), one, size(other), other).then(later)
        })?;
        let mine = size(newcomer) + added;
        let mut leaving = Vec::new();
        let (mut calls, mut freed) = (0, 0);
        for id in longest.order.iter().rev() {
            if calls >= too_many && freed >= too_long {
                break;
            }
            let Some(bytes) = bytes_of(*id) else { continue };
            leaving.push(*id);
            calls += 1;
            freed += bytes as u64;
        }
        let left = size(longest) - if too_many > 0 { calls as u64 } else { freed };
        let stays_longest = compare(left, longest, mine, newcomer) != Ordering::Less;
        // One for one, the tenant that has had more of the workers' time gives way.
        let is_sooner = self.ring.place_of(newcomer) < longest.place;
        let was_longest = compare(size(longest), longest, mine, newcomer) != Ordering::Less;
        let may = stays_longest || (calls == 1 && is_sooner && was_longest);
        (may && calls >= too_many && freed >= too_long).then_some(leaving)
    }
}

/// Compares what two tenants have, per weight.
fn compare(one: u64, a: &TenantBook, other: u64, b: &TenantBook) -> Ordering {
    let (a, b) = (u64::from(a.weight.get()), u64::from(b.weight.get()));
    one.saturating_mul(b).cmp(&other.saturating_mul(a))
}
