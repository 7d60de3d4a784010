//! Texts for a terminal: nothing in them moves the cursor, and they are as wide as they are said to
//! be.
//!
//! Pure.

use std::time::Duration;

use unicode_width::UnicodeWidthChar as _;

/// Returns what stands for a character that a terminal would obey, or that would not be seen; `None`
/// for one that is shown as it is.
pub(super) fn sign_of(c: char) -> Option<String> {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).map(String::from),
        '\x7f' => Some("␡".to_owned()),
        // Controls of eight bits, marks that turn the direction of a line, and what has no width.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some(format!("\\u{{{:x}}}", u32::from(c))),
        _ => None,
    }
}

/// Returns a text in which no character is obeyed by a terminal.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match sign_of(c) {
            Some(sign) => cleaned.push_str(&sign),
            None => cleaned.push(c),
        }
    }
    cleaned
}

/// Returns how many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Cuts a text to a number of columns. What is cut ends with `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut columns = 0;
    for c in text.chars() {
        columns += c.width().unwrap_or(0);
        if columns + 1 > most {
            break;
        }
        kept.push(c);
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

/// Makes a text exactly this wide, with spaces after it.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let spaces = columns - width(&text);
    format!("{text}{:spaces$}", "")
}

/// Makes a text exactly this wide, with spaces before it.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let spaces = columns - width(&text);
    format!("{:spaces$}{text}", "")
}

/// Writes a time in at most five columns: `40µs`, `1.8ms`, `250ms`, `4.1s`, `13m`, `2h`, `3d`.
pub(super) fn time(seconds: f64) -> String {
    const UNITS: [(f64, &str); 6] =
        [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (60.0, "m"), (3600.0, "h"), (86_400.0, "d")];
    // 100 s is easier to compare with a timeout than 1.7 minutes.
    let starts = [0.0, 999.5e-6, 999.5e-3, 99.5, 99.5 * 60.0, 48.0 * 3600.0];
    let place = starts.iter().rposition(|start| seconds >= *start).unwrap_or(0);
    let (unit, name) = UNITS[place];
    let value = seconds / unit;
    let is_small = value < 9.95 && place > 0 && place < 3;
    if is_small { format!("{value:.1}{name}") } else { format!("{value:.0}{name}") }
}

/// Writes a time as people say it: `3d 4h`, `4h 12m`, `12m 5s`, `5s`.
pub(super) fn long_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Writes a size in at most five columns: `600`, `41K`, `1.2G`; the units are those of 1024.
pub(super) fn size(bytes: u64) -> String {
    short(bytes as f64, 1024.0, &["", "K", "M", "G", "T"])
}

/// Writes a number in at most five columns: `31`, `9999`, `12k`, `1.2M`.
pub(super) fn count(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    short(number as f64, 1000.0, &["", "k", "M", "G", "T"])
}

fn short(number: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut place) = (number, 0);
    while value >= 999.5 && place + 1 < units.len() {
        value /= step;
        place += 1;
    }
    let unit = units[place];
    if place > 0 && value < 9.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// Writes a part of a whole in at most four columns: `93%`.
pub(super) fn percent(part: u64, whole: u64) -> Option<String> {
    (whole > 0).then(|| format!("{:.0}%", part as f64 * 100.0 / whole as f64))
}

/// Writes a number of cores.
pub(super) fn cores(cpu: Option<f64>) -> String {
    match cpu {
        None => "–".to_owned(),
        Some(cpu) if cpu < 99.5 => format!("{cpu:.2}"),
        Some(cpu) => format!("{cpu:.0}"),
    }
}

/// Writes a size of memory.
pub(super) fn memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_a_terminal_is_shown_by_its_sign() {
        assert_eq!(clean("a\x1b[2Jb\n\t\x7f"), "a␛[2Jb␊␉␡");
        assert_eq!(clean("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(clean("GET /\u{202e}cod.exe"), "GET /\\u{202e}cod.exe");
        assert_eq!(clean("zero\u{200b}width\u{feff}"), "zero\\u{200b}width\\u{feff}");
        assert_eq!(clean("naïve ☃ 日本 🦀 e\u{301}"), "naïve ☃ 日本 🦀 e\u{301}");
    }

    #[test]
    fn a_text_is_cut_to_columns_and_no_wide_character_in_half() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("日本", 1), "…");
        assert_eq!(cut("a", 0), "");
        assert_eq!(cut("e\u{301}e\u{301}", 2), "e\u{301}e\u{301}");
        for columns in 0..8 {
            assert_eq!(width(&left("日本x", columns)), columns);
            assert_eq!(width(&right("日本x", columns)), columns);
        }
    }

    #[test]
    fn numbers_are_short() {
        let times = [0.0, 40e-6, 0.000_999_6, 0.001_79, 0.25, 1.0, 9.96, 99.4, 100.0, 7200.0, 2e5];
        let shown: Vec<String> = times.iter().map(|it| time(*it)).collect();
        let expected =
            ["0µs", "40µs", "1.0ms", "1.8ms", "250ms", "1.0s", "10s", "99s", "2m", "2h", "2d"];
        assert_eq!(shown, expected);
        assert_eq!([600, 1023, 41 << 10, 1_288_490_189].map(size), ["600", "1.0K", "41K", "1.2G"]);
        assert_eq!([31, 9999, 12_000, 1_200_000].map(count), ["31", "9999", "12k", "1.2M"]);
        let long = [5, 725, 15_120, 273_600].map(|it| long_time(Duration::from_secs(it)));
        assert_eq!(long, ["5s", "12m 5s", "4h 12m", "3d 4h"]);
        assert_eq!(percent(24_000, 25_860).as_deref(), Some("93%"));
        assert_eq!(percent(0, 0), None);
        for exponent in -7..8 {
            assert!(width(&time(9.996 * 10_f64.powi(exponent))) <= 5);
        }
    }
}
