//! Clauses on formats other than JSON.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::{
    context::{Cx, clauses},
    face::Cache,
};
use crate::{CacheError, Compressed, Json, KvBackend, MessagePack, Serializer, Timeout};

clauses! {
    cval_11_a_value_of_one_format_is_an_error_in_another {
        every_format_reads_its_own_values
        no_format_reads_another_ones_values
        the_inflated_size_is_bounded
    }
}

/// Returns short and long values, some of whose bytes in one format are valid in another format.
fn values() -> Vec<Value> {
    let mut values: Vec<Value> = (0..128).map(Value::from).collect();
    values.extend([
        Value::Null,
        true.into(),
        1.5.into(),
        "text".into(),
        "the same again ".repeat(200).into(),
        serde_json::json!({"a": [1, {"b": null}]}),
    ]);
    values
}

fn cache<B: KvBackend, S: Serializer>(cx: &Cx<B>, format: S) -> Cache<Arc<B>, S> {
    cx.builder().key_prefix("shop").serializer(format).build().unwrap()
}

async fn every_format_reads_its_own_values<B: KvBackend>(cx: &Cx<B>) {
    reads_its_own(&cache(cx, MessagePack)).await;
    reads_its_own(&cache(cx, Compressed::new(Json).threshold(64))).await;
    reads_its_own(&cache(cx, Compressed::new(MessagePack).threshold(64))).await;
}

async fn reads_its_own<B: KvBackend, S: Serializer>(cache: &Cache<B, S>) {
    for value in values() {
        cache.set("k", &value, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<Value>("k").await.unwrap(), Some(value));
    }
}

async fn no_format_reads_another_ones_values<B: KvBackend>(cx: &Cx<B>) {
    let json = cache(cx, Json);
    let packed = cache(cx, MessagePack);
    let compressed = cache(cx, Compressed::new(Json).threshold(64));
    let both = cache(cx, Compressed::new(MessagePack).threshold(64));
    for value in values() {
        json.set("k", &value, Timeout::Default).await.unwrap();
        nothing_is_read(&packed).await;
        nothing_is_read(&compressed).await;
        nothing_is_read(&both).await;
        packed.set("k", &value, Timeout::Default).await.unwrap();
        nothing_is_read(&json).await;
        nothing_is_read(&compressed).await;
        nothing_is_read(&both).await;
        compressed.set("k", &value, Timeout::Default).await.unwrap();
        nothing_is_read(&json).await;
        nothing_is_read(&packed).await;
        nothing_is_read(&both).await;
        both.set("k", &value, Timeout::Default).await.unwrap();
        nothing_is_read(&json).await;
        nothing_is_read(&packed).await;
        nothing_is_read(&compressed).await;
    }
}

async fn nothing_is_read<B: KvBackend, S: Serializer>(cache: &Cache<B, S>) {
    is_refused::<Value, B, S>(cache).await;
    is_refused::<u8, B, S>(cache).await;
    is_refused::<Option<String>, B, S>(cache).await;
    is_refused::<BTreeMap<String, Value>, B, S>(cache).await;
}

async fn is_refused<T: DeserializeOwned + Debug + Send + 'static, B: KvBackend, S: Serializer>(cache: &Cache<B, S>) {
    let read = cache.get::<T>("k").await;
    let Err(CacheError::Codec(error)) = &read else {
        panic!("a value of another format was read: {read:?}");
    };
    assert!(error.is_decode(), "{error}");
}

async fn the_inflated_size_is_bounded<B: KvBackend>(cx: &Cx<B>) {
    let value = "a".repeat(100_000);
    cache(cx, Compressed::new(Json))
        .set("k", &value, Timeout::Default)
        .await
        .unwrap();
    let bounded = cache(cx, Compressed::new(Json).max_inflated(99_999));
    is_refused::<String, _, _>(&bounded).await;
    let refused = bounded.set("k", &value, Timeout::Default).await;
    assert!(
        matches!(&refused, Err(CacheError::Codec(error)) if !error.is_decode()),
        "{refused:?}"
    );
}
