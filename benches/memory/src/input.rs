//! Keys, values and the order of access, the same in every run.

use bytes::Bytes;

use crate::random::Random;

pub(crate) const VALUE_LEN: usize = 200;

/// Returns keys of 32 characters, as long as a session's key.
pub(crate) fn keys(count: usize) -> Vec<String> {
    let mut random = Random::new(7);
    (0..count)
        .map(|_| format!("{:016x}{:016x}", random.next(), random.next()))
        .collect()
}

pub(crate) fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_LEN])
}

/// Returns `len` uniform random numbers below `count`.
pub(crate) fn uniform(count: usize, len: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.below(count) as u32).collect()
}
