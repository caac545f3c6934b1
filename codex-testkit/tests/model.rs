//! The model alone tells faulty backends from correct ones, in a few operations that can be pasted
//! into a test.

#[rustfmt::skip]
#[path = "model/pasted.rs"]
mod pasted;
mod faulty_backends;

use std::time::Duration;

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{Answer, Harness, InProcess, Op, VirtualTime, check_against_model, replay};
use codex_traits::{Condition, Expiry, OnMissing, Pattern, SetOptions};
use faulty_backends::{Fault, FaultyBackendHarness, faults};

/// Returns a harness of memory backends on a shared clock, which the suite advances.
fn memory() -> impl Harness<Backend = MemoryBackend> {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

#[tokio::test]
async fn what_is_right_answers_as_the_model_does() {
    check_against_model(&FaultyBackendHarness::default(), 200)
        .await
        .unwrap();
    check_against_model(&memory(), 500).await.unwrap();
}

/// Faults that a single caller of these operations cannot see.
const BEYOND: &[Fault] = &[
    // These need the keys of another program.
    Fault::ForeignIsMiss,
    Fault::ManyFailsOnForeign,
    Fault::LossyKeys,
    Fault::DelMatchingTakesAll,
    // These need another handle, or the wall clock.
    Fault::CloneCopies,
    Fault::WallClock,
    // These need several callers.
    Fault::DelIfEqualsInTwoSteps,
    Fault::GetWithTtlInTwoSteps,
    Fault::WrapperDropsOverride,
    Fault::RefuseInTwoSteps,
    Fault::AnswersMixedUp,
    Fault::DroppedCallPoisons,
    // These need large values.
    Fault::LargeIsCut,
    // These need many keys, or keys that change between pages.
    Fault::DelIsCapped,
    Fault::ManyIsCapped,
    Fault::ScanByIndex,
    Fault::ScanEndsOnGrowth,
    Fault::ScanFollowsGrowth,
    Fault::StopsOnEmptyPage,
    Fault::WholeKeyspace,
    Fault::ScanLeaks,
    // These need page boundaries of a scan, or made-up cursors.
    Fault::EmptyHasCursor,
    Fault::CursorPanics,
    Fault::CursorLoops,
    Fault::CursorIsAPage,
    Fault::ScanSkipsAfterRemoval,
    Fault::ReadingMovesKeys,
    // These need keys of another type.
    Fault::IncrReplacesForeign,
    Fault::NxReplacesForeign,
    Fault::CasReplacesForeign,
    Fault::DelRemovesForeign,
    // These need weeks, or more than four operations.
    Fault::TimerWraps,
    Fault::ClockWraps,
    Fault::CounterEndsWithOldTimer,
    Fault::LongGetManyShowsExpired,
    Fault::LongDelCountsExpired,
    // These need patterns that are seldom generated.
    Fault::PartsOverlap,
    Fault::PartsInAnyOrder,
    Fault::RangeContinues,
    Fault::ReversedNegationIsEmpty,
    Fault::DashEndsNoRange,
    Fault::BracketBeginsClass,
    Fault::NamedClasses,
    Fault::RangeEndIsEscaped,
    // These need outages, the text of errors, the log, or several runtimes.
    Fault::LogsExpiredKeys,
    Fault::OutageRefusesNx,
    Fault::OutageRefusesXx,
    Fault::OutageRefusesCas,
    Fault::RetriesCas,
    Fault::RetriesDelIfEquals,
    Fault::RetriesDel,
    Fault::RetriesExpireZero,
    Fault::OutageIsMiss,
    Fault::StallIsConnection,
    Fault::NeverSent,
    Fault::NeverHeals,
    Fault::RetriesIncr,
    Fault::ErrorShowsValue,
    Fault::NeedsARuntime,
];

#[tokio::test]
async fn every_fault_that_one_caller_can_see_is_found_in_four_operations() {
    let mut found = 0;
    for (fault, ..) in faults::ALL.iter().filter(|(fault, ..)| !BEYOND.contains(fault)) {
        let harness = FaultyBackendHarness::with(*fault);
        let Err(divergence) = check_against_model(&harness, 500).await else {
            panic!("{fault:?} answers as the model does");
        };
        let operations = divergence.operations();
        assert!(operations.len() <= 4, "{fault:?}: {divergence}");
        // The sequence must fail again. Backends that share their data or sweep once a minute are
        // exempt, because their answers depend on earlier operations.
        if !matches!(fault, Fault::FreshShares | Fault::OnlySweeperRemoves) {
            assert_eq!(replay(&harness, operations).await, Err(divergence.clone()), "{fault:?}");
        }
        replay(&FaultyBackendHarness::default(), operations).await.unwrap();
        found += 1;
    }
    assert!(found >= 50, "only {found} faults were looked for");
}

#[tokio::test]
async fn a_divergence_prints_as_a_test() {
    let found = check_against_model(&FaultyBackendHarness::with(Fault::GhostTtl), 500)
        .await
        .unwrap_err();
    let printed = found.to_string();
    assert!(
        printed.starts_with("#[tokio::test]\nasync fn answers_as_the_model_does() {\n"),
        "{printed}"
    );
    assert!(printed.ends_with("\n}"), "{printed}");
    assert_eq!(
        printed.matches("        Op::").count(),
        found.operations().len(),
        "{printed}"
    );
    assert!(
        printed.contains("    // The model answers Ttl(Persistent),\n"),
        "{printed}"
    );
    // `unwrap` prints the `Debug` output, which must be the same.
    assert!(format!("{found:?}").contains(&printed));
    // Unused imports are left out.
    assert!(
        !printed.contains("Bytes") && !printed.contains("Condition"),
        "{printed}"
    );
}

/// Returns operations with every verb and every kind of literal.
fn every_operation() -> Vec<Op> {
    let keep = SetOptions::if_present().with_expiry(Expiry::Keep);
    let equal = SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(b"\"\\\0\xff\n")));
    vec![
        Op::set("k\0\"\\é{}", b"\"\\\0\xff\n", SetOptions::if_absent()),
        Op::set("k\0\"\\é{}", b"", equal.with_expiry(Duration::from_millis(1_500))),
        Op::set("", b"7", keep),
        Op::set("e", b"", SetOptions::new()),
        Op::del(&[]),
        Op::del(&["one", "one", "another"]),
        Op::del_if_equals("k", b"\r"),
        Op::expire("k", Expiry::After(Duration::MAX)),
        Op::expire("k", Expiry::After(Duration::ZERO)),
        Op::expire("k", Expiry::After(Duration::new(1, 1))),
        Op::ttl("k\0\"\\é{}"),
        Op::get_many(&[]),
        Op::get_many(&["k", ""]),
        Op::set_many(&[], Expiry::Never),
        Op::set_many(
            &[("a", b"1"), ("b", b"longer"), ("a", b"")],
            Expiry::After(Duration::from_secs(1)),
        ),
        Op::incr("n", i64::MIN, OnMissing::Create(Expiry::Never)),
        Op::incr("n", i64::MAX, OnMissing::Refuse),
        Op::incr("n", -5, OnMissing::Create(Expiry::Keep)),
        Op::scan(Pattern::prefix("a*\"\\"), 3),
        Op::scan(Pattern::glob(b"\xff[^a-z]"), 0),
        Op::del_matching(Pattern::all()),
        Op::Pass(Duration::from_millis(999)),
        Op::set("e", b"", SetOptions::new()),
        Op::get("e"),
    ]
}

/// `pasted.rs` tests that the output compiles and passes on a correct backend.
#[tokio::test]
async fn the_pasted_test_is_what_was_printed() {
    let found = replay(&FaultyBackendHarness::with(Fault::EmptyIsMiss), &every_operation())
        .await
        .unwrap_err();
    assert_eq!(found.operations(), every_operation());
    assert_eq!(found.got(), &Answer::Value(None));
    let pasted = include_str!("model/pasted.rs");
    assert!(pasted.contains(&found.to_string()), "paste this: {found}");
}

fn harness() -> FaultyBackendHarness {
    FaultyBackendHarness::default()
}
