//! What the programs of a pool are kept from.
//!
//! Pure.

/// What the workers of a pool are kept from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fence {
    /// Nothing: a program that is set-uid becomes another user.
    Off,
    /// Becoming another user, and leaving a core file.
    #[default]
    Usual,
}

impl Fence {
    /// Returns true if the program cannot become another user.
    pub fn keeps_user(&self) -> bool {
        *self != Self::Off
    }
}
