//! The acceptance tests of `actix-session` on this crate's store for it.

use std::collections::HashMap;

use actix_session::storage::{LoadError, SessionKey, SessionStore as _, UpdateError};
use actix_web::cookie::time::Duration;
use codex_kv::{AnyBackend, KvBackend as _, SetOptions, actix_session::ActixSessionStore};
use codex_testkit::redis::Database;

use crate::{memory, redis};

#[allow(
    clippy::pedantic,
    unreachable_pub,
    clippy::dbg_macro,
    clippy::print_stdout,
    reason = "the acceptance tests of actix-session, as they stand in its source"
)]
mod theirs {
    include!(concat!(env!("OUT_DIR"), "/actix_session_acceptance.rs"));
}

use theirs::test_helpers::acceptance_test_suite;

fn key(text: &str) -> SessionKey {
    text.to_owned().try_into().unwrap()
}

fn state(name: &str) -> HashMap<String, String> {
    HashMap::from([("name".to_owned(), format!("\"{name}\""))])
}

/// Asserts the properties that actix-session tests for its own Redis store, in addition to the
/// suite.
async fn the_store_answers_as_theirs(backend: AnyBackend) {
    let store = ActixSessionStore::new(backend.clone()).project("shop");
    let minute = Duration::minutes(1);
    assert!(store.load(&key("missing")).await.unwrap().is_none());

    let written = backend.set("shop:actix-session:junk", "no JSON: hunter2".into(), SetOptions::new());
    assert!(written.await.unwrap().is_written());
    let unreadable = store.load(&key("junk")).await.unwrap_err();
    assert!(matches!(unreadable, LoadError::Deserialization(_)));
    assert!(!format!("{unreadable:?}").contains("hunter2"));

    let updated = store
        .update(key("expired"), state("Ada"), &Duration::seconds(1))
        .await
        .unwrap();
    assert_ne!(updated.as_ref(), "expired");

    // Additional tests of every call and of the option that refuses ended sessions.
    let stored = store.save(state("Ada"), &minute).await.unwrap();
    assert_eq!(store.load(&stored).await.unwrap(), Some(state("Ada")));
    let ended = key(stored.as_ref());
    let stored = store.update(stored, state("Grace"), &minute).await.unwrap();
    assert_eq!(stored, ended, "a session keeps its key");
    store.update_ttl(&stored, &Duration::hours(1)).await.unwrap();
    assert_eq!(store.load(&stored).await.unwrap(), Some(state("Grace")));
    store.delete(&stored).await.unwrap();
    store.delete(&stored).await.unwrap();
    store.update_ttl(&stored, &minute).await.unwrap();
    assert!(store.load(&stored).await.unwrap().is_none());
    let strict = store.refuse_ended();
    let refused = strict.update(stored, state("Eve"), &minute).await;
    assert!(matches!(refused, Err(UpdateError::Other(_))));
    assert!(strict.load(&ended).await.unwrap().is_none());
    assert!(strict.save(state("Ada"), &Duration::ZERO).await.is_err());
}

#[actix_web::test]
async fn the_acceptance_tests_of_actix_session_on_memory() {
    let store = ActixSessionStore::new(memory());
    acceptance_test_suite(move || store.clone(), true).await;
    the_store_answers_as_theirs(memory()).await;
}

#[actix_web::test]
async fn the_acceptance_tests_of_actix_session_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let url = database.url();
    // The suite starts servers on other threads. Each server builds its own store.
    let backend = codex_kv::connect(&url).await.unwrap();
    let store = ActixSessionStore::new(backend);
    acceptance_test_suite(move || store.clone(), true).await;
    the_store_answers_as_theirs(redis(&database).await).await;
}
