//! The Rust blocks of the guides that need more than the facade, as doctests.

#[cfg(doctest)]
#[doc = include_str!("../../docs/testing-without-redis.md")]
struct TestingWithoutRedis;
