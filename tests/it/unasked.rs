//! Output that no question asked for. It never becomes an answer if answers repeat their question.
//! Otherwise it is found before the next question.

use crate::support::Server;

const PAIR: &str = "workers = 1\nretries = 0\nreply = \"{input}|{result}\"";

#[test]
fn two_answers_at_once_fail_their_call_and_meet_nobody() {
    let server = Server::with("workers = 1").start();
    for round in 0..5 {
        assert_eq!(server.answers("twice a").code(), "bad_answer");
        let next = server.answers(&format!("next {round}"));
        assert_eq!((next.status, next.body), (200, format!("next {round}")));
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0, "the pairing is not in doubt");
}

#[test]
fn output_before_the_worker_reads_again_belongs_to_its_call() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("unasked 30 a").code(), "bad_answer");
    assert_eq!(server.answers("next").body, "next");
}

/// The extra output comes at different moments, and never becomes the answer to another question.
#[test]
fn if_answers_repeat_their_question_no_caller_gets_another_answer() {
    let server = Server::with(PAIR).worker("demo-worker --pair").start();
    for round in 0..30 {
        server.answers(&format!("again {} first {round}", round % 4));
        let next = server.answers(&format!("next {round}"));
        if next.status == 200 {
            assert_eq!(next.json()["result"], format!("next {round}"));
        } else {
            assert!(matches!(next.code().as_str(), "worker_lost" | "bad_answer"), "{next:?}");
        }
    }
}

#[test]
fn a_banner_that_nobody_announced_is_never_an_answer() {
    let server = Server::with(&format!("{PAIR}\nqueue = {{ wait = \"500ms\" }}"))
        .worker("demo-worker --pair --banner Welcome")
        .start_unready();
    for _ in 0..3 {
        let answer = server.answers("hello");
        assert_eq!((answer.status, answer.json()["result"].as_str()), (200, Some("hello")));
    }
}

#[test]
fn the_log_names_the_key_for_banners() {
    let server = Server::with("workers = 1").worker("demo-worker --banner Welcome").start_unready();
    server.wait_for_log("announce it with `ready`");
}

/// Its answer proves the question, so it takes no turns: what follows the answer is found by itself.
#[test]
fn a_part_of_a_line_after_an_answer_ends_its_worker_before_the_next_question() {
    let script = "import sys\nfor line in sys.stdin:\n    \
                  print(line.strip() + '|a')\n    print('half', end='', flush=True)";
    let server = Server::with(PAIR).worker("python3 w.py").file("w.py", script).start();
    server.answers("a");
    server.wait_for_count("httpipe_worker_exits_total{reason=\"unasked_output\"}", 1.0);
}
