//! Every faulty backend fails the clauses of caches and session stores that its fault breaks.

use codex_kv::{
    conformance::{cache_clauses, run_cache_only, run_session_only, session_clauses},
    testkit::Outcome,
};

use crate::faulty_backend::{Fault, FaultyBackendHarness};

/// Runs the clauses that are named, each of which must fail.
#[track_caller]
fn is_found(fault: Fault, clauses: &[&str]) {
    let named = |ident: &str| clauses.contains(&ident);
    let cache: Vec<_> = cache_clauses().filter(|clause| named(clause.ident())).collect();
    let session: Vec<_> = session_clauses().filter(|clause| named(clause.ident())).collect();
    assert_eq!(cache.len() + session.len(), clauses.len(), "a clause that there is not");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcomes = runtime.unwrap().block_on(async {
        let mut outcomes = run_cache_only(&FaultyBackendHarness::with(fault), cache).await.outcomes;
        let session = run_session_only(&FaultyBackendHarness::with(fault), session).await;
        outcomes.extend(session.outcomes);
        outcomes
    });
    for (id, outcome) in outcomes {
        assert!(
            matches!(outcome, Outcome::Failed(_)),
            "{id} does not find {fault:?}: {outcome:?}"
        );
    }
}

macro_rules! faults {
    ($($fault:ident [$($clause:ident)+])*) => {$(
        #[test]
        #[expect(non_snake_case, reason = "named after the fault")]
        fn $fault() {
            is_found(Fault::$fault, &[$(stringify!($clause)),+]);
        }
    )*};
}

faults! {
    NxInTwoSteps [cverb_02]
    RefusedNxRefreshes [cverb_02]
    IfEqualsComparesNothing [sverb_03 sverb_04 suser_01]
    IfEqualsCreates [sverb_02]
    DelIfEqualsComparesNothing [cverb_09 sverb_07]
    ExpireIsDropped [ctime_04 sverb_11 sexp_08]
    PersistSaysFalse [ctime_04]
    SetDropsTheExpiry [ctime_01 cverb_02 sverb_01 sexp_01 sexp_03 sexp_07 sexp_08 suser_02]
    SetKeepsTheTtl [ctime_02]
    SetManyDropsTheExpiry [ctime_01 cverb_05]
    DelCountsMisses [cverb_03 cverb_05 sverb_09]
    GetManyDropsMisses [cverb_05]
    GetManyCutsTheLast [cverb_05 suser_03]
    GetWithTtlSaysPersistent [sexp_08 suser_01]
    IncrClearsTheTtl [cverb_06]
    IncrCreates [cverb_06]
    IncrWraps [cverb_06]
    PrefixIsAGlob [cverb_11]
    LossyText [cval_04]
    EmptyIsAMiss [cval_04]
    KeysAreFolded [cverb_11]
    NothingExpires [ctime_01 sverb_02 sexp_02 sexp_08]
    OutageIsAMiss [cverb_12 sverb_06]
}
