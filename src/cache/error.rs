//! The errors of a cache.

use std::{borrow::Cow, convert::Infallible, sync::Arc};

use crate::CodecError;

/// Why a cache call failed.
///
/// A miss is never an error, but for the verbs that need a value to work on. No error shows a key
/// or a value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The verb works on a value that is there ([`incr`](crate::Cache::incr),
    /// [`incr_version`](crate::Cache::incr_version)), and there is none.
    #[error("the key is not in the cache")]
    NotFound,
    /// A value has no form in the cache's format, or a stored one cannot be read as the type asked
    /// for. Nothing was changed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The backend failed. There is no silent fallback: an outage is never a miss.
    #[error(transparent)]
    Backend(#[from] codex_traits::Error),
    /// The caller asked for what a cache cannot do; the message says what was expected.
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

/// Why [`get_or_try_set_with`](crate::Cache::get_or_try_set_with) gave no value.
///
/// The errors are shared, because every task that waited for the one computation gets them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError<E> {
    /// The cache failed, before the closure was called or when its value was to be stored.
    #[error("the cache failed")]
    Cache(#[source] Arc<CacheError>),
    /// The closure failed. Nothing was stored.
    #[error("the value could not be computed")]
    Compute(#[source] Arc<E>),
    /// The computation ended without a result: the closure panicked, or its runtime was shut down.
    #[error("the computation ended without a result: it panicked, or its runtime was shut down")]
    Aborted,
}

// By hand: a derived one would ask for `E: Clone`.
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

/// For a closure that cannot fail, so that `?` works in a function that returns [`CacheError`].
impl From<ComputeError<Infallible>> for CacheError {
    fn from(error: ComputeError<Infallible>) -> Self {
        match error {
            ComputeError::Cache(error) => Arc::unwrap_or_clone(error),
            ComputeError::Compute(never) => match *never {},
            ComputeError::Aborted => Self::Aborted,
        }
    }
}
