//! Doctests of the Rust blocks in the guides that need more than the facade.

#[cfg(doctest)]
#[doc = include_str!("../../docs/testing-without-redis.md")]
struct TestingWithoutRedis;
