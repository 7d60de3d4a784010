//! A list that mostly has one item, which then needs no allocation.
//!
//! Pure.

use std::ops::{Deref, DerefMut};

/// Some items in their order.
#[derive(Clone, Debug)]
pub enum ShortList<T> {
    /// One.
    One(T),
    /// Any other number.
    Many(Vec<T>),
}

impl<T: Clone> ShortList<T> {
    /// A list of `count` such items.
    pub(super) fn of(item: T, count: usize) -> Self {
        if count == 1 { Self::One(item) } else { Self::Many(vec![item; count]) }
    }
}

impl<T> ShortList<T> {
    /// Makes a list of what `make` makes of each item, which it is given with its index.
    ///
    /// # Errors
    ///
    /// The first that `make` returns.
    pub(super) fn try_map<U, E>(
        self,
        mut make: impl FnMut(usize, T) -> Result<U, E>,
    ) -> Result<ShortList<U>, E> {
        match self {
            Self::One(item) => make(0, item).map(ShortList::One),
            Self::Many(items) => {
                let each = items.into_iter().enumerate().map(|(index, item)| make(index, item));
                each.collect::<Result<_, E>>().map(ShortList::Many)
            }
        }
    }
}

impl<T> Deref for ShortList<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

impl<T> DerefMut for ShortList<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(item) => std::slice::from_mut(item),
            Self::Many(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_as_many_items_as_were_wanted_in_their_order() {
        for count in 0..4 {
            let mut list = ShortList::of(7, count);
            assert_eq!(*list, vec![7; count]);
            list.iter_mut().enumerate().for_each(|(index, item)| *item += index);
            let made =
                list.try_map(|index, item| if item < 9 { Ok(item - index) } else { Err(item) });
            match made {
                Ok(made) => assert_eq!(*made, vec![7; count]),
                Err(item) => assert_eq!((item, count), (9, 3)),
            }
        }
    }
}
