//! A mock of a backend: for a test that must count calls, or break one.
//!
//! For everything else use `MemoryBackend`: it answers as a store does, and a mock only as it was told to.

use std::{future::Future, process::ExitCode};

use bytes::Bytes;
use codex_kv::{
    Capabilities, Error, ErrorKind, Expiry, KvBackend, KvBackendExt, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};
use mockall::{mock, predicate::eq};

mock! {
    /// `MockBackend`, with an `expect_…` for every method.
    #[derive(Debug)]
    Backend {}

    impl KvBackend for Backend {
        fn capabilities(&self) -> Capabilities;
        async fn get(&self, key: &str) -> Result<Option<Bytes>>;
        async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome>;
        async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64>;
        async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool>;
        async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool>;
        async fn ttl(&self, key: &str) -> Result<Ttl>;
        async fn scan<'a>(&self, request: ScanRequest<'a>) -> Result<ScanPage>;
    }
}

fn main() {}
