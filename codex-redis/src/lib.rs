//! Redis (or Valkey) as a backend of codex-kv.
//!
//! ```no_run
//! use bytes::Bytes;
//! use codex_redis::RedisBackend;
//! use codex_traits::{KvBackend, SetOptions};
//!
//! # async fn example() -> codex_traits::Result<()> {
//! let backend = RedisBackend::connect("redis://127.0.0.1:6379/0").await?;
//! let value = Bytes::from_static(b"hello");
//! let outcome = backend.set("greeting", value, SetOptions::if_absent()).await?;
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```
//!
//! Connects to one server over TCP, TLS (`rediss://`, feature `tls`) or a Unix socket, to the
//! primary that Sentinels name, or to a cluster. [`RedisBuilder`] lists the forms of the URL and
//! every setting. The oldest supported servers are Redis 6.2 and Valkey 7.2.
//!
//! # Deadline
//!
//! A call has one deadline, [500 ms by default](RedisBuilder::command_timeout). It covers
//! admission, connecting, and the answer, including a second round trip for a script that is new to
//! the server and redirections in a cluster. Only a call's own data extends its deadline, by one
//! second for every 8 MiB that it sends or has received, and never beyond
//! [`transfer_timeout`](RedisBuilder::transfer_timeout). `del_matching` has one deadline per page.
//!
//! # Failure behaviour
//!
//! The handle recovers by itself. The next call replaces a broken connection. A connection is
//! closed if its calls stay unanswered beyond their deadlines, even if no caller waits any more. A
//! connection to a server that has become read-only is closed too. After a failed connection
//! attempt, calls fail immediately until the backoff ends (50 ms at first, 3 s at most). A call
//! that reads and changes nothing is sent again once if its connection proves closed before any
//! byte of the reply. Nothing else that may have run is ever sent twice.
//! [`Error::may_have_executed`](codex_traits::Error::may_have_executed) lets the caller decide
//! whether to repeat it.
//!
//! Through Sentinel, every connection attempt asks all Sentinels for the primary and trusts the
//! newest configuration. The server itself must confirm its role. While there are calls, the
//! Sentinels are asked again every second, so that calls also abandon an isolated primary.
//!
//! # Cluster
//!
//! Keys go to the node that serves their slot. Calls on many keys take one round trip per node, to
//! all nodes at the same time, and fail if any node fails. `MOVED`, `ASK`, `TRYAGAIN` and
//! `CLUSTERDOWN` refuse a command without running it, so the command is sent again until the
//! deadline. The slot map is refreshed after each `MOVED` and each failure, at most ten times a
//! second.
//!
//! A scan walks every master and records the finished slots in its cursor. Slots that move away or
//! come back meanwhile can make it repeat keys, but never miss them. An unreachable node is an
//! error. If a node restarts between two pages, the guarantee is lost, as on a single server.
//!
//! `get_many` is not a snapshot in a cluster, and `del_matching` takes two round trips per page.
//!
//! # Connections
//!
//! Any number of calls share a connection. Requests that are ready at the same time are written
//! together. A single call is not delayed to wait for others. Requests of more than 64 KiB share
//! the [second connection](RedisBuilder::connections), and while a connection carries a large
//! value, small requests use another. A small request that was sent just before a large answer
//! began waits for that answer.
//!
//! If the server is slow, memory is bounded by the calls [in flight](RedisBuilder::max_in_flight)
//! and the calls that [wait](RedisBuilder::max_waiting), both per runtime, and by the
//! [bytes of the replies](RedisBuilder::max_reply_bytes) on each connection. Further calls fail
//! immediately.
//!
//! [`RedisBackend::connection`] runs any other command on the same connections, with the same
//! deadlines, through the `redis` crate's `AsyncCommands`.
//!
//! # Observability
//!
//! Each request is a `tracing` span of the level `DEBUG` if a subscriber listens. Connections,
//! evictions, fail-overs, repeated and slow commands are events. Their fields follow
//! OpenTelemetry's conventions for database clients. With the feature `metrics`, the `metrics`
//! facade counts calls, connection attempts, evictions, redirections and durations. `docs/redis.md`
//! in the repository lists every name and unit. No span, event or metric contains a key, a value or
//! a password.
//!
//! # Runtimes
//!
//! The backend needs tokio with its I/O and time drivers. A handle can be used on several runtimes,
//! one after another or at the same time. Each runtime has its own connections.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod commands;
mod config;
mod connection;
mod connection_like;
mod health;
mod observe;
mod route;
mod server;
mod tracking;
mod wire;

pub use backend::RedisBackend;
#[cfg(feature = "tls")]
pub use config::tls::RedisTls;
pub use config::{builder::RedisBuilder, credentials::Credentials, settings::RespVersion};
pub use connection_like::RedisConnection;
pub use health::Health;
pub use tracking::RedisFeed;

/// The Rust blocks of the README, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

/// The Rust blocks of the guide, compiled as documentation tests of the repository.
#[cfg(doctest)]
#[doc = include_str!("../../docs/redis.md")]
struct Guide;
