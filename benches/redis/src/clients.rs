//! The clients, each in its best configuration.

use std::time::Duration;

use bytes::Bytes;
use codex_kv::redis::RedisBackend;
use codex_traits::{KvBackend as _, SetOptions};
use fred::prelude::{Builder, Client, ClientLike as _, Config, Expiration, KeysInterface as _, TcpConfig};
use redis::{AsyncConnectionConfig, IntoConnectionInfo as _, aio::MultiplexedConnection, io::tcp::TcpSettings};

/// Long enough that nothing expires during a measurement.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

pub(crate) trait KvClient: Clone + Send + Sync + 'static {
    fn get(&self, key: &str) -> impl Future<Output = usize> + Send;
    fn set(&self, key: &str, value: Bytes) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
pub(crate) struct Ours(pub(crate) RedisBackend);

impl KvClient for Ours {
    async fn get(&self, key: &str) -> usize {
        self.0.get(key).await.unwrap().unwrap().len()
    }

    async fn set(&self, key: &str, value: Bytes) {
        let outcome = self.0.set(key, value, SetOptions::expires_after(TTL)).await.unwrap();
        assert!(outcome.is_written());
    }
}

#[derive(Clone)]
pub(crate) struct RedisRs(pub(crate) MultiplexedConnection);

impl RedisRs {
    pub(crate) async fn connect(url: &str, nodelay: bool) -> Self {
        let info = url.into_connection_info().unwrap();
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(nodelay));
        // Without a deadline, which would cost a timer per command: this peer should be as fast as
        // possible.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
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
    async fn get(&self, key: &str) -> usize {
        let value: Vec<u8> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut self.0.clone())
            .await
            .unwrap();
        value.len()
    }

    async fn set(&self, key: &str, value: Bytes) {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(&value[..]).arg("EX").arg(TTL.as_secs());
        command.exec_async(&mut self.0.clone()).await.unwrap();
    }
}

#[derive(Clone)]
pub(crate) struct Fred(pub(crate) Client);

impl Fred {
    pub(crate) async fn connect(url: &str) -> Self {
        let client = Builder::from_config(Config::from_url(url).unwrap())
            .with_connection_config(|config| {
                config.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
            })
            .build()
            .unwrap();
        client.init().await.unwrap();
        Self(client)
    }
}

impl KvClient for Fred {
    async fn get(&self, key: &str) -> usize {
        let value: Bytes = self.0.get(key).await.unwrap();
        value.len()
    }

    async fn set(&self, key: &str, value: Bytes) {
        let expiry = Some(Expiration::EX(TTL.as_secs().cast_signed()));
        let _: () = self.0.set(key, value, expiry, None, false).await.unwrap();
    }
}
