//! What the framing of a pool can carry, as far as a regular expression can say it.
//!
//! Pure. The text that ends a message under `until` is left out: whether a value forms it depends on
//! the text around it.

use crate::base::parameter::Parameter;
use crate::base::template::{Form, Segment, Slot};
use crate::config::{CallSettings, Framing, RouteSettings, SendShape, WireSettings};

/// What a text must not hold that is sent in a framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Any text.
    Anything,
    /// One line.
    Line,
    /// No NUL.
    NoNul,
    /// No NUL, no carriage return and no empty line.
    Block,
}

impl Carries {
    /// What questions in this framing may hold.
    pub(super) fn of(framing: &Framing) -> Self {
        match framing {
            Framing::Line | Framing::Lines(_) | Framing::LastLine(_) | Framing::Turn => Self::Line,
            Framing::Nul => Self::NoNul,
            Framing::Block => Self::Block,
            Framing::Until(_)
            | Framing::U16
            | Framing::U32
            | Framing::U32le
            | Framing::Netstring
            | Framing::ContentLength
            | Framing::Eof => Self::Anything,
        }
    }

    /// What a parameter may hold: as much as the framing carries, if its text stands in the question
    /// without being written as JSON or base64.
    pub(super) fn of_parameter(
        parameter: &Parameter,
        route: &RouteSettings,
        call: &CallSettings,
        wire: &WireSettings,
    ) -> Self {
        let SendShape::Template(template) = &call.send else { return Self::Anything };
        let is_as_it_is = template.segments.iter().any(|segment| match segment {
            Segment::Slot(Slot::Parameter { index, form: Form::AsIs | Form::Line }) => {
                route.parameters[*index].name == parameter.name
            }
            _ => false,
        });
        if is_as_it_is { Self::of(&wire.framing.send) } else { Self::Anything }
    }

    /// The expression that a text of this kind matches.
    pub(super) fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Anything => None,
            Self::Line => Some(r"^[^\n\r\x00]*$"),
            Self::NoNul => Some(r"^[^\x00]*$"),
            Self::Block => Some(r"^[^\r\x00]*$"),
        }
    }

    /// The expression that a body of this kind matches: one final line end is not part of it.
    pub(super) fn pattern_of_body(self) -> Option<&'static str> {
        match self {
            Self::Line => Some(r"^[^\n\r\x00]*(?:\r?\n)?$"),
            other => other.pattern(),
        }
    }

    /// The characters that no text of this kind holds.
    pub(super) fn refused(self) -> &'static [char] {
        match self {
            Self::Anything => &[],
            Self::Line => &['\n', '\r', '\0'],
            Self::NoNul => &['\0'],
            Self::Block => &['\r', '\0'],
        }
    }
}
