//! Who is logged in: names that Django shares, against session fixation, and an end to all sessions of a user at once.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use codex_traits::{KvBackend, SetOptions};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{SecretKey, Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStore};

/// Where Django's `login` keeps the user (`SESSION_KEY`, `BACKEND_SESSION_KEY`, `HASH_SESSION_KEY` of `django.contrib.auth`).
const USER: &str = "_auth_user_id";
const AUTH_BACKEND: &str = "_auth_user_backend";
const AUTH_HASH: &str = "_auth_user_hash";
/// Where a session keeps the generation of its user that it was logged in under; nothing while there is none.
const GENERATION: &str = "_codex_generation";

/// `key_salt` of `AbstractBaseUser._get_session_auth_hash`.
const AUTH_HASH_SALT: &[u8] = b"django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// Who logs in; what [`SessionStore::login`] takes.
///
/// ```
/// use codex_kv::session::Login;
///
/// let login = Login::new("42");
/// // Of a user in Django's database, who is to be logged in there too: the primary key, the password column, and `SECRET_KEY`.
/// let login = Login::django("42", "pbkdf2_sha256$1000000$…", "the SECRET_KEY of Django's settings");
/// ```
#[derive(Clone)]
pub struct Login {
    user: String,
    django: Option<Django>,
}

#[derive(Clone)]
struct Django {
    auth_backend: String,
    auth_hash: String,
}

impl Login {
    /// The user of this id, in this program alone: Django takes the session for one without a user.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            django: None,
        }
    }

    /// The user of this primary key, in Django too. `password` is the user's password column as it is in the database, an
    /// encoded hash: Django ends the session when the user changes the password. `secret` is Django's `SECRET_KEY`.
    ///
    /// The hash that ties the session to the password is that of `AbstractBaseUser.get_session_auth_hash`, Django 3.1 to 5.2.
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
            user: user.into(),
            django: Some(Django {
                auth_backend: "django.contrib.auth.backends.ModelBackend".to_owned(),
                auth_hash,
            }),
        }
    }

    /// The authentication backend that Django is to ask for the user: `django.contrib.auth.backends.ModelBackend` unless set. It
    /// has to be in `AUTHENTICATION_BACKENDS`. Nothing to a login that is not Django's.
    #[must_use]
    pub fn auth_backend(mut self, path: impl Into<String>) -> Self {
        if let Some(django) = &mut self.django {
            django.auth_backend = path.into();
        }
        self
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

// The hash, with the secret, would be a login.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Session {
    /// The user who is logged in, as Django's `login` or [`SessionStore::login`] left it.
    ///
    /// Django also compares the session with the user's password, which only its database knows: a session that outlived a change of
    /// password there is still a login here, until [`SessionStore::revoke_all`].
    pub fn user(&self) -> Option<String> {
        user_of(self.data())
    }
}

/// The id as text. Django keeps text; another program may keep a number.
fn user_of(data: &SessionData) -> Option<String> {
    let json = data.get_json(USER).filter(|json| *json != "null")?;
    Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Logs the user in: stores the session under a new key, against session fixation, and removes the old one. The visitor's
    /// data stays, unless somebody else was logged in (or the same user, before a change of password): then nothing of it does.
    ///
    /// # Errors
    ///
    /// As [`cycle_key_merged`](Self::cycle_key_merged). If the store fails after the new record was stored, the session has the
    /// new key, and another user's record may be there until it expires.
    pub async fn login(&self, session: &mut Session, login: &Login) -> Result<(), SessionError> {
        let replaced = self.prepare_login(session, login).await?;
        self.cycle_key_merged(session).await?;
        if let Some(replaced) = replaced {
            self.delete(&replaced).await?;
        }
        Ok(())
    }

    /// Does all of a login that needs no new key, and returns the key of another user's session, which is to be deleted once this
    /// one is stored.
    pub(crate) async fn prepare_login(
        &self,
        session: &mut Session,
        login: &Login,
    ) -> Result<Option<SessionKey>, SessionError> {
        // Asked before anything is changed, because it can fail.
        let generation = self.generation(&login.user).await?;
        let mut replaced = None;
        if login.is_another_than(&session.data) {
            replaced = session.key.take();
            session.stored = None;
            session.clear();
        }
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
        Ok(replaced)
    }

    /// Ends all sessions of a user at once, in one step however many there are: "log out everywhere".
    ///
    /// No list of sessions is kept. The user gets a new generation, a random value stored under
    /// `{project}:{key_prefix}-generation:{user}`; a session says which generation it was logged in under, and
    /// [`load`](Self::load) takes one of another generation for missing. The records themselves expire in their time.
    ///
    /// Costs every load of a session with a user (`_auth_user_id`) one more `GET`, and every user who was ever revoked one small
    /// record that does not expire: an old session could outlive it otherwise. Do not let the store evict it.
    ///
    /// # With Django
    ///
    /// A session of Django's own `login` says no generation, which is the generation of a user who was never revoked. So it is
    /// ended here like any other. For Django to heed the generation, and for its logins to be valid here after the user's first
    /// `revoke_all`, it has to check and to write it: `examples/django/codex_sessions.py` shows both, in ten lines.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] where the store fails; perhaps the sessions are ended then. [`SessionError::Generator`].
    pub async fn revoke_all(&self, user: &str) -> Result<(), SessionError> {
        // Random and not counted: a count that was lost and begun anew would bring old sessions back.
        let generation = Bytes::copy_from_slice(SessionKey::generate()?.as_str().as_bytes());
        let record = self.generation_record(user);
        // An unconditional write is never refused.
        let _written = self.backend().set(&record, generation, SetOptions::new()).await?;
        Ok(())
    }

    /// Whether the session's user was revoked since the login.
    pub(super) async fn is_revoked(&self, data: &SessionData) -> Result<bool, SessionError> {
        let Some(user) = user_of(data) else {
            return Ok(false);
        };
        let stamped = data.get::<String>(GENERATION).ok().flatten();
        Ok(self.generation(&user).await? != stamped)
    }

    async fn generation(&self, user: &str) -> Result<Option<String>, SessionError> {
        let stored = self.backend().get(&self.generation_record(user)).await?;
        Ok(stored.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
}
