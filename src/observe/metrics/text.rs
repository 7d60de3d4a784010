//! Prometheus' text format, version 0.0.4.
//!
//! Pure: writes into a string. The client libraries at hand write `OpenMetrics`, whose `# TYPE`
//! lines name counters without `_total`: a server that reads 0.0.4 takes such counters for
//! untyped.

use std::fmt::Write as _;
use std::time::Duration;

use super::groups::{GROUP_BOUNDS, GroupSizes};
use super::series::{BOUNDS, Histogram};

/// The content type under which a page must be served.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics that is being written.
#[derive(Debug, Default)]
pub(super) struct MetricsPage(String);

/// Writes the samples of one metric.
pub(super) struct Samples<'a> {
    page: &'a mut String,
    name: &'static str,
    labels: &'static [&'static str],
}

impl MetricsPage {
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Begins a metric. Its samples must follow before the next metric begins.
    pub(super) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        self.0.extend(["# HELP ", name, " "]);
        escape(&mut self.0, help, false);
        self.0.extend(["\n# TYPE ", name, " ", kind, "\n"]);
    }

    /// The samples of the metric with this name and these labels.
    pub(super) fn samples(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
    ) -> Samples<'_> {
        Samples { page: &mut self.0, name, labels }
    }
}

impl Samples<'_> {
    /// Writes one sample. `values` are the values of the labels, in the order of the labels.
    pub(super) fn number(&mut self, values: &[&str], number: impl itoa::Integer) {
        self.name("", values, None);
        self.page.extend([itoa::Buffer::new().format(number), "\n"]);
    }

    /// Writes one sample of a time, in seconds.
    pub(super) fn seconds(&mut self, values: &[&str], time: Duration) {
        self.name("", values, None);
        self.value_in_seconds(time);
    }

    fn value_in_seconds(&mut self, time: Duration) {
        writeln!(self.page, "{}.{:09}", time.as_secs(), time.subsec_nanos())
            .expect("a string can always grow");
    }

    /// Writes the samples of one histogram.
    pub(super) fn histogram(&mut self, values: &[&str], histogram: &Histogram) {
        let counts = histogram.cumulated();
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(counts) {
            self.name("_bucket", values, Some(bound));
            self.page.extend([itoa::Buffer::new().format(count), "\n"]);
        }
        self.name("_sum", values, None);
        self.value_in_seconds(histogram.sum());
        self.name("_count", values, None);
        self.page.extend([itoa::Buffer::new().format(counts[BOUNDS.len()]), "\n"]);
    }

    /// Writes the samples of the histogram of the sizes of groups.
    pub(super) fn group_sizes(&mut self, values: &[&str], sizes: &GroupSizes) {
        let counts = sizes.cumulated();
        let bounds = GROUP_BOUNDS.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            self.name("_bucket", values, Some(&bound));
            self.page.extend([itoa::Buffer::new().format(count), "\n"]);
        }
        self.name("_sum", values, None);
        self.page.extend([itoa::Buffer::new().format(sizes.calls()), "\n"]);
        self.name("_count", values, None);
        self.page.extend([itoa::Buffer::new().format(counts[GROUP_BOUNDS.len()]), "\n"]);
    }

    fn name(&mut self, suffix: &str, values: &[&str], bound: Option<&str>) {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        self.page.extend([self.name, suffix]);
        let labels = self.labels.iter().copied().zip(values.iter().copied());
        let mut before = "{";
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.page.extend([before, label, "=\""]);
            escape(self.page, value, true);
            self.page.push('"');
            before = ",";
        }
        self.page.push_str(if before == "," { "} " } else { " " });
    }
}

/// Escapes what would end the text early: a backslash, a line feed and, in quotes, a quote.
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
    use super::*;

    const REQUEST_LABELS: &[&str] = &["route", "status"];

    #[test]
    fn a_metric_is_typed_under_the_name_of_its_samples() {
        let mut page = MetricsPage::default();
        page.metric("httpipe_requests_total", "counter", "Requests answered");
        page.samples("httpipe_requests_total", REQUEST_LABELS).number(&["GET /", "200"], 7_u64);
        page.samples("httpipe_connections", &[]).number(&[], -1_i64);
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
        let mut page = MetricsPage::default();
        let mut samples = page.samples("httpipe_requests_total", REQUEST_LABELS);
        samples.number(&["GET /\"} 1\nx{a=\"\\", "200"], 1_u64);
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
        let mut page = MetricsPage::default();
        page.samples("httpipe_queue_seconds", &["pool"]).histogram(&["p"], &histogram);
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
