//! The clients that are measured, behind one pair of calls.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use codex_kv::{KvBackend, NearBackend, SetOptions, redis::RedisBackend};
use dashmap::DashMap;
use fred::prelude::{Builder, ClientLike, Config, KeysInterface};

/// The clients, by the names that the tables show.
pub(crate) const NAMES: [&str; 5] = ["plain", "near", "redis-rs", "rustis", "fred"];

#[derive(Clone)]
pub(crate) enum Client {
    Plain(RedisBackend),
    Near(NearBackend<RedisBackend>),
    RedisRs(redis::aio::MultiplexedConnection),
    Rustis(Arc<rustis::cache::Cache>, rustis::client::Client),
    /// fred reports invalidations and keeps nothing: the map is what its guide shows.
    Fred(fred::clients::Client, Arc<DashMap<String, Option<Bytes>>>),
}

impl Client {
    pub(crate) async fn connect(name: &str, port: u16) -> Self {
        let url = format!("redis://127.0.0.1:{port}");
        match name {
            "plain" => Self::Plain(RedisBackend::connect(&url).await.unwrap()),
            "near" => {
                let redis = RedisBackend::connect(&url).await.unwrap();
                Self::Near(NearBackend::builder(redis).build().await.unwrap())
            }
            "redis-rs" => {
                let client = redis::Client::open(format!("{url}/?protocol=resp3")).unwrap();
                let size = std::num::NonZeroUsize::new(200_000).unwrap();
                let cache = redis::caching::CacheConfig::new().set_size(size);
                let config = redis::AsyncConnectionConfig::new()
                    .set_cache_config(cache)
                    .set_response_timeout(Some(Duration::from_secs(5)));
                Self::RedisRs(client.get_multiplexed_async_connection_with_config(&config).await.unwrap())
            }
            "rustis" => {
                let client = rustis::client::Client::connect(url.as_str()).await.unwrap();
                let cache = rustis::cache::Cache::new(client, 60, rustis::commands::ClientTrackingOptions::default());
                let writer = rustis::client::Client::connect(url.as_str()).await.unwrap();
                Self::Rustis(cache.await.unwrap(), writer)
            }
            _ => {
                let mut config = Config::from_url(&url).unwrap();
                config.version = fred::types::RespVersion::RESP3;
                let client = Builder::from_config(config).build().unwrap();
                client.init().await.unwrap();
                let map: Arc<DashMap<String, Option<Bytes>>> = Arc::default();
                let invalidated = Arc::clone(&map);
                fred::interfaces::TrackingInterface::start_tracking(&client, None::<String>, false, false, false, false)
                    .await
                    .unwrap();
                fred::interfaces::TrackingInterface::on_invalidation(&client, move |invalidation| {
                    let map = Arc::clone(&invalidated);
                    async move {
                        for key in invalidation.keys {
                            if let Some(key) = key.as_str() {
                                map.remove(key);
                            }
                        }
                        Ok(())
                    }
                });
                Self::Fred(client, map)
            }
        }
    }

    pub(crate) async fn get(&mut self, key: &str) -> Option<usize> {
        match self {
            Self::Plain(client) => client.get(key).await.unwrap().map(|value| value.len()),
            Self::Near(client) => client.get(key).await.unwrap().map(|value| value.len()),
            Self::RedisRs(client) => {
                let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(client).await.unwrap();
                value.map(|value| value.len())
            }
            Self::Rustis(cache, _) => {
                let value: Option<String> = cache.get(key).await.unwrap();
                value.map(|value| value.len())
            }
            Self::Fred(client, map) => {
                if let Some(found) = map.get(key) {
                    return found.as_ref().map(Bytes::len);
                }
                let value: Option<Bytes> = client.get(key).await.unwrap();
                map.insert(key.to_owned(), value.clone());
                value.map(|value| value.len())
            }
        }
    }

    pub(crate) async fn set(&mut self, key: &str, value: &Bytes) {
        match self {
            Self::Plain(client) => drop(client.set(key, value.clone(), SetOptions::new()).await.unwrap()),
            Self::Near(client) => drop(client.set(key, value.clone(), SetOptions::new()).await.unwrap()),
            Self::RedisRs(client) => {
                let mut set = redis::cmd("SET");
                set.arg(key).arg(&value[..]);
                set.query_async::<()>(client).await.unwrap();
            }
            Self::Rustis(_, client) => {
                use rustis::commands::StringCommands;
                client.set(key, std::str::from_utf8(value).unwrap()).await.unwrap();
            }
            Self::Fred(client, _) => {
                let _: () = client.set(key, value.clone(), None, None, false).await.unwrap();
            }
        }
    }
}
