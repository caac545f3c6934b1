//! An async type together with its blocking counterpart.

use std::{fmt, ops::Deref};

/// An async cache or session store, together with the blocking type that shares its state if calls
/// go through the blocking type. Verbs that the blocking type does not offer go through the async
/// type.
#[derive(Clone)]
pub(crate) struct Paired<A, K> {
    pub(super) blocking: Option<K>,
    pub(super) rest: A,
}

impl<A, K> Paired<A, K> {
    pub(super) fn of_async(rest: A) -> Self {
        Self { blocking: None, rest }
    }

    pub(super) fn of_blocking(blocking: K) -> Self
    where
        A: From<K>,
        K: Clone,
    {
        Self {
            rest: blocking.clone().into(),
            blocking: Some(blocking),
        }
    }
}

impl<A, K> Deref for Paired<A, K> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.rest
    }
}

impl<A: fmt::Debug, K> fmt::Debug for Paired<A, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rest.fmt(f)
    }
}

/// The builder of a [`Paired`].
pub(crate) enum EitherBuilder<A, K> {
    Async(A),
    Blocking(K),
}

/// Defines the settings that both builders have.
macro_rules! settings {
    ($($name:ident($argument:ident: $type:ty);)*) => {$(
        pub(crate) fn $name(self, $argument: $type) -> Self {
            match self {
                Self::Async(builder) => Self::Async(builder.$name($argument)),
                Self::Blocking(builder) => Self::Blocking(builder.$name($argument)),
            }
        }
    )*};
}
pub(super) use settings;
