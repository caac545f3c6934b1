//! The records of a session store: their backend and their stored keys.

use std::fmt;

use crate::namespaced_key;

/// A backend and the first two segments of every stored key.
#[derive(Debug, Clone)]
pub(super) struct Records<B> {
    pub(super) backend: B,
    pub(super) project: String,
    pub(super) key_prefix: String,
}

impl<B> Records<B> {
    pub(super) fn new(backend: B, key_prefix: &str) -> Self {
        Self {
            backend,
            project: String::new(),
            key_prefix: key_prefix.to_owned(),
        }
    }

    /// Returns the stored key of a session.
    pub(super) fn key(&self, id: &(dyn fmt::Display + Sync)) -> String {
        namespaced_key(&self.project, &self.key_prefix, &id.to_string())
    }
}

/// Implements the settings of the stored keys for a store with a field `records`.
macro_rules! record_settings {
    ($store:ident, $key_prefix:literal) => {
        /// The default second segment of every stored key.
        const KEY_PREFIX: &str = $key_prefix;

        impl<B: KvBackend> $store<B> {
            /// Sets the first segment of every stored key. The default is empty. An empty segment
            /// is omitted.
            #[must_use]
            pub fn project(mut self, project: impl Into<String>) -> Self {
                self.records.project = project.into();
                self
            }

            /// Sets the second segment of every stored key. An empty segment is omitted.
            ///
            #[doc = concat!("The default is `", $key_prefix, "`.")]
            #[must_use]
            pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
                self.records.key_prefix = key_prefix.into();
                self
            }
        }
    };
}
pub(super) use record_settings;
