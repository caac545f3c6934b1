//! Every call of a clause, kept before it is made.

use bytes::Bytes;
use codex_traits::{
    Capabilities, Condition, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};

use super::Store;
use crate::Op;

fn bytes_of(keys: &[&str]) -> usize {
    keys.iter().map(|key| key.len() + 1).sum()
}

#[deny(clippy::missing_trait_methods, reason = "what is tested is the backend's own verbs")]
impl<B: KvBackend> KvBackend for Store<B> {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.trace.note(key.len(), || Op::get(key));
        self.backend.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let expected = match &options.condition {
            Condition::IfEquals(expected) => expected.len(),
            _ => 0,
        };
        self.trace.note(key.len() + value.len() + expected, || {
            Op::set(key, &value, options.clone())
        });
        self.backend.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.trace.note(bytes_of(keys), || Op::del(keys));
        self.backend.del(keys).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.trace
            .note(key.len() + expected.len(), || Op::del_if_equals(key, expected));
        self.backend.del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.trace.note(key.len(), || Op::expire(key, expiry));
        self.backend.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.trace.note(key.len(), || Op::ttl(key));
        self.backend.ttl(key).await
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        // Shown as the two calls that it stands for.
        self.trace.note(key.len(), || Op::get(key));
        self.trace.note(key.len(), || Op::ttl(key));
        self.backend.get_with_ttl(key).await
    }

    async fn health(&self) -> Result<()> {
        self.backend.health().await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        // The first page stands for the whole walk.
        if request.cursor.is_start() {
            let pattern = request.pattern;
            self.trace.note(pattern.as_bytes().len(), || {
                Op::scan(pattern.clone(), request.count_hint)
            });
        }
        self.backend.scan(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.trace.note(bytes_of(keys), || Op::get_many(keys));
        self.backend.get_many(keys).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len() + 1).sum();
        self.trace.note(bytes, || {
            let borrowed: Vec<(&str, &[u8])> = entries.iter().map(|(key, value)| (*key, &value[..])).collect();
            Op::set_many(&borrowed, expiry)
        });
        self.backend.set_many(entries, expiry).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.trace.note(key.len(), || Op::incr(key, delta, on_missing));
        self.backend.incr(key, delta, on_missing).await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.trace
            .note(pattern.as_bytes().len(), || Op::del_matching(pattern.clone()));
        self.backend.del_matching(pattern).await
    }
}
