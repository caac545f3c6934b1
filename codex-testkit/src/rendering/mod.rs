//! Formats of reports, for people and for programs: text, JSON, JUnit XML, HTML.

mod escape;
mod html;
mod json;
mod junit;
mod progress;
mod text;
mod timed;

use std::{fmt, time::Duration};

pub use progress::{Progress, ProgressStyle};
pub use timed::TimedReport;

use crate::{ClauseId, Outcome, Report};

/// The data that every format renders.
#[derive(Clone, Copy)]
struct View<'a> {
    /// The name of the tested store.
    subject: &'a str,
    report: &'a Report,
    /// The time of each outcome, or empty.
    times: &'a [Duration],
    took: Option<Duration>,
}

/// A line of a report.
#[derive(Clone, Copy)]
struct Line<'a> {
    id: ClauseId,
    outcome: &'a Outcome,
    took: Option<Duration>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn total(self) -> usize {
        self.passed + self.failed + self.skipped
    }

    fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }
}

impl<'a> View<'a> {
    /// Returns a view without times and without the name of a store.
    fn bare(report: &'a Report) -> Self {
        Self {
            subject: "",
            report,
            times: &[],
            took: None,
        }
    }

    fn lines(self) -> impl Iterator<Item = Line<'a>> {
        self.report
            .outcomes
            .iter()
            .enumerate()
            .map(move |(at, (id, outcome))| Line {
                id: *id,
                outcome,
                took: self.times.get(at).copied(),
            })
    }

    /// Returns the lines of each group, in the order in which the groups first appear.
    fn groups(self) -> Vec<(&'static str, Vec<Line<'a>>)> {
        let mut groups: Vec<(&'static str, Vec<Line<'a>>)> = Vec::new();
        for line in self.lines() {
            match groups.iter_mut().find(|(name, _)| *name == line.id.group()) {
                Some((_, lines)) => lines.push(line),
                None => groups.push((line.id.group(), vec![line])),
            }
        }
        groups
    }

    fn counts(self) -> Counts {
        Counts::of(self.report.outcomes.iter().map(|(_, outcome)| outcome))
    }
}

/// Text for people, group by group.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::render(View::bare(self), f)
    }
}

impl Report {
    /// Returns the report as a JSON object with counts and an entry per clause.
    pub fn to_json(&self) -> String {
        json::render(View::bare(self))
    }

    /// Returns the report as JUnit XML that CI systems can read, with a test suite per group.
    pub fn to_junit(&self) -> String {
        junit::render(View::bare(self))
    }

    /// Returns the report as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        html::render(View::bare(self))
    }
}

const NOTHING_PASSED: &str = "a run in which nothing passed is a failure";

/// Returns the subject of a group of the contract.
fn title(group: &str) -> &str {
    match group {
        "get" => "Reading",
        "set" => "Writing",
        "cond" => "Conditions",
        "exp" => "Expiry",
        "ttl" => "Time to live",
        "del" => "Deleting",
        "many" => "Many keys at once",
        "incr" => "Counting",
        "scan" => "Scanning",
        "glob" => "Patterns",
        "dur" => "Durability",
        "life" => "Failure and life",
        other => other,
    }
}

/// Returns a duration with about three significant figures.
fn readable(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-4 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        for (micros, shown) in [
            (0, "0 µs"),
            (42, "42 µs"),
            (420, "0.4 ms"),
            (4_200, "4.2 ms"),
            (42_000, "42 ms"),
            (1_260_000, "1.3 s"),
            (90_000_000, "90.0 s"),
        ] {
            assert_eq!(readable(Duration::from_micros(micros)), shown);
        }
    }
}
