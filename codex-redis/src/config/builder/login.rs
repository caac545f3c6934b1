//! The login: user, password, and functions that return them.

use std::future::Future;

use zeroize::Zeroizing;

use super::RedisBuilder;
use crate::config::credentials::{Credentials, LoginSource};

impl RedisBuilder {
    /// Sets the user of the server's ACL. A user needs a [`password`](Self::password).
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password, without percent-encoding. It is wiped from memory when the handle is
    /// dropped. An empty password without a user name means no login.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Zeroizing::new(password.into()));
        self
    }

    /// Sets the user of the Sentinels' own ACL. A user needs a
    /// [`sentinel_password`](Self::sentinel_password).
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.sentinel_username = Some(username.into());
        self
    }

    /// Sets the password of the Sentinels. [`password`](Self::password) is the password of the
    /// servers that they watch.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(Zeroizing::new(password.into()));
        self
    }

    /// Asks `provider` for the user and the password at each login, so that rotating or expiring
    /// credentials keep working. It replaces [`username`](Self::username) and
    /// [`password`](Self::password).
    ///
    /// Each dial asks once, within its [`connect_timeout`](Self::connect_timeout), on the runtime
    /// that dials. An established connection stays logged in. An error of the provider fails the
    /// dial and is the source of the error that callers get, so its text must not contain a secret.
    ///
    /// ```no_run
    /// use codex_redis::{Credentials, RedisBackend};
    ///
    /// # async fn ask_the_vault() -> std::io::Result<String> { unimplemented!() }
    /// # async fn example() -> codex_traits::Result<()> {
    /// let backend = RedisBackend::builder()
    ///     .url("rediss://cache.internal")
    ///     .credentials(|| async { Ok(Credentials::new("app", ask_the_vault().await?)) })
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn credentials<P, F>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.credentials = Some(LoginSource::provider(provider));
        self
    }

    /// Asks `provider` at each login to a Sentinel. It replaces
    /// [`sentinel_username`](Self::sentinel_username) and
    /// [`sentinel_password`](Self::sentinel_password); see [`credentials`](Self::credentials).
    pub fn sentinel_credentials<P, F>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.sentinel_credentials = Some(LoginSource::provider(provider));
        self
    }
}
