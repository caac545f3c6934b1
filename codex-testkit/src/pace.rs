//! The scheduling delays of the machine during a clause. They decide whether a failure that depends
//! on time counts.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    failure::{Checked, Failure},
    runtime::spawn_timer,
};

/// The interval between two samples.
const SAMPLE: Duration = Duration::from_millis(5);

/// The delay of a timer above which the machine counts as busy. On an idle machine, timers are at
/// most a few milliseconds late.
const LATE: Duration = Duration::from_millis(10);

/// The maximum number of runs of a clause.
const RUNS: usize = 3;

/// The pace of the machine during one clause.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    depends_on_time: AtomicBool,
    /// The largest delay of a timer, in microseconds.
    latest: AtomicU64,
}

impl Pace {
    /// Marks the clause as one that compares moments of real time, so that a busy machine can make
    /// it fail.
    pub(crate) fn depend_on_time(&self) {
        self.depends_on_time.store(true, Ordering::Relaxed);
    }

    fn begin(&self) {
        self.depends_on_time.store(false, Ordering::Relaxed);
        self.latest.store(0, Ordering::Relaxed);
    }

    fn note(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.latest.fetch_max(micros, Ordering::Relaxed);
    }

    /// Returns the largest delay if it can explain a failure of the clause.
    fn excuse(&self) -> Option<Duration> {
        let latest = Duration::from_micros(self.latest.load(Ordering::Relaxed));
        (self.depends_on_time.load(Ordering::Relaxed) && latest > LATE).then_some(latest)
    }
}

/// Measures the delay of timers until `pace` is dropped.
pub(crate) fn observe(pace: &Arc<Pace>) {
    let pace = Arc::downgrade(pace);
    spawn_timer(async move {
        loop {
            let due = Instant::now() + SAMPLE;
            tokio::time::sleep(SAMPLE).await;
            let Some(pace) = pace.upgrade() else { return };
            pace.note(due.elapsed());
        }
    });
}

/// Runs a clause, and repeats it if it fails in a way that a busy machine can explain.
///
/// A failure counts if the machine was on time, if the clause does not depend on real time, or if
/// the clause fails in every one of [`RUNS`] runs. `report` is called before each repetition with
/// the delay of the machine.
pub(crate) async fn repeated<F: Future<Output = Checked>>(
    pace: &Pace,
    report: impl Fn(Duration),
    clause: impl Fn() -> F,
) -> Checked {
    for _ in 1..RUNS {
        pace.begin();
        let checked = clause().await;
        let (Err(Failure::Broken(_)), Some(delay)) = (&checked, pace.excuse()) else {
            return checked;
        };
        report(delay);
    }
    clause().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;

    use super::*;

    /// Runs a clause that fails `failures` times, and returns the number of runs and the outcome.
    fn run(failures: u32, depends_on_time: bool, delay: Duration) -> (u32, Checked) {
        let pace = Pace::default();
        let runs = Cell::new(0_u32);
        let delays = Cell::new(Duration::ZERO);
        let clause = || async {
            runs.set(runs.get() + 1);
            if depends_on_time {
                pace.depend_on_time();
            }
            pace.note(delay);
            if runs.get() > failures {
                return Ok(());
            }
            Err(Failure::Broken(format!("run {}", runs.get())))
        };
        let checked = repeated(&pace, |delay| delays.set(delays.get() + delay), clause)
            .now_or_never()
            .unwrap();
        assert_eq!(delays.get(), delay * (runs.get() - 1), "each repetition is reported");
        (runs.get(), checked)
    }

    #[test]
    fn a_failure_about_time_on_a_late_machine_is_repeated() {
        assert_eq!(run(0, true, LATE * 2), (1, Ok(())));
        assert_eq!(run(1, true, LATE * 2), (2, Ok(())));
        assert_eq!(run(2, true, LATE * 2), (3, Ok(())));
    }

    #[test]
    fn a_failure_in_every_run_counts() {
        assert_eq!(run(3, true, LATE * 2), (3, Err(Failure::Broken("run 3".to_owned()))));
    }

    #[test]
    fn a_failure_on_time_or_not_about_time_counts_at_once() {
        for (depends_on_time, delay) in [(true, LATE), (false, LATE * 2), (false, Duration::ZERO)] {
            let failed = Err(Failure::Broken("run 1".to_owned()));
            assert_eq!(
                run(1, depends_on_time, delay),
                (1, failed),
                "{depends_on_time} {delay:?}"
            );
        }
    }

    #[test]
    fn the_delay_of_a_timer_is_measured() {
        let pace = Arc::new(Pace::default());
        observe(&pace);
        let start = Instant::now();
        while pace.latest.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "no timer was observed");
            std::thread::yield_now();
        }
    }
}
