//! For CI systems: JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read.

use std::{fmt::Write as _, time::Duration};

use super::{Counts, Line, NOTHING_PASSED, View, escape::escape};
use crate::Outcome;

pub(super) fn render(view: View<'_>) -> String {
    let counts = view.counts();
    let name = if view.subject.is_empty() {
        "codex-testkit"
    } else {
        view.subject
    };
    let mut suites = String::new();
    for (group, lines) in view.groups() {
        suites.push_str(&suite(name, group, &lines));
    }
    let mut failures = counts.failed;
    let mut tests = counts.total();
    if counts.passed == 0 {
        // Readers of JUnit take a file without a failure for a success.
        tests += 1;
        failures += 1;
        let _ = write!(
            suites,
            "  <testsuite name=\"run\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">\n    \
             <testcase classname=\"{}\" name=\"something_passed\">\n      \
             <failure message=\"{NOTHING_PASSED}\"/>\n    </testcase>\n  </testsuite>\n",
            escape(name),
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{}\"{}>\n{suites}</testsuites>\n",
        escape(name),
        counts.skipped,
        time(view.took),
    )
}

fn suite(name: &str, group: &str, lines: &[Line<'_>]) -> String {
    let counts = Counts::of(lines.iter().map(|line| line.outcome));
    let took: Option<Duration> = lines.iter().map(|line| line.took).sum();
    let cases: String = lines.iter().map(|line| case(name, group, line)).collect();
    format!(
        "  <testsuite name=\"{group}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"{}>\n{cases}  </testsuite>\n",
        counts.total(),
        counts.failed,
        counts.skipped,
        time(took),
    )
}

fn case(name: &str, group: &str, line: &Line<'_>) -> String {
    // A dot in the class name would be taken for a package.
    let class = format!("{}.{group}", name.replace('.', "_"));
    let open = format!(
        "    <testcase classname=\"{}\" name=\"{}\"{}",
        escape(&class),
        line.id.name(),
        time(line.took),
    );
    match line.outcome {
        Outcome::Passed => format!("{open}/>\n"),
        Outcome::Skipped(reason) => {
            format!(
                "{open}>\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                escape(reason)
            )
        }
        Outcome::Failed(message) => format!(
            "{open}>\n      <failure message=\"{}\">{}: {}\n{}</failure>\n    </testcase>\n",
            escape(message.lines().next().unwrap_or_default()),
            line.id,
            escape(line.id.text()),
            escape(message),
        ),
    }
}

/// In seconds.
fn time(took: Option<Duration>) -> String {
    took.map(|took| format!(" time=\"{:.6}\"", took.as_secs_f64()))
        .unwrap_or_default()
}
