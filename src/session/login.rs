//! Logins, under the names that Django uses, with protection against session fixation.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    time::Duration,
};

use codex_traits::KvBackend;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{
    SecretKey, Session, SessionCodec, SessionData, SessionError, SessionExpiry, SessionStore,
    login_record::{LOGIN, LoginRecord},
};

/// The names under which Django's `login` stores the user (`SESSION_KEY`, `BACKEND_SESSION_KEY`,
/// `HASH_SESSION_KEY` of `django.contrib.auth`).
pub(super) const USER: &str = "_auth_user_id";
const AUTH_BACKEND: &str = "_auth_user_backend";
const AUTH_HASH: &str = "_auth_user_hash";
/// The name under which a session stores the generation that its user had at the login. It is
/// absent if the user had no generation.
pub(super) const GENERATION: &str = "_codex_generation";

/// `key_salt` of `AbstractBaseUser._get_session_auth_hash`.
const AUTH_HASH_SALT: &[u8] = b"django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// The longest label, in bytes.
const LONGEST_LABEL: usize = 1_024;

/// A user to log in; the argument of [`SessionStore::login`].
///
/// ```
/// use codex_kv::session::Login;
///
/// let login = Login::new("42");
/// // For a user in Django's database, who is to be logged in there too: the primary key, the
/// // password column, and `SECRET_KEY`.
/// let secret_key = "the SECRET_KEY of Django's settings";
/// let login = Login::django("42", "pbkdf2_sha256$1000000$…", secret_key);
/// // With "remember me", and a name by which the user finds the session among the others.
/// let month = std::time::Duration::from_secs(30 * 86_400);
/// let login = login.remember_for(month).label("Firefox on Linux");
/// ```
#[derive(Clone)]
pub struct Login {
    user: String,
    django: Option<Django>,
    remember: Option<Duration>,
    label: Option<String>,
}

#[derive(Clone)]
struct Django {
    auth_backend: String,
    auth_hash: String,
}

impl Login {
    /// Returns a login of the user with this id, for this program only. Django sees a session
    /// without a user.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            django: None,
            remember: None,
            label: None,
        }
    }

    /// Returns a login of the user with this primary key that Django accepts too. `password` is the
    /// content of the user's password column, an encoded hash. Django ends the session when the
    /// user changes the password. `secret` is Django's `SECRET_KEY`.
    ///
    /// The hash that ties the session to the password is the result of
    /// `AbstractBaseUser.get_session_auth_hash` in Django 3.1 to 6.1.
    pub fn django(user: impl Into<String>, password: &str, secret: impl Into<SecretKey>) -> Self {
        let key = Sha256::new().chain_update(AUTH_HASH_SALT);
        let key = key.chain_update(secret.into().as_bytes()).finalize();
        let mut auth_hash = String::with_capacity(64);
        if let Ok(hmac) = Hmac::<Sha256>::new_from_slice(&key) {
            for byte in hmac.chain_update(password).finalize().into_bytes() {
                // Writing to a `String` cannot fail.
                let _ = write!(auth_hash, "{byte:02x}");
            }
        }
        Self {
            django: Some(Django {
                auth_backend: "django.contrib.auth.backends.ModelBackend".to_owned(),
                auth_hash,
            }),
            ..Self::new(user)
        }
    }

    /// Remembers this login for `duration` from now, in whole seconds. Its cookie survives the end
    /// of the browser. For this login, `duration` replaces the store's
    /// [`idle_timeout`](super::SessionStoreBuilder::idle_timeout),
    /// [`absolute_timeout`](super::SessionStoreBuilder::absolute_timeout) and
    /// [`browser_session`](super::SessionStoreBuilder::browser_session).
    #[must_use]
    pub fn remember_for(mut self, duration: Duration) -> Self {
        self.remember = Some(duration);
        self
    }

    /// Sets the label of the session in the list of the user's [sessions](SessionStore::sessions),
    /// for example the browser or the `sid` of an OIDC provider. The label has at most 1,024 bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the authentication backend from which Django gets the user. The default is
    /// `django.contrib.auth.backends.ModelBackend`. Django's `AUTHENTICATION_BACKENDS` must contain
    /// it. The setting has no effect on a login from [`new`](Self::new).
    #[must_use]
    pub fn auth_backend(mut self, path: impl Into<String>) -> Self {
        if let Some(django) = &mut self.django {
            django.auth_backend = path.into();
        }
        self
    }

    /// Returns the record of this login for the session.
    fn record(&self, session: &Session) -> Result<LoginRecord, SessionError> {
        check_user(&self.user)?;
        if self.label.as_ref().is_some_and(|label| label.len() > LONGEST_LABEL) {
            return Err(SessionError::InvalidArgument(
                "the label of a login must not be longer than 1,024 bytes",
            ));
        }
        let remember = self
            .remember
            .map(|remember| session.whole_seconds(remember))
            .transpose()?;
        if remember.is_some_and(|remember| remember.is_zero()) {
            return Err(SessionError::InvalidArgument(
                "a login must be remembered for longer than zero; leave `remember_for` out otherwise",
            ));
        }
        LoginRecord::new(session.now(), remember, self.label.clone())
    }

    fn is_another_than(&self, session: &SessionData) -> bool {
        let Some(user) = user_of(session) else {
            return false;
        };
        let hash_differs =
            |django: &Django| session.get::<String>(AUTH_HASH).ok().flatten() != Some(django.auth_hash.clone());
        user != self.user || self.django.as_ref().is_some_and(hash_differs)
    }
}

// Shows no fields: anyone with the hash and the secret could forge a login.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Session {
    /// Returns the user who is logged in, by Django's `login` or by [`SessionStore::login`].
    ///
    /// Django also compares the session with the user's password hash, which only its database
    /// holds. After a change of password in Django, the session is still a login here until
    /// [`SessionStore::revoke_all`].
    pub fn user(&self) -> Option<String> {
        user_of(self.data()).map(Cow::into_owned)
    }

    /// Returns the opaque id of this login in the list of [`SessionStore::sessions`]. The id stays
    /// the same when the key changes. Returns `None` for a session without a login by
    /// [`SessionStore::login`].
    pub fn login_id(&self) -> Option<String> {
        LoginRecord::of(self.data()).map(|login| login.id)
    }
}

/// Returns an error if the id is empty. With an empty key prefix too, the user's generation would
/// be stored under a key that a cookie can name.
pub(super) fn check_user(user: &str) -> Result<(), SessionError> {
    if user.is_empty() {
        return Err(SessionError::InvalidArgument(
            "the id of a user must not be empty; pass the id under which the program keeps the user",
        ));
    }
    Ok(())
}

/// Returns the user's id as text. Django stores text; another program may store a number.
pub(super) fn user_of(data: &SessionData) -> Option<Cow<'_, str>> {
    let json = data.get_json(USER).filter(|json| *json != "null")?;
    Some(match serde_json::from_str(json) {
        Ok(text) => Cow::Borrowed(text),
        // Text with escapes, or a number.
        Err(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
    })
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Logs the user in: stores the session under a new key, which prevents session fixation, and
    /// removes the old record. The visitor's data is kept. If another user was logged in (or the
    /// same user before a change of password), all data is removed.
    ///
    /// The login is added to the list of the user's [sessions](Self::sessions), and the store's
    /// [`absolute_timeout`](super::SessionStoreBuilder::absolute_timeout) begins.
    ///
    /// # Errors
    ///
    /// The same errors as [`cycle_key_merged`](Self::cycle_key_merged). If another user was logged
    /// in and the backend fails, that user's record may remain; repeat the call with the same
    /// session to remove it. [`SessionError::InvalidArgument`] if the user id is empty, if the
    /// label has more than 1,024 bytes, or if the login would be remembered for zero seconds or
    /// beyond the year 9999.
    pub async fn login(&self, session: &mut Session, login: &Login) -> Result<(), SessionError> {
        self.prepare_login(session, login).await?;
        self.cycle_key_merged(session).await?;
        self.end_replaced(session).await
    }

    /// Removes the records of other users' sessions that a login replaced. Call it after the
    /// session is stored.
    pub(crate) async fn end_replaced(&self, session: &mut Session) -> Result<(), SessionError> {
        while let Some(key) = session.replaced.last() {
            self.delete(key).await?;
            session.replaced.pop();
        }
        Ok(())
    }

    /// Performs the steps of a login that need no new key. The caller stores the session, and then
    /// [ends the sessions that it replaced](Self::end_replaced).
    pub(crate) async fn prepare_login(&self, session: &mut Session, login: &Login) -> Result<(), SessionError> {
        // Every step that is likely to fail comes before the first change.
        let record = login.record(session)?;
        let generation = self.generation(&login.user).await?;
        if login.is_another_than(&session.data) {
            session.replaced.extend(session.key.take());
            session.stored = None;
            session.clear();
        }
        let was_remembered = LoginRecord::of(&session.data).is_some_and(|before| before.remember().is_some());
        match login.remember {
            Some(remember) => session.set_expiry(remember)?,
            None if was_remembered => session.set_expiry(SessionExpiry::Default)?,
            None => {}
        }
        session.insert(LOGIN, &record)?;
        session.insert(USER, &login.user)?;
        if let Some(django) = &login.django {
            session.insert(AUTH_BACKEND, &django.auth_backend)?;
            session.insert(AUTH_HASH, &django.auth_hash)?;
        } else {
            session.remove(AUTH_BACKEND);
            session.remove(AUTH_HASH);
        }
        match generation {
            Some(generation) => session.insert(GENERATION, generation)?,
            None => {
                session.remove(GENERATION);
            }
        }
        Ok(())
    }
}
