//! When a settling has nothing to decide. Most calls come while no other waits, and go again: all that
//! would be looked at is then as it was.
//!
//! Pure: a part of [`State`].

use super::state::State;

impl<P> State<P> {
    /// Returns true if nothing can follow from the last events: nobody waits, also not for a group or on
    /// another server, and there are as many workers as there are to be.
    pub(super) fn is_calm(&self) -> bool {
        self.line.is_drained()
            && !self.background.waits()
            && self.spread.is_none()
            && self.rules.group.is_none()
            && !self.is_growing
            && self.crew.is_as_wanted(&self.rules)
    }
}
