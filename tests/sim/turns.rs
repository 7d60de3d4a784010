//! Turns against a program that writes too much, too little, too early, too late and unasked, and
//! looks that come late, in virtual time and from a seed.
//!
//! The server here is the smallest that keeps the rules: it hands a question over when the last
//! turn is over and nothing was written since, and gives out an answer when exactly one message
//! was written in the turn. The program is a list of events with their times. For each message,
//! the oracle knows the question for which it was written.

use std::time::{Duration, Instant};

use fastrand::Rng;
use httpipe::testing::worker::look::Look;
use httpipe::testing::worker::turn::{NextLook, Over, Turn, TurnShape};

use super::number_from;

const SEEDS: u64 = 2000;
const QUESTIONS: usize = 60;

/// One message of the program.
#[derive(Clone, Copy, Debug)]
struct Message {
    at: u64,
    /// The question that the reading thread worked on when it wrote this; `None` if another thread
    /// wrote it, or if nothing was asked.
    about: Option<usize>,
}

/// A program that reads in one thread, and may have another one that writes by the clock.
struct Program {
    /// Messages that will be written, soonest last.
    to_come: Vec<Message>,
    /// When the reading thread waits for its input again; `None`: it waits.
    works_until: u64,
    has_clock: bool,
    next_stray: u64,
}

/// How the program of one seed behaves.
struct Habits {
    /// Of ten answers, how many are missing, doubled, or followed by work.
    silent: u8,
    twice: u8,
    late_work: u8,
    has_clock: bool,
    /// Most microseconds by which a look comes late.
    late: u64,
}

impl Program {
    fn new(rng: &mut Rng, habits: &Habits) -> Self {
        let next_stray = if habits.has_clock { rng.u64(1..5_000) } else { u64::MAX };
        // It loads for a while, and may write that it does.
        let works_until = rng.u64(0..20_000);
        let banner = Message { at: works_until / 2, about: None };
        let to_come = if rng.bool() { vec![banner] } else { Vec::new() };
        Self { to_come, works_until, has_clock: habits.has_clock, next_stray }
    }

    /// The reading thread reads a question at this time.
    fn read(&mut self, rng: &mut Rng, habits: &Habits, now: u64, question: usize) {
        let about = Some(question);
        let works = rng.u64(0..3_000);
        let mut times = Vec::new();
        if rng.u8(..10) >= habits.silent {
            times.push(now + rng.u64(..=works));
        }
        if rng.u8(..10) < habits.twice {
            times.push(now + rng.u64(..=works));
        }
        self.to_come.extend(times.into_iter().map(|at| Message { at, about }));
        let extra = if rng.u8(..10) < habits.late_work { rng.u64(..200_000) } else { 0 };
        self.works_until = now + works + extra;
    }

    /// Takes everything written up to this time, oldest first.
    fn written(&mut self, rng: &mut Rng, now: u64) -> Vec<Message> {
        while self.has_clock && self.next_stray <= now {
            self.to_come.push(Message { at: self.next_stray, about: None });
            self.next_stray += rng.u64(1..50_000);
        }
        let (mut due, later): (Vec<_>, Vec<_>) =
            self.to_come.drain(..).partition(|message| message.at <= now);
        self.to_come = later;
        due.sort_by_key(|message| message.at);
        due
    }

    fn look(&self, now: u64) -> Look {
        match (now >= self.works_until, self.has_clock) {
            (false, _) => Look::Works,
            (true, false) => Look::Waits,
            (true, true) => Look::MayWait { reads: true, runs: false },
        }
    }
}

/// Plays the server for one turn that begins now. Returns how it ended, and what was written in it.
fn take_turn(
    rng: &mut Rng,
    habits: &Habits,
    program: &mut Program,
    began: Instant,
    now: &mut u64,
) -> (Over, Vec<Message>) {
    let at = |micros: u64| began + Duration::from_micros(micros);
    let asked = *now;
    let mut turn = Turn::new(at(asked), TurnShape::Whole);
    let mut said: Vec<Message> = Vec::new();
    loop {
        let due = match turn.next_look() {
            NextLook::Soon => *now + 5,
            NextLook::At(time) => u64::try_from((time - began).as_micros()).unwrap_or(0),
        };
        let first = program.to_come.iter().map(|message| message.at).min();
        let is_heard = first.is_some_and(|first| first < due && said.is_empty());
        *now = if is_heard { first.unwrap_or(due).max(*now) } else { due.max(*now) };
        *now += rng.u64(..habits.late);
        let look = program.look(*now);
        *now += rng.u64(..50);
        let heard = program.written(rng, *now);
        if !heard.is_empty() {
            turn.wrote(at(*now), true);
            said.extend(heard);
        }
        if let Some(over) = turn.looked(at(*now), look) {
            return (over, said);
        }
        // A call that is never answered ends by its timeout, and the worker with it.
        if *now > asked + 5_000_000 {
            return (Over::Uncertain, said);
        }
    }
}

/// Runs one seed. Returns how many answers were given out and how many turns ended without one.
fn run(seed: u64) -> Result<(usize, usize), String> {
    let mut rng = Rng::with_seed(seed);
    let habits = Habits {
        silent: [0, 2, 10][rng.usize(..3)],
        twice: [0, 2][rng.usize(..2)],
        late_work: [0, 3][rng.usize(..2)],
        has_clock: rng.u8(..3) == 0,
        late: [1, 100, 30_000][rng.usize(..3)],
    };
    let mut program = Program::new(&mut rng, &habits);
    let began = Instant::now();
    let mut now = 0;
    let (mut given_out, mut refused) = (0, 0);
    // Before the first question: nothing that it wrote is an answer.
    while program.look(now) == Look::Works {
        now += 1_000;
    }
    program.written(&mut rng, now);
    for question in 0..QUESTIONS {
        now += rng.u64(..10_000);
        if !program.written(&mut rng, now).is_empty() {
            // Written while nothing was asked: the worker is replaced.
            program = Program { works_until: now, to_come: Vec::new(), ..program };
        }
        let asked = now;
        program.read(&mut rng, &habits, asked, question);
        let (over, said) = take_turn(&mut rng, &habits, &mut program, began, &mut now);
        if over == Over::Certain && program.to_come.iter().any(|late| late.about == Some(question))
        {
            return Err(format!("question {question}: its turn was over before its last message"));
        }
        if over == Over::Certain && habits.has_clock {
            return Err("a program with a clock never certainly waits".to_owned());
        }
        let [answer] = said[..] else {
            refused += 1;
            continue;
        };
        given_out += 1;
        if answer.at < asked {
            return Err(format!("question {question} was asked after its answer was written"));
        }
        if answer.about.is_some_and(|about| about != question) {
            return Err(format!("question {question} got the answer to {:?}", answer.about));
        }
        if !habits.has_clock && answer.about.is_none() {
            return Err(format!("question {question} got what nobody asked for"));
        }
    }
    Ok((given_out, refused))
}

#[test]
fn an_answer_never_meets_a_call_that_was_given_after_it_was_written() {
    let seeds = number_from("HTTPIPE_SIM_SEEDS").unwrap_or(SEEDS);
    let (mut given_out, mut refused) = (0, 0);
    for seed in 0..seeds {
        let (good, bad) = run(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        given_out += good;
        refused += bad;
    }
    assert!(given_out > 10 * usize::try_from(seeds).expect("a number of seeds"), "{given_out}");
    assert!(refused > 0);
}
