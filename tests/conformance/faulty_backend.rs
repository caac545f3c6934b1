//! The memory backend, with or without a fault, and a switch that takes it out of service.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use codex_kv::{
    Capabilities, Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
    memory::{ManualClock, MemoryBackend},
    testkit::{Breaker, Harness, Outage, OutageKind, Time, VirtualTime},
};
use futures_util::future::BoxFuture;

/// The fault of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SET NX is a get followed by a set.
    NxInTwoSteps,
    /// A refused SET NX gives the key the new time to live.
    RefusedNxRefreshes,
    /// `IfEquals` always writes to an existing key.
    IfEqualsComparesNothing,
    /// `IfEquals` writes to a missing key.
    IfEqualsCreates,
    /// `del_if_equals` removes any value.
    DelIfEqualsComparesNothing,
    /// `expire` reports success and does nothing.
    ExpireIsDropped,
    /// `expire(Never)` returns `false` if the key had no time to live, like Redis's PERSIST.
    PersistSaysFalse,
    /// A set drops the time to live.
    SetDropsTheExpiry,
    /// A set keeps the previous time to live.
    SetKeepsTheTtl,
    /// `set_many` drops the time to live.
    SetManyDropsTheExpiry,
    /// `del` counts missing keys.
    DelCountsMisses,
    /// `get_many` omits misses, so that values are assigned to other keys.
    GetManyDropsMisses,
    /// `get_many` returns no value for its last key.
    GetManyCutsTheLast,
    /// `get_with_ttl` reports no time to live.
    GetWithTtlSaysPersistent,
    /// `incr` clears the time to live.
    IncrClearsTheTtl,
    /// `incr` starts at zero although it should refuse.
    IncrCreates,
    /// An overflow wraps.
    IncrWraps,
    /// A pattern from a prefix is a glob.
    PrefixIsAGlob,
    /// Values are text.
    LossyText,
    /// An empty value is a miss.
    EmptyIsAMiss,
    /// Keys are folded to lower case.
    KeysAreFolded,
    /// An expired key still exists.
    NothingExpires,
    /// A failed read counts as a miss.
    OutageIsAMiss,
}

/// A backend with a fault or without one.
#[derive(Debug, Clone)]
pub(crate) struct FaultyBackend {
    inner: MemoryBackend,
    fault: Option<Fault>,
    is_down: Arc<AtomicBool>,
}

impl FaultyBackend {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Checks whether the backend is in service. `miss` is the reply of a backend that treats
    /// outages as misses.
    fn ask<T>(&self, operation: &'static str, miss: T) -> std::result::Result<(), Result<T>> {
        if !self.is_down.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(if self.has(Fault::OutageIsAMiss) {
            Ok(miss)
        } else {
            Err(Error::new(ErrorKind::Connection, operation, "the store is down"))
        })
    }

    fn key(&self, key: &str) -> String {
        if self.has(Fault::KeysAreFolded) {
            key.to_lowercase()
        } else {
            key.to_owned()
        }
    }

    fn value(&self, value: Bytes) -> Option<Bytes> {
        if self.has(Fault::EmptyIsAMiss) && value.is_empty() {
            return None;
        }
        Some(value)
    }

    async fn expiry_of(&self, key: &str) -> Result<Expiry> {
        Ok(match self.inner.ttl(key).await? {
            Ttl::Remaining(left) => Expiry::After(left),
            _ => Expiry::Never,
        })
    }
}

/// Returns early from a verb during an outage.
macro_rules! ask {
    ($self:ident, $operation:literal, $miss:expr) => {
        if let Err(answer) = $self.ask($operation, $miss) {
            return answer;
        }
    };
}

impl KvBackend for FaultyBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        ask!(self, "get", None);
        let value = self.inner.get(&self.key(key)).await?;
        Ok(value.and_then(|value| self.value(value)))
    }

    async fn set(&self, key: &str, value: Bytes, mut options: SetOptions) -> Result<SetOutcome> {
        ask!(self, "set", SetOutcome::Refused);
        let key = &*self.key(key);
        let value = if self.has(Fault::LossyText) {
            String::from_utf8_lossy(&value).into_owned().into()
        } else {
            value
        };
        if self.has(Fault::SetDropsTheExpiry) || self.has(Fault::NothingExpires) {
            options.expiry = Expiry::Never;
        }
        if self.has(Fault::SetKeepsTheTtl) && options.expiry == Expiry::Never {
            options.expiry = Expiry::Keep;
        }
        match &options.condition {
            Condition::IfAbsent if self.has(Fault::NxInTwoSteps) => {
                if self.inner.get(key).await?.is_some() {
                    return Ok(SetOutcome::Refused);
                }
                tokio::task::yield_now().await;
                options.condition = Condition::Always;
            }
            Condition::IfAbsent if self.has(Fault::RefusedNxRefreshes) => {
                let _ = self.inner.expire(key, options.expiry).await?;
            }
            Condition::IfEquals(_) if self.has(Fault::IfEqualsComparesNothing) => {
                options.condition = Condition::IfPresent;
            }
            Condition::IfEquals(_) if self.has(Fault::IfEqualsCreates) && self.inner.get(key).await?.is_none() => {
                options.condition = Condition::Always;
            }
            _ => {}
        }
        self.inner.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        ask!(self, "del", 0);
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let count = self.inner.del(&keys).await?;
        Ok(if self.has(Fault::DelCountsMisses) {
            keys.len() as u64
        } else {
            count
        })
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        ask!(self, "del_if_equals", false);
        if self.has(Fault::DelIfEqualsComparesNothing) {
            return Ok(self.inner.del(&[key]).await? > 0);
        }
        self.inner.del_if_equals(&self.key(key), expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        ask!(self, "expire", false);
        let key = &*self.key(key);
        if self.has(Fault::ExpireIsDropped) {
            return Ok(self.inner.ttl(key).await? != Ttl::Missing);
        }
        if self.has(Fault::PersistSaysFalse) && expiry == Expiry::Never && self.inner.ttl(key).await? == Ttl::Persistent
        {
            return Ok(false);
        }
        self.inner.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        ask!(self, "ttl", Ttl::Missing);
        self.inner.ttl(&self.key(key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        ask!(self, "scan", ScanPage::default());
        if self.has(Fault::PrefixIsAGlob) {
            let glob = String::from_utf8_lossy(request.pattern.as_bytes()).replace('\\', "");
            let pattern = Pattern::glob(glob);
            return self
                .inner
                .scan(
                    ScanRequest::new(&pattern)
                        .with_cursor(request.cursor)
                        .with_count_hint(request.count_hint),
                )
                .await;
        }
        self.inner.scan(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        ask!(self, "get_many", vec![None; keys.len()]);
        let mut values = Vec::new();
        for key in keys {
            values.push(self.get(key).await?);
        }
        if self.has(Fault::GetManyDropsMisses) {
            values.retain(Option::is_some);
            values.resize(keys.len(), None);
        }
        if self.has(Fault::GetManyCutsTheLast)
            && let Some(last) = values.last_mut()
        {
            *last = None;
        }
        Ok(values)
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        ask!(self, "get_with_ttl", None);
        let key = self.key(key);
        let found = self.inner.get_with_ttl(&key).await?;
        Ok(found.map(|(value, ttl)| {
            let ttl = if self.has(Fault::GetWithTtlSaysPersistent) {
                Ttl::Persistent
            } else {
                ttl
            };
            (value, ttl)
        }))
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        ask!(self, "set_many", ());
        let expiry = if self.has(Fault::SetManyDropsTheExpiry) {
            Expiry::Never
        } else {
            expiry
        };
        self.inner.set_many(entries, expiry).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        ask!(self, "incr", None);
        let on_missing = if self.has(Fault::IncrCreates) {
            OnMissing::Create(Expiry::Never)
        } else {
            on_missing
        };
        let sum = self.inner.incr(key, delta, on_missing).await;
        if sum.is_ok() && self.has(Fault::IncrClearsTheTtl) {
            let _ = self.inner.expire(key, Expiry::Never).await?;
        }
        if sum.is_err() && self.has(Fault::IncrWraps) {
            let expiry = self.expiry_of(key).await?;
            let options = SetOptions::new().with_expiry(expiry);
            let _ = self.inner.set(key, i64::MIN.to_string().into(), options).await?;
            return Ok(Some(i64::MIN));
        }
        sum
    }
}

/// A harness of faulty backends under virtual time.
pub(crate) struct FaultyBackendHarness {
    clock: ManualClock,
    fault: Option<Fault>,
    is_down: Arc<AtomicBool>,
    can_be_down: bool,
}

impl FaultyBackendHarness {
    fn new(fault: Option<Fault>) -> Self {
        Self {
            clock: ManualClock::new(),
            fault,
            is_down: Arc::default(),
            can_be_down: true,
        }
    }

    pub(crate) fn sound() -> Self {
        Self::new(None)
    }

    pub(crate) fn with(fault: Fault) -> Self {
        Self::new(Some(fault))
    }

    pub(crate) fn never_down() -> Self {
        Self {
            can_be_down: false,
            ..Self::sound()
        }
    }
}

impl Harness for FaultyBackendHarness {
    type Backend = FaultyBackend;

    async fn fresh(&self) -> FaultyBackend {
        FaultyBackend {
            inner: MemoryBackend::with_clock(self.clock.clone()),
            fault: self.fault,
            is_down: self.is_down.clone(),
        }
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    async fn outage(&self) -> Option<Outage> {
        self.can_be_down.then(|| Outage::new(Switch(self.is_down.clone())))
    }
}

struct Switch(Arc<AtomicBool>);

impl Breaker for Switch {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![OutageKind::Refused]
    }

    fn begin(&self, _: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async { self.0.store(true, Ordering::SeqCst) })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.0.store(false, Ordering::SeqCst) })
    }
}
