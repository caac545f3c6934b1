//! Random operations on a few keys. Some values have sizes near those at which the store changes
//! their form.

use std::time::Duration;

use bytes::Bytes;
use codex_testkit::Op;
use codex_traits::{Condition, Expiry, OnMissing, Pattern, SetOptions};

/// Marsaglia's xorshift64* with a seed. A failure reports the seed that reproduces it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.next() >> 33) % end as u64).unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const KEYS: [&str; 10] = ["", "a", "a2", "a*", "b", "[ab]", "käse", "a\0b", "counter", "x:1"];
const NUMBERS: [&str; 8] = [
    "0",
    "5",
    "-1",
    "05",
    "",
    "9223372036854775807",
    "-9223372036854775808",
    "text",
];
/// Sizes near the limits at which the store changes the form of a value.
const SIZES: [usize; 8] = [1, 14, 200, 990, 1030, 4080, 4100, 9000];
const PATTERNS: [&str; 8] = ["*", "a*", "a?", "[ab]*", "\\[*", "?", "", "*\u{e4}*"];

/// Draws an operation, with times to live from `spans`.
pub(crate) fn random_op(random: &mut Random, spans: &[Duration]) -> Op {
    let key = random.one_of(&KEYS);
    let keys = |random: &mut Random| (0..random.below(5)).map(|_| random.one_of(&KEYS)).collect::<Vec<_>>();
    match random.below(16) {
        0..=2 => Op::get(key),
        3 => Op::get_many(&keys(random)),
        4..=7 => {
            let condition = match random.below(8) {
                0 => Condition::IfAbsent,
                1 => Condition::IfPresent,
                2 | 3 => Condition::IfEquals(value(random)),
                _ => Condition::Always,
            };
            let expiry = expiry(random, spans);
            let options = SetOptions::new().with_condition(condition).with_expiry(expiry);
            Op::set(key, value(random), options)
        }
        8 => {
            let entries: Vec<_> = keys(random).into_iter().map(|key| (key, value(random))).collect();
            let entries: Vec<(&str, &[u8])> = entries.iter().map(|(key, value)| (*key, &value[..])).collect();
            Op::set_many(&entries, expiry(random, spans))
        }
        9 => Op::del(&keys(random)),
        10 => Op::del_if_equals(key, value(random)),
        11 => Op::expire(key, expiry(random, spans)),
        12 => Op::ttl(key),
        13 => {
            let delta = random.one_of(&[0, 1, -7, i64::MAX, i64::MIN]);
            let on_missing = match random.below(2) {
                0 => OnMissing::Refuse,
                _ => OnMissing::Create(expiry(random, spans)),
            };
            Op::incr(key, delta, on_missing)
        }
        14 => Op::scan(Pattern::glob(random.one_of(&PATTERNS)), 10),
        _ if random.below(8) == 0 => Op::del_matching(Pattern::glob(random.one_of(&PATTERNS))),
        _ => Op::ttl(key),
    }
}

fn value(random: &mut Random) -> Bytes {
    match random.below(4) {
        0 => Bytes::from(vec![b'v'; random.one_of(&SIZES)]),
        _ => random.one_of(&NUMBERS).into(),
    }
}

fn expiry(random: &mut Random, spans: &[Duration]) -> Expiry {
    match random.below(6) {
        0 | 1 => Expiry::Never,
        2 => Expiry::Keep,
        _ => Expiry::After(random.one_of(spans)),
    }
}
