//! Tests that the lists equal the contract documents, and that a run never reports a clause as
//! passed that did not run.

use codex_kv::{
    conformance::{cache_clauses, run_cache, run_cache_only, run_session_only, session_clauses},
    testkit::{ClauseId, Outcome},
};

use crate::faulty_backend::FaultyBackendHarness;

/// Returns the ids and texts of a contract's clauses, each text on a single line.
fn written(contract: &str) -> Vec<(String, String)> {
    let mut clauses: Vec<(String, String)> = Vec::new();
    for line in contract.lines() {
        if let Some(clause) = line.strip_prefix("- ") {
            let (id, text) = clause.split_once(' ').unwrap();
            clauses.push((id.to_owned(), text.to_owned()));
        } else if let Some(more) = line.strip_prefix("  ") {
            let (_, text) = clauses.last_mut().unwrap();
            *text += " ";
            *text += more.trim();
        }
    }
    clauses
}

fn assert_is(listed: impl Iterator<Item = ClauseId>, contract: &str, alone: &[&str]) {
    let mut expected = written(contract);
    assert!(alone.iter().all(|id| expected.iter().any(|(written, _)| written == id)));
    expected.retain(|(id, _)| !alone.contains(&&**id));
    let listed: Vec<(String, String)> = listed
        .inspect(|clause| assert!(clause.name().starts_with(&format!("{}_", clause.ident())), "{clause}"))
        .map(|clause| (clause.to_string(), clause.text().to_owned()))
        .collect();
    assert_eq!(listed, expected);
}

/// The list omits the clauses that do not depend on a backend: the construction of keys and the
/// coder's forms.
#[test]
fn the_list_of_caches_is_the_contract() {
    let contract = include_str!("../../docs/contract/cache.md");
    assert_is(cache_clauses(), contract, &["ckey-05", "cval-06", "cval-08"]);
}

/// The list omits the clauses on session keys and on the codec alone, and the comparison with
/// Django, which no harness can provide.
#[test]
fn the_list_of_session_stores_is_the_contract() {
    let contract = include_str!("../../docs/contract/session.md");
    let alone = ["skey-02", "skey-03", "scod-01", "scod-03", "scod-06", "sint-01"];
    assert_is(session_clauses(), contract, &alone);
}

#[tokio::test]
async fn a_run_reports_every_clause_once_and_in_order() {
    let report = run_cache(&FaultyBackendHarness::sound()).await;
    assert!(!report.failed(), "{report}");
    let ids: Vec<ClauseId> = report.outcomes.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, cache_clauses().collect::<Vec<_>>());
    assert!(report.to_string().contains("cverb-12  passed"), "{report}");
}

#[tokio::test]
async fn a_run_of_nothing_fails() {
    assert!(run_cache_only(&FaultyBackendHarness::sound(), []).await.failed());
    let without_outage = FaultyBackendHarness::never_down();
    let outages = session_clauses().filter(|clause| clause.ident() == "sverb_06");
    let report = run_session_only(&without_outage, outages).await;
    let reason = "the harness cannot take the store out of service";
    assert_eq!(report.outcomes[0].1, Outcome::Skipped(reason));
    assert!(report.failed());
}

#[tokio::test]
async fn a_clause_of_another_contract_fails() {
    let report = run_cache_only(&FaultyBackendHarness::sound(), session_clauses().take(1)).await;
    let Outcome::Failed(message) = &report.outcomes[0].1 else {
        panic!("{report}")
    };
    assert_eq!(message, "skey-01 is no clause of this contract");
}

/// The whole suite on one thread, on a store that can be taken out of service, so that no clause is
/// skipped.
mod sound {
    mod cache {
        codex_kv::cache_conformance_tests!(crate::faulty_backend::FaultyBackendHarness::sound());
    }

    mod session {
        codex_kv::session_conformance_tests!(crate::faulty_backend::FaultyBackendHarness::sound());
    }
}
