//! What a run tells its observer.

use std::time::Duration;

use crate::{ClauseId, Outcome};

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
