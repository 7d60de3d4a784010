//! Every metric once: its name, kind, unit, labels and what it tells.
//!
//! Pure. `docs/reference/metrics.md` is made of this list, and a test compares the two.

/// How the numbers of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the server.
    Counter,
    /// A level: goes up and down.
    Gauge,
    /// Counts of observations by size, with their sum.
    Histogram,
}

/// What one metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name as scraped. Histograms add `_bucket`, `_sum` and `_count` to it.
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: Kind,
    /// What it counts.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence without its full stop.
    pub help: &'static str,
}

impl Kind {
    /// The word of the text format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// `httpipe_requests_total`
pub const REQUESTS: Metric = Metric {
    name: "httpipe_requests_total",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["route", "status"],
    help: "Requests answered, by the match text of their route (`none`: no route) and status",
};

/// `httpipe_calls_total`
pub const CALLS: Metric = Metric {
    name: "httpipe_calls_total",
    kind: Kind::Counter,
    unit: "calls",
    labels: &["pool", "route", "outcome"],
    help: "Calls that entered a pool, by outcome: `ok`, a failure code, or `abandoned`",
};

/// `httpipe_request_seconds`
pub const REQUEST_SECONDS: Metric = Metric {
    name: "httpipe_request_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &["route"],
    help: "Time from the end of a request's head to its response",
};

/// `httpipe_queue_seconds`
pub const QUEUE_SECONDS: Metric = Metric {
    name: "httpipe_queue_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &["pool"],
    help: "Time calls waited before they were first given to a worker",
};

/// `httpipe_work_seconds`
pub const WORK_SECONDS: Metric = Metric {
    name: "httpipe_work_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &["pool"],
    help: "Time calls spent in a worker",
};

/// `httpipe_queue_length`
pub const QUEUE_LENGTH: Metric = Metric {
    name: "httpipe_queue_length",
    kind: Kind::Gauge,
    unit: "calls",
    labels: &["pool"],
    help: "Calls that wait for a worker now",
};

/// `httpipe_workers`
pub const WORKERS: Metric = Metric {
    name: "httpipe_workers",
    kind: Kind::Gauge,
    unit: "workers",
    labels: &["pool", "state"],
    help: "Workers now, by state: `starting`, `ready`, `busy` or `leaving`",
};

/// `httpipe_worker_starts_total`
pub const WORKER_STARTS: Metric = Metric {
    name: "httpipe_worker_starts_total",
    kind: Kind::Counter,
    unit: "workers",
    labels: &["pool"],
    help: "Workers started",
};

/// `httpipe_worker_exits_total`
pub const WORKER_EXITS: Metric = Metric {
    name: "httpipe_worker_exits_total",
    kind: Kind::Counter,
    unit: "workers",
    labels: &["pool", "reason"],
    help: "Workers that ended, by reason: `crash`, `timeout`, `bad_answer`, `unasked_output`, \
           `too_big`, `start_failed`, `recycled`, `scaled_down`, `reloaded` or `stopped`",
};

/// `httpipe_messages_dropped_total`
pub const MESSAGES_DROPPED: Metric = Metric {
    name: "httpipe_messages_dropped_total",
    kind: Kind::Counter,
    unit: "messages",
    labels: &["pool", "reason"],
    help: "Messages of workers that were no answer to anybody who waits, by reason: \
           `notification`, `question` (the worker's own; it is told that there is no such \
           method) or `late` (of a call that was cancelled or left in the middle of its answer)",
};

/// `httpipe_cache_total`
pub const CACHE: Metric = Metric {
    name: "httpipe_cache_total",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["route", "result"],
    help: "Requests of routes that keep answers, by how they were served: `hit`, `miss` or \
           `collapsed`",
};

/// `httpipe_cache_bytes`
pub const CACHE_BYTES: Metric = Metric {
    name: "httpipe_cache_bytes",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Bytes of kept answers now, keys and book-keeping included",
};

/// `httpipe_connections`
pub const CONNECTIONS: Metric = Metric {
    name: "httpipe_connections",
    kind: Kind::Gauge,
    unit: "connections",
    labels: &[],
    help: "Connections of callers now",
};

/// `httpipe_log_dropped_total`
pub const LOG_DROPPED: Metric = Metric {
    name: "httpipe_log_dropped_total",
    kind: Kind::Counter,
    unit: "lines",
    labels: &[],
    help: "Log lines lost because the log could not be written",
};

/// Every metric, in the order in which they are shown.
pub const ALL: &[Metric] = &[
    REQUESTS,
    CALLS,
    REQUEST_SECONDS,
    QUEUE_SECONDS,
    WORK_SECONDS,
    QUEUE_LENGTH,
    WORKERS,
    WORKER_STARTS,
    WORKER_EXITS,
    MESSAGES_DROPPED,
    CACHE,
    CACHE_BYTES,
    CONNECTIONS,
    LOG_DROPPED,
];

/// The page `docs/reference/metrics.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Made from src/observe/metrics/names.rs: change that and run `UPDATE=1 cargo test`. -->\n\n\
         `GET /metrics` of the admin listener answers in Prometheus' text format.\n\
         `route` is the match text of the route, or `none`.\n\n\
         | name | kind | unit | labels | what it tells |\n\
         |---|---|---|---|---|\n",
    );
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let cells = [
            &format!("`{}`", metric.name),
            metric.kind.word(),
            metric.unit,
            &labels.join(", "),
            metric.help,
        ];
        page.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    page.push_str("\nThe upper bounds of the histograms' buckets, in seconds: ");
    let bounds: Vec<&str> = super::handles::BOUNDS.iter().map(|(_, text)| *text).collect();
    page.push_str(&bounds.join(", "));
    page.push_str(", +Inf.\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_what_the_names_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).expect("docs/reference is writable");
        }
        let page = std::fs::read_to_string(path).expect("docs/reference/metrics.md exists");
        assert_eq!(page, reference(), "stale: run `UPDATE=1 cargo test`");
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in ALL {
            let plain = |text: &str| text.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
            assert!(metric.name.starts_with("httpipe_") && plain(metric.name), "{}", metric.name);
            assert!(metric.labels.iter().all(|label| plain(label)), "{}", metric.name);
            let counts = metric.kind == Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), counts, "{}", metric.name);
            let seconds = metric.kind == Kind::Histogram;
            assert_eq!(metric.name.ends_with("_seconds"), seconds, "{}", metric.name);
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
