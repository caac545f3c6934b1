//! Tests of the suite itself. It must fail faulty backends, name the broken clause, and never count
//! a clause that did not run as passed.

mod faulty_backends;

use std::{future::Future, path::Path};

use codex_testkit::{
    ClauseId, Harness, Outcome, Report, Time,
    doubles::{Intercepted, Interceptor, Reply, Request, Verb},
    run, run_only,
    suite::BackendContract,
};
use codex_traits::Result;
use faulty_backends::{Fault, FaultyBackend, FaultyBackendHarness};

fn clause(id: &str) -> ClauseId {
    id.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_run_reports_every_clause_once_and_in_order() {
    let report = run(&FaultyBackendHarness::default()).await;
    assert!(!report.failed(), "{report}");
    let ids: Vec<ClauseId> = report.outcomes.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ClauseId::all().collect::<Vec<_>>());
    let skipped: Vec<String> = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Skipped(_)))
        .map(|(id, _)| id.to_string())
        .collect();
    assert_eq!(
        skipped,
        ["scan-10", "dur-01", "dur-02", "life-12", "life-13", "life-14"]
    );
    let text = report.to_string();
    assert!(text.contains("get-01  passed"), "{text}");
    assert!(
        text.contains("because the backend does not declare the capability cluster"),
        "{text}"
    );
}

#[tokio::test]
async fn a_run_of_no_clauses_fails() {
    assert!(Report::default().failed());
    let report = run_only(&FaultyBackendHarness::default(), []).await;
    assert!(report.failed());
    assert!(
        report
            .to_string()
            .contains("a run in which nothing passed is a failure")
    );
}

#[tokio::test]
async fn a_run_of_skipped_clauses_fails() {
    let report = run_only(&FaultyBackendHarness::default(), [clause("scan-10")]).await;
    assert_eq!(report.failures().count(), 0);
    assert!(report.failed());
}

/// A backend that panics when `del` is called.
#[derive(Debug)]
struct PanicsOnDel;

impl Interceptor for PanicsOnDel {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        assert!(request.verb() != Verb::Del, "del is not for me");
        call.await
    }
}

#[derive(Default)]
struct PanickingHarness(FaultyBackendHarness);

impl Harness for PanickingHarness {
    type Backend = Intercepted<FaultyBackend, PanicsOnDel>;

    async fn fresh(&self) -> Self::Backend {
        Intercepted::with_interceptor(self.0.fresh().await, PanicsOnDel)
    }

    fn time(&self) -> Time {
        self.0.time()
    }
}

#[tokio::test]
async fn a_panic_fails_its_clause_and_no_other() {
    let clauses = ["del-02", "get-03", "set-01"].map(clause);
    let report = run_only(&PanickingHarness::default(), clauses).await;
    let failures: Vec<_> = report
        .failures()
        .map(|(id, message)| format!("{id}: {message}"))
        .collect();
    assert_eq!(
        failures,
        [
            "del-02: panicked: del is not for me",
            "get-03: panicked: del is not for me"
        ]
    );
    assert_eq!(report.outcomes[2].1, Outcome::Passed);
}

#[tokio::test]
async fn a_failure_is_shown_in_the_fewest_calls() {
    let harness = FaultyBackendHarness::with(Fault::GhostTtl);
    let report = run_only(&harness, ["del-05", "set-04", "get-01"].map(clause)).await;
    let messages: Vec<&str> = report.failures().map(|(_, message)| message).collect();
    assert_eq!(messages.len(), 2, "{report}");
    for message in messages {
        let (told, shown) = message
            .split_once("\n\nThe same in the fewest calls found, as a test:\n\n")
            .unwrap();
        assert!(told.starts_with("ttl of "), "{message}");
        assert!(shown.starts_with("#[tokio::test]\n"), "{message}");
        // The key is set with a time to live, removed, set again, and read.
        assert_eq!(shown.matches("        Op::").count(), 4, "{message}");
    }
    assert!(report.to_html().contains("Op::ttl("));

    // A single caller cannot show these faults.
    for (fault, id) in [(Fault::NxInTwoSteps, "cond-07"), (Fault::OutageIsMiss, "life-01")] {
        let report = run_only(&FaultyBackendHarness::with(fault), [clause(id)]).await;
        let (_, message) = report.failures().next().unwrap();
        assert!(!message.contains("#[tokio::test]"), "{message}");
    }
}

mod skip_lists {
    use super::{clause_test, skips_test};

    #[test]
    fn what_is_listed_and_does_not_apply_is_right() {
        skips_test(&["scan_10"]);
        skips_test(&[]);
    }

    #[test]
    #[should_panic(expected = "get_01 is listed, but applies and holds")]
    fn what_is_listed_and_holds_fails() {
        skips_test(&["scan_10", "get_01"]);
    }

    #[test]
    #[should_panic(expected = "there is no clause \"get_99\"")]
    fn what_is_listed_and_unknown_fails() {
        skips_test(&["get_99"]);
    }

    #[test]
    #[should_panic(expected = "scan_10 is listed twice")]
    fn what_is_listed_twice_fails() {
        skips_test(&["scan_10", "scan_10"]);
    }

    #[test]
    #[should_panic(expected = "scan-10 (across every node of a cluster")]
    fn what_does_not_apply_and_is_not_listed_fails() {
        clause_test("scan_10");
    }
}

mod expected_failures {
    use codex_testkit::{Outcome, run_expecting};

    use super::{clause, fails_test};
    use crate::faulty_backends::{Fault, FaultyBackendHarness};

    // The macro's own list, on a backend with a fault.
    codex_testkit::conformance_tests!(FaultyBackendHarness::with(Fault::ReversedRangeIsEmpty), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        scan_10: "one node",
    }, fails: {
        glob_02: "the fault",
        glob_03: "a negated class can hold a reversed range too",
    });

    #[test]
    fn what_is_listed_and_fails_is_right() {
        fails_test(&["set_04"]);
    }

    #[test]
    #[should_panic(expected = "get_03 is listed as failing, but holds")]
    fn what_is_listed_and_holds_fails() {
        fails_test(&["set_04", "get_03"]);
    }

    #[test]
    #[should_panic(expected = "scan_10 is listed twice")]
    fn what_is_on_both_lists_fails() {
        fails_test(&["scan_10"]);
    }

    #[tokio::test]
    async fn a_run_knows_them_too() {
        let harness = FaultyBackendHarness::with(Fault::KeepDropsTtl);
        let clauses = ["set-04", "get-03", "scan-10"].map(clause);
        let expected = [(clause("set-04"), "to be mended"), (clause("del-01"), "is not run")];
        let report = run_expecting(&harness, clauses, &expected, |_| ()).await;
        assert!(!report.failed(), "{report}");
        assert_eq!(report.report().outcomes[0].1, Outcome::Skipped("to be mended"));

        let expected = clauses.map(|id| (id, "to be mended"));
        let report = run_expecting(&harness, clauses, &expected, |_| ()).await;
        let failures: Vec<_> = report
            .report()
            .failures()
            .map(|(id, message)| format!("{id} {message}"))
            .collect();
        assert_eq!(
            failures,
            [
                "get-03 is expected to fail (to be mended), and holds",
                "scan-10 is expected to fail (to be mended), and does not apply: the backend does not declare the capability cluster"
            ]
        );
    }
}

fn skips_test(skips: &[&str]) {
    codex_testkit::suite::test_lists::<BackendContract, _, _>(
        || Ok(FaultyBackendHarness::default()),
        "",
        "",
        skips,
        &[],
    );
}

/// Checks the `fails` list of a backend that violates set-04.
fn fails_test(fails: &[&str]) {
    let broken = || Ok(FaultyBackendHarness::with(Fault::KeepDropsTtl));
    codex_testkit::suite::test_lists::<BackendContract, _, _>(broken, "", "", &["scan_10"], fails);
}

fn clause_test(ident: &str) {
    codex_testkit::suite::test::<BackendContract, _, _>(|| Ok(FaultyBackendHarness::default()), "", "", ident);
}

/// The list in the code must equal the written contract.
#[test]
fn the_list_is_the_contract() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract/backend.md");
    let contract = std::fs::read_to_string(path).unwrap();
    // Continuation lines of a clause are indented.
    let contract = contract.replace("\n  ", " ");
    let written: Vec<(&str, &str)> = contract
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(' '))
        .collect();
    let listed: Vec<(String, &str)> = ClauseId::all().map(|id| (id.to_string(), id.text())).collect();
    assert_eq!(listed.len(), written.len());
    for ((listed_id, listed_text), (id, text)) in listed.iter().zip(written) {
        assert_eq!((listed_id.as_str(), *listed_text), (id, text));
    }
}
