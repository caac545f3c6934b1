//! Reports for CI systems: JUnit XML that Jenkins, GitLab and GitHub Actions can read.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JunitReport, TestCase, TestCaseStatus, TestSuite};

use super::{Line, NOTHING_PASSED, View};
use crate::Outcome;

pub(super) fn render(view: View<'_>) -> String {
    let name = if view.subject.is_empty() {
        "codex-testkit"
    } else {
        view.subject
    };
    let mut report = JunitReport::new(name);
    if let Some(took) = view.took {
        report.set_time(took);
    }
    for (group, lines) in view.groups() {
        report.add_test_suite(suite(name, group, &lines));
    }
    if view.counts().passed == 0 {
        // Readers of JUnit treat a file without a failure as a success.
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(NOTHING_PASSED);
        let mut case = TestCase::new("something_passed", status);
        case.set_classname(name);
        let mut suite = TestSuite::new("run");
        suite.add_test_case(case);
        report.add_test_suite(suite);
    }
    report
        .to_string()
        .unwrap_or_else(|error| unreachable!("writing to a string cannot fail: {error}"))
}

fn suite(name: &str, group: &str, lines: &[Line<'_>]) -> TestSuite {
    let mut suite = TestSuite::new(group);
    if let Some(took) = lines.iter().map(|line| line.took).sum::<Option<Duration>>() {
        suite.set_time(took);
    }
    suite.add_test_cases(lines.iter().map(|line| case(name, group, line)));
    suite
}

fn case(name: &str, group: &str, line: &Line<'_>) -> TestCase {
    let status = match line.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(shown(reason));
            status
        }
        Outcome::Failed(message) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(shown(message.lines().next().unwrap_or_default()));
            status.set_description(format!("{}: {}\n{}", line.id, line.id.text(), shown(message)));
            status
        }
    };
    let mut case = TestCase::new(line.id.name(), status);
    // A dot in the class name would be read as a package separator.
    case.set_classname(format!("{}.{group}", name.replace('.', "_")));
    if let Some(took) = line.took {
        case.set_time(took);
    }
    case
}

/// Escapes control characters as Rust does. The `quick_junit` crate would leave them out, even
/// tabs.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() && char != '\n' || matches!(char, '\u{fffe}' | '\u{ffff}') {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}
