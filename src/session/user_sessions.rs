//! The list of a user's sessions ("my devices"), by ids that grant no access.
//!
//! A separate record maps the ids of a user's logins to the keys of their sessions. The list is
//! only a hint: each listed session is looked up before it is returned. A lost or outdated list
//! neither ends a live session nor restores an ended session.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, SetOptions, Ttl};
use futures_util::future::{try_join, try_join_all};

use super::{
    Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStore,
    commit::{ATTEMPTS, Write},
    login::user_of,
    login_record::LoginRecord,
    revocation::{generation_of, text_of},
    store::listed,
};

/// The maximum number of logins in a user's list, unless the store has a lower limit. The oldest
/// logins are dropped.
const MOST_LISTED: usize = 100;

/// The lifetime of a list after the user's last login: the longest time that browsers keep a
/// cookie.
const LIST_AGE: Duration = Duration::from_secs(400 * 86_400);

/// The maximum number of times that [`SessionStore::sessions`] reads the list if other clients
/// change it meanwhile.
const READS: usize = 8;

/// The error of a session without a user whose other sessions are to end.
pub(crate) const NOBODY_IS_LOGGED_IN: SessionError =
    SessionError::InvalidArgument("no user is logged in to this session, so there are no other sessions to end");

/// A session in the list of [`SessionStore::sessions`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserSession {
    /// The opaque id of the login, for [`SessionStore::end`]. It is not the session's key and
    /// grants no access.
    pub id: String,
    /// The time of the login.
    pub created: SystemTime,
    /// The time of the last save, touch or renewal. It is derived from the record's time to live:
    /// it is too early if the absolute timeout or a fixed date shortened that time, and too late
    /// until the next renewal if a timeout of the store was shortened.
    pub last_seen: SystemTime,
    /// The [label](super::Login::label) of the login.
    pub label: Option<String>,
}

/// The listed logins in order, and the bytes from which they were read. Each entry maps an id to
/// the session's key.
struct List {
    entries: SessionData,
    stored: Option<Bytes>,
}

/// The user of a list, and the user's generation, which a live session has.
struct Listed<'a> {
    user: &'a str,
    generation: Option<String>,
}

/// The keys whose records a new session replaces.
#[derive(Clone, Copy)]
pub(super) struct Replaced<'a> {
    /// The key of the same session, whose record must still exist.
    pub(super) key: Option<&'a SessionKey>,
    /// The keys of sessions that a login in the same browser ends.
    pub(super) others: &'a [SessionKey],
}

impl Replaced<'_> {
    fn contains(&self, key: &SessionKey) -> bool {
        self.key == Some(key) || self.others.contains(key)
    }
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Returns the live sessions of a user, the latest login first, for a "my devices" page.
    ///
    /// The list contains the latest sessions that [`login`](Self::login) began, at most 100 per
    /// user, or as many as the store's limit. It does not contain logins by Django. The call takes
    /// two round trips, and a third if it prunes the list. It repeats them if another client
    /// changes the list meanwhile.
    ///
    /// To find the session of a request, compare the ids with [`Session::login_id`].
    ///
    /// ```
    /// # use codex_kv::{KvBackend, session::*};
    /// # async fn show<B: KvBackend>(
    /// #     store: &SessionStore<B>,
    /// #     session: &Session,
    /// # ) -> Result<(), SessionError> {
    /// let Some(user) = session.user() else { return Ok(()) };
    /// for device in store.sessions(&user).await? {
    ///     let here = session.login_id().as_ref() == Some(&device.id);
    ///     println!("{} {} {here}", device.id, device.label.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn sessions(&self, user: &str) -> Result<Vec<UserSession>, SessionError> {
        let mut reads = 1;
        loop {
            let (live, is_current) = self.read_sessions(user).await?;
            // A session whose key was changed between the two reads is live under its new key.
            if is_current || reads == READS {
                return Ok(live);
            }
            reads += 1;
        }
    }

    /// Returns the live sessions, the latest login first, and removes the others from the list. The
    /// second value is false if another client changed the list meanwhile.
    async fn read_sessions(&self, user: &str) -> Result<(Vec<UserSession>, bool), SessionError> {
        let (list, generation) = try_join(self.list(user), self.generation(user)).await?;
        let keys: Vec<(String, SessionKey)> = list.keys().collect();
        let found = try_join_all(keys.iter().map(|(_, key)| self.stored_with_ttl(key))).await?;
        let now = self.now();
        let user = Listed { user, generation };
        let mut live = Vec::new();
        let mut dead = Vec::new();
        for ((id, key), found) in keys.iter().zip(found) {
            let session = found.and_then(|(payload, left)| {
                let data = self.codec().decode_for(&self.record(key), &payload).ok()?;
                let login = self.live_login(&data, id, &user, now)?;
                Some(self.described(login, &data, left, now))
            });
            match session {
                Some(session) => live.push(session),
                None => dead.push(id.as_str()),
            }
        }
        let is_current = self.prune(user.user, list, &dead).await?;
        live.reverse();
        Ok((live, is_current))
    }

    /// Returns the login of a session's data if it is the live login of the list's `id`.
    fn live_login(&self, data: &SessionData, id: &str, user: &Listed<'_>, now: SystemTime) -> Option<LoginRecord> {
        let login = LoginRecord::of(data).filter(|login| login.id == id)?;
        let is_live = user_of(data).as_deref() == Some(user.user)
            && generation_of(data) == user.generation
            && !self.policy().is_over(data, now);
        is_live.then_some(login)
    }

    /// Ends a session of a user, by its id from [`sessions`](Self::sessions), and returns whether
    /// it existed. The record is deleted even if it was changed elsewhere.
    ///
    /// The list has one key for each id. If a [`cycle_key`](Self::cycle_key) was dropped or failed
    /// halfway, the session can remain under its old key; [`revoke_all`](Self::revoke_all) ends it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the backend fails. [`SessionError::Conflict`] if a thousand
    /// attempts in a row to update the list lost to other logins of the user; the session has ended
    /// nevertheless.
    pub async fn end(&self, user: &str, id: &str) -> Result<bool, SessionError> {
        let mut ended = false;
        for _ in 0..ATTEMPTS {
            let mut list = self.list(user).await?;
            let Some(key) = list.key(id) else {
                return Ok(ended);
            };
            ended |= self.delete(&key).await?;
            list.entries.remove(id);
            // If another client has changed the list meanwhile, the session may have a new key.
            if self.store_list(user, &list).await? {
                return Ok(ended);
            }
        }
        Err(SessionError::Conflict)
    }

    /// Ends all other sessions of this session's user: "log out all other devices".
    ///
    /// Like [`revoke_all`](Self::revoke_all), it does not use the list, so it also ends unlisted
    /// sessions. This session is saved with its unsaved changes, and merged if it was changed
    /// elsewhere. For the duration of one write, a concurrent request of the same browser may find
    /// no user logged in.
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidArgument`] if no user is logged in. [`SessionError::Gone`] if this
    /// session was ended elsewhere: if it was revoked, the call has no effect, and otherwise the
    /// other sessions are ended nevertheless. Otherwise the same errors as
    /// [`save_merged`](Self::save_merged). If the backend fails halfway, this session may have
    /// ended with the others.
    pub async fn end_others(&self, session: &mut Session) -> Result<(), SessionError> {
        let Some(user) = session.user() else {
            return Err(NOBODY_IS_LOGGED_IN);
        };
        self.end_all_but(session, &user).await?;
        self.write(session, Write::SaveAs(&user)).await?;
        self.list_again(session).await;
        Ok(())
    }

    /// Adds the session to its user's list if it is missing there. Between the user's new
    /// generation and the save of the session, a reader of the list takes the session for an ended
    /// one.
    pub(super) async fn list_again(&self, session: &Session) {
        let (Some(key), Some((user, login))) = (&session.key, listed(&session.data)) else {
            return;
        };
        let nothing = Replaced { key: None, others: &[] };
        let added = async {
            if session.stored.is_some() && self.list(&user).await?.key(&login.id).as_ref() != Some(key) {
                self.enlist(&user, &login.id, key, nothing).await?;
            }
            Ok::<_, SessionError>(())
        };
        // The others have ended and the session is saved. The list is only a hint.
        let _ = added.await;
    }

    /// Adds the login to the user's list with the session's `key`, and ends the oldest sessions
    /// beyond the limit. Sessions that are `replaced` do not count. If the session replaces its own
    /// record and that record is missing, the session has ended, so it ends no other session and
    /// the result is `Gone`.
    pub(super) async fn enlist(
        &self,
        user: &str,
        id: &str,
        key: &SessionKey,
        replaced: Replaced<'_>,
    ) -> Result<(), SessionError> {
        let mut room = usize::MAX;
        for _ in 0..ATTEMPTS {
            let mut list = self.list(user).await?;
            list.entries.insert(id, key.as_str())?;
            self.make_room(user, &mut list, id, replaced, room).await?;
            match self.store_list(user, &list).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // The codec's size limit is meant for sessions. It must not prevent a login, so the
                // list drops its oldest logins.
                Err(SessionError::TooLarge { .. }) if room > 1 => room = (list.entries.len() / 2).max(1),
                Err(error) => return Err(error),
            }
        }
        Err(SessionError::Conflict)
    }

    /// Ends the oldest sessions beyond the store's limit, and reduces the list to at most `room`
    /// sessions.
    async fn make_room(
        &self,
        user: &str,
        list: &mut List,
        newest: &str,
        replaced: Replaced<'_>,
        room: usize,
    ) -> Result<(), SessionError> {
        let limit = self.policy().sessions_per_user.map_or(MOST_LISTED, Into::into);
        let room = room.min(limit);
        if list.entries.len() <= room {
            return Ok(());
        }
        // The list keeps a replaced session until it is read: if the new key is taken back, the
        // session goes on under the old key.
        let others: Vec<(String, SessionKey)> = list
            .keys()
            .filter(|(id, key)| id != newest && !replaced.contains(key))
            .collect();
        let records: Vec<String> = others.iter().map(|(_, key)| self.record(key)).collect();
        let generation = self.generation_record(user);
        let names: Vec<&str> = records.iter().chain([&generation]).map(String::as_str).collect();
        let found = self.backend().get_many(&names).await?;
        let user = Listed {
            user,
            generation: found.last().and_then(Option::as_ref).map(text_of),
        };
        let now = self.now();
        let is_live = |index: &usize| {
            let Some(payload) = found.get(*index).and_then(Option::as_ref) else {
                return false;
            };
            // An unreadable record counts as live, because another process may be able to read it.
            let data = self.codec().decode_for(&records[*index], payload);
            data.map_or(true, |data| {
                self.live_login(&data, &others[*index].0, &user, now).is_some()
            })
        };
        let live: Vec<usize> = (0..others.len()).filter(is_live).collect();
        let beyond = |most: usize| (live.len() + 1).saturating_sub(most).min(live.len());
        let (oldest, kept) = (&live[..beyond(limit)], &live[beyond(room)..]);
        // End the sessions before they leave the list, so that no live session is unlisted.
        if self.policy().sessions_per_user.is_some() && !oldest.is_empty() {
            // A login in another browser may have ended this session to make room for itself.
            if let Some(old_key) = replaced.key
                && !self.exists(old_key).await?
            {
                return Err(SessionError::Gone);
            }
            let ended: Vec<&str> = oldest.iter().map(|&index| names[index]).collect();
            self.backend().del(&ended).await?;
        }
        for (index, (id, _)) in others.iter().enumerate() {
            if !kept.contains(&index) {
                list.entries.remove(id);
            }
        }
        Ok(())
    }

    /// Removes the dead sessions from the list. Returns false if another client changed the list
    /// meanwhile, which leaves it as it is.
    async fn prune(&self, user: &str, mut list: List, dead: &[&str]) -> Result<bool, SessionError> {
        let unreadable = list.entries.len() > list.keys().count();
        if dead.is_empty() && !unreadable {
            return Ok(true);
        }
        let live: Vec<(String, SessionKey)> = list.keys().filter(|(id, _)| !dead.contains(&id.as_str())).collect();
        list.entries.clear();
        for (id, key) in live {
            list.entries.insert(&id, key.as_str())?;
        }
        self.store_list(user, &list).await
    }

    /// Reads the list. An unreadable list counts as empty, and the next login replaces it.
    async fn list(&self, user: &str) -> Result<List, SessionError> {
        let record = self.list_record(user);
        let stored = self.backend().get(&record).await?;
        let entries = stored.as_ref().map(|stored| self.codec().decode_for(&record, stored));
        let entries = entries.transpose().unwrap_or_else(|error| {
            tracing::warn!(reason = %error, "the list of a user's sessions cannot be read and counts as empty");
            None
        });
        Ok(List {
            entries: entries.unwrap_or_default(),
            stored,
        })
    }

    /// Stores the list if the record has not changed since it was read, and returns whether it was
    /// stored.
    async fn store_list(&self, user: &str, list: &List) -> Result<bool, SessionError> {
        let record = self.list_record(user);
        if list.entries.is_empty() {
            return Ok(match &list.stored {
                Some(stored) => self.backend().del_if_equals(&record, stored).await?,
                None => true,
            });
        }
        let payload = self.codec().encode_for(&record, &list.entries, self.now())?;
        let condition = list.stored.clone().map_or(Condition::IfAbsent, Condition::IfEquals);
        let options = SetOptions::new()
            .with_condition(condition)
            .with_expiry(Expiry::After(LIST_AGE));
        Ok(self.backend().set(&record, payload, options).await?.is_written())
    }

    async fn stored_with_ttl(&self, key: &SessionKey) -> Result<Option<(Bytes, Ttl)>, SessionError> {
        Ok(self.backend().get_with_ttl(&self.record(key)).await?)
    }

    fn described(&self, login: LoginRecord, data: &SessionData, left: Ttl, now: SystemTime) -> UserSession {
        let created = login.at().unwrap_or(now);
        let renewed = match left {
            Ttl::Remaining(left) => self.policy().renewed_at(data, left, now),
            _ => None,
        };
        UserSession {
            id: login.id,
            created,
            last_seen: renewed.map_or(created, |renewed| renewed.max(created)),
            label: login.label,
        }
    }
}

impl List {
    fn keys(&self) -> impl Iterator<Item = (String, SessionKey)> + '_ {
        self.entries
            .keys()
            .filter_map(|id| Some((id.to_owned(), self.key(id)?)))
    }

    fn key(&self, id: &str) -> Option<SessionKey> {
        let key = self.entries.get::<String>(id).ok().flatten()?;
        key.parse().ok()
    }
}

// Omits the label, which may be private, and the id, which can end a session.
impl fmt::Debug for UserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSession")
            .field("created", &self.created)
            .field("last_seen", &self.last_seen)
            .finish_non_exhaustive()
    }
}
