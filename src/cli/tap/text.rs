//! What goes through the pipes of workers, as lines for a person.
//!
//! Pure.

use crate::cli::cells::{clean, left, sign_of, time};
use crate::report::{TapEvent, TapKind};

/// How wide the columns of worker, call, and route are.
const WORKER: usize = 5;
const CALL: usize = 8;
const ROUTE: usize = 18;

/// Writes an event as a line. `is_raw`: its text as it is, whatever a terminal makes of it.
pub(super) fn line(event: &TapEvent, is_raw: bool) -> String {
    let shown = |text: &str| if is_raw { text.to_owned() } else { signs(text) };
    let cut = event.bytes.saturating_sub(event.text.len());
    let text = match event.kind {
        TapKind::Write | TapKind::Read if cut > 0 => format!("{}… and more", shown(&event.text)),
        TapKind::Write | TapKind::Read => shown(&event.text),
        TapKind::Answer => {
            let by = found_by(event.outcome.as_deref().unwrap_or_default());
            format!("answer, {} B{by}", event.bytes)
        }
        TapKind::Stray => {
            let why = stray(event.outcome.as_deref().unwrap_or_default());
            format!("{why}: {}", shown(&event.text))
        }
        TapKind::Exit => {
            format!("the worker has ended: {}", clean(event.outcome.as_deref().unwrap_or_default()))
        }
        TapKind::End => {
            let outcome = event.outcome.as_deref().unwrap_or("over");
            let work = event.work.map(|work| format!(" after {}", time(work.as_secs_f64())));
            format!("{}{}", clean(outcome), work.unwrap_or_default())
        }
    };
    let sign = match event.kind {
        TapKind::Write => '→',
        TapKind::Read => '←',
        TapKind::Answer => '=',
        TapKind::Stray | TapKind::Exit => '!',
        TapKind::End => '.',
    };
    let worker = event.worker.map(|id| format!("w{id}")).unwrap_or_default();
    let call = clean(event.call.as_deref().unwrap_or_default());
    let route = match event.kind {
        TapKind::Write | TapKind::End => clean(event.route.as_deref().unwrap_or_default()),
        TapKind::Read | TapKind::Answer | TapKind::Stray | TapKind::Exit => String::new(),
    };
    let line = format!(
        "{} {} {sign} {} {} {text}",
        clock(event.at),
        left(&worker, WORKER),
        left(&call, CALL),
        left(&route, ROUTE)
    );
    line.trim_end().to_owned()
}

/// Says how the call of an answer was found.
fn found_by(how: &str) -> &'static str {
    match how {
        "proof" => ", which proves its call",
        "turn" => ", by its turn",
        "order" => ", by order (nothing proves it)",
        _ => "",
    }
}

/// Says why a message answers no call.
fn stray(why: &str) -> &'static str {
    match why {
        "unasked" => "said while nothing was asked",
        "aside" => "said beside its answers",
        "late" => "answers a call that nobody waits for",
        _ => "is no answer to its call",
    }
}

/// Says how many events the server had to leave out before this one.
pub(super) fn gap(event: &TapEvent) -> Option<String> {
    let dropped = event.dropped;
    (dropped > 0).then(|| format!("… {dropped} left out, because there was too much to show"))
}

/// Writes the time of day in UTC, as the log does.
pub(super) fn clock(at: f64) -> String {
    let millis = (at.max(0.0) * 1000.0).round() as u64;
    let seconds = millis / 1000;
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, millis % 1000)
}

/// Shows controls by their signs, and blanks at the end of a line as dots.
fn signs(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut blanks = 0;
    for c in text.chars() {
        if c == ' ' {
            blanks += 1;
            continue;
        }
        let ends_line = matches!(c, '\n' | '\r');
        shown.extend(std::iter::repeat_n(if ends_line { '·' } else { ' ' }, blanks));
        blanks = 0;
        match sign_of(c) {
            Some(sign) => shown.push_str(&sign),
            None => shown.push(c),
        }
    }
    shown.extend(std::iter::repeat_n('·', blanks));
    shown
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(kind: TapKind, text: &str) -> TapEvent {
        TapEvent {
            at: 43_471.207,
            kind,
            pool: "spell".into(),
            worker: Some(5),
            call: Some("5a01c7".to_owned()),
            route: Some("POST /spell".into()),
            bytes: text.len(),
            text: text.to_owned(),
            outcome: None,
            work: None,
            dropped: 0,
        }
    }

    #[test]
    fn an_exchange_reads_from_left_to_right() {
        let end = TapEvent {
            outcome: Some("ok".into()),
            work: Some(Duration::from_micros(1800)),
            ..event(TapKind::End, "")
        };
        let unknown = TapEvent { call: None, route: None, ..event(TapKind::Read, "& helo \n\n") };
        let stray = TapEvent {
            call: None,
            route: None,
            outcome: Some("unasked".into()),
            ..event(TapKind::Stray, "Loading…\n")
        };
        let exit = TapEvent {
            call: None,
            route: None,
            outcome: Some("unasked_output".into()),
            ..event(TapKind::Exit, "")
        };
        let events = [
            event(TapKind::Write, "helo wrld\n"),
            unknown,
            TapEvent { outcome: Some("order".into()), ..event(TapKind::Answer, "& helo") },
            end,
            stray,
            exit,
        ];
        let lines: Vec<String> = events.iter().map(|event| line(event, false)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        12:04:31.207 w5    → 5a01c7   POST /spell        helo wrld␊
        12:04:31.207 w5    ←                             & helo·␊␊
        12:04:31.207 w5    = 5a01c7                      answer, 6 B, by order (nothing proves it)
        12:04:31.207 w5    . 5a01c7   POST /spell        ok after 1.8ms
        12:04:31.207 w5    !                             said while nothing was asked: Loading…␊
        12:04:31.207 w5    !                             the worker has ended: unasked_output
        ");
    }

    #[test]
    fn nothing_that_a_worker_wrote_moves_the_terminal_unless_that_is_wanted() {
        let nasty = event(TapKind::Read, "\x1b]0;x\x07\x1b[2J\u{202e}\\xff  ");
        let shown = line(&nasty, false);
        assert!(shown.ends_with("␛]0;x␇␛[2J\\u{202e}\\xff··"), "{shown}");
        assert!(!shown.chars().any(char::is_control));
        assert!(line(&nasty, true).contains("\x1b[2J"));
        let route = TapEvent { route: Some("GET /\x1b[2J".into()), ..event(TapKind::Write, "a") };
        assert!(!line(&route, true).contains('\x1b'), "a route is never raw");
    }

    #[test]
    fn what_was_left_out_is_said() {
        let cut = TapEvent { bytes: 9000, ..event(TapKind::Read, "abc") };
        assert!(line(&cut, false).ends_with("abc… and more"), "{}", line(&cut, false));
        let late = TapEvent { dropped: 7, ..event(TapKind::Read, "a") };
        assert!(gap(&late).is_some_and(|said| said.contains('7')));
        assert_eq!(gap(&event(TapKind::Read, "a")), None);
    }
}
