//! Construction of a backend from a URL.

use codex_traits::{AnyBackend, Error, ErrorKind, Result};

#[cfg(feature = "redis")]
use crate::connect_near;

/// Connects to the backend that `url` names, so that an environment variable can select the
/// backend.
///
/// | URL | backend | feature |
/// |---|---|---|
/// | `memory://` | a new, empty store in this process | `memory` |
/// | `redis://[user[:password]@]host[:port][/database]` | one Redis server over TCP | `redis` |
/// | `redis-sentinel://[user[:password]@]host[:port],.../name[/database]` | the primary that the Sentinels monitor under this name | `redis` |
/// | `redis-cluster://[user[:password]@]host[:port],...` | the Redis Cluster that these nodes belong to | `redis` |
/// | `redis+unix:///path/to/socket[?db=N]`, `unix://…` | one Redis server over a Unix socket | `redis` |
/// | `rediss://`, `rediss-sentinel://`, `rediss-cluster://` | the same over TLS | `redis-tls` |
///
/// Schemes are case-insensitive. `valkey` and `valkeys` are aliases of `redis` and `rediss`. Every
/// setting of the Redis backend can follow a `?`; `docs/redis.md` in the repository lists them.
///
/// With `near=64MiB`, a Redis URL creates a [near cache](crate::NearBackend) of that size.
/// `near_staleness` and `near_max_value` configure it:
/// `near=64MiB&near_staleness=1s&near_max_value=64KiB`. A near cache needs the feature `memory`.
///
/// For Redis, this function connects before it returns, so that it reports a wrong password or host
/// before the first request. Redis needs a tokio runtime; memory does not. Dropping the future
/// cancels the attempt.
///
/// # Errors
///
/// [`ErrorKind::Config`] if the URL has none of these forms. The message says what was expected and
/// does not repeat the URL, which may contain a password. The backend's error if the server cannot
/// be reached or refuses the connection.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> codex_kv::Result<()> {
/// let url = std::env::var("CACHE_URL").unwrap_or_else(|_| "memory://".to_owned());
/// let backend = codex_kv::connect(&url).await?;
/// # Ok(())
/// # }
/// # main().unwrap();
/// # }
/// ```
pub async fn connect(url: &str) -> Result<AnyBackend> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(unknown());
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "memory" {
        memory(rest)
    } else if is_redis(&scheme) {
        redis(url).await
    } else {
        Err(unknown())
    }
}

/// Returns whether the Redis backend handles URLs with this scheme, even if only to report the
/// correct spelling.
fn is_redis(scheme: &str) -> bool {
    scheme.starts_with("redis") || scheme.starts_with("valkey") || scheme == "unix"
}

/// Returns the backend that `url` names without connecting. The first call connects, so the program
/// can start without a server.
///
/// It accepts the URLs of [`connect`]. It does not wait and needs no runtime.
///
/// # Errors
///
/// [`ErrorKind::Config`] if the URL has none of these forms. A server that is down or a wrong
/// password is reported by the calls of the backend.
///
/// ```
/// # #[cfg(feature = "redis")] {
/// let backend = codex_kv::connect_lazy("redis://cache.internal:6379/0")?;
/// # }
/// # Ok::<(), codex_kv::BackendError>(())
/// ```
pub fn connect_lazy(url: &str) -> Result<AnyBackend> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(unknown());
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "memory" {
        memory(rest)
    } else if is_redis(&scheme) {
        redis_lazy(url)
    } else {
        Err(unknown())
    }
}

fn config(message: &'static str) -> Error {
    Error::new(ErrorKind::Config, "connect", message)
}

fn unknown() -> Error {
    config(
        "expected a URL that begins with memory://, redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://",
    )
}

#[cfg(feature = "memory")]
fn memory(rest: &str) -> Result<AnyBackend> {
    if rest.is_empty() {
        Ok(AnyBackend::new(codex_memory::MemoryBackend::new()))
    } else {
        Err(config("expected memory:// with nothing behind it"))
    }
}

#[cfg(not(feature = "memory"))]
fn memory(_: &str) -> Result<AnyBackend> {
    Err(config("memory:// needs codex-kv's feature `memory`"))
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<AnyBackend> {
    let (url, near) = connect_near::split(url)?;
    let backend = codex_redis::RedisBackend::connect(&url).await?;
    match near {
        Some(settings) => near_of(backend, settings).await,
        None => Ok(AnyBackend::new(backend)),
    }
}

#[cfg(all(feature = "memory", feature = "redis"))]
async fn near_of(backend: codex_redis::RedisBackend, settings: connect_near::NearSettings) -> Result<AnyBackend> {
    let mut builder = crate::NearBackend::builder(backend).max_bytes(settings.max_bytes);
    if let Some(staleness) = settings.max_staleness {
        builder = builder.max_staleness(staleness);
    }
    if let Some(bytes) = settings.max_value_bytes {
        builder = builder.max_value_bytes(bytes);
    }
    Ok(AnyBackend::new(builder.build().await?))
}

#[cfg(all(not(feature = "memory"), feature = "redis"))]
fn near_of(_: codex_redis::RedisBackend, _: connect_near::NearSettings) -> std::future::Ready<Result<AnyBackend>> {
    std::future::ready(Err(connect_near::refused("near", "needs codex-kv's feature `memory`")))
}

#[cfg(feature = "redis")]
fn redis_lazy(url: &str) -> Result<AnyBackend> {
    if connect_near::split(url)?.1.is_some() {
        return Err(connect_near::lazy());
    }
    Ok(AnyBackend::new(codex_redis::RedisBackend::connect_lazy(url)?))
}

#[cfg(not(feature = "redis"))]
fn redis(url: &str) -> std::future::Ready<Result<AnyBackend>> {
    std::future::ready(redis_lazy(url))
}

#[cfg(not(feature = "redis"))]
fn redis_lazy(_: &str) -> Result<AnyBackend> {
    Err(config(
        "a Redis URL needs codex-kv's feature `redis`, and for TLS also `redis-tls`",
    ))
}
