//! A real Redis for tests (feature `redis`).
//!
//! Five things are offered. A [`Database`] is an empty database, leased for one test, on a server
//! that all tests of the process share. A [`RedisServer`] is a server of the test's own, to be
//! stopped, frozen, filled or given a password; a [`FragileRedis`] is one behind a proxy, for the
//! clauses about outages. A [`ServerHarness`] runs the clauses on any server, also on one that is
//! in use, and a [`ClusterHarness`] on clusters of this machine. Nothing here needs an async
//! runtime, and all of it can be used inside one.
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
//! The shared server is the first of these that can be had:
//!
//! 1. the one that `CODEX_TEST_REDIS_URL` names; only databases that are empty are used there, and
//!    emptied again,
//! 2. a `redis-server` from `PATH`, private to the process,
//! 3. a container of the image `CODEX_TEST_REDIS_IMAGE` (default `redis:7`), which is pulled only
//!    where the engine does not have it.
//!
//! A server or container that was started here does not outlive the test process, however that
//! ends: a small shell process of its own waits for the end of a pipe that the test process holds,
//! and then removes it.

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
