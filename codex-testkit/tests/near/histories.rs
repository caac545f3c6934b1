//! Histories of near caches on a faulty network.

use std::{env, time::Duration};

use codex_testkit::{
    doubles::TrackingStore,
    near::{Bounds, HistoryShape, Rule, record_history},
};

use crate::cache::{Flaw, SimpleNear};

const MAX_STALENESS: Duration = Duration::from_millis(60);

/// Returns the number of histories with disturbances. The environment variable `CODEX_HISTORIES`
/// sets it.
fn count() -> u64 {
    env::var("CODEX_HISTORIES").map_or(300, |count| count.parse().expect("CODEX_HISTORIES is a number"))
}

fn seed() -> u64 {
    env::var("CODEX_HISTORIES_SEED").map_or(1, |seed| seed.parse().expect("CODEX_HISTORIES_SEED is a number"))
}

/// Returns the violation of a history, if any.
async fn violation(number: u64, flaw: Option<Flaw>) -> Option<codex_testkit::near::Violation> {
    let store = if number.is_multiple_of(2) {
        TrackingStore::new(number)
    } else {
        TrackingStore::cluster(3, number)
    };
    let near = async || {
        SimpleNear::new(store.another(), MAX_STALENESS, flaw)
            .await
            .expect("the store can track")
    };
    let handles = [near().await, near().await];
    let mut shape = HistoryShape::new(number);
    shape.calls = 20;
    let bare = store.outside();
    let (history, ()) = tokio::join!(record_history(&handles, &bare, &shape), store.disturb_and_heal(number));
    let history = history.expect("no call fails but for the disturbances");
    history
        .check(&Bounds::new(MAX_STALENESS).with_slack(Duration::from_millis(2)))
        .err()
}

#[tokio::test(start_paused = true)]
async fn near_03_near_05_histories_under_disturbances_are_explained() {
    for number in seed()..seed() + count() {
        if let Some(violation) = violation(number, None).await {
            panic!("history {number}: {violation}");
        }
    }
}

/// Returns the rules that histories violate, up to the first history that violates `expected`.
async fn told(flaw: Flaw, expected: Rule) -> Vec<Rule> {
    const HISTORIES: u64 = 1000;
    let mut rules = Vec::new();
    for number in 1..=HISTORIES {
        rules.extend(violation(number, Some(flaw)).await.map(|violation| violation.rule()));
        if rules.contains(&expected) {
            break;
        }
    }
    rules
}

#[tokio::test(start_paused = true)]
async fn histories_tell_flaws() {
    for (flaw, rule) in [
        (Flaw::NoCheckOfGenerations, Rule::ReadYourWrites),
        (Flaw::IgnoresTheTimeToLive, Rule::TimeToLive),
        (Flaw::KeepsWhatItWrote, Rule::BoundedStaleness),
        (Flaw::ClonesHaveTheirOwnMemory, Rule::ReadYourWrites),
    ] {
        let rules = told(flaw, rule).await;
        assert!(rules.contains(&rule), "{flaw:?} is told as {rules:?}");
    }
}
