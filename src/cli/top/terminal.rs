//! The terminal while `httpipe top` has it: raw, on its other screen, without a cursor. It is given
//! back when this is dropped, and before the words of a panic.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::line::{Ink, ScreenLine};
use super::picture::ScreenSize;

/// Other screen, no cursor, no line that is broken.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const GIVE_BACK: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A terminal that knows these shows a picture whole.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";
/// What a screen is taken for that does not say how large it is.
const USUAL: ScreenSize = ScreenSize { columns: 80, rows: 24 };

/// A terminal that was taken.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Termios,
    is_coloured: bool,
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send>;

impl Terminal {
    /// Takes the terminal of stdin and stdout.
    pub(super) fn take() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        let terminal = Self { before: before.clone(), is_coloured: has_colours() };
        let next: Hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back(&before);
            next(info);
        }));
        write(TAKE)?;
        Ok(terminal)
    }

    /// Shows a picture.
    pub(super) fn show(&self, lines: &[ScreenLine]) -> io::Result<()> {
        let mut text = BEGIN.to_owned();
        for (place, line) in lines.iter().enumerate() {
            text.push_str(if place == 0 { "" } else { "\r\n" });
            text.push_str(&painted(line, self.is_coloured));
            text.push_str("\x1b[K");
        }
        text.push_str(END);
        write(&text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&self.before);
    }
}

fn give_back(before: &Termios) {
    // There is nobody left to tell.
    write(GIVE_BACK).ok();
    tcsetattr(io::stdin(), OptionalActions::Flush, before).ok();
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns true if a person sits before a terminal that can show more than a line after the other.
pub(super) fn is_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// Returns how large the screen is.
pub(super) fn size() -> ScreenSize {
    let window = tcgetwinsize(io::stdout().as_fd());
    let known = window.ok().filter(|window| window.ws_col > 0 && window.ws_row > 0);
    known.map_or(USUAL, |window| ScreenSize {
        columns: window.ws_col.into(),
        rows: window.ws_row.into(),
    })
}

/// Returns true unless `NO_COLOR` says otherwise: <https://no-color.org>.
pub(super) fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes a line with its looks.
pub(super) fn painted(line: &ScreenLine, is_coloured: bool) -> String {
    let mut text = String::new();
    for (look, piece) in &line.0 {
        match code(*look, is_coloured) {
            "" => text.push_str(piece),
            code => write!(text, "\x1b[{code}m{piece}\x1b[0m").expect("a text takes everything"),
        }
    }
    text
}

fn code(look: Ink, is_coloured: bool) -> &'static str {
    match (look, is_coloured) {
        (Ink::Bold, _) | (Ink::Bad, false) => "1",
        (Ink::Dim, _) => "2",
        (Ink::Chosen, _) => "7",
        (Ink::Good, true) => "32",
        (Ink::Warn | Ink::Wait, true) => "33",
        (Ink::Bad, true) => "1;31",
        (Ink::Work, true) => "34",
        (Ink::Plain, _) | (Ink::Good | Ink::Warn | Ink::Wait | Ink::Work, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_only_what_is_bold_dim_or_reversed_is_marked() {
        let looks = [Ink::Plain, Ink::Bold, Ink::Good, Ink::Bad, Ink::Wait, Ink::Chosen];
        let line = ScreenLine(looks.map(|look| (look, "x".to_owned())).into());
        let coloured = painted(&line, true);
        assert!(coloured.contains("\x1b[32mx") && coloured.contains("\x1b[1;31mx"), "{coloured:?}");
        assert_eq!(painted(&line, false), "x\x1b[1mx\x1b[0mx\x1b[1mx\x1b[0mx\x1b[7mx\x1b[0m");
    }
}
