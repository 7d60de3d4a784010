//! One line of the log, as text for people or as a JSON object.
//!
//! Pure: writes bytes into a buffer; the time is an argument. Values are escaped in both formats,
//! so that no value can begin a line of its own or control a terminal.

use std::time::Duration;

use crate::base::units::{in_millis, thousandths};

/// How lines look. What `auto` means is decided before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `2026-11-22T10:00:00.000Z  INFO request method=GET`
    Text,
    /// `{"time":"2026-11-22T10:00:00.000Z","level":"info","message":"request","method":"GET"}`
    Json,
    /// `warning worker lost  pool=fib`: for somebody who sits before it. No time, and fields in a
    /// faint colour if there are colours.
    Terminal {
        /// Whether colours are written.
        coloured: bool,
    },
}

impl Format {
    /// How lines look in a file, which is for programs if it is not said otherwise.
    pub(super) fn of_file(self) -> Self {
        match self {
            Self::Terminal { .. } => Self::Json,
            Self::Text | Self::Json => self,
        }
    }
}

const ERROR: &str = "\u{1b}[1;31m";
const WARNING: &str = "\u{1b}[1;33m";
const FAINT: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// The name of a field. Names are constants of ours, so they need no escape.
pub(super) trait Name: Copy {
    /// Writes the name with the text that stands before and after it.
    fn write(self, to: &mut Vec<u8>, format: Format);
}

impl Name for &str {
    fn write(self, to: &mut Vec<u8>, format: Format) {
        let (before, after): (&[u8], &[u8]) = match format {
            Format::Text | Format::Terminal { .. } => (b" ", b"="),
            Format::Json => (b",\"", b"\":"),
        };
        to.extend_from_slice(before);
        to.extend_from_slice(self.as_bytes());
        to.extend_from_slice(after);
    }
}

/// The name of a field in both formats, put together at compile time; see [`field`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) text: &'static str,
    pub(super) json: &'static str,
}

impl Name for Field {
    // Each of the two is a constant at its place of use, which costs a few stores instead of a copy.
    #[inline]
    fn write(self, to: &mut Vec<u8>, format: Format) {
        match format {
            Format::Text | Format::Terminal { .. } => to.extend_from_slice(self.text.as_bytes()),
            Format::Json => to.extend_from_slice(self.json.as_bytes()),
        }
    }
}

/// Makes the [`Field`] of this name.
macro_rules! field {
    ($name:literal) => {
        $crate::observe::log::line::Field {
            text: concat!(" ", $name, "="),
            json: concat!(",\"", $name, "\":"),
        }
    };
}
pub(super) use field;

/// A text that many lines have. It is looked at once whether it needs an escape.
#[derive(Clone, Debug)]
pub struct KnownText {
    text: Box<str>,
    is_plain: bool,
}

impl KnownText {
    /// Looks at a text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), is_plain: is_plain(text.as_bytes()) }
    }
}

/// Writes one line into a buffer.
#[derive(Debug)]
pub(super) struct LogLine<'a> {
    to: &'a mut Vec<u8>,
    format: Format,
    is_faint: bool,
}

/// Writes times; the text of a second is made only once.
#[derive(Debug, Default)]
pub(super) struct TimeText {
    second: u64,
    /// `2026-11-22T10:00:00`; empty before the first use.
    text: Vec<u8>,
}

impl TimeText {
    /// Writes a time since 1970 as RFC 3339 in UTC with milliseconds.
    pub(super) fn write(&mut self, to: &mut Vec<u8>, since_epoch: Duration) {
        let second = since_epoch.as_secs();
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            write_second(&mut self.text, second);
        }
        to.extend_from_slice(&self.text);
        to.extend_from_slice(&thousandths(since_epoch.subsec_millis()));
        to.push(b'Z');
    }
}

impl<'a> LogLine<'a> {
    /// Begins a line. `level` is in lower case.
    #[inline]
    pub(super) fn begin(
        to: &'a mut Vec<u8>,
        format: Format,
        clock: &mut TimeText,
        since_epoch: Duration,
        level: &str,
    ) -> Self {
        match format {
            Format::Text => {
                clock.write(to, since_epoch);
                to.extend(std::iter::repeat_n(b' ', 6_usize.saturating_sub(level.len())));
                to.extend(level.bytes().map(|byte| byte.to_ascii_uppercase()));
            }
            Format::Json => {
                to.extend_from_slice(b"{\"time\":\"");
                clock.write(to, since_epoch);
                to.extend_from_slice(b"\",\"level\":\"");
                to.extend_from_slice(level.as_bytes());
                to.push(b'"');
            }
            Format::Terminal { coloured } => {
                let (shown, colour) = match level {
                    "error" => ("error ", ERROR),
                    "warn" => ("warning ", WARNING),
                    "info" => ("", ""),
                    "debug" => ("debug ", FAINT),
                    _ => ("trace ", FAINT),
                };
                let colour = if coloured { colour } else { "" };
                to.extend_from_slice(colour.as_bytes());
                to.extend_from_slice(shown.as_bytes());
                to.extend_from_slice(if colour.is_empty() { b"" } else { RESET.as_bytes() });
            }
        }
        Self { to, format, is_faint: false }
    }

    /// Writes what happened. Comes before the fields.
    pub(super) fn message(&mut self, text: &str) {
        match self.format {
            Format::Text => {
                self.to.push(b' ');
                escape(self.to, text);
            }
            // Nothing stands in quotes here, so that a command can be copied.
            Format::Terminal { .. } => {
                for part in text.split_inclusive(['"', '\\']) {
                    let plain = part.trim_end_matches(['"', '\\']);
                    escape(self.to, plain);
                    self.to.extend_from_slice(&part.as_bytes()[plain.len()..]);
                }
            }
            Format::Json => {
                self.to.extend_from_slice(b",\"message\":\"");
                escape(self.to, text);
                self.to.push(b'"');
            }
        }
    }

    /// Writes a text field. The text format quotes a value that could be misread.
    #[inline]
    pub(super) fn text(&mut self, name: impl Name, value: &str) {
        self.name(name);
        self.value(value);
    }

    /// Writes a text field as [`LogLine::text`] does.
    #[inline]
    pub(super) fn known(&mut self, name: impl Name, value: &KnownText) {
        if self.format == Format::Json && value.is_plain {
            self.bare(name, &value.text);
        } else {
            self.text(name, &value.text);
        }
    }

    #[inline]
    fn value(&mut self, value: &str) {
        let is_bare = |byte: u8| PLAIN[usize::from(byte)] && !matches!(byte, b' ' | b'=');
        if self.format != Format::Json && !value.is_empty() && value.bytes().all(is_bare) {
            self.to.extend_from_slice(value.as_bytes());
        } else {
            self.to.push(b'"');
            escape(self.to, value);
            self.to.push(b'"');
        }
    }

    /// Writes a text field whose value is known to need neither an escape nor, in the text format,
    /// quotes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is constant is known at the place of use")]
    pub(super) fn bare(&mut self, name: impl Name, value: &str) {
        self.name(name);
        if self.format == Format::Json {
            self.to.push(b'"');
        }
        self.to.extend_from_slice(value.as_bytes());
        if self.format == Format::Json {
            self.to.push(b'"');
        }
    }

    /// Writes a field with a whole number.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is constant is known at the place of use")]
    pub(super) fn number(&mut self, name: impl Name, value: impl itoa::Integer) {
        self.name(name);
        self.to.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Writes a field with the hexadecimal digits of a number, as text.
    #[inline]
    pub(super) fn hexadecimal(&mut self, name: impl Name, value: u64) {
        self.name(name);
        let quote: &[u8] = if self.format == Format::Json { b"\"" } else { b"" };
        self.to.extend_from_slice(quote);
        let (mut digits, mut begin, mut rest) = ([b'0'; 16], 16, value);
        while rest > 0 || begin == 16 {
            begin -= 1;
            digits[begin] = b"0123456789abcdef"[rest as usize & 0xf];
            rest >>= 4;
        }
        self.to.extend_from_slice(&digits[begin..]);
        self.to.extend_from_slice(quote);
    }

    /// Writes a field with a fraction. Infinity and NaN are written as text, because JSON has no
    /// numbers for them.
    pub(super) fn fraction(&mut self, name: impl Name, value: f64) {
        let text = value.to_string();
        if value.is_finite() {
            self.name(name);
            self.to.extend_from_slice(text.as_bytes());
        } else {
            self.text(name, &text);
        }
    }

    /// Writes a field that is true or false.
    pub(super) fn boolean(&mut self, name: impl Name, value: bool) {
        self.name(name);
        self.to.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes a field with a duration, in milliseconds with three decimals.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is constant is known at the place of use")]
    pub(super) fn millis(&mut self, name: impl Name, value: Duration) {
        self.name(name);
        // Most calls do not wait.
        if value.is_zero() {
            return self.to.extend_from_slice(b"0.000");
        }
        let (whole, behind) = in_millis(value);
        self.to.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        self.to.extend_from_slice(&behind);
    }

    /// Ends the line.
    #[inline]
    pub(super) fn end(self) {
        if self.is_faint {
            self.to.extend_from_slice(RESET.as_bytes());
        }
        if self.format == Format::Json {
            self.to.push(b'}');
        }
        self.to.push(b'\n');
    }

    /// Writes the name of a field, or a text of ours that needs no escape.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is constant is known at the place of use")]
    pub(super) fn name(&mut self, name: impl Name) {
        if !self.is_faint && self.format == (Format::Terminal { coloured: true }) {
            self.is_faint = true;
            self.to.extend_from_slice(FAINT.as_bytes());
        }
        name.write(self.to, self.format);
    }
}

/// Writes text so that it stays inside its line and its quotes, by the rules of JSON. Characters
/// that control a terminal or the direction of writing are escaped too.
fn escape(to: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for char in text.chars() {
        match char {
            '"' => to.extend_from_slice(b"\\\""),
            '\\' => to.extend_from_slice(b"\\\\"),
            '\n' => to.extend_from_slice(b"\\n"),
            '\r' => to.extend_from_slice(b"\\r"),
            '\t' => to.extend_from_slice(b"\\t"),
            char if char.is_control() || misleads(char) => write_unicode_escape(to, char),
            char => to.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Returns true if none of these bytes needs an escape in quotes. Looks at eight at a time: each
/// line of a request has five texts, and nearly all are plain.
fn is_plain(text: &[u8]) -> bool {
    match text.last_chunk() {
        // The last eight may have been looked at before, in part.
        Some(last) => {
            let (words, _) = text.as_chunks();
            words.iter().chain([last]).all(|word| is_plain_word(u64::from_ne_bytes(*word)))
        }
        None => text.iter().all(|byte| PLAIN[usize::from(*byte)]),
    }
}

/// Does the same for eight bytes as [`PLAIN`] for one. With its highest bit set, a byte keeps that
/// bit through a subtraction unless it was below what is subtracted.
fn is_plain_word(word: u64) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    const HIGH: u64 = each(0x80);
    let is_not = |byte: u8| ((word ^ each(byte)) | HIGH) - each(1);
    let is_printable = ((word | HIGH) - each(b' ')) & is_not(0x7f) & !word;
    is_printable & is_not(b'"') & is_not(b'\\') & HIGH == HIGH
}

/// The bytes that need no escape in quotes: printable ASCII except quote and backslash.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    table
};

/// Returns true for separators that some readers take for a line end, and for marks that reorder
/// what is shown.
fn misleads(char: char) -> bool {
    matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes `\u001b`. All the characters that are escaped like this have four hexadecimal digits.
fn write_unicode_escape(to: &mut Vec<u8>, char: char) {
    to.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = (u32::from(char) >> shift) & 0xf;
        to.push(b"0123456789abcdef"[digit as usize]);
    }
}

/// Writes a second since 1970 as `2026-11-22T10:00:00`.
fn write_second(to: &mut Vec<u8>, second: u64) {
    let (year, month, day) = date(second / 86_400);
    let of_day = second % 86_400;
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3_600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, 0),
    ];
    for (number, digits, after) in parts {
        write_padded(to, number, digits);
        if after != 0 {
            to.push(after);
        }
    }
}

/// Returns year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, a leap day is the last day of its year, and each 400 years have
    // the same 146 097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // From March on, each five months have 153 days.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let after_december = month >= 10;
    let month = if after_december { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(after_december), month, day)
}

fn write_padded(to: &mut Vec<u8>, number: u64, digits: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    to.extend(std::iter::repeat_n(b'0', digits.saturating_sub(text.len())));
    to.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(1_795_344_441_007);

    /// What is looked at in words is looked at as in single bytes, wherever in a text.
    #[test]
    fn a_text_is_plain_if_all_of_its_bytes_are() {
        for (byte, length) in (0..=255).flat_map(|byte| (1..=17).map(move |length| (byte, length)))
        {
            for place in 0..length {
                let mut text = vec![b'a'; length];
                text[place] = byte;
                assert_eq!(is_plain(&text), PLAIN[usize::from(byte)], "{byte} at {place}");
            }
        }
        assert!(is_plain(b""));
    }

    fn line(format: Format, write: impl FnOnce(&mut LogLine<'_>)) -> String {
        let mut to = Vec::new();
        let mut line = LogLine::begin(&mut to, format, &mut TimeText::default(), TIME, "info");
        write(&mut line);
        line.end();
        String::from_utf8(to).expect("lines are UTF-8")
    }

    #[test]
    fn a_line_for_people_has_time_level_message_and_fields() {
        let line = line(Format::Text, |line| {
            line.message("worker ended");
            line.text("pool", "fib");
            line.number("pid", -3);
            line.boolean("asked", false);
            line.fraction("load", 0.5);
            line.millis("after_ms", Duration::from_micros(1_002));
        });
        assert_eq!(
            line,
            "2026-11-22T10:47:21.007Z  INFO worker ended pool=fib pid=-3 asked=false load=0.5 \
             after_ms=1.002\n"
        );
    }

    #[test]
    fn a_line_on_a_terminal_begins_with_what_happened() {
        let shown = |coloured, level| {
            let mut to = Vec::new();
            let format = Format::Terminal { coloured };
            let mut line = LogLine::begin(&mut to, format, &mut TimeText::default(), TIME, level);
            line.message("\"lost\"\u{1b}[2J");
            line.text("pool", "fib");
            line.number("pid", 3);
            line.end();
            String::from_utf8(to).expect("lines are UTF-8")
        };
        assert_eq!(shown(false, "info"), "\"lost\"\\u001b[2J pool=fib pid=3\n");
        assert_eq!(shown(false, "warn"), "warning \"lost\"\\u001b[2J pool=fib pid=3\n");
        assert_eq!(
            shown(true, "error"),
            "\u{1b}[1;31merror \u{1b}[0m\"lost\"\\u001b[2J\u{1b}[2m pool=fib pid=3\u{1b}[0m\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object() {
        let line = line(Format::Json, |line| {
            line.message("worker ended");
            line.text("pool", "fib");
            line.number("pid", 7);
            line.hexadecimal("call", 0x005a_01c7);
            line.hexadecimal("first", 0);
            line.hexadecimal("last", u64::MAX);
            line.boolean("asked", true);
            line.fraction("load", f64::NAN);
        });
        assert_eq!(
            line,
            "{\"time\":\"2026-11-22T10:47:21.007Z\",\"level\":\"info\",\"message\":\"worker ended\",\
             \"pool\":\"fib\",\"pid\":7,\"call\":\"5a01c7\",\"first\":\"0\",\
             \"last\":\"ffffffffffffffff\",\"asked\":true,\"load\":\"NaN\"}\n"
        );
    }

    #[test]
    fn no_value_leaves_its_line_in_either_format() {
        let evil = "a\nb\r\t\0\u{1b}[2J\u{9b}\u{7f}\u{2028}\u{202e}\"\\ é";
        let text = line(Format::Text, |line| {
            line.message(evil);
            line.text("x", evil);
        });
        let shown = "a\\nb\\r\\t\\u0000\\u001b[2J\\u009b\\u007f\\u2028\\u202e\\\"\\\\ é";
        assert_eq!(text, format!("2026-11-22T10:47:21.007Z  INFO {shown} x=\"{shown}\"\n"));

        let json = line(Format::Json, |line| {
            line.message(evil);
            line.text("x", evil);
        });
        assert_eq!(json.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&json).expect("one JSON document");
        assert_eq!((&read["message"], &read["x"]), (&evil.into(), &evil.into()));
    }

    #[test]
    fn a_text_value_that_could_be_misread_is_quoted() {
        for (value, shown) in [("a", "a"), ("", "\"\""), ("a b", "\"a b\""), ("a=b", "\"a=b\"")] {
            let line = line(Format::Text, |line| line.text("x", value));
            assert!(line.ends_with(&format!(" x={shown}\n")), "{line}");
        }
    }

    #[test]
    fn a_known_text_is_written_as_any_other() {
        for format in [Format::Text, Format::Json] {
            for text in ["GET /fib", "a", "", "a\"b\n"] {
                let known = line(format, |it| it.known("x", &KnownText::new(text)));
                assert_eq!(known, line(format, |it| it.text("x", text)));
            }
        }
    }

    #[test]
    fn a_time_of_nothing_has_its_decimals_too() {
        let line = line(Format::Text, |line| {
            line.millis("a", Duration::ZERO);
            line.millis("b", Duration::from_micros(7));
        });
        assert!(line.ends_with(" a=0.000 b=0.007\n"), "{line}");
    }

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let mut to = Vec::new();
            write_second(&mut to, second);
            assert_eq!(String::from_utf8_lossy(&to), text);
        }
    }

    #[test]
    fn the_clock_goes_on_and_back() {
        let mut clock = TimeText::default();
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (1_050, "1970-01-01T00:00:01.050Z"),
            (50, "1970-01-01T00:00:00.050Z"),
        ] {
            let mut to = Vec::new();
            clock.write(&mut to, Duration::from_millis(millis));
            assert_eq!(String::from_utf8_lossy(&to), text);
        }
    }
}
