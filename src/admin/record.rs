//! `/records/WORKER`: what is known of a worker that was lost, for operators.

use http::StatusCode;

use super::{Admin, By, JSON, Operator, PageResponse, problem, reply, worker_of};

impl<O: Operator> Admin<O> {
    /// Answers with the record of a worker.
    pub(super) fn record(&self, name: &str, by: &By<'_>) -> PageResponse {
        let Some(record) = worker_of(name).and_then(|worker| self.operator.record(worker)) else {
            let detail = format!(
                "there is no record of a worker `{}`; those in `last_exits` of `/status.json` with \
                 `\"record\": true` have one",
                name.escape_debug()
            );
            return problem(StatusCode::NOT_FOUND, &detail);
        };
        by.log("an operator reads the record of a worker", &record.pool, name);
        let text = serde_json::to_string_pretty(&record).expect("a record is JSON");
        reply(StatusCode::OK, JSON, text + "\n")
    }
}
