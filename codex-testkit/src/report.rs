//! The outcome of a run.

use crate::ClauseId;

/// The outcome of one clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not: what was expected, and what came.
    Failed(String),
    /// It does not apply, for this reason. Not counted as passed.
    Skipped(&'static str),
}

/// The outcome of a run, clause by clause, in the order of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a report that nobody looks at hides failures"]
pub struct Report {
    /// Each clause that was run or skipped, and what it came to.
    pub outcomes: Vec<(ClauseId, Outcome)>,
}

impl Report {
    /// Returns whether the run as a whole failed: a clause did, or none was passed, for a run that
    /// showed nothing is no success.
    pub fn failed(&self) -> bool {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_))) > 0
            || self.count(|outcome| *outcome == Outcome::Passed) == 0
    }

    /// Returns the clauses that failed.
    pub fn failures(&self) -> impl Iterator<Item = (ClauseId, &str)> {
        self.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            Outcome::Failed(message) => Some((*id, message.as_str())),
            Outcome::Passed | Outcome::Skipped(_) => None,
        })
    }

    fn count(&self, of: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| of(outcome)).count()
    }
}
