//! Reports must have the same content in every format and be parseable, whatever text they contain.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::Duration;

use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{
    ClauseId, Event, Harness, Outcome, Progress, ProgressStyle, Report, Time, TimedReport, VirtualTime, run_with,
};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

const HOSTILE: &str = "</pre><script>alert('x')</script> & \"&amp;\" ]]> <!-- \u{1b}[31m\0\tgot\nsecond line `é` 🦀";

fn clause(id: &str) -> ClauseId {
    id.parse().unwrap()
}

/// Returns a report with every outcome once, in two groups.
fn mixed() -> Report {
    Report {
        outcomes: vec![
            (clause("get-01"), Outcome::Passed),
            (clause("get-06"), Outcome::Skipped("no <types> & no \"lists\"")),
            (clause("incr-07"), Outcome::Failed(HOSTILE.to_owned())),
        ],
    }
}

/// A harness of memory backends that panics on demand.
struct Memory {
    clock: ManualClock,
    breaks: bool,
}

impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn fresh(&self) -> MemoryBackend {
        assert!(!self.breaks, "{HOSTILE}");
        MemoryBackend::with_clock(self.clock.clone())
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }
}

fn memory() -> Memory {
    Memory {
        clock: ManualClock::new(),
        breaks: false,
    }
}

/// Runs clauses from two groups. Two of them pass and one is skipped.
async fn timed() -> TimedReport {
    let clauses = ["get-01", "get-06", "del-03"].map(clause);
    run_with(&memory(), clauses, |_| ())
        .await
        .about("a <memory> & \"store\"")
}

async fn broken() -> TimedReport {
    let harness = Memory {
        breaks: true,
        ..memory()
    };
    run_with(&harness, [clause("get-01")], |_| ()).await.about("broken")
}

fn xml(text: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn find<'a>(document: &'a Document<'_>, is: impl Fn(&Node<'a, 'a>) -> bool) -> Vec<Node<'a, 'a>> {
    document.root().descendants().filter(is).collect()
}

/// Replaces the characters that XML cannot represent with the text that the report shows instead.
fn shown(text: &str) -> String {
    text.replace('\u{1b}', r"\u{1b}").replace('\0', r"\u{0}")
}

#[test]
fn json_says_what_the_report_says() {
    let json: Value = serde_json::from_str(&mixed().to_json()).unwrap();
    assert_eq!(json["success"], false);
    assert_eq!(
        (&json["passed"], &json["failed"], &json["skipped"]),
        (&1.into(), &1.into(), &1.into())
    );
    let clauses = json["clauses"].as_array().unwrap();
    let ids: Vec<_> = clauses.iter().map(|clause| clause["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["get-01", "get-06", "incr-07"]);
    assert_eq!(clauses[0]["outcome"], "passed");
    assert_eq!(clauses[0]["reason"], Value::Null);
    assert_eq!(clauses[0]["seconds"], Value::Null);
    assert_eq!(clauses[1]["reason"], "no <types> & no \"lists\"");
    assert_eq!(clauses[2]["reason"], HOSTILE);
    assert_eq!(clauses[2]["name"], "incr_07_no_increment_is_lost");
}

#[test]
fn junit_says_what_the_report_says() {
    let text = mixed().to_junit();
    let document = xml(&text);
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    for (attribute, value) in [("tests", "3"), ("failures", "1"), ("errors", "0")] {
        assert_eq!(root.attribute(attribute), Some(value), "{attribute}");
    }
    let suites = find(&document, |node| node.has_tag_name("testsuite"));
    let names: Vec<_> = suites.iter().map(|suite| suite.attribute("name").unwrap()).collect();
    assert_eq!(names, ["get", "incr"]);
    let cases = find(&document, |node| node.has_tag_name("testcase"));
    let children: Vec<_> = cases
        .iter()
        .map(|case| {
            case.children()
                .find(Node::is_element)
                .map(|child| child.tag_name().name().to_owned())
        })
        .collect();
    assert_eq!(children, [None, Some("skipped".to_owned()), Some("failure".to_owned())]);
    let skipped = find(&document, |node| node.has_tag_name("skipped"))[0];
    assert_eq!(skipped.attribute("message"), Some("no <types> & no \"lists\""));
    let failure = find(&document, |node| node.has_tag_name("failure"))[0];
    let text = shown(HOSTILE).replace('\t', r"\u{9}");
    assert_eq!(failure.attribute("message"), text.lines().next());
    assert!(failure.text().unwrap().ends_with(&text));
}

#[test]
fn a_run_in_which_nothing_passed_is_a_failure_in_every_form() {
    let skipped = Report {
        outcomes: vec![(clause("get-06"), Outcome::Skipped("not here"))],
    };
    for report in [Report::default(), skipped] {
        assert!(report.failed());
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["success"], false);
        let text = report.to_junit();
        let document = xml(&text);
        assert_eq!(document.root_element().attribute("failures"), Some("1"));
        assert_eq!(find(&document, |node| node.has_tag_name("failure")).len(), 1);
        let said = "nothing passed is a failure";
        assert!(report.to_html().contains(said) && report.to_string().contains(said));
        assert!(report.to_html().contains("<title>Failed"));
    }
}

#[test]
fn the_page_shows_hostile_text_as_text() {
    let text = mixed().to_html();
    let document = xml(&text);
    assert!(find(&document, |node| node.has_tag_name("script")).is_empty());
    // The failure is shown both at the top and in its group.
    let shown_text: Vec<_> = find(&document, |node| node.has_tag_name("pre"))
        .iter()
        .map(|pre| pre.text().unwrap().to_owned())
        .collect();
    assert_eq!(shown_text, [shown(HOSTILE), shown(HOSTILE)]);
    let reasons = find(&document, |node| node.attribute("class") == Some("reason"));
    assert_eq!(reasons[0].text(), Some("Skipped: no <types> & no \"lists\""));
}

#[test]
fn the_page_shows_every_clause_once_and_its_links_lead_somewhere() {
    let report = Report {
        outcomes: ClauseId::all().map(|id| (id, Outcome::Passed)).collect(),
    };
    let text = report.to_html();
    let document = xml(&text);
    for id in ClauseId::all() {
        let found = find(&document, |node| node.attribute("id") == Some(&id.to_string()));
        assert_eq!(found.len(), 1, "{id}");
    }
    for link in find(&document, |node| node.attribute("href").is_some()) {
        let target = link.attribute("href").unwrap().strip_prefix('#').unwrap();
        assert_eq!(
            find(&document, |node| node.attribute("id") == Some(target)).len(),
            1,
            "{target}"
        );
    }
    // The page is self-contained and loads nothing.
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn times_are_in_every_form() {
    let report = timed().await;
    assert_eq!(report.clauses().count(), 3);
    let sum: Duration = report.clauses().map(|(_, _, took)| took).sum();
    assert!(Duration::ZERO < sum && sum <= report.took());
    assert!(
        report.summary().starts_with("2 passed, 0 failed, 1 skipped in "),
        "{}",
        report.summary()
    );
    assert!(report.to_string().contains("s  a missing key is `None`"), "{report}");

    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["subject"], "a <memory> & \"store\"");
    assert!((json["seconds"].as_f64().unwrap() - report.took().as_secs_f64()).abs() < 1e-9);
    for (clause, (_, _, took)) in json["clauses"].as_array().unwrap().iter().zip(report.clauses()) {
        assert!((clause["seconds"].as_f64().unwrap() - took.as_secs_f64()).abs() < 1e-9);
    }

    let text = report.to_junit();
    let document = xml(&text);
    for node in find(&document, |node| node.is_element() && node.attribute("name").is_some()) {
        assert!(node.attribute("time").unwrap().parse::<f64>().unwrap() >= 0.0);
    }
    assert_eq!(
        document.root_element().attribute("name"),
        Some("a <memory> & \"store\"")
    );

    let text = report.to_html();
    let document = xml(&text);
    let title = find(&document, |node| node.has_tag_name("title"))[0];
    assert_eq!(title.text(), Some("Passed: a <memory> & \"store\""));
    assert_eq!(find(&document, |node| node.attribute("class") == Some("time")).len(), 3);
}

#[tokio::test]
async fn the_observer_hears_of_each_clause_when_it_begins_and_when_it_is_done() {
    let mut heard = Vec::new();
    let clauses = ["get-01", "get-06"].map(clause);
    let report = run_with(&memory(), clauses, |event| {
        heard.push(match event {
            Event::Started { id, number, of, .. } => format!("{id} begins, {number} of {of}"),
            Event::Finished {
                id,
                number,
                of,
                outcome,
                ..
            } => format!("{id} {number} of {of}: {outcome:?}"),
            _ => unreachable!("an event that this test does not know"),
        });
    })
    .await;
    let skipped = format!("get-06 2 of 2: {:?}", report.report().outcomes[1].1);
    assert_eq!(
        heard,
        [
            "get-01 begins, 1 of 2",
            "get-01 1 of 2: Passed",
            "get-06 begins, 2 of 2",
            &skipped
        ]
    );
}

async fn progress(harness: &Memory, style: ProgressStyle) -> String {
    let mut out = Vec::new();
    let mut progress = Progress::new(&mut out, style);
    let clauses = ["get-01", "get-06", "del-03"].map(clause);
    let _ = run_with(harness, clauses, |event| progress.show(&event)).await;
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn plain_progress_is_a_line_per_clause_and_nothing_a_terminal_would_act_on() {
    let text = progress(&memory(), ProgressStyle::Plain).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!((lines[0], lines[4]), ("get: Reading", "del: Deleting"));
    assert!(
        lines[1].starts_with("  get-01  passed ") && lines[2].starts_with("  get-06  skipped "),
        "{text}"
    );
    assert!(
        lines[3].contains("does not declare the capability foreign_types"),
        "{text}"
    );

    let harness = Memory {
        breaks: true,
        ..memory()
    };
    let text = progress(&harness, ProgressStyle::Plain).await;
    assert!(text.contains("FAILED") && text.contains(r"\u{1b}[31m"), "{text}");
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
}

#[tokio::test]
async fn progress_on_a_terminal_shows_what_runs_and_clears_it() {
    let text = progress(&memory(), ProgressStyle::Terminal).await;
    assert!(text.contains("get-01  running  [1/3]"));
    assert_eq!(text.matches("\r\x1b[2K").count(), 3);
    for line in text.lines() {
        let visible = line.rsplit("\x1b[2K").next().unwrap();
        assert!(visible.chars().count() <= 140, "{visible:?}");
    }
}

#[tokio::test]
async fn a_panic_of_the_backend_is_a_failure_with_its_text() {
    let report = broken().await;
    assert!(report.failed());
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["clauses"][0]["reason"], format!("panicked: {HOSTILE}"));
    assert_eq!(report.report().failures().count(), 1);
}
