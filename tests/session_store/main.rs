//! Session stores on the memory backend under virtual time and on a real Redis; on a backend of the tests' own where something has to
//! be counted or broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod broken;
mod data;
mod expiry;
mod storage;
mod verbs;
mod world;
