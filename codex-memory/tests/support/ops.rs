//! Random operations, carried out on any backend, with answers that can be compared.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{
    Condition, ErrorKind, Expiry, KvBackend, KvBackendExt, OnMissing, Pattern, Result, SetOptions, SetOutcome, Ttl,
};
use futures_util::TryStreamExt;

/// Marsaglia's xorshift64*, seeded: a failure names its seed, and the seed brings it back.
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
/// Around the sizes at which a record is kept in another way.
const SIZES: [usize; 8] = [1, 14, 200, 990, 1030, 4080, 4100, 9000];
const PATTERNS: [&str; 8] = ["*", "a*", "a?", "[ab]*", "\\[*", "?", "", "*\u{e4}*"];

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Get(&'static str),
    GetMany(Vec<&'static str>),
    Set(&'static str, Bytes, SetOptions),
    SetMany(Vec<(&'static str, Bytes)>, Expiry),
    Del(Vec<&'static str>),
    DelIfEquals(&'static str, Bytes),
    Expire(&'static str, Expiry),
    Ttl(&'static str),
    Incr(&'static str, i64, OnMissing),
    Scan(&'static str),
    DelMatching(&'static str),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Flag(bool),
    Count(u64),
    Ttl(Ttl),
    Sum(Option<i64>),
    Keys(Vec<String>),
    Failed(ErrorKind),
}

/// `spans` are the times to live that are used.
pub(crate) fn random_op(random: &mut Random, spans: &[Duration]) -> Op {
    let key = random.one_of(&KEYS);
    let keys = |random: &mut Random| (0..random.below(5)).map(|_| random.one_of(&KEYS)).collect::<Vec<_>>();
    match random.below(16) {
        0..=2 => Op::Get(key),
        3 => Op::GetMany(keys(random)),
        4..=7 => {
            let condition = match random.below(8) {
                0 => Condition::IfAbsent,
                1 => Condition::IfPresent,
                2 | 3 => Condition::IfEquals(value(random)),
                _ => Condition::Always,
            };
            let expiry = expiry(random, spans);
            let options = SetOptions::new().with_condition(condition).with_expiry(expiry);
            Op::Set(key, value(random), options)
        }
        8 => Op::SetMany(
            keys(random).into_iter().map(|key| (key, value(random))).collect(),
            expiry(random, spans),
        ),
        9 => Op::Del(keys(random)),
        10 => Op::DelIfEquals(key, value(random)),
        11 => Op::Expire(key, expiry(random, spans)),
        12 => Op::Ttl(key),
        13 => {
            let delta = random.one_of(&[0, 1, -7, i64::MAX, i64::MIN]);
            let on_missing = match random.below(2) {
                0 => OnMissing::Refuse,
                _ => OnMissing::Create(expiry(random, spans)),
            };
            Op::Incr(key, delta, on_missing)
        }
        14 => Op::Scan(random.one_of(&PATTERNS)),
        _ if random.below(8) == 0 => Op::DelMatching(random.one_of(&PATTERNS)),
        _ => Op::Ttl(key),
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

pub(crate) async fn answer<B: KvBackend>(store: &B, op: Op) -> Answer {
    attempt(store, op)
        .await
        .unwrap_or_else(|error| Answer::Failed(error.kind()))
}

async fn attempt<B: KvBackend>(store: &B, op: Op) -> Result<Answer> {
    Ok(match op {
        Op::Get(key) => Answer::Value(store.get(key).await?),
        Op::GetMany(keys) => Answer::Values(store.get_many(&keys).await?),
        Op::Set(key, value, options) => Answer::Flag(store.set(key, value, options).await? == SetOutcome::Written),
        Op::SetMany(entries, expiry) => {
            store.set_many(&entries, expiry).await?;
            Answer::Flag(true)
        }
        Op::Del(keys) => Answer::Count(store.del(&keys).await?),
        Op::DelIfEquals(key, value) => Answer::Flag(store.del_if_equals(key, &value).await?),
        Op::Expire(key, expiry) => Answer::Flag(store.expire(key, expiry).await?),
        Op::Ttl(key) => Answer::Ttl(store.ttl(key).await?),
        Op::Incr(key, delta, on_missing) => Answer::Sum(store.incr(key, delta, on_missing).await?),
        Op::Scan(glob) => {
            let pattern = Pattern::glob(glob);
            let mut keys: Vec<String> = store.scan_all(&pattern).try_collect().await?;
            keys.sort();
            keys.dedup();
            Answer::Keys(keys)
        }
        Op::DelMatching(glob) => Answer::Count(store.del_matching(&Pattern::glob(glob)).await?),
    })
}
