//! What the header of a kept answer says of its age. It is the same for a second, so it is made once
//! a second, however often the answer is given.

use std::sync::{Mutex, PoisonError};

use http::HeaderValue;

/// The values of `Age` and `Cache-Status`, as they were made last.
#[derive(Debug, Default)]
pub struct AgeFields(Mutex<Option<(u64, [HeaderValue; 2])>>);

impl AgeFields {
    /// Returns the values for an answer of this age in seconds. `make` makes them.
    pub fn at(&self, seconds: u64, make: impl FnOnce() -> [HeaderValue; 2]) -> [HeaderValue; 2] {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, made)) if *at == seconds => made.clone(),
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
        let at = |seconds: u64, other: u64| fields.at(seconds, || [other.into(), other.into()]);
        assert_eq!(
            [at(1, 10), at(1, 11), at(2, 12), at(1, 13)].map(|[age, _]| age),
            [10, 10, 12, 13].map(|number: u64| HeaderValue::from(number))
        );
    }
}
