//! One limit for the memory of all connections together.
//!
//! Each connection has its own limits, but all of them together allow more memory than a machine
//! has. Small pieces are not counted: counting them would cost more than they take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// The largest piece that is not counted.
pub const SMALL: usize = 16 << 10;

/// A number of bytes that connections share.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: AtomicU64,
    /// The memory of which this is a share.
    whole: Option<Arc<Self>>,
}

/// A part of the memory, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

/// The memory has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// Bytes with their reservation, which is given back when the last slice of them is dropped.
#[derive(Debug)]
struct Charged {
    bytes: Bytes,
    _reservation: Reservation,
}

/// The same bytes for each of several readers.
struct ChargedOnce(Arc<Charged>);

/// Counts bytes once, however many read them at the same time.
#[derive(Debug, Default)]
pub struct Lent(Mutex<Weak<Charged>>);

impl Memory {
    /// A memory of this many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), whole: None })
    }

    /// Makes a share of a quarter for one of those who use this memory. Shares overlap: all of them
    /// together have no more than the whole. A single piece may be as large as the whole, or else
    /// it would never have room.
    pub fn quarter(self: &Arc<Self>) -> Arc<Self> {
        let whole = Some(Arc::clone(self));
        Arc::new(Self { limit: self.limit / 4, used: AtomicU64::new(0), whole })
    }

    /// Returns how many bytes are in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Begins a reservation of no bytes.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { memory: Arc::clone(self), bytes: 0 }
    }

    /// Counts these bytes for as long as they exist.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]; the bytes are dropped.
    pub fn hold(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, Exhausted> {
        if bytes.len() <= SMALL {
            return Ok(bytes);
        }
        let mut reservation = self.reservation();
        reservation.grow_to(bytes.len())?;
        Ok(reservation.keep(bytes))
    }

    /// Returns these bytes for one more reader. They are counted from the first reader to the last;
    /// `lent` knows whether there is one, and is always asked about the same bytes.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]
    pub fn lend(self: &Arc<Self>, lent: &Lent, bytes: &Bytes) -> Result<Bytes, Exhausted> {
        if bytes.len() <= SMALL {
            return Ok(bytes.clone());
        }
        let mut lent = lent.0.lock().unwrap_or_else(PoisonError::into_inner);
        let charged = if let Some(charged) = lent.upgrade() {
            charged
        } else {
            let mut reservation = self.reservation();
            reservation.grow_to(bytes.len())?;
            let new = Arc::new(Charged { bytes: bytes.clone(), _reservation: reservation });
            *lent = Arc::downgrade(&new);
            new
        };
        Ok(Bytes::from_owner(ChargedOnce(charged)))
    }

    /// Takes `more` bytes for a reservation that has `own`.
    fn take(&self, more: u64, own: u64) -> Result<(), Exhausted> {
        let is_share = self.whole.is_some();
        let fits = |used: u64| {
            let sum = used.checked_add(more)?;
            (sum <= self.limit || is_share && used == own).then_some(sum)
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| Exhausted)?;
        let Some(whole) = &self.whole else { return Ok(()) };
        whole.take(more, own).inspect_err(|Exhausted| {
            self.used.fetch_sub(more, Ordering::Relaxed);
        })
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }
}

impl Reservation {
    /// Makes the reservation this large, if it is smaller.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]; the reservation is as large as before.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = if bytes <= SMALL { 0 } else { bytes as u64 };
        let Some(more) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        self.memory.take(more, self.bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Makes the reservation as large as this.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]; the reservation is as large as before.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = if bytes <= SMALL { 0 } else { bytes as u64 };
        if wanted < self.bytes {
            self.memory.give_back(self.bytes - wanted);
            self.bytes = wanted;
        }
        if wanted == self.bytes { Ok(()) } else { self.grow_to(bytes) }
    }

    /// Takes the reservation out, and begins another one of no bytes in the same memory.
    pub fn split(&mut self) -> Self {
        let next = self.memory.reservation();
        std::mem::replace(self, next)
    }

    /// Keeps the reservation for as long as these bytes exist.
    pub fn keep(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(Charged { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for ChargedOnce {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_read_is_counted_once_from_the_first_to_the_last() {
        let memory = Memory::new(100 << 10);
        let (bytes, lent) = (Bytes::from(vec![1; 60 << 10]), Lent::default());
        let first = memory.lend(&lent, &bytes).expect("there is room");
        let second = memory.lend(&lent, &bytes).expect("it takes no more room");
        assert_eq!((memory.used(), &first), (60 << 10, &second));
        assert_eq!(memory.lend(&Lent::default(), &bytes), Err(Exhausted));
        drop(first);
        assert_eq!(memory.used(), 60 << 10, "one still reads");
        drop(second);
        assert_eq!(memory.used(), 0);
        assert_eq!(memory.lend(&lent, &bytes).expect("there is room again"), bytes);
    }

    #[test]
    fn the_sum_has_a_limit_and_what_is_dropped_is_free_again() {
        let memory = Memory::new(100 << 10);
        let first = memory.hold(vec![1; 60 << 10].into()).expect("there is room");
        assert_eq!(memory.hold(vec![2; 60 << 10].into()), Err(Exhausted));
        assert_eq!(memory.used(), 60 << 10);
        let slice = first.slice(5..6);
        drop(first);
        assert_eq!((memory.used(), &slice[..]), (60 << 10, &[1][..]), "a slice holds it all");
        drop(slice);
        assert_eq!(memory.used(), 0);
        assert!(memory.hold(vec![3; 100 << 10].into()).is_ok());
    }

    #[test]
    fn a_share_grows_or_stays_as_it_is() {
        let memory = Memory::new(100 << 10);
        let mut reservation = memory.reservation();
        assert_eq!(reservation.grow_to(SMALL), Ok(()));
        assert_eq!(memory.used(), 0, "small pieces are not counted");
        assert_eq!(reservation.grow_to(90 << 10), Ok(()));
        assert_eq!(reservation.grow_to(20 << 10), Ok(()));
        assert_eq!(reservation.grow_to(101 << 10), Err(Exhausted));
        assert_eq!(memory.used(), 90 << 10);
        drop(reservation);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_share_is_a_quarter_of_the_whole_or_one_piece() {
        let memory = Memory::new(400 << 10);
        let (alice, bob) = (memory.quarter(), memory.quarter());
        let first = alice.hold(vec![1; 60 << 10].into()).expect("there is room");
        assert_eq!(alice.hold(vec![2; 60 << 10].into()), Err(Exhausted), "more than a quarter");
        assert_eq!((alice.used(), memory.used()), (60 << 10, 60 << 10));
        let large = bob.hold(vec![3; 300 << 10].into()).expect("a single piece");
        assert_eq!(bob.hold(vec![4; 20 << 10].into()), Err(Exhausted));
        assert_eq!(alice.hold(vec![5; 39 << 10].into()).map(|it| it.len()), Ok(39 << 10));
        assert_eq!(memory.hold(vec![6; 50 << 10].into()), Err(Exhausted), "the whole is full");
        assert_eq!((bob.used(), memory.used()), (300 << 10, 360 << 10));
        drop(first);
        assert_eq!(alice.hold(vec![7; 150 << 10].into()), Err(Exhausted), "the whole is full");
        assert_eq!((alice.used(), memory.used()), (0, 300 << 10), "what was refused costs nothing");
        let mut grows = alice.reservation();
        assert_eq!([grows.grow_to(50 << 10), grows.grow_to(100 << 10)], [Ok(()), Ok(())]);
        drop((large, grows));
        assert_eq!((alice.used(), bob.used(), memory.used()), (0, 0, 0));
    }
}
