//! Convenience methods for every backend.

use std::future::Future;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;

use crate::{AnyBackend, Expiry, KvBackend, Pattern, Result, ScanRequest, SetOptions, SetOutcome, Ttl};

/// Convenience methods for every [`KvBackend`].
pub trait KvBackendExt: KvBackend {
    /// Returns whether the key exists, in one request that does not transfer the value.
    ///
    /// # Errors
    ///
    /// The same errors as [`ttl`](KvBackend::ttl).
    fn exists(&self, key: &str) -> impl Future<Output = Result<bool>> + Send {
        async move { Ok(self.ttl(key).await? != Ttl::Missing) }
    }

    /// Returns a stream of every key that matches. It requests one page after another, and keys can
    /// repeat. The first error ends the stream.
    fn scan_all<'a>(&'a self, pattern: &'a Pattern) -> impl Stream<Item = Result<String>> + Send + 'a {
        let first = Some(ScanRequest::new(pattern));
        let pages = stream::try_unfold(first, move |request| async move {
            let Some(request) = request else {
                return Ok(None);
            };
            let page = self.scan(request).await?;
            let next = page.next.map(|cursor| ScanRequest::new(pattern).with_cursor(cursor));
            let keys = stream::iter(page.keys.into_iter().map(Ok));
            Ok::<_, crate::Error>(Some((keys, next)))
        });
        stream::TryStreamExt::try_flatten(pages)
    }

    /// Writes `value` if the key is missing: SET NX with an expiry.
    ///
    /// # Errors
    ///
    /// The same errors as [`set`](KvBackend::set).
    fn set_if_absent(
        &self,
        key: &str,
        value: Bytes,
        expiry: Expiry,
    ) -> impl Future<Output = Result<SetOutcome>> + Send {
        self.set(key, value, SetOptions::if_absent().with_expiry(expiry))
    }

    /// Erases the type of this backend.
    fn into_any(self) -> AnyBackend
    where
        Self: Sized,
    {
        AnyBackend::new(self)
    }
}

impl<B: KvBackend + ?Sized> KvBackendExt for B {}
