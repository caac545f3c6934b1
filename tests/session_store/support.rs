//! Helpers for these tests.

use codex_kv::{DjangoSigned, KvBackend, Session, SessionKey, SessionStore};

pub(crate) const SECRET: &str = "codex-wire-vectors-secret-key-0001";

pub(crate) fn store<B: KvBackend>(backend: B) -> SessionStore<B> {
    let built = SessionStore::builder(backend).codec(DjangoSigned::new(SECRET)).build();
    built.unwrap()
}

pub(crate) fn key(session: &Session) -> SessionKey {
    session.key().expect("it is stored").clone()
}
