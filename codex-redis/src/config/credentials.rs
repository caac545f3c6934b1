//! The user and the password of a login.

use std::{error::Error as StdError, fmt, future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

/// A user name and a password for one login, as a
/// [credentials provider](crate::RedisBuilder::credentials) returns them.
///
/// The password is wiped from memory when this is dropped, and never printed.
#[derive(Clone)]
pub struct Credentials {
    user: Option<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// Returns the credentials of a user of the server's ACL.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            password: Zeroizing::new(password.into()),
        }
    }

    /// Returns the credentials of the server's `default` user.
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            user: None,
            password: Zeroizing::new(password.into()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Zeroizing<String>,
}

impl Login {
    /// Returns whether user name and password are both empty, as from unset variables.
    pub(crate) fn is_empty(&self) -> bool {
        self.user.as_deref().unwrap_or_default().is_empty() && self.password.is_empty()
    }
}

impl From<Credentials> for Login {
    fn from(credentials: Credentials) -> Self {
        Self {
            user: credentials.user,
            password: credentials.password,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// The error of a provider.
pub(crate) type ProviderError = Box<dyn StdError + Send + Sync>;

type Provide = dyn Fn() -> BoxFuture<'static, Result<Credentials, ProviderError>> + Send + Sync;

/// The source of a login.
#[derive(Clone)]
pub(crate) enum LoginSource {
    Fixed(Login),
    Provider(Arc<Provide>),
}

impl LoginSource {
    pub(crate) fn provider<P, F>(provide: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Credentials, ProviderError>> + Send + 'static,
    {
        Self::Provider(Arc::new(move || Box::pin(provide())))
    }

    /// Returns the login for one dial.
    pub(crate) async fn login(&self) -> Result<Login, ProviderError> {
        match self {
            Self::Fixed(login) => Ok(login.clone()),
            Self::Provider(provide) => provide().await.map(Login::from),
        }
    }
}

impl fmt::Debug for LoginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed(..)",
            Self::Provider(_) => "Provider(..)",
        })
    }
}
