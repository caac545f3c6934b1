//! Backends with a lease on the place that holds their keys.

use std::{fmt, future::Future, sync::Arc};

use codex_traits::Result;

use super::Database;
use crate::{
    doubles::{Intercepted, Interceptor, Reply, Request},
    secret_audit,
};

/// A backend with a lease on the place that holds its keys: a [`Database`], a cluster, or a server.
/// The lease ends when the last handle is dropped.
pub type Leased<B, P = Database> = Intercepted<B, Lease<P>>;

/// The lease of a [`Leased`] backend. It records keys, values and errors for the
/// [`secret_audit`](crate::secret_audit).
#[derive(Debug)]
pub struct Lease<P>(Arc<P>);

// A derived `Clone` would require `P: Clone`.
impl<P> Clone for Lease<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B, P> Intercepted<B, Lease<P>> {
    /// Combines `backend` with the `place` that holds its keys.
    pub fn new(backend: B, place: P) -> Self {
        Self::with_interceptor(backend, Lease(Arc::new(place)))
    }

    /// Returns the place, for operations that a backend does not offer.
    pub fn place(&self) -> &P {
        &self.interceptor.0
    }
}

impl<P: fmt::Debug + Send + Sync + 'static> Interceptor for Lease<P> {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        secret_audit::request(&request);
        let result = call.await;
        if let Err(error) = &result {
            secret_audit::error(error);
        }
        result
    }
}
