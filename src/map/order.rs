//! Puts what ends in any order back into the order in which it began.
//!
//! Pure.

use std::collections::VecDeque;

/// Holds what ended early until all before it has ended.
#[derive(Debug)]
pub struct InOrder<T> {
    /// The number of the first one that has not been given out.
    next: u64,
    waiting: VecDeque<Option<T>>,
}

impl<T> InOrder<T> {
    /// Nothing has ended; `first` is the number of the first one.
    pub fn new(first: u64) -> Self {
        Self { next: first, waiting: VecDeque::new() }
    }

    /// Takes what ended under its number. Each number comes once.
    pub fn put(&mut self, number: u64, value: T) {
        let place = usize::try_from(number - self.next).expect("it is in memory");
        if self.waiting.len() <= place {
            self.waiting.resize_with(place + 1, || None);
        }
        self.waiting[place] = Some(value);
    }

    /// Gives out the next one, if it has ended.
    pub fn pop(&mut self) -> Option<T> {
        let value = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn everything_comes_out_once_and_in_order(
            order in proptest::sample::subsequence((10_u64..30).collect::<Vec<_>>(), 20),
            seed in 0..1000_u64,
        ) {
            let mut shuffled = order;
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let (mut order, mut out) = (InOrder::new(10), Vec::new());
            for number in shuffled {
                order.put(number, number);
                out.extend(std::iter::from_fn(|| order.pop()));
            }
            proptest::prop_assert_eq!(out, (10..30).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_ended_early_waits_for_all_before_it() {
        let mut order = InOrder::new(0);
        order.put(1, 'b');
        assert_eq!(order.pop(), None);
        order.put(0, 'a');
        assert_eq!((order.pop(), order.pop(), order.pop()), (Some('a'), Some('b'), None));
    }
}
