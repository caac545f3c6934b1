//! A cache read and a session load by 64 tasks, compared with hitbox-redis and
//! tower-sessions-redis-store.

use std::sync::Arc;

use bytes::Bytes;
use codex_kv::{
    Cache,
    redis::RedisBackend,
    session::{DjangoSigned, SessionKey, SessionStore},
};
use hitbox_backend::Backend as _;
use hitbox_core::{CacheKey, CacheValue, KeyPart};
use hitbox_redis::ConnectionMode;
use serde::{Deserialize, Serialize};
use tower_sessions_core::{SessionStore as _, session::Record};
use tower_sessions_redis_store::RedisStore;

use crate::{
    Bench,
    clients::{Fred, TTL},
    pairs::{Turn, interleaved, median, ratio, rounds},
    throughput::{json, spread},
};

const KEYS: usize = 1000;
const TASKS: usize = 64;
const OPERATIONS: usize = 40_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) price: f64,
    pub(crate) text: String,
}

pub(crate) fn item() -> Item {
    serde_json::from_slice(&json()).unwrap()
}

pub(crate) fn run() {
    let bench = Bench::new();
    let url = bench.url();
    let backend = bench.runtime.block_on(RedisBackend::connect(&url)).unwrap();
    let rounds = rounds(15);
    println!(
        "## Cache and sessions, {TASKS} tasks: thousand operations per second, median of {rounds} interleaved rounds\n"
    );
    println!("| | codex-kv | the peer | ratio (median of the pairs) |");
    println!("|---|---|---|---|");
    let row = |title: &str, turns: &[Vec<Turn>]| {
        println!(
            "| {title} | {:.1} | {:.1} | **{:.2}** |",
            median(turns[0].iter().map(Turn::per_second)) / 1e3,
            median(turns[1].iter().map(Turn::per_second)) / 1e3,
            ratio(&turns[0], &turns[1], Turn::per_second)
        );
    };

    let cache = Cache::builder(backend.clone()).key_prefix("bench").build().unwrap();
    let names: Arc<Vec<String>> = Arc::new((0..KEYS).map(|number| format!("item:{number:020}")).collect());
    let hitbox = hitbox_redis::RedisBackend::builder()
        .connection(ConnectionMode::single(url.clone()))
        .key_format(hitbox_backend::CacheKeyFormat::UrlEncoded)
        .build()
        .unwrap();
    let hitbox = Arc::new(hitbox);
    let parts = |number: usize| vec![KeyPart::new("item", Some(format!("{number:020}")))];
    let keys: Arc<Vec<CacheKey>> = Arc::new(
        (0..KEYS)
            .map(|number| CacheKey::new("bench", 1, parts(number)))
            .collect(),
    );
    let value = item();
    bench.runtime.block_on(async {
        for (name, key) in names.iter().zip(keys.iter()) {
            cache.set(name, &value, TTL).await.unwrap();
            let raw = CacheValue::new(Bytes::from(json()), None, None);
            hitbox.write(key, raw).await.unwrap();
        }
    });
    let turns = interleaved(
        rounds,
        &mut [
            &mut || {
                spread(&bench.runtime, TASKS, OPERATIONS, |task| {
                    let (cache, names) = (cache.clone(), Arc::clone(&names));
                    async move {
                        for number in 0..OPERATIONS / TASKS {
                            let item: Option<Item> = cache.get(&names[(task * 37 + number) % KEYS]).await.unwrap();
                            assert_eq!(item.unwrap().id, 1_234_567);
                        }
                    }
                })
            },
            &mut || {
                spread(&bench.runtime, TASKS, OPERATIONS, |task| {
                    let (hitbox, keys) = (Arc::clone(&hitbox), Arc::clone(&keys));
                    async move {
                        for number in 0..OPERATIONS / TASKS {
                            let raw = hitbox.read(&keys[(task * 37 + number) % KEYS]).await.unwrap();
                            assert_eq!(raw.unwrap().data().len(), 200);
                        }
                    }
                })
            },
        ],
    );
    row(
        "`Cache<Redis, Json>` get, decoded; hitbox-redis read, raw bytes",
        &turns,
    );

    let store = SessionStore::builder(backend)
        .project("bench")
        .codec(DjangoSigned::new("a secret"))
        .build()
        .unwrap();
    let theirs = RedisStore::new(bench.runtime.block_on(Fred::connect(&url)).0);
    // For a user who is logged in, the load also asks whether all sessions of that user were ended,
    // in the same round trip.
    for (name, title) in [
        (
            "visitor",
            "session load, signed; tower-sessions-redis-store load, not signed",
        ),
        (
            "_auth_user_id",
            "the same of a logged-in user, whose sessions can be ended together",
        ),
    ] {
        let (ours, records) = bench.runtime.block_on(async {
            let mut ours: Vec<SessionKey> = Vec::new();
            let mut records = Vec::new();
            for number in 0..KEYS {
                let mut session = store.create().await.unwrap();
                session.insert(name, number.to_string()).unwrap();
                session.insert("cart", [1, 2, 3]).unwrap();
                store.save(&mut session).await.unwrap();
                ours.push(session.key().unwrap().clone());
                let mut record = Record {
                    id: Default::default(),
                    data: [
                        (name.to_owned(), number.to_string().into()),
                        ("cart".to_owned(), vec![1, 2, 3].into()),
                    ]
                    .into(),
                    expiry_date: time::OffsetDateTime::now_utc() + TTL,
                };
                theirs.create(&mut record).await.unwrap();
                records.push(record.id);
            }
            (Arc::new(ours), Arc::new(records))
        });
        let turns = interleaved(
            rounds,
            &mut [
                &mut || {
                    spread(&bench.runtime, TASKS, OPERATIONS, |task| {
                        let (store, keys) = (store.clone(), Arc::clone(&ours));
                        async move {
                            for number in 0..OPERATIONS / TASKS {
                                let session = store.load(&keys[(task * 37 + number) % KEYS]).await.unwrap();
                                assert!(session.unwrap().contains_key("cart"));
                            }
                        }
                    })
                },
                &mut || {
                    spread(&bench.runtime, TASKS, OPERATIONS, |task| {
                        let (store, ids) = (theirs.clone(), Arc::clone(&records));
                        async move {
                            for number in 0..OPERATIONS / TASKS {
                                let record = store.load(&ids[(task * 37 + number) % KEYS]).await.unwrap();
                                assert!(record.unwrap().data.contains_key("cart"));
                            }
                        }
                    })
                },
            ],
        );
        row(title, &turns);
    }
    println!();
}
