//! Tests of sessions in axum: what reaches the store, what the browser gets, and how concurrent
//! requests behave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod app;
mod client;
mod cookies;
mod cut_short;
mod django;
mod django_settings;
mod failures;
mod hostile;
mod lazy;
mod log;
mod login;
mod parallel;
mod request;
mod secrets;
mod side_by_side;
mod watched;
