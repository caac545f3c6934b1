//! The clients, each in its best configuration.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use codex_kv::{KvBackend, NearBackend, SetOptions, redis::RedisBackend};
use dashmap::DashMap;
use fred::{
    prelude::{Builder, Client, ClientLike as _, Config, Expiration, KeysInterface as _, TcpConfig},
    types::RespVersion,
};
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo as _, aio::MultiplexedConnection, caching::CacheConfig,
    io::tcp::TcpSettings,
};
use rustis::{
    cache::{Cache, MokaStore},
    commands::{ClientTrackingOptions, SetExpiration, StringCommands as _},
    resp::BulkString,
};

/// Long enough that nothing expires during a measurement.
const TTL: Duration = Duration::from_secs(3600);

/// The number of keys that every client may cache.
pub(crate) const KEYS: usize = 100_000;

pub(crate) trait KvClient: Clone + Send + Sync + 'static {
    fn get(&self, key: &str) -> impl Future<Output = Option<Bytes>> + Send;
    fn set(&self, key: &str, value: Bytes) -> impl Future<Output = ()> + Send;
}

/// A backend of codex-kv.
#[derive(Clone)]
pub(crate) struct Ours<B>(pub(crate) B);

impl<B: KvBackend + Clone> KvClient for Ours<B> {
    async fn get(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).await.unwrap()
    }

    async fn set(&self, key: &str, value: Bytes) {
        let outcome = self.0.set(key, value, SetOptions::expires_after(TTL)).await.unwrap();
        assert!(outcome.is_written());
    }
}

pub(crate) async fn plain(url: &str) -> Ours<RedisBackend> {
    Ours(RedisBackend::connect(url).await.unwrap())
}

pub(crate) async fn near(url: &str) -> Ours<NearBackend<RedisBackend>> {
    let builder = NearBackend::builder(plain(url).await.0);
    Ours(builder.build().await.unwrap())
}

/// redis-rs with the feature `cache-aio`.
#[derive(Clone)]
pub(crate) struct RedisRs(MultiplexedConnection);

impl RedisRs {
    pub(crate) async fn connect(url: &str) -> Self {
        let info = format!("{url}?protocol=resp3").into_connection_info().unwrap();
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let cache = CacheConfig::new().set_size(NonZeroUsize::new(KEYS).unwrap());
        // Without a deadline, which would cost a timer per command: this peer should be as fast as
        // possible.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_cache_config(cache);
        let client = redis::Client::open(info).unwrap();
        Self(
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .unwrap(),
        )
    }
}

impl KvClient for RedisRs {
    async fn get(&self, key: &str) -> Option<Bytes> {
        let value: Option<Vec<u8>> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut self.0.clone())
            .await
            .unwrap();
        value.map(Bytes::from)
    }

    async fn set(&self, key: &str, value: Bytes) {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(&value[..]).arg("EX").arg(TTL.as_secs());
        command.exec_async(&mut self.0.clone()).await.unwrap();
    }
}

/// rustis with the feature `client-cache`.
#[derive(Clone)]
pub(crate) struct Rustis {
    client: rustis::client::Client,
    cache: Arc<Cache>,
}

impl Rustis {
    pub(crate) async fn connect(url: &str) -> Self {
        let client = rustis::client::Client::connect(url).await.unwrap();
        let store = MokaStore::new(TTL, KEYS as u64);
        let cache = Cache::with_store(client.clone(), store, ClientTrackingOptions::default());
        let cache = cache.await.unwrap();
        Self { client, cache }
    }
}

impl KvClient for Rustis {
    async fn get(&self, key: &str) -> Option<Bytes> {
        let value: Option<BulkString> = self.cache.get(key).await.unwrap();
        value.map(|value| Bytes::from(Vec::from(value)))
    }

    async fn set(&self, key: &str, value: Bytes) {
        let value = BulkString::from(value);
        let expiry = SetExpiration::Ex(TTL.as_secs());
        let is_written = self.client.set_with_options(key, value, None, expiry).await;
        assert!(is_written.unwrap());
    }
}

/// fred with the feature `i-tracking`, and a map from which its invalidations remove keys, as in
/// fred's own example.
#[derive(Clone)]
pub(crate) struct Fred {
    client: Client,
    kept: Arc<DashMap<String, Bytes>>,
}

impl Fred {
    pub(crate) async fn connect(url: &str) -> Self {
        use fred::interfaces::TrackingInterface as _;
        let client = Builder::from_config(Config::from_url(url).unwrap())
            .with_config(|config| config.version = RespVersion::RESP3)
            .with_connection_config(|config| {
                config.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
            })
            .build()
            .unwrap();
        client.init().await.unwrap();
        let kept: Arc<DashMap<String, Bytes>> = Arc::default();
        let invalidated = Arc::clone(&kept);
        client.on_invalidation(move |invalidation| {
            for key in invalidation.keys {
                invalidated.remove(key.as_str().unwrap());
            }
            Ok(())
        });
        client.start_tracking(None, false, false, false, false).await.unwrap();
        Self { client, kept }
    }
}

impl KvClient for Fred {
    async fn get(&self, key: &str) -> Option<Bytes> {
        if let Some(kept) = self.kept.get(key) {
            return Some(kept.clone());
        }
        let value: Option<Bytes> = self.client.get(key).await.unwrap();
        if let Some(value) = &value {
            self.kept.insert(key.to_owned(), value.clone());
        }
        value
    }

    async fn set(&self, key: &str, value: Bytes) {
        let expiry = Some(Expiration::EX(TTL.as_secs().cast_signed()));
        let _: () = self.client.set(key, value, expiry, None, false).await.unwrap();
    }
}
