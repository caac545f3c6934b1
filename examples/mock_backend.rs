//! A mock of a backend: for a test that must count calls, or break one.
//!
//! For everything else use `MemoryBackend`: it answers as a store does, and a mock only as it was told to.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "tests that are run as an example"
)]

use bytes::Bytes;
use codex_kv::{
    Cache, CacheError, Capabilities, Error, ErrorKind, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Timeout, Ttl,
};
use mockall::mock;

mock! {
    /// `MockBackend`, with an `expect_…` for each required method; the provided ones run on these.
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

/// The application's own code: a price from the cache, else from the supplier, which is slow and dear.
async fn price<B: KvBackend>(cache: &Cache<B>, sku: &str, ask_supplier: impl Fn() -> u64) -> Result<u64, CacheError> {
    if let Some(price) = cache.get(sku).await? {
        return Ok(price);
    }
    let price = ask_supplier();
    cache.set(sku, &price, Timeout::Default).await?;
    Ok(price)
}

fn cache_on(backend: MockBackend) -> Cache<MockBackend> {
    let cache = Cache::builder(backend).key_prefix("shop").build();
    cache.expect("the settings are sound")
}

async fn a_hit_costs_one_request_and_no_supplier() {
    let mut backend = MockBackend::new();
    backend
        .expect_get()
        .withf(|key| key == "shop:1:tea")
        .times(1)
        .returning(|_| Ok(Some(Bytes::from_static(b"350"))));

    let price = price(&cache_on(backend), "tea", || panic!("the supplier was asked")).await;
    assert_eq!(price.expect("the store answered"), 350);
    println!("a hit costs one request, and the supplier is not asked");
}

async fn a_broken_store_is_no_miss() {
    let mut backend = MockBackend::new();
    let broken = |_: &str| Err(Error::new(ErrorKind::Connection, "get", "the connection broke"));
    backend.expect_get().times(1).returning(broken);
    // No `expect_set`: a write would panic.

    let price = price(&cache_on(backend), "tea", || panic!("the supplier was asked")).await;
    let error = price.expect_err("a failure is passed on");
    assert!(matches!(error, CacheError::Backend(error) if error.kind() == ErrorKind::Connection));
    println!("a broken store is an error: the supplier is not flooded, and nothing is written");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    a_hit_costs_one_request_and_no_supplier().await;
    a_broken_store_is_no_miss().await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_expectations_hold() {
        super::main();
    }
}
