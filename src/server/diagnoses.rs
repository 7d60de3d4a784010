//! What the doctor tells operators of the workers of a pool.

use crate::base::{Conduct, WorkerId};
use crate::doctor::{advice, stdbuf_of};
use crate::pool::Pool;
use crate::report::{Notice, NoticeLevel};

/// Returns one notice for each thing that is wrong with workers whose oldest call runs long.
pub(super) fn notices(pool: &Pool) -> Vec<Notice> {
    let found = pool.conducts();
    let of = |conduct| {
        let mut ill = found.iter().filter(|(_, found)| *found == conduct).map(|(id, _)| *id);
        Some((ill.next()?, ill.count()))
    };
    let conducts = Conduct::ALL.into_iter();
    conducts
        .filter_map(|conduct| {
            let (first, more) = of(conduct)?;
            notice(pool, conduct, first, more)
        })
        .collect()
}

fn notice(pool: &Pool, conduct: Conduct, worker: WorkerId, more: usize) -> Option<Notice> {
    let settings = pool.settings();
    let stdbuf = stdbuf_of(&settings.program.launch);
    let advice = advice(&settings, conduct, stdbuf.as_deref())?;
    let more = match more {
        0 => String::new(),
        1 => "; one more worker does the same".to_owned(),
        more => format!("; {more} more workers do the same"),
    };
    Some(Notice {
        level: NoticeLevel::Bad,
        code: conduct.label().into(),
        pool: Some(settings.name.clone()),
        worker: Some(worker.0),
        text: format!("worker {worker} {}{more}", advice.text),
        fix: advice.fix,
    })
}
