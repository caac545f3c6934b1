//! `Pattern::matches` compared with the matcher of a real server, on random patterns over the bytes
//! that are special to the matcher.
#![cfg(feature = "redis")]

use std::collections::BTreeSet;

use codex_testkit::{
    redis::{Database, Value},
    require,
};
use codex_traits::Pattern;

/// Special characters of a pattern, their neighbours in ASCII, and bytes that are not text.
const ALPHABET: &[u8] = b"*?[]\\^-ab\xc3\xa9\0\xff";

/// Random numbers that are the same in every run: xorshift64* (Vigna, "An experimental exploration
/// of Marsaglia's xorshift generators").
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap_or_default() % bound
    }

    fn byte(&mut self) -> u8 {
        ALPHABET[self.below(ALPHABET.len())]
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.byte()).collect()
    }

    /// Returns a pattern that matches `key` or almost does, because random patterns rarely match a
    /// long key.
    fn pattern_for(&mut self, key: &[u8]) -> Vec<u8> {
        let mut pattern = Vec::new();
        for &byte in key {
            let other = self.byte();
            match self.below(12) {
                0 => pattern.extend([b'?']),
                1 => pattern.extend([b'*']),
                2 => pattern.extend([b'[', byte, other, b']']),
                3 => pattern.extend([b'[', other, b'-', byte, b']']),
                4 => pattern.extend([b'[', b'^', other, b']']),
                5 => pattern.extend([b'[', b'\\', byte, b'-', other, b']']),
                6 => pattern.extend([b'[', byte, b'-', other]),
                7 => pattern.extend([other]),
                8 => {}
                _ => pattern.extend([b'\\', byte]),
            }
        }
        if self.below(3) == 0 {
            pattern.extend(self.bytes(2));
        }
        pattern
    }
}

/// Returns the keys that match `pattern` according to the server.
fn asked(database: &Database, pattern: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let parts: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", pattern, b"COUNT", b"100000"];
        let Ok(Value::Array(page)) = database.command(&parts) else {
            panic!("SCAN failed");
        };
        let [Value::BulkString(next), Value::Array(keys)] = &page[..] else {
            panic!("SCAN answers a cursor and keys");
        };
        found.extend(keys.iter().map(|key| match key {
            Value::BulkString(key) => key.clone(),
            other => panic!("a key is a string, not {other:?}"),
        }));
        if next == b"0" {
            return found;
        }
        next.clone_into(&mut cursor);
    }
}

#[test]
fn random_pairs_match_where_the_server_says_so() {
    const KEYS: usize = 400;
    const PATTERNS: usize = 2000;
    let database = require!("redis", Database::lease());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut keys = BTreeSet::from([Vec::new()]);
    while keys.len() < KEYS {
        keys.insert(random.bytes(6));
    }
    for key in &keys {
        database.command(&[&b"SET"[..], key, b""]).unwrap();
    }
    let drawn: Vec<&Vec<u8>> = keys.iter().collect();
    let (mut pairs, mut matching) = (0, 0);
    for number in 0..PATTERNS {
        let pattern = if number % 3 == 0 {
            random.bytes(7)
        } else {
            let key = drawn[random.below(drawn.len())];
            random.pattern_for(key)
        };
        let server = asked(&database, &pattern);
        let ours = Pattern::glob(&pattern);
        for key in &keys {
            assert_eq!(
                ours.matches(key),
                server.contains(key),
                "pattern \"{}\" and key \"{}\": ours, and the server's",
                pattern.escape_ascii(),
                key.escape_ascii()
            );
            pairs += 1;
            matching += usize::from(server.contains(key));
        }
    }
    assert!(pairs >= 100_000, "{pairs} pairs are too few");
    // Comparing only misses would prove little.
    assert!(matching * 100 > pairs, "only {matching} of {pairs} pairs match");
}

#[test]
fn the_edges_are_as_the_server_has_them() {
    let database = require!("redis", Database::lease());
    // Every key of up to two bytes of the alphabet, with every pattern of up to three.
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for &first in ALPHABET {
        keys.push(vec![first]);
        keys.extend(ALPHABET.iter().map(|&second| vec![first, second]));
    }
    for key in &keys {
        database.command(&[&b"SET"[..], key, b""]).unwrap();
    }
    for pattern in keys.iter().cloned().chain(three_bytes()) {
        let server = asked(&database, &pattern);
        let ours = Pattern::glob(&pattern);
        let ours: BTreeSet<Vec<u8>> = keys.iter().filter(|key| ours.matches(key)).cloned().collect();
        assert_eq!(ours, server, "pattern \"{}\"", pattern.escape_ascii());
    }
}

fn three_bytes() -> impl Iterator<Item = Vec<u8>> {
    let alphabet = || ALPHABET.iter().copied();
    alphabet().flat_map(move |first| {
        alphabet().flat_map(move |second| alphabet().map(move |third| vec![first, second, third]))
    })
}
