//! The dashboard and the alerts of `examples/monitoring` chart and watch what the server counts: a
//! metric that is renamed here is renamed there, and a new one has its place.

use std::collections::BTreeSet;

use httpipe::testing::observe::metrics::names::{ALL, Metric, MetricKind};
use serde_json::Value;

/// Metrics that no panel shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("httpipe_log_dropped_total", "an alert says it; as a curve it is always 0"),
    ("httpipe_access_log_dropped_total", "an alert says it; as a curve it is always 0"),
];

/// Labels that Prometheus adds: the bucket of a histogram, and where a sample comes from.
const GIVEN_LABELS: &[&str] = &["le", "job", "instance"];

fn read(name: &str) -> String {
    let path = format!("{}/examples/monitoring/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path} can be read"))
}

/// Returns the expressions of the dashboard, each with the legend of its line.
fn dashboard() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let panels = document["panels"].as_array().expect("a list").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let text = |target: &Value, key: &str| target[key].as_str().expect("a text").to_owned();
    let mut found: Vec<_> =
        targets.map(|target| (text(target, "expr"), text(target, "legendFormat"))).collect();
    for variable in document["templating"]["list"].as_array().expect("a list") {
        if let Some(query) = variable["query"]["query"].as_str() {
            let asked = query.trim_start_matches("label_values(").trim_end_matches(')');
            let (selector, label) = asked.rsplit_once(", ").expect("a metric and a label");
            found.push((selector.to_owned(), format!("{{{{{label}}}}}")));
        }
    }
    found
}

/// Returns the expressions of the alerts: what is after `expr:`, on its line or indented below it.
fn alerts() -> Vec<String> {
    let text = read("alerts.yml");
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(first) = line.trim().strip_prefix("expr:") else { continue };
        let mut expression = first.trim_start_matches(" |").to_owned();
        while let Some(next) = lines.next_if(|next| next.starts_with("          ")) {
            expression.push_str(next);
        }
        found.push(expression);
    }
    found
}

/// Returns the series of tests of alerts.
fn series() -> Vec<String> {
    let text = read("alerts.test.yml");
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("- series: '"));
    lines.map(|line| line.trim_end_matches('\'').to_owned()).collect()
}

/// One mention of a metric in an expression.
#[derive(Debug)]
struct Mention {
    name: String,
    /// Its labels, and the values that are asked of them.
    wanted: Vec<(String, Vec<String>)>,
}

fn mentions(expression: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("httpipe_") {
        let rest = &expression[at..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let braces = rest[end..].strip_prefix('{');
        let inside = braces.map_or("", |inside| inside.split('}').next().unwrap_or_default());
        let wanted = inside.split(", ").filter(|part| !part.is_empty()).map(|part| {
            let end = part.find(['=', '!']).expect("a label, an operator and a value");
            let values = part[end..].trim_matches(['=', '!', '~', '"']);
            (part[..end].to_owned(), values.split('|').map(str::to_owned).collect())
        });
        found.push(Mention { name: rest[..end].to_owned(), wanted: wanted.collect() });
    }
    found
}

/// Returns the metric whose sample has this name.
fn metric(name: &str) -> &'static Metric {
    let is_it = |metric: &&Metric| match name.strip_prefix(metric.name) {
        Some("") => metric.kind != MetricKind::Histogram,
        Some("_bucket" | "_sum" | "_count") => metric.kind == MetricKind::Histogram,
        _ => false,
    };
    ALL.iter().find(is_it).unwrap_or_else(|| panic!("there is no metric `{name}`"))
}

/// Returns the words between backticks: the values of its labels, where they are a closed list.
fn words_of(metric: &Metric) -> BTreeSet<String> {
    let mut words: BTreeSet<String> =
        metric.help.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    if metric.labels.contains(&"outcome") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/failures.md");
        let page = std::fs::read_to_string(path).expect("there is a page of the codes");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        words.extend(rows.filter_map(|row| row.split('`').next()).map(str::to_owned));
    }
    words
}

/// Panics unless the server has what an expression asks for.
fn check(expression: &str) {
    let mut labels: BTreeSet<&str> = GIVEN_LABELS.iter().copied().collect();
    for mention in mentions(expression) {
        let metric = metric(&mention.name);
        labels.extend(metric.labels);
        for (label, values) in mention.wanted {
            let is_given = GIVEN_LABELS.contains(&label.as_str());
            assert!(
                is_given || metric.labels.contains(&label.as_str()),
                "`{}` has no label `{label}`: {expression}",
                metric.name
            );
            let is_open =
                is_given || ["pool", "route", "status", "version"].contains(&label.as_str());
            for value in values.iter().filter(|value| !is_open && !value.starts_with('$')) {
                let words = words_of(metric);
                assert!(words.contains(value), "`{label}` is never `{value}`, but {words:?}");
            }
        }
    }
    for part in expression.split("by (").skip(1) {
        for label in part.split(')').next().unwrap_or_default().split(", ") {
            assert!(labels.contains(label), "no label `{label}` in {expression}");
        }
    }
}

#[test]
fn the_dashboard_shows_what_there_is() {
    for (expression, legend) in dashboard() {
        check(&expression);
        for label in legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()) {
            let is_kept = expression.contains("by (") && expression.contains(label);
            let is_asked = mentions(&expression).iter().any(|one| {
                metric(&one.name).labels.contains(&label) || GIVEN_LABELS.contains(&label)
            });
            assert!(is_kept || is_asked, "the legend {legend} of {expression}");
        }
    }
}

#[test]
fn the_alerts_watch_what_there_is_and_each_is_tested() {
    let alerts = alerts();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for expression in alerts.iter().chain(&series()) {
        check(expression);
    }
    let (rules, tests) = (read("alerts.yml"), read("alerts.test.yml"));
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {name}\n")), "no test of {name}");
    }
}

#[test]
fn every_metric_is_in_a_panel_or_there_is_a_reason() {
    let shown: BTreeSet<&str> = dashboard()
        .iter()
        .flat_map(|(expression, _)| mentions(expression))
        .map(|mention| metric(&mention.name).name)
        .collect();
    for metric in ALL {
        let reason = NOT_SHOWN.iter().find(|(name, _)| *name == metric.name);
        let is_shown = shown.contains(metric.name);
        assert!(is_shown != reason.is_some(), "{}: {is_shown} {reason:?}", metric.name);
    }
    for (name, _) in NOT_SHOWN {
        assert!(ALL.iter().any(|metric| metric.name == *name), "there is no metric `{name}`");
        assert!(alerts().iter().any(|alert| alert.contains(name)), "no alert says {name}");
    }
}

#[test]
#[should_panic(expected = "there is no metric `httpipe_work_second_bucket`")]
fn a_metric_that_was_renamed_is_found() {
    check("rate(httpipe_work_second_bucket{pool=\"a\"}[5m])");
}

#[test]
#[should_panic(expected = "`reason` is never `crashed`")]
fn a_value_that_was_renamed_is_found() {
    check("httpipe_worker_exits_total{reason=~\"timeout|crashed\"}");
}

#[test]
#[should_panic(expected = "has no label `state`")]
fn a_label_that_was_renamed_is_found() {
    check("sum by (pool) (httpipe_queue_length{state=\"busy\"})");
}

#[test]
#[should_panic(expected = "no label `pools`")]
fn a_grouping_that_was_renamed_is_found() {
    check("sum by (pools) (httpipe_queue_length)");
}
