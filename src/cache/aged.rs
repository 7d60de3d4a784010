//! What the header of a kept answer says of its age. It is the same for a second, so it is made once
//! a second, however often the answer is given.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// The values of `Age` and `Cache-Status`, as they were made last.
#[derive(Debug, Default)]
pub struct AgeFields(Mutex<Option<(u64, [Bytes; 2])>>);

impl AgeFields {
    /// Returns the values for an answer of this age in seconds. `make` makes them.
    pub fn at(&self, seconds: u64, make: impl FnOnce() -> [Bytes; 2]) -> [Bytes; 2] {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, fields)) if *at == seconds => fields.clone(),
            _ => last.insert((seconds, make())).1.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_made_anew_each_second() {
        let fields = AgeFields::default();
        let at = |seconds, age: &'static str| fields.at(seconds, || [age.into(), age.into()]);
        let ages = [at(1, "a"), at(1, "b"), at(2, "c"), at(1, "d")].map(|[age, _]| age);
        assert_eq!(ages, ["a", "a", "c", "d"]);
    }
}
