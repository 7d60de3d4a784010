//! From when until when a certificate is good, read from its bytes.
//!
//! Pure. rustls checks this of the certificates of others, and does not tell it of its own.

/// From when until when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub begins: u64,
    /// The last second.
    pub ends: u64,
}

/// The types of values in DER that lead to the times.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads the times of an X.509 certificate in DER; `None`: it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (certificate, _) = take(der, SEQUENCE)?;
        let (signed, _) = take(certificate, SEQUENCE)?;
        // The version is left out in version 1.
        let rest = take(signed, VERSION).map_or(signed, |(_, rest)| rest);
        let (_serial, rest) = take(rest, INTEGER)?;
        let (_algorithm, rest) = take(rest, SEQUENCE)?;
        let (_issuer, rest) = take(rest, SEQUENCE)?;
        let (times, _) = take(rest, SEQUENCE)?;
        let (begins, rest) = time(times)?;
        let (ends, _) = time(rest)?;
        Some(Self { begins, ends })
    }
}

/// Takes a value of this type from the front. Returns what it holds, and what follows it.
fn take(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    if tag != wanted {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Takes a time from the front, in seconds since 1970. Times before count as 1970.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    if let Some((text, rest)) = take(bytes, GENERALIZED_TIME) {
        let (century, text) = two_digits(text)?;
        let (year, text) = two_digits(text)?;
        return Some((seconds(century * 100 + year, text)?, rest));
    }
    let (text, rest) = take(bytes, UTC_TIME)?;
    let (year, text) = two_digits(text)?;
    // RFC 5280, section 4.1.2.5.1.
    let century = if year < 50 { 2000 } else { 1900 };
    Some((seconds(century + year, text)?, rest))
}

/// Reads `MMDDHHMMSSZ`.
fn seconds(year: u64, text: &[u8]) -> Option<u64> {
    let (month, text) = two_digits(text)?;
    let (day, text) = two_digits(text)?;
    let (hour, text) = two_digits(text)?;
    let (minute, text) = two_digits(text)?;
    let (second, text) = two_digits(text)?;
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if text != b"Z" || !is_time || second > 60 {
        return None;
    }
    Some((days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second)
}

fn two_digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let (&[ten, one], rest) = text.split_first_chunk()?;
    let is_number = ten.is_ascii_digit() && one.is_ascii_digit();
    is_number.then(|| (u64::from(ten - b'0') * 10 + u64::from(one - b'0'), rest))
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let in_year = (153 * month + 2) / 5 + day - 1;
    (year * 365 + leap_days + in_year).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, expected) in [
            (&b"\x17\x0d700101000000Z"[..], 0),
            (b"\x17\x0d491231235959Z", 2_524_607_999),
            (b"\x17\x0d500101000000Z", 0),
            (b"\x18\x0f20240229120000Z", 1_709_208_000),
            (b"\x18\x0f20500101000000Z", 2_524_608_000),
            (b"\x18\x0f99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(time(text), Some((expected, &[][..])), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            &b"\x17\x0d701301000000Z"[..],
            b"\x17\x0d700132000000Z",
            b"\x17\x0d700101240000Z",
            b"\x17\x0b7001010000Z",
            b"\x17\x0d70010100000aZ",
            b"\x17\x0d700101000000+",
            b"\x17\x0d7001",
            b"\x04\x0d700101000000Z",
            b"\x17",
            b"",
        ] {
            assert_eq!(time(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_times() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", &[0x30; 99]]
        {
            assert_eq!(Validity::of(bytes), None);
        }
    }
}
