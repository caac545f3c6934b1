//! A report with the time of each clause.

use std::{fmt, time::Duration};

use super::{View, html, json, junit, text};
use crate::{ClauseId, Outcome, Report};

/// A [`Report`] with its subject and the time of each clause: the result of
/// [`run_with`](crate::run_with).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a report that nobody looks at hides failures"]
pub struct TimedReport {
    subject: String,
    report: Report,
    times: Vec<Duration>,
    took: Duration,
}

impl TimedReport {
    pub(crate) fn new(report: Report, times: Vec<Duration>, took: Duration) -> Self {
        Self {
            subject: String::new(),
            report,
            times,
            took,
        }
    }

    /// Adds the name of the tested store for headings: `"Redis 7.0 on localhost"`. The name must
    /// not contain a password.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Returns the report without the times.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the report without the times.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Returns the same as [`Report::failed`].
    pub fn failed(&self) -> bool {
        self.report.failed()
    }

    /// Returns each clause with its outcome and its time.
    pub fn clauses(&self) -> impl Iterator<Item = (ClauseId, &Outcome, Duration)> {
        let outcomes = self.report.outcomes.iter();
        outcomes
            .zip(&self.times)
            .map(|((id, outcome), took)| (*id, outcome, *took))
    }

    /// Returns the duration of the run.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Returns the result of the run on one line: `74 passed, 0 failed, 2 skipped in 5.8 s`.
    pub fn summary(&self) -> String {
        text::summary(self.view())
    }

    /// Returns the same as [`Report::to_json`], with the times in seconds.
    pub fn to_json(&self) -> String {
        json::render(self.view())
    }

    /// Returns the same as [`Report::to_junit`], with the times.
    pub fn to_junit(&self) -> String {
        junit::render(self.view())
    }

    /// Returns the same as [`Report::to_html`], with the times.
    pub fn to_html(&self) -> String {
        html::render(self.view())
    }

    fn view(&self) -> View<'_> {
        View {
            subject: &self.subject,
            report: &self.report,
            times: &self.times,
            took: Some(self.took),
        }
    }
}

/// Text for people, group by group.
impl fmt::Display for TimedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::render(self.view(), f)
    }
}
