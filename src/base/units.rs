//! Sizes and durations as people write them: `"64MiB"`, `"1.5s"`.
//!
//! Pure. A bare number is refused everywhere: no reader should have to guess its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, f64); 7] = [
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

/// Why a text is not a size or a duration, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitProblem {
    /// A number without a unit.
    #[error("`{0}` needs a unit, as in \"{0}{1}\"")]
    NoUnit(String, &'static str),
    /// Something that is not a number with a known unit.
    #[error("`{0}` is not a {1}; write a number and a unit, as in \"{2}\"")]
    NotOne(String, &'static str, &'static str),
}

impl FromStr for ByteSize {
    type Err = UnitProblem;

    fn from_str(text: &str) -> Result<Self, UnitProblem> {
        let (number, unit) = split_unit(text);
        let not_one = || UnitProblem::NotOne(text.to_owned(), "size", "64MiB");
        if unit.is_empty() && number.parse::<f64>().is_ok() {
            return Err(UnitProblem::NoUnit(text.to_owned(), "MiB"));
        }
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(not_one)?.1;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(not_one);
        }
        let bytes = number.parse::<f64>().map_err(|_| not_one())? * factor as f64;
        if !(0.0..9e18).contains(&bytes) {
            return Err(not_one());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides it, so that reading it back gives the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit: u64| self.0 >= unit && self.0.is_multiple_of(unit);
        match self.0 {
            bytes if fits(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            bytes if fits(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if fits(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

/// Reads a duration such as `"500ms"`, `"1.5s"`, `"5m"`, `"1h"` or `"1d"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitProblem> {
    let (number, unit) = split_unit(text);
    let not_one = || UnitProblem::NotOne(text.to_owned(), "duration", "30s");
    if unit.is_empty() && number.parse::<f64>().is_ok() {
        return Err(UnitProblem::NoUnit(text.to_owned(), "s"));
    }
    let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(not_one)?.1;
    let seconds = number.parse::<f64>().map_err(|_| not_one())? * factor;
    // Longer than anyone waits, and far below what overflows when it is added to a clock.
    if !(0.0..=3.2e9).contains(&seconds) {
        return Err(not_one());
    }
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// Writes a duration in the largest unit that leaves a whole number: `90s`, `1h`, `1500ms`.
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let unit = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ]
    .into_iter()
    .find(|(_, unit)| nanos >= *unit && nanos.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{}us", nanos / 1_000),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A duration in whole milliseconds, with its microseconds as the text of a fraction.
pub fn in_millis(time: Duration) -> (u64, [u8; 4]) {
    let whole = time.as_secs().saturating_mul(1_000).saturating_add(time.subsec_millis().into());
    (whole, thousandths(time.subsec_micros() % 1_000))
}

/// A number below a thousand as the text of a fraction: `.007`.
pub fn thousandths(number: u32) -> [u8; 4] {
    let digit = |divisor: u32| b'0' + (number / divisor % 10) as u8;
    [b'.', digit(100), digit(10), digit(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("0B", 0), ("12kB", 12_000), ("64MiB", 64 << 20), ("1.5KiB", 1536)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn a_size_reads_back_as_it_was_written() {
        for bytes in [0, 1, 1023, 1024, 1536, 64 << 20, 5 << 30] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [("800ms", 800), ("1.5s", 1500), ("5m", 300_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_told_which_unit_to_take() {
        let said = parse_duration("30").expect_err("no unit").to_string();
        assert_eq!(said, "`30` needs a unit, as in \"30s\"");
        let said = "64".parse::<ByteSize>().expect_err("no unit").to_string();
        assert_eq!(said, "`64` needs a unit, as in \"64MiB\"");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1..2s", "1 parsec", "1e99s", "99999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "MiB", "-1B", "1XB", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_whole_unit() {
        for (millis, shown) in [(0, "0s"), (1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h")] {
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
        }
    }
}
