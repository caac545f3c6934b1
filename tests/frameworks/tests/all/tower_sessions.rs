//! Tests with the real `SessionManagerLayer` of both versions, and with a `CachingSessionStore`
//! that uses the store as either half.

use codex_kv::AnyBackend;
use codex_testkit::redis::Database;

use crate::{memory, redis, sent_back};

/// Generates each test once per version of `tower-sessions`.
macro_rules! for_version {
    ($version:ident, $tower_sessions:ident) => {
        mod $version {
            use std::time::{Duration, SystemTime};

            use axum::{
                Router,
                body::{Body, to_bytes},
                extract::Request,
                http::{StatusCode, header},
                routing::get,
            };
            use codex_kv::{AnyBackend, tower_sessions::TowerSessionStore};
            use tower::ServiceExt as _;
            use $tower_sessions::{
                CachingSessionStore, Session, SessionManagerLayer, SessionStore,
                session::{Id, Record},
            };

            use super::sent_back;

            fn record() -> Record {
                Record {
                    id: Id::default(),
                    data: std::iter::once(("name".to_owned(), "Ada".into())).collect(),
                    expiry_date: (SystemTime::now() + Duration::from_secs(300)).into(),
                }
            }

            async fn count(session: Session) -> Result<String, StatusCode> {
                let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
                let count = session.get::<u64>("count").await.map_err(failed)?.unwrap_or(0) + 1;
                session.insert("count", count).await.map_err(failed)?;
                Ok(count.to_string())
            }

            async fn flush(session: Session) -> StatusCode {
                match session.flush().await {
                    Ok(()) => StatusCode::OK,
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }

            pub(super) async fn the_layer_counts_and_forgets(store: impl SessionStore + Clone) {
                let app = Router::new()
                    .route("/", get(count))
                    .route("/flush", get(flush))
                    .layer(SessionManagerLayer::new(store));
                let mut cookie = None;
                for (path, body) in [("/", "1"), ("/", "2"), ("/", "3"), ("/flush", ""), ("/", "1")] {
                    let mut request = Request::get(path);
                    if let Some(cookie) = &cookie {
                        request = request.header(header::COOKIE, cookie);
                    }
                    let response = app
                        .clone()
                        .oneshot(request.body(Body::empty()).unwrap())
                        .await
                        .unwrap();
                    assert_eq!(response.status(), StatusCode::OK);
                    if let Some(set_cookie) = response.headers().get(header::SET_COOKIE) {
                        cookie = sent_back(set_cookie.to_str().unwrap());
                    }
                    assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), body);
                }
            }

            pub(super) async fn the_layer_works_on_the_store(backend: AnyBackend) {
                the_layer_counts_and_forgets(TowerSessionStore::new(backend).project("shop")).await;
            }

            /// Tests an empty cache half, as after a restart, and a filled one.
            pub(super) async fn the_store_works_as_either_half(cache: AnyBackend, store: AnyBackend) {
                let halves = |prefix: &str| {
                    let cache = TowerSessionStore::new(cache.clone())
                        .key_prefix(prefix)
                        .as_cache();
                    CachingSessionStore::new(cache, TowerSessionStore::new(store.clone()))
                };
                the_layer_counts_and_forgets(halves("layer")).await;

                let caching = halves("one");
                let mut stored = record();
                caching.create(&mut stored).await.unwrap();
                assert_eq!(caching.load(&stored.id).await.unwrap().as_ref(), Some(&stored));
                let restarted = halves("two");
                stored.data.insert("visits".to_owned(), 1.into());
                restarted.save(&stored).await.unwrap();
                assert_eq!(restarted.load(&stored.id).await.unwrap().as_ref(), Some(&stored));
                let missed = halves("three");
                assert_eq!(missed.load(&stored.id).await.unwrap().as_ref(), Some(&stored));
                assert_eq!(missed.load(&stored.id).await.unwrap().as_ref(), Some(&stored));

                missed.delete(&stored.id).await.unwrap();
                assert_eq!(missed.load(&stored.id).await.unwrap(), None);
                assert!(
                    missed.save(&stored).await.is_err(),
                    "a session that was ended stays so"
                );
                assert_eq!(missed.load(&stored.id).await.unwrap(), None);
            }

            /// Lets a request that has loaded the session fill the cache after another request has
            /// ended the session.
            pub(super) async fn a_late_fill_brings_nothing_back(backend: AnyBackend) {
                let cache = TowerSessionStore::new(backend.clone()).as_cache();
                let ended = record();
                cache.delete(&ended.id).await.unwrap();
                cache.save(&ended).await.unwrap();
                assert_eq!(cache.load(&ended.id).await.unwrap(), None);

                // Without `as_cache`, the contract of a store applies: a missing session is not
                // saved.
                let store = TowerSessionStore::new(backend);
                assert!(store.save(&record()).await.is_err());
                let other = record();
                cache.save(&other).await.unwrap();
                cache.save(&other).await.unwrap();
                assert_eq!(cache.load(&other.id).await.unwrap().as_ref(), Some(&other));
            }
        }
    };
}

for_version!(v0_14, tower_sessions_0_14);
for_version!(v0_15, tower_sessions);

async fn everything(cache: AnyBackend, store: AnyBackend) {
    v0_14::the_layer_works_on_the_store(store.clone()).await;
    v0_15::the_layer_works_on_the_store(store.clone()).await;
    v0_14::the_store_works_as_either_half(cache.clone(), store.clone()).await;
    v0_15::the_store_works_as_either_half(cache.clone(), store).await;
    v0_14::a_late_fill_brings_nothing_back(cache.clone()).await;
    v0_15::a_late_fill_brings_nothing_back(cache).await;
}

#[tokio::test]
async fn tower_sessions_on_memory() {
    everything(memory(), memory()).await;
}

#[tokio::test]
async fn tower_sessions_on_redis_behind_a_cache_in_memory() {
    let database = codex_testkit::require!("redis", Database::lease());
    everything(memory(), redis(&database).await).await;
}

#[tokio::test]
async fn tower_sessions_on_memory_behind_a_cache_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    everything(redis(&database).await, memory()).await;
}
