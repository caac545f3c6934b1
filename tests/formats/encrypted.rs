//! Tests of encryption.

use std::time::Duration;

use codex_kv::{
    Cache, CacheError, Compressed, Json, KvBackend as _, Serializer as _, SetOptions, Timeout, cache::Encrypted,
    crypto::KeyRing, memory::MemoryBackend,
};

fn format(id: u32) -> Encrypted<Json> {
    Encrypted::new(Json, KeyRing::new(id, [u8::try_from(id).unwrap(); 32]))
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(outcome: &Result<T, CacheError>) {
    let Err(CacheError::Codec(error)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(error.is_decode() && !error.to_string().contains("4242"), "{error}");
}

#[tokio::test]
async fn cval_11_an_encrypted_value_is_bound_to_its_stored_key() {
    let backend = MemoryBackend::new();
    let cache = Cache::builder(&*Box::leak(Box::new(backend)))
        .key_prefix("shop")
        .serializer(format(1))
        .build()
        .unwrap();
    cache.set("card", "4242", Timeout::Default).await.unwrap();
    let stored = cache.backend().get("shop:1:card").await.unwrap().unwrap();
    assert!(!stored.windows(4).any(|part| part == b"4242"));
    assert_eq!(cache.get::<String>("card").await.unwrap().as_deref(), Some("4242"));

    // A value that was moved to another key or version is refused.
    for key in ["shop:1:other", "shop:2:card"] {
        let outcome = cache.backend().set(key, stored.clone(), SetOptions::new()).await;
        assert!(outcome.unwrap().is_written());
    }
    is_refused(&cache.get::<String>("other").await);
    is_refused(&cache.with_version(2).get::<String>("card").await);
    // Another cache on the same store, with another encryption key.
    let other = Cache::builder(*cache.backend())
        .key_prefix("shop")
        .serializer(format(2))
        .build()
        .unwrap();
    is_refused(&other.get::<String>("card").await);
    let plain = Cache::builder(*cache.backend()).key_prefix("shop").build().unwrap();
    is_refused(&plain.get::<String>("card").await);
    plain.set("clear", "4242", Timeout::Default).await.unwrap();
    is_refused(&cache.get::<String>("clear").await);
}

#[tokio::test]
async fn cval_11_an_encrypted_value_moves_to_another_version_by_its_own_verb() {
    let format = Compressed::new(format(1)).threshold(0);
    let cache = Cache::builder(MemoryBackend::new())
        .key_prefix("shop")
        .serializer(format)
        .build()
        .unwrap();
    cache.set("card", "4242", Duration::from_secs(60)).await.unwrap();
    assert_eq!(cache.incr_version("card", 1).await.unwrap(), 2);
    assert_eq!(cache.get::<String>("card").await.unwrap(), None);
    let moved = cache.with_version(2).get::<String>("card").await;
    assert_eq!(moved.unwrap().as_deref(), Some("4242"));
}

#[test]
fn cval_11_every_changed_bit_is_refused() {
    let format = format(1);
    let stored = format.serialize_for("k", "4242").unwrap();
    assert_eq!(stored.len(), 6 + 47);
    for at in 0..stored.len() {
        for bit in 0..8 {
            let mut changed = stored.to_vec();
            changed[at] ^= 1 << bit;
            assert!(
                format.deserialize_for::<String>("k", &changed).is_err(),
                "byte {at}, bit {bit}"
            );
        }
        assert!(format.deserialize_for::<String>("k", &stored[..at]).is_err());
    }
}

#[test]
fn cval_11_a_key_is_replaced_without_losing_values() {
    let stored = format(1).serialize_for("k", &7).unwrap();
    let after = Encrypted::new(Json, KeyRing::new(2, [2; 32]).with_old(1, [1; 32]));
    assert_eq!(after.deserialize_for::<u8>("k", &stored).unwrap(), 7);
    let error = format(2).deserialize_for::<u8>("k", &stored).unwrap_err();
    assert!(error.to_string().contains("key 1"), "{error}");
}

#[test]
fn cval_11_encryption_without_the_stored_key_is_refused() {
    let error = format(1).serialize(&7).unwrap_err();
    assert!(error.to_string().contains("serialize_for"), "{error}");
    assert!(
        format(1)
            .deserialize::<u8>(&format(1).serialize_for("k", &7).unwrap())
            .is_err()
    );
}
