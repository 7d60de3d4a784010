//! What an operator should know, as far as a picture of the server shows it.
//!
//! Pure.

use super::pool::PoolStatus;
use super::status::{Notice, NoticeLevel, Status};

impl Status {
    /// Puts in what an operator should know, the worst first.
    pub fn take_notice(&mut self) {
        let of_pools = self.pools.iter().flat_map(notices);
        self.notices.extend(of_pools);
        if self.background.as_ref().is_some_and(|work| work.store_failing) {
            self.notices.push(Notice {
                level: NoticeLevel::Bad,
                code: "jobs_store_failing".into(),
                pool: None,
                worker: None,
                text: "the file of the jobs cannot be written, so new jobs are refused".to_owned(),
                fix: Some(
                    "read in the log what failed: its disk may be full, or the file was moved"
                        .to_owned(),
                ),
            });
        }
        if self.log_dropped > 0 {
            let lines = plural(self.log_dropped, "log line was lost", "log lines were lost");
            self.notices.push(Notice {
                level: NoticeLevel::Warn,
                code: "log_dropped".into(),
                pool: None,
                worker: None,
                text: format!("{lines}, because what reads the log does not keep up"),
                fix: None,
            });
        }
        self.notices.sort_by_key(|notice| notice.level);
    }
}

fn notices(pool: &PoolStatus) -> Vec<Notice> {
    let notice = |level, code: &'static str, text: String, fix: Option<&str>| Notice {
        level,
        code: code.into(),
        pool: Some(pool.name.clone()),
        worker: None,
        text,
        fix: fix.map(str::to_owned),
    };
    let mut found = Vec::new();
    if pool.tripped {
        let last = pool.last_exits.first().map(|last| format!("; the last one: {}", last.exit));
        let text = format!("its workers do not start{}", last.unwrap_or_default());
        found.push(notice(NoticeLevel::Bad, "tripped", text, Some("httpipe check")));
    }
    if pool.queue.overloaded {
        let text = "calls wait too long, so the newest is served first and others time out";
        let fix = "more `workers`, or a shorter `queue`";
        found.push(notice(NoticeLevel::Warn, "overloaded", text.to_owned(), Some(fix)));
    }
    let poisonous = pool.poisonous.count;
    if poisonous > 0 {
        let text = match poisonous {
            1 => "1 question is refused, because it cost several workers".to_owned(),
            _ => format!("{poisonous} questions are refused, because each cost several workers"),
        };
        let fix = "DELETE /poisonous forgives them";
        found.push(notice(NoticeLevel::Warn, "poisonous", text, Some(fix)));
    }
    found
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;

    #[test]
    fn what_is_wrong_is_told_in_sentences_the_worst_first() {
        let mut status = fixture::full();
        status.log_dropped = 2;
        status.background.as_mut().expect("jobs").store_failing = true;
        status.take_notice();
        let told: Vec<String> =
            status.notices.iter().map(|it| format!("{}: {}", it.code, it.text)).collect();
        assert_eq!(
            told,
            [
                "holds_output: worker 3 has read its question 12 s ago and has written nothing",
                "tripped: its workers do not start; the last one: signal 9",
                "jobs_store_failing: the file of the jobs cannot be written, so new jobs are refused",
                "overloaded: calls wait too long, so the newest is served first and others time out",
                "poisonous: 1 question is refused, because it cost several workers",
                "log_dropped: 2 log lines were lost, because what reads the log does not keep up",
            ]
        );
    }

    #[test]
    fn of_a_server_that_is_well_there_is_nothing_to_tell() {
        let mut status = fixture::status(&[("a", 1, 0)]);
        status.take_notice();
        assert!(status.notices.is_empty(), "{:?}", status.notices);
    }
}
