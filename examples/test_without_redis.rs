//! A test of application logic without Redis: the memory backend behaves like Redis, with a clock
//! that the test advances.
//!
//! The logic is a rate limiter. proptest generates sequences of requests and pauses, and the result
//! is compared with a simple model.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::HashMap, time::Duration};

use codex_kv::{
    Expiry, KvBackend, OnMissing, Result,
    memory::{ManualClock, MemoryBackend},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// Application code that depends only on the trait.
struct RateLimiter<B> {
    backend: B,
    limit: i64,
    window: Duration,
}

impl<B: KvBackend> RateLimiter<B> {
    /// Counts a request, and returns whether `user` may send it: at most `limit` per window. A
    /// window begins with its first request.
    async fn allow(&self, user: &str) -> Result<bool> {
        let key = format!("rate:{user}");
        // Atomic: the expiry is set when the counter is created, and later increments keep it.
        let on_missing = OnMissing::Create(Expiry::After(self.window));
        let count = self.backend.incr(&key, 1, on_missing).await?;
        Ok(count.is_some_and(|count| count <= self.limit))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Request { user: usize },
    Pause { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..USERS.len()).prop_map(|user| Step::Request { user }),
        1 => (0..15_000_u64).prop_map(|millis| Step::Pause { millis }),
    ]
}

const USERS: [&str; 3] = ["ada", "grace", "edsger"];
const LIMIT: i64 = 3;
const WINDOW: Duration = Duration::from_secs(10);

/// The expected behaviour: the start of each user's window, and the number of requests in it.
#[derive(Default)]
struct Model {
    windows: HashMap<usize, (Duration, i64)>,
}

impl Model {
    fn allow(&mut self, user: usize, now: Duration) -> bool {
        let window = self.windows.entry(user).or_insert((now, 0));
        if now >= window.0 + WINDOW {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= LIMIT
    }
}

async fn check(steps: Vec<Step>) -> std::result::Result<(), TestCaseError> {
    let clock = ManualClock::new();
    let limiter = RateLimiter {
        backend: MemoryBackend::with_clock(clock.clone()),
        limit: LIMIT,
        window: WINDOW,
    };
    let mut model = Model::default();
    let mut now = Duration::ZERO;
    for step in steps {
        match step {
            Step::Request { user } => {
                let allowed = limiter.allow(USERS[user]).await;
                let allowed = allowed.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(allowed, model.allow(user, now), "{} at {:?}", USERS[user], now);
            }
            Step::Pause { millis } => {
                clock.advance(Duration::from_millis(millis));
                now += Duration::from_millis(millis);
            }
        }
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let cases = 500;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut runner = TestRunner::new(Config {
        cases,
        // An example keeps no record of its failures; a test suite should.
        failure_persistence: None,
        ..Config::default()
    });
    let sequences = prop::collection::vec(step(), 1..60);
    let outcome = runner.run(&sequences, |steps| runtime.block_on(check(steps)));
    if let Err(failure) = outcome {
        panic!("the limiter and the model disagree: {failure}");
    }
    println!(
        "{cases} random sequences of requests and pauses: the limiter agrees with the model, without a server and without waiting"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiter_does_as_the_model_says() {
        main().unwrap();
    }
}
