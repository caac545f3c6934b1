//! Alterations of keys, values and comparisons.

use std::borrow::Cow;

use bytes::Bytes;
use codex_traits::{KvBackend, Result, SetOptions};

use super::{Alteration as A, Altered, LARGE, scans::piece_of};

/// The length of a value, its first and its last bytes.
pub(super) type Outline = (usize, Vec<u8>, Vec<u8>);

fn outline(value: &[u8]) -> Outline {
    let end = value.len().min(32);
    (value.len(), value[..end].to_vec(), value[value.len() - end..].to_vec())
}

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
            (A::LongKeysByTheirEnds, _) if key.len() > 255 && key.is_ascii() => {
                let length = key.len();
                format!("{}{length}{}", &key[..64], &key[length - 64..]).into()
            }
            (A::ManyCutsLongKeys, "get_many") | (A::CasCutsLongKeys, "cas") => cut(100_000).into(),
            (A::DropsTrailingSlash, _) if key.len() > 1 => key.strip_suffix('/').unwrap_or(key).into(),
            (A::DropsTrailingDot, _) if key.len() > 1 => key.strip_suffix('.').unwrap_or(key).into(),
            (A::ResolvesParents, _) => key.split_once("/../").map_or(key, |(_, rest)| rest).into(),
            (A::CutsAtAstral, _) => {
                let astral = key.char_indices().skip(1).find(|(_, letter)| *letter > '\u{ffff}');
                key[..astral.map_or(key.len(), |(at, _)| at)].into()
            }
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
            (Some(A::DropsGzipMagic), _) if value.starts_with(b"\x1f\x8b") => value.slice(2..),
            (Some(A::CompactsJson), _) if value.starts_with(b"{") || value.starts_with(b"[") => {
                value.iter().copied().filter(|byte| *byte != b' ').collect()
            }
            (Some(A::LosesLength128), _) if value.len() == 128 => Bytes::new(),
            (Some(A::LosesLength16384), _) if value.len() == 16_384 => Bytes::new(),
            (Some(A::CutsAMillion), _) if value.len() == 1_000_000 => value.slice(1..),
            (Some(A::MinusZeroIsZero), _) if &value[..] == b"-0" => Bytes::from_static(b"0"),
            (Some(A::NumbersAreCanonical), _) => match text().and_then(number) {
                Some(number) => number.to_string().into(),
                None => value,
            },
            _ => value,
        }
    }

    /// Returns whether a value reads as a miss.
    pub(super) fn is_missed(&self, value: &[u8]) -> bool {
        match self.alteration {
            Some(A::NilIsMissing) => value == b"(nil)",
            Some(A::MinusOneIsMissing) => value == b"-1",
            _ => false,
        }
    }

    /// Returns the number that `incr` wrongly takes `held` for.
    pub(super) fn misread(&self, held: &[u8]) -> Option<i64> {
        match self.alteration {
            Some(A::IncrOfLongIsZero) if held.len() > 64 => Some(0),
            Some(A::IncrTakesTab) => codex_traits::parse_integer(held.strip_prefix(b"\t")?),
            Some(A::IncrParsesModulo)
                if held.len() > 19 && held.first() != Some(&b'0') && held.iter().all(u8::is_ascii_digit) =>
            {
                let digits = held.iter().map(|digit| u64::from(digit - b'0'));
                let number = digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit));
                i64::try_from(number).ok()
            }
            _ => None,
        }
    }

    /// Returns the value to store, or `None` if the store wrongly finds no change.
    pub(super) async fn unless_similar(&self, key: &str, value: Bytes) -> Result<Option<Bytes>> {
        if self.alteration == Some(A::SkipsSimilarValues)
            && value.len() > 128
            && let Some(held) = self.inner.get(key).await?
            && outline(&held) == outline(&value)
        {
            return Ok(None);
        }
        Ok(Some(self.shared(value)))
    }

    pub(super) fn similar_entries<'k>(&self, entries: Vec<(&'k str, Bytes)>) -> Vec<(&'k str, Bytes)> {
        let shared = |(key, value)| (key, self.shared(value));
        entries.into_iter().map(shared).collect()
    }

    fn shared(&self, value: Bytes) -> Bytes {
        if self.alteration != Some(A::SharesSimilarValues) || value.len() <= 4096 {
            return value;
        }
        let mut similar = self.similar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        similar.entry(outline(&value)).or_insert(value).clone()
    }

    pub(super) fn log_large(&self, key: &str, value: &[u8]) {
        if self.alteration == Some(A::LogsLargeValues) && value.len() > LARGE {
            tracing::warn!("the value of {key} has {} bytes", value.len());
        }
    }

    /// Leaves a second key beside a large value.
    pub(super) async fn leave_a_piece(&self, key: &str, value: &[u8]) -> Result<()> {
        if self.alteration == Some(A::LargeLeavesAPiece) && value.len() > LARGE {
            let options = SetOptions::new();
            let _ = self.inner.set(&piece_of(key), Bytes::new(), options).await?;
        }
        Ok(())
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
            Some(A::LargeComparesWholeBlocks) if held.len() > 4096 => same_length && prefix(held.len() / 4096 * 4096),
            Some(A::ComparesOneMib) if held.len() > 1 << 20 => same_length && prefix(1 << 20),
            Some(A::ComparesJson) => lossy(held).replace(' ', "") == lossy(expected).replace(' ', ""),
            Some(A::ComparesLossyText) => lossy(held) == lossy(expected),
            _ => held == expected,
        }
    }
}
