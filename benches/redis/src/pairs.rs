//! Interleaved rounds in which every candidate has a turn, and statistics of their results.

use std::{
    env,
    time::{Duration, Instant},
};

/// The cost of one turn of one candidate.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) operations: f64,
    pub(crate) wall: Duration,
    /// The processor time of this process, which is the client. The server is another process.
    pub(crate) cpu: Duration,
}

impl Turn {
    pub(crate) fn per_second(&self) -> f64 {
        self.operations / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations
    }
}

/// Times `work`, which does this many operations.
pub(crate) fn turn(operations: usize, work: impl FnOnce()) -> Turn {
    let (cpu, start) = (cpu(), Instant::now());
    work();
    Turn {
        operations: operations as f64,
        wall: start.elapsed(),
        cpu: crate::pairs::cpu() - cpu,
    }
}

/// Returns the user and system time of this process.
pub(crate) fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Returns the number in `BENCH_ROUNDS`, or `default`.
pub(crate) fn rounds(default: usize) -> usize {
    env::var("BENCH_ROUNDS").map_or(default, |rounds| rounds.parse().expect("BENCH_ROUNDS is a number"))
}

/// Runs each candidate once to warm up, and then once per round. Each round begins with the next
/// candidate. The results are grouped by candidate.
pub(crate) fn interleaved<T>(rounds: usize, candidates: &mut [&mut dyn FnMut() -> T]) -> Vec<Vec<T>> {
    let mut turns: Vec<Vec<T>> = candidates.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for candidate in candidates.iter_mut() {
        candidate();
    }
    for round in 0..rounds {
        for offset in 0..candidates.len() {
            let at = (round + offset) % candidates.len();
            turns[at].push(candidates[at]());
        }
    }
    turns
}

pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => figures[count / 2],
        count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
    }
}

/// Returns the median of the ratios of the rounds.
pub(crate) fn ratio<T>(ours: &[T], theirs: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    median(
        ours.iter()
            .zip(theirs)
            .map(|(ours, theirs)| figure(ours) / figure(theirs)),
    )
}

/// Returns this percentile of the times.
pub(crate) fn percentile(times: &mut [Duration], percent: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * percent / 100.0) as usize;
    times[at.min(times.len() - 1)]
}
