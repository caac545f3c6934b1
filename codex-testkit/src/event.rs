//! Events that a run reports to its observer.

use std::time::Duration;

use crate::{ClauseId, Outcome, doubles::Verb};

/// An event that [`run_with`](crate::run_with) reports to its observer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A clause begins.
    #[non_exhaustive]
    Started {
        /// The clause.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// The number of clauses in this run.
        of: usize,
    },
    /// A clause is still running. Sent every five seconds, and at each quarter of a shorter
    /// [`Harness::time_limit`](crate::Harness::time_limit).
    #[non_exhaustive]
    Running {
        /// The clause.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// The number of clauses in this run.
        of: usize,
        /// The time that it has run so far.
        took: Duration,
        /// The number of calls that it has made to the backend. Zero in the suites for caches and
        /// session stores, which do not count calls.
        calls: u64,
        /// The call that it is waiting for, and the time that this call has taken so far.
        waits_for: Option<(Verb, Duration)>,
    },
    /// A clause is done.
    #[non_exhaustive]
    Finished {
        /// The clause.
        id: ClauseId,
        /// Its place in this run, from 1.
        number: usize,
        /// The number of clauses in this run.
        of: usize,
        /// Its outcome.
        outcome: &'a Outcome,
        /// The time that it took.
        took: Duration,
    },
}
