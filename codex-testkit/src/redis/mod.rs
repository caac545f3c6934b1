//! A real Redis for tests (feature `redis`).
//!
//! A [`Database`] is an empty database that is leased to a test, on a server that all tests of the
//! process share. A [`RedisServer`] is a server for a single test, which can kill it, freeze it,
//! fill it or give it a password. A [`FragileRedis`] is such a server behind a proxy, for clauses
//! about outages. A [`ServerHarness`] runs the clauses on any server, even on a server that is in
//! use. A [`ClusterHarness`] runs them on clusters on this machine. None of them needs an async
//! runtime, and all of them can be used inside a runtime.
//!
//! ```no_run
//! use codex_testkit::redis::Database;
//!
//! # fn get_reads_what_others_wrote() {
//! let database = codex_testkit::require!("redis", Database::lease());
//! database.command(&["SET", "greeting", "hello"]).unwrap();
//! // RedisBackend::connect(&database.url()) …
//! # }
//! ```
//!
//! The shared server is the first of these that applies:
//!
//! 1. the server that `CODEX_TEST_REDIS_URL` names: only its empty databases are used, and they are
//!    emptied again; no other server is used if it does not answer,
//! 2. a `redis-server` from `PATH`, private to the process,
//! 3. a container of the image `CODEX_TEST_REDIS_IMAGE` (default `redis:7`), which is pulled only
//!    if the engine does not have it.
//!
//! A server or container that the tests have started never outlives the test process, even if the
//! process is killed. A small shell process waits until a pipe that the test process holds is
//! closed, and then removes the server.

#[cfg(feature = "redis-tls")]
mod certificates;
mod cleaning;
mod cluster;
mod cluster_harness;
mod container;
mod database;
mod fragile;
mod harness;
mod leased;
mod numbers;
mod planting;
mod proxy_faults;
mod raw;
mod registry;
mod sentinel;
mod server;
mod shared;
mod watchdog;

#[cfg(feature = "redis-tls")]
pub use certificates::Certificates;
pub use cluster::{ClusterLease, RedisCluster};
pub use cluster_harness::ClusterHarness;
pub use container::RedisContainer;
pub use database::Database;
pub use fragile::FragileRedis;
pub use harness::ServerHarness;
pub use leased::{Lease, Leased};
pub use redis::{RedisError, Value};
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
pub use shared::shared_url;

use std::time::Duration;

use crate::Time;

/// The time of a server. Redis compares expiry times with the clock at each request, so the
/// granularity only covers a round trip on a busy machine.
const REAL_TIME: Time = Time::Real {
    granularity: Duration::from_millis(60),
};
