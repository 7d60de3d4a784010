//! Whose call it is, as the rooms below HTTP know it.
//!
//! Pure: data only.

use std::num::NonZeroU8;

/// Those who share one turn in the queue of a pool: the holder of a key, or all who have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Which tenant it is.
    pub id: TenantId,
    /// How many shares of a busy pool it has.
    pub weight: NonZeroU8,
}

/// The number of a tenant. The name of a key keeps its number as long as the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The number of all who have no key.
    pub const ANONYMOUS: Self = Self(0);
}

impl Tenant {
    /// All who have no key.
    pub const ANONYMOUS: Self = Self { id: TenantId::ANONYMOUS, weight: NonZeroU8::MIN };
}
