//! What a run tells its observer.

use std::time::Duration;

use crate::{ClauseId, Outcome, doubles::Verb};

/// What [`run_with`](crate::run_with) tells its observer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A clause begins.
    #[non_exhaustive]
    Started {
        /// Which one.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// How many this run has.
        of: usize,
    },
    /// A clause takes long. Sent every five seconds, and at each quarter of a shorter
    /// [`Harness::time_limit`](crate::Harness::time_limit).
    #[non_exhaustive]
    Running {
        /// Which one.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// How many this run has.
        of: usize,
        /// How long it has taken so far.
        took: Duration,
        /// How many calls it has made of the backend. Zero in the suites of caches and of session
        /// stores, which do not count them.
        calls: u64,
        /// The call that it waits for, and for how long.
        waits_for: Option<(Verb, Duration)>,
    },
    /// A clause is done.
    #[non_exhaustive]
    Finished {
        /// Which one.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// How many this run has.
        of: usize,
        /// What it came to.
        outcome: &'a Outcome,
        /// How long it took.
        took: Duration,
    },
}
