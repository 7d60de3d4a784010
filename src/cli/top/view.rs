//! What the user has chosen to see, and what each key changes.
//!
//! Pure.

use crate::report::Status;

/// What the user has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The pool whose workers are shown; `None`: all.
    pub(super) pool: Option<String>,
    pub(super) sort: WorkerSort,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// How many workers are scrolled past.
    pub(super) scrolled: usize,
}

/// In which order workers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WorkerSort {
    /// Those that most need a look.
    #[default]
    Notable,
    Cpu,
    Memory,
    Calls,
    Started,
}

impl WorkerSort {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Notable => "worth a look",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Calls => "calls",
            Self::Started => "oldest",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Notable => Self::Cpu,
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Calls,
            Self::Calls => Self::Started,
            Self::Started => Self::Notable,
        }
    }
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPress {
    Up,
    Down,
    PageUp,
    PageDown,
    Escape,
    Char(char),
}

/// Splits what a terminal sent into keys. What it does not know is left out.
pub(super) fn keys(bytes: &[u8]) -> Vec<KeyPress> {
    const SEQUENCES: [(&[u8], Option<KeyPress>); 6] = [
        (b"\x1b[A", Some(KeyPress::Up)),
        (b"\x1bOA", Some(KeyPress::Up)),
        (b"\x1b[B", Some(KeyPress::Down)),
        (b"\x1bOB", Some(KeyPress::Down)),
        (b"\x1b[5~", Some(KeyPress::PageUp)),
        (b"\x1b[6~", Some(KeyPress::PageDown)),
    ];
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let known = SEQUENCES.iter().find(|(sequence, _)| rest.starts_with(sequence));
        let length = match known {
            Some((sequence, key)) => {
                keys.extend(*key);
                sequence.len()
            }
            None if *first == 0x1b && rest.len() == 1 => {
                keys.push(KeyPress::Escape);
                1
            }
            None if *first == 0x1b => unknown_sequence(rest),
            None => {
                keys.push(KeyPress::Char(char::from(*first)));
                1
            }
        };
        rest = &rest[length..];
    }
    keys
}

/// Returns the length of an escape sequence that no key here has.
fn unknown_sequence(bytes: &[u8]) -> usize {
    if !matches!(bytes.get(1), Some(b'[' | b'O')) {
        return bytes.len().min(2);
    }
    let end = bytes[2..].iter().position(|byte| matches!(byte, b'@'..=b'~'));
    end.map_or(bytes.len(), |end| end + 3)
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Show,
    Quit,
}

impl View {
    /// Does what a key means. `page`: how many workers are on the screen.
    pub(super) fn press(&mut self, key: KeyPress, status: Option<&Status>, page: usize) -> Then {
        if self.shows_help && key != KeyPress::Char('q') && key != KeyPress::Char('\x03') {
            self.shows_help = false;
            return Then::Show;
        }
        match key {
            KeyPress::Char('q' | '\x03') => return Then::Quit,
            KeyPress::Char('?' | 'h') => self.shows_help = true,
            KeyPress::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyPress::Char('s') => {
                self.sort = self.sort.next();
                self.scrolled = 0;
            }
            KeyPress::Up | KeyPress::Char('k') => self.step(status, -1),
            KeyPress::Down | KeyPress::Char('j') => self.step(status, 1),
            KeyPress::PageDown => {
                let most = self.workers_of(status).saturating_sub(page);
                self.scrolled = (self.scrolled + page).min(most);
            }
            KeyPress::PageUp => self.scrolled = self.scrolled.saturating_sub(page),
            KeyPress::Escape => (self.pool, self.scrolled) = (None, 0),
            KeyPress::Char(_) => {}
        }
        Then::Show
    }

    /// Moves from all pools to the first, the next, and so on.
    fn step(&mut self, status: Option<&Status>, by: isize) {
        let Some(status) = status else { return };
        let names = status.pools.iter().map(|pool| Some(&pool.name));
        let all: Vec<Option<&String>> = std::iter::once(None).chain(names).collect();
        let place = all.iter().position(|name| *name == self.pool.as_ref()).unwrap_or(0);
        let place = place.saturating_add_signed(by).min(all.len() - 1);
        self.pool = all[place].cloned();
        self.scrolled = 0;
    }

    fn workers_of(&self, status: Option<&Status>) -> usize {
        let pools = status.into_iter().flat_map(|status| &status.pools);
        let shown = pools.filter(|pool| self.pool.as_ref().is_none_or(|name| *name == pool.name));
        shown.map(|pool| pool.workers.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::status;

    #[test]
    fn bytes_of_a_terminal_become_keys_and_unknown_ones_are_left_out() {
        assert_eq!(keys(b"jq"), [KeyPress::Char('j'), KeyPress::Char('q')]);
        assert_eq!(keys(b"\x1b[A\x1bOB"), [KeyPress::Up, KeyPress::Down]);
        assert_eq!(keys(b"\x1b[5~\x1b[6~"), [KeyPress::PageUp, KeyPress::PageDown]);
        assert_eq!(keys(b"\x1b"), [KeyPress::Escape]);
        assert_eq!(
            keys(b"\x1b[1;5Cs\x1bx\x1b[<0;1;1Mp"),
            [KeyPress::Char('s'), KeyPress::Char('p')]
        );
        assert_eq!(keys(b"\x1b[1;5"), []);
        assert_eq!(keys(b"\x03"), [KeyPress::Char('\x03')]);
    }

    #[test]
    fn arrows_go_through_all_pools_and_stop_at_the_ends() {
        let status = status(&[("a", 1, 0), ("b", 1, 0)]);
        let mut view = View::default();
        let mut chosen = |key| {
            assert_eq!(view.press(key, Some(&status), 10), Then::Show);
            view.pool.clone()
        };
        assert_eq!(chosen(KeyPress::Up), None);
        assert_eq!(chosen(KeyPress::Down).as_deref(), Some("a"));
        assert_eq!(chosen(KeyPress::Char('j')).as_deref(), Some("b"));
        assert_eq!(chosen(KeyPress::Down).as_deref(), Some("b"));
        assert_eq!(chosen(KeyPress::Char('k')).as_deref(), Some("a"));
        assert_eq!(chosen(KeyPress::Escape), None);
    }

    #[test]
    fn keys_pause_sort_help_and_quit() {
        let mut view = View::default();
        view.press(KeyPress::Char('p'), None, 10);
        assert!(view.is_paused);
        let mut names = vec![view.sort.name()];
        for _ in 0..5 {
            view.press(KeyPress::Char('s'), None, 10);
            names.push(view.sort.name());
        }
        assert_eq!(names, ["worth a look", "cpu", "memory", "calls", "oldest", "worth a look"]);
        view.press(KeyPress::Char('?'), None, 10);
        assert!(view.shows_help);
        view.press(KeyPress::Char('j'), None, 10);
        assert!(!view.shows_help, "any key closes it");
        assert_eq!(view.press(KeyPress::Char('q'), None, 10), Then::Quit);
        assert_eq!(view.press(KeyPress::Char('\x03'), None, 10), Then::Quit);
    }
}
