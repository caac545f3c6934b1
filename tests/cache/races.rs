//! The races of the lease model on real stores: loaders in two processes against deletes and sets.
//!
//! `CODEX_RACES` is the number of rounds on each store (`scripts/long cache` runs 10,000).

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use codex_kv::{Cache, Expiry, KvBackend, Loader, SetOptions, memory::MemoryBackend, redis::RedisBackend};
use codex_testkit::{
    redis::{Database, RedisCluster},
    require,
};

const MINUTE: Duration = Duration::from_secs(60);

fn rounds(few: usize) -> usize {
    std::env::var("CODEX_RACES").map_or(few, |rounds| rounds.parse().unwrap())
}

fn cache<B: KvBackend + Clone>(backend: &B) -> Cache<B> {
    Cache::builder(backend.clone()).key_prefix("shop").build().unwrap()
}

/// Returns a loader in a separate process. It computes the version of the database.
fn loader<B: KvBackend>(cache: &Cache<B>, database: &Arc<AtomicU64>) -> Loader<u64, Infallible, B> {
    let database = Arc::clone(database);
    let builder = cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 60).lease(MINUTE);
    builder.load(move |_| {
        let database = Arc::clone(&database);
        async move {
            let version = database.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(version)
        }
    })
}

/// Returns the number of rounds that end with an outdated value in the store.
async fn outdated<B: KvBackend + Clone>(backend: B, rounds: usize) -> usize {
    let mut outdated = 0;
    for round in 0..rounds {
        let (key, database) = (format!("k{round}"), Arc::new(AtomicU64::new(0)));
        let caches = [cache(&backend), cache(&backend), cache(&backend)];
        if round % 2 == 1 {
            // A stale value is refreshed in the background.
            let options = SetOptions::new().with_expiry(Expiry::After(MINUTE * 30));
            let stored = backend
                .set(&caches[0].make_key(&key), "0".into(), options)
                .await
                .unwrap();
            assert!(stored.is_written());
        }
        let loads = [0, 1].map(|at| {
            let (loader, key) = (loader(&caches[at], &database), key.clone());
            tokio::spawn(async move { loader.get(&key).await.unwrap().value })
        });
        // The writer is in the loader's own process or in another process.
        let (writer, written, at) = (caches[round / 2 % 3].clone(), Arc::clone(&database), key.clone());
        let write = tokio::spawn(async move {
            for _ in 0..round / 6 % 4 {
                tokio::task::yield_now().await;
            }
            let version = written.fetch_add(1, Ordering::SeqCst) + 1;
            if round % 5 == 0 {
                writer.set(&at, &version, MINUTE).await.unwrap();
            } else {
                writer.delete(&at).await.unwrap();
            }
        });
        write.await.unwrap();
        for load in loads {
            load.await.unwrap();
        }
        // Wait until the background refresh has ended and left no claim.
        let started = Instant::now();
        let stored = loop {
            assert!(started.elapsed() < MINUTE / 4, "round {round}: a claim was left behind");
            let stored = backend.get(&caches[0].make_key(&key)).await.unwrap();
            match stored {
                Some(stored) if stored.last().is_some_and(u8::is_ascii_whitespace) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                stored => break stored,
            }
        };
        outdated += usize::from(stored.is_some_and(|stored| stored == "0"));
        // A refresh whose claim was voided may still be running, and will be refused.
        backend.del(&[&caches[0].make_key(&key)]).await.unwrap();
    }
    outdated
}

/// Runs the same races with `get_or_try_set_with`, which notices deletes in its own process.
async fn outdated_without_leases<B: KvBackend + Clone>(backend: B, rounds: usize) -> usize {
    let mut outdated = 0;
    let cache = cache(&backend);
    for round in 0..rounds {
        let (key, database) = (format!("k{round}"), Arc::new(AtomicU64::new(0)));
        let loads = [0, 1].map(|_| {
            let (cache, key, database) = (cache.clone(), key.clone(), Arc::clone(&database));
            tokio::spawn(async move {
                let compute = || async {
                    let version = database.load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(version)
                };
                cache.get_or_try_set_with(&key, MINUTE, compute).await.unwrap()
            })
        });
        let (deleting, written, at) = (cache.clone(), Arc::clone(&database), key.clone());
        let write = tokio::spawn(async move {
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            written.fetch_add(1, Ordering::SeqCst);
            deleting.delete(&at).await.unwrap();
        });
        write.await.unwrap();
        for load in loads {
            load.await.unwrap();
        }
        let stored = backend.get(&cache.make_key(&key)).await.unwrap();
        outdated += usize::from(stored.is_some_and(|stored| stored == "0"));
        cache.delete(&key).await.unwrap();
    }
    outdated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn load_07_no_outdated_value_is_stored_in_memory() {
    let rounds = rounds(1000);
    assert_eq!(outdated(MemoryBackend::new(), rounds).await, 0, "of {rounds} rounds");
    assert_eq!(
        outdated_without_leases(MemoryBackend::new(), rounds).await,
        0,
        "of {rounds} rounds"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn load_07_no_outdated_value_is_stored_on_redis() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let rounds = rounds(300);
    assert_eq!(outdated(backend.clone(), rounds).await, 0, "of {rounds} rounds");
    assert_eq!(outdated_without_leases(backend, rounds).await, 0, "of {rounds} rounds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn load_07_no_outdated_value_is_stored_on_a_cluster() {
    let cluster = require!("redis", RedisCluster::lease());
    let settings = RedisBackend::builder().command_timeout(Duration::from_secs(10));
    let backend = settings.url(&cluster.url()).build().await.unwrap();
    let rounds = rounds(200);
    assert_eq!(outdated(backend.clone(), rounds).await, 0, "of {rounds} rounds");
    assert_eq!(outdated_without_leases(backend, rounds).await, 0, "of {rounds} rounds");
}
