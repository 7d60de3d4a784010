//! Pictures of servers, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::spread::{HostPoolStatus, HostStatus, SpreadStatus};
use super::*;
use crate::base::WorkerCounts;

/// A server whose pools have these numbers of ready and busy workers, and nothing else to tell.
pub fn status(pools: &[(&str, usize, usize)]) -> Status {
    Status {
        version: VERSION,
        at: 1_790_000_000.25,
        uptime: Duration::from_millis(1_500),
        draining: false,
        listen: vec!["127.0.0.1:3000".to_owned()],
        connections: 2,
        server: ServerStatus {
            version: "0.1.0".into(),
            pid: 41,
            config: None,
            loaded: Duration::from_secs(1),
            threads: 1,
        },
        notices: vec![],
        pools: pools.iter().map(|(name, ready, busy)| pool(name, *ready, *busy)).collect(),
        agent: None,
        spread: None,
        background: None,
        cache: CacheStatus { bytes: 600, limit: 64 << 20, entries: 1, shared: None },
        log_dropped: 0,
        viewers: 0,
        taps: 0,
    }
}

fn pool(name: &str, ready: usize, busy: usize) -> PoolStatus {
    PoolStatus {
        name: name.to_owned(),
        about: None,
        states: WorkerCounts { starting: 1, ready, busy, leaving: 2 },
        workers: Vec::new(),
        slots: ready + busy,
        away: None,
        tripped: false,
        queue: QueueStatus::default(),
        poisonous: PoisonousStatus::default(),
        service_time: None,
        last_exits: Vec::new(),
        sample: SecondSample::default(),
        recent: Recent::default(),
        failures: FailureStatus::default(),
        slow: Vec::new(),
        cpu: None,
        memory: None,
        history: None,
    }
}

/// A server with one pool `fib` and no field left out: what `hello` has.
pub fn full() -> Status {
    let mut status = status(&[("fib", 0, 1)]);
    status.server.config = Some("/etc/httpipe.toml".to_owned());
    status.notices.push(Notice {
        level: NoticeLevel::Bad,
        code: "holds_output".into(),
        pool: Some("fib".to_owned()),
        worker: Some(3),
        text: "worker 3 has read its question 12 s ago and has written nothing".to_owned(),
        fix: Some("command = [\"python3\", \"-u\", \"fib.py\"]".to_owned()),
    });
    status.agent = Some(AgentStatus {
        listen: "127.0.0.1:3002".to_owned(),
        balancers: 1,
        said: Some("ready up maxconn:4".to_owned()),
        said_ago: Some(Duration::from_millis(700)),
    });
    status.spread = Some(spread());
    let pool = &mut status.pools[0];
    pool.about = Some(About {
        command: "python3 fib.py".to_owned(),
        framing: "line → block".to_owned(),
        matching: "order".to_owned(),
        least: 1,
        most: 4,
        timeout: Duration::from_secs(30),
        routes: vec!["GET /fib?num={num:int}".to_owned()],
        record: 3,
    });
    pool.workers.push(WorkerStatus {
        id: 3,
        pid: 42,
        state: WorkerState::Busy,
        calls: 7,
        in_flight: 1,
        age: Duration::from_mins(1),
        cpu: Some(0.5),
        memory: Some(11_534_336),
        verdict: Some("holds_output".into()),
        head: Some(Head {
            call: "5a01".to_owned(),
            route: "GET /fib?num={num:int}".into(),
            since: Duration::from_millis(12_400),
            bytes: 41,
            retries: 0,
            abandoned: false,
        }),
    });
    pool.tripped = true;
    pool.queue = QueueStatus {
        length: 1,
        bytes: 9,
        oldest_wait: Some(Duration::from_millis(250)),
        overloaded: true,
    };
    pool.poisonous =
        PoisonousStatus { count: 1, fingerprints: vec!["00000000000000ff".to_owned()] };
    pool.service_time = Some(Duration::from_millis(2));
    pool.last_exits.push(ExitStatus {
        worker: 2,
        reason: "crash".into(),
        exit: "signal 9".to_owned(),
        ago: Duration::from_secs(61),
        record: true,
    });
    fill_calls(pool);
    status.background = Some(background());
    status
}

/// Two other servers. One runs another version of the program.
fn spread() -> SpreadStatus {
    let pool = HostPoolStatus {
        name: "fib".to_owned(),
        workers: 4,
        busy: 1,
        shares: true,
        differs: Vec::new(),
    };
    let host = HostStatus {
        node: "0a1b2c3d00000000000000000000000f".to_owned(),
        machine: "web-2".to_owned(),
        draining: false,
        heard: Duration::from_millis(400),
        pools: vec![pool.clone()],
    };
    let differs = vec!["version".to_owned()];
    let old = HostStatus {
        node: "3d2c1b0a00000000000000000000000f".to_owned(),
        machine: "web-3".to_owned(),
        draining: true,
        pools: vec![HostPoolStatus { shares: false, differs, ..pool }],
        ..host.clone()
    };
    SpreadStatus {
        connected: true,
        server: Some("tls://nats.internal:4222".to_owned()),
        since: Some(Duration::from_mins(5)),
        last_error: None,
        hosts: vec![host, old],
    }
}

/// A pool with a batch, groups, and jobs. One job says how far it is.
fn background() -> BackgroundStatus {
    let jobs = JobCountsStatus {
        queued: 3,
        running: 1,
        succeeded: 40,
        failed: 2,
        canceled: 1,
        oldest: Some(Duration::from_secs(12)),
    };
    let sizes = vec![
        GroupSizeStatus { most: Some(1), groups: 3 },
        GroupSizeStatus { most: Some(16), groups: 2 },
    ];
    BackgroundStatus {
        store_failing: false,
        pools: vec![PoolWorkStatus {
            pool: "fib".to_owned(),
            jobs: Some(jobs),
            batches: Some(BatchStatus { open: 1, waiting: 97, running: 3 }),
            groups: Some(GroupStatus { groups: 5, calls: 33, sizes }),
        }],
        running: vec![RunningJobStatus {
            id: Some("34d301cc4d37fc2899d5e50ea0e8f7e4".to_owned()),
            pool: "fib".to_owned(),
            route: "POST /fib".to_owned(),
            since: Duration::from_millis(12_400),
            fraction: Some(0.4),
            text: Some("page 2".to_owned()),
        }],
    }
}

/// What became of the calls of the pool.
fn fill_calls(pool: &mut PoolStatus) {
    pool.sample = SecondSample {
        at: 1_790_000_000,
        calls: 31,
        failures: 1,
        hits: 400,
        queue: 2,
        busy: 1,
        workers: 1,
        wait_p50_us: 40,
        wait_p99_us: 320,
        work_p50_us: 1_792,
        work_p99_us: 4_608,
    };
    pool.recent = Recent {
        seconds: 60,
        calls: 1_860,
        failed: 1,
        hits: Some(24_000),
        wait_seconds: Some(Percentiles { p50: 0.000_04, p95: 0.0001, p99: 0.000_32 }),
        work_seconds: Some(Percentiles { p50: 0.001_792, p95: 0.003_584, p99: 0.004_608 }),
    };
    let by_code = BTreeMap::from([("timeout".to_owned(), 1)]);
    pool.failures = FailureStatus { seconds: 600, calls: 18_600, by_code };
    pool.slow.push(SlowCall {
        call: "4f".to_owned(),
        route: "GET /fib?num={num:int}".into(),
        worker: Some(2),
        wait: Duration::from_micros(40),
        work: Duration::from_secs(30),
        outcome: "timeout".into(),
        verdict: None,
        ago: Duration::from_secs(61),
    });
    (pool.cpu, pool.memory) = (Some(0.5), Some(11_534_336));
    pool.history =
        Some(History::of([SecondSample { at: 1_789_999_999, ..pool.sample }, pool.sample]));
}

/// A record with no field left out.
pub fn record() -> WorkerRecord {
    WorkerRecord {
        worker: 5,
        pool: "spell".to_owned(),
        pid: Some(42),
        at: 1_790_000_000.25,
        reason: "crash".into(),
        exit: "signal 11".to_owned(),
        why: String::new(),
        age: Duration::from_secs(61),
        calls: 7,
        cpu: Duration::from_millis(1_500),
        memory: None,
        memory_peak: Some(11_534_336),
        inside: vec![InsideCall {
            call: "5a01c7".to_owned(),
            route: "POST /spell".to_owned(),
            since: Duration::from_millis(1_800),
            bytes: 9,
            retries: 0,
            abandoned: false,
            unread: false,
            question: Some("00000000000000ff".to_owned()),
        }],
        inside_more: 0,
        given_up: 0,
        unread_bytes: 0,
        half_said_bytes: 3,
        stderr: vec!["Segmentation fault".to_owned()],
        exchanges: Some(vec![TapEvent {
            at: 1_789_999_999.5,
            kind: TapKind::Write,
            pool: "spell".into(),
            worker: Some(5),
            call: Some("5a01c7".to_owned()),
            route: None,
            bytes: 10,
            text: "helo wrld\n".to_owned(),
            outcome: None,
            work: None,
            dropped: 0,
        }]),
    }
}
