//! Measures the steps of a call, without processes, sockets or a runtime.
//!
//! `cargo bench` runs all benchmarks, `cargo bench -- cache` those whose name contains that word.
//! Each line has the time of one step: the median of several samples, and the best. `bench/run`
//! measures the whole server; `tests/instructions.rs` counts instructions, which repeat exactly.

mod cache;
mod codec;
mod mapping;
mod matching;
mod state;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use httpipe::testing::config::{Config, ConfigSource, PoolSettings};

/// Runs the benchmarks whose names were asked for, and prints a line for each.
struct Bench {
    wanted: Vec<String>,
}

/// One sample takes about this long.
const SAMPLE: Duration = Duration::from_millis(10);
const SAMPLES: usize = 15;

fn main() {
    // Cargo adds options of its own, which begin with a dash.
    let wanted = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let bench = Bench { wanted };
    codec::all(&bench);
    matching::all(&bench);
    state::all(&bench);
    mapping::all(&bench);
    cache::all(&bench);
}

impl Bench {
    /// Times `work`, which does `steps` steps each time it is called.
    #[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
    fn run<R>(&self, name: &str, steps: u32, mut work: impl FnMut() -> R) {
        if !self.wants(name) {
            return;
        }
        let mut time = |rounds: u32| {
            let start = Instant::now();
            for _ in 0..rounds {
                black_box(work());
            }
            start.elapsed()
        };
        let mut rounds = 1;
        while time(rounds) < SAMPLE / 2 && rounds < 1 << 28 {
            rounds *= 2;
        }
        let nanoseconds = |took: Duration| took.as_secs_f64() * 1e9 / f64::from(rounds * steps);
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| nanoseconds(time(rounds))).collect();
        samples.sort_by(f64::total_cmp);
        println!("{name:<52} {:>10.1} ns   best {:>10.1}", samples[SAMPLES / 2], samples[0]);
    }

    /// Returns true if a benchmark whose name begins with this may run. If not, its set-up can be
    /// skipped.
    fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Loads a configuration with these keys in its pool and these routes.
fn config(pool: &str, routes: &str) -> Config {
    let text = format!("[pool.main]\ncommand = [\"cat\"]\n{pool}\n{routes}");
    let path = std::env::temp_dir().join(format!("httpipe-bench-{}.toml", std::process::id()));
    std::fs::write(&path, text).expect("the directory for temporary files can be written");
    let loaded = ConfigSource::new(Some(path.clone()), vec![], vec![])
        .load(&|_, _| unreachable!("it has no `python`"));
    std::fs::remove_file(path).expect("it was just written");
    loaded.expect("the configurations here are right")
}

/// Loads the settings of a pool with these keys.
fn pool(keys: &str) -> Arc<PoolSettings> {
    Arc::clone(&config(keys, "").pools[0])
}
