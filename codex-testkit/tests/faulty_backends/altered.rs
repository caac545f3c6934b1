//! The memory backend, with one thing altered on the way to it.
//!
//! Where `backend.rs` has faults of its own store, these are the faults of clients and wrappers:
//! what is asked, what is compared, and what is answered differs from what the caller meant.

use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{Harness, Time, VirtualTime};
use codex_traits::{
    Capabilities, Capability, Condition, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};

macro_rules! alterations {
    ($($name:ident $clause:ident $text:literal)*) => {
        /// What is altered.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Alteration {
            $($name,)*
        }

        /// Each alteration, the clause that it must fail, and what it is.
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
    CasOnPersistentForgets cond_09 "IfEquals with After stores no TTL where there was none"
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
    ExpireOfLongPersists exp_07 "expire of a value of more than 1 KiB takes the TTL away"
    ExpireKeepPersists exp_07 "expire(Keep) takes the TTL away"
    IncrByTenDropsTtl incr_02 "incr to another number of digits takes the TTL away"
    RefuseDropsTtl incr_02 "incr with Refuse takes the TTL away"
    CreateSetsExpiryOfNegative incr_02 "incr that creates a negative counter forgets its expiry"

    // Comparisons.
    ComparesOneByte cond_10 "equality is of the first byte"
    ComparesEightBytes cond_10 "equality is of the first 8 bytes and the length"
    ComparesSixtyFourBytes cond_10 "equality is of the first 64 bytes"
    ComparesFourKib cond_10 "equality is of the first 4,096 bytes less one, and the length"
    ComparesAllButTheLast cond_10 "equality is of all bytes but the last"
    ComparesTheLastByte cond_10 "equality is of the last byte and the length"
    ComparesBothEnds cond_10 "equality is of the first and the last 16 bytes and the length"
    ComparesSamples cond_10 "equality is of every 64th byte and the length"
    ComparesLengths cond_10 "equality is of lengths"
    ComparesWithoutCase cond_10 "equality ignores ASCII case"
    ComparesSevenBits cond_10 "equality ignores the highest bit of each byte"
    ComparesTrimmed cond_10 "equality ignores blanks at the ends"
    ComparesToNul cond_10 "equality ends at a NUL"
    ComparesSums cond_10 "equality is of the sum of the bytes and the length"
    ComparesPrefixOfHeld cond_10 "the held value need only begin with what is expected"
    ComparesPrefixOfExpected cond_10 "what is expected need only begin with the held value"
    LargeComparesLengths cond_10 "equality of values of more than 64 KiB is of lengths"
    DelComparesSixtyFourBytes cond_10 "del_if_equals compares 64 bytes"
    DelComparesLengths cond_10 "del_if_equals compares lengths"
    DelComparesWithoutCase cond_10 "del_if_equals ignores case"
    DelComparesPrefix cond_10 "del_if_equals compares a prefix"
    DelComparesTheLastByte cond_10 "del_if_equals compares the last byte"
    ComparesJson cond_05 "equality ignores blanks between the tokens of JSON"
    ComparesLossyText cond_05 "equality is of text that was made to be UTF-8"

    // Many keys.
    DelForgetsTheLast del_06 "del of more than 8 keys leaves the last"
    DelForgetsTheLastOfThousand del_06 "del of more than 1,000 keys leaves the last"
    DelForgetsTheLastOfTenThousand del_06 "del of 10,000 keys leaves the last, and counts it"
    DelForgetsTheFirst del_06 "del of more than 100 keys leaves the first"
    DelForgetsBetweenBatches del_06 "del leaves every 1,001st key"
    DelOfManyCountsNamed del_06 "del of more than 100 keys counts those that it was given"
    DelOfManyCountsTwice del_06 "del of more than 1,000 keys counts a key that is named twice twice"
    GetManyForgetsTheLast many_01 "get_many of more than 100 keys answers None for the last"
    GetManyForgetsTheLastOfThousand many_01 "get_many of more than 1,000 keys answers None for the last"
    GetManyAnswersDuplicatesOnce many_01 "get_many of more than 8 keys answers a key named again with None"
    GetManySwapsNeighbours many_01 "get_many of more than 1,000 keys swaps two answers"
    SetManyForgetsTheLast many_03 "set_many of more than 1,000 entries leaves the last out"
    SetManyForgetsBetweenBatches many_03 "set_many leaves every 501st entry out"
    LongSetManyKeepsFirst many_07 "set_many of more than 100 entries keeps the first value of a key"
    SetManyKeepsFirstNeighbour many_07 "set_many of two entries for a key in a row keeps the first"
    SetManyKeepsFirstOfThousand many_07 "set_many of more than 1,000 entries keeps the first value of a key"
    SetManyMergesBackwards many_07 "set_many of more than 8 entries writes them in the opposite order"

    // Values that are cut or changed.
    CutsAtSixtyFour get_02 "values are cut at 64 bytes"
    CutsAtOneKib get_02 "values are cut at 1 KiB"
    CutsAtSixtyFourKib get_02 "values are cut at 64 KiB less one"
    CutsAtMib get_02 "values are cut at 1 MiB"
    CutsAtTwoMib get_02 "values are cut at 2 MiB"
    CutsAtFourMib set_10 "values are cut at 4 MiB less one"
    CutsAtEightMib set_10 "values are cut at 8 MiB"
    SetManyCuts get_02 "set_many cuts values at 1 KiB"
    CasCuts get_02 "IfEquals cuts values at 4 KiB"
    NxCuts get_02 "IfAbsent cuts values at 64 KiB"
    XxCuts get_02 "IfPresent cuts values at 1 MiB less one"
    GetManyCuts get_02 "get_many cuts values at 4 KiB"
    GetWithTtlCuts get_02 "get_with_ttl cuts values at 64 KiB"
    TrimsNewlines get_02 "a newline at the end of a value is trimmed"
    TrimsBlanks get_02 "blanks at the ends of a value are trimmed"
    TrimsNuls get_02 "NULs at the end of a value are trimmed"
    DropsByteOrderMark get_02 "a byte order mark is dropped"
    TurnsNewlines get_02 "CR LF is turned into LF"
    MinusZeroIsZero get_02 "-0 is stored as 0"
    NumbersAreCanonical get_02 "01 and +1 are stored as 1"
    SetManyTrims get_02 "set_many trims blanks at the ends of a value"

    // Rounding.
    RoundsDown set_10 "fractions of a millisecond are rounded down"
    RoundsToNearest set_10 "fractions of a millisecond are rounded to the nearest"
    CasRoundsDown set_10 "IfEquals rounds fractions of a millisecond down"
    SetManyRoundsDown set_10 "set_many rounds fractions of a millisecond down"
    ExpireRoundsDown set_10 "expire rounds fractions of a millisecond down"
    IncrRoundsDown set_10 "incr rounds fractions of a millisecond down"
    TenMilliseconds exp_04 "TTLs are kept in hundredths of a second"
    LongTtlInSeconds exp_04 "a TTL of an hour and more is kept in whole seconds"
    LongTtlInMinutes exp_04 "a TTL of 30 days and more is kept in whole minutes"
    TtlInThirtyTwoBits exp_04 "a TTL is at most 2^32 ms"
    TtlInThirtyOneBits exp_04 "a TTL is at most 2^31 ms"
    TtlInSinglePrecision exp_04 "TTLs are counted in single precision"
    SetManyInSeconds exp_04 "set_many keeps whole seconds"
    ExpireInSeconds exp_04 "expire keeps whole seconds"
    IncrInSeconds exp_04 "incr that creates keeps whole seconds"
    NxInSeconds exp_04 "IfAbsent keeps whole seconds"
    CasInSeconds exp_04 "IfEquals keeps whole seconds"

    // Handles.
    SecondIsAhead exp_13 "a second handle is five milliseconds ahead"
    SecondIsBehind exp_13 "a second handle is five milliseconds behind: it shows what has expired"
    SecondCountsFromItsOpening exp_13 "a second handle counts from its opening"
    SecondHasNoTtl exp_13 "a second handle sees no TTLs"
    SecondTtlsAreDoubled exp_13 "a second handle gives twice the TTL"
    SecondReadsACache set_05 "a second handle answers what it has read before"
    SecondExpireIsLost set_05 "expire through a second handle is answered and not done"
    SecondComparesLengths set_05 "a second handle compares lengths"

    // Keys.
    TrimsKeys get_05 "blanks at the ends of a key are trimmed"
    TrimsKeyEnds get_05 "blanks at the end of a key are trimmed"
    DelTrimsKeys get_05 "del trims keys"
    ManyTrimsKeys get_05 "get_many trims keys"
    IncrTrimsKeys get_05 "incr trims keys"
    ExpireTrimsKeys get_05 "expire trims keys"
    KeysEndAtNul get_05 "a key ends at a NUL"
    FoldsAsciiCase get_05 "keys are compared without regard to ASCII case"
    FoldsUnicodeCase get_05 "keys are turned into lower case, outside of ASCII alone"
    ManyFoldsCase get_05 "get_many turns keys into lower case"
    DelIfEqualsFoldsCase get_05 "del_if_equals turns keys into lower case"
    NormalisesKeys get_05 "keys are composed"
    DropsBraces get_05 "braces around a part of a key are dropped"
    TurnsBackslashes get_05 "a backslash in a key is a slash"
    DecodesPercents get_05 "%3A in a key is a colon"
    CutsKeysAtSixtyFour get_05 "keys are cut at 64 bytes"
    CutsKeysAt250 get_05 "keys are cut at 250 bytes"
    CutsKeysAt65535 get_05 "keys are cut at 65,535 bytes"
    CollapsesSlashes get_05 "two slashes in a key are one"
    KeysAreNumbers get_05 "a key that is a number is made canonical"
    DropsZeroWidth get_05 "characters without width are dropped from keys"
}

#[allow(
    unused_imports,
    clippy::single_component_path_imports,
    reason = "one test uses the macro, by this path"
)]
pub(crate) use every_alteration;

use Alteration as A;

/// A handle on a memory store.
#[derive(Clone)]
pub(crate) struct Altered {
    alteration: Option<Alteration>,
    inner: MemoryBackend,
    clock: ManualClock,
    /// Compare and write are one step here too.
    one_step: Arc<tokio::sync::Mutex<()>>,
    /// When this handle was opened, if it is not the first.
    second: Option<Second>,
}

#[derive(Clone)]
struct Second {
    opened: std::time::SystemTime,
    read: Arc<std::sync::Mutex<std::collections::BTreeMap<String, Option<Bytes>>>>,
}

impl fmt::Debug for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Altered")
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn up_to(value: &Bytes, length: usize) -> Bytes {
    value.slice(..value.len().min(length))
}

impl Altered {
    fn is(&self, alteration: Alteration) -> bool {
        self.alteration == Some(alteration)
    }

    fn key<'k>(&self, verb: &str, key: &'k str) -> Cow<'k, str> {
        let Some(alteration) = self.alteration else {
            return Cow::Borrowed(key);
        };
        let cut = |length: usize| {
            let mut end = key.len().min(length);
            while !key.is_char_boundary(end) {
                end -= 1;
            }
            &key[..end]
        };
        match (alteration, verb) {
            (A::TrimsKeys, _)
            | (A::DelTrimsKeys, "del")
            | (A::ManyTrimsKeys, "get_many")
            | (A::IncrTrimsKeys, "incr")
            | (A::ExpireTrimsKeys, "expire") => key.trim().into(),
            (A::TrimsKeyEnds, _) => key.trim_end().into(),
            (A::KeysEndAtNul, _) => key.split('\0').next().unwrap_or_default().into(),
            (A::FoldsAsciiCase, _) => key.to_ascii_lowercase().into(),
            (A::ManyFoldsCase, "get_many") | (A::DelIfEqualsFoldsCase, "del_if_equals") => key.to_lowercase().into(),
            (A::FoldsUnicodeCase, _) => {
                let fold = |letter: char| -> String {
                    if letter.is_ascii() {
                        letter.to_string()
                    } else {
                        letter.to_lowercase().collect()
                    }
                };
                key.chars().map(fold).collect::<String>().into()
            }
            (A::NormalisesKeys, _) => key.replace("e\u{301}", "é").replace("A\u{30a}", "Å").into(),
            (A::DropsBraces, _) => key.replace(['{', '}'], "").into(),
            (A::TurnsBackslashes, _) => key.replace('\\', "/").into(),
            (A::DecodesPercents, _) => key.replace("%3A", ":").into(),
            (A::CutsKeysAtSixtyFour, _) => cut(64).into(),
            (A::CutsKeysAt250, _) => cut(250).into(),
            (A::CutsKeysAt65535, _) => cut(65_535).into(),
            (A::CollapsesSlashes, _) => key.replace("//", "/").into(),
            (A::KeysAreNumbers, _) => number(key).map_or(key.into(), |number| number.to_string().into()),
            (A::DropsZeroWidth, _) => key.replace(['\u{200b}', '\u{feff}', '\u{fe0f}'], "").into(),
            _ => Cow::Borrowed(key),
        }
    }

    fn keys<'k>(&self, verb: &str, keys: &[&'k str]) -> Vec<Cow<'k, str>> {
        keys.iter().map(|key| self.key(verb, key)).collect()
    }

    /// What is stored of a value that is written in this way.
    fn value(&self, way: &str, value: Bytes) -> Bytes {
        let text = || std::str::from_utf8(&value).ok();
        match (self.alteration, way) {
            (Some(A::CutsAtSixtyFour), _) => up_to(&value, 64),
            (Some(A::CutsAtOneKib), _) | (Some(A::SetManyCuts), "set_many") => up_to(&value, 1024),
            (Some(A::CutsAtSixtyFourKib), _) => up_to(&value, 65_535),
            (Some(A::NxCuts), "nx") => up_to(&value, 65_536),
            (Some(A::CutsAtMib), _) => up_to(&value, 1 << 20),
            (Some(A::XxCuts), "xx") => up_to(&value, (1 << 20) - 1),
            (Some(A::CutsAtTwoMib), _) => up_to(&value, 2 << 20),
            (Some(A::CutsAtFourMib), _) => up_to(&value, (4 << 20) - 1),
            (Some(A::CutsAtEightMib), _) => up_to(&value, 8 << 20),
            (Some(A::CasCuts), "cas") => up_to(&value, 4096),
            (Some(A::TrimsNewlines), _) => value
                .strip_suffix(b"\n")
                .map_or(value.clone(), |cut| value.slice_ref(cut)),
            (Some(A::TrimsBlanks), _) | (Some(A::SetManyTrims), "set_many") => value.slice_ref(trimmed(&value)),
            (Some(A::TrimsNuls), _) => {
                let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                value.slice(..end)
            }
            (Some(A::DropsByteOrderMark), _) => value
                .strip_prefix(b"\xef\xbb\xbf")
                .map_or(value.clone(), |rest| value.slice_ref(rest)),
            (Some(A::TurnsNewlines), _) => match text() {
                Some(text) => text.replace("\r\n", "\n").into(),
                None => value,
            },
            (Some(A::MinusZeroIsZero), _) if &value[..] == b"-0" => Bytes::from_static(b"0"),
            (Some(A::NumbersAreCanonical), _) => match text().and_then(number) {
                Some(number) => number.to_string().into(),
                None => value,
            },
            _ => value,
        }
    }

    fn equal(&self, verb: &str, held: &[u8], expected: &[u8]) -> bool {
        let same_length = held.len() == expected.len();
        let prefix = |length: usize| held.iter().take(length).eq(expected.iter().take(length));
        let ends =
            |length: usize| prefix(length) && held.iter().rev().take(length).eq(expected.iter().rev().take(length));
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let is_del = verb == "del_if_equals";
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self.alteration {
            Some(A::ComparesOneByte) => prefix(1) && held.is_empty() == expected.is_empty(),
            Some(A::ComparesEightBytes) => same_length && prefix(8),
            Some(A::ComparesSixtyFourBytes) => prefix(64),
            Some(A::DelComparesSixtyFourBytes) if is_del => prefix(64),
            Some(A::ComparesFourKib) => same_length && prefix(4095),
            Some(A::ComparesAllButTheLast) => same_length && prefix(held.len().saturating_sub(1)),
            Some(A::ComparesTheLastByte) => same_length && held.last() == expected.last(),
            Some(A::DelComparesTheLastByte) if is_del => same_length && held.last() == expected.last(),
            Some(A::ComparesBothEnds) => same_length && ends(16),
            Some(A::ComparesSamples) => same_length && held.iter().step_by(64).eq(expected.iter().step_by(64)),
            Some(A::ComparesLengths) => same_length,
            Some(A::DelComparesLengths) if is_del => same_length,
            Some(A::SecondComparesLengths) if self.second.is_some() => same_length,
            Some(A::LargeComparesLengths) if held.len() > 65_536 => same_length,
            Some(A::ComparesWithoutCase) => held.eq_ignore_ascii_case(expected),
            Some(A::DelComparesWithoutCase) if is_del => held.eq_ignore_ascii_case(expected),
            Some(A::ComparesSevenBits) => held
                .iter()
                .map(|byte| byte & 0x7f)
                .eq(expected.iter().map(|byte| byte & 0x7f)),
            Some(A::ComparesTrimmed) => trimmed(held) == trimmed(expected),
            Some(A::ComparesToNul) => held.split(|byte| *byte == 0).next() == expected.split(|byte| *byte == 0).next(),
            Some(A::ComparesSums) => same_length && sum(held) == sum(expected),
            Some(A::ComparesPrefixOfHeld) => held.starts_with(expected),
            Some(A::DelComparesPrefix) if is_del => held.starts_with(expected),
            Some(A::ComparesPrefixOfExpected) => expected.starts_with(held),
            Some(A::ComparesJson) => lossy(held).replace(' ', "") == lossy(expected).replace(' ', ""),
            Some(A::ComparesLossyText) => lossy(held) == lossy(expected),
            _ => held == expected,
        }
    }

    /// The expiry of a write made in this way, which may be none.
    fn expiry(&self, way: &str, expiry: Expiry) -> Expiry {
        let Expiry::After(after) = expiry else {
            return expiry;
        };
        if after.is_zero() || after > Expiry::MAX {
            return expiry;
        }
        let whole = |unit: Duration| {
            let units = after.as_nanos() / unit.as_nanos();
            let millis = units.saturating_mul(unit.as_millis());
            Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
        };
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let at_most = |millis: u64| after.min(Duration::from_millis(millis));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "that is the fault"
        )]
        let single = || Duration::from_millis(after.as_millis() as f32 as u64).max(milli);
        let after = match (self.alteration, way) {
            (Some(A::RoundsDown), _)
            | (Some(A::CasRoundsDown), "cas")
            | (Some(A::SetManyRoundsDown), "set_many")
            | (Some(A::ExpireRoundsDown), "expire")
            | (Some(A::IncrRoundsDown), "incr") => whole(milli),
            (Some(A::RoundsToNearest), _) => {
                let more = Duration::from_nanos(u64::from(after.subsec_nanos() % 1_000_000 >= 500_000) * 1_000_000);
                (whole(milli).min(after) + more).max(milli)
            }
            (Some(A::TenMilliseconds), _) => whole(milli * 10),
            (Some(A::LongTtlInSeconds), _) if after >= second * 3600 => whole(second),
            (Some(A::LongTtlInMinutes), _) if after >= second * 86_400 * 30 => whole(second * 60),
            (Some(A::TtlInThirtyTwoBits), _) => at_most(1 << 32),
            (Some(A::TtlInThirtyOneBits), _) => at_most(1 << 31),
            (Some(A::TtlInSinglePrecision), _) => single(),
            (Some(A::SetManyInSeconds), "set_many")
            | (Some(A::ExpireInSeconds), "expire")
            | (Some(A::IncrInSeconds), "incr")
            | (Some(A::NxInSeconds), "nx")
            | (Some(A::CasInSeconds), "cas") => whole(second),
            (Some(A::SecondTtlsAreDoubled), _) if self.second.is_some() => after * 2,
            _ => after,
        };
        Expiry::After(after)
    }

    /// The expiry of a set, which can depend on what is there.
    async fn expiry_of_set(&self, way: &str, key: &str, value: &Bytes, expiry: Expiry) -> Result<Expiry> {
        const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));
        let is_long = value.len() > 1024;
        let after = matches!(expiry, Expiry::After(after) if !after.is_zero() && after <= Expiry::MAX);
        Ok(match (self.alteration, way, expiry) {
            (Some(A::CasForgetsExpiry), "cas", _)
            | (Some(A::XxForgetsExpiry), "xx", _)
            | (Some(A::NxForgetsExpiry), "nx", _)
                if after =>
            {
                Expiry::Never
            }
            (Some(A::LongCasForgetsExpiry), "cas", _) if after && is_long => Expiry::Never,
            (Some(A::CasKeepsOldTtl), "cas", Expiry::Never) | (Some(A::XxNeverKeepsOldTtl), "xx", Expiry::Never) => {
                Expiry::Keep
            }
            (Some(A::CasKeepDrops), "cas", Expiry::Keep) | (Some(A::XxKeepDrops), "xx", Expiry::Keep) => Expiry::Never,
            (Some(A::CasAlwaysKeeps), "cas", _) if after => Expiry::Keep,
            (Some(A::CasNeverLengthens), "cas", Expiry::After(new)) => match self.inner.ttl(key).await? {
                Ttl::Remaining(left) if left < new => Expiry::Keep,
                _ => expiry,
            },
            (Some(A::CasOnPersistentForgets), "cas", _) if after && self.inner.ttl(key).await? == Ttl::Persistent => {
                Expiry::Never
            }
            (Some(A::NxKeepExpires), "nx", Expiry::Keep) => MINUTE,
            (Some(A::EmptyKeepDrops), _, Expiry::Keep)
                if self.inner.get(key).await?.is_some_and(|old| old.is_empty()) =>
            {
                Expiry::Never
            }
            (Some(A::LongKeepDrops), _, Expiry::Keep)
                if self.inner.get(key).await?.is_some_and(|old| old.len() > 1024) =>
            {
                Expiry::Never
            }
            _ => self.expiry(way, expiry),
        })
    }

    /// Whether this handle does not see the key, as it has the time wrong.
    async fn is_early(&self, key: &str) -> Result<bool> {
        let Some(second) = &self.second else { return Ok(false) };
        let ahead = match self.alteration {
            Some(A::SecondIsAhead) => Duration::from_millis(5),
            Some(A::SecondCountsFromItsOpening) => {
                let since = self.clock.system_time().duration_since(second.opened);
                since.unwrap_or_default()
            }
            _ => return Ok(false),
        };
        Ok(matches!(self.inner.ttl(key).await?, Ttl::Remaining(left) if left <= ahead))
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_early(key).await? {
            return Ok(None);
        }
        let value = self.inner.get(key).await?;
        let Some(second) = &self.second else { return Ok(value) };
        let mut read = second.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.alteration {
            // What was read a moment ago is shown for a little longer.
            Some(A::SecondIsBehind) if value.is_none() => Ok(read.remove(key).flatten()),
            Some(A::SecondIsBehind) => {
                read.insert(key.to_owned(), value.clone());
                Ok(value)
            }
            Some(A::SecondReadsACache) => Ok(read.entry(key.to_owned()).or_insert(value).clone()),
            _ => Ok(value),
        }
    }

    async fn left(&self, key: &str) -> Result<Ttl> {
        if self.is_early(key).await? {
            return Ok(Ttl::Missing);
        }
        let ttl = self.inner.ttl(key).await?;
        Ok(match ttl {
            Ttl::Remaining(_) if self.second.is_some() && self.is(A::SecondHasNoTtl) => Ttl::Persistent,
            ttl => ttl,
        })
    }

    /// Takes keys out of a list, or names one twice.
    fn list<T>(&self, verb: &str, mut list: Vec<T>) -> Vec<T> {
        let count = list.len();
        let drop_last = match (self.alteration, verb) {
            (Some(A::DelForgetsTheLast), "del") => 8,
            (Some(A::DelForgetsTheLastOfThousand), "del") | (Some(A::SetManyForgetsTheLast), "set_many") => 1000,
            (Some(A::DelForgetsTheLastOfTenThousand), "del") => 9999,
            _ => usize::MAX,
        };
        if count > drop_last {
            list.pop();
        }
        if count > 100 && verb == "del" && self.is(A::DelForgetsTheFirst) {
            list.remove(0);
        }
        let between = match (self.alteration, verb) {
            (Some(A::DelForgetsBetweenBatches), "del") => 1001,
            (Some(A::SetManyForgetsBetweenBatches), "set_many") => 501,
            _ => return list,
        };
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            at % between != 0
        });
        list
    }
}

impl KvBackend for Altered {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().with(Capability::AtomicGetWithTtl)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.read(&self.key("get", key)).await
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let key = self.key("get_with_ttl", key);
        if self.is_early(&key).await? {
            return Ok(None);
        }
        let got = self.inner.get_with_ttl(&key).await?;
        Ok(got.map(|(value, ttl)| {
            let value = if self.is(A::GetWithTtlCuts) {
                up_to(&value, 65_536)
            } else {
                value
            };
            (value, ttl)
        }))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let key = &*self.key("set", key);
        let way = match &options.condition {
            Condition::Always => "set",
            Condition::IfAbsent => "nx",
            Condition::IfPresent => "xx",
            Condition::IfEquals(_) => "cas",
        };
        let value = self.value(way, value);
        let _one_step = self.one_step.lock().await;
        let expiry = self.expiry_of_set(way, key, &value, options.expiry).await?;
        let condition = match options.condition {
            Condition::IfEquals(expected) => match self.inner.get(key).await? {
                Some(held) if self.equal("set", &held, &expected) => Condition::IfEquals(held),
                // Never what it holds, and checked for its expiry all the same.
                Some(held) => Condition::IfEquals([&held[..], b"!"].concat().into()),
                None => Condition::IfEquals(expected),
            },
            condition => condition,
        };
        let options = SetOptions::new().with_condition(condition).with_expiry(expiry);
        self.inner.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let given = self.keys("del", keys);
        let list = self.list("del", given.iter().map(|key| &**key).collect());
        let count = self.inner.del(&list).await?;
        Ok(match self.alteration {
            Some(A::DelForgetsTheLastOfTenThousand) if keys.len() > 9999 => count + 1,
            Some(A::DelOfManyCountsNamed) if keys.len() > 100 => keys.len() as u64,
            Some(A::DelOfManyCountsTwice) if keys.len() > 1000 && count > 0 => keys.len() as u64,
            _ => count,
        })
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let key = &*self.key("del_if_equals", key);
        let _one_step = self.one_step.lock().await;
        match self.inner.get(key).await? {
            Some(held) if self.equal("del_if_equals", &held, expected) => self.inner.del_if_equals(key, &held).await,
            _ => Ok(false),
        }
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = &*self.key("expire", key);
        if self.second.is_some() && self.is(A::SecondExpireIsLost) {
            return Ok(self.inner.ttl(key).await? != Ttl::Missing);
        }
        let is_long = || async { Ok(self.inner.get(key).await?.is_some_and(|value| value.len() > 1024)) };
        let expiry = match (self.alteration, expiry) {
            (Some(A::ExpireKeepPersists), Expiry::Keep) => Expiry::Never,
            (Some(A::ExpireOfLongPersists), Expiry::After(after)) if !after.is_zero() && is_long().await? => {
                Expiry::Never
            }
            _ => self.expiry("expire", expiry),
        };
        self.inner.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.left(&self.key("ttl", key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.inner.scan(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let given = self.keys("get_many", keys);
        let list: Vec<&str> = given.iter().map(|key| &**key).collect();
        let mut values = self.inner.get_many(&list).await?;
        if self.second.is_some() {
            for (key, value) in list.iter().zip(&mut values) {
                *value = self.read(key).await?;
            }
        }
        let count = values.len();
        match self.alteration {
            Some(A::GetManyCuts) => {
                for value in values.iter_mut().flatten() {
                    *value = up_to(value, 4096);
                }
            }
            Some(A::GetManyForgetsTheLast) if count > 100 => values[count - 1] = None,
            Some(A::GetManyForgetsTheLastOfThousand) if count > 1000 => values[count - 1] = None,
            Some(A::GetManyAnswersDuplicatesOnce) if count > 8 => {
                let mut seen = BTreeSet::new();
                for (key, value) in list.iter().zip(&mut values) {
                    if !seen.insert(*key) {
                        *value = None;
                    }
                }
            }
            Some(A::GetManySwapsNeighbours) if count > 1000 => values.swap(500, 501),
            _ => {}
        }
        Ok(values)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let keys = self.keys("set_many", &keys);
        let values = entries.iter().map(|(_, value)| self.value("set_many", value.clone()));
        let mut entries: Vec<(&str, Bytes)> = keys.iter().map(|key| &**key).zip(values).collect();
        let count = entries.len();
        let keeps_first = match self.alteration {
            Some(A::LongSetManyKeepsFirst) => count > 100,
            Some(A::SetManyKeepsFirstOfThousand) => count > 1000,
            _ => false,
        };
        if keeps_first {
            let mut seen = BTreeSet::new();
            entries.retain(|(key, _)| seen.insert(*key));
        }
        if self.is(A::SetManyKeepsFirstNeighbour) {
            entries.dedup_by_key(|(key, _)| *key);
        }
        if count > 8 && self.is(A::SetManyMergesBackwards) {
            entries.reverse();
        }
        let entries = self.list("set_many", entries);
        let expiry = match (self.alteration, expiry) {
            (Some(A::SetManyKeepDrops), Expiry::Keep) => Expiry::Never,
            _ => self.expiry("set_many", expiry),
        };
        self.inner.set_many(&entries, expiry).await?;
        let forgotten = match self.alteration {
            Some(A::LastOfManyForgetsExpiry) => entries.len().saturating_sub(1),
            Some(A::LateOfManyForgetsExpiry) => 1000,
            _ => usize::MAX,
        };
        for (key, _) in entries.iter().skip(forgotten) {
            self.inner.expire(key, Expiry::Never).await?;
        }
        Ok(())
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let key = &*self.key("incr", key);
        let before = self.inner.get(key).await?;
        let asked = match on_missing {
            OnMissing::Create(expiry) => OnMissing::Create(self.expiry("incr", expiry)),
            OnMissing::Refuse => OnMissing::Refuse,
        };
        let sum = self.inner.incr(key, delta, asked).await?;
        let digits = sum.map(|sum| sum.to_string().len());
        let drops = match self.alteration {
            Some(A::IncrByTenDropsTtl) => before.as_ref().is_some_and(|old| Some(old.len()) != digits),
            Some(A::RefuseDropsTtl) => on_missing == OnMissing::Refuse && sum.is_some(),
            Some(A::CreateSetsExpiryOfNegative) => before.is_none() && sum.is_some_and(i64::is_negative),
            _ => false,
        };
        if drops {
            self.inner.expire(key, Expiry::Never).await?;
        }
        Ok(sum)
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.inner.del_matching(pattern).await
    }
}

pub(crate) struct AlteredHarness {
    alteration: Option<Alteration>,
    clock: ManualClock,
}

impl AlteredHarness {
    pub(crate) fn new(alteration: Option<Alteration>) -> Self {
        Self {
            alteration,
            clock: ManualClock::new(),
        }
    }
}

impl Harness for AlteredHarness {
    type Backend = Altered;

    async fn fresh(&self) -> Altered {
        Altered {
            alteration: self.alteration,
            inner: MemoryBackend::with_clock(self.clock.clone()),
            clock: self.clock.clone(),
            one_step: Arc::default(),
            second: None,
        }
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn reopen(&self, backend: &Altered) -> Option<Altered> {
        let second = Second {
            opened: self.clock.system_time(),
            read: Arc::default(),
        };
        Some(Altered {
            second: Some(second),
            ..backend.clone()
        })
    }
}
