//! Tests that every faulty backend fails the clauses of caches and session stores that its fault
//! breaks.

use codex_kv::{
    conformance::{cache_clauses, run_cache_only, run_session_only, session_clauses},
    testkit::{Harness, Outcome},
};

use crate::{
    altered::{Alteration, AlteredHarness},
    faulty_backend::{Fault, FaultyBackendHarness},
};

/// Runs the named clauses on the backends of `harness`. Each clause must fail.
#[track_caller]
fn is_found(harness: &impl Harness, fault: &str, clauses: &[&str]) {
    let named = |ident: &str| clauses.contains(&ident);
    let cache: Vec<_> = cache_clauses().filter(|clause| named(clause.ident())).collect();
    let session: Vec<_> = session_clauses().filter(|clause| named(clause.ident())).collect();
    assert_eq!(cache.len() + session.len(), clauses.len(), "a clause that there is not");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcomes = runtime.unwrap().block_on(async {
        let mut outcomes = run_cache_only(harness, cache).await.outcomes;
        outcomes.extend(run_session_only(harness, session).await.outcomes);
        outcomes
    });
    for (id, outcome) in outcomes {
        assert!(
            matches!(outcome, Outcome::Failed(_)),
            "{id} does not find {fault}: {outcome:?}"
        );
    }
}

macro_rules! faults {
    ($($fault:ident [$($clause:ident)+])*) => {$(
        #[test]
        #[expect(non_snake_case, reason = "named after the fault")]
        fn $fault() {
            let harness = FaultyBackendHarness::with(Fault::$fault);
            is_found(&harness, stringify!($fault), &[$(stringify!($clause)),+]);
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
    LossyText [cval_04 cval_11]
    EmptyIsAMiss [cval_04]
    KeysAreFolded [cverb_11]
    NothingExpires [ctime_01 sverb_02 sexp_02 sexp_08]
    OutageIsAMiss [cverb_12 sverb_06]
}

macro_rules! altered {
    ($($alteration:ident [$($clause:ident)+])*) => {$(
        #[test]
        #[expect(non_snake_case, reason = "named after the fault")]
        fn $alteration() {
            let harness = AlteredHarness::new(Some(Alteration::$alteration));
            is_found(&harness, stringify!($alteration), &[$(stringify!($clause)),+]);
        }
    )*};
}

// The wrapper from the test kit's own tests, which alters one aspect of the calls to the memory
// backend.
altered! {
    TrimsKeys [ckey_03]
    TrimsKeyEnds [ckey_03]
    DelTrimsKeys [ckey_03]
    ManyTrimsKeys [ckey_03]
    IncrTrimsKeys [ckey_03]
    ExpireTrimsKeys [ckey_03]
    KeysEndAtNul [ckey_03]
    FoldsAsciiCase [ckey_03 sverb_09]
    FoldsUnicodeCase [ckey_03]
    ManyFoldsCase [ckey_03]
    NormalisesKeys [ckey_03]
    DropsBraces [ckey_03]
    TurnsBackslashes [ckey_03]
    DecodesPercents [ckey_03]
    CutsKeysAtSixtyFour [ckey_03 sverb_09]
    CutsKeysAt250 [ckey_03]
    CutsKeysAt65535 [ckey_03]
    CollapsesSlashes [ckey_03]
    DropsZeroWidth [ckey_03]
    CutsAtSixtyFour [cval_01 cval_11 sverb_03]
    CutsAtOneKib [cval_01 sverb_03]
    CutsAtSixtyFourKib [cval_01 sverb_03]
    CutsAtMib [cval_01]
    CutsAtTwoMib [cval_01]
    SetManyCuts [cval_01]
    CasCuts [sverb_03]
    NxCuts [cval_01 sverb_03]
    GetManyCuts [cval_01]
    TrimsNewlines [cval_01]
    TrimsBlanks [cval_01]
    TrimsNuls [cval_01 cval_11]
    DropsByteOrderMark [cval_01]
    TurnsNewlines [cval_01]
    MinusZeroIsZero [cval_01]
    NumbersAreCanonical [cval_01]
    RoundsDown [ctime_01]
    RoundsToNearest [ctime_01]
    SetManyRoundsDown [ctime_01]
    ExpireRoundsDown [ctime_01]
    TenMilliseconds [ctime_01]
    LongTtlInSeconds [ctime_01]
    LongTtlInMinutes [ctime_01 sexp_01]
    TtlInThirtyTwoBits [ctime_01 sexp_01]
    TtlInThirtyOneBits [ctime_01 sexp_01]
    TtlInSinglePrecision [ctime_01 sexp_01]
    SetManyInSeconds [ctime_01]
    ExpireInSeconds [ctime_01]
    NxInSeconds [ctime_01]
    NxForgetsExpiry [ctime_01 sexp_01]
    CasForgetsExpiry [sexp_01]
    CasAlwaysKeeps [sexp_01]
    IncrByTenDropsTtl [ctime_01]
    RefuseDropsTtl [ctime_01]
    DelForgetsTheLastOfTenThousand [cverb_05]
    DelForgetsBetweenBatches [cverb_05]
    DelOfManyCountsNamed [cverb_05]
    DelOfManyCountsTwice [cverb_05]
    GetManySwapsNeighbours [cverb_05]
    SetManyForgetsTheLast [cverb_05]
    SetManyForgetsBetweenBatches [cverb_05]
    LongSetManyKeepsFirst [cverb_05]
    SetManyKeepsFirstNeighbour [cverb_05]
    SetManyKeepsFirstOfThousand [cverb_05]
    SetManyMergesBackwards [cverb_05]
    LastOfManyForgetsExpiry [cverb_05]
    LateOfManyForgetsExpiry [cverb_05]
    ComparesOneByte [cverb_09 sverb_03]
    ComparesEightBytes [cverb_09 sverb_03]
    ComparesSixtyFourBytes [cverb_09 sverb_03]
    ComparesFourKib [sverb_03]
    ComparesTheLastByte [cverb_09 sverb_03]
    ComparesBothEnds [cverb_09 sverb_03]
    ComparesSamples [cverb_09 sverb_03]
    ComparesLengths [cverb_09 sverb_03]
    ComparesWithoutCase [cverb_09 sverb_03]
    ComparesSums [cverb_09 sverb_03]
    LargeComparesLengths [sverb_03]
    DelComparesSixtyFourBytes [cverb_09 sverb_03]
    DelComparesLengths [cverb_09 sverb_03]
    DelComparesWithoutCase [cverb_09 sverb_03]
    DelComparesTheLastByte [cverb_09 sverb_03]
}
