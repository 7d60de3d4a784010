//! When a cache that does not answer is left alone.
//!
//! Pure.

/// This many faults in a row.
const FAULTS: u32 = 5;

/// Counts faults in a row.
#[derive(Debug, Default)]
pub struct Breaker {
    faults: u32,
}

impl Breaker {
    /// Notes a good answer.
    pub fn good(&mut self) {
        self.faults = 0;
    }

    /// Notes a fault. Returns true if the cache is to be left alone; then all faults are forgotten.
    #[must_use]
    pub fn fault(&mut self) -> bool {
        self.faults += 1;
        let is_broken = self.faults >= FAULTS;
        if is_broken {
            self.faults = 0;
        }
        is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_in_a_row_are_too_many() {
        let mut breaker = Breaker::default();
        assert!((0..4).all(|_| !breaker.fault()));
        breaker.good();
        assert!((0..4).all(|_| !breaker.fault()));
        assert!(breaker.fault());
        assert!(!breaker.fault(), "what comes next is counted from the beginning");
    }
}
