//! What is known of workers that compute for long.
//!
//! Pure: data only.

/// What a look at a worker has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// It computes, or waits for a processor.
    pub computes: bool,
    /// As many processes as there are processors compute, or more.
    pub is_full: bool,
}

/// Whether workers may rise again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rising {
    /// They may, as far as is known.
    #[default]
    Permitted,
    /// They may not.
    Refused,
}
