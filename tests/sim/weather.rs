//! What one seed draws: the rules of the pool, and how its workers and callers behave.

use std::time::Duration;

use fastrand::Rng;
use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

/// How workers and callers behave. Chances are from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) start_fails: f64,
    pub(crate) crash: f64,
    pub(crate) hang: f64,
    pub(crate) bad: f64,
    pub(crate) doubt: f64,
    pub(crate) unasked: f64,
    pub(crate) leaves: f64,
    pub(crate) in_a_hurry: f64,
    pub(crate) idempotent: f64,
    pub(crate) changes_rules: f64,
    pub(crate) recycles: f64,
    /// No worker that has stepped back may come forward.
    pub(crate) none_rises: bool,
    /// How many different questions are asked.
    pub(crate) questions: usize,
    /// Least and most microseconds of a call, between calls, and of a start.
    pub(crate) service: (u64, u64),
    pub(crate) gap: (u64, u64),
    pub(crate) start: (u64, u64),
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let often = [0.0, 0.0, 0.01, 0.05, 0.3];
        let questions = [usize::MAX, usize::MAX, 40, 3][rng.usize(..4)];
        let mut chance = || often[rng.usize(..often.len())];
        let mut weather = Self {
            none_rises: false,
            start_fails: chance(),
            crash: chance(),
            hang: chance() / 4.0,
            bad: chance(),
            doubt: chance(),
            unasked: chance() / 4.0,
            leaves: chance(),
            in_a_hurry: chance(),
            idempotent: 0.7,
            changes_rules: 0.0,
            recycles: 0.0,
            questions,
            service: (1, 1),
            gap: (1, 1),
            start: (1, 1),
        };
        match rng.u8(..16) {
            0 => weather.hang = 1.0,
            1 => weather.crash = 1.0,
            2 => weather.start_fails = 1.0,
            3..8 => weather = weather.calm(),
            _ => {}
        }
        weather.changes_rules = if rng.u8(..4) == 0 { 0.005 } else { 0.0 };
        weather.recycles = if rng.u8(..4) == 0 { 0.01 } else { 0.0 };
        weather.idempotent = [0.0, 0.5, 0.9, 1.0][rng.usize(..4)];
        weather.service = [(1, 20), (5, 300), (500, 5_000), (10, 3_000_000)][rng.usize(..4)];
        let least = weather.service.0.max(2);
        weather.gap = (0, [least, least * 20, 10_000, 1_000_000][rng.usize(..4)]);
        weather.start = (100, [1_000, 100_000, 2_000_000][rng.usize(..3)]);
        weather.none_rises = rng.u8(..8) == 0;
        weather
    }

    /// Returns this weather without faults.
    pub(crate) fn calm(&self) -> Self {
        let mut calm = self.clone();
        for fault in [
            &mut calm.start_fails,
            &mut calm.crash,
            &mut calm.hang,
            &mut calm.bad,
            &mut calm.doubt,
            &mut calm.unasked,
        ] {
            *fault = 0.0;
        }
        calm
    }
}

/// Draws the rules of a pool. `in_order` and `takes_back` depend on the program and do not change.
pub(crate) fn draw_rules(rng: &mut Rng, in_order: bool, takes_back: bool) -> Rules {
    let least = rng.usize(1..=3);
    let in_flight = match rng.u8(..3) {
        0 => InFlight::Fixed(1),
        1 => InFlight::Fixed(rng.u32(2..=6)),
        _ => InFlight::Auto,
    };
    let millis = |rng: &mut Rng, few: &[u64]| Duration::from_millis(few[rng.usize(..few.len())]);
    Rules {
        processors: rng.usize(1..=4),
        least,
        most: least + rng.usize(0..=4),
        in_flight,
        takes_back,
        in_order,
        timeout: millis(rng, &[50, 1_000, 30_000]),
        abandoned: millis(rng, &[0, 20, 700, 10_000]),
        queue_length: [0, 3, 20, 60][rng.usize(..4)],
        queue_bytes: [50, 100_000][rng.usize(..2)],
        queue_wait: millis(rng, &[0, 20, 500, 5_000]),
        start_timeout: Duration::from_secs(2),
        retries: rng.u32(..=2),
        recycle_calls: [None, None, Some(1), Some(30)][rng.usize(..4)],
        recycle_age: [None, None, None, Some(Duration::from_secs(2))][rng.usize(..4)],
        share: 500,
        group: None,
    }
}

/// Draws a number from a range, each order of magnitude with the same chance.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "micros of a few seconds"
)]
pub(crate) fn spread(rng: &mut Rng, (least, most): (u64, u64)) -> Duration {
    let low = (least as f64 + 1.0).ln();
    let high = (most as f64 + 1.0).ln();
    Duration::from_micros(((low + (high - low) * rng.f64()).exp() - 1.0).round() as u64)
}
