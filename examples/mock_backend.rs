//! A mock of a backend, for a test that must count calls or make a call fail.
//!
//! It needs the dev-dependency `codex-testkit` with its feature `mock`. Use `MemoryBackend` in all
//! other tests, because it behaves like a real store.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "tests that are run as an example"
)]

use std::time::Duration;

use codex_kv::{Cache, CacheError, ErrorKind, Expiry, KvBackend, SetOutcome, Timeout};
use codex_testkit::doubles::{MockBackend, Verb};

/// Returns a price from the cache, or from the supplier, which is slow and expensive.
async fn price<B: KvBackend>(cache: &Cache<B>, sku: &str, ask_supplier: impl Fn() -> u64) -> Result<u64, CacheError> {
    if let Some(price) = cache.get(sku).await? {
        return Ok(price);
    }
    let price = ask_supplier();
    cache
        .set(sku, &price, Timeout::After(Duration::from_secs(3600)))
        .await?;
    Ok(price)
}

fn cache_on(backend: MockBackend) -> Cache<MockBackend> {
    let cache = Cache::builder(backend).key_prefix("shop").build();
    cache.expect("the settings are sound")
}

async fn a_hit_costs_one_request_and_no_supplier() {
    let mut backend = MockBackend::new();
    // Expects exactly one `get` of this key. Any other call would panic.
    backend.expect_hit("shop:1:tea", "350");

    let price = price(&cache_on(backend), "tea", || panic!("the supplier was asked")).await;
    assert_eq!(price.expect("the store answered"), 350);
    println!("a hit costs one request, and the supplier is not asked");
}

async fn a_price_is_kept_for_an_hour() {
    let mut backend = MockBackend::new();
    backend.expect_miss("shop:1:tea");
    // A write with an expiry has no short form, so this uses mockall's own form.
    let hour = Expiry::After(Duration::from_secs(3600));
    backend
        .expect_set()
        .withf(move |key, value, options| key == "shop:1:tea" && value == "350" && options.expiry == hour)
        .times(1)
        .returning(|_, _, _| Ok(SetOutcome::Written));

    let price = price(&cache_on(backend), "tea", || 350).await;
    assert_eq!(price.expect("the store answered"), 350);
    println!("the supplier's price is cached for an hour");
}

async fn a_broken_store_is_not_a_miss() {
    let mut backend = MockBackend::new();
    backend.expect_failure(Verb::Get, ErrorKind::Connection);
    // There is no `expect_write`, so a write would panic.

    let price = price(&cache_on(backend), "tea", || panic!("the supplier was asked")).await;
    let error = price.expect_err("a failure is passed on");
    assert!(matches!(error, CacheError::Backend(error) if error.kind() == ErrorKind::Connection));
    println!("a broken store is an error: the supplier is not flooded, and nothing is written");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    a_hit_costs_one_request_and_no_supplier().await;
    a_price_is_kept_for_an_hour().await;
    a_broken_store_is_not_a_miss().await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_expectations_hold() {
        super::main();
    }
}
