//! The outcome of a run.

use crate::ClauseId;

/// The outcome of a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The clause holds.
    Passed,
    /// The clause does not hold. The text says what was expected and what happened.
    Failed(String),
    /// The clause does not apply, would harm the store, or is expected to fail, for this reason. It
    /// does not count as passed.
    Skipped(&'static str),
}

/// The outcome of a run, clause by clause, in the order of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a report that nobody looks at hides failures"]
pub struct Report {
    /// Each clause that was run or skipped, with its outcome.
    pub outcomes: Vec<(ClauseId, Outcome)>,
}

impl Report {
    /// Returns whether the run failed: a clause failed, or no clause passed. A run that checked
    /// nothing is not a success.
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
