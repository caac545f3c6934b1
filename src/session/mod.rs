//! Sessions on any key-value store, shared with Django: the same secret, the same cookie, the same
//! record.
//!
//! A [`SessionStore`] creates, loads and saves a [`Session`] under the [`SessionKey`] in the user's
//! cookie. A [`SessionCodec`] converts data to bytes; [`DjangoSigned`] is the codec that Django
//! reads and writes.
//!
//! The stored key is `{project}:{key_prefix}:{session key}`, without empty segments. The time to
//! live of the record is the session's expiry age.

mod builder;
mod changes;
mod clear_expired;
mod codec;
mod commit;
mod data;
mod error;
mod expiry;
mod handle;
mod key;
mod load;
mod login;
mod login_record;
mod policy;
mod records;
mod renewal;
mod revocation;
mod store;
mod user_sessions;
mod users;

pub use builder::{CodecMissing, SessionStoreBuilder};
pub use clear_expired::ClearExpired;
#[cfg(feature = "encryption")]
pub use codec::Encrypted;
pub use codec::{DjangoSigned, MigratingCodec, PlainJson, SecretKey, SessionCodec};
pub(crate) use commit::KeyOnCommit;
pub use data::SessionData;
pub use error::SessionError;
pub use expiry::SessionExpiry;
pub use handle::Session;
pub use key::{InvalidSessionKey, SessionKey};
pub use login::Login;
pub use store::SessionStore;
pub(crate) use user_sessions::NOBODY_IS_LOGGED_IN;
pub use user_sessions::UserSession;

pub use crate::CodecError;
