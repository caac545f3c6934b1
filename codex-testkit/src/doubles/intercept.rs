//! A wrapper for every double that observes or changes the calls of a backend.

use std::{fmt, future::Future};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Condition, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};

use super::{Answer, Verb};

/// A backend of type `B` with an [`Interceptor`] around each call.
///
/// [`FaultyBackend`](super::FaultyBackend) and [`RecordingBackend`](super::RecordingBackend) are
/// built on it. Use it for your own doubles:
///
/// ```
/// use std::{future::Future, sync::atomic::{AtomicUsize, Ordering::Relaxed}};
///
/// use codex_memory::MemoryBackend;
/// use codex_testkit::doubles::{Intercepted, Interceptor, Reply, Request, Verb};
/// use codex_traits::{KvBackend, Result};
///
/// /// Counts reads.
/// #[derive(Debug, Default)]
/// struct Reads(AtomicUsize);
///
/// impl Interceptor for Reads {
///     async fn around<T: Reply>(
///         &self,
///         request: Request<'_>,
///         call: impl Future<Output = Result<T>> + Send,
///     ) -> Result<T> {
///         if matches!(request.verb(), Verb::Get | Verb::GetMany) {
///             self.0.fetch_add(1, Relaxed);
///         }
///         call.await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = Intercepted::with_interceptor(MemoryBackend::new(), Reads::default());
/// backend.get("k").await?;
/// backend.del(&["k"]).await?;
/// assert_eq!(backend.interceptor().0.load(Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Intercepted<B, I> {
    pub(crate) inner: B,
    pub(crate) interceptor: I,
}

/// Code around each call of an [`Intercepted`] backend.
pub trait Interceptor: fmt::Debug + Send + Sync + 'static {
    /// Makes `call`, or does something else instead.
    ///
    /// `call` has not begun. If the interceptor drops it, the backend never sees the call. The
    /// caller may drop the returned future at any time, which drops `call` too.
    fn around<T: Reply>(
        &self,
        request: Request<'_>,
        call: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

/// A call with its arguments.
///
/// It holds keys and values, so it does not implement `Debug`.
#[derive(Clone)]
#[non_exhaustive]
#[expect(missing_debug_implementations, reason = "keys and values are not printed")]
pub enum Request<'a> {
    /// [`KvBackend::get`]
    Get {
        /// The key.
        key: &'a str,
    },
    /// [`KvBackend::set`]
    Set {
        /// The key.
        key: &'a str,
        /// The value.
        value: Bytes,
        /// Condition and expiry.
        options: SetOptions,
    },
    /// [`KvBackend::del`]
    Del {
        /// The keys.
        keys: &'a [&'a str],
    },
    /// [`KvBackend::del_if_equals`]
    DelIfEquals {
        /// The key.
        key: &'a str,
        /// The value that the key must hold.
        expected: &'a [u8],
    },
    /// [`KvBackend::expire`]
    Expire {
        /// The key.
        key: &'a str,
        /// The new expiry.
        expiry: Expiry,
    },
    /// [`KvBackend::ttl`]
    Ttl {
        /// The key.
        key: &'a str,
    },
    /// [`KvBackend::scan`]
    Scan(ScanRequest<'a>),
    /// [`KvBackend::get_many`]
    GetMany {
        /// The keys.
        keys: &'a [&'a str],
    },
    /// [`KvBackend::set_many`]
    SetMany {
        /// Keys and values.
        entries: &'a [(&'a str, Bytes)],
        /// The expiry of all entries.
        expiry: Expiry,
    },
    /// [`KvBackend::incr`]
    Incr {
        /// The key.
        key: &'a str,
        /// The number that is added.
        delta: i64,
        /// The behaviour if the key is missing.
        on_missing: OnMissing,
    },
    /// [`KvBackend::del_matching`]
    DelMatching {
        /// The pattern.
        pattern: &'a Pattern,
    },
    /// [`KvBackend::get_with_ttl`]
    GetWithTtl {
        /// The key.
        key: &'a str,
    },
    /// [`KvBackend::health`]
    Health,
}

impl<'a> Request<'a> {
    /// Returns the verb of the call.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Get { .. } => Verb::Get,
            Self::Set { .. } => Verb::Set,
            Self::Del { .. } => Verb::Del,
            Self::DelIfEquals { .. } => Verb::DelIfEquals,
            Self::Expire { .. } => Verb::Expire,
            Self::Ttl { .. } => Verb::Ttl,
            Self::Scan(_) => Verb::Scan,
            Self::GetMany { .. } => Verb::GetMany,
            Self::SetMany { .. } => Verb::SetMany,
            Self::Incr { .. } => Verb::Incr,
            Self::DelMatching { .. } => Verb::DelMatching,
            Self::GetWithTtl { .. } => Verb::GetWithTtl,
            Self::Health => Verb::Health,
        }
    }

    /// Returns the keys of the call in order. `scan`, `del_matching` and `health` have no keys.
    pub fn keys(&self) -> Vec<&'a str> {
        match self {
            Self::Get { key }
            | Self::Set { key, .. }
            | Self::DelIfEquals { key, .. }
            | Self::Expire { key, .. }
            | Self::Ttl { key }
            | Self::GetWithTtl { key }
            | Self::Incr { key, .. } => vec![key],
            Self::Del { keys } | Self::GetMany { keys } => keys.to_vec(),
            Self::SetMany { entries, .. } => entries.iter().map(|(key, _)| *key).collect(),
            Self::Scan(_) | Self::DelMatching { .. } | Self::Health => Vec::new(),
        }
    }

    /// Returns the values of the call: the values to write, and then the value to compare with.
    pub fn values(&self) -> Vec<&[u8]> {
        match self {
            Self::Set { value, options, .. } => match &options.condition {
                Condition::IfEquals(expected) => vec![value, expected],
                _ => vec![value],
            },
            Self::DelIfEquals { expected, .. } => vec![expected],
            Self::SetMany { entries, .. } => entries.iter().map(|(_, value)| &value[..]).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the pattern of `scan` and `del_matching`.
    pub fn pattern(&self) -> Option<&'a Pattern> {
        match self {
            Self::Scan(request) => Some(request.pattern),
            Self::DelMatching { pattern } => Some(pattern),
            _ => None,
        }
    }

    /// Returns the expiry that the call sets. For `incr`, this is the expiry of a key that it
    /// creates.
    pub fn expiry(&self) -> Option<Expiry> {
        match self {
            Self::Set { options, .. } => Some(options.expiry),
            Self::Expire { expiry, .. }
            | Self::SetMany { expiry, .. }
            | Self::Incr {
                on_missing: OnMissing::Create(expiry),
                ..
            } => Some(*expiry),
            _ => None,
        }
    }
}

/// The answer of a verb.
///
/// Implemented only for the answers of [`KvBackend`].
pub trait Reply: Send + sealed::Sealed + 'static {
    /// Describes the answer without its values.
    fn summary(&self) -> Answer;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! replies {
    ($($reply:ty: |$value:ident| $summary:expr;)*) => {$(
        impl sealed::Sealed for $reply {}

        impl Reply for $reply {
            fn summary(&self) -> Answer {
                let $value = self;
                $summary
            }
        }
    )*};
}

replies! {
    Option<Bytes>: |value| Answer::Values(vec![value.as_ref().map(Bytes::len)]);
    Vec<Option<Bytes>>: |values| Answer::Values(values.iter().map(|value| value.as_ref().map(Bytes::len)).collect());
    SetOutcome: |outcome| Answer::Set(*outcome);
    u64: |count| Answer::Count(*count);
    bool: |flag| Answer::Flag(*flag);
    Ttl: |ttl| Answer::Ttl(*ttl);
    // The sum is a value, so only its presence is kept.
    Option<i64>: |sum| Answer::Flag(sum.is_some());
    (): |_done| Answer::Done;
    Option<(Bytes, Ttl)>: |found| Answer::ValueWithTtl(found.as_ref().map(|(value, ttl)| (value.len(), *ttl)));
    ScanPage: |page| Answer::Page { keys: page.keys.len(), last: page.next.is_none() };
}

impl<B, I> Intercepted<B, I> {
    /// Puts `interceptor` around each call of `inner`.
    pub fn with_interceptor(inner: B, interceptor: I) -> Self {
        Self { inner, interceptor }
    }

    /// Returns the wrapped backend. Calls on it are not intercepted.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the backend and drops the interceptor.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Returns the interceptor.
    pub fn interceptor(&self) -> &I {
        &self.interceptor
    }
}

impl<B: fmt::Debug, I: fmt::Debug> fmt::Debug for Intercepted<B, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercepted")
            .field("inner", &self.inner)
            .field("interceptor", &self.interceptor)
            .finish()
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a provided method would bypass the backend's own"
)]
impl<B: KvBackend, I: Interceptor> KvBackend for Intercepted<B, I> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.interceptor.around(Request::Get { key }, self.inner.get(key)).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let request = Request::Set {
            key,
            value: value.clone(),
            options: options.clone(),
        };
        self.interceptor
            .around(request, self.inner.set(key, value, options))
            .await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.interceptor
            .around(Request::Del { keys }, self.inner.del(keys))
            .await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let call = self.inner.del_if_equals(key, expected);
        self.interceptor
            .around(Request::DelIfEquals { key, expected }, call)
            .await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let call = self.inner.expire(key, expiry);
        self.interceptor.around(Request::Expire { key, expiry }, call).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.interceptor.around(Request::Ttl { key }, self.inner.ttl(key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let call = self.inner.scan(request.clone());
        self.interceptor.around(Request::Scan(request), call).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.interceptor
            .around(Request::GetMany { keys }, self.inner.get_many(keys))
            .await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let call = self.inner.set_many(entries, expiry);
        self.interceptor
            .around(Request::SetMany { entries, expiry }, call)
            .await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let request = Request::Incr { key, delta, on_missing };
        self.interceptor
            .around(request, self.inner.incr(key, delta, on_missing))
            .await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        let call = self.inner.del_matching(pattern);
        self.interceptor.around(Request::DelMatching { pattern }, call).await
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let call = self.inner.get_with_ttl(key);
        self.interceptor.around(Request::GetWithTtl { key }, call).await
    }

    async fn health(&self) -> Result<()> {
        self.interceptor.around(Request::Health, self.inner.health()).await
    }
}
