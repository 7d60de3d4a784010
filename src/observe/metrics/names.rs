//! Every metric once: its name, kind, unit, labels, help, and the numbers it is made of.
//!
//! Pure: the page of metrics and `docs/reference/metrics.md` are made from one table; a test
//! compares the document with it.

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
use super::groups::GROUP_BOUNDS;
use super::jobs::JOBS;
use super::labels::{AgentResult, CacheResult, Denial, Dropping, OperatorAction};
pub use super::metric::{Metric, MetricKind};
#[cfg(test)]
use super::series::BOUNDS;
use super::series::RouteSeries;
use super::shared::SHARED;
use super::spread::SPREAD;
use super::tls_names;
use crate::base::{Conduct, ExitReason};

/// Every metric, in the order in which they are shown.
pub const ALL: &[Metric] = &[
    Metric {
        name: "httpipe_requests_total",
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["route", "status"],
        help: "Requests answered, by the match text of their route (`none`: no route) and status",
        samples: |numbers, to| {
            for route in &numbers.series.routes {
                for (status, count) in route.statuses.seen() {
                    let mut status_text = itoa::Buffer::new();
                    to.number(&[&route.label, status_text.format(status)], count);
                }
            }
        },
    },
    Metric {
        name: "httpipe_calls_total",
        kind: MetricKind::Counter,
        unit: "calls",
        labels: &["pool", "route", "outcome"],
        help: "Calls to a pool that ended, by outcome: `ok`, a failure code, or `abandoned`",
        samples: |numbers, to| {
            for calls in &numbers.series.calls {
                for (outcome, count) in calls.outcomes.seen() {
                    to.number(&[&calls.pool, &calls.route, outcome], count);
                }
            }
        },
    },
    Metric {
        name: "httpipe_request_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &["route"],
        help: "Time from the end of a request's head until its response is ready; for an answer in parts, its first part",
        samples: |numbers, to| {
            for route in &numbers.series.routes {
                to.histogram(&[&route.label], &route.seconds);
            }
        },
    },
    Metric {
        name: "httpipe_queue_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &["pool"],
        help: "Time from the acceptance of a call until it was last given to a worker, or until it ended without one",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.histogram(&[&pool.name], &pool.queue);
            }
        },
    },
    Metric {
        name: "httpipe_work_seconds",
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &["pool"],
        help: "Time from when a call was last given to a worker until it ended",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.histogram(&[&pool.name], &pool.work);
            }
        },
    },
    Metric {
        name: "httpipe_batch_size",
        kind: MetricKind::Histogram,
        unit: "calls",
        labels: &["pool"],
        help: "Calls that a worker was given together, in pools with `batch`",
        samples: |numbers, to| {
            for pool in numbers.series.pools.iter().filter(|pool| pool.groups.are_any()) {
                to.group_sizes(&[&pool.name], &pool.groups);
            }
        },
    },
    Metric {
        name: "httpipe_queue_length",
        kind: MetricKind::Gauge,
        unit: "calls",
        labels: &["pool"],
        help: "Calls that wait for a worker now",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.queue_length.value());
            }
        },
    },
    Metric {
        name: "httpipe_workers",
        kind: MetricKind::Gauge,
        unit: "workers",
        labels: &["pool", "state"],
        help: "Workers now, by state: `starting`, `ready`, `busy` or `leaving`",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                for (state, count) in pool.worker_counts().by_state() {
                    to.number(&[&pool.name, state], count);
                }
            }
        },
    },
    Metric {
        name: "httpipe_slots",
        kind: MetricKind::Gauge,
        unit: "calls",
        labels: &["pool"],
        help: "Calls that can be in workers at once: where a worker serves, and where one would be started now",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.slots.value());
            }
        },
    },
    Metric {
        name: "httpipe_workers_most",
        kind: MetricKind::Gauge,
        unit: "workers",
        labels: &["pool"],
        help: "Most workers that the configuration allows",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.workers_most.value());
            }
        },
    },
    Metric {
        name: "httpipe_poisonous",
        kind: MetricKind::Gauge,
        unit: "questions",
        labels: &["pool"],
        help: "Questions that are refused now because each cost several workers",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.poisonous.value());
            }
        },
    },
    Metric {
        name: "httpipe_record_bytes",
        kind: MetricKind::Gauge,
        unit: "bytes",
        labels: &["pool"],
        help: "Memory of the exchanges that are kept for records of workers, if the pool has `record`",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.record_bytes.value());
            }
        },
    },
    Metric {
        name: "httpipe_worker_cpu_seconds_total",
        kind: MetricKind::Counter,
        unit: "seconds",
        labels: &["pool"],
        help: "CPU time that workers have used, those that have ended included, without processes that they started",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.seconds(&[&pool.name], Duration::from_nanos(pool.cpu.value()));
            }
        },
    },
    Metric {
        name: "httpipe_worker_memory_bytes",
        kind: MetricKind::Gauge,
        unit: "bytes",
        labels: &["pool"],
        help: "Resident memory of the workers now, read at the scrape; what they share counts for each",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.memory.value());
            }
        },
    },
    Metric {
        name: "httpipe_worker_starts_total",
        kind: MetricKind::Counter,
        unit: "workers",
        labels: &["pool"],
        help: "Workers started, those that failed to start included",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.starts.value());
            }
        },
    },
    Metric {
        name: "httpipe_worker_forks_total",
        kind: MetricKind::Counter,
        unit: "workers",
        labels: &["pool"],
        help: "Workers that the fork server of a pool of functions made; the others were started",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.forks.value());
            }
        },
    },
    Metric {
        name: "httpipe_fork_servers_lost_total",
        kind: MetricKind::Counter,
        unit: "fork servers",
        labels: &["pool"],
        help: "Fork servers that ended by themselves, stopped forking, or could not load the program",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                to.number(&[&pool.name], pool.fork_servers_lost.value());
            }
        },
    },
    Metric {
        name: "httpipe_worker_exits_total",
        kind: MetricKind::Counter,
        unit: "workers",
        labels: &["pool", "reason"],
        help: "Workers that ended, by reason: `crash`, `timeout`, `bad_answer`, `unasked_output`, \
               `too_big`, `start_failed`, `recycled`, `scaled_down`, `reloaded`, `stopped` or `killed`",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                for (reason, count) in ExitReason::ALL.iter().zip(&pool.exits) {
                    to.number(&[&pool.name, reason.label()], count.value());
                }
            }
        },
    },
    Metric {
        name: "httpipe_messages_dropped_total",
        kind: MetricKind::Counter,
        unit: "messages",
        labels: &["pool", "reason"],
        help: "Messages that were passed on to nobody, by reason: `notification`, `question` (the \
               worker's own; it is told that there is no such method), `late` (of a call that was \
               cancelled, that took too long, or whose caller left in the middle of its answer), \
               `banner` (output of a worker before its first question, counted once a worker), \
               `stray` (what a worker wrote that cannot be an answer) or `cancel` (a caller's cancel \
               or progress, which names no live call of theirs and no question that waits)",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                for (reason, count) in Dropping::ALL.iter().zip(&pool.dropped) {
                    to.number(&[&pool.name, reason.label()], count.value());
                }
            }
        },
    },
    Metric {
        name: "httpipe_diagnoses_total",
        kind: MetricKind::Counter,
        unit: "calls",
        labels: &["pool", "verdict"],
        help: "Calls that ran long enough for a look at their worker, by what it was found to do: \
               `holds_output` (it has read the question, waits for the next and has written nothing), \
               `half_answer` (it has written a part of an answer, and nothing since), `not_reading` \
               (it does not read the question), `silent` (it has read the question, uses no CPU and \
               writes nothing) or `works`; a call may be found in several",
        samples: |numbers, to| {
            for pool in &numbers.series.pools {
                for (conduct, count) in Conduct::ALL.iter().zip(&pool.diagnoses) {
                    to.number(&[&pool.name, conduct.label()], count.value());
                }
            }
        },
    },
    JOBS[0],
    JOBS[1],
    JOBS[2],
    JOBS[3],
    JOBS[4],
    JOBS[5],
    Metric {
        name: "httpipe_cache_total",
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["route", "result"],
        help: "Requests of routes that keep answers, by how they were served: `hit`, `miss` or \
               `collapsed`",
        samples: |numbers, to| {
            // A route that never asked the cache has nothing to say about it.
            let asked =
                |route: &&Arc<RouteSeries>| route.cache.iter().any(|count| count.value() > 0);
            for route in numbers.series.routes.iter().filter(asked) {
                for (result, count) in CacheResult::ALL.iter().zip(&route.cache) {
                    to.number(&[&route.label, result.label()], count.value());
                }
            }
        },
    },
    Metric {
        name: "httpipe_cache_bytes",
        kind: MetricKind::Gauge,
        unit: "bytes",
        labels: &[],
        help: "Bytes of kept answers now, keys and book-keeping included",
        samples: |numbers, to| to.number(&[], numbers.server.cache_bytes.value()),
    },
    SHARED[0],
    SHARED[1],
    SHARED[2],
    SPREAD[0],
    SPREAD[1],
    SPREAD[2],
    SPREAD[3],
    SPREAD[4],
    SPREAD[5],
    SPREAD[6],
    SPREAD[7],
    SPREAD[8],
    Metric {
        name: "httpipe_held_bytes",
        kind: MetricKind::Gauge,
        unit: "bytes",
        labels: &[],
        help: "Bytes of request bodies that arrive, questions of calls and answers that are being \
               sent now, above 16 KiB each; at most `limits.memory`",
        samples: |numbers, to| to.number(&[], numbers.server.held_bytes.value()),
    },
    Metric {
        name: "httpipe_connections",
        kind: MetricKind::Gauge,
        unit: "connections",
        labels: &[],
        help: "Open connections of callers now",
        samples: |numbers, to| to.number(&[], numbers.server.connections.value()),
    },
    Metric {
        name: "httpipe_connections_refused_total",
        kind: MetricKind::Counter,
        unit: "connections",
        labels: &[],
        help: "Connections closed at once because their address had `limits.per_address` open",
        samples: |numbers, to| to.number(&[], numbers.server.connections_refused.value()),
    },
    Metric {
        name: "httpipe_refused_total",
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["reason"],
        help: "Requests of callers that the gate refused, by reason: `unauthorized`, `guesses` (too \
               many wrong keys from one address), `forbidden`, `rate` or `calls`",
        samples: |numbers, to| {
            for (reason, count) in numbers.server.callers.refusals() {
                to.number(&[reason], count);
            }
        },
    },
    Metric {
        name: "httpipe_caller_requests_total",
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["caller", "status"],
        help: "Requests with a good key, by the name of the key (`other`: those beyond the first 256 \
               names) and status",
        samples: |numbers, to| {
            numbers.server.callers.each(|name, status, count| {
                to.number(&[name, itoa::Buffer::new().format(status)], count);
            });
        },
    },
    tls_names::HANDSHAKES,
    tls_names::EXPIRES,
    Metric {
        name: "httpipe_admin_denied_total",
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &["reason"],
        help: "Requests to the admin listener that were turned away, by reason: `wrong_token`, \
               `no_token`, `foreign` (a web page of another site may have sent it) or `unmarked` \
               (it would change something, and lacks `Httpipe-Admin: 1` or a loopback `Host`)",
        samples: |numbers, to| {
            for (reason, count) in Denial::ALL.iter().zip(&numbers.server.admin_denied) {
                to.number(&[reason.label()], count.value());
            }
        },
    },
    Metric {
        name: "httpipe_admin_actions_total",
        kind: MetricKind::Counter,
        unit: "actions",
        labels: &["action"],
        help: "What operators made the server do over the admin listener: `reload`, `forgive`, \
               `recycle_pool`, `recycle_worker`, `kill_worker`, `remove_job`, \
               `retry_job` or `back_up_jobs`",
        samples: |numbers, to| {
            for (action, count) in OperatorAction::ALL.iter().zip(&numbers.server.admin_actions) {
                to.number(&[action.label()], count.value());
            }
        },
    },
    Metric {
        name: "httpipe_agent_total",
        kind: MetricKind::Counter,
        unit: "connections",
        labels: &["result"],
        help: "Connections to the agent port, by what the load balancer got: `ready` with a number, `drain`, \
               or nothing of use: `mistaken` (its line is unknown), `refused` (`trust` does not name it), `gone` (it left)",
        samples: |numbers, to| {
            for (result, count) in AgentResult::ALL.iter().zip(&numbers.server.agent_asked) {
                to.number(&[result.label()], count.value());
            }
        },
    },
    Metric {
        name: "httpipe_taps",
        kind: MetricKind::Gauge,
        unit: "taps",
        labels: &[],
        help: "Operators who read now what workers are asked and answer (`/tap`)",
        samples: |numbers, to| to.number(&[], numbers.server.taps.value()),
    },
    Metric {
        name: "httpipe_build_info",
        kind: MetricKind::Gauge,
        unit: "builds",
        labels: &["version"],
        help: "Always 1; the label says which version of httpipe runs",
        samples: |_, to| to.number(&[env!("CARGO_PKG_VERSION")], 1_u64),
    },
    Metric {
        name: "httpipe_log_dropped_total",
        kind: MetricKind::Counter,
        unit: "lines",
        labels: &[],
        help: "Log lines lost because the log could not be written",
        samples: |numbers, to| to.number(&[], numbers.server.log_dropped.value()),
    },
    Metric {
        name: "httpipe_access_log_dropped_total",
        kind: MetricKind::Counter,
        unit: "lines",
        labels: &[],
        help: "Lines of requests lost because the file that `log.access` names could not be written",
        samples: |numbers, to| to.number(&[], numbers.server.access_log_dropped.value()),
    },
];

#[cfg(test)]
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
    let bounds: Vec<&str> = BOUNDS.iter().map(|(_, text)| *text).collect();
    page.push_str(&bounds.join(", "));
    page.push_str(", +Inf. Those of `httpipe_batch_size`, in calls: ");
    let bounds: Vec<String> = GROUP_BOUNDS.iter().map(u64::to_string).collect();
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
            let counts = metric.kind == MetricKind::Counter;
            assert_eq!(metric.name.ends_with("_total"), counts, "{}", metric.name);
            let seconds = metric.unit == "seconds" && !counts;
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
