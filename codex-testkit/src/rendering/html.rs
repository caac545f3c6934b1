//! Reports as a self-contained HTML page. The page is also XHTML, so that a strict parser can check
//! it.

use std::{fmt::Write as _, time::Duration};

use super::{Counts, Line, View, escape::escape, readable, title};
use crate::Outcome;

pub(super) fn render(view: View<'_>) -> String {
    let subject = if view.subject.is_empty() {
        "a backend"
    } else {
        view.subject
    };
    let groups = view.groups();
    let slowest = view.lines().filter_map(|line| line.took).max().unwrap_or_default();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{verdict}: {subject}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n",
        verdict = verdict(view),
        subject = escape(subject),
        style = include_str!("page.css"),
    );
    page.push_str(&header(view, subject));
    page.push_str(&failures(view));
    page.push_str(&contents(&groups));
    for (group, lines) in &groups {
        page.push_str(&section(group, lines, slowest));
    }
    let _ = write!(
        page,
        "<footer>Made by codex-testkit {}. A skipped clause is not counted as passed.</footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
    );
    page
}

fn verdict(view: View<'_>) -> &'static str {
    if view.report.failed() { "Failed" } else { "Passed" }
}

fn header(view: View<'_>, subject: &str) -> String {
    let counts = view.counts();
    let class = if view.report.failed() { "failed" } else { "passed" };
    let took = view.took.map(|took| figure("time", "", &readable(took)));
    let nothing = if counts.passed == 0 {
        "<p class=\"note\">A run in which nothing passed is a failure.</p>\n"
    } else {
        ""
    };
    format!(
        "<header>\n<p class=\"eyebrow\">The contract of <code>KvBackend</code></p>\n\
         <h1>{subject} <span class=\"verdict {class}\">{verdict}</span></h1>\n\
         <dl class=\"figures\">\n{}{}{}{}</dl>\n{}{nothing}</header>\n",
        figure("passed", "passed", &counts.passed.to_string()),
        figure("failed", "failed", &counts.failed.to_string()),
        figure("skipped", "skipped", &counts.skipped.to_string()),
        took.unwrap_or_default(),
        bar(counts),
        subject = escape(subject),
        verdict = verdict(view),
    )
}

fn figure(name: &str, class: &str, value: &str) -> String {
    // A zero gets no colour.
    let class = if value == "0" { "" } else { class };
    format!("<div class=\"figure {class}\"><dd>{value}</dd><dt>{name}</dt></div>\n")
}

/// Returns a bar with the shares of passed, failed and skipped clauses.
fn bar(counts: Counts) -> String {
    let mut bar = String::from("<div class=\"bar\" aria-hidden=\"true\">");
    for (class, count) in [
        ("passed", counts.passed),
        ("failed", counts.failed),
        ("skipped", counts.skipped),
    ] {
        if count > 0 {
            let _ = write!(bar, "<span class=\"{class}\" style=\"flex-grow:{count}\"></span>");
        }
    }
    bar.push_str("</div>\n");
    bar
}

/// Returns the section with the failures. It is first, because a reader of a failed run looks for
/// them.
fn failures(view: View<'_>) -> String {
    let mut entries = String::new();
    for (id, message) in view.report.failures() {
        let _ = writeln!(
            entries,
            "<li><a href=\"#{id}\">{id}</a> {}<pre>{}</pre></li>",
            prose(id.text()),
            escape(message)
        );
    }
    if entries.is_empty() {
        return entries;
    }
    format!("<section class=\"failures\">\n<h2>Failures</h2>\n<ul>\n{entries}</ul>\n</section>\n")
}

fn contents(groups: &[(&str, Vec<Line<'_>>)]) -> String {
    let mut contents = String::from("<nav aria-label=\"Groups\">\n");
    for (group, lines) in groups {
        let counts = Counts::of(lines.iter().map(|line| line.outcome));
        let class = if counts.failed > 0 { "failed" } else { "" };
        let _ = writeln!(
            contents,
            "<a class=\"{class}\" href=\"#{group}\">{} <span>{}/{}</span></a>",
            title(group),
            counts.passed,
            counts.total(),
        );
    }
    contents.push_str("</nav>\n");
    contents
}

fn section(group: &str, lines: &[Line<'_>], slowest: Duration) -> String {
    let counts = Counts::of(lines.iter().map(|line| line.outcome));
    let took: Option<Duration> = lines.iter().map(|line| line.took).sum();
    let mut facts = vec![format!("{} of {} passed", counts.passed, counts.total())];
    if counts.failed > 0 {
        facts.push(format!("{} failed", counts.failed));
    }
    if counts.skipped > 0 {
        facts.push(format!("{} skipped", counts.skipped));
    }
    facts.extend(took.map(readable));
    let rows: String = lines.iter().map(|line| row(line, slowest)).collect();
    format!(
        "<section id=\"{group}\">\n<h2>{} <code>{group}</code> <small>{}</small></h2>\n<ol>\n{rows}</ol>\n</section>\n",
        title(group),
        facts.join(" · "),
    )
}

fn row(line: &Line<'_>, slowest: Duration) -> String {
    let (class, mark, reason) = match line.outcome {
        Outcome::Passed => ("passed", "✓", String::new()),
        Outcome::Failed(message) => ("failed", "✗", format!("<pre>{}</pre>", escape(message))),
        Outcome::Skipped(reason) => (
            "skipped",
            "–",
            format!("<p class=\"reason\">Skipped: {}</p>", escape(reason)),
        ),
    };
    let id = line.id;
    format!(
        "<li id=\"{id}\" class=\"{class}\"><span class=\"mark\" role=\"img\" aria-label=\"{class}\">{mark}</span>\
         <a class=\"id\" href=\"#{id}\">{id}</a>\
         <div class=\"text\">{}{reason}</div>{}</li>\n",
        prose(id.text()),
        time(line, slowest),
    )
}

/// Returns the time of a clause, as a number and as a bar relative to the slowest clause.
fn time(line: &Line<'_>, slowest: Duration) -> String {
    let Some(took) = line.took else {
        return String::new();
    };
    if matches!(line.outcome, Outcome::Skipped(_)) {
        return "<span class=\"time\"></span>".to_owned();
    }
    let share = took.as_secs_f64() / slowest.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
    // A shorter bar would hardly be visible.
    let bar = if share < 2.0 {
        String::new()
    } else {
        format!("<i style=\"width:{share:.1}%\"></i>")
    };
    format!("<span class=\"time\">{}{bar}</span>", readable(took))
}

/// Returns the text of a clause as HTML. Backquotes mark code.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            let _ = write!(prose, "<code>{}</code>", escape(part));
        } else {
            prose.push_str(&escape(part));
        }
    }
    prose
}
