//! Implementations of the contract for pointers to a backend.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Capabilities, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};

macro_rules! forward {
    ($($generics:tt)*) => {
        #[deny(clippy::missing_trait_methods)]
        $($generics)* {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            async fn get(&self, key: &str) -> Result<Option<Bytes>> {
                (**self).get(key).await
            }

            async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
                (**self).set(key, value, options).await
            }

            async fn del(&self, keys: &[&str]) -> Result<u64> {
                (**self).del(keys).await
            }

            async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
                (**self).del_if_equals(key, expected).await
            }

            async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
                (**self).expire(key, expiry).await
            }

            async fn ttl(&self, key: &str) -> Result<Ttl> {
                (**self).ttl(key).await
            }

            async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
                (**self).scan(request).await
            }

            async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
                (**self).get_many(keys).await
            }

            async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
                (**self).set_many(entries, expiry).await
            }

            async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
                (**self).incr(key, delta, on_missing).await
            }

            async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
                (**self).del_matching(pattern).await
            }

            async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
                (**self).get_with_ttl(key).await
            }

            async fn health(&self) -> Result<()> {
                (**self).health().await
            }
        }
    };
}

forward!(impl<B: KvBackend + ?Sized> KvBackend for Arc<B>);
forward!(impl<B: KvBackend + ?Sized> KvBackend for &'static B);
