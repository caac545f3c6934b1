//! The list of alterations. Each changes one thing, and names the clause that detects it.

macro_rules! alterations {
    ($($name:ident $clause:ident $text:literal)*) => {
        /// An alteration of the backend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Alteration {
            $($name,)*
        }

        /// Each alteration, the clause that it must fail, and its description.
        pub(crate) const ALL: &[(Alteration, &str, &str)] = &[$((Alteration::$name, stringify!($clause), $text),)*];

        /// Calls `$callback!` with every alteration.
        #[allow(unused_macros, reason = "one test uses it")]
        macro_rules! every_alteration {
            ($callback:ident) => { $callback! { $($name $clause)* } };
        }
    };
}

alterations! {
    // A conditional write that forgets or keeps the wrong TTL.
    CasForgetsExpiry cond_09 "IfEquals with After stores no TTL"
    CasKeepsOldTtl cond_09 "IfEquals with Never keeps the TTL"
    CasKeepDrops cond_09 "IfEquals with Keep drops the TTL"
    CasAlwaysKeeps cond_09 "IfEquals with After keeps the old TTL"
    CasNeverLengthens cond_09 "IfEquals with After does not lengthen a TTL"
    CasOnPersistentForgets cond_09 "IfEquals with After stores no TTL on a persistent key"
    LongCasForgetsExpiry cond_09 "IfEquals with After stores no TTL with a value of more than 1 KiB"
    XxForgetsExpiry cond_04 "IfPresent with After stores no TTL"
    XxKeepDrops cond_04 "IfPresent with Keep drops the TTL"
    XxNeverKeepsOldTtl cond_04 "IfPresent with Never keeps the TTL"
    NxForgetsExpiry cond_01 "IfAbsent with After stores no TTL"
    NxKeepExpires cond_01 "IfAbsent with Keep gives a TTL of a minute"
    EmptyKeepDrops set_04 "Keep drops the TTL of an empty value"
    LongKeepDrops set_04 "Keep drops the TTL of a value of more than 1 KiB"
    SetManyKeepDrops many_03 "set_many with Keep drops the TTL"
    LastOfManyForgetsExpiry many_03 "set_many forgets the expiry of its last entry"
    LateOfManyForgetsExpiry many_03 "set_many forgets the expiry after 1,000 entries"
    ExpireOfLongPersists exp_07 "expire of a value of more than 1 KiB clears the TTL"
    ExpireKeepPersists exp_07 "expire(Keep) clears the TTL"
    IncrByTenDropsTtl incr_02 "incr clears the TTL if the number of digits changes"
    RefuseDropsTtl incr_02 "incr with Refuse clears the TTL"
    CreateSetsExpiryOfNegative incr_02 "incr that creates a negative counter forgets its expiry"

    // Comparisons.
    ComparesOneByte cond_10 "equality compares only the first byte"
    ComparesEightBytes cond_10 "equality compares only the first 8 bytes and the length"
    ComparesSixtyFourBytes cond_10 "equality compares only the first 64 bytes"
    ComparesFourKib cond_10 "equality compares only the first 4,096 bytes less one, and the length"
    ComparesAllButTheLast cond_10 "equality compares all bytes but the last"
    ComparesTheLastByte cond_10 "equality compares only the last byte and the length"
    ComparesBothEnds cond_10 "equality compares only the first and the last 16 bytes and the length"
    ComparesSamples cond_10 "equality compares only every 64th byte and the length"
    ComparesLengths cond_10 "equality compares only the lengths"
    ComparesWithoutCase cond_10 "equality ignores ASCII case"
    ComparesSevenBits cond_10 "equality ignores the highest bit of each byte"
    ComparesTrimmed cond_10 "equality ignores blanks at the ends"
    ComparesToNul cond_10 "equality stops at a NUL"
    ComparesSums cond_10 "equality compares only the sum of the bytes and the length"
    ComparesPrefixOfHeld cond_10 "equality holds if the stored value begins with the expected value"
    ComparesPrefixOfExpected cond_10 "equality holds if the expected value begins with the stored value"
    LargeComparesLengths cond_10 "equality compares only the lengths of values of more than 64 KiB"
    DelComparesSixtyFourBytes cond_10 "del_if_equals compares only 64 bytes"
    DelComparesLengths cond_10 "del_if_equals compares only the lengths"
    DelComparesWithoutCase cond_10 "del_if_equals ignores case"
    DelComparesPrefix cond_10 "del_if_equals compares only a prefix"
    DelComparesTheLastByte cond_10 "del_if_equals compares only the last byte"
    ComparesJson cond_05 "equality ignores blanks between the tokens of JSON"
    ComparesLossyText cond_05 "equality compares the values after a lossy conversion to UTF-8"

    // Many keys.
    DelForgetsTheLast del_06 "del of more than 8 keys leaves the last"
    DelForgetsTheLastOfThousand del_06 "del of more than 1,000 keys leaves the last"
    DelForgetsTheLastOfTenThousand del_06 "del of 10,000 keys leaves the last, and counts it"
    DelForgetsTheFirst del_06 "del of more than 100 keys leaves the first"
    DelForgetsBetweenBatches del_06 "del leaves every 1,001st key"
    DelOfManyCountsNamed del_06 "del of more than 100 keys counts the keys that it was given"
    DelOfManyCountsTwice del_06 "del of more than 1,000 keys counts a key twice if it is named twice"
    GetManyForgetsTheLast many_01 "get_many of more than 100 keys answers None for the last"
    GetManyForgetsTheLastOfThousand many_01 "get_many of more than 1,000 keys answers None for the last"
    GetManyAnswersDuplicatesOnce many_01 "get_many of more than 8 keys answers None for a repeated key"
    GetManySwapsNeighbours many_01 "get_many of more than 1,000 keys swaps two answers"
    SetManyForgetsTheLast many_03 "set_many of more than 1,000 entries omits the last"
    SetManyForgetsBetweenBatches many_03 "set_many omits every 501st entry"
    LongSetManyKeepsFirst many_07 "set_many of more than 100 entries keeps the first value of a key"
    SetManyKeepsFirstNeighbour many_07 "set_many keeps the first of two consecutive entries for a key"
    SetManyKeepsFirstOfThousand many_07 "set_many of more than 1,000 entries keeps the first value of a key"
    SetManyMergesBackwards many_07 "set_many of more than 8 entries writes them in reverse order"

    // Values that are cut or changed.
    CutsAtSixtyFour get_02 "values are truncated at 64 bytes"
    CutsAtOneKib get_02 "values are truncated at 1 KiB"
    CutsAtSixtyFourKib get_02 "values are truncated at 64 KiB less one"
    CutsAtMib get_02 "values are truncated at 1 MiB"
    CutsAtTwoMib get_02 "values are truncated at 2 MiB"
    CutsAtFourMib set_10 "values are truncated at 4 MiB less one"
    CutsAtEightMib set_10 "values are truncated at 8 MiB"
    SetManyCuts get_02 "set_many truncates values at 1 KiB"
    CasCuts get_02 "IfEquals truncates values at 4 KiB"
    NxCuts get_02 "IfAbsent truncates values at 64 KiB"
    XxCuts get_02 "IfPresent truncates values at 1 MiB less one"
    GetManyCuts get_02 "get_many truncates values at 4 KiB"
    GetWithTtlCuts get_02 "get_with_ttl truncates values at 64 KiB"
    TrimsNewlines get_02 "a newline at the end of a value is trimmed"
    TrimsBlanks get_02 "blanks at the ends of a value are trimmed"
    TrimsNuls get_02 "NULs at the end of a value are trimmed"
    DropsByteOrderMark get_02 "a byte order mark is dropped"
    TurnsNewlines get_02 "CR LF is converted to LF"
    MinusZeroIsZero get_02 "-0 is stored as 0"
    NumbersAreCanonical get_02 "01 and +1 are stored as 1"
    SetManyTrims get_02 "set_many trims blanks at the ends of a value"

    // Rounding.
    RoundsDown set_10 "fractions of a millisecond are rounded down"
    RoundsToNearest set_10 "fractions of a millisecond are rounded to the nearest millisecond"
    CasRoundsDown set_10 "IfEquals rounds fractions of a millisecond down"
    SetManyRoundsDown set_10 "set_many rounds fractions of a millisecond down"
    ExpireRoundsDown set_10 "expire rounds fractions of a millisecond down"
    IncrRoundsDown set_10 "incr rounds fractions of a millisecond down"
    TenMilliseconds exp_04 "TTLs are kept in hundredths of a second"
    LongTtlInSeconds exp_04 "a TTL of an hour or more is kept in whole seconds"
    LongTtlInMinutes exp_04 "a TTL of 30 days or more is kept in whole minutes"
    TtlInThirtyTwoBits exp_04 "a TTL is at most 2^32 ms"
    TtlInThirtyOneBits exp_04 "a TTL is at most 2^31 ms"
    TtlInSinglePrecision exp_04 "TTLs are kept in single precision"
    SetManyInSeconds exp_04 "set_many keeps whole seconds"
    ExpireInSeconds exp_04 "expire keeps whole seconds"
    IncrInSeconds exp_04 "incr that creates keeps whole seconds"
    NxInSeconds exp_04 "IfAbsent keeps whole seconds"
    CasInSeconds exp_04 "IfEquals keeps whole seconds"

    // Handles.
    SecondIsAhead exp_13 "a second handle is five milliseconds ahead"
    SecondIsBehind exp_13 "a second handle is five milliseconds behind, so it shows expired keys"
    SecondCountsFromItsOpening exp_13 "a second handle counts time from its own opening"
    SecondHasNoTtl exp_13 "a second handle sees no TTLs"
    SecondTtlsAreDoubled exp_13 "a second handle sets twice the TTL"
    SecondReadsACache set_05 "a second handle answers from its earlier reads"
    SecondExpireIsLost set_05 "expire through a second handle is answered but not executed"
    SecondComparesLengths set_05 "a second handle compares only the lengths"

    // Keys.
    TrimsKeys get_05 "blanks at the ends of a key are trimmed"
    TrimsKeyEnds get_05 "blanks at the end of a key are trimmed"
    DelTrimsKeys get_05 "del trims keys"
    ManyTrimsKeys get_05 "get_many trims keys"
    IncrTrimsKeys get_05 "incr trims keys"
    ExpireTrimsKeys get_05 "expire trims keys"
    KeysEndAtNul get_05 "a key ends at a NUL"
    FoldsAsciiCase get_05 "keys are compared ignoring ASCII case"
    FoldsUnicodeCase get_05 "keys are lowercased, but only outside ASCII"
    ManyFoldsCase get_05 "get_many lowercases keys"
    DelIfEqualsFoldsCase get_05 "del_if_equals lowercases keys"
    NormalisesKeys get_05 "keys are normalised to composed characters"
    DropsBraces get_05 "braces around a part of a key are dropped"
    TurnsBackslashes get_05 "a backslash in a key becomes a slash"
    DecodesPercents get_05 "%3A in a key becomes a colon"
    CutsKeysAtSixtyFour get_05 "keys are truncated at 64 bytes"
    CutsKeysAt250 get_05 "keys are truncated at 250 bytes"
    CutsKeysAt65535 get_05 "keys are truncated at 65,535 bytes"
    CollapsesSlashes get_05 "two slashes in a key become one"
    KeysAreNumbers get_05 "a key that is a number is made canonical"
    DropsZeroWidth get_05 "zero-width characters are dropped from keys"
}

#[allow(
    unused_imports,
    clippy::single_component_path_imports,
    reason = "one test uses the macro, by this path"
)]
pub(crate) use every_alteration;
