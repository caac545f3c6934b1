//! Redis (or Valkey) as a backend of codex-kv.
//!
//! ```no_run
//! use bytes::Bytes;
//! use codex_redis::RedisBackend;
//! use codex_traits::{KvBackend, SetOptions};
//!
//! # async fn example() -> codex_traits::Result<()> {
//! let backend = RedisBackend::connect("redis://127.0.0.1:6379/0").await?;
//! let outcome = backend.set("greeting", Bytes::from_static(b"hello"), SetOptions::if_absent()).await?;
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```
//!
//! One server is talked to, over TCP, TLS (`rediss://`, feature `tls`) or a unix socket, or the primary that Sentinels name, or a cluster; [`RedisBuilder`] has the forms of the URL and every setting with its
//! default. The oldest servers that will do are Redis 6.2 and Valkey 7.2.
//!
//! # Deadline
//!
//! Each round trip to the server has one deadline, [500 ms by default](RedisBuilder::command_timeout), which covers waiting for a
//! turn, dialling where there is no connection, and the answer. What is large takes longer without anything being wrong, so the
//! deadline moves on by a second for every 8 MiB of the request, or of what moves over the connection meanwhile; for a small
//! request on a connection where nothing moves, it stands. Every verb is one round trip, but for `del_matching` with one per
//! page, and a second one where a script is new to the server.
//!
//! # After a failure
//!
//! The handle heals by itself. A connection that broke is dialled anew by the next call; one that does not answer is left after a
//! few timeouts in a row, and so is one to a server that has become read-only. After a failed dial, calls fail at once until the
//! back-off ends (50 ms at first, 3 s at most); so a server that is back is in use again after 3 s at most. What may have run is
//! never sent twice: whether to repeat a call is for its caller to say, who is told by
//! [`Error::may_have_executed`](codex_traits::Error::may_have_executed).
//!
//! Through Sentinel, every dial asks all Sentinels where the primary is and believes the newest configuration; the server must say
//! itself that it is one. While there are calls, this is asked again each second, so that a primary which was cut off is left too.
//! After a fail-over the next dial is at most 500 ms away.
//!
//! # Cluster
//!
//! Keys go to the node that serves their slot; calls on many keys are one round trip per node, to all of them at a time, and fail where
//! any node fails. `MOVED`, `ASK`, `TRYAGAIN` and `CLUSTERDOWN` are refusals of commands that were not run, so those commands are
//! sent again, until the deadline. Who serves what is asked anew in the background, at most ten times a second, after each `MOVED`
//! and each failure; so a fail-over is followed once the cluster has carried it out.
//!
//! A scan walks every master and names the slots it has done in its cursor. Slots that move meanwhile, and slots that come back, make
//! it repeat keys, never miss them; a node that cannot be reached is an error. As on one server, a node that is started anew between
//! two pages with the keys that it had is not walked as it was before.
//!
//! `get_many` is no snapshot there, and `del_matching` takes two round trips per page.
//!
//! # Connections
//!
//! Any number of calls share a connection. Requests that are ready at the same time are written together; a call alone is not held
//! back for others. What is larger than 64 KiB has [connections of its own](RedisBuilder::connections), and while one brings in a large
//! value, what is small goes by another. A small request that was sent just before a large answer began waits for that.
//!
//! Memory is bounded where the server is slow: by the calls that are [under way](RedisBuilder::max_in_flight), and those that
//! [wait](RedisBuilder::max_waiting). What comes on top fails at once.
//!
//! # What one can see
//!
//! Each request is a `tracing` span of the level `DEBUG`, where somebody listens; connects, evictions, fail-overs, repeated and slow
//! commands are events. Their fields are named as OpenTelemetry's conventions for database clients have it. With the feature
//! `metrics`, calls, dials, evictions, redirections and durations are counted by the `metrics` facade. `docs/redis.md` in the
//! repository lists every name and unit, and every setting with its default. No key, value or password is in any of it.
//!
//! # Runtimes
//!
//! It needs tokio, with its I/O and time drivers. A handle may be used on several runtimes, one after another or at the same
//! time: each has connections of its own.

mod backend;
mod commands;
mod config;
mod connection;
mod connection_like;
mod health;
mod observe;
mod route;
mod server;
mod wire;

pub use backend::RedisBackend;
#[cfg(feature = "tls")]
pub use config::tls::RedisTls;
pub use config::{builder::RedisBuilder, credentials::Credentials, settings::RespVersion};
pub use connection_like::RedisConnection;
pub use health::Health;
