//! The stored keys of a store's records.

use codex_traits::KvBackend;

use super::{SessionCodec, SessionKey, SessionStore};
use crate::namespaced_key;

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    pub(super) fn record(&self, key: &SessionKey) -> String {
        namespaced_key(self.project(), self.key_prefix(), key.as_str())
    }

    /// Returns the key of a user's generation. It is outside the namespace of the sessions, so no
    /// session key can collide with it.
    pub(super) fn generation_record(&self, user: &str) -> String {
        let prefix = match self.key_prefix() {
            "" => "generation".to_owned(),
            prefix => format!("{prefix}-generation"),
        };
        namespaced_key(self.project(), &prefix, user)
    }

    pub(super) fn list_record(&self, user: &str) -> String {
        let prefix = match self.key_prefix() {
            "" => "logins".to_owned(),
            prefix => format!("{prefix}-logins"),
        };
        namespaced_key(self.project(), &prefix, user)
    }
}
