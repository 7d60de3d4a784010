//! Events of `tracing` as lines of the log.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::{Format, LogLine};
use super::sink::Sink;

/// Writes every event into a sink. Spans are ignored: each line is complete in itself.
#[derive(Debug)]
pub(super) struct EventLayer {
    sink: Arc<Sink>,
    format: Format,
}

impl EventLayer {
    pub(super) fn new(sink: Arc<Sink>, format: Format) -> Self {
        Self { sink, format }
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        // Formatting a value may log, so it is done before the sink is locked.
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Format::Terminal { .. } = self.format {
            fields.shorten();
        }
        self.sink.line(level <= Level::WARN, |to, clock, since_epoch| {
            let mut line = LogLine::begin(to, self.format, clock, since_epoch, level_name(level));
            if let Some(message) = &fields.message {
                line.message(message);
            }
            for (name, value) in &fields.others {
                value.write(&mut line, name);
            }
            line.end();
        });
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: Vec<(&'static str, FieldValue)>,
}

impl Fields {
    /// Puts a whole line, which is to be read or copied, into the message, and leaves out what the
    /// message says already.
    fn shorten(&mut self) {
        let Some(message) = &self.message else {
            self.message = self.take_line();
            return;
        };
        let is_said = |name: &str, value: &FieldValue| match (name, value) {
            ("address", _) => true,
            ("pool", FieldValue::Text(pool)) => message.starts_with(&format!("pool {pool}")),
            _ => false,
        };
        self.others.retain(|(name, value)| !is_said(name, value));
        if let Some(line) = self.take_line() {
            self.message = self.message.take().map(|message| format!("{message}: {line}"));
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let place = self.others.iter().position(|(name, _)| *name == "line")?;
        match self.others.remove(place) {
            (_, FieldValue::Text(line)) => Some(line),
            _ => None,
        }
    }
}

enum FieldValue {
    Text(String),
    Unsigned(u64),
    Signed(i64),
    Fraction(f64),
    Boolean(bool),
}

impl FieldValue {
    fn write(&self, line: &mut LogLine<'_>, name: &str) {
        match self {
            Self::Text(value) => line.text(name, value),
            Self::Unsigned(value) => line.number(name, *value),
            Self::Signed(value) => line.number(name, *value),
            Self::Fraction(value) => line.fraction(name, *value),
            Self::Boolean(value) => line.boolean(name, *value),
        }
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), FieldValue::Unsigned(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), FieldValue::Signed(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), FieldValue::Fraction(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), FieldValue::Boolean(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.others.push((field.name(), FieldValue::Text(value.to_owned())));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_err() {
            text.push_str("(a value that cannot be shown)");
        }
        self.record_str(field, &text);
    }
}
