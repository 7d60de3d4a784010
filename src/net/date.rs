//! The time of day as the header of a response has it, made once a second.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The text of one second.
struct DateText {
    /// When the second began and ends.
    second: (Instant, Instant),
    text: String,
}

thread_local! {
    static LAST: RefCell<Option<DateText>> = const { RefCell::new(None) };
}

/// Writes the time of day at this moment, which is now or was just before.
pub(super) fn write(to: &mut Vec<u8>, moment: Instant) {
    LAST.with_borrow_mut(|last| {
        let date = match last {
            Some(date) if date.second.0 <= moment && moment < date.second.1 => date,
            _ => last.insert(DateText::of_now()),
        };
        to.extend_from_slice(date.text.as_bytes());
    });
}

impl DateText {
    fn of_now() -> Self {
        let (now, time) = (Instant::now(), SystemTime::now());
        let within = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let began = now.checked_sub(Duration::from_nanos(within.into())).unwrap_or(now);
        let second = (began, began + Duration::from_secs(1));
        Self { second, text: httpdate::fmt_http_date(time) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(moment: Instant) -> String {
        let mut to = Vec::new();
        write(&mut to, moment);
        String::from_utf8(to).expect("ASCII")
    }

    #[test]
    fn the_text_is_that_of_the_second() {
        let before = SystemTime::now();
        let text = written(Instant::now());
        let read = httpdate::parse_http_date(&text).expect("a date");
        let second = Duration::from_secs(1);
        assert!(before - second <= read && read <= SystemTime::now(), "{text}");
        let kept = |text: &str| {
            let second = (Instant::now(), Instant::now() + Duration::from_secs(9));
            LAST.set(Some(DateText { second, text: text.to_owned() }));
            second
        };
        let (began, ends) = kept("kept");
        assert_eq!(written(began), "kept");
        assert_ne!(written(ends), "kept");
        let (began, _) = kept("kept");
        assert_ne!(written(began.checked_sub(second).expect("the clock is not new")), "kept");
    }
}
