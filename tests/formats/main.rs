//! Tests of the formats other than JSON.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

mod compressed;
mod encrypted;
mod message_pack;
mod mixed;
