//! Prometheus' text format, version 0.0.4.
//!
//! Pure: writes into a text. It is written here because the client libraries at hand write
//! `OpenMetrics`, whose `# TYPE` lines name counters without `_total`; a server that reads 0.0.4
//! takes such counters for untyped.

use std::fmt::Write as _;

use super::handles::{BOUNDS, Histogram};
use super::names::Metric;

/// What it must be served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics under way.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Begins a metric; its samples must follow before another one begins.
    pub(super) fn metric(&mut self, metric: &Metric) {
        self.0.push_str("# HELP ");
        self.0.push_str(metric.name);
        self.0.push(' ');
        escape(&mut self.0, metric.help, false);
        self.0.push_str("\n# TYPE ");
        self.0.push_str(metric.name);
        self.0.push(' ');
        self.0.push_str(metric.kind.word());
        self.0.push('\n');
    }

    /// One sample; `values` are those of the metric's labels, in their order.
    pub(super) fn sample(&mut self, metric: &Metric, values: &[&str], number: impl itoa::Integer) {
        self.name(metric, "", values, None);
        self.0.push_str(itoa::Buffer::new().format(number));
        self.0.push('\n');
    }

    /// The samples of one histogram.
    pub(super) fn histogram(&mut self, metric: &Metric, values: &[&str], histogram: &Histogram) {
        let counts = histogram.cumulated();
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(counts) {
            self.name(metric, "_bucket", values, Some(bound));
            self.0.push_str(itoa::Buffer::new().format(count));
            self.0.push('\n');
        }
        self.name(metric, "_sum", values, None);
        let sum = histogram.sum();
        writeln!(self.0, "{}.{:09}", sum.as_secs(), sum.subsec_nanos())
            .expect("a text takes all that is written");
        self.name(metric, "_count", values, None);
        self.0.push_str(itoa::Buffer::new().format(counts[BOUNDS.len()]));
        self.0.push('\n');
    }

    fn name(&mut self, metric: &Metric, suffix: &str, values: &[&str], bound: Option<&str>) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        self.0.push_str(metric.name);
        self.0.push_str(suffix);
        let labels = metric.labels.iter().copied().zip(values.iter().copied());
        let mut before = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.0.push(before);
            self.0.push_str(label);
            self.0.push_str("=\"");
            escape(&mut self.0, value, true);
            self.0.push('"');
            before = ',';
        }
        self.0.push_str(if before == ',' { "} " } else { " " });
    }
}

/// A backslash, a line feed and, in a label's value, a quote would be read as the end.
fn escape(page: &mut String, text: &str, quoted: bool) {
    for char in text.chars() {
        match char {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' if quoted => page.push_str("\\\""),
            char => page.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::names::{CONNECTIONS, QUEUE_SECONDS, REQUESTS};
    use super::*;

    #[test]
    fn a_metric_is_typed_under_the_name_of_its_samples() {
        let mut page = Page::default();
        page.metric(&REQUESTS);
        page.sample(&REQUESTS, &["GET /", "200"], 7_u64);
        page.sample(&CONNECTIONS, &[], -1_i64);
        let page = page.finish();
        assert!(page.starts_with("# HELP httpipe_requests_total Requests answered"), "{page}");
        assert!(
            page.ends_with(
                "\n# TYPE httpipe_requests_total counter\n\
                 httpipe_requests_total{route=\"GET /\",status=\"200\"} 7\n\
                 httpipe_connections -1\n"
            ),
            "{page}"
        );
    }

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let mut page = Page::default();
        page.sample(&REQUESTS, &["GET /\"} 1\nx{a=\"\\", "200"], 1_u64);
        assert_eq!(
            page.finish(),
            "httpipe_requests_total{route=\"GET /\\\"} 1\\nx{a=\\\"\\\\\",status=\"200\"} 1\n"
        );
    }

    #[test]
    fn a_histogram_is_cumulated_and_ends_with_sum_and_count() {
        let histogram = Histogram::default();
        for micros in [40, 60, 400_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut page = Page::default();
        page.histogram(&QUEUE_SECONDS, &["p"], &histogram);
        let page = page.finish();
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "httpipe_queue_seconds_bucket{pool=\"p\",le=\"0.00005\"} 1");
        assert_eq!(lines[1], "httpipe_queue_seconds_bucket{pool=\"p\",le=\"0.0001\"} 2");
        assert_eq!(lines[19], "httpipe_queue_seconds_bucket{pool=\"p\",le=\"300\"} 2");
        assert_eq!(lines[20], "httpipe_queue_seconds_bucket{pool=\"p\",le=\"+Inf\"} 3");
        assert_eq!(lines[21], "httpipe_queue_seconds_sum{pool=\"p\"} 400.000100000");
        assert_eq!(lines[22], "httpipe_queue_seconds_count{pool=\"p\"} 3");
    }
}
