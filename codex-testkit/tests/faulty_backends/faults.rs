//! The faults of the backend, each with the clause that detects it.

macro_rules! faults {
    ($($fault:ident $clause:ident $text:literal)*) => {
        /// A fault of the backend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($fault,)*
        }

        /// Each fault, the clause that it must fail, and its description.
        pub(crate) const ALL: &[(Fault, &str, &str)] = &[$((Fault::$fault, stringify!($clause), $text),)*];

        /// Calls `$callback!` with every fault.
        #[allow(unused_macros, reason = "one test uses it")]
        macro_rules! every_fault {
            ($callback:ident) => { $callback! { $($fault $clause)* } };
        }
    };
}

faults! {
    MissingIsEmpty get_01 "a missing key reads as an empty value"
    LossyText get_02 "values are lossily converted to UTF-8"
    LargeIsCut get_02 "large values are declared, but truncated at 16 MiB"
    EmptyIsMiss get_03 "an empty value reads as a miss"
    ReadingRefreshes get_04 "reading restarts the TTL"
    KeysFolded get_05 "keys are compared ignoring case"
    ForeignIsMiss get_06 "a key of another type reads as a miss"
    ShortSetKeepsTail set_01 "a shorter value keeps the tail of the longer value that it replaces"
    SetKeepsTtl set_02 "a plain set keeps the TTL"
    NeverShortens set_03 "a set never shortens a TTL"
    KeepDropsTtl set_04 "Keep drops the TTL"
    CloneCopies set_05 "a clone copies the data"
    FreshShares set_05 "two fresh backends share one store"
    ZeroIsForever set_06 "a TTL of zero means for ever"
    UnderAMillisecondIsForever set_07 "a TTL under a millisecond is rounded down to zero, which means for ever"
    HugeWraps set_08 "a TTL that is too long wraps into the past"
    RefusedCasRefreshes set_09 "a refused compare-and-set sets the TTL"
    RefusedNxRefreshes cond_01 "a refused NX sets the TTL"
    ExpiredStopsNx cond_02 "NX treats an expired key as present"
    XxCreates cond_03 "XX creates the key"
    XxKeepsTtl cond_04 "XX without an expiry keeps the TTL"
    EqualAsNumbers cond_05 "compare-and-set compares numbers, so that 05 equals 5"
    MissingEqualsEmpty cond_06 "a missing key equals the empty value"
    NxInTwoSteps cond_07 "NX is a get followed by a set"
    CasInTwoSteps cond_07 "compare-and-set is a get followed by a set"
    DelIfEqualsInTwoSteps cond_08 "del_if_equals is a get followed by a del"
    TtlOfMissingIsPersistent exp_01 "a missing key is reported as persistent"
    EndsEarly exp_02 "keys expire five milliseconds early"
    EndsLate exp_02 "keys expire a tenth of a second late"
    OnlySweeperRemoves exp_03 "an expired key exists until the sweeper, once a minute, removes it"
    WholeSeconds exp_04 "TTLs are kept in whole seconds"
    ExpireMissingIsTrue exp_05 "expire of a missing key is true"
    ExpireZeroPersists exp_06 "expire with zero clears the TTL"
    ExpireOnlyLengthens exp_07 "expire never shortens"
    PersistentIsMissing exp_08 "expire(Never) is false for a key without a TTL, like PERSIST"
    PersistKeepsDeadline exp_09 "expire(Never) hides the TTL, but the key still expires"
    OldTimerRemoves exp_10 "the timer of an old TTL removes a newer value"
    ExpireHugeWraps exp_11 "expire wraps a TTL that is too long into the past"
    WallClock exp_12 "deadlines follow the wall clock"
    GetWithTtlInTwoSteps ttl_01 "get_with_ttl reads the value first and the TTL in a second step"
    GetWithTtlDropsTtl ttl_01 "get_with_ttl reports no TTL"
    DelCountsExpired del_01 "del counts expired keys"
    DelCountsDuplicates del_02 "del counts a key twice if it is named twice"
    DelOfNothingFails del_03 "del of no keys is an error"
    DelIsCapped del_04 "del removes only the first 5,000 keys"
    GhostTtl del_05 "the TTL of a removed key reappears when the key is set again"
    ManySorts many_01 "get_many answers in the sorted order of the keys"
    ManyDropsDuplicates many_01 "get_many answers only once for a key that is named twice"
    ManyDropsMisses many_01 "get_many omits misses"
    ManyOfNothingFails many_02 "get_many of no keys is an error"
    SetManyKeepsFirst many_03 "set_many keeps the first value of a key that is named twice"
    SetManyDropsExpiry many_03 "set_many forgets the expiry"
    ManyIsCapped many_04 "get_many answers only for the first 1,000 keys"
    ManyIsStale many_05 "get_many answers from a cache that writes do not reach"
    WrapperDropsOverride many_05 "a wrapper declares atomic_many and falls back to the provided get_many"
    ManyFailsOnForeign many_06 "one key of another type fails the whole get_many"
    RefuseCreates incr_01 "Refuse creates the counter"
    CreateSetsTtlAgain incr_01 "Create sets the TTL of an existing counter"
    IncrDropsTtl incr_02 "incr clears the TTL"
    IncrInFloatingPoint incr_03 "incr counts in floating point"
    IncrPads incr_04 "incr stores its sum with a leading zero"
    IncrTakesPlus incr_05 "incr accepts +1 and spaces"
    IncrWraps incr_06 "incr wraps at the end of its range"
    IncrLosesUpdates incr_07 "incr is a get followed by a set"
    RefuseInTwoSteps incr_08 "Refuse checks whether the key exists, and increments it in a second step"
    ScanByIndex scan_01 "a cursor is an index into the sorted keys, so that a deletion makes the scan skip keys"
    ScanEndsOnGrowth scan_01 "a scan ends when the table grows"
    ScanShowsExpired scan_02 "scan shows expired keys"
    StopsOnEmptyPage scan_03 "del_matching takes an empty page for the last page"
    ScanFollowsGrowth scan_04 "a scan never ends if the store grows during it"
    ZeroHintTaken scan_05 "a hint of zero is accepted"
    WholeKeyspace scan_05 "the first page is the whole keyspace"
    CursorPanics scan_06 "a made-up cursor panics"
    CursorLoops scan_06 "a made-up cursor makes the scan loop for ever"
    ScanLeaks scan_07 "every scan keeps a snapshot until it is completed"
    EmptyHasCursor scan_08 "the page of an empty store has a cursor"
    LossyKeys scan_09 "keys that are not UTF-8 are returned, lossily converted"
    DelMatchingTakesAll scan_09 "del_matching removes keys that are not UTF-8"
    PrefixNotEscaped scan_11 "special characters in a prefix are not escaped"
    DelMatchingOvercounts scan_12 "del_matching counts expired keys"
    QuestionTakesACharacter glob_01 "? matches a whole character"
    ReversedRangeIsEmpty glob_02 "[c-a] matches nothing"
    BangNegates glob_03 "[!a] negates"
    DashIsLiteralAtTheEnd glob_04 "[a-] matches a or -"
    UnclosedIsLiteral glob_05 "an unclosed [ is literal"
    EscapeIsLiteral glob_06 "a backslash is literal"
    EmptyPatternIsAll glob_07 "the empty pattern matches every key"
    BracesChoose glob_08 "{a,b} matches a or b"
    StarsBacktrack glob_09 "every star is tried at every place"
    OutageIsMiss life_01 "an outage reads as a miss"
    StallIsConnection life_02 "a timeout is an error of kind Connection"
    NeverSent life_02 "a failed write claims that it did not run, but it did"
    NeverHeals life_03 "a handle that has failed once fails for ever"
    AnswersMixedUp life_04 "the answer to a dropped call goes to the next caller"
    RetriesIncr life_05 "an incr without an answer is sent again"
    StaleRead life_06 "a read can return the value from before the last write"
    ErrorShowsValue life_07 "an error shows the value"
    NeedsARuntime life_08 "a call outside a runtime panics"
    DroppedCallPoisons life_09 "a call that is dropped midway leaves the store locked"
    KeepsAKeyOfItsOwn life_10 "the backend writes a key of its own"
}

#[allow(
    unused_imports,
    clippy::single_component_path_imports,
    reason = "one test uses the macro, by this path"
)]
pub(crate) use every_fault;
