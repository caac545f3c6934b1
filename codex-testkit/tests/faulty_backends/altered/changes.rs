//! Alterations of keys, values and comparisons.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Alteration as A, Altered};

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

pub(super) fn up_to(value: &Bytes, length: usize) -> Bytes {
    value.slice(..value.len().min(length))
}

impl Altered {
    pub(super) fn key<'k>(&self, verb: &str, key: &'k str) -> Cow<'k, str> {
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

    pub(super) fn keys<'k>(&self, verb: &str, keys: &[&'k str]) -> Vec<Cow<'k, str>> {
        keys.iter().map(|key| self.key(verb, key)).collect()
    }

    /// Returns the stored form of a value that is written with the verb or condition `way`.
    pub(super) fn value(&self, way: &str, value: Bytes) -> Bytes {
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

    pub(super) fn equal(&self, verb: &str, held: &[u8], expected: &[u8]) -> bool {
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
}
