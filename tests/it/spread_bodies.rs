//! Questions and answers that are too large for one message of NATS go to other hosts in parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::large_questions::numbered;
use crate::spread::{shared, start_host, wait_for_slots};
use crate::support::nats::Nats;
use crate::support::{Over, Server, whole_machine};

const LARGE: usize = 16 << 20;
const BODIES: &str = "[limits]\nbody = \"16MiB\"";

/// A front end without workers, and a host whose workers say what they are asked.
fn pair(nats: &Nats, keys: &str) -> (Server, Server) {
    let keys = format!("retries = 0\nmessage_max = \"16MiB\"\n{keys}");
    let front = shared(nats, &format!("workers = 0\n{keys}")).top(BODIES).start_unready();
    let host = start_host(shared(nats, &format!("workers = 2\n{keys}")).worker("cat"));
    wait_for_slots(&front, 2);
    (front, host)
}

#[test]
fn sixteen_mib_cross_both_ways_beside_small_calls_that_are_not_held_up() {
    let _alone = whole_machine();
    let Some(nats) = Nats::start("") else { return };
    let (front, host) = pair(&nats, "timeout = \"5m\"");
    let text = numbered(LARGE);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(front.answers("small").body, "small");
                answered += 1;
            }
            answered
        });
        let until_here = Over(&over);
        // It may not run twice, and goes as a whole.
        let answer = front.client().post("/", &text);
        drop(until_here);
        assert_eq!((answer.status, answer.body.len()), (200, LARGE));
        assert!(answer.body == text, "it came back as another");
        let answered = others.join().expect("others saw only right answers");
        assert!(answered > 3, "{answered} small calls were answered meanwhile");
    });
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn a_nats_server_that_takes_small_messages_only_carries_large_bodies() {
    let text = numbered(600_000);
    for most in ["64KB", "4096"] {
        let Some(nats) = Nats::start(&format!("max_payload: {most}")) else { return };
        let (front, _host) = pair(&nats, "");
        let answer = front.client().post("/", &text);
        assert!(answer.status == 200 && answer.body == text, "{most}: {}", answer.status);
        assert_eq!(front.answers("small").body, "small");
        assert_eq!(front.status()["spread"]["last_error"], serde_json::Value::Null, "{most}");
    }
}

#[test]
fn what_was_on_its_way_goes_on_where_nats_comes_back() {
    let _alone = whole_machine();
    let Some(mut nats) = Nats::start("") else { return };
    let (front, _host) = pair(&nats, "timeout = \"5m\"");
    let text = numbered(LARGE);
    for _ in 0..3 {
        let pending = front.client().post_later("/", &text);
        front.wait_until("it is away", |it| it.status()["pools"][0]["away"]["calls"] == 1);
        nats.start_again();
        let answer = pending.answer();
        assert!(answer.status == 200 && answer.body == text, "{}", answer.status);
    }
}

#[test]
fn a_host_that_takes_less_refuses_a_question_and_its_owner_an_answer() {
    let Some(nats) = Nats::start("") else { return };
    let of = |workers: u32, most: &str| {
        shared(&nats, &format!("workers = {workers}\nretries = 0\nmessage_max = \"{most}\""))
    };
    let large = of(0, "4MiB").start_unready();
    let small = of(0, "64KiB").start_unready();
    let grows = r"python3 -c 'import sys
for line in sys.stdin: print(line.strip() * 100, flush=True)'";
    let host = start_host(of(1, "2MiB").worker(grows));
    for front in [&large, &small] {
        wait_for_slots(front, 1);
    }
    let refused = large.client().post("/", &numbered(3 << 20));
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
    let refused = small.client().post("/", &"x".repeat(12_000));
    assert_eq!((refused.status, refused.code().as_str()), (502, "bad_answer"), "{refused:?}");
    assert_eq!(small.client().post("/", "x").body, "x".repeat(100));
    assert_eq!(host.metric("httpipe_worker_exits_total"), 0.0);
}
