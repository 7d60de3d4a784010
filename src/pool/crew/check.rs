//! Checks that the books of the workers fit each other.
//!
//! Pure: data and the smallest steps on it, as the rest of [`Crew`].

use super::{Crew, Phase};

impl Crew {
    /// Checks that the lists fit the workers.
    ///
    /// # Errors
    ///
    /// Returns what does not fit.
    pub(in crate::pool) fn check(&self) -> Result<(), String> {
        for book in self.workers.values() {
            let id = book.id;
            if book.phase != Phase::Serving && !book.held.is_empty() {
                return Err(format!("worker {id} holds calls while {:?}", book.phase));
            }
            let is_idle = book.phase == Phase::Serving && book.held.is_empty();
            let is_free = is_idle && !book.is_reserved;
            if is_free != self.free.contains(&id) {
                return Err(format!("worker {id} holds nothing and is not free, or the reverse"));
            }
            if book.held.is_empty() == self.busy.workers().contains(&id) {
                return Err(format!("worker {id} holds calls and is not busy, or the reverse"));
            }
            for held in &book.held {
                let twice = book.held.iter().filter(|other| other.id == held.id).count() > 1;
                if twice {
                    return Err(format!("worker {id} holds call {} twice", held.id));
                }
            }
        }
        if self.none_free_since.is_some() && !self.free.is_empty() {
            return Err("a worker is free and the books say none is".to_owned());
        }
        let counted = self.count();
        match self.census {
            Some(census) if census != counted => {
                Err(format!("the census says {census:?} and there are {counted:?}"))
            }
            _ => Ok(()),
        }
    }
}
