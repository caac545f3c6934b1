//! Reports as text for a terminal or a log.

use std::fmt::{self, Write as _};

use super::{Counts, Line, NOTHING_PASSED, View, readable, title};
use crate::Outcome;

pub(super) fn render(view: View<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (group, lines) in view.groups() {
        writeln!(f, "{}", heading(group))?;
        for line in lines {
            f.write_str(&entry(line))?;
        }
    }
    f.write_str(&summary(view))
}

/// Returns the result of the run on one line.
pub(super) fn summary(view: View<'_>) -> String {
    let Counts {
        passed,
        failed,
        skipped,
    } = view.counts();
    let mut summary = format!("{passed} passed, {failed} failed, {skipped} skipped");
    if let Some(took) = view.took {
        let _ = write!(summary, " in {}", readable(took));
    }
    if passed == 0 {
        let _ = write!(summary, ": {NOTHING_PASSED}");
    }
    summary
}

pub(super) fn heading(group: &str) -> String {
    format!("{group}: {}", title(group))
}

fn entry(line: Line<'_>) -> String {
    let (word, reason) = match line.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Skipped(reason) => ("skipped", Some(format!("because {reason}"))),
        Outcome::Failed(message) => ("FAILED", Some(message.clone())),
    };
    let took = line.took.map(|took| format!("{:>8}  ", readable(took)));
    let mut entry = format!(
        "  {}  {word:<7}  {}{}\n",
        line.id,
        took.unwrap_or_default(),
        line.id.text()
    );
    for line in reason.iter().flat_map(|reason| reason.lines()) {
        let _ = writeln!(entry, "           {}", visible(line));
    }
    entry
}

/// Escapes control characters, which a terminal would act on.
pub(super) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            visible.extend(char.escape_unicode());
        } else {
            visible.push(char);
        }
    }
    visible
}
