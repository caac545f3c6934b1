//! The errors of a cache.

use std::{borrow::Cow, convert::Infallible, sync::Arc};

use crate::CodecError;

/// The error of a cache call.
///
/// A miss is an error only for verbs that need an existing value. No error shows a key or a value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The verb needs an existing value ([`incr`](crate::Cache::incr),
    /// [`incr_version`](crate::Cache::incr_version)), and the key is missing.
    #[error("the key is not in the cache")]
    NotFound,
    /// The cache's format cannot represent a value, or a stored value cannot be read as the
    /// requested type. Nothing was changed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The backend failed. There is no silent fallback: an outage is never a miss.
    #[error(transparent)]
    Backend(#[from] codex_traits::Error),
    /// The arguments are invalid. The message says what was expected.
    #[error("{0}")]
    InvalidArgument(Cow<'static, str>),
    /// A computation ended without a result; see [`ComputeError::Aborted`].
    #[error("the computation ended without a result: it panicked, or its runtime was shut down")]
    Aborted,
}

impl CacheError {
    pub(super) fn invalid(message: &'static str) -> Self {
        Self::InvalidArgument(message.into())
    }
}

/// The error of [`get_or_try_set_with`](crate::Cache::get_or_try_set_with) and of loaders.
///
/// The errors are shared, because every task that waited for the computation gets them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError<E> {
    /// The cache failed, either before the closure was called or when its value was stored.
    #[error("the cache failed")]
    Cache(#[source] Arc<CacheError>),
    /// The closure failed. Nothing was stored.
    #[error("the value could not be computed")]
    Compute(#[source] Arc<E>),
    /// The computation ended without a result: the closure panicked, or its runtime was shut down.
    #[error("the computation ended without a result: it panicked, or its runtime was shut down")]
    Aborted,
}

// Implemented by hand because `derive` would require `E: Clone`.
impl<E> Clone for ComputeError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Cache(error) => Self::Cache(Arc::clone(error)),
            Self::Compute(error) => Self::Compute(Arc::clone(error)),
            Self::Aborted => Self::Aborted,
        }
    }
}

impl<E> From<CacheError> for ComputeError<E> {
    fn from(error: CacheError) -> Self {
        Self::Cache(Arc::new(error))
    }
}

/// Lets `?` work in a function that returns [`CacheError`] if the closure cannot fail.
impl From<ComputeError<Infallible>> for CacheError {
    fn from(error: ComputeError<Infallible>) -> Self {
        match error {
            ComputeError::Cache(error) => Arc::unwrap_or_clone(error),
            ComputeError::Compute(never) => match *never {},
            ComputeError::Aborted => Self::Aborted,
        }
    }
}
