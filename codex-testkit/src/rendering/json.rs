//! Reports as JSON, for programs.

use serde_json::{Value, json};

use super::{Line, View};
use crate::Outcome;

pub(super) fn render(view: View<'_>) -> String {
    let counts = view.counts();
    let document = json!({
        "kit": concat!("codex-testkit ", env!("CARGO_PKG_VERSION")),
        "subject": view.subject,
        "success": !view.report.failed(),
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "seconds": view.took.map(|took| took.as_secs_f64()),
        "clauses": view.lines().map(clause).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn clause(line: Line<'_>) -> Value {
    let (outcome, reason) = match line.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(message) => ("failed", Some(message.as_str())),
        Outcome::Skipped(reason) => ("skipped", Some(*reason)),
    };
    json!({
        "id": line.id.to_string(),
        "group": line.id.group(),
        "name": line.id.name(),
        "text": line.id.text(),
        "outcome": outcome,
        "reason": reason,
        "seconds": line.took.map(|took| took.as_secs_f64()),
    })
}
