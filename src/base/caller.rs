//! Whose call it is, as the rooms below HTTP know it, and how often it may ask.
//!
//! Pure: data only.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{parse_duration, show_duration};

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

    /// The callers of other servers.
    pub const ELSEWHERE: Self = Self { id: TenantId(u32::MAX), weight: NonZeroU8::MIN };
}

/// The addresses that count as one: an address of IPv4, or a /64 network of IPv6. One machine
/// may have all addresses of such a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbourhood {
    is_v6: bool,
    prefix: u64,
}

impl Neighbourhood {
    /// Returns the addresses that count as one with this one.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(it) => Self { is_v6: false, prefix: it.to_bits().into() },
            IpAddr::V6(it) => Self { is_v6: true, prefix: (it.to_bits() >> 64) as u64 },
        }
    }
}

/// How many requests a tenant may send in a time: `100/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time; more than zero.
    pub period: Duration,
}

/// A text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate")]
pub struct NoRate(pub String);

impl NoRate {
    /// What to write instead.
    pub const HINT: &str = "write how many requests in which time, as in \"100/1m\" or \"5/1s\"";
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let (count, period) = text.split_once('/').unwrap_or_default();
        let count = count.trim().parse::<NonZeroU32>().ok();
        let period = parse_duration(period.trim()).ok();
        match (count, period) {
            // Each request has at least a nanosecond of its own.
            (Some(count), Some(period)) if period.as_nanos() >= u128::from(count.get()) => {
                Ok(Self { count, period })
            }
            _ => Err(NoRate(text.escape_debug().to_string())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.count, show_duration(self.period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_count_and_a_time_with_its_unit() {
        for text in ["100/1m", "1/1d", "5/500ms"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("60 / 60s".parse::<Rate>().map(|it| it.to_string()).as_deref(), Ok("60/1m"));
        for text in
            ["", "100", "/1m", "0/1m", "-1/1m", "100/m", "100/60", "1/0s", "2000/1us", "a/1s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
