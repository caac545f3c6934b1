//! What can be said of any backend without asking more of it.

use std::future::Future;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;

use crate::{Expiry, KvBackend, Pattern, Result, ScanRequest, SetOptions, SetOutcome, Ttl};

/// Conveniences on every [`KvBackend`].
pub trait KvBackendExt: KvBackend {
    /// Whether the key is there. One request; the value is not sent.
    ///
    /// # Errors
    ///
    /// Whatever [`ttl`](KvBackend::ttl) fails with.
    fn exists(&self, key: &str) -> impl Future<Output = Result<bool>> + Send {
        async move { Ok(self.ttl(key).await? != Ttl::Missing) }
    }

    /// Every key that matches, page by page. Duplicates are possible. The first error ends the stream.
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

    /// Writes only where the key is missing: SET NX with an expiry.
    ///
    /// # Errors
    ///
    /// Whatever [`set`](KvBackend::set) fails with.
    fn set_if_absent(
        &self,
        key: &str,
        value: Bytes,
        expiry: Expiry,
    ) -> impl Future<Output = Result<SetOutcome>> + Send {
        self.set(key, value, SetOptions::if_absent().with_expiry(expiry))
    }
}

impl<B: KvBackend + ?Sized> KvBackendExt for B {}
